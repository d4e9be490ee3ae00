"""`taboo certify` as an analysis: what it makes of its options, and what its certificates add up to. The mathematics is in `certifying`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from absint.analyses.taboo.certificate import Outcome, TabooCertificate
from absint.analyses.taboo.options import TabooCertifyOptions
from absint.contract.analysis import TIMED_OUT, Analysis, Failure, Item
from absint.contract.document import Document, Json
from absint.contract.replay import WitnessReplay
from absint.contract.run import Run
from absint.errors import UsageError
from absint.numeric.decimal import exact_text
from absint.verdict import Reason

if TYPE_CHECKING:
    from absint.analyses.taboo.certifying import Certifying
    from absint.model.graph import Graph


class TabooCertify(Analysis[TabooCertifyOptions, TabooCertificate]):
    """Prove that a taboo trap stays quiet on all of a ball around each input, and so what an alarm proves.

    Of each input the ball of radius --eps, cut to the data range: quiet (proved: no float32 execution alarms on any input of it),
    reachable (an input of it alarms, proved and replayed) or open. --alarms asks of inputs that alarm themselves whether everything
    around them does. --radius looks for the largest radius instead. An alarm proves distance from the inputs proved quiet and from no
    other one; no alarm proves nothing.

    Exit code 0: every input asked was decided: quiet, alarmed or reachable, or its radius found. 1: some are open, or a limit cut
    some short; what is proved stands. 2 usage, 3 bad input, 4 unsupported, 5 resource, 70 internal error, 130 interrupted.
    """

    Options = TabooCertifyOptions
    Record = TabooCertificate
    records: ClassVar[str] = "certificates"

    def check(self, options: TabooCertifyOptions) -> None:
        """A radius above 0, and a detector that can be read."""
        from absint.analyses.taboo.asked import check_detector
        from absint.numeric.decimal import parse_eps

        check_detector(options)
        if not options.radius and not parse_eps(options.eps):
            raise UsageError("E-TABOO-EPS", "a ball of radius 0 is the input itself", where="--eps",
                             hint="absint taboo detect says which inputs alarm; give a radius above 0")

    def resolved(self, options: TabooCertifyOptions) -> TabooCertifyOptions:
        """With a bundled network where none is named, and the attack that is meant: for radii it costs more than all proofs."""
        from absint.analyses.taboo.asked import with_network

        meant = options.attack if options.attack != "" else None if options.radius else "pgd"
        return with_network(replace(options, attack=meant))

    def suits(self, graph: Graph) -> None:
        """Rectified neurons at least."""
        from absint.model.watched import rectified

        rectified(graph)

    def prepare(self, run: Run[TabooCertifyOptions]) -> Certifying:
        """The trap, the graph of its neurons, and the settings. Raises InputError E-TABOO-*, UsageError E-TABOO-TRAP, E-RADIUS."""
        from absint.analyses.taboo.asking import asked_of

        return asked_of(run)

    def binding(self, run: Run[TabooCertifyOptions]) -> Mapping[str, Json]:
        """The traps."""
        return {"detector": run.problem.traps.as_dict()["checksum"]}

    def about(self, run: Run[TabooCertifyOptions]) -> Mapping[str, Json]:
        """The trap and the balls."""
        from absint.analyses.taboo.asking import described

        return described(run)

    def opening(self, run: Run[TabooCertifyOptions], count: int) -> str:
        """What is asked."""
        asked: Certifying = run.problem
        search = asked.search
        balls = (f"the largest radius below {exact_text(search.upper)}, {search.halvings} halvings each" if asked.eps is None else
                 f"balls of radius {exact_text(asked.eps)}")
        return f"certifying {count} inputs of {run.data_name} against {len(asked.trap)} neurons: {balls}"

    def decide(self, items: Sequence[Item], run: Run[TabooCertifyOptions]) -> Iterator[TabooCertificate]:
        """All items, part by part."""
        from absint.analyses.taboo.asking import answers

        yield from answers(run, items)

    def word(self, record: TabooCertificate) -> str:
        """The outcome."""
        return record.outcome.value

    def tone(self, record: TabooCertificate) -> str:
        """Quiet is good news of inputs that are no attack."""
        return {Outcome.QUIET: "good", Outcome.REACHABLE: "bad", Outcome.OPEN: "open"}.get(record.outcome, "")

    def failed(self, item: Item, failure: Failure) -> TabooCertificate | None:
        """Killed at its limit: open. Nothing is said of an item that met an error."""
        if failure.code != TIMED_OUT:
            return None
        return TabooCertificate(item.index, Outcome.OPEN, None, reason=Reason.TIMEOUT, time_s=failure.time_s)

    def replayed(self, record: TabooCertificate, run: Run[TabooCertifyOptions]) -> WitnessReplay:
        """By onnxruntime, and a proof."""
        if record.witness is None:
            return WitnessReplay()
        from absint.analyses.taboo.replaying import is_counterexample

        return WitnessReplay.of(is_counterexample(record, run))

    def document(self, records: Sequence[TabooCertificate], run: Run[TabooCertifyOptions]) -> Document:
        """Counts, and what is proved by them and what is not."""
        from absint.analyses.taboo.certified import summed_up

        return summed_up(records, run)
