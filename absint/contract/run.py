"""A run: everything that one analysis works with, resolved once, by the command line or by Python, and passed down whole."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import inf, isfinite
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from absint.errors import UsageError, printable

if TYPE_CHECKING:
    from absint.contract.document import Json
    from absint.model.graph import Graph
    from absint.problem.dataset import Dataset
    from absint.problem.regions.region import Region
    from absint.search.names import Method

O = TypeVar("O")  # noqa: E741


def _nothing(text: str) -> None:
    """Nobody listens."""


@dataclass(frozen=True, eq=False)
class Run(Generic[O]):
    """One resolved value. What an analysis does not ask for by its options is None.

    analysis: its name.  options: with what their defaults stand for.  stated: as the user gave them, to resolve them elsewhere.
    command: what repeats it; empty in Python.  begin: on the monotonic clock.
    config: where options come from that the command line did not state, JSON-ready; empty where it stated all.
    graph: the network, from raw input units.  whole, data: all inputs, and the chosen ones.  region: given in place of inputs.
    domain: or a strategy, with its options.  timeout: seconds an instance, inf for none.  end: of the whole run, on the monotonic clock.
    problem: what `Analysis.prepare` made of it.  header: JSON-ready, for reports.  binding: all that its records depend on.
    done: records that a journal holds already, by index.  asked: the index of every item.
    stage: tells what is going on to whoever watches.  parts: the runs it is made of, where the analysis says so.
    """

    analysis: str
    options: O
    command: str = ""
    begin: float = field(default_factory=time.monotonic)
    graph: Graph | None = None
    whole: Dataset | None = None
    data: Dataset | None = None
    region: Region | None = None
    domain: Method | None = None
    timeout: float = inf
    end: float = inf
    problem: Any = None
    header: Mapping[str, Json] = field(default_factory=dict)
    binding: Mapping[str, Json] = field(default_factory=dict)
    done: Mapping[int, Any] = field(default_factory=dict)
    asked: tuple[int, ...] = ()
    stated: O | None = None
    stage: Callable[[str], None] = _nothing
    parts: tuple[Run[Any], ...] = ()
    config: Mapping[str, Json] = field(default_factory=dict)

    @property
    def network(self) -> Graph:
        """The graph of an analysis that asks for one."""
        assert self.graph is not None, "this analysis reads no network"
        return self.graph

    @property
    def inputs(self) -> Dataset:
        """The data of an analysis that asks for some."""
        assert self.data is not None, "this analysis reads no data"
        return self.data

    @property
    def data_name(self) -> str:
        """What messages call the data: 'bundled sample mnist'."""
        data: Mapping[str, Any] = self.header.get("data") or {}
        return f"{'bundled sample ' if data.get('bundled') else ''}{data.get('name', '')}"

    @property
    def left(self) -> float:
        """Seconds until time is over, at least a little."""
        return inf if self.end == inf else max(self.end - time.monotonic(), 1e-9)

    @property
    def over(self) -> bool:
        """Whether time is over."""
        return time.monotonic() >= self.end

    @property
    def quiet(self) -> bool:
        """Whether notes are unwanted."""
        return bool(getattr(self.options, "quiet", False))

    def note(self, line: str) -> None:
        """A line on stderr, unless --quiet."""
        if not self.quiet:
            sys.stderr.write(f"{printable(line)}\n")
            sys.stderr.flush()


def seconds_of(value: object, where: str) -> float:
    """A time limit: a positive number of seconds; inf for None, 'none' and 'inf'. Raises UsageError E-TIMEOUT."""
    if value is None or (isinstance(value, str) and value.strip().lower() == "none"):
        return inf
    try:
        seconds = float(value) if not isinstance(value, bool) else -1.0  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        seconds = -1.0
    if not seconds > 0 or not (isfinite(seconds) or seconds == inf):
        raise UsageError("E-TIMEOUT", f"a time limit must be a positive number of seconds, not {value!r}", where=where,
                         hint="for example 60, or none")
    return seconds
