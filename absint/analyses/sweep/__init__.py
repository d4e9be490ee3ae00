"""Robustness by network, norm, domain and radius in one run: curves, and what one domain proves and another does not."""
