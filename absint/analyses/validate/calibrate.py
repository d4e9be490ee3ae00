"""`validate calibrate` as an analysis: a radius for each valid input, and the threshold that all of them lead to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from absint.analyses.radius.record import RadiusResult
from absint.analyses.validate.options import CalibrateOptions
from absint.analyses.validate.validators import shown, validator_of
from absint.contract.analysis import Analysis, Item, facts
from absint.contract.document import Document, Json
from absint.contract.run import Run
from absint.numeric.decimal import exact_text
from absint.numeric.percent import percent_text

if TYPE_CHECKING:
    from absint.analyses.validate.calibration import Calibration
    from absint.analyses.validate.validator import RadiusValidator
    from absint.model.graph import Graph
    from absint.problem.dataset import Dataset


@dataclass(frozen=True, eq=False)
class Calibrating:
    """A validator that learns from these inputs. wrong: misclassified ones that were left out; None without labels."""

    validator: RadiusValidator
    valid: Dataset
    wrong: int | None


class ValidateCalibrate(Analysis[CalibrateOptions, RadiusResult]):
    """Find the threshold that rejects no more valid inputs than a tolerated rate, and write it to a file.

    The inputs must be valid ones; where they are labelled, misclassified ones are left out. The file is bound to the model,
    the domain and the region. It is written when every radius is known: an interrupted run leaves none, and its journal continues.

    Exit code 0: written. 1: the limit of the run left inputs out, and nothing is written. 2 usage, 3 bad input, 4 unsupported,
    5 resource, 70 internal error, 130 interrupted.
    """

    Options = CalibrateOptions
    Record = RadiusResult
    records: ClassVar[str] = "radii"
    positional: ClassVar[tuple[str, ...]] = ("net", "data", "labels")

    def check(self, options: CalibrateOptions) -> None:
        """A rate, and a place for the file."""
        from absint.analyses.validate.calibration import check_target, parse_rate

        parse_rate(options.rate)
        check_target(options.calibration)

    def suits(self, graph: Graph) -> None:
        """Two classes at least."""
        from absint.problem.problem import check_classes

        check_classes(graph)

    def prepare(self, run: Run[CalibrateOptions]) -> Calibrating:
        """The validator and what it learns from. Raises InputError E-CALIBRATION-FEW before a radius is looked for."""
        validator = validator_of(run)
        return Calibrating(validator, *validator.valid_of(run.inputs))

    def items(self, run: Run[CalibrateOptions]) -> Sequence[Item]:
        """Misclassified inputs are none."""
        return [Item(index, f"input {index}") for index in run.problem.valid.index.tolist()]

    def about(self, run: Run[CalibrateOptions]) -> Mapping[str, Json]:
        """The search."""
        return shown(run.problem.validator)

    def opening(self, run: Run[CalibrateOptions], count: int) -> str:
        """What is used."""
        return f"calibrating on {count} inputs of {run.data_name}"

    def word(self, record: RadiusResult) -> str:
        """Whether anything was proved."""
        return "certified" if record.certified else "zero"

    def decide(self, items: Sequence[Item], run: Run[CalibrateOptions]) -> Iterator[RadiusResult]:
        """Bisection of all items together."""
        problem: Calibrating = run.problem
        yield from problem.validator.searched(problem.valid.at([item.index for item in items]), run.left)

    def document(self, records: Sequence[RadiusResult], run: Run[CalibrateOptions]) -> Document:
        """The threshold, confirmed by one more call for all inputs; nothing where radii are missing. Raises E-CALIBRATION-ZERO."""
        counts: dict[str, Json] = {"inputs": len(run.asked), "wrong": run.problem.wrong}
        missing = len(run.asked) - len(records) + sum(record.cut for record in records)
        if missing:
            said = f"none: {missing} of {len(run.asked)} inputs have no radius yet"
            return Document({**counts, "calibrated": False}, (facts(("threshold", said)),), exit_code=1)
        problem: Calibrating = run.problem
        found = problem.validator.calibrated(problem.valid, problem.validator.steps(records), problem.wrong)
        path = str(run.options.calibration)
        return Document({**counts, "calibrated": True, "threshold": float(found.threshold), "rejected": found.rejected},
                        (facts(*lines(found), ("file", path)),), values={"file": path, "calibration": found.as_dict()})

    def finish(self, records: Sequence[RadiusResult], document: Document, run: Run[CalibrateOptions]) -> Sequence[str]:
        """The file, where there is a calibration: one of half of the inputs is none."""
        from absint.analyses.validate.calibration import write_calibration

        path = run.options.calibration
        if "calibration" not in document.values:
            return (f"not written: {path}; a calibration needs the radius of every input"
                    + (", --resume goes on" if run.options.journal else ""),)
        write_calibration(document.values["calibration"], path)
        return (f"written: {path}",)


def lines(calibration: Calibration) -> list[tuple[str, str]]:
    """Name and value, for people."""
    from absint.analyses.validate.window import SlidingWindow

    low, high = calibration.interval
    rule, p = calibration.rule, calibration.normality
    wrong = "no labels, all were used" if calibration.wrong is None else f"{calibration.wrong} misclassified ones left out"
    return [
        ("threshold", f"{exact_text(calibration.threshold)} ({rule.threshold} steps of {exact_text(rule.step)})"),
        ("alarms", f"{calibration.rejected} of {len(calibration.radii)} calibration inputs are rejected, "
                   f"{percent_text(calibration.false_alarms)} %; at most {percent_text(calibration.rate)} % asked for"),
        ("interval", f"{percent_text(low, 2, -1)} % to {percent_text(high, 2, 1)} % at 95 % (Clopper-Pearson)"),
        ("inputs", f"{len(calibration.radii)}; {wrong}"),
        ("normality", "not defined" if p is None else f"p = {p:.3g} (D'Agostino-Pearson), "
                      f"{'normal' if p > rule.guard else 'not normal'} at {rule.guard:g}"),
        ("window", "none: too few inputs" if calibration.window is None else
                   f"{len(calibration.window)} radii, p = {SlidingWindow(rule, calibration.window).p:.3g}, "
                   f"sigma0 {exact_text(rule.sigma0 * rule.step)}, sigma1 {rule.sigma1:g}"),
    ]
