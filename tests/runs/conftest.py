"""Fixtures of the runs on a cluster that is none."""

from ray_runs import ray, records, tiny  # noqa: F401
