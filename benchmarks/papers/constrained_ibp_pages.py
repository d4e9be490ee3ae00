"""Tables and plots of `constrained_ibp.py`, from whatever its trainings have kept; what is not done is said to be so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

from constrained_ibp_queue import DONE, kept
from constrained_ibp_runs import FAST, INITS, PAPER, RUNS, SEEDS, TABLE, WEIGHTS, Run

from absint.analyses.train.curves import compared
from absint.analyses.train.log import read_log
from absint.analyses.train.record import EpochRecord, Phase, per_cent
from absint.errors import AbsintError
from absint.reports.figures import draw

AIM = 0.1                   # widths under the constraint, in those without, at the same step of the ramp
VERIFIED, CLEAN = (15.0, 30.0), 10.0        # per cent that were aimed at, of MNIST's small network at the full schedule
METHODS = {"nominal": "nominal", "pgd": "PGD", "ibp": "IBP", "constrained": "constrained IBP"}


@dataclass(frozen=True)
class Kept:
    """A run with what it has kept. state: as in `constrained_ibp_queue`, None for one that never began.  records: of its epochs."""

    run: Run
    state: dict[str, Any] | None
    records: tuple[EpochRecord, ...]

    @property
    def epochs(self) -> tuple[EpochRecord, ...]:
        """Without the closing evaluation."""
        return tuple(record for record in self.records if record.phase is not Phase.FINAL)

    @property
    def closing(self) -> EpochRecord | None:
        """The closing evaluation, of the best epoch's network."""
        found = [record for record in self.records if record.phase is Phase.FINAL]
        return found[-1] if found and self.done else None

    @property
    def done(self) -> bool:
        """Whether the training has ended well."""
        return self.state is not None and self.state["state"] == DONE

    @property
    def how_far(self) -> str:
        """In words."""
        if self.state is None:
            return {"": "not begun", "time": "prepared: hours on a CPU", "card": "prepared for a card"}[self.run.needs]
        step = f", {self.epochs[-1].step} steps done" if self.epochs else ""
        return f"{self.state['state']}{step}{': ' + self.state['error'] if 'error' in self.state else ''}"


def gathered(out: Path) -> dict[str, Kept]:
    """All runs by name."""
    return {run.name: Kept(run, kept(out, run.name), records(out / run.name / "log.csv")) for run in RUNS}


def records(log: Path) -> tuple[EpochRecord, ...]:
    """None where there is no log yet, or none of this version's."""
    try:
        return read_log(log) if log.exists() else ()
    except AbsintError:
        return ()


# ---- the page -----------------------------------------------------------------------------------------------------------


def page(found: Mapping[str, Kept], pictures: Sequence[str]) -> str:
    """All that is known, as markdown. pictures: files beside the page."""
    lines = ["# Certified training", "", "How to read these tables: [RESULTS.md](../RESULTS.md).", "",
             "`benchmarks/papers/constrained_ibp.py --report`: Morawiecki et al. 2019, arXiv:1906.00628, beside trainings of ours.", ""]
    for part in (papers_table, fast_table, width_tables):
        lines += [*part(found), ""]
    if pictures:
        lines += ["## Figures 3 to 7", "", *(f"![{Path(name).stem}]({name})" for name in pictures), ""]
    lines += [*machines(found), ""]
    return "\n".join(lines)


def table(head: Sequence[object], rows: Sequence[Sequence[object]]) -> list[str]:
    """Markdown."""
    return [f"| {' | '.join(map(str, head))} |", f"|{'---|' * len(head)}", *(f"| {' | '.join(map(cell, row))} |" for row in rows), ""]


def cell(value: object) -> str:
    """Three digits; a dash for None."""
    if value is None or value == "":
        return "-"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def relation(text: str, holds: bool | None) -> str:
    """One line: it is reported as found."""
    return f"- {'not known' if holds is None else 'held' if holds else 'NOT held'}: {text}"


def errors(record: EpochRecord) -> tuple[str, str, str]:
    """Clean, PGD, verified, per cent."""
    return (per_cent(record.clean_error, record.clean_n), per_cent(record.pgd_error, record.pgd_n),
            per_cent(record.verified_error, record.verified_n, upward=True))


def ordered(record: EpochRecord) -> bool | None:
    """clean <= PGD <= verified; None where they are not all of the same images."""
    values = (record.clean_error, record.pgd_error, record.verified_error)
    if None in values or len({record.clean_n, record.pgd_n, record.verified_n}) > 1:
        return None
    return values[0] <= values[1] <= values[2]      # type: ignore[operator]  # no None is left


