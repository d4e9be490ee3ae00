"""Resident memory stays within the budget and half a GiB, whatever the network: under a limit of the operating system, and as it counts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SUPPORT = Path(__file__).parents[1] / "support"

RUN = """
import resource, sys
import torch
torch.set_num_threads(1)
sys.path.insert(0, sys.argv[1])
from convolutional import convolutions
from absint.analyses.verify import ProofSettings, verify
from absint.problem.problem import robustness
from absint.problem.regions.region import BoxRegion
from absint.search.names import domain_of

graph = convolutions("wide")
center = torch.rand(4, *graph.input.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
problem = robustness(graph, BoxRegion(center - 0.002, center + 0.002), graph(center).argmax(1))
memory = 256 << 20
data = next(int(line.split()[1]) << 10 for line in open("/proc/self/status") if line.startswith("VmData"))
resource.setrlimit(resource.RLIMIT_DATA, (data + memory + (1 << 29), resource.RLIM_INFINITY))
found = verify(problem, ProofSettings(domain_of(sys.argv[2]), attack=None, memory=memory, timeout=2.0))
print(*(result.reason.value if result.reason else result.verdict.value for result in found))
print(next(int(line.split()[1]) << 10 for line in open("/proc/self/status") if line.startswith("VmHWM")))   # ru_maxrss may be the parent's
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system does not tell what a process holds")
@pytest.mark.parametrize(("domain", "ends"), [
    ("zonotope", {"memory", "timeout", "verified"}), ("deeppoly", {"timeout", "imprecise", "verified"}),
])
def test_memory_stays_within_the_budget(domain, ends):
    found = subprocess.run([sys.executable, "-c", RUN, str(SUPPORT), domain], capture_output=True, text=True, timeout=120, check=False)
    assert found.returncode == 0, found.stderr[-2000:]
    verdicts, peak = found.stdout.splitlines()
    assert set(verdicts.split()) <= ends
    assert int(peak) <= (256 << 20) + (1 << 29)
