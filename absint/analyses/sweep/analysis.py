"""`sweep` as an analysis: what it makes of its options. Every verdict in it is one of `verify`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from absint.analyses.sweep.options import SweepOptions
from absint.analyses.sweep.record import SweepCell, SweepLine
from absint.contract.analysis import TIMED_OUT, Analysis, Failure, Item
from absint.contract.document import Document, Json
from absint.contract.replay import WitnessReplay
from absint.contract.results import Results
from absint.contract.run import Run
from absint.verdict import Assurance, InstanceResult, Reason, Verdict

if TYPE_CHECKING:
    from absint.analyses.sweep.asking import SweepTask

_MODEL = ("model_sha256", "constants_sha256")       # of a binding, what each network has of its own
_TONES = {Verdict.VERIFIED: "good", Verdict.FALSIFIED: "bad", Verdict.UNKNOWN: "open", Verdict.LIKELY: "open"}
_ASKED = ("analysis", "absint", "plugins", "eps", "norm", "domain", "domain_class", "domain_options")   # this run's own binding says these


class Sweep(Analysis[SweepOptions, SweepLine]):
    """Verify at several radii, by several domains, of several networks: curves, and who proves what others do not.

    Give a file instead, `absint sweep sweep.toml`, and it states the same options under their names, lists where several are meant.
    A radius is not asked about where another one decides it: what is proved at a larger radius (same network, norm, domain and input), what
    a counterexample at a smaller one refutes, and what is misclassified itself. The column `basis` says so, and the end counts them.
    Where one domain proves what another one refutes, the run ends with E-CONTRADICTION and both their evidences.
    Without arguments a bundled network is swept on bundled images.

    Exit code 0: every verdict was reached, whatever it is. 1: a limit left some open, or some failed.
    2 usage, 3 bad input, 4 unsupported, 5 resource, 70 internal error or contradiction, 130 interrupted.
    """

    Options = SweepOptions
    Record = SweepLine
    records: ClassVar[str] = "verdicts"
    positional: ClassVar[tuple[str, ...]] = ("net", "data", "labels", "eps")
    returns: ClassVar[str] = "absint.analyses.sweep.result:SweepResults"
    unread: ClassVar[frozenset[str]] = frozenset(("net", "data", "labels", "eps", "norm", "domain", "seed"))      # the header says them

    def asks_project(self, given: Mapping[str, Any]) -> bool:
        """Not beside a file that states the sweep: it would be overruled by what happens to lie around."""
        from absint.analyses.sweep.file import names_file

        return not names_file(given.get("net") or ())

    def resolved(self, options: SweepOptions) -> SweepOptions:
        """With what a file states, and a bundled network where none is named."""
        from absint.analyses.sweep.file import with_file

        stated = with_file(options)
        if stated.net:
            return stated
        from absint import samples

        return replace(stated, net=(samples.default_network(),))

    def reads(self, options: SweepOptions) -> Mapping[str, Path]:
        """What a file names, and a file of limits."""
        from absint.analyses.sweep.file import files_in, with_file
        from absint.problem.output_range import file_of

        path = file_of(with_file(options).output_range)
        return {**files_in(options), **({} if path is None else {"--output-range": path})}

    def check(self, options: SweepOptions) -> None:
        """Radii, norms, domains and seeds."""
        from absint.analyses.sweep.asking import check_options

        check_options(self.resolved(options))

    def parts(self, options: SweepOptions) -> Sequence[tuple[str, Any]]:
        """One a network."""
        from absint.analyses.sweep.asking import parts_of

        return parts_of(options)

    def prepare(self, run: Run[SweepOptions]) -> SweepTask:
        """Networks that go together, and all that each is asked."""
        from absint.analyses.sweep.asking import asked_of

        return asked_of(run)

    def items(self, run: Run[SweepOptions]) -> Sequence[Item]:
        """Every input of every network, norm and domain."""
        from absint.analyses.sweep.asking import items_of

        return items_of(run)

    def about(self, run: Run[SweepOptions]) -> Mapping[str, Json]:
        """The networks, the data, and what is asked."""
        from absint.search.names import source_of

        task: SweepTask = run.problem
        first = task.parts[0].header
        claim = first["property"]
        return {
            "networks": [{"name": net, **part.header["model"], "accuracy": part.header["data"]["accuracy"]}
                         for net, part in zip(task.nets, task.parts, strict=True)],
            "data": {**first["data"], "accuracy": None, "instances": len(task.inputs)},
            "property": {"text": claim["text"], "norms": list(task.norms), "eps": [one.text for one in task.radii], "clip": claim["clip"]},
            "domains": {name: {"source": source_of(one)} for name, one in task.domains.items()},
            "samples": {seed: list(inputs) for seed, inputs in task.samples.items()},
            "assumptions": first["assumptions"]}

    def binding(self, run: Run[SweepOptions]) -> Mapping[str, Json]:
        """Networks by their contents; domains that are objects by class and fields; data and property as `verify` is bound to them.

        Networks and domains as lists: their order is part of the index of an item.
        """
        task: SweepTask = run.problem
        shared = {key: value for key, value in task.parts[0].binding.items() if key not in (*_MODEL, *_ASKED)}
        nets = [{"name": net, **{key: part.binding[key] for key in _MODEL if key in part.binding}}
                for net, part in zip(task.nets, task.parts, strict=True)]
        return {**shared, "networks": nets,
                "domains": [[name, f"{type(one).__module__}.{one!r}"] for name, one in task.domains.items()],
                "eps": [one.text for one in task.radii], "norm": list(task.norms)}

    def opening(self, run: Run[SweepOptions], count: int) -> str:
        """What is swept."""
        task: SweepTask = run.problem
        return (f"sweeping {len(task.inputs)} inputs of {run.data_name}: {', '.join(task.nets)}; {', '.join(task.norms)} eps "
                f"{', '.join(one.text for one in task.radii)}; {', '.join(task.domains)}")

    def decide(self, items: Sequence[Item], run: Run[SweepOptions]) -> Iterator[SweepLine]:
        """Line by line, in blocks of inputs."""
        from absint.analyses.sweep.deciding import answers

        yield from answers(run, items)

    def failed(self, item: Item, failure: Failure) -> SweepLine | None:
        """Killed at its limit: unknown at every radius. Nothing is said of an item that met an error."""
        if failure.code != TIMED_OUT:
            return None
        from absint.analyses.sweep.deciding import timed_out

        return timed_out(item, InstanceResult(0, Verdict.UNKNOWN, reason=Reason.TIMEOUT, time_s=failure.time_s))

    def replayed(self, record: SweepLine, run: Run[SweepOptions]) -> WitnessReplay:
        """Each radius' by itself."""
        from absint.analyses.sweep.replaying import replayed

        return replayed(record, run)

    def on_networks(self, options: SweepOptions, networks: Sequence[Path]) -> SweepOptions | None:
        """All of them side by side; not where others are composed with each."""
        return None if options.compose else replace(options, net=tuple(networks))

    def elsewhere(self, record: SweepLine, places: Mapping[int, int]) -> SweepLine | None:
        """By the input, not by the item."""
        from absint.analyses.sweep.replaying import elsewhere

        return elsewhere(record, places)

    def word(self, record: SweepLine) -> str:
        """What its radii come to."""
        verdicts = [cell.verdict for cell in record.cells]
        if Verdict.MISCLASSIFIED in verdicts:
            return "misclassified"
        proved = verdicts.count(Verdict.VERIFIED)
        return "verified at all radii" if proved == len(verdicts) else "at some" if proved else "at none"

    def tone(self, record: SweepLine) -> str:
        """By that word; its rows are of several verdicts."""
        return {"verified at all radii": "good", "at none": "open", "misclassified": "bad"}.get(self.word(record), "")

    def row_tone(self, record: SweepLine, row: SweepCell) -> tuple[str, str]:
        """By its own verdict; a solver's word apart from a proof."""
        word = " on a solver's word" if row.verdict is Verdict.VERIFIED and row.assurance is not Assurance.SOUND else ""
        return _TONES.get(row.verdict, ""), row.verdict.value + word

    def row_kind(self, options: SweepOptions) -> type[SweepCell]:
        """A verdict a row."""
        return SweepCell

    def rows(self, record: SweepLine, run: Run[SweepOptions]) -> Sequence[SweepCell]:
        """Each radius."""
        return record.cells

    def document(self, records: Sequence[SweepLine], run: Run[SweepOptions]) -> Document:
        """Shares, curves and matrices."""
        from absint.analyses.sweep.summary import summed_up

        return summed_up(records, run)

    def value(self, records: Sequence[SweepLine], document: Document, run: Run[SweepOptions]) -> Results[SweepCell]:
        """The verdicts, one a network, norm, domain, input and radius. Raises InternalError E-CONTRADICTION."""
        from absint.analyses.sweep.result import SweepResults

        if document.error is not None:
            raise document.error
        return SweepResults(tuple(cell for record in records for cell in record.cells), document, run)
