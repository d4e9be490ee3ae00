"""What scores add up to: means by kind of target, and how often an estimate is known to be wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from math import inf, isfinite, nan
from statistics import mean

from absint.analyses.clever.options import CleverOptions
from absint.analyses.clever.record import ABOVE_ATTACK, BELOW_PROOF, CleverScore, TargetScore
from absint.contract.analysis import facts
from absint.contract.document import Document, Figure, Json, Panel, Section, Series, Table
from absint.contract.run import Run
from absint.numeric.percent import percent_text
from absint.numeric.statistics import clopper_pearson

Pair = tuple[CleverScore, TargetScore]


def summed_up(records: Sequence[CleverScore], run: Run[CleverOptions]) -> Document:
    """Sections, summary and figures."""
    pairs = [(record, one) for record in records for one in record.targets]
    kinds = list(dict.fromkeys(one.kind for _, one in pairs))
    skipped = Counter(record.skipped for record in records if record.skipped)
    late = sum(record.skipped == "timeout" or bool(record.note) for record in records)
    rows = [_means(kind, [one for _, one in pairs if one.kind == kind]) for kind in kinds]
    known = [one for _, one in pairs if isfinite(one.counterexample)]
    above, below = (sum(one.flag == flag for _, one in pairs) for flag in (ABOVE_ATTACK, BELOW_PROOF))
    scored = sum(bool(record.targets) for record in records)
    found: list[tuple[str, str]] = [("scores", _counted(len(pairs), scored, skipped, run))]
    if any(one.saturated for _, one in pairs):
        many = sum(one.saturated for _, one in pairs)
        found.append(("at the radius", f"{many} of {len(pairs)} scores end at it: a larger --radius says more of them"))
    rate = clopper_pearson(above, len(known)) if known else None
    if rate is not None:
        found.append(("estimate above an attack", f"{above} of {len(known)}, {percent_text(rate[0], 1, -1)} % to "
                                                  f"{percent_text(rate[1], 1, 1)} % at 95 % (Clopper-Pearson)"))
    proved = sum(one.certified is not None for _, one in pairs)
    if proved:
        found.append(("estimate below the proof", f"{below} of {proved}"))
    unsettled = [one for _, one in pairs if one.steps]
    if unsettled:
        found.append(("Hessian-vector products", f"{sorted(one.steps for one in unsettled)[len(unsettled) // 2]:g} a sample, the median"))
    finished = len(records) == len(run.asked) and not late
    return Document(
        {"inputs": len(run.asked), "scored": scored, "skipped": dict(skipped), "pairs": len(pairs),
         "saturated": sum(one.saturated for _, one in pairs), "fitted": sum(one.fitted for _, one in pairs),
         "attacked": len(known), "above_attack": above, "above_attack_interval": None if rate is None else list(rate),
         "below_proof": below, "by_target": [dict(zip(_COLUMNS, row, strict=True)) for row in rows]},
        (facts(*found), Section("by target", (Table(_COLUMNS, tuple(rows), "by_target"),))) if rows else (facts(*found),),
        _figures(pairs, kinds, run), notes=run.problem.notes, exit_code=0 if finished else 1)


def _counted(pairs: int, scored: int, skipped: Counter[str], run: Run[CleverOptions]) -> str:
    left = "".join(f", {count} {why}" for why, count in skipped.items())
    missed = len(run.asked) - scored - sum(skipped.values())
    return f"{pairs}, of {scored} of {len(run.asked)} inputs{left}" + (f", {missed} failed or not reached" if missed else "")


_COLUMNS = ("target", "scores", "mean score", "mean certified", "mean attacked", "none attacked", "above an attack", "saturated")


def _means(kind: str, own: Sequence[TargetScore]) -> tuple[Json, ...]:
    """One line of the table. The mean of attacked distances is over those that are known."""
    known = [one.counterexample for one in own if isfinite(one.counterexample)]
    proved = [one.certified for one in own if one.certified is not None]
    asked = any(one.attacked is not None or one.refuted is not None for one in own)
    return (kind, len(own), mean(one.score for one in own), mean(proved) if proved else None, mean(known) if known else None,
            len(own) - len(known) if asked else None, sum(one.flag == ABOVE_ATTACK for one in own) if asked else None,
            sum(one.saturated for one in own))


def _figures(pairs: Sequence[Pair], kinds: Sequence[str], run: Run[CleverOptions]) -> tuple[Figure, ...]:
    """Each pair between its proof and its counterexample, from the smallest on."""
    settings = run.problem.settings
    panels = tuple(replace(_panel(kind, [one for _, one in pairs if one.kind == kind], settings.radius, first=not k),
                           y_label=f"distance, {settings.norm}", whole=True)
                   for k, kind in enumerate(kinds))
    panels = (*panels[:-1], *(replace(panel, x_label="inputs, from the nearest counterexample on") for panel in panels[-1:]))
    title = f"CLEVER scores, order {settings.order}, {settings.norm}: {run.data_name}"
    return (Figure("scores", title, panels, (7.0, 1.0 + 2.6 * len(panels))),) if panels else ()


def _panel(kind: str, own: list[TargetScore], radius: float, *, first: bool) -> Panel:
    own = sorted(own, key=lambda one: (min(one.counterexample, radius), one.score))
    places = tuple(map(float, range(len(own))))

    def values(of: Callable[[TargetScore], float | None]) -> tuple[float, ...]:
        found = [of(one) for one in own]
        return tuple(nan if value is None or value == inf else float(value) for value in found)

    low, high = values(lambda one: one.certified), values(lambda one: one.counterexample)
    series = [Series("score", places, values(lambda one: one.score), marked=True, joined=False, colour=0),
              Series("its interval", places, values(lambda one: one.low), to=values(lambda one: one.high), colour=0)]
    if any(isfinite(value) for value in low):
        series.append(Series("certified", places, low, marked=True, joined=False, colour=2))
    if any(isfinite(value) for value in high):
        series.append(Series("attacked", places, high, marked=True, joined=False, colour=1))
    if len(series) == 4:
        series.insert(0, Series("between the two", places, low, to=high, colour=6, dashed=True))
    return Panel(tuple(series), title=kind, y_label="distance", x_limits=(-0.5, len(own) - 0.5), y_limits=(0.0, inf), legend=first)
