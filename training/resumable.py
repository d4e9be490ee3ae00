"""Steps that a kill cannot change: all that a step draws is drawn from (seed, name, step), and what is kept is kept whole.

A run that is begun again goes on from the last checkpoint and ends with the same weights, on the same machine and threads.
"""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from absint.contract.whole_files import write_whole
from absint.errors import InputError

SAVE_SECONDS = 10.0     # of this process's CPU: a kill costs no more


def draw_seed(seed: int, *what: object) -> int:
    """32 bits, which is all that torch's generator on the CPU takes of a seed."""
    text = "/".join(map(str, (seed, *what)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")


def ordered_batch(count: int, batch: int, step: int, seed: int, name: str) -> Tensor:
    """Positions (batch,) of the step's inputs: full batches of an order drawn for each epoch."""
    epoch, place = divmod(step, count // batch)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(draw_seed(seed, name, "order", epoch)))
    return order[place * batch:(place + 1) * batch]


@dataclass(eq=False)
class Training:
    """Networks and optimisers, and the step that changes them: returns its losses by name. Mutable."""

    name: str
    seed: int
    nets: Mapping[str, nn.Sequential]
    optimisers: Mapping[str, torch.optim.Optimizer]
    step: Callable[[int], Mapping[str, Tensor]]
    steps: int
    bound: Mapping[str, Any]      # what the run is: a checkpoint of another one is refused

    def run(self, path: Path, every: int, said: Callable[[str], None], save_seconds: float = SAVE_SECONDS) -> float:
        """Train to the end, going on from `path` if it is there; the CPU seconds it took in all. A line of losses each `every` steps."""
        begun, seconds = self._resume(path)
        if begun:
            said(f"{self.name}: going on after step {begun} of {self.steps}")
        started = saved = time.process_time()
        reported, sums = begun, dict[str, Tensor]()
        for number in range(begun, self.steps):
            torch.manual_seed(draw_seed(self.seed, self.name, "step", number))
            for key, loss in self.step(number).items():
                sums[key] = sums.get(key, torch.zeros_like(loss)) + loss
            done = number + 1
            if done % every == 0 or done == self.steps:
                means = ", ".join(f"{key} {value.item() / (done - reported):.4f}" for key, value in sums.items())
                said(f"{self.name}: step {done}/{self.steps}, {means}")
                reported, sums = done, {}
            now = time.process_time()
            if now - saved > save_seconds or done == self.steps:
                self._keep(path, done, seconds + now - started)
                saved = now
        return seconds + time.process_time() - started

    def _keep(self, path: Path, done: int, seconds: float) -> None:
        content = io.BytesIO()
        torch.save({
            "nets": {key: net.state_dict() for key, net in self.nets.items()},
            "optimisers": {key: one.state_dict() for key, one in self.optimisers.items()},
            "said": json.dumps({"bound": dict(self.bound), "step": done, "seconds": seconds}),
        }, content)
        write_whole(path, content.getvalue())

    def _resume(self, path: Path) -> tuple[int, float]:
        if not path.exists():
            return 0, 0.0
        try:
            kept = torch.load(path, map_location="cpu", weights_only=True)
            said = json.loads(kept["said"])
        except (OSError, RuntimeError, ValueError, KeyError, TypeError, EOFError, pickle.UnpicklingError) as error:
            raise InputError("E-CHECKPOINT-FORMAT", f"is no checkpoint: {error}", where=str(path),
                             hint="remove the file and begin again") from error
        wanted = json.loads(json.dumps(dict(self.bound)))
        other = [f"{key}: {said['bound'].get(key)!r} there, {value!r} here" for key, value in wanted.items()
                 if said["bound"].get(key) != value]
        if other:
            raise InputError("E-CHECKPOINT-OTHER", "the checkpoint is of another training", where=str(path), details=other,
                             hint="use the same options, or give --work another folder")
        for key, net in self.nets.items():
            net.load_state_dict(kept["nets"][key])
        for key, one in self.optimisers.items():
            one.load_state_dict(kept["optimisers"][key])
        return int(said["step"]), float(said["seconds"])


def adam(nets: Sequence[nn.Module], rate: float, first: float) -> torch.optim.Adam:
    """Adam with Keras's epsilon, as the published runs had it."""
    parameters = [parameter for net in nets for parameter in net.parameters()]
    return torch.optim.Adam(parameters, rate, betas=(first, 0.999), eps=1e-7, fused=True)
