"""Analyses on the engine's public API. None of them asks which domain or operator is inside."""
