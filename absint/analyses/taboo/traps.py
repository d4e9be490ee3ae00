"""What calibration leaves behind: masks and their thresholds, bound to one network, and the file that holds them.

The file is JSON with a checksum of its own, so that one edited by hand is refused. It holds no key; but whoever reads it knows
the mask, and so all that the key kept secret.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
import torch

from absint.contract.document import Json
from absint.contract.whole_files import write_whole
from absint.errors import InputError, UsageError
from absint.model.content_digest import model_digest
from absint.model.graph import Graph
from absint.model.watched import Watch, rectified
from absint.numeric.decimal import exact_text
from absint.numeric.rounding import cast_up

SCHEMA = "absint-taboo/1"
RULES = ("lite", "percentile", "literal", "certified")
SMALLEST = float(np.finfo(np.float32).tiny)     # no kernel flushes it to zero
_MAKE = "make one: absint taboo calibrate"


@dataclass(frozen=True)
class Trap:
    """One key's neurons. thresholds: of all entries of the watches in turn; numbers of float32, the smallest normal one at least.

    The trap alarms where a watched value z is above its threshold in a float32 execution, or NaN; a value on its threshold is none.
    masked: neurons that the key chose.  dropped: those of them that fired too often on held-out inputs and are watched no more.
    key_id: by which the same key is known again.
    Raises UsageError E-TABOO-EMPTY, E-TABOO-THRESHOLD.
    """

    watches: tuple[Watch, ...]
    thresholds: tuple[float, ...]
    dropped: int = 0
    key_id: str = ""

    def __post_init__(self) -> None:
        if not len(self):
            raise UsageError("E-TABOO-EMPTY", "a trap without neurons never alarms", hint="a mask holds one neuron at least")
        if len(self.thresholds) != len(self):
            raise UsageError("E-TABOO-THRESHOLD", f"{len(self.thresholds)} thresholds for {len(self)} neurons")
        ascending = all(tuple(sorted(set(w.entries))) == w.entries and w.entries and w.entries[0] >= 0 for w in self.watches)
        if not ascending or len({watch.tensor for watch in self.watches}) < len(self.watches):
            raise UsageError("E-TABOO-EMPTY", "a neuron is watched twice, or the entries of a watch are not ascending")
        bad = [one for one in self.thresholds if not (isfinite(one) and one >= SMALLEST and float(np.float32(one)) == one)]
        if bad:
            raise UsageError("E-TABOO-THRESHOLD", f"{bad[0]!r} is no threshold",
                             hint=f"finite numbers of float32, at least {SMALLEST:g}: `threshold_above` makes them")

    def __len__(self) -> int:
        return sum(len(watch) for watch in self.watches)

    @property
    def masked(self) -> int:
        """Neurons that the key chose."""
        return len(self) + self.dropped

    @property
    def neurons(self) -> tuple[tuple[str, int], ...]:
        """(tensor, entry) in the order of the thresholds."""
        return tuple((watch.tensor, entry) for watch in self.watches for entry in watch.entries)

    @staticmethod
    def of(thresholds: Mapping[tuple[str, int], float], dropped: int = 0, key_id: str = "") -> Trap:
        """From a threshold by (tensor, entry); tensors in the order in which they come first."""
        tensors: dict[str, list[int]] = {}
        for tensor, entry in thresholds:
            tensors.setdefault(tensor, []).append(entry)
        watches = tuple(Watch(tensor, tuple(sorted(entries))) for tensor, entries in tensors.items())
        return Trap(watches, tuple(thresholds[w.tensor, entry] for w in watches for entry in w.entries), dropped, key_id)


@dataclass(frozen=True)
class Traps:
    """The traps of one network, one a key.

    model_sha256: `model_digest` of the network, what was put before it included.  rule: what made the thresholds.  eps: exact, of the balls
    of rule `certified`.  inputs: training inputs behind the thresholds.  facts: how they were made, JSON-ready.
    """

    traps: tuple[Trap, ...]
    model_sha256: str
    rule: str
    eps: Fraction | None = None
    inputs: int = 0
    facts: Mapping[str, Json] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.traps:
            raise UsageError("E-TABOO-EMPTY", "no trap", hint="give one key at least")
        if self.rule not in RULES:
            raise UsageError("E-TABOO-RULE", f"there is no rule '{self.rule}'", where="--rule", hint=f"known: {', '.join(RULES)}")

    def __len__(self) -> int:
        return len(self.traps)

    @cached_property
    def union(self) -> Trap:
        """All neurons of all traps in one; of one in several the lowest threshold. It alarms where one of the traps does."""
        lowest: dict[tuple[str, int], float] = {}
        for trap in self.traps:
            for neuron, threshold in zip(trap.neurons, trap.thresholds, strict=True):
                lowest[neuron] = min(threshold, lowest.get(neuron, threshold))
        dropped = sum(trap.dropped for trap in self.traps)
        return self.traps[0] if len(self.traps) == 1 else Trap.of(lowest, dropped)

    @property
    def meaning(self) -> str:
        """What an alarm of a float32 execution proves."""
        if self.rule == "certified" and self.eps is not None:
            return (f"proves that the input is outside of the data range, or further than {exact_text(self.eps)} (linf) from each of the "
                    f"{self.inputs} training inputs")
        if self.rule == "lite":
            return (f"proves that the input is none of the {self.inputs} training inputs; how far it is from them, "
                    "absint taboo certify tells")
        return "proves nothing by itself: this rule promises nothing; absint taboo certify tells what it is far from"

    @property
    def watches(self) -> tuple[Watch, ...]:
        """Of the union."""
        return self.union.watches

    def places(self, trap: int) -> tuple[int, ...]:
        """Where the neurons of a trap stand among those of the union."""
        at = {neuron: place for place, neuron in enumerate(self.union.neurons)}
        return tuple(at[neuron] for neuron in self.traps[trap].neurons)

    def check(self, graph: Graph, where: str = "") -> None:
        """Raise InputError E-TABOO-MODEL where they are another network's."""
        if self.model_sha256 != model_digest(graph):
            raise InputError("E-TABOO-MODEL", "the thresholds belong to another network, or to another normalisation of it",
                             where=where or None, hint="calibrate this network: absint taboo calibrate")
        sizes = {layer.tensor: layer.size for layer in rectified(graph)}
        for watch in self.watches:
            if watch.tensor not in sizes or watch.entries[-1] >= sizes[watch.tensor]:
                raise InputError("E-TABOO-MODEL", f"the network has no post-ReLU neuron {watch.tensor}[{watch.entries[-1]}]",
                                 where=where or None, hint="calibrate this network: absint taboo calibrate")

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready, with the checksum."""
        content = {
            "schema": SCHEMA, "model_sha256": self.model_sha256, "rule": self.rule,
            "eps": None if self.eps is None else exact_text(self.eps), "inputs": self.inputs, "facts": dict(self.facts),
            "traps": [{"key_id": trap.key_id, "dropped": trap.dropped, "thresholds": list(trap.thresholds),
                       "watches": {watch.tensor: list(watch.entries) for watch in trap.watches}} for trap in self.traps],
        }
        return {**content, "checksum": _checksum(content)}

    @staticmethod
    def from_dict(content: Mapping[str, Any], where: str = "") -> Traps:
        """What `as_dict` wrote. Raises InputError E-TABOO-FORMAT, E-TABOO-CHECKSUM."""
        if content.get("schema") != SCHEMA:
            raise _malformed(where, f"not of the schema {SCHEMA}")
        rest = {name: value for name, value in content.items() if name != "checksum"}
        try:
            same = content.get("checksum") == _checksum(rest)
        except ValueError:      # NaN and infinity, which json reads and never was written
            same = False
        if not same:
            raise InputError("E-TABOO-CHECKSUM", "the file was changed after it was written", where=where or None,
                             hint="calibrate again; a threshold set by hand promises nothing")
        try:
            traps = tuple(_trap(one) for one in content["traps"])
            eps = None if content["eps"] is None else Fraction(content["eps"])
            return Traps(traps, str(content["model_sha256"]), str(content["rule"]), eps, int(content["inputs"]), dict(content["facts"]))
        except (KeyError, TypeError, ValueError, AttributeError, ZeroDivisionError, UsageError) as error:
            raise _malformed(where, f"{type(error).__name__}: {error}") from error


def read_traps(path: str | Path) -> Traps:
    """Read and check a file. Raises InputError E-TABOO-FILE (cannot be read), E-TABOO-FORMAT, E-TABOO-CHECKSUM."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise InputError("E-TABOO-FILE", f"cannot be read: {error.strerror}", where=str(path), hint=_MAKE) from error
    except UnicodeDecodeError as error:
        raise _malformed(str(path), "not text") from error
    try:
        content = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise _malformed(str(path), "not JSON") from error
    if not isinstance(content, dict):
        raise _malformed(str(path), "no JSON object")
    return Traps.from_dict(content, str(path))


