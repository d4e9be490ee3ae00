"""What a training adds up to: the errors of the network that is kept, with exact intervals, and curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from absint.analyses.train.curves import figures
from absint.analyses.train.options import TrainOptions
from absint.analyses.train.record import EpochRecord, Phase, per_cent
from absint.analyses.train.task import TrainTask
from absint.analyses.train.trainer import BEST, best_of
from absint.contract.analysis import facts
from absint.contract.document import Document, Json, Section, Table
from absint.contract.run import Run
from absint.numeric.decimal import exact_text
from absint.numeric.percent import percent_text
from absint.numeric.statistics import clopper_pearson

_COLUMNS = ("error", "share", "95 % interval", "n", "how")


def about(run: Run[TrainOptions]) -> Mapping[str, Json]:
    """For the header."""
    task: TrainTask = run.problem
    data = task.data
    return {
        "training": {"network": task.network.name, "parameters": task.network.count, "method": run.options.method,
                     "width_weight": task.width_weight, "eps": str(task.eps),
                     "schedule": vars(task.schedule) | {"drops": list(task.schedule.drops)}},
        "training_data": {"name": data.name, "train_n": len(data.train), "test_n": len(data.test), "classes": data.classes,
                          "train_sha256": data.train.sha256, "test_sha256": data.test.sha256, "notes": list(data.notes)},
    }


def opening(run: Run[TrainOptions]) -> str:
    """One line."""
    task: TrainTask = run.problem
    one, data, few = task.schedule, task.data, min(run.options.attacked, len(task.data.test))
    width = f" + {task.width_weight:g} x widths" if task.width_weight else ""
    return (f"training {task.network.name} ({task.network.count:,} parameters) on {len(data.train):,} inputs of {data.name} with "
            f"{run.options.method}{width}: {one.steps:,} steps of {task.batch}, warm-up {one.warm_up:,}, ramp {one.ramp:,} to eps "
            f"{one.eps:g}; measured on {len(data.test):,} test inputs at eps {exact_text(task.eps)}, PGD on {few:,}")


def document(records: Sequence[EpochRecord], run: Run[TrainOptions]) -> Document:
    """Sections, summary, figures."""
    task: TrainTask = run.problem
    epochs = [one for one in records if one.phase is not Phase.FINAL]
    closing = next((one for one in records if one.phase is Phase.FINAL), None)
    best = best_of(list(epochs))
    summary: dict[str, Json] = {"epochs": len(epochs), "steps": epochs[-1].step if epochs else 0,
                                "best_epoch": None if best is None else best.epoch}
    title = f"{task.network.name}, {run.options.method}, eps {exact_text(task.eps)}"
    shown = figures(records, title) if epochs else ()
    path = Path(run.options.save) / f"{BEST}.onnx"
    if closing is None:
        said = "nothing yet" if best is None else f"epoch {best.epoch} so far; the closing evaluation is missing"
        return Document(summary, (facts(("kept", said)),), shown, exit_code=1)
    rows = _rows(closing, run)
    summary |= {f"{name}_error": getattr(closing, f"{name}_error") for name in ("clean", "pgd", "verified")}
    summary |= {"test_n": closing.verified_n, "network": str(path)}
    verify = f"absint verify {path} --eps {exact_text(task.eps)}" + (f" --data {run.options.data}" if run.options.data else "")
    return Document(summary, (facts(("kept", f"{path}, epoch {closing.epoch} of {task.epochs}, the least verified error on test inputs")),
                              Section("errors of the network kept", (Table(_COLUMNS, tuple(rows), "errors"),)),
                              facts(("verify it", verify))), shown)


def _rows(closing: EpochRecord, run: Run[TrainOptions]) -> list[tuple[Json, ...]]:
    closing_attack = run.problem.closing_attack
    attack = f"PGD, {closing_attack.steps} steps x {closing_attack.restarts} restarts"
    how = {"clean": "", "pgd": f"{attack}, on inputs that are right and unproved",
           "verified": f"{run.options.certify}, rounded outward"}
    found: list[tuple[Json, ...]] = []
    for name, text in how.items():
        share, n = getattr(closing, f"{name}_error"), getattr(closing, f"{name}_n")
        low, high = clopper_pearson(round(share * n), n)
        found.append((name, f"{per_cent(share, n, upward=name == 'verified')}%",
                      f"{percent_text(low, 2, -1)}% to {percent_text(high, 2, 1)}%", n, text))
    return found
