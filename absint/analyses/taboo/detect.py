"""`taboo detect` as an analysis: one forward pass an input, its class and its alarms, and whether rounding could have decided otherwise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from absint.analyses.taboo.asked import check_detector, traps_for, with_network
from absint.analyses.taboo.detection import Detection
from absint.analyses.taboo.options import TabooDetectOptions
from absint.contract.analysis import Analysis, Item, facts
from absint.contract.document import Document, Json, Section, Table
from absint.contract.run import Run
from absint.numeric.percent import percents

if TYPE_CHECKING:
    from absint.analyses.taboo.asked import FoundTraps
    from absint.model.graph import Graph

_BLOCK = 512    # inputs that are told together


class TabooDetect(Analysis[TabooDetectOptions, Detection]):
    """Raise the alarm on inputs that make a taboo neuron fire: one forward pass each, in float32.

    What an alarm proves depends on how the thresholds were made, and what its absence proves is nothing: docs/taboo.md. An answer
    is sure where no order of summation could change it; the others lie within the rounding bound of a threshold.
    Without arguments: a bundled network and images, and taboo.json in this folder, or thresholds made just now.

    Exit code 0: no alarm. 1: some inputs alarm, or were not seen. 2 usage, 3 bad input, 4 unsupported, 5 resource, 70 internal error,
    130 interrupted.
    """

    Options = TabooDetectOptions
    Record = Detection
    records: ClassVar[str] = "detections"

    def check(self, options: TabooDetectOptions) -> None:
        """A detector that can be read."""
        check_detector(options)

    def resolved(self, options: TabooDetectOptions) -> TabooDetectOptions:
        """With a bundled network where none is named."""
        return with_network(options)

    def suits(self, graph: Graph) -> None:
        """Rectified neurons, in float32."""
        from absint.engine.float32_executions import check_executions
        from absint.model.watched import rectified

        rectified(graph)
        check_executions(graph)

    def prepare(self, run: Run[TabooDetectOptions]) -> FoundTraps:
        """The traps."""
        return traps_for(run)

    def about(self, run: Run[TabooDetectOptions]) -> Mapping[str, Json]:
        """Which traps, and what an answer means."""
        return {**run.problem.facts, "assurance": "sure answers are those of every float32 execution, in any order of summation"}

    def binding(self, run: Run[TabooDetectOptions]) -> Mapping[str, Json]:
        """Masks and thresholds."""
        binding: Mapping[str, Json] = run.problem.binding
        return binding

    def opening(self, run: Run[TabooDetectOptions], count: int) -> str:
        """What watches."""
        union, rule = run.problem.traps.union, run.problem.traps.rule
        return f"watching {len(union)} neurons on {count} inputs of {run.data_name}; detector: {run.problem.name}, rule {rule}"

    def word(self, record: Detection) -> str:
        """As people say it."""
        return "alarm" if record.alarm else "quiet"

    def tone(self, record: Detection) -> str:
        """Alarms catch the eye."""
        return "bad" if record.alarm else "good"

    def decide(self, items: Sequence[Item], run: Run[TabooDetectOptions]) -> Iterator[Detection]:
        """Blocks, told as they are seen."""
        from absint.analyses.taboo.watching import detections

        for start in range(0, len(items), _BLOCK):
            if run.over:
                return
            yield from detections(run, [item.index for item in items[start : start + _BLOCK]])

    def document(self, records: Sequence[Detection], run: Run[TabooDetectOptions]) -> Document:
        """How many alarm, by trap; and what that proves."""
        found: FoundTraps = run.problem
        asked, alarms = len(run.asked), sum(record.alarm for record in records)
        rows = [_rate("any trap", alarms, len(records))]
        if len(found.traps) > 1:
            rows += [_rate(f"trap {k}", sum(record.traps[k] for record in records), len(records)) for k in range(len(found.traps))]
        unsure, broken = sum(not record.sure for record in records), sum(record.broken for record in records)
        columns = ("alarms", "percent", "inputs alarming", "n", "low", "high")
        lines = [("detector", f"{found.name}: {len(found.traps)} traps, {len(found.traps.union)} neurons, rule {found.traps.rule}"),
                 ("an alarm", found.traps.meaning), ("no alarm", "proves nothing")]
        if unsure:
            lines.append(("rounding", f"{unsure} inputs lie within the rounding bound of a threshold: executions may answer differently"))
        said = (f"W-TABOO-NAN: {broken} inputs make watched neurons NaN or infinite; they count as alarms",) if broken else ()
        return Document(
            {"inputs": asked, "seen": len(records), "alarms": alarms, "unsure": unsure, "broken": broken},
            (Section("alarms, with 95 % intervals (Clopper-Pearson)", (Table(columns, tuple(rows), "alarms"),)), facts(*lines)),
            warnings=said, exit_code=0 if not alarms and len(records) == asked else 1)


def _rate(name: str, hits: int, count: int) -> tuple[Json, ...]:
    """In percent; nothing of no inputs."""
    share, low, high = percents(hits, count)
    return (name, share, hits, count, low, high)
