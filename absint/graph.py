"""The graph. A public face of `absint.model.graph` and `absint.model.source`."""

from absint.model.graph import Closed, Graph, GraphBuilder, Node, Rewrite, chain, check_arity, rebuild
from absint.model.source import ClassIndex, NodeCoverage, Source

__all__ = [
    "ClassIndex", "Closed", "Graph", "GraphBuilder", "Node", "NodeCoverage", "Rewrite", "Source", "chain", "check_arity",
    "rebuild",
]
