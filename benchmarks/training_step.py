"""One step of `absint train` in plain forward-and-backward passes of the same batch, and beside auto_LiRPA where it can be imported.

    python benchmarks/training_step.py [--nets mnist-small-100,cifar-small-50] [--seconds 60] [--lirpa FOLDER,FOLDER] [--out FOLDER]
                                       [--page FILE]

A step: the batch from stored bytes, loss, backward pass, Adam. A plain pass: cross entropy and its gradient by torch alone, without Adam.
All are taken in turns in one process and one thread; medians of process CPU time, and ratios within this run only. Memory: the peak of
torch's allocations in a step, and the growth of the resident set while a few run, after the kernels are loaded; a process of its own each.
--lirpa: folders that auto_LiRPA and what it needs are imported from, where they are not installed; it is no dependency.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import accumulate
from math import inf, prod
from pathlib import Path
from statistics import median
from typing import Any

import measure
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from absint.analyses.train.networks import ARCHITECTURES
from absint.analyses.train.options import TrainOptions
from absint.analyses.train.task import TrainTask, task_of
from absint.analyses.train.trainer import Trainer
from absint.numeric.allocator import give_back
from absint.numeric.backend import numeric_mode

SHAPES = {"mnist": (1, 28, 28), "cifar": (3, 32, 32)}
EPS = {"mnist": "0.4", "cifar": "8/255"}
NETS = ("mnist-small-100", "mnist-small-50", "mnist-medium-100", "cifar-small-50", "cifar-small-100")
AIM = 3.0                   # plain passes, of time and of memory
PLAIN, PEER, LOGITS = "plain pass", "auto_LiRPA, loss and backward", "auto_LiRPA, un-elided"
# By name: method of `absint train`, other options, and whether Adam takes part.
STEPS: dict[str, tuple[str, dict[str, Any], bool]] = {
    "IBP step": ("ibp", {}, True),
    "IBP, loss and backward": ("ibp", {}, False),
    "IBP un-elided, loss and backward": ("ibp", {"elide": False}, False),
    "constrained IBP step": ("constrained-ibp", {}, True),
    "nominal step": ("nominal", {}, True),
}
MEMORY = (PLAIN, "IBP step", "constrained IBP step")


@dataclass(frozen=True)
class Net:
    """name: data-architecture-batch."""

    name: str

    @property
    def parts(self) -> tuple[str, str, int]:
        """Data, architecture, batch."""
        data, model, batch = self.name.split("-")
        return data, model, int(batch)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of an image."""
        return SHAPES[self.parts[0]]

    def images(self) -> tuple[np.ndarray, np.ndarray]:
        """Random bytes, and labels of all ten classes; a few batches."""
        count = max(20, 4 * self.parts[2])
        return np.random.default_rng(0).integers(0, 256, (count, *self.shape), np.uint8), np.arange(count) % 10

    def task(self, folder: Path, method: str, options: dict[str, Any]) -> TrainTask:
        """As `absint train` resolves it: past the ramp from the first step on. No augmentation, no normalisation, as in a plain pass."""
        data, model, batch = self.parts
        file = folder / f"{self.name}.npz"
        if not file.exists():
            x, y = self.images()
            np.savez(file, x_train=x, y_train=y, x_test=255 - x[:20], y_test=y[:20])
        return task_of(TrainOptions(model=model, data=file, method=method, eps=EPS[data], batch_size=batch, warm_up="0", ramp="0",
                                    drops="none", augment="none", mean="none", std="none", save=folder, checkpoint=inf, **options))


# ---- what is timed ------------------------------------------------------------------------------------------------------


def plain(net: Net) -> Callable[[], object]:
    """Cross entropy and its gradient, by torch."""
    _, model, batch = net.parts
    torch.manual_seed(0)
    module = ARCHITECTURES[model](net.shape, 10)
    x, y = net.images()
    inputs, labels = torch.from_numpy(x[:batch]).float() / 255, torch.from_numpy(y[:batch])

    def once() -> None:
        module.zero_grad()
        functional.cross_entropy(module(inputs), labels).backward()

    return once


class _NoAdam:
    """In place of an optimiser: gradients and nothing else."""

    def __init__(self, parameters: Sequence[Tensor]) -> None:
        self.parameters, self.param_groups = parameters, [{"lr": 0.0}]

    def zero_grad(self) -> None:
        """As Adam does."""
        for one in self.parameters:
            one.grad = None

    def step(self) -> None:
        """Nothing."""


