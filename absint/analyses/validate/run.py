"""`validate run` as an analysis: one decision an input, in mode distribution each on the window that those before it left."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from absint.analyses.validate.options import ValidateRunOptions
from absint.analyses.validate.record import Decision
from absint.analyses.validate.validators import order_digest, shown, validator_of
from absint.contract.analysis import Analysis, Item, facts
from absint.contract.document import Document, Json
from absint.contract.run import Run
from absint.errors import InputError, UsageError

if TYPE_CHECKING:
    from absint.analyses.validate.calibration import Calibration
    from absint.analyses.validate.validator import RadiusValidator
    from absint.analyses.validate.window import SlidingWindow
    from absint.model.graph import Graph

ASSURANCE = ("accepted, on the basis of a proof or a radius: every real input so near (and in the data range) has the predicted class, in "
             "exact real arithmetic; on another basis: statistics of radii; rejected: nothing is proved")
_FIXED = ("upper", "tolerance", "norm", "dtype")
_IN_ORDER = "distribution"      # the mode whose decisions rest on those before


class ValidateRun(Analysis[ValidateRunOptions, Decision]):
    """Accept or reject each input. Labels are neither needed nor read: the class that has to stay is the predicted one.

    Exit code 0: every input is accepted. 1: some are rejected, or not decided. 2 usage, 3 bad input, 4 unsupported, 5 resource,
    70 internal error, 130 interrupted.
    """

    Options = ValidateRunOptions
    Record = Decision
    records: ClassVar[str] = "decisions"

    def check(self, options: ValidateRunOptions) -> None:
        """A calibration is needed."""
        from absint.analyses.validate.calibration import check_target

        if options.calibration is None:
            raise UsageError("E-USAGE", "a calibration is needed", where="--calibration", hint="make one: absint validate calibrate")
        if options.state is not None:
            check_target(options.state)

    def resolved(self, options: ValidateRunOptions) -> ValidateRunOptions:
        """With what the calibration fixes; `check` refuses a run without one."""
        if options.calibration is None:
            return options
        binding = _binding(_read(options), str(options.calibration))
        return replace(options, domain=binding["domain"], dtype=binding["dtype"], clip=binding["clip"])

    def apart(self, options: ValidateRunOptions) -> bool:
        """A window slides from input to input."""
        return options.mode != _IN_ORDER

    def suits(self, graph: Graph) -> None:
        """Two classes at least."""
        from absint.problem.problem import check_classes

        check_classes(graph)

    def prepare(self, run: Run[ValidateRunOptions]) -> RadiusValidator:
        """The validator with its calibration. Raises InputError E-CALIBRATION-*, UsageError E-MODE."""
        path = str(run.options.calibration)
        binding = _binding(_read(run.options), path)
        return validator_of(run, mode=run.options.mode, **{name: binding[name] for name in _FIXED}).load_state(path)

    def binding(self, run: Run[ValidateRunOptions]) -> Mapping[str, Json]:
        """The calibration, and in mode distribution all inputs in their order."""
        calibration = run.problem.calibration
        return {"calibration": calibration.as_dict()["checksum"], **({} if self.apart(run.options) else order_digest(run.inputs))}

    def about(self, run: Run[ValidateRunOptions]) -> Mapping[str, Json]:
        """What decides."""
        return {**shown(run.problem), "assurance": ASSURANCE, "calibration": str(run.options.calibration), "mode": run.options.mode,
                "threshold": float(run.problem.calibration.threshold)}

    def opening(self, run: Run[ValidateRunOptions], count: int) -> str:
        """What is validated."""
        return f"validating {count} inputs of {run.data_name}"

    def word(self, record: Decision) -> str:
        """As people say it."""
        return "accepted" if record.accepted else "rejected"

    def tone(self, record: Decision) -> str:
        """Rejected inputs catch the eye."""
        return "good" if record.accepted else "bad"

    def decide(self, items: Sequence[Item], run: Run[ValidateRunOptions]) -> Iterator[Decision]:
        """Batches as they are proved; or one after the other, from the window that the decisions before them left."""
        validator: RadiusValidator = run.problem
        data = run.inputs.at([item.index for item in items])
        if self.apart(run.options):
            yield from validator.asked(data, run.left)
            return
        first = len(run.asked) - len(items)
        if list(run.asked[first:]) != [item.index for item in items]:
            missing = next(index for index in run.asked if index not in run.done)
            raise InputError("E-JOURNAL-CORRUPT", f"input {missing} is not in it, and later ones are, whose decisions rest on it",
                             where=str(run.options.journal), hint="remove the lines behind the missing one, then --resume again")
        for decision, _ in validator.watched(data, _window(validator, list(run.done.values())), run.left):
            yield decision

    def document(self, records: Sequence[Decision], run: Run[ValidateRunOptions]) -> Document:
        """Counts, and what they rest on."""
        accepted, asked = sum(record.accepted for record in records), len(run.asked)
        rejected, missing = len(records) - accepted, asked - len(records)
        header = run.header
        left = f", {missing} not decided" if missing else ""
        return Document(
            {"inputs": asked, "accepted": accepted, "rejected": rejected},
            (facts(("decisions", f"{accepted} accepted, {rejected} rejected{left}"),
                   ("threshold", f"{header['threshold']} in {header['search']['norm']}, mode {header['mode']}")),),
            exit_code=0 if accepted == asked else 1)

    def finish(self, records: Sequence[Decision], document: Document, run: Run[ValidateRunOptions]) -> Sequence[str]:
        """The state after the last input; none before."""
        from absint.analyses.validate.calibration import write_calibration

        path = run.options.state
        if path is None:
            return ()
        if len(records) < len(run.asked):
            return (f"not written: {path}; {len(run.asked) - len(records)} inputs are not decided",)
        validator: RadiusValidator = run.problem
        calibration: Any = validator.calibration
        if not self.apart(run.options):
            calibration = replace(calibration, window=_window(validator, records).steps)
        write_calibration(calibration.as_dict(), path)
        return (f"written: {path}",)


def _window(validator: RadiusValidator, decisions: Sequence[Decision]) -> SlidingWindow:
    """As these decisions, in order, leave it: only what was accepted moves it."""
    window = validator.start()
    for decision in decisions:
        if decision.accepted:
            window = window.slid(int((decision.radius or 0) / window.rule.step))
    return window


def _read(options: ValidateRunOptions) -> Calibration:
    from absint.analyses.validate.calibration import read_calibration

    assert options.calibration is not None      # `check` was asked first
    return read_calibration(options.calibration)


def _binding(calibration: Calibration, where: str) -> dict[str, Any]:
    """What a calibration fixes of a run. Raises InputError E-CALIBRATION-FORMAT."""
    try:
        found = {name: calibration.binding[name] for name in (*_FIXED, "domain")}
        clip = calibration.binding["clip"]
        return {**found, "clip": None if clip is None else (float(clip[0]), float(clip[1]))}
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise InputError("E-CALIBRATION-FORMAT", f"not a calibration file: {type(error).__name__}: {error}", where=where,
                         hint="make one: absint validate calibrate") from error
