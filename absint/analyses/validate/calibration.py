"""What calibration leaves behind: a threshold, the radii it comes from, and what all of it is bound to. Its file format.

The file is JSON. It carries a checksum of its own, so that a file edited by hand is refused, and a binding: the model, the
domain with its options, the region and the grid. Used with anything else, its false-alarm rate would mean nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, isnan
from pathlib import Path
from typing import Any

from absint.analyses.validate.normality import MEANINGFUL, normality
from absint.analyses.validate.window import SlidingWindow, WindowRule
from absint.errors import InputError, UsageError
from absint.numeric.statistics import clopper_pearson

SCHEMA = "absint-calibration/1"
_LEVEL = 0.95


@dataclass(frozen=True)
class Calibration:
    """A fitted validator. Radii are whole steps of the grid, of the inputs used, in their order.

    binding: JSON-ready, all that the numbers depend on.  rate: the false-alarm rate tolerated.  rule: the threshold and the
    parameters of the window.  rejected: of the `radii` inputs, those that one call at the threshold does not prove.
    wrong: misclassified inputs that were left out; None where there were no labels.  window: the state of the serving loop.
    """

    binding: Mapping[str, Any]
    rate: Fraction
    rule: WindowRule
    radii: tuple[int, ...]
    rejected: int
    wrong: int | None
    window: tuple[int, ...] | None

    @property
    def threshold(self) -> Fraction:
        """The radius that is asked to be proved, exact."""
        return self.rule.threshold * self.rule.step

    @property
    def false_alarms(self) -> float:
        """The share of the calibration inputs that the threshold rejects."""
        return self.rejected / len(self.radii)

    @property
    def interval(self) -> tuple[float, float]:
        """The Clopper-Pearson interval of the false-alarm rate, at 95 %."""
        return clopper_pearson(self.rejected, len(self.radii))

    @property
    def normality(self) -> float | None:
        """The p-value of the radii, None where it has none."""
        p = normality([float(k * self.rule.step) for k in self.radii])
        return None if isnan(p) else p

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready, with the checksum. Derived numbers are there for readers and are not read back."""
        rule = self.rule
        low, high = self.interval
        content = {
            "schema": SCHEMA, "binding": dict(self.binding), "rate": str(self.rate),
            "rule": {"step": str(rule.step), "threshold": rule.threshold, "sigma0": rule.sigma0, "sigma1": rule.sigma1,
                     "guard": rule.guard, "size": rule.size},
            "radii": list(self.radii), "rejected": self.rejected, "wrong": self.wrong,
            "window": None if self.window is None else list(self.window),
            "shown": {"threshold": float(self.threshold), "sigma0": float(rule.sigma0 * rule.step), "false_alarms": self.false_alarms,
                      "interval": [low, high], "level": _LEVEL, "normality_p": self.normality},
        }
        return {**content, "checksum": _checksum(content)}


def least_inputs(rate: Fraction) -> int:
    """Inputs that a false-alarm rate can be calibrated with: one of them may be rejected, and normality means something."""
    return max(MEANINGFUL, ceil(1 / rate))


def parse_rate(value: str | float | Fraction) -> Fraction:
    """A rate as written: '0.03' or '3/100'. Raises UsageError E-RATE unless 0 < rate < 1."""
    try:
        rate = value if isinstance(value, Fraction) else Fraction(value if isinstance(value, str) else repr(float(value)))
    except (ValueError, ZeroDivisionError, OverflowError, TypeError) as error:
        raise UsageError("E-RATE", f"not a rate: {value!r}", where="--rate", hint="for example 0.03") from error
    if not 0 < rate < 1:
        raise UsageError("E-RATE", f"a false-alarm rate of {value}", where="--rate", hint="between 0 and 1, for example 0.03")
    return rate


# ---- binding --------------------------------------------------------------------------------------------------------


