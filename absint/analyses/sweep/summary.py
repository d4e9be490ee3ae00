"""What the records add up to: shares over the radii with their intervals, curves, and what one of several proves and another does not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from statistics import mean
from typing import Any

from absint.analyses.sweep.asking import SweepTask, told_of
from absint.analyses.sweep.implied import Evidences
from absint.analyses.sweep.options import SweepOptions
from absint.analyses.sweep.record import SweepCell, SweepLine
from absint.contract.analysis import facts
from absint.contract.document import Document, Figure, Json, Panel, Section, Series, Table, table_of
from absint.contract.run import Run
from absint.numeric.percent import percent_number, percents
from absint.verdict import Reason, Verdict

ANY = "any of these"
_PART = " that are decided"     # in a run that did not end: what is decided first is no random sample of all
_WHERE = " where every input is"
_MOST = 200     # inputs of which a machine-readable document lists that verdicts differ
Group = tuple[str, str, str]        # network, norm, domain


@dataclass(frozen=True)
class Shares:
    """At one radius, of n inputs; those that are misclassified themselves count as neither verified nor falsified. skipped: of all n.

    asked: inputs that were asked for. Where some of them have no verdict, those that have one are no random sample: they get no interval.
    """

    group: Group
    eps: str
    verified: int
    falsified: int
    unknown: int
    misclassified: int
    skipped: int
    asked: int

    @property
    def whole(self) -> bool:
        """Whether every input that was asked for has a verdict."""
        return self.n == self.asked

    @property
    def n(self) -> int:
        """Inputs that have a verdict."""
        return self.verified + self.falsified + self.unknown + self.misclassified

    @property
    def share(self) -> float | None:
        """Verified, of all n."""
        return self.verified / self.n if self.n else None

    @property
    def most(self) -> float | None:
        """What no proof can exceed: neither falsified nor misclassified."""
        return (self.verified + self.unknown) / self.n if self.n else None

    def row(self) -> dict[str, Json]:
        """JSON-ready, shares in percent with the exact interval of the verified one."""
        net, norm, domain = self.group
        share, *ends = percents(self.verified, self.n)
        low, high = ends if self.whole else (None, None)
        return {"net": net, "norm": norm, "domain": domain, "eps": self.eps, "verified": self.verified, "falsified": self.falsified,
                "unknown": self.unknown, "misclassified": self.misclassified, "n": self.n, "percent": share, "low": low,
                "high": high, "skipped": self.skipped}


@dataclass(frozen=True, eq=False)
class Verdicts:
    """Cells by network, norm and domain, radius, and input."""

    task: SweepTask
    cells: Mapping[tuple[Group, str], Mapping[int, SweepCell]]

    @staticmethod
    def of(records: Sequence[SweepLine], task: SweepTask) -> Verdicts:
        """Of all records."""
        found: dict[tuple[Group, str], dict[int, SweepCell]] = {}
        for record in records:
            for cell in record.cells:
                found.setdefault(((record.net, record.norm, record.domain), cell.eps), {})[record.input] = cell
        return Verdicts(task, found)

    def at(self, group: Group, eps: str) -> Mapping[int, SweepCell]:
        """By input."""
        return self.cells.get((group, eps), {})

    def proved(self, group: Group, eps: str) -> set[int]:
        """Inputs verified there."""
        return {name for name, cell in self.at(group, eps).items() if cell.verdict is Verdict.VERIFIED}

    def shares(self, group: Group, eps: str, inputs: frozenset[int] | None = None) -> Shares:
        """Counted over all inputs, or these."""
        cells = [cell for name, cell in self.at(group, eps).items() if inputs is None or name in inputs]
        counts = Counter(cell.verdict for cell in cells)
        skipped = sum(bool(cell.basis) for cell in cells)
        return Shares(group, eps, counts[Verdict.VERIFIED], counts[Verdict.FALSIFIED],
                      counts[Verdict.UNKNOWN] + counts[Verdict.LIKELY], counts[Verdict.MISCLASSIFIED], skipped,
                      len(self.task.inputs if inputs is None else inputs))

    def together(self, net: str, norm: str, eps: str) -> Shares:
        """By whichever domain: verified or falsified where one of them says so."""
        by_domain = [self.at((net, norm, domain), eps) for domain in self.task.domains]
        names = set(by_domain[0]).intersection(*by_domain[1:])
        counts = Counter(_strongest([cells[name].verdict for cells in by_domain]) for name in names)
        return Shares((net, norm, ANY), eps, counts[Verdict.VERIFIED], counts[Verdict.FALSIFIED], counts[Verdict.UNKNOWN],
                      counts[Verdict.MISCLASSIFIED], 0, len(self.task.inputs))


def _strongest(verdicts: Sequence[Verdict]) -> Verdict:
    order = (Verdict.MISCLASSIFIED, Verdict.FALSIFIED, Verdict.VERIFIED)
    return next((one for one in order if one in verdicts), Verdict.UNKNOWN)


def summed_up(records: Sequence[SweepLine], run: Run[SweepOptions]) -> Document:
    """Tables, curves and matrices; the error of verdicts that contradict each other comes with them."""
    task: SweepTask = run.problem if run.problem is not None else told_of(run)      # a report has no networks
    run = replace(run, problem=task)
    found = Verdicts.of(records, task)
    groups = list(product(task.nets, task.norms, task.domains))
    shares = [found.shares(group, one.text) for group in groups for one in task.radii]
    union = [found.together(net, norm, one.text) for net, norm in product(task.nets, task.norms) for one in task.radii]
    rows = [one.row() for one in (*shares, *(union if len(task.domains) > 1 else ()))]
    cells = [cell for record in records for cell in record.cells]
    bases = Counter(cell.basis.partition(" at ")[0] for cell in cells if cell.basis)
    late = sum(cell.reason is Reason.TIMEOUT for cell in cells)
    missing = len(run.asked) - len(records)
    matrices, differing = _compared(found)
    whole = all(one.whole for one in (*shares, *union))
    sections = [Section(f"inputs verified, in percent of all{_PART * (not whole)}, with 95 % intervals (Clopper-Pearson)"
                        f"{_WHERE * (not whole)}", (table_of("shares", rows),))]
    sections += [Section(title, (table,)) for title, table in matrices]
    sections += _by_seed(found, whole=whole)
    cut = sum(record.cut for record in records)
    return Document(
        {"cells": len(cells), "asked": len(cells) - sum(bases.values()), "skipped": dict(bases), "timed_out": late, "cut": cut},
        (*sections, facts(*_lines(run, bases, len(cells), late, missing, cut))),
        figures=(_curves(found, whole=whole),), values={"shares": rows, "differing": differing},
        notes=tuple(dict.fromkeys(note for cell in cells for note in cell.notes)),
        warnings=(*_doubts(run), *_word(cells)), exit_code=1 if missing or late or cut else 0, error=Evidences.of(records, task.by_text)[1])


def _lines(run: Run[SweepOptions], bases: Counter[str], count: int, late: int, missing: int, cut: int) -> Iterator[tuple[str, str]]:
    task, clip = run.problem, run.options.clip
    for one in run.header["networks"]:
        right = one["accuracy"]
        known = "" if right is None else f", classified correctly: {right['correct']} of {right['of']}"
        yield "network", f"{one['name']} (sha256 {one['sha256'][:12] or 'unknown'}){known}"
    yield "inputs", f"{len(task.inputs)} of {run.data_name}, " + ("no data range" if clip is None else f"data range {clip}")
    yield "asked", f"{count - sum(bases.values())} of {len(run.asked) * len(task.radii)} verdicts"
    said = {"proof": "verified at a larger radius of the same input, network, norm and domain",
            "witness": "falsified at a smaller one, by a point of the larger ball",
            "the input": "of inputs that are misclassified themselves"}
    if bases:
        yield "skipped", "; ".join(f"{bases[name]} {text}" for name, text in said.items() if bases[name])
    if late:
        yield "limits", f"{late} verdicts ended by a limit, of {run.timeout:g} s each or of the run; they are unknown"
    if missing or cut:
        yield "unfinished", f"{missing} items failed or were not reached, {cut} were cut by the limit of the run; --resume goes on"


def _doubts(run: Run[SweepOptions]) -> Iterator[str]:
    """Where the question itself looks wrong: networks that are right about few inputs, radii in other units than the data."""
    task: SweepTask = run.problem
    for one in run.header["networks"]:
        right = one["accuracy"]
        if right is not None and 2 * right["correct"] < right["of"]:
            yield (f"{one['name']} classifies only {right['correct']} of {right['of']} inputs correctly\n"
                   "  hint: absint verify, with the same --data and normalisation, tries the usual slips in preprocessing")
    clip = run.header["property"]["clip"]
    vast = [one.text for one in task.radii if clip is not None and min(one.exact) >= clip[1] - clip[0]]
    if vast:
        yield (f"within eps {', '.join(vast)} lies everything in the data range [{clip[0]:g}, {clip[1]:g}]\n"
               f"  hint: eps is in the units of the data, after --scale and before --mean: did you mean {vast[0]}/255?")


def _word(cells: Sequence[SweepCell]) -> tuple[str, ...]:
    count = sum(cell.verdict is Verdict.VERIFIED and cell.assurance.value == "solver" for cell in cells)
    return (f"{count} of the verified verdicts rest on a solver's word (--accept-solver)",) if count else ()


# ---- comparison ----------------------------------------------------------------------------------------------------------


def _compared(found: Verdicts) -> tuple[list[tuple[str, Table]], list[dict[str, Json]]]:
    """A matrix of domains and one of networks, where there are several, with titles; and the inputs of which domains differ."""
    task = found.task
    matrices = []
    differing: list[dict[str, Json]] = []
    if len(task.domains) > 1:
        rows = []
        for net, norm, one in product(task.nets, task.norms, task.radii):
            proved = {domain: found.proved((net, norm, domain), one.text) for domain in task.domains}
            rows += _matrix({"net": net, "norm": norm, "eps": one.text}, proved)
            open_ = sorted(name for name in set[int]().union(*proved.values()) if not all(name in mine for mine in proved.values()))
            differing += [{"net": net, "norm": norm, "eps": one.text, "input": name,
                           "verified_by": [domain for domain in task.domains if name in proved[domain]]} for name in open_]
        matrices.append(("inputs that one domain verifies and another does not", table_of("domains", rows)))
    if len(task.nets) > 1:
        rows = []
        for norm, domain, one in product(task.norms, task.domains, task.radii):
            rows += _matrix({"norm": norm, "domain": domain, "eps": one.text},
                            {net: found.proved((net, norm, domain), one.text) for net in task.nets})
        matrices.append(("inputs verified of one network and not of another", table_of("networks", rows)))
    return matrices, differing[:_MOST]


def _matrix(place: Mapping[str, Json], proved: Mapping[str, set[int]]) -> list[dict[str, Json]]:
    """A row for each: how many inputs it verifies, and how many of these each other one does not."""
    return [{**place, "verified by": one, "inputs": len(mine), **{f"not by {other}": None if other == one else len(mine - theirs)
                                                                 for other, theirs in proved.items()}} for one, mine in proved.items()]


def _by_seed(found: Verdicts, *, whole: bool) -> list[Section]:
    """The share of each sample, where there are several, with their mean and range."""
    task = found.task
    if len(task.samples) < 2:
        return []
    rows = []
    for group, one in product(product(task.nets, task.norms, task.domains), task.radii):
        shares = {seed: found.shares(group, one.text, frozenset(inputs)).share for seed, inputs in task.samples.items()}
        known = [share for share in shares.values() if share is not None]
        net, norm, domain = group
        rows.append({"net": net, "norm": norm, "domain": domain, "eps": one.text,
                     **{f"seed {seed}": _percent(share) for seed, share in shares.items()},
                     "mean": _percent(mean(known) if known else None), "least": _percent(min(known, default=None)),
                     "most": _percent(max(known, default=None))})
    return [Section(f"inputs verified, in percent{_PART * (not whole)}, by the seed of the sample", (table_of("seeds", rows),))]


def _curves(found: Verdicts, *, whole: bool) -> Figure:
    """A panel for each network and norm: the share verified by each domain over the radii, and what no proof can exceed."""
    task = found.task
    x = tuple(float(max(one.exact)) for one in task.radii)

    def line(value: Callable[[str], float | None]) -> tuple[float, ...]:
        return tuple(float("nan") if (got := value(one.text)) is None else got for one in task.radii)

    panels = []
    for net, norm in product(task.nets, task.norms):
        series = [Series(domain, x, line(lambda eps, group=(net, norm, domain): found.shares(group, eps).share),  # type: ignore[misc]
                         marked=True, colour=colour) for colour, domain in enumerate(task.domains)]
        most = line(lambda eps, net=net, norm=norm: found.together(net, norm, eps).most)  # type: ignore[misc]
        series.append(Series("not falsified", x, most, dashed=True, colour=len(series)))
        panels.append(Panel(tuple(series), f"{net}, {norm}", "radius", "share of inputs", y_limits=(0.0, 1.01), legend=True))
    return Figure("sweep", f"verified over radius{_PART * (not whole)}", tuple(panels), (7.0, 3.6 * len(panels)))


def _percent(share: Any) -> float | None:
    return None if share is None else percent_number(share)
