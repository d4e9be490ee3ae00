"""`clever` as an analysis: what it makes of its options, and what its scores add up to. The mathematics is in the modules beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from absint.analyses.clever.options import RADII, CleverOptions
from absint.analyses.clever.record import CleverScore, TargetRow
from absint.contract.analysis import Analysis, Failure, Item
from absint.contract.document import Document, Json
from absint.contract.run import Run

if TYPE_CHECKING:
    from absint.analyses.clever.asking import ScoreTask
    from absint.model.graph import Graph


class Clever(Analysis[CleverOptions, CleverScore]):
    """Estimate how far each input is from the nearest one of another class: CLEVER scores, per target. No certificate.

    A score is the margin over the greatest gradient in the ball, which is estimated from samples by extreme value theory. It can be
    too large, most of all where gradients are masked: --certify DOMAIN puts a proved radius below it and an attack above it.
    Without arguments a bundled network is scored on bundled images.
    Labels are optional; misclassified inputs get no score.

    Exit code 0: every input was scored or skipped for a stated reason. 1: some failed, or a time limit cut their samples short.
    2 usage, 3 bad input, 4 unsupported, 5 resource, 70 internal error, 130 interrupted.
    """

    Options = CleverOptions
    Record = CleverScore
    records: ClassVar[str] = "scores"

    def check(self, options: CleverOptions) -> None:
        """What is wrong whatever the network."""
        from absint.analyses.clever.asking import check_options

        check_options(options)

    def resolved(self, options: CleverOptions) -> CleverOptions:
        """With a bundled network where none is named; no attack where neither it nor a proof is asked for."""
        if options.net is None:
            from absint import samples

            options = replace(options, net=samples.default_network())
        return replace(options, attack=None) if options.attack == "" and options.certify is None else options

    def graph(self, options: CleverOptions) -> Graph | None:
        """Ending with the scores that are named."""
        if options.scores is None:
            return None
        from absint.model.scores import ending_with
        from absint.problem.live import stated_graph

        return ending_with(stated_graph(options, inputs=options.data), options.scores)

    def suits(self, graph: Graph) -> None:
        """Two classes at least, and scores rather than probabilities."""
        from absint.analyses.clever.asking import check_scores
        from absint.problem.problem import check_classes

        check_classes(graph)
        check_scores(graph)

    def prepare(self, run: Run[CleverOptions]) -> ScoreTask:
        """The settings of the samples, and what scores are put between."""
        from absint.analyses.clever.asking import asked_of

        return asked_of(run)

    def about(self, run: Run[CleverOptions]) -> Mapping[str, Json]:
        """The ball, the samples, and what a score means."""
        found = run.problem.settings
        clip = found.clip and list(found.clip)
        return {"sampling": {"order": found.order, "norm": found.norm, "radius": found.radius, "clip": clip,
                             "batches": found.batches, "samples": found.samples, "seed": found.seed, "transform": run.options.transform,
                             "dtype": str(found.dtype).removeprefix("torch.")},
                "numerics": {"dtype": str(found.dtype).removeprefix("torch.")},
                "assurance": "none: a score is an estimate, and may lie above the distance of a counterexample"}

    def opening(self, run: Run[CleverOptions], count: int) -> str:
        """What is sampled."""
        found = run.problem.settings
        return (f"scoring {count} inputs of {run.data_name}: order {found.order}, {found.norm}, radius {found.radius:g}, "
                f"{found.batches} batches of {found.samples}")

    def decide(self, items: Sequence[Item], run: Run[CleverOptions]) -> Iterator[CleverScore | Failure]:
        """Images of a group together, each yielded as soon as its samples are complete."""
        from absint.analyses.clever.scoring import scores

        data = run.inputs.at([item.index for item in items])
        yield from scores(run, data)

    def word(self, record: CleverScore) -> str:
        """Whether there is a score."""
        return record.skipped or "scored"

    def tone(self, record: CleverScore) -> str:
        """Bad where a score is known to be wrong."""
        return "open" if record.skipped or any(one.flag for one in record.targets) else ""

    def row_kind(self, options: CleverOptions) -> type[Any]:
        """A line a target."""
        return TargetRow

    def rows(self, record: CleverScore, run: Run[CleverOptions]) -> Sequence[TargetRow]:
        """One a target; one of an image without scores."""
        common: dict[str, Any] = {"index": record.index, "label": record.label, "predicted": record.predicted}
        rest: dict[str, Any] = {"batches": record.batches, "time_s": record.time_s}
        if not record.targets:
            none: dict[str, Any] = {**dict.fromkeys(_OF_A_TARGET), "kind": record.skipped, "flag": "", "attack": ""}
            return (TargetRow(**common, **rest, **none),)
        return [TargetRow(**common, **rest, **{name: getattr(one, name) for name in _OF_A_TARGET}) for one in record.targets]

    def document(self, records: Sequence[CleverScore], run: Run[CleverOptions]) -> Document:
        """Means by kind of target, and how often an estimate is refuted."""
        from absint.analyses.clever.summary import summed_up

        return summed_up(records, run)


_OF_A_TARGET = ("kind", "target", "certified", "score", "low", "high", "attacked", "flag", "refuted", "attack", "margin", "slope",
                "estimate", "maximum", "shape", "p_value", "fitted", "saturated", "quotient", "steps")

__all__ = ["RADII", "Clever"]
