"""Operator families: what an operator states so that every domain can carry a set through it."""