def _unheard(text: str) -> None:
    """Nobody listens."""


def step(net: Net, name: str, folder: Path) -> Callable[[], object]:
    """A step of the trainer itself. Its learning rate is 0 in effect: the same work each time."""
    method, options, adam = STEPS[name]
    trainer = Trainer(net.task(folder, method, {**options, "rate": 1e-12}), _unheard, inf, _unheard, resume=False)
    if not adam:
        trainer.optimiser = _NoAdam(list(trainer.parameters.values()))      # type: ignore[assignment]
    chosen = torch.arange(net.parts[2])
    return lambda: trainer._step(0, chosen)


def peer(net: Net, elided: bool) -> Callable[[], object]:
    """auto_LiRPA's interval bounds and a clean pass, in the same loss. Raises ImportError, or what it raises."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from auto_LiRPA import BoundedModule, BoundedTensor, PerturbationLpNorm
    from absint.numeric.decimal import parse_eps

    data, model, batch = net.parts
    torch.manual_seed(0)
    x, y = net.images()
    inputs, labels = torch.from_numpy(x[:batch]).float() / 255, torch.from_numpy(y[:batch])
    module = BoundedModule(ARCHITECTURES[model](net.shape, 10), inputs)
    eps = float(parse_eps(EPS[data]))
    lower, upper = (inputs - eps).clamp(0, 1), (inputs + eps).clamp(0, 1)
    unit = torch.eye(10)
    others = labels[:, None] != torch.arange(10)
    margins = (unit[labels].unsqueeze(1) - unit)[others].reshape(batch, 9, 10)
    right = torch.zeros(batch, dtype=torch.int64)

    def once() -> None:
        module.zero_grad()
        point = BoundedTensor(inputs, PerturbationLpNorm(norm=np.inf, x_L=lower, x_U=upper))
        logits = module(point)
        if elided:
            bound, _ = module.compute_bounds(IBP=True, C=margins, method="IBP", bound_upper=False)
            worst, target = torch.cat([bound.new_zeros(batch, 1), -bound], 1), right
        else:
            low, high = module.compute_bounds(IBP=True, method="IBP")
            worst, target = high.scatter(1, labels[:, None], low.gather(1, labels[:, None])), labels
        (0.5 * functional.cross_entropy(logits, labels) + 0.5 * functional.cross_entropy(worst, target)).backward()

    return once


# ---- measuring ----------------------------------------------------------------------------------------------------------


def timed(net: Net, seconds: float, folder: Path) -> tuple[dict[str, list[float]], str]:
    """CPU milliseconds of each, in turns; and why auto_LiRPA is absent, or its version."""
    work: dict[str, Callable[[], object]] = {PLAIN: plain(net), **{name: step(net, name, folder) for name in STEPS}}
    try:
        work |= {PEER: peer(net, True), LOGITS: peer(net, False)}
        said = sys.modules["auto_LiRPA"].__version__
    except Exception as error:      # whatever keeps it from running is what the table says
        said = f"not run: {type(error).__name__}: {error}"
    spent: dict[str, list[float]] = {name: [] for name in work}
    with numeric_mode():
        for once in work.values():
            once()
        end = time.monotonic() + seconds
        while time.monotonic() < end or len(spent[PLAIN]) < 5:
            for name, once in work.items():
                begin = time.process_time()
                once()
                spent[name].append(1e3 * (time.process_time() - begin))
    return spent, said


def grown(net: Net, name: str) -> tuple[float, float]:
    """MiB that torch has allocated at the peak of a step, and that a few steps add to the resident set; in a process of its own."""
    words = [sys.executable, __file__, "--alone", net.name, name]
    allocated, resident = map(float, subprocess.run(words, capture_output=True, text=True, check=True).stdout.split())
    return allocated, resident


def alone(net: Net, name: str) -> None:
    """What `grown` starts. A batch of another network loads the kernels first."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as made, numeric_mode():
        small, folder = Net(f"{net.name.rpartition('-')[0]}-2"), Path(made)
        for _ in range(2):
            (plain(small) if name == PLAIN else step(small, name, folder))()
        once = plain(net) if name == PLAIN else step(net, name, folder)
        give_back()
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")
        before = _status("VmRSS")
        for _ in range(4):
            once()
        resident = (_status("VmHWM") - before) / 1024
        print(allocated(once), resident)


