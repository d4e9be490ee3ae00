"""Where the items of a run are decided: in this process, in others, on other machines. One class each, and the registry of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from absint.contract.analysis import Analysis, Failure, Item
from absint.contract.run import Run
from absint.errors import UsageError
from absint.registry import Registry

E = TypeVar("E", bound="type[Executor]")


class Executor(ABC):
    """Decides items and yields a record for each, in any order, the moment it is known; a `Failure` for one that has none.

    Whatever ends the generator (an interrupt, a closed pipe) leaves no process and no thread behind.
    """

    def check(self, options: Any) -> None:
        """Raise what is wrong with the options for this executor; nothing is read or started yet. Default: no cluster is spoken of.

        Raises UsageError E-EXECUTOR, and what a subclass says.
        """
        if options.address is not None:
            raise UsageError("E-EXECUTOR", f"the executor '{options.executor}' joins no cluster", where="--address",
                             hint="add --executor ray, or leave this out")

    @abstractmethod
    def records(self, analysis: Analysis[Any, Any], run: Run[Any], items: Sequence[Item]) -> Iterator[Any]:
        """Records of `analysis.Record`, or Failures."""


EXECUTORS: Registry[type[Executor]] = Registry("executor", "absint.executors")


def register_executor(name: str) -> Callable[[E], E]:
    """Class decorator: make the executor known under `name` (plug-in files; packages may use entry points instead)."""

    def enter(cls: E) -> E:
        EXECUTORS.add(name, cls)
        return cls

    return enter


class Local(Executor):
    """All items in this process, batched by the analysis."""

    def check(self, options: Any) -> None:
        """Nor of several processes: who asked for them would wait for one. Raises UsageError E-EXECUTOR."""
        super().check(options)
        if options.processes is not None:
            raise UsageError("E-EXECUTOR", f"the executor '{options.executor}' is this one process", where="--processes",
                             hint="add --executor processes, or leave this out")

    def records(self, analysis: Analysis[Any, Any], run: Run[Any], items: Sequence[Item]) -> Iterator[Any]:
        """What the analysis yields."""
        yield from analysis.decide(items, run)


__all__ = ["EXECUTORS", "Executor", "Failure", "Local", "register_executor"]
