"""Graphs as linear and mixed-integer programs."""
