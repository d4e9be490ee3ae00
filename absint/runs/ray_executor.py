"""The executor `ray`: items decided by workers on the nodes of a Ray cluster, one that is there or one that is started for the run.

Ray places workers, carries what they are sent and sees who dies; who decides which item next, and what becomes of one whose worker is
gone, is said here and in `ray_pool`. The journal of the run that started them stays the only truth.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import closing
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from absint.contract.analysis import Analysis, Item
from absint.contract.run import Run
from absint.errors import UnsupportedError, UsageError
from absint.runs.executors import Executor

MAJOR = "2"     # of Ray, whose interface this was written for and tested with
_PLACE = re.compile(r"auto|(?!\w+://)[^\s:/]+:\d{1,5}|\[[0-9a-fA-F:]+\]:\d{1,5}")


class Ray(Executor):
    """`--executor ray`: workers of one CPU each (`--threads`: so many) and, with `--device cuda`, one card each.

    Without `--address`, and without RAY_ADDRESS, a cluster on this machine is started for the run and ended with it. Items are handed out
    in batches of a few seconds. Where a worker dies, its items are tried once more, each alone, then yield Failure E-WORKER-DIED; a
    worker past the limits of its items is killed: E-TIMEOUT. Records arrive as they are decided. What the end of the run cuts short yields
    nothing.
    Raises UsageError E-EXECUTOR, ResourceError E-RAY-ADDRESS, -START, -BUSY, -LOST, -NODE, UnsupportedError E-RAY-MISSING, -VERSION.
    """

    def check(self, options: Any) -> None:
        """That Ray is installed, and what is said of the cluster makes sense; nothing is started."""
        try:
            found = version("ray")
        except PackageNotFoundError:
            raise UnsupportedError("E-RAY-MISSING", "ray is not installed", where="--executor ray",
                                   hint="pip install 'absint[ray]', or pip install ray") from None
        if found.partition(".")[0] != MAJOR:
            raise UnsupportedError("E-RAY-VERSION", f"ray {found} is installed; absint works with ray {MAJOR}", where="--executor ray",
                                   hint=f"pip install 'ray>={MAJOR},<{int(MAJOR) + 1}'")
        if options.address is not None and not _PLACE.fullmatch(options.address):
            raise UsageError("E-RAY-ADDRESS", f"no address of a cluster: {options.address!r}", where="--address",
                             hint="auto, or HOST:PORT of the head node, such as 10.0.0.1:6379; run absint on a node of the cluster")
        if options.device.startswith("cuda:"):
            raise UsageError("E-EXECUTOR", "Ray gives each worker a card", where=f"--device {options.device}", hint="say --device cuda")

    def records(self, analysis: Analysis[Any, Any], run: Run[Any], items: Sequence[Item]) -> Iterator[Any]:
        """In the order in which the workers answer."""
        if not items:
            return
        from absint.runs.parcel import packed
        from absint.runs.ray_cluster import imported, joined
        from absint.runs.ray_pool import RayPool

        imported()      # one that does not import is told of before any part of it is asked for
        parcel = packed(analysis, run, run.options.threads or 1)
        with joined(run) as cluster, closing(RayPool(analysis, run, cluster, parcel, items)) as pool:
            yield from pool.records()
