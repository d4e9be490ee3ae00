"""Measurements shared by the benchmarks: CPU seconds of one process, and the matrix products a zonotope needs.

A figure is the least of a few repetitions of process CPU time with one thread; ratios compare within one run only.
"""

from __future__ import annotations

import gzip
import platform
import resource
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from absint.engine.context import Context
from absint.engine.domain import Domain
from absint.engine.forward import margins
from absint.model.families.linear import Linear
from absint.model.graph import Graph
from absint.numeric.backend import Budget, numeric_mode
from absint.numeric.decimal import parse_eps
from absint.numeric.rounding import Numerics
from absint.problem.regions.region import LinfBall
from absint.problem.spec import Spec


def cpu_seconds(work: Callable[[], object], repeats: int = 5, at_least: float = 0.2) -> float:
    """Least CPU time of `work` over `repeats`, each looped to at least `at_least` / 10 seconds."""
    work()
    begin = time.process_time()
    work()
    loops = max(1, int(at_least / 10 / max(1e-6, time.process_time() - begin)))
    best = float("inf")
    for _ in range(repeats):
        begin = time.process_time()
        for _ in range(loops):
            work()
        best = min(best, (time.process_time() - begin) / loops)
    return best


@dataclass(frozen=True)
class Case:
    """A network with labelled inputs."""

    name: str
    graph: Graph
    inputs: torch.Tensor
    labels: torch.Tensor

    def correct(self) -> torch.Tensor:
        """(N,) bool: classified as labelled."""
        with numeric_mode(), torch.no_grad():
            return self.graph(self.inputs).flatten(1).argmax(1) == self.labels

    def regions(self, eps: str, batch: int) -> list[tuple[torch.Tensor, LinfBall]]:
        """Positions and regions, `batch` instances each."""
        return [(index, LinfBall(self.inputs[index], parse_eps(eps))) for index in torch.arange(len(self.inputs)).split(batch)]

    def run_on(self, regions: list[tuple[torch.Tensor, LinfBall]], domain: Domain, numerics: Numerics) -> torch.Tensor:
        """Certified lower bounds (N, rows) of the robustness rows."""
        numerics = numerics if domain.traits.mixed else numerics.single()
        parts = []
        for index, region in regions:
            spec = Spec.robust(self.labels[index], self.graph.output.size)
            with numeric_mode(), torch.no_grad():
                found, _ = margins(domain, Context(self.graph, region, numerics, Budget(8 << 30)), spec)
            parts.append(found.lower.double())
        return torch.cat(parts)

    def run(self, domain: Domain, eps: str, numerics: Numerics, batch: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Certified lower bounds (N, rows), and margins (N,), in batches of `batch`."""
        lower = self.run_on(self.regions(eps, batch), domain, numerics)
        return lower, lower.amin(1)


@contextmanager
def recorded_products() -> Iterator[list[tuple[Linear, tuple[int, ...], torch.dtype]]]:
    """Every product of a dense generator block with a weight that runs inside: operator, input shape, format."""
    from absint.domains import generators

    seen: list[tuple[Linear, tuple[int, ...], torch.dtype]] = []
    original = generators.Dense.through

    def through(self: generators.Dense, op: Linear, shape: tuple[int, ...]) -> generators.Dense:
        if not op.exact:
            batch, count = self.generators.shape[:2]
            seen.append((op, (batch * count, *shape), self.generators.dtype))
        return original(self, op, shape)

    generators.Dense.through = through
    try:
        yield seen
    finally:
        generators.Dense.through = original


def bare_products(products: list[tuple[Linear, tuple[int, ...], torch.dtype]]) -> float:
    """CPU seconds of just those products on random data (one input per distinct shape)."""
    data = {(shape, dtype): torch.rand(shape, dtype=dtype) for _, shape, dtype in products}

    def work() -> None:
        for op, shape, dtype in products:
            op.apply(data[shape, dtype])

    with numeric_mode(), torch.no_grad():
        return cpu_seconds(work, repeats=3)


def peak_mib() -> int:
    """Peak resident memory of this process in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def machine() -> str:
    """Processor, cores, versions, commit: what a figure needs to be repeated."""
    model = next((line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), platform.processor())
    here = Path(__file__).parent
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=here, capture_output=True, text=True, check=False).stdout.strip()
    dirty = subprocess.run(["git", "status", "--porcelain", "--", "../absint", "../domains", "../frontends"], cwd=here,
                           capture_output=True, text=True, check=False).stdout.strip()
    return (f"{model}, {torch.get_num_threads()} thread, Python {platform.python_version()}, torch {torch.__version__}, "
            f"commit {commit or 'unknown'}{' with local changes' if dirty else ''}")


def mnist(folder: Path, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The first test images of an MNIST folder of IDX .gz files: (count, 784) in [0, 1], labels."""
    images = np.frombuffer(gzip.decompress((folder / "t10k-images-idx3-ubyte.gz").read_bytes())[16:], np.uint8)
    labels = np.frombuffer(gzip.decompress((folder / "t10k-labels-idx1-ubyte.gz").read_bytes())[8:], np.uint8)
    x = images[: count * 784].reshape(count, 784) / 255.0
    return torch.from_numpy(x), torch.from_numpy(labels[:count].astype(np.int64))