def write_traps(traps: Traps, path: str | Path) -> None:
    """Write the file in one step: a crash leaves the old one. Raises ResourceError E-OUT-WRITE."""
    write_whole(Path(path), (json.dumps(traps.as_dict(), indent=1, allow_nan=False) + "\n").encode())


def threshold_above(bound: float) -> float:
    """The least number of float32 that is no threshold below `bound`, and not below the smallest normal one.

    bound: of exact values or of float32 executions, rounded up already. Raises UsageError E-TABOO-THRESHOLD where float32 ends below it.
    """
    above = float(cast_up(torch.tensor(bound, dtype=torch.float64), torch.float32))
    if not isfinite(above):
        raise UsageError("E-TABOO-THRESHOLD", f"no number of float32 is above {bound!r}",
                         hint="the bound of a neuron is infinite: a more precise domain, or a smaller radius")
    return max(above, SMALLEST)


def thresholds_above(bounds: Sequence[float]) -> tuple[float, ...]:
    """The same for several."""
    return tuple(threshold_above(bound) for bound in bounds)


def _trap(content: Mapping[str, Any]) -> Trap:
    watches = tuple(Watch(str(tensor), tuple(int(entry) for entry in entries)) for tensor, entries in content["watches"].items())
    return Trap(watches, tuple(float(one) for one in content["thresholds"]), int(content["dropped"]), str(content["key_id"]))


def _checksum(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()).hexdigest()


def _malformed(where: str, why: str) -> InputError:
    return InputError("E-TABOO-FORMAT", f"not a file of taboo traps: {why}", where=where or None, hint=_MAKE)
