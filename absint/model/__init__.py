"""The network: graph, operators, rewrites, and the user's own model as reference."""
