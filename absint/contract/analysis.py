"""An analysis: what it is asked, what can be decided apart, how, and what it all adds up to. One class, one folder, one entry point.

    @register_analysis("margins")
    class Margins(Analysis[MarginOptions, MarginRecord]):
        \"\"\"First line of `absint margins --help`.\"\"\"

The command `absint margins`, the function `absint.margins`, journal, resume, limits, progress, executors and every format come
with it. A module that an entry point names must not import torch at its top: `--help` of every command reads it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from inspect import cleandoc
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from absint.contract.document import Document, Facts, Json, Section
from absint.contract.options import options_of
from absint.contract.record import columns_of
from absint.contract.replay import WitnessReplay
from absint.errors import PluginError, UsageError
from absint.registry import Registry

if TYPE_CHECKING:
    from absint.contract.run import Run
    from absint.model.graph import Graph

O = TypeVar("O")  # noqa: E741  # the design's letter
R = TypeVar("R")
A = TypeVar("A", bound="type[Analysis[Any, Any]]")

TIMED_OUT = "E-TIMEOUT"     # the code of a failure: killed at the item's own limit


@dataclass(frozen=True)
class Item:
    """What can be decided, resumed and sent elsewhere by itself. index: its key in a journal, and the `index` of its record.

    name: what messages call it.  limit: seconds it may take, None for the run's.  payload: picklable, what `decide` needs to know.
    """

    index: int
    name: str = ""
    limit: float | None = None
    payload: Any = None


@dataclass(frozen=True)
class Failure:
    """Why an item has no record: its process died, was killed at its limit, or met an error. code: E-..., what: one line."""

    index: int
    name: str
    code: str
    what: str
    time_s: float = 0.0


class Analysis(ABC, Generic[O, R]):
    """The docstring of a subclass is its `--help`.

    Options: a frozen dataclass (`absint.contract.options`).  Record: a frozen dataclass whose first field is `index`.
    records: the key of the records in JSON.  positional: option fields that Python takes by position.
    function: its name in Python; the command's with `_` where empty.  returns: what `value` returns, as 'module:Class', where it
    is not the sequence of records.
    also: other analyses whose options its command takes, too, but for their arguments; `route` says which one is meant.
    project: whether a project file that lies there, and the environment, give its options; False: only a file named by --config does,
    and then the environment, too. `asks_project` says it of one command.
    unread: options that `document` does without: a report of a killed run sums up its records though their values were objects.
    """

    Options: ClassVar[type[Any]]
    Record: ClassVar[type[Any]]
    records: ClassVar[str] = "records"
    positional: ClassVar[tuple[str, ...]] = ("net", "data")
    function: ClassVar[str] = ""
    returns: ClassVar[str] = ""
    also: ClassVar[tuple[str, ...]] = ()
    project: ClassVar[bool] = True
    unread: ClassVar[frozenset[str]] = frozenset()

    # ---- what every analysis states --------------------------------------------------------------------------------

    @abstractmethod
    def decide(self, items: Sequence[Item], run: Run[O]) -> Iterator[R | Failure]:
        """The record of each item, batched inside, yielded the moment it is known; counterexamples first.

        A `Failure` stands for an item that met an error which is no other one's. What it does not yield counts as not decided.
        `run.stage` names what is going on; `run.end` is when time is over.
        """

    @abstractmethod
    def document(self, records: Sequence[R], run: Run[O]) -> Document:
        """What the records add up to, in the order of the items; some may be missing."""

    # ---- what has a default ----------------------------------------------------------------------------------------

    def items(self, run: Run[O]) -> Sequence[Item]:
        """Default: the chosen inputs. Raises UsageError E-USAGE for a Region in their place, which an analysis has to ask for itself."""
        if run.region is not None:
            raise UsageError("E-USAGE", f"{run.analysis} takes inputs, not a region", where="inputs", hint="give arrays")
        return [] if run.data is None else [Item(int(index), f"input {int(index)}") for index in run.data.index]

    def check(self, options: O) -> None:
        """Raise UsageError for options that do not go together; nothing is read yet."""

    def placed(self, options: O) -> O:
        """The options with the places that it writes to where none are named; nothing is read for that."""
        return options

    def resolved(self, options: O) -> O:
        """The options with what their defaults stand for."""
        return options

    def asks_project(self, given: Mapping[str, Any]) -> bool:
        """Whether a project file that lies there, and the environment, count beside these options of the command line.

        Not where they name a file that states the whole question, which means the same in every folder.
        """
        return self.project

    def default_format(self, options: O) -> str:
        """Where neither --format nor the name of a file says otherwise."""
        return "text"

    def reads(self, options: O) -> Mapping[str, Path]:
        """Files that it reads besides those that options of paths name, by option: none of them is ever written over."""
        return {}

    def graph(self, options: O) -> Graph | None:
        """The network, where it is not simply the file named by `net`: None leaves it to the run."""
        return None

    def parts(self, options: O) -> Sequence[tuple[str, Any]]:
        """Runs that this one is made of, each an analysis and its options: `run.parts`, resolved before `prepare`. It then reads no
        network, data or domain of its own. By default there are none."""
        return ()

    def suits(self, graph: Graph) -> None:
        """Raise what is wrong with the network, whatever the data: before any are read."""

    def suited(self, graph: Graph, options: O) -> None:
        """The same where it depends on what is asked; by default it does not."""
        self.suits(graph)

    def labelled(self, options: O) -> bool:
        """Whether labels are asked for: where they are not, what would be none in the data is no error."""
        return True

    def prepare(self, run: Run[O]) -> Any:
        """What it makes of model, data and options: `run.problem`. Raises what is wrong with them."""
        return None

    def apart(self, options: O) -> bool:
        """Whether items can be decided apart from each other: no executor gets those that are decided one after the other, in order."""
        return True

    def files(self, item: Item) -> Sequence[Path]:
        """Files that `decide` reads for this item, by absolute path: other machines are sent them, and nothing that `prepare` read."""
        return ()

    def moved(self, item: Item, places: Mapping[Path, Path]) -> Item:
        """The item, for a machine where its files lie elsewhere. places: where each lies now, by where it lay."""
        return item

    def about(self, run: Run[O]) -> Mapping[str, Json]:
        """What a report says of the question, by key: added to the header. The same for the same question on the same inputs: where
        counterexamples are replayed (`replayed`), the check of a pack compares it."""
        return {}

    def binding(self, run: Run[O]) -> Mapping[str, Json]:
        """What records depend on besides options, model, data, domain and plug-ins: a journal is bound to it."""
        return {}

    def opening(self, run: Run[O], count: int) -> str:
        """One line on stderr before the first item; empty for none."""
        return f"{run.analysis}: {count} items" if run.data is None else f"{run.analysis}: {count} inputs of {run.data_name}"

    def word(self, record: R) -> str:
        """What progress counts: 'verified'."""
        verdict = getattr(record, "verdict", None)
        return str(getattr(verdict, "value", verdict) or "done")

    def tone(self, record: R) -> str:
        """'good', 'bad', 'open' or '': how a terminal colours it."""
        return {"verified": "good", "falsified": "bad", "unknown": "open", "likely": "open"}.get(self.word(record), "")

    def row_tone(self, record: R, row: Any) -> tuple[str, str]:
        """Tone and word of one of its `rows`: the record's own, unless rows have verdicts of theirs."""
        return self.tone(record), self.word(record)

    def cut(self, record: R) -> bool:
        """Whether the limit of the whole run cut it short: a journal leaves it to be tried again."""
        return bool(getattr(record, "cut", False))

    def row_kind(self, options: O) -> type[Any]:
        """The kind of rows that formats show, by what is asked for: the record itself by default."""
        return self.Record

    def rows(self, record: R, run: Run[O]) -> Sequence[Any]:
        """What formats show of a record: rows of that kind, dataclasses as records are."""
        return (record,)

    def failed(self, item: Item, failure: Failure) -> R | None:
        """The record of an item that has none of its own; None leaves the failure as it is.

        One of E-TIMEOUT, whose process was killed at the item's own limit, is an answer like any other: it is kept. Any other failure
        makes the exit code 1, and its record is never kept: --resume tries the item again.
        """
        return None

    def finish(self, records: Sequence[R], document: Document, run: Run[O]) -> Sequence[str]:
        """Write what was asked for besides the result, such as counterexamples; returns lines for stderr. Also after an interrupt."""
        return ()

    def further(self, records: Sequence[R], run: Run[O]) -> Sequence[Section]:
        """Sections of detail that take work of their own; by default none. Asked for once, when every item is decided, kept and shown,
        and where an output has room for them or a journal may be shown in one that has. It bounds its own time, and says so.

        What it raises costs these sections alone, never a record.
        """
        return ()

    def replayed(self, record: R, run: Run[O]) -> WitnessReplay:
        """Which of the record's counterexamples are some on this run's networks; by default none of them is looked at.

        run: resolved anew of the same question, so that nothing of the run that made the record is trusted.
        """
        return WitnessReplay()

    def on_networks(self, options: O, networks: Sequence[Path]) -> O | None:
        """The options about these files, in the order in which the header names the run's networks; None where they cannot be.

        By default the last one is the network, and those before it are composed with it.
        """
        known = {one.name for one in options_of(type(options))}
        if "net" not in known or (len(networks) != 1 and "compose" not in known):
            return None
        composed = {"compose": tuple(networks[:-1])} if "compose" in known else {}
        return replace(options, net=networks[-1], **composed)  # type: ignore[type-var]

    def elsewhere(self, record: R, places: Mapping[int, int]) -> R | None:
        """The record, for data of which input i is input places[i]; None where they do not have its input."""
        index: int = record.index  # type: ignore[attr-defined]
        return replace(record, index=places[index]) if index in places else None  # type: ignore[type-var]

    def overdue(self, options: O) -> tuple[float, Document, R] | None:
        """(seconds, what is said then, the record for formats that show nothing else) where the process must answer in time, whatever
        hangs; None for no such promise."""
        return None

    def route(self, given: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
        """Of a command with `also`: the analysis meant by the options given, by field, and its options; '' for this one."""
        return "", given

    def value(self, records: Sequence[R], document: Document, run: Run[O]) -> Any:
        """What the Python function returns, where it is not the sequence of records: `absint.contract.results.Results`."""
        from absint.contract.results import Results

        return Results(tuple(records), document, run)

    @classmethod
    def help(cls) -> str:
        """The docstring."""
        return cleandoc(cls.__doc__ or "")


def facts(*items: tuple[str, str]) -> Section:
    """A section of names and values without a title."""
    return Section("", (Facts(items),))


ANALYSES: Registry[type[Analysis[Any, Any]]] = Registry("analysis", "absint.analyses")


def register_analysis(name: str) -> Callable[[A], A]:
    """Class decorator: make the analysis known under `name` (plug-in files; packages may use entry points instead)."""

    def enter(cls: A) -> A:
        ANALYSES.add(name, cls)
        return cls

    return enter


def analysis_of(name: str) -> Analysis[Any, Any]:
    """The analysis of that name. Raises UsageError E-ANALYSIS-UNKNOWN, PluginError E-PLUGIN-CONTRACT, -RAISED."""
    kind: Any = ANALYSES.get(name)
    if not (isinstance(kind, type) and issubclass(kind, Analysis) and hasattr(kind, "Options") and hasattr(kind, "Record")):
        raise PluginError("E-PLUGIN-CONTRACT", f"what is registered as analysis '{name}' is no Analysis with Options and Record",
                          where=name, hint="see docs/extending.md")
    try:
        made: Analysis[Any, Any] = kind()
        options = options_of(kind.Options)
        columns_of(kind.Record)
    except Exception as error:  # a stranger's code, or a class that leaves a method abstract
        raise PluginError("E-PLUGIN-RAISED", f"the analysis could not be made: {type(error).__name__}: {error}", where=name,
                          hint="--debug shows the traceback") from error
    counts = Counter(name for one in options for name in {one.word, one.keyword})
    clashing = [f"{one.name}: {one.word}, {one.keyword} in Python" for one in options if max(counts[one.word], counts[one.keyword]) > 1]
    if clashing:
        raise PluginError("E-PLUGIN-CONTRACT", "options of one name", where=name, details=clashing,
                          hint="give each option a `word` and a `keyword` of its own")
    return made


def function_name(name: str) -> str:
    """Of an analysis in Python: 'verify_query' of `query`, 'validate_run' of `validate.run`."""
    return str(getattr(ANALYSES.get(name), "function", "")) or name.replace(".", "_")


def functions() -> dict[str, str]:
    """Name in Python -> analysis; those of plug-ins that do not load are left out."""
    found: dict[str, str] = {}
    for name in ANALYSES:
        try:
            found[function_name(name)] = name
        except PluginError:
            continue
    return found
