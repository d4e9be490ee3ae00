"""Stages of `clever.py` and others: units of work that are kept one by one, share what time there is, and end in tables and relations."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Any, Protocol

import torch
from clever_data import AbsentError, Data
from clever_nets import Net, Training, net

Found = dict[str, Any]
DONE, CUT, FAILED, ABSENT, LATE = "done", "cut", "failed", "absent", "no time left"


class Place(Protocol):
    """What all visits have. out: the folder of what units found.  device: that they run on."""

    out: Path
    device: str


@dataclass(frozen=True)
class Size:
    """images: of each network's test images, the first ones.  batches, samples: of a score.  second: likewise, of order 2.

    peer: images that ART scores, too.
    bpda: samples a batch of the table on transforms.  module: batches and samples for the module of DenseNet-121's form, whose images
    have `side` x `side` pixels, with so many layers a block.  cifar: whether its network takes part.
    """

    images: int
    batches: int
    samples: int
    second: tuple[int, int]
    peer: int
    bpda: int
    module: tuple[int, int]
    cifar: bool
    side: int = 224
    blocks: tuple[int, ...] = (6, 12, 24, 16)


@dataclass
class Visit:
    """What units are given. out: a folder.  memory: as `--memory` has it.  rehearsal: fewer epochs and images for what is trained."""

    out: Path
    nets: Path
    data: Data
    size: Size
    device: str = "cpu"
    memory: str | None = None
    rehearsal: Training = field(default_factory=Training)
    _nets: dict[str, Net] = field(default_factory=dict)

    def net(self, name: str, seconds: float = inf) -> Net:
        """Read, or trained."""
        if name not in self._nets:
            how = Training(self.device, seconds, self.rehearsal.epochs, self.rehearsal.images)
            self._nets[name] = net(name, self.data, self.nets, how)
        return self._nets[name]


@dataclass(frozen=True)
class Unit:
    """run: (visit, seconds) -> what is kept, as JSON; {"state": CUT} among it where a limit left some out: tried again the next time.

    The visit is that of the stage.

    share: of the time that is left, in proportion to the units that wait.
    """

    name: str
    share: float
    run: Callable[[Any, float], Found]


@dataclass(frozen=True)
class Stage:
    """units: in order.  page: markdown of what they found, by name; those that found nothing are not there."""

    name: str
    units: Callable[[Any], list[Unit]]
    page: Callable[[Any, Mapping[str, Found]], Iterator[str]]


def kept(visit: Place, unit: str) -> Found | None:
    """What an earlier run found."""
    path = visit.out / f"{unit}.json"
    return json.loads(path.read_text()) if path.exists() else None


def keep(visit: Place, unit: str, found: Found) -> None:
    """In one step: a kill leaves what was there."""
    part = visit.out / f".{unit}.json"
    part.write_text(json.dumps(found, indent=1, default=str) + "\n", encoding="utf-8")
    part.replace(visit.out / f"{unit}.json")


def run(visit: Place, units: Sequence[Unit], end: float, wrote: Callable[[], None]) -> bool:
    """Every one that is not done, in order, and those that were cut again while there is time; whether none failed.

    wrote: called after each.
    """
    waiting = [unit for unit in units if (kept(visit, unit.name) or {}).get("state") != DONE]
    failed = False
    while waiting:
        cut = []
        while waiting:
            left = end - time.monotonic()
            seconds = left * waiting[0].share / sum(unit.share for unit in waiting) if end < inf else inf
            unit = waiting.pop(0)
            found = attempt(visit, unit, seconds) if left > 1 else {"state": LATE, "seconds": 0.0}
            before = kept(visit, unit.name)
            if found["state"] in (DONE, CUT) or before is None or before["state"] not in (DONE, CUT):
                keep(visit, unit.name, {**found, "machine": machine(visit.device)})
            failed |= found["state"] == FAILED
            cut += [unit] if found["state"] == CUT else []
            print(f"{unit.name}: {found['state']}, {found['seconds']} s{': ' + found['error'] if 'error' in found else ''}", flush=True)
            wrote()
        waiting = cut if 1 < end - time.monotonic() < inf else []
    return not failed


def attempt(visit: Place, unit: Unit, seconds: float) -> Found:
    """One unit, whatever becomes of it."""
    begin = time.monotonic()
    try:
        found = {"state": DONE, **unit.run(visit, seconds)}
    except AbsentError as error:
        found = {"state": ABSENT, "error": str(error)}
    except Exception as error:      # the next unit may still find something out
        found = {"state": FAILED, "error": f"{type(error).__name__}: {error}"[:500], "where": traceback.format_exc().splitlines()[-9:]}
    return {**found, "seconds": round(time.monotonic() - begin, 1)}


def chosen(visit: Place, stages: Sequence[Stage], only: Sequence[str]) -> tuple[list[Stage], list[Unit]]:
    """Stages that are printed, and units that run. only: names of either; none for all. Leaves with usage where there is none of a name."""
    units = {stage.name: stage.units(visit) for stage in stages}
    unknown = sorted(set(only) - {*units, *(unit.name for own in units.values() for unit in own)})
    if unknown:
        print(f"--only: no stages or units {', '.join(unknown)}; stages are {', '.join(units)}", file=sys.stderr)
        raise SystemExit(2)
    taken = {name: [unit for unit in own if not only or name in only or unit.name in only] for name, own in units.items()}
    return [stage for stage in stages if taken[stage.name]], [unit for own in taken.values() for unit in own]


def pages(visit: Place, stages: Sequence[Stage]) -> str:
    """Markdown of all that is kept."""
    lines: list[str] = []
    for stage in stages:
        found = {unit.name: kept(visit, unit.name) for unit in stage.units(visit)}
        useful = {name: one for name, one in found.items() if one is not None and one["state"] in (DONE, CUT)}
        lines += ["", f"## {stage.name}", ""]
        lines += list(stage.page(visit, useful)) if useful else []
        lines += [f"- {name}: {'not begun' if one is None else one['state'] + (': ' + one['error'] if 'error' in one else '')}"
                  for name, one in found.items() if one is None or one["state"] != DONE]
        by = sorted({one["machine"] for one in useful.values()})
        lines += ["", *(f"Run on: {one}." for one in by)] if by else []
    return "\n".join(lines).strip() + "\n"


def table(head: Sequence[object], rows: Sequence[Sequence[object]]) -> list[str]:
    """Markdown."""
    return [f"| {' | '.join(map(str, head))} |", f"|{'---|' * len(head)}", *(f"| {' | '.join(map(cell, row))} |" for row in rows), ""]


def cell(value: object) -> str:
    """Three digits; nothing for None."""
    if value is None:
        return "-"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def relation(text: str, holds: bool | None) -> str:
    """One line: it is reported as found, and fails nothing."""
    return f"- {'not known' if holds is None else 'held' if holds else 'NOT held'}: {text}"


def machine(device: str) -> str:
    """What a figure needs to be repeated."""
    import absint

    with suppress(OSError):
        names = [line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    commit = ""
    with suppress(OSError):
        commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True,
                                check=False).stdout.strip()
    card = f"{torch.cuda.get_device_name(device)}, " if device.startswith("cuda") else ""
    return (f"{card}{names[0] if names else platform.processor()}, {torch.get_num_threads()} threads of {os.cpu_count()}, Python "
            f"{platform.python_version()}, torch {torch.__version__}, absint {absint.__version__}{' ' + commit if commit else ''}")


def peak_mib() -> int:
    """The most memory that this process has had since `peak_from_here`, in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM"))


def peak_from_here() -> int:
    """Forget the peak so far, where the system lets us; the memory that is held now, in MiB."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return peak_mib()
