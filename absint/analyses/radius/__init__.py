"""Robustness radius: how far each input can be moved before its class is no longer proved."""