def papers_table(found: Mapping[str, Kept]) -> Iterator[str]:
    """The paper's table beside ours."""
    yield from ("## Table 1 of the paper, and ours", "",
                "Per cent of test images; PGD of 200 steps and ten restarts on what is classified as labelled and not proved. Ours is the "
                "network of the epoch with the least verified error, which the same test images chose; `last` is the verified error after "
                "the last epoch. Worst cases through the last layer, for both methods alike.", "")
    rows = []
    for (data, model), (eps, published) in PAPER.items():
        for method, label in METHODS.items():
            own = found.get(f"{data}-{model}-{method}")
            if method in published:
                rows.append((data, model, eps, label, "paper", *map(str, published[method]), *(None,) * 5))
            if own is not None:
                rows.append((data, model, eps, label, "ours", *ours(own)))
    yield from table(("data", "network", "eps", "method", "", "clean", "PGD", "verified", "last", "n", "epoch", "steps", "hours"), rows)
    closed = [one.closing for one in found.values() if one.closing is not None]
    verdicts = [ordered(record) for record in closed]
    yield relation(f"clean <= PGD <= verified error in every closing evaluation ({verdicts.count(True)} of {len(verdicts)})",
                   None if not verdicts else verdicts.count(True) == len(verdicts))
    for method in ("ibp", "constrained"):
        record = found[f"mnist-small-{method}"].closing
        text = f"mnist small, {METHODS[method]}: {VERIFIED[0]:g} to {VERIFIED[1]:g} % verified error, clean error under {CLEAN:g} %"
        yield relation(text, None if record is None or record.verified_error is None or record.clean_error is None else
                       VERIFIED[0] <= 100 * record.verified_error <= VERIFIED[1] and 100 * record.clean_error < CLEAN)
    record = found["mnist-small-nominal"].closing
    yield relation("mnist small, nominal: every test image is unproved", None if record is None else record.verified_error == 1)


def ours(one: Kept) -> tuple[object, ...]:
    """Cells of a run: errors, the last epoch's, n, epoch, steps, hours; or how far it is."""
    record = one.closing
    if record is None:
        return (one.how_far, *(None,) * 7)
    last = next((epoch for epoch in reversed(one.epochs) if epoch.verified_error is not None), None)
    hours = sum(epoch.seconds for epoch in one.records) / 3600
    return (*errors(record), None if last is None else errors(last)[2], record.verified_n, record.epoch, one.epochs[-1].step, hours)


def fast_table(found: Mapping[str, Kept]) -> Iterator[str]:
    """The short ramp: every run, and medians by weight."""
    yield from ("## The ramp that is 2.5 times shorter (figure 5)", "",
                "MNIST small, eps 0.4: 2,000 steps of warm-up, 4,000 of the ramp, 8,000 in all, batches of 100, Adam at 1e-3; worst cases "
                "logit by logit as the paper writes them; widths of hidden layers. Per cent of 10,000 test images after the last step; PGD "
                "of 20 steps on the first 1,000. In the paper IBP did not converge here, and constrained IBP did.", "")
    names = ("ibp", *(f"w{weight}" for weight in reversed(WEIGHTS)))
    labels = {"ibp": "IBP", **{f"w{weight}": f"weight {weight}" for weight in WEIGHTS}}
    rows, medians = [], {}
    for name in names:
        group = [found[f"fast-{init}-{seed}-{name}"] for seed, init in product(SEEDS, INITS)]
        ends = [one.epochs[-1] for one in group if one.done and one.epochs]
        values = {column: [100 * value for end in ends if (value := getattr(end, column)) is not None]
                  for column in ("clean_error", "pgd_error", "verified_error")}
        widths = [end.width for end in ends if end.width is not None]
        medians[name] = median(values["verified_error"]) if values["verified_error"] else None
        verified = values["verified_error"]
        rows.append((labels[name], f"{len(ends)} of {len(group)}", *(f"{median(own):.1f}" if own else None for own in values.values()),
                     f"{min(verified):.1f} to {max(verified):.1f}" if verified else None, median(widths) if widths else None))
    yield from table(("method", "runs done", "clean, median", "PGD, median", "verified, median", "verified, range", "widths, median"), rows)
    for name in names[1:]:
        known = medians["ibp"] is not None and medians[name] is not None
        yield relation(f"median verified error below IBP's with {labels[name]}", medians[name] < medians["ibp"] if known else None)
    yield ""
    each, waiting = [], []
    for init, seed, name in product(INITS, SEEDS, names):
        one = found[f"fast-{init}-{seed}-{name}"]
        if one.epochs and one.done:
            each.append((init, seed, labels[name], *errors(one.epochs[-1]), one.epochs[-1].width))
        else:
            waiting.append(f"{one.run.name} ({one.how_far})")
    yield from table(("init", "seed", "method", "clean", "PGD", "verified", "widths"), each) if each else ()
    if waiting:
        yield f"Not done: {', '.join(waiting)}."