def allocated(once: Callable[[], object]) -> float:
    """MiB of torch's tensors at their peak while it runs, beyond those before."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as seen:
        once()
    events = [event for event in seen.profiler.kineto_results.events() if event.name() == "[memory]"]
    sizes = [event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())]
    return max(accumulate(sizes), default=0) / 2**20


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))


# ---- the page -----------------------------------------------------------------------------------------------------------


def page(found: dict[str, Any]) -> str:
    """All that was measured, as markdown."""
    lines = ["# A step of certified training", "", "How to read these tables: [RESULTS.md](../RESULTS.md).", "",
             "## benchmarks/training_step.py", "",
             f"{found['machine']}; auto_LiRPA {found['peer']}. Process CPU time, in turns; the clean loss and that of the worst case half "
             "each; random images.", ""]
    lines += [*_times(found["nets"]), "", *_verdicts(found["nets"]), ""]
    return "\n".join(lines)


def _times(nets: dict[str, Any]) -> Iterator[str]:
    yield "| network, batch | what | median ms | least ms | plain passes, medians | plain passes, least | MiB | x plain | resident |"
    yield f"|{'---|' * 9}"
    for name, one in nets.items():
        base, memory = one["ms"][PLAIN], one["mib"]
        for what, own in one["ms"].items():
            mib = memory.get(what)
            held = [""] * 3 if mib is None else [f"{mib[0]:.1f}", f"{mib[0] / memory[PLAIN][0]:.2f}", f"{mib[1] / memory[PLAIN][1]:.2f}"]
            ratios = [f"{median(own) / median(base):.2f}", f"{min(own) / min(base):.2f}"]
            cells = [name, what, f"{median(own):.1f}", f"{min(own):.1f}", *ratios, *held]
            yield f"| {' | '.join(cells)} |"


def _verdicts(nets: dict[str, Any]) -> Iterator[str]:
    def ratios(what: str, beside: str) -> list[float]:
        return [median(one["ms"][what]) / median(one["ms"][beside]) for one in nets.values() if {what, beside} <= one["ms"].keys()]

    memory = [one["mib"]["IBP step"][0] / one["mib"][PLAIN][0] for one in nets.values()]
    peers = ratios("IBP, loss and backward", PEER)
    for text, own, aim in ((f"a step of IBP in at most {AIM:g} plain passes", ratios("IBP step", PLAIN), AIM),
                           (f"its memory at most {AIM:g} times a plain pass's", memory, AIM),
                           ("its loss and backward pass in at most auto_LiRPA's time", peers, 1.0)):
        held = "not known" if not own else "held" if max(own) <= aim else "NOT held"
        yield f"- {held}: {text}{f' ({min(own):.2f} to {max(own):.2f})' if own else ''}"


def main(words: Sequence[str] | None = None) -> int:
    """Measure, keep, print."""
    given = arguments(words)
    if given.alone:
        alone(Net(given.alone[0]), given.alone[1])
        return 0
    sys.path[:0] = given.lirpa
    torch.set_num_threads(1)
    nets = [Net(name) for name in given.nets]
    found: dict[str, Any] = {"machine": measure.machine(), "peer": "", "nets": {}}
    with tempfile.TemporaryDirectory() as made:
        for net in nets:
            print(f"{net.name}, {prod(net.shape)} inputs", file=sys.stderr, flush=True)
            spent, found["peer"] = timed(net, given.seconds / len(nets), Path(made))
            found["nets"][net.name] = {"ms": spent, "mib": {name: grown(net, name) for name in MEMORY}}
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "training_step.json").write_text(json.dumps(found) + "\n", encoding="utf-8")
    (given.page or given.out / "training_step.md").write_text(page(found), encoding="utf-8")
    print(page(found))
    return 0


def arguments(words: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nets", type=lambda text: text.split(","), default=NETS, help=", ".join(NETS))
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--lirpa", type=lambda text: text.split(","), default=[])
    parser.add_argument("--out", type=Path, default=Path("build/training_step"))
    parser.add_argument("--page", type=Path)
    parser.add_argument("--alone", nargs=2, help=argparse.SUPPRESS)
    return parser.parse_args(words)


if __name__ == "__main__":
    sys.exit(main())
