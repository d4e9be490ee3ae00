"""How many instances `verify` takes at once: on a device what its memory and the clock allow."""

from __future__ import annotations

from fractions import Fraction as F

import torch
from bundled import digits, mnist

from absint.analyses.verify.portfolio import Portfolio
from absint.analyses.verify.settings import ProofSettings
from absint.model.work import work
from absint.numeric.backend import GIB, Budget
from absint.problem.problem import robustness
from absint.problem.regions.region import LinfBall


def batch(device: str, memory: int) -> tuple[int, int, int]:
    """Instances at once; what fits into memory; what one look at the clock holds. Nothing is computed on the device."""
    images, labels = digits(2)
    run = Portfolio(robustness(mnist(), LinfBall(images, F(1, 100)), labels), ProofSettings("deeppoly", memory=memory))
    run.device = torch.device(device)
    need = max(stage.domain.traits.bytes_of(mnist(), numerics) for numerics in run.formats for stage in run.stages)
    return run._batch_size(), run.memory // need, Budget().pieces(work(mnist()))


def test_a_device_takes_what_memory_and_the_clock_allow() -> None:
    size, fit, pieces = batch("meta", 8 * GIB)
    assert size == min(fit, pieces) > 512
    size, fit, pieces = batch("meta", GIB >> 5)
    assert size == fit < min(512, pieces)


def test_a_cpu_takes_no_more_than_keeps_it_busy() -> None:
    size, fit, _ = batch("cpu", 8 * GIB)
    assert size <= 512 < fit
