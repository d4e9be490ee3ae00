"""The stage of `gpu.py` on training: steps on the device beside plain passes there, and whether they are the CPU's steps."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch
from gpu import Visit
from torch.nn import functional

from absint.analyses.train.networks import ARCHITECTURES
from absint.analyses.train.options import TrainOptions
from absint.analyses.train.task import TrainTask, task_of
from absint.analyses.train.trainer import Trainer

EPS, BATCH, STEPS = "0.3", 100, 30
CLOSE = 1e-3        # of the loss: what sums in another order make of the first steps


def training(visit: Visit) -> None:
    """Steps a second of IBP and constrained IBP; the losses of the first steps beside those on the CPU; memory."""
    found = visit.found
    found.update(head=("network", "method", "ms a step", "plain passes", "loss there", "loss on the CPU"), rows=[], violations=[])
    with tempfile.TemporaryDirectory() as folder:
        for model in ("small", "medium") if visit.on_card else ("small",):
            plain = _median(visit, _plain(model, visit))
            for method in ("ibp", "constrained-ibp"):
                visit.check()
                there, here = (_trainer(model, method, device, Path(folder)) for device in (visit.device, "cpu"))
                chosen = torch.arange(BATCH)
                first, second = _losses(there, chosen), _losses(here, chosen)
                if not abs(first - second) <= CLOSE * (1 + abs(second)):
                    found["violations"].append(f"{model}, {method}: loss {first} there, {second} on the CPU after three steps")
                spent = _median(visit, lambda one=there, chosen=chosen: one._step(0, chosen))
                found["rows"].append((model, method, f"{spent * 1e3:.2f}", f"{spent / plain:.2f}", f"{first:.5f}", f"{second:.5f}"))
    found["said"] = f"{len(found['rows'])} kinds of steps, {len(found['violations'])} unlike the CPU's"


def _task(model: str, method: str, device: str, folder: Path) -> TrainTask:
    """On bundled images, at the full radius from the first step on."""
    return task_of(TrainOptions(model=model, method=method, eps=EPS, batch_size=BATCH, warm_up="0", ramp="0", drops="none", save=folder,
                                device=device))


def _trainer(model: str, method: str, device: str, folder: Path) -> Trainer:
    return Trainer(_task(model, method, device, folder), _unheard, float("inf"), _unheard, resume=False)


def _unheard(text: str) -> None:
    """Nobody listens."""


def _losses(trainer: Trainer, chosen: torch.Tensor) -> float:
    """The loss of the third step."""
    for step in range(3):
        trainer._step(step, chosen)
    return trainer.last_loss


def _plain(model: str, visit: Visit) -> Callable[[], Any]:
    module = ARCHITECTURES[model]((1, 28, 28), 10).to(visit.device)
    x = torch.rand(BATCH, 1, 28, 28, generator=torch.Generator().manual_seed(0)).to(visit.device)
    y = (torch.arange(BATCH) % 10).to(visit.device)

    def once() -> None:
        module.zero_grad()
        torch.autograd.backward(functional.cross_entropy(module(x), y))

    return once


def _median(visit: Visit, work: Callable[[], Any]) -> float:
    """Seconds, of some runs after two that warm up."""
    spent = []
    for number in range(2 + (STEPS if visit.on_card else 3)):
        begin = time.perf_counter()
        work()
        if visit.on_card:
            torch.cuda.synchronize()
        if number >= 2:
            spent.append(time.perf_counter() - begin)
    return median(spent)
