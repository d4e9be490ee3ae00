"""`global robustness` as an analysis: how often a classifier keeps its class around what generators draw. `deciding` decides the draws."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from absint.analyses.global_robustness.options import GlobalRobustnessOptions
from absint.analyses.global_robustness.robustness_record import FALSIFIED, VERIFIED, LatentRobustness
from absint.contract.analysis import TIMED_OUT, Analysis, Failure, Item
from absint.contract.document import Document, Json
from absint.contract.replay import WitnessReplay
from absint.contract.run import Run
from absint.verdict import Reason

if TYPE_CHECKING:
    from absint.analyses.global_robustness.deciding import Radii


class GlobalRobustness(Analysis[GlobalRobustnessOptions, LatentRobustness]):
    """How often a classifier is right everywhere within a radius of what a generator draws, class by class, with exact intervals.

    Of each random latent, all latents within each radius of it (linf; beyond the range of the draws, too): verified, falsified by a
    latent that is proved to be classified otherwise and is so by both models one after the other, or unknown, with the reason. The
    probability lies between the lower end for the verified draws and the upper end for all but the falsified ones: every counted proof
    is a proof. The intervals of all classes of a classifier hold at once, and the worst class comes first. A run that ends early
    counts the longest complete prefix of the draws: those that happen to be finished are the easy ones.
    Without arguments: a bundled classifier and the bundled generators of digits.

    Exit code 0: every draw was asked, unknown ones included, or every class's interval became narrow enough. 1: a limit or an error left
    some out. 2 usage, 3 bad input, 4 unsupported, 5 resource, 70 internal error, 130 interrupted.
    """

    Options = GlobalRobustnessOptions
    Record = LatentRobustness
    records: ClassVar[str] = "draws"
    positional: ClassVar[tuple[str, ...]] = ("net", "generator", "eps")

    def check(self, options: GlobalRobustnessOptions) -> None:
        """What is wrong whatever the networks."""
        from absint.analyses.global_robustness.asking import check_global
        from absint.analyses.global_robustness.radii import check_radii

        check_global(options)
        check_radii(options)

    def resolved(self, options: GlobalRobustnessOptions) -> GlobalRobustnessOptions:
        """With bundled networks where none are named."""
        from absint.analyses.global_robustness.bundled import with_bundled

        return with_bundled(options)

    def reads(self, options: GlobalRobustnessOptions) -> Mapping[str, Path]:
        """Generators."""
        from absint.analyses.global_robustness.pairs import files_read

        return dict(files_read(options))

    def apart(self, options: GlobalRobustnessOptions) -> bool:
        """Where to stop rests on the draws before."""
        return options.stop_width is None

    def prepare(self, run: Run[GlobalRobustnessOptions]) -> Radii:
        """Networks, draws and radii."""
        from absint.analyses.global_robustness.radii import radii_of

        return radii_of(run)

    def items(self, run: Run[GlobalRobustnessOptions]) -> Sequence[Item]:
        """Draws, of every class in turn: index = draw * pairs + pair, whatever their number. Each has its limit once a radius."""
        from absint.analyses.global_robustness.deciding import asked

        return asked(run)

    def about(self, run: Run[GlobalRobustnessOptions]) -> Mapping[str, Json]:
        """Networks, draws, radii, and what the intervals are."""
        from absint.analyses.global_robustness.asking import described

        claim = {"text": "y[class] > y[j] for every other class j", "norm": "linf", "eps": list(run.problem.exact), "clip": None}
        return {**described(run.problem.task, run.options), "property": claim}

    def binding(self, run: Run[GlobalRobustnessOptions]) -> Mapping[str, Json]:
        """Networks, numbers drawn, and radii as numbers."""
        from absint.analyses.global_robustness.asking import bound_to

        return {**bound_to(run.problem.task), "radii": list(run.problem.exact)}

    def opening(self, run: Run[GlobalRobustnessOptions], count: int) -> str:
        """What is asked."""
        pairs = len(run.problem.task.pairs)
        return f"robustness of {count} draws of {pairs} generators and classifiers, linf radii {', '.join(run.problem.exact)}"

    def decide(self, items: Sequence[Item], run: Run[GlobalRobustnessOptions]) -> Iterator[LatentRobustness]:
        """Round by round."""
        from absint.analyses.global_robustness.deciding import answers

        yield from answers(items, run)

    def word(self, record: LatentRobustness) -> str:
        """How far it is verified."""
        proved = [eps for eps, verdict in record.verdicts.items() if verdict == VERIFIED]
        if proved:
            return f"verified within {proved[-1]}"
        return FALSIFIED if FALSIFIED in record.verdicts.values() else "not needed" if not record.verdicts else "unknown"

    def tone(self, record: LatentRobustness) -> str:
        """By that."""
        found = record.verdicts.values()
        return "good" if VERIFIED in found else "bad" if FALSIFIED in found else "open"

    def failed(self, item: Item, failure: Failure) -> LatentRobustness | None:
        """Unknown at every radius: a draw that met an error is a draw."""
        reason = Reason.TIMEOUT.value if failure.code == TIMED_OUT else failure.code
        unknown: LatentRobustness = item.payload
        return replace(unknown, reasons=dict.fromkeys(unknown.verdicts, reason), time_s=failure.time_s)

    def replayed(self, record: LatentRobustness, run: Run[GlobalRobustnessOptions]) -> WitnessReplay:
        """By both models one after the other, and a proof."""
        if record.witness is None:
            return WitnessReplay()
        from absint.analyses.global_robustness.replaying import is_counterexample

        return WitnessReplay.of(is_counterexample(record, run))

    def on_networks(self, options: GlobalRobustnessOptions, networks: Sequence[Path]) -> GlobalRobustnessOptions | None:
        """Classifiers first, then what generates."""
        from absint.analyses.global_robustness.pairs import on_files

        found: GlobalRobustnessOptions | None = on_files(options, networks)
        return found

    def document(self, records: Sequence[LatentRobustness], run: Run[GlobalRobustnessOptions]) -> Document:
        """The worst class at each radius, then all."""
        from absint.analyses.global_robustness.robustness_summary import summed_up

        return summed_up(records, run)

    def finish(self, records: Sequence[LatentRobustness], document: Document, run: Run[GlobalRobustnessOptions]) -> Sequence[str]:
        """Pictures, where --grid asks for them."""
        from absint.analyses.global_robustness.grids import draw_witnesses

        return draw_witnesses(records, run)