def check_binding(found: Mapping[str, Any], wanted: Mapping[str, Any], where: str) -> None:
    """Nothing where both are the same. Raises InputError E-CALIBRATION-MODEL or E-CALIBRATION-SETTINGS naming what differs."""
    if found.get("model_sha256") != wanted["model_sha256"]:
        raise InputError("E-CALIBRATION-MODEL", "the calibration belongs to another model, or to another normalisation of it", where=where,
                         hint="calibrate this model: absint validate calibrate")
    other = sorted(name for name in {*found, *wanted} if found.get(name) != wanted.get(name))
    if other:
        rows = [f"{name}: calibrated with {found.get(name)!r}, now {wanted.get(name)!r}" for name in other]
        raise InputError("E-CALIBRATION-SETTINGS", "the calibration was made with other settings", where=where, details=rows,
                         hint="use the same settings, or calibrate again")


# ---- file -----------------------------------------------------------------------------------------------------------


def _checksum(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()).hexdigest()


def check_target(path: str | Path) -> Path:
    """The file behind a path, links followed. Raises InputError E-OUT for a folder or a device: the file gets replaced."""
    target = Path(path).resolve()
    if target.exists() and not target.is_file():
        raise InputError("E-OUT", "cannot be written: no regular file", where=str(path), hint="give the name of a file")
    return target


def write_calibration(content: Mapping[str, Any], path: str | Path) -> None:
    """Write the file of what `Calibration.as_dict` says. Raises what `replace_file` does."""
    replace_file(path, (json.dumps(content, indent=1, allow_nan=False) + "\n").encode())


def replace_file(path: str | Path, content: bytes) -> None:
    """Write a file in one step: a crash leaves the old one. Raises InputError E-OUT where it cannot be written."""
    target = check_target(path)
    beside = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        beside.write_bytes(content)
        beside.replace(target)
    except OSError as error:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        raise InputError("E-OUT", f"cannot be written: {error.strerror}", where=str(path),
                         hint="give a file in a folder you may write") from error


def read_calibration(path: str | Path) -> Calibration:
    """Read and check a file.

    Raises InputError E-CALIBRATION-FILE (cannot be read), E-CALIBRATION-FORMAT (no such file, or another version of it),
    E-CALIBRATION-CHECKSUM (changed after it was written).
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise InputError("E-CALIBRATION-FILE", f"cannot be read: {error.strerror}", where=str(path),
                         hint="make one: absint validate calibrate") from error
    except UnicodeDecodeError as error:
        raise _malformed(path, "not text") from error
    try:
        content = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise _malformed(path, "not JSON") from error
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise _malformed(path, f"not of the schema {SCHEMA}")
    stated = content.pop("checksum", None)
    try:
        same = stated == _checksum(content)
    except ValueError:      # NaN and infinity, which json reads and never was written
        same = False
    if not same:
        raise InputError("E-CALIBRATION-CHECKSUM", "the file was changed after it was written", where=str(path),
                         hint="calibrate again; a threshold set by hand has no false-alarm rate")
    return _parsed(content, path)


def _malformed(path: str | Path, why: str) -> InputError:
    return InputError("E-CALIBRATION-FORMAT", f"not a calibration file: {why}", where=str(path), hint="make one: absint validate calibrate")


def _parsed(content: Mapping[str, Any], path: str | Path) -> Calibration:
    try:
        given = dict(content["rule"])
        rule = WindowRule(Fraction(given.pop("step")), **given)
        radii, window = tuple(map(int, content["radii"])), content["window"]
        if not radii or not rule.step > 0:
            raise ValueError("no radii")
        return Calibration(dict(content["binding"]), parse_rate(content["rate"]), rule, radii, int(content["rejected"]),
                           content["wrong"], None if window is None else tuple(map(int, window)))
    except (KeyError, TypeError, ValueError, ZeroDivisionError, UsageError) as error:
        raise _malformed(path, f"{type(error).__name__}: {error}") from error


def window_of(calibration: Calibration) -> SlidingWindow:
    """The window as it was saved. Raises UsageError E-CALIBRATION-FEW where the calibration had too few inputs for one."""
    rule = calibration.rule
    if calibration.window is None or len(calibration.window) != rule.size:
        raise UsageError("E-CALIBRATION-FEW", f"a window takes {rule.size} radii and {len(calibration.radii)} were calibrated",
                         where="--mode",
                         hint=f"calibrate with {rule.size} correctly classified inputs, or give --mode threshold")
    return SlidingWindow(rule, calibration.window)
