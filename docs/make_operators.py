"""Writes docs/operators.md from the registry and ONNX's own node tests: python docs/make_operators.py"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import onnx
import onnx.defs

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "support"))

import node_tests  # noqa: E402

from absint.frontends.onnx_bodies import defined_by_others  # noqa: E402
from absint.frontends.onnx_file import OLDEST_OPSET  # noqa: E402
from absint.model.families.composite import Composite  # noqa: E402
from absint.model.families.linear import Linear  # noqa: E402
from absint.model.op import OPS, Op  # noqa: E402

TARGET = ROOT / "docs" / "operators.md"
HEAD = """# Operators

Written by `python docs/make_operators.py` from the registry and ONNX's own node tests (onnx {version}); a test holds it to them.

An operator is *linear* (exact in every domain up to the rounding that is bounded), *moves entries* (linear, and nothing is
rounded), a *relaxation* (sound bounds that follow from its mathematics), or expands into others. Node tests run in several
forms: each floating-point input alone as the network's input, the others constant, and all of them cut out of one vector;
whole numbers of quantised networks go in and come out by casts. A test passes where a form is imported, agrees with
onnxruntime, and gives what the test expects within 1e-5 of its scale (2e-3 for float16); no form may give anything else.

Operators without an entry that ONNX defines by others are expanded by that definition, if those have entries: {defined}.
{names} operators, {passed} tests passed, {listed} listed below.
"""


def opsets(name: str) -> str:
    """Versions in which the operator exists, from the oldest that absint reads."""
    domain, _, own = name.rpartition(".")
    known = [s for s in onnx.defs.get_all_schemas_with_history() if s.name == own and s.domain == domain]
    last = max(known, key=lambda s: s.since_version)
    if domain:
        return "1 and newer"
    first = max(OLDEST_OPSET, min(s.since_version for s in known))
    return f"{first} to {last.since_version - 1}" if last.deprecated else f"{first} and newer"


def classes() -> dict[str, type[Op]]:
    """Every operator class by its name."""
    found: dict[str, type[Op]] = {}
    waiting: list[type[Op]] = [Op]
    while waiting:
        current = waiting.pop()
        found[current.__name__] = current
        waiting += current.__subclasses__()
    return found


def treatment(outcomes: tuple[node_tests.Outcome, ...], known: dict[str, type[Op]]) -> str:
    """How the passed tests were carried, by the families of the parts."""
    parts = {part for o in outcomes for part in o.parts}
    families = [known[p] for p in sorted(parts) if p in known]
    nonlinear = [c.__name__ for c in families if not issubclass(c, (Linear, Composite))]
    if nonlinear:
        return f"relaxation ({', '.join(nonlinear)})" if len(parts) == 1 else f"expands into {', '.join(sorted(parts))}"
    if not parts:
        return "the identity" if any(o.reason is None for o in outcomes) else "see below"
    moving = {"Reshape", "Transpose", "Concat", "Gather", "Pad", "Assemble", "Identity"}
    return ("moves entries" if parts <= moving else "linear") + f" ({', '.join(sorted(parts))})"


def document() -> str:
    """The whole file."""
    known, rows, listed, passed = classes(), [], [], 0
    names = sorted(OPS.names())
    for name in names:
        outcomes = node_tests.outcomes(name)
        good = sum(o.reason is None for o in outcomes)
        passed += good
        said = treatment(outcomes, known) if outcomes or "." not in name else "see models.md; no node tests"
        rows.append(f"| {name} | {opsets(name)} | {said} | {good} | {len(outcomes) - good} |")
        for reason, count in sorted(Counter(o.reason for o in outcomes if o.reason is not None).items()):
            tests = ", ".join(o.name.removeprefix("test_") for o in outcomes if o.reason == reason)
            listed.append((count, f"- **{name}**: {reason}: {tests}"))
    total = sum(count for count, _ in listed)
    return "\n".join([
        HEAD.format(version=onnx.__version__, defined=", ".join(defined_by_others()), names=len(names), passed=passed, listed=total),
        "| operator | opsets | treatment | passed | listed |", "|---|---|---|---|---|", *rows, "",
        "## Node tests that do not apply, and why", "", *(line for _, line in listed), "",
    ])


if __name__ == "__main__":
    TARGET.write_text(document(), encoding="utf-8")
