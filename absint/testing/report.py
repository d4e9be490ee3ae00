"""How the conformance kit names, runs and reports its checks. Private to `absint.testing`."""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from absint.engine.domain import DOMAINS
from absint.errors import PluginError
from absint.model.op import OPS
from absint.numeric.backend import numeric_mode
from absint.search.strategy import STRATEGIES
from absint.solvers.interface import SOLVERS
from absint.testing.truth import Failures

_SHOWN = 4  # failures of one check: more of the same kind say nothing new


class ContractError(PluginError):
    """An operator, a domain or a solver breaks its contract. details: one line per failure, each a whole sentence."""


@dataclass(frozen=True)
class KitClaim:
    """What is claimed (the first sentence of the docstring of `find`), how it is refuted, and what to look at where it is.

    find(subject, *arguments) yields one description per failure: where, at which magnitudes, what came out and what is exact.
    """

    find: Callable[..., Failures]
    look: str

    @property
    def text(self) -> str:
        """One sentence, as it continues "breaks the claim that"."""
        first = " ".join((self.find.__doc__ or "it works").split()).split(". ")[0].rstrip(".")
        return first[0].lower() + first[1:] if first[1:2].islower() or first[1:2] == " " else first


@dataclass(frozen=True)
class Check:
    """One named check. Calling it raises ContractError; whatever the subject itself raises counts as a failure."""

    name: str
    claim: KitClaim
    arguments: tuple[Any, ...] = ()

    def failures(self, subject: Any) -> list[str]:
        """One sentence per failure."""
        try:
            with numeric_mode(), torch.no_grad():
                found = list(self.claim.find(subject, *self.arguments))
        except Exception as error:  # a stranger's code: whatever it raises is a failure to report
            found = [raised(error)]
        return self._sentences(subject, found)

    def _sentences(self, subject: Any, found: list[str]) -> list[str]:
        if not found:
            return []
        first = f"{self.name}: {registered(subject)} breaks the claim that {self.claim.text}: {found[0]}; look at {self.claim.look}"
        rest = [f"{self.name}: also {line}" for line in found[1:_SHOWN]]
        return [first, *rest, *([f"{self.name}: and {len(found) - _SHOWN} more like these"] if len(found) > _SHOWN else [])]

    def __call__(self, subject: Any) -> None:
        """Raise ContractError with every failure."""
        refuse(self.failures(subject), subject, "1 check failed")


def raised(error: BaseException) -> str:
    """What was raised, and at which line: an assertion or a KeyError says nothing by itself."""
    frames = traceback.extract_tb(error.__traceback__)
    what = " ".join(str(error).split()) or "without a message"
    if not frames:
        return f"it raised {type(error).__name__}: {what}"
    last = frames[-1]
    return f"it raised {type(error).__name__}: {what} (in {last.name}, {Path(last.filename).name}:{last.lineno}: `{last.line}`)"


def registered(subject: Any) -> str:
    """The name that the subject's author registered it by, with its kind; that of its class where it is not registered."""
    for registry in (DOMAINS, STRATEGIES, OPS, SOLVERS):
        name = registry.name_of(type(subject))
        if name is not None:
            return f"{registry.noun} '{name}'"
    return f"'{type(subject).__name__}'"


def refuse(lines: Sequence[str], subject: Any, what: str) -> None:
    """Raise ContractError where there are lines."""
    if lines:
        raise ContractError("E-CONTRACT", what, where=registered(subject), details=lines,
                            hint="what is unsound proves false statements: repair it before using it")


def run_checks(checks: Sequence[Check], subject: Any, *, quiet: bool) -> None:
    """Run them in order, a line for each on stderr while it runs and one on stdout at the end; raise what failed, all at once."""
    lines: list[str] = []
    failed = 0
    name = registered(subject)
    for number, check in enumerate(checks, 1):
        _say(f"[{number:2}/{len(checks)}] {name} {check.name} ... ", quiet)
        begin = time.monotonic()
        found = check.failures(subject)
        failed += bool(found)
        lines += found
        _say(f"{'FAILED' if found else 'ok'} ({time.monotonic() - begin:.1f} s)\n", quiet)
    refuse(lines, subject, f"{failed} of {len(checks)} checks failed")
    if not quiet:
        sys.stdout.write(f"{name} passed: {len(checks)} checks\n")


def _say(text: str, quiet: bool) -> None:
    if not quiet:
        sys.stderr.write(text)
        sys.stderr.flush()
