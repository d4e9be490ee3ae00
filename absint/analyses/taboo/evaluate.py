"""`taboo evaluate` as an analysis: one record a perturbation, then rates, curves and what keys have in common."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from absint.analyses.taboo.asked import check_detector, traps_for, with_network
from absint.analyses.taboo.evaluation_record import ALL, CLEAN, SUPPORT, PerturbedRow
from absint.analyses.taboo.options import ATTACKS, PRESETS, TabooEvaluateOptions
from absint.contract.analysis import TIMED_OUT, Analysis, Failure, Item
from absint.contract.document import Document, Json
from absint.contract.run import Run
from absint.errors import ResourceError, UsageError

if TYPE_CHECKING:
    from absint.analyses.taboo.evaluation import PerturbationPlan, TabooExperiment
    from absint.model.graph import Graph

_REGIONS = {ALL: (ALL,), SUPPORT: (SUPPORT,), "both": (ALL, SUPPORT)}


class TabooEvaluate(Analysis[TabooEvaluateOptions, PerturbedRow]):
    """Count alarms on perturbed inputs beside false alarms on clean ones: accuracy, detection, distances, ROC curves, keys against keys.

    The attacks know the network, not the traps. Detection is counted over all perturbed inputs, whether the network is fooled or not.
    Perturbations confined to the object's support change no background: border pixels, always dark, are what thresholds catch most easily.
    Attacks need Foolbox: pip install 'absint[attacks]'; noise does not. --attack table1 stands for the rows of the paper's table 1.

    Exit code 0: measured. 1: a limit left rows out. 2 usage, 3 bad input, 4 unsupported, 5 resource, 70 internal error, 130 interrupted.
    """

    Options = TabooEvaluateOptions
    Record = PerturbedRow
    records: ClassVar[str] = "rows"
    positional: ClassVar[tuple[str, ...]] = ("net", "data", "labels")

    def check(self, options: TabooEvaluateOptions) -> None:
        """A detector that can be read, and perturbations that can be made."""
        check_detector(options)
        for one in _plan(options).perturbations:
            one.check()

    def resolved(self, options: TabooEvaluateOptions) -> TabooEvaluateOptions:
        """With a bundled network where none is named."""
        return with_network(options)

    def suits(self, graph: Graph) -> None:
        """Two classes at least, and rectified neurons in float32."""
        from absint.engine.float32_executions import check_executions
        from absint.model.watched import rectified
        from absint.problem.problem import check_classes

        check_classes(graph)
        rectified(graph)
        check_executions(graph)

    def prepare(self, run: Run[TabooEvaluateOptions]) -> TabooExperiment:
        """Traps and inputs. Raises InputError E-DATA-*, E-TABOO-*, UsageError E-USAGE for a region in place of inputs."""
        from absint.analyses.taboo.evaluation import TabooExperiment
        from absint.numeric import backend

        if run.data is None:
            raise UsageError("E-USAGE", "a region is no input that could be perturbed", where="inputs", hint="give arrays")
        options: Any = run.options
        return TabooExperiment(traps_for(run), run.inputs, _plan(options), device=backend.device(options.device), memory=options.memory,
                               batch=options.batch)

    def items(self, run: Run[TabooEvaluateOptions]) -> Sequence[Item]:
        """The rows; each has the limits of all inputs together."""
        limit = run.timeout * len(run.inputs)
        return [Item(place, name, limit if isfinite(limit) else None) for place, name in enumerate(run.problem.plan.names)]

    def binding(self, run: Run[TabooEvaluateOptions]) -> Mapping[str, Json]:
        """A row depends on all inputs, and on the traps."""
        import hashlib

        index = run.inputs.index.astype("<i8").tobytes()
        return {"inputs_sha256": hashlib.sha256(index).hexdigest(), **run.problem.found.binding}

    def about(self, run: Run[TabooEvaluateOptions]) -> Mapping[str, Json]:
        """The detector, and the rows."""
        plan = run.problem.plan
        return {**run.problem.found.facts, "plan": {"rows": list(plan.names), "seed": plan.seed, "background": plan.background,
                                                   "clip": plan.clip and list(plan.clip)}}

    def opening(self, run: Run[TabooEvaluateOptions], count: int) -> str:
        """On which data."""
        found = run.problem.found
        return (f"evaluating on {len(run.inputs)} inputs of {run.data_name}: {count} rows; detector: {found.name}, "
                f"{len(found.traps.union)} neurons, rule {found.traps.rule}")

    def word(self, record: PerturbedRow) -> str:
        """Nothing to tell them by."""
        return "measured"

    def decide(self, items: Sequence[Item], run: Run[TabooEvaluateOptions]) -> Iterator[PerturbedRow | Failure]:
        """One after the other; perturbed inputs are on disk before their row is known."""
        from absint.analyses.taboo.evaluation import place_of, save_sent
        from absint.numeric.backend import DeadlineError

        experiment: TabooExperiment = run.problem
        for item in items:
            if run.over:
                return
            run.stage(item.name)
            begin = time.monotonic()
            end = begin + run.timeout * len(experiment.data)
            try:
                found = experiment.measured(item.index, min(end, run.end))
            except (DeadlineError, ResourceError) as error:
                if isinstance(error, ResourceError) and error.code != TIMED_OUT:
                    raise
                if run.over:
                    return
                yield Failure(item.index, item.name, TIMED_OUT, f"not done within {run.timeout:g} s an input", time.monotonic() - begin)
                continue
            if run.options.adversarial is not None and found.row.perturbation != CLEAN:
                save_sent(found, experiment, place_of(Path(run.options.adversarial), found.row.name))
            yield found.row

    def document(self, records: Sequence[PerturbedRow], run: Run[TabooEvaluateOptions]) -> Document:
        """Rates against the clean row; without it there is nothing to compare with."""
        experiment: TabooExperiment = run.problem
        names = {record.name for record in records}
        missing = [name for name in experiment.plan.names if name not in names]
        counts: dict[str, Json] = {"rows": len(run.asked), "missing": missing}
        notes = [f"not measured: {', '.join(missing)}"] if missing else []
        if experiment.plan.unconfined:
            notes.append(f"only on all entries: {', '.join(experiment.plan.unconfined)}, which cannot be confined to a support")
        if not records or records[0].perturbation != CLEAN:
            return Document(counts, notes=tuple(notes), exit_code=1)
        from absint.analyses.taboo.evaluation_summary import curves, rates_of, sections, values_of

        found = rates_of(records)
        title = f"{Path(run.network.source.path).name or 'graph'}, rule {experiment.traps.rule}"
        figures = (curves(found, title),) if len(found) > 1 else ()
        return Document(counts, tuple(sections(found, experiment.traps)), figures, values_of(found, experiment.traps), notes=tuple(notes),
                        warnings=tuple(_warnings(records, run)), exit_code=1 if missing else 0)


def _plan(options: TabooEvaluateOptions) -> PerturbationPlan:
    """Raises UsageError E-ATTACK-UNKNOWN, E-ATTACK-OPTION, E-ATTACK-REGION, E-NUMBERS."""
    from absint.analyses.taboo.evaluation import PerturbationPlan
    from absint.attacks.perturbations import parse_perturbations

    if options.region not in _REGIONS:
        raise UsageError("E-ATTACK-REGION", f"there is no region '{options.region}'", where="--region",
                         hint=f"known: {', '.join(_REGIONS)}")
    if not isfinite(options.background):
        raise UsageError("E-NUMBERS", f"no value: {options.background}", where="--background", hint="for example 0")
    plan = PerturbationPlan(parse_perturbations(options.attack or ATTACKS, PRESETS), _REGIONS[options.region], options.background,
                            options.seed, options.clip)
    if ALL not in plan.regions and plan.unconfined:
        raise UsageError("E-ATTACK-REGION", f"{', '.join(plan.unconfined)}: not to be confined to a support", where="--region",
                         hint="attacks that start from another input change what is outside of it: --region all")
    return plan


def _warnings(records: Sequence[PerturbedRow], run: Run[TabooEvaluateOptions]) -> Iterator[str]:
    from absint.analyses.taboo.evaluation import without_file
    from absint.analyses.taboo.evaluation_summary import promise_of

    experiment: TabooExperiment = run.problem
    lost = [f"{record.nan} in {record.name}" for record in records if record.nan]
    if lost:
        yield f"W-TABOO-NAN: a watched value is NaN, which counts as an alarm, on inputs of {len(lost)} rows: {', '.join(lost)}"
    if promise_of(experiment.traps, records[0]).broken:
        yield "W-TABOO-SHIFTED: more false alarms than all but few held-out calibrations have: these inputs are unlike those of this one"
    source = experiment.traps.facts.get("training")
    if isinstance(source, Mapping) and source.get("sha256") == experiment.data.sha256 != "":
        yield ("W-TABOO-TRAINING: the thresholds were made of this very file: where they were made of these inputs, that few of them alarm "
               "says nothing of new ones")
    folder = run.options.adversarial
    unsaved = [] if folder is None else without_file([one.name for one in records if one.perturbation != CLEAN], Path(folder))
    if unsaved:
        yield f"no perturbed inputs of {', '.join(unsaved)}: the run that measured them did not save them"