# ---- widths -------------------------------------------------------------------------------------------------------------


def pairs(found: Mapping[str, Kept]) -> list[tuple[str, Kept, Kept]]:
    """Label, IBP, constrained: the same network, data, schedule, seed and weights at first."""
    rows = [(f"{data} {model}", found.get(f"{data}-{model}-ibp"), found.get(f"{data}-{model}-constrained")) for data, model in PAPER]
    fast = [(f"short ramp, {init} {seed}, weight {weight}", found[f"fast-{init}-{seed}-ibp"], found[f"fast-{init}-{seed}-w{weight}"])
            for init, seed, weight in product(INITS, SEEDS, reversed(WEIGHTS))]
    return [(label, one, other) for label, one, other in (*rows, *fast) if one is not None and other is not None]


def ratios(plain: Kept, constrained: Kept) -> list[tuple[EpochRecord, EpochRecord, float]]:
    """Records of both after the same step within the ramp, and the ratio of their widths."""
    by_step = {record.step: record for record in constrained.epochs}
    both = [(record, by_step[record.step]) for record in plain.epochs if record.phase is Phase.RAMP and record.step in by_step]
    return [(one, other, other.width / one.width) for one, other in both if one.width and other.width is not None]


def width_tables(found: Mapping[str, Kept]) -> Iterator[str]:
    """Ratios at the same step of the ramp: all of them for the full schedule, the extremes for all pairs."""
    yield from ("## Hidden widths at the same step of the ramp (figures 6 and 7)", "",
                "Sum over hidden layers of the mean squared distance between upper and lower bounds, on test images at the full eps.", "")
    rows = []
    worst: dict[str, list[float]] = {}
    for label, plain, constrained in pairs(found):
        own = [ratio for _, _, ratio in ratios(plain, constrained)]
        if own:
            rows.append((label, len(own), min(own), median(own), max(own)))
            worst.setdefault("with weight 1" if constrained.run.weight == "1" else "with smaller weights", []).append(max(own))
    yield from table(("constrained / IBP", "epochs of the ramp", "least", "median", "most"), rows)
    for what in ("with weight 1", "with smaller weights"):
        most = worst.get(what)
        yield relation(f"at most {AIM:g} {what}, in every epoch of the ramp and every pair{f' (most {max(most):.3g})' if most else ''}",
                       None if not most else max(most) <= AIM)
    shown = ratios(found["mnist-small-ibp"], found["mnist-small-constrained"])
    if shown:
        yield from ("", "mnist small, full schedule:", "")
        yield from table(("epoch", "step", "eps", "IBP", "constrained", "ratio"),
                         [(one.epoch, one.step, one.eps, one.width, other.width, ratio) for one, other, ratio in shown])


def machines(found: Mapping[str, Kept]) -> list[str]:
    """What the runs were made on."""
    by = sorted({one.state["machine"] for one in found.values() if one.done and one.state is not None and "machine" in one.state})
    return [f"Run on: {one}." for one in by]


# ---- plots --------------------------------------------------------------------------------------------------------------


def plots(found: Mapping[str, Kept], folder: Path) -> list[str]:
    """Names of the pictures written, of what there is to compare. Raises AbsintError E-PLOT-MISSING without matplotlib."""
    asked = {
        "mnist-small": ("MNIST small, eps 0.4", {METHODS[m]: f"mnist-small-{m}" for m in ("ibp", "constrained")}),
        "cifar10-small": ("CIFAR-10 small, eps 8/255", {METHODS[m]: f"cifar10-small-{m}" for m in ("ibp", "constrained")}),
        "short-ramp": ("MNIST small, short ramp, seed 0", {
            "IBP": "fast-default-0-ibp", **{f"weight {weight}": f"fast-default-0-w{weight}" for weight in reversed(WEIGHTS)}}),
    }
    written = []
    for stem, (title, names) in asked.items():
        runs = {label: found[name].epochs for label, name in names.items() if found[name].epochs}
        for figure in compared(runs, title) if len(runs) > 1 else ():
            name = f"training-{stem}-{figure.name}.png"
            picture = BytesIO()
            draw(figure, picture, ".png")
            (folder / name).write_bytes(picture.getvalue())
            written.append(name)
    return written


def summary(found: Mapping[str, Kept]) -> list[str]:
    """One line a run, for `--list`."""
    return [f"{one.run.name:32} {one.how_far}" for one in found.values() if one.run.group in (TABLE, FAST)]
