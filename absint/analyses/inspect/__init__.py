"""What a network is made of, and how every operator will be treated."""

from absint.analyses.inspect.node_views import (
    ImportCheck,
    NodeView,
    Treatment,
    checked_import,
    parameters,
    products,
    totals,
    treatment,
    view,
)

__all__ = [
    "ImportCheck", "NodeView", "Treatment", "checked_import", "parameters", "products", "totals", "treatment", "view",
]
