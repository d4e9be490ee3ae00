"""What one visit to a card must find out, in one command of under eight minutes; each stage has a deadline of its own.

    python benchmarks/gpu.py --out OUT [--device cuda|cpu|fakegpu] [--seconds 480] [--only kernels,contract] [--nets FOLDER]

Stages: facts, kernels, contract (bounds on the device enclose exact vertices), agreement (with the CPU), throughput (certificates a
minute), branching, training, memory. OUT/gpu.json is written anew after each; the table is printed at the end and kept in OUT/gpu.md.
A stage that fails or is late is recorded with what it found, and the rest goes on, but for a card that is lost. Exit code 1 where a
stage failed or found a violation, 2 where the device cannot be had, 3 where the whole took too long.

Rehearse without a card: `--device cpu`, and `--device fakegpu`, the device of the tests (from a checkout). `make gpu-pack` gathers
what a machine without a package index needs.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parents[1] / "tests"
_WHOLE = 480.0     # seconds that the stages' shares are stated for
_GRACE = 20.0      # beyond all of them, until the process ends itself


class LateError(BaseException):
    """The stage's deadline passed inside it. No Exception: absint makes coded errors of those that cross it."""


@dataclass
class Visit:
    """What stages are given. device: its name.  counted: the fake device, which counts launches, or None.  nets: a folder or None."""

    device: str
    nets: Path | None
    counted: Any = None
    end: float = 0.0
    found: dict[str, Any] = field(default_factory=dict)

    @property
    def left(self) -> float:
        """Seconds of the stage that are left."""
        return self.end - time.monotonic()

    @property
    def on_card(self) -> bool:
        """Whether a real card computes: rehearsals take a part of each stage."""
        return self.device.startswith("cuda")

    def check(self) -> None:
        """Raise LateError once they are gone: a stage asks between two measurements."""
        if self.left <= 0:
            raise LateError


@dataclass(frozen=True)
class Stage:
    """share: seconds of the whole.  run: fills `visit.found` as it goes: "head" and "rows" make its table, "violations" fail it."""

    name: str
    share: float
    run: Callable[[Visit], None]


def main(words: Sequence[str] | None = None) -> int:
    """Run the stages asked for."""
    options = arguments(words)
    options.out.mkdir(parents=True, exist_ok=True)
    device, reason = entered(options.device)
    if reason is not None:
        print(f"no rehearsal on {options.device}: {reason}", file=sys.stderr)
        return 2
    from gpu_stages import STAGES  # torch is set up for the fake device before anything uses it

    chosen = [stage for stage in STAGES if not options.only or stage.name in options.only]
    results: dict[str, Any] = {"device": options.device, "seconds": options.seconds, "stages": {}}
    watch = threading.Timer(options.seconds + _GRACE, lambda: (write(options.out, results), os._exit(3)))
    watch.daemon = True
    watch.start()
    scale = options.seconds / (sum(stage.share for stage in chosen) if options.only else _WHOLE)
    with device as counted:
        reason = mute(options.device)
        if reason is not None:
            watch.cancel()
            print(reason, file=sys.stderr)
            return 2
        visit = Visit(options.device, options.nets, counted)
        for stage in chosen:
            results["stages"][stage.name] = run(stage, visit, scale * stage.share)
            write(options.out, results)
            print(f"{stage.name}: {results['stages'][stage.name]['state']}, {results['stages'][stage.name]['seconds']} s", flush=True)
            if results["stages"][stage.name].get("lost"):
                break
    watch.cancel()
    print(f"\n{page(results)}")
    return int(any(one["state"] == "failed" or one.get("violations") for one in results["stages"].values()))


def arguments(words: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    given = os.environ.get("ABSINT_GPU_NETS")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--seconds", type=float, default=_WHOLE)
    parser.add_argument("--only", type=lambda text: text.split(","), default=[])
    parser.add_argument("--nets", type=Path, default=Path(given) if given else None, help="more ONNX files; else $ABSINT_GPU_NETS")
    return parser.parse_args(words)


def entered(device: str) -> tuple[AbstractContextManager[Any], str | None]:
    """What the stages run in, and why it cannot be had."""
    if not device.startswith("fakegpu"):
        return nullcontext(), None
    sys.path.insert(0, str(TESTS / "support"))
    try:
        import fake_device
    except ImportError as error:
        return nullcontext(), f"{error}: the device of the tests comes with a checkout"
    reason = fake_device.why_not()
    return (nullcontext() if reason else fake_device.FakeDevice()), reason


def mute(device: str) -> str | None:
    """Why the device does not answer at all. One that answers wrongly is what the stages are for."""
    from absint.errors import AbsintError
    from absint.numeric import backend

    try:
        backend.device(device)
    except AbsintError as error:
        return error.render() if error.code == "E-DEVICE" else None
    return None


def run(stage: Stage, visit: Visit, seconds: float) -> dict[str, Any]:
    """One stage, whatever becomes of it: state, seconds, and what it found until then."""
    visit.found = found = {}
    begin = time.monotonic()
    visit.end = begin + seconds
    state: dict[str, Any] = {"state": "done"}
    try:
        with alarm(seconds + min(10.0, 0.5 * seconds) + 1):
            stage.run(visit)
    except LateError:
        state["state"] = "late"
    except Exception as error:      # the next stage may still find something out
        from absint.numeric.backend import is_device_lost

        state = {"state": "failed", "error": f"{type(error).__name__}: {error}", "where": traceback.format_exc().splitlines()[-9:],
                 "lost": is_device_lost(error)}
    return {**state, "seconds": round(time.monotonic() - begin, 1), "allowed": round(seconds, 1), **found}


@contextmanager
def alarm(seconds: float) -> Iterator[None]:
    """Raise LateError where a measurement itself takes too long; not inside one call into a library."""

    def ring(number: int, frame: object) -> None:
        raise LateError

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


# ---- what is written ---------------------------------------------------------------------------------------------------


def write(out: Path, results: dict[str, Any]) -> None:
    """gpu.json and gpu.md, each in one step."""
    for name, text in (("gpu.json", json.dumps(results, indent=1, default=str)), ("gpu.md", page(results))):
        part = out / f".{name}"
        with suppress(OSError):
            part.write_text(text + "\n", encoding="utf-8")
            part.replace(out / name)


def page(results: dict[str, Any]) -> str:
    """One table of the stages, then a table of each."""
    rows = [[name, one["state"], one["seconds"], one["allowed"], "; ".join(filter(None, (one.get("error"), one.get("said"))))]
            for name, one in results["stages"].items()]
    lines = [f"Device {results['device']}", "", *table(("stage", "state", "seconds", "allowed", "found"), rows)]
    for name, one in results["stages"].items():
        if one.get("rows"):
            lines += ["", f"## {name}", "", *table(one["head"], one["rows"])]
        lines += [f"- violation: {text}" for text in one.get("violations", ())[:20]]
    return "\n".join(lines)


def table(head: Sequence[object], rows: Sequence[Sequence[object]]) -> list[str]:
    """Markdown."""
    cells = [[str(cell).replace("|", "/").replace("\n", " ")[:200] for cell in row] for row in (head, *rows)]
    return [f"| {' | '.join(cells[0])} |", f"|{'---|' * len(head)}", *(f"| {' | '.join(row)} |" for row in cells[1:])]


if __name__ == "__main__":
    sys.modules.setdefault("gpu", sys.modules["__main__"])    # the stages import what is stated here
    sys.exit(main())
