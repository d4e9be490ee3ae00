"""The graph. A public face of `absint.model.graph`."""

from absint.model.graph import ClassIndex, Closed, Graph, GraphBuilder, Node, NodeCoverage, Rewrite, Source, chain, check_arity, rebuild

__all__ = [
    "ClassIndex", "Closed", "Graph", "GraphBuilder", "Node", "NodeCoverage", "Rewrite", "Source", "chain", "check_arity",
    "rebuild",
]
