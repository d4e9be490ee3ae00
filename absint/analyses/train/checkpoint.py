"""The state of a training that a kill leaves behind: all that the next step depends on, in one safetensors file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from absint.analyses.train.record import EpochRecord
from absint.contract.record import record_of, row_of
from absint.contract.whole_files import write_whole
from absint.errors import InputError

_VERSION = "1"
_MARK = "absint_checkpoint"
_PARTS = ("parameter", "mean", "square")        # Adam's two moments go by the parameter's name


@dataclass
class EpochSums:
    """Of the steps of the epoch that is going on. Mutable."""

    loss: float = 0.0
    wrong: int = 0
    seen: int = 0
    inputs: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, eq=False)
class State:
    """parameters, means, squares: by name.  step: steps done.  sums: of the epoch going on.  records: of the epochs done.

    bound: what the run is, by field.  threads: that computed it; another number sums in another order.
    """

    parameters: Mapping[str, Tensor]
    means: Mapping[str, Tensor]
    squares: Mapping[str, Tensor]
    step: int
    sums: EpochSums
    records: tuple[EpochRecord, ...]
    bound: Mapping[str, Any] = field(default_factory=dict)
    threads: int = 0


def write_state(path: Path, state: State) -> None:
    """Whole, or the old one is kept. Raises ResourceError E-OUT-WRITE."""
    groups = zip(_PARTS, (state.parameters, state.means, state.squares), strict=True)
    tensors = {f"{part}/{name}": value.detach().cpu().contiguous() for part, values in groups for name, value in values.items()}
    said = {"step": state.step, "sums": vars(state.sums), "records": [row_of(one) for one in state.records], "bound": dict(state.bound),
            "threads": state.threads}
    write_whole(path, save(tensors, {_MARK: _VERSION, "state": json.dumps(said)}))


def read_state(path: Path, bound: Mapping[str, Any]) -> State:
    """The state of the same run. Raises InputError E-CHECKPOINT-FORMAT for what is none, E-CHECKPOINT-OTHER naming what differs."""
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  # no mapping
        if metadata.get(_MARK) != _VERSION:
            raise ValueError("it was not written by absint train")
        said = json.loads(metadata["state"])
        parts = [{key.partition("/")[2]: value for key, value in tensors.items() if key.startswith(f"{part}/")} for part in _PARTS]
        records = tuple(record_of(EpochRecord, row) for row in said["records"])
        state = State(parts[0], parts[1], parts[2], int(said["step"]), EpochSums(**said["sums"]), records, said["bound"],
                      int(said["threads"]))
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise InputError("E-CHECKPOINT-FORMAT", f"is no checkpoint: {error}", where=str(path),
                         hint="give --save another folder, or remove the file and begin again") from error
    wanted = json.loads(json.dumps(dict(bound)))
    other = [f"{key}: {state.bound.get(key)!r} there, {value!r} here" for key, value in wanted.items() if state.bound.get(key) != value]
    if other:
        raise InputError("E-CHECKPOINT-OTHER", "the checkpoint is of another training", where=str(path), details=other,
                         hint="use the same options, or give --save another folder")
    return state


def same_shapes(path: Path, state: State, parameters: Mapping[str, Tensor]) -> None:
    """Raise InputError E-CHECKPOINT-OTHER unless the checkpoint holds these very parameters."""
    shapes = {name: tuple(value.shape) for name, value in parameters.items()}
    held = [{name: tuple(value.shape) for name, value in part.items()} for part in (state.parameters, state.means, state.squares)]
    if any(one != shapes for one in held):
        raise InputError("E-CHECKPOINT-OTHER", "the checkpoint is of another network", where=str(path),
                         hint="use the same --model, or give --save another folder")


def numbers_file(numbers: Mapping[str, Tensor], said: Mapping[str, str]) -> bytes:
    """Parameters as safetensors."""
    return save({name: value.detach().cpu().contiguous() for name, value in numbers.items()}, dict(said))


def read_numbers(path: Path, like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Parameters of these names and shapes, on their devices. Raises InputError E-CHECKPOINT-FORMAT."""
    try:
        found = load_file(path)
        if {name: value.shape for name, value in found.items()} != {name: value.shape for name, value in like.items()}:
            raise ValueError("the parameters of another network")
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError("E-CHECKPOINT-FORMAT", f"holds no weights of this network: {error}", where=str(path),
                         hint="give --save another folder and begin again") from error
    return {name: value.to(like[name].device) for name, value in found.items()}
