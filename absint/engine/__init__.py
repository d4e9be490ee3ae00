"""How a domain is carried through a graph."""
