"""Errors of a classifier: on the inputs themselves, under attack, and as far as each of several domains cannot prove, side by side."""
