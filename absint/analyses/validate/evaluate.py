"""`validate evaluate` as an analysis: one record a category, then tables, ROC curves and histograms of all of them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from absint.analyses.validate.options import ATTACKS, EvaluateOptions
from absint.analyses.validate.record import CALIBRATION, MISCLASSIFIED, VALID, Category
from absint.analyses.validate.validators import order_digest, shown, validator_of
from absint.contract.analysis import Analysis, Item
from absint.contract.document import Document, Facts, Json, Section, table_of
from absint.contract.run import Run
from absint.errors import InputError, UsageError
from absint.numeric.percent import percent_text

if TYPE_CHECKING:
    from absint.analyses.validate.evaluation import Evaluation, EvaluationPlan, Experiment
    from absint.attacks.foolbox_attacks import Adversarials
    from absint.model.graph import Graph


class ValidateEvaluate(Analysis[EvaluateOptions, Category]):
    """Measure how well radii tell valid inputs from misclassified and adversarial ones: tables, ROC curves, histograms.

    The threshold is calibrated on valid inputs that are in no category. Attacks need Foolbox: pip install 'absint[attacks]'.

    Exit code 0: measured. 1: the limit of the run left categories out. 2 usage, 3 bad input, 4 unsupported, 5 resource,
    70 internal error, 130 interrupted.
    """

    Options = EvaluateOptions
    Record = Category
    records: ClassVar[str] = "categories"
    positional: ClassVar[tuple[str, ...]] = ("net", "data", "labels")

    def check(self, options: EvaluateOptions) -> None:
        """Numbers, attacks, and whether these can be made."""
        from absint.analyses.validate.calibration import parse_rate
        from absint.attacks.foolbox_attacks import check_foolbox

        parse_rate(options.rate)
        _plan(options)
        check_foolbox()

    def suits(self, graph: Graph) -> None:
        """Two classes at least."""
        from absint.problem.problem import check_classes

        check_classes(graph)

    def prepare(self, run: Run[EvaluateOptions]) -> Experiment:
        """Which inputs are in which category. Raises InputError E-DATA-UNLABELLED, E-EVALUATION-FEW, E-CALIBRATION-FEW."""
        from absint.analyses.validate.evaluation import Experiment

        return Experiment(validator_of(run), run.inputs, _plan(run.options))

    def items(self, run: Run[EvaluateOptions]) -> Sequence[Item]:
        """The categories."""
        return [Item(place, name) for place, name in enumerate(run.problem.names)]

    def binding(self, run: Run[EvaluateOptions]) -> Mapping[str, Json]:
        """A category depends on all inputs."""
        return order_digest(run.inputs)

    def about(self, run: Run[EvaluateOptions]) -> Mapping[str, Json]:
        """The plan."""
        plan: EvaluationPlan = run.problem.plan
        return {**shown(run.problem.validator), "plan": {"attacks": [one.text for one in plan.attacks], "count": plan.count,
                                                         "calibration": plan.calibration, "seed": plan.seed}}

    def opening(self, run: Run[EvaluateOptions], count: int) -> str:
        """On which data."""
        return f"evaluating on {len(run.inputs)} inputs of {run.data_name}: {count} categories"

    def word(self, record: Category) -> str:
        """Nothing to tell them by."""
        return "measured"

    def decide(self, items: Sequence[Item], run: Run[EvaluateOptions]) -> Iterator[Category]:
        """One after the other; adversarial inputs are on disk before the category that they are of is known."""
        for item in items:
            run.stage(item.name)
            found = run.problem.measured(item.index, limit=run.left)
            if found is None:
                return
            category, made = found
            if made is not None and run.options.adversarial is not None:
                _save(made, _set_of(run.options.adversarial, item.name))
            yield category

    def document(self, records: Sequence[Category], run: Run[EvaluateOptions]) -> Document:
        """The tables of the paper; without the calibration or the valid inputs, nothing can be said of the others."""
        missing = [name for name in run.problem.names if name not in {record.name for record in records}]
        found = [record for record in records if record.name not in missing]
        counts: dict[str, Json] = {"categories": len(run.asked), "missing": missing}
        said = (f"not measured: {', '.join(missing)}",) if missing else ()
        if {CALIBRATION, VALID} & set(missing):
            return Document(counts, notes=said, exit_code=1)
        from absint.analyses.validate.evaluation import counted, summary
        from absint.analyses.validate.figures import histograms, roc_curves

        evaluation = counted(run.problem.validator, found, run.problem.plan)
        values = summary(evaluation)
        tables = {name: values.pop(name) for name in ("categories", "rejection", "windows")}
        rocs = {name: {"false_alarms": list(one.false_alarms), "detected": list(one.detected), "auc": one.auc}
                for name, one in evaluation.rocs.items()}
        title = f"{Path(run.network.source.path).name or 'graph'}, {run.header['domain']['name']}, {run.problem.validator.options.norm}"
        return Document(
            counts, _sections(evaluation, tables, values), (histograms(evaluation, title), roc_curves(evaluation, title)),
            {**values, "roc": rocs}, notes=said, warnings=_unsaved(records, run), exit_code=1 if missing else 0)


def _plan(options: EvaluateOptions) -> EvaluationPlan:
    """Raises UsageError E-COUNT, E-ATTACK-UNKNOWN, E-ATTACK-OPTION, E-NUMBERS, E-EPS."""
    from absint.analyses.validate.evaluation import EvaluationPlan
    from absint.attacks.foolbox_attacks import parse_attack
    from absint.numeric.decimal import parse_eps
    from absint.problem.live.arrays import is_list
    from absint.problem.parsing import parse_numbers

    for name in ("count", "calibrate"):
        if getattr(options, name) < 1:
            raise UsageError("E-COUNT", f"{getattr(options, name)} inputs", where=f"--{name}", hint="give a number of at least 1")
    attacks = tuple(parse_attack(text) for text in dict.fromkeys(options.attack or ATTACKS))
    texts: Any = options.thresholds
    if texts is not None and not isinstance(texts, str) and not is_list(texts):
        raise UsageError("E-NUMBERS", f"no list of radii, but of type {type(texts).__name__}", where="--thresholds",
                         hint="for example 0.002,0.004")
    given = () if texts is None else parse_numbers(texts, "--thresholds") if isinstance(texts, str) else tuple(texts)
    return EvaluationPlan(attacks, options.count, options.calibrate, options.seed, tuple(parse_eps(t, "--thresholds") for t in given))


def _sections(evaluation: Evaluation, tables: Mapping[str, Any], values: Mapping[str, Any]) -> tuple[Section, ...]:
    """Radii by category, the rejection table, Algorithm 2's counts, and the threshold."""
    windows = [{"order": w["order"], **w["rejected"], "by_threshold": w["fallbacks"]} for w in tables["windows"]]
    rate, (low, high) = evaluation.held_out()
    hits, count = evaluation.calibration
    parts: list[Section] = [Section("Detection", (table_of("detection", tables["categories"]),)),
                            Section("Rejected below a threshold", (table_of("rejection", tables["rejection"]),))]
    if windows:
        parts.append(Section("Rejected by Algorithm 2", (table_of("windows", windows),)))
    parts.append(Section("", (Facts((
        ("threshold", f"{values['threshold']:g}, calibrated on {count} other valid inputs ({hits} rejected)"),
        ("alarms", f"{percent_text(rate)} % of the valid category, "
                   f"{percent_text(low, 1, -1)} % to {percent_text(high, 1, 1)} % at 95 %"))),)))
    return tuple(parts)


# ---- adversarial inputs -----------------------------------------------------------------------------------------------------


def _set_of(folder: str | Path, name: str) -> Path:
    return Path(folder) / f"{re.sub(r'[^A-Za-z0-9.=-]+', '_', name)}.npz"


def _save(made: Adversarials, path: Path) -> None:
    from io import BytesIO

    from absint.analyses.validate.calibration import replace_file

    file = BytesIO()
    made.save(file)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError("E-OUT", f"no folder can be made there: {error.strerror}", where=str(path.parent),
                         hint="give --adversarial another path") from error
    replace_file(path, file.getvalue())


def _unsaved(records: Sequence[Category], run: Run[EvaluateOptions]) -> tuple[str, ...]:
    """Categories of a journal whose inputs were not asked for then."""
    folder, known = run.options.adversarial, (CALIBRATION, VALID, MISCLASSIFIED)
    lost = [] if folder is None else [one.name for one in records if one.name not in known and not _set_of(folder, one.name).exists()]
    return (f"no adversarial inputs of {', '.join(lost)}: the run that measured them did not save them",) if lost else ()
