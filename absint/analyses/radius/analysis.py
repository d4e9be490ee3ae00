"""`radius` as an analysis: what it makes of its options, and what its radii add up to. The mathematics is in `bisection`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from statistics import mean, median
from typing import TYPE_CHECKING, ClassVar

from absint.analyses.radius.options import DOMAIN, EXACT_ATTACK, EXACT_DOMAIN, RadiusOptions
from absint.analyses.radius.record import RadiusResult
from absint.contract.analysis import Analysis, Item, facts
from absint.contract.document import Document, Figure, Json, Panel, Section, Series
from absint.contract.replay import WitnessReplay
from absint.contract.run import Run
from absint.errors import UsageError
from absint.numeric.decimal import exact_text, float_above, float_below, outward_text

if TYPE_CHECKING:
    from absint.analyses.radius.bisection import BisectionSettings
    from absint.model.graph import Graph


class Radius(Analysis[RadiusOptions, RadiusResult]):
    """Bracket each input's robustness radius: proved up to the one, a counterexample from the other on.

    The class that is kept is the predicted one; labels are not needed. Radii are exact multiples of upper / 2^n.

    Exit code 0: every search came to its end. 1: a time limit cut some short; what is certified stands.
    2 usage, 3 bad input, 4 unsupported, 5 resource, 70 internal error, 130 interrupted.
    """

    Options = RadiusOptions
    Record = RadiusResult
    records: ClassVar[str] = "radii"
    unread: ClassVar[frozenset[str]] = frozenset(("net", "data", "labels", "domain"))

    def check(self, options: RadiusOptions) -> None:
        """--exact chooses domain and attack; a solver's word certifies nothing."""
        if options.exact and options.domain is not None:
            raise UsageError("E-USAGE", f"--exact chooses the domain, and --domain {options.domain} another one", where="--exact",
                             hint=f"--domain {EXACT_DOMAIN}:OPTION=VALUE --attack {EXACT_ATTACK} sets further options")
        if options.accept_solver:
            raise UsageError("E-USAGE", "a certified radius needs proofs, not a solver's word", where="accept_solver", hint="leave it away")

    def resolved(self, options: RadiusOptions) -> RadiusOptions:
        """With the domain and the attack that are meant."""
        attack = options.attack if options.attack != "" else EXACT_ATTACK if options.exact else None
        domain = options.domain if options.domain is not None else EXACT_DOMAIN if options.exact else DOMAIN
        return replace(options, domain=domain, attack=attack)

    def suits(self, graph: Graph) -> None:
        """Two classes at least."""
        from absint.problem.problem import check_classes

        check_classes(graph)

    def prepare(self, run: Run[RadiusOptions]) -> BisectionSettings:
        """The search, with exact ends."""
        from absint.analyses.radius.bisection import BisectionSettings
        from absint.analyses.verify.run_settings import settings_of
        from absint.numeric.decimal import parse_eps
        from absint.problem.live import norm_of

        asked = run.options
        return BisectionSettings(parse_eps(asked.upper, "--upper"), parse_eps(asked.tolerance, "--tolerance"), settings_of(run),
                                 norm_of(asked.norm), asked.clip, asked.fan)

    def about(self, run: Run[RadiusOptions]) -> Mapping[str, Json]:
        """The grid, and what a radius means."""
        search = run.problem
        sense = "in exact real arithmetic" + (" and in every float32 execution" if run.options.semantics == "float32" else "")
        return {
            "search": {"norm": search.norm, "upper": exact_text(search.upper), "tolerance": exact_text(search.tolerance),
                       "halvings": search.halvings, "step": exact_text(search.step), "clip": search.clip and list(search.clip)},
            "assurance": f"every real input within the certified radius (and the data range) has the predicted class, {sense}"}

    def opening(self, run: Run[RadiusOptions], count: int) -> str:
        """What is searched."""
        return f"bisecting {count} inputs of {run.data_name}, {run.problem.halvings} halvings each"

    def decide(self, items: Sequence[Item], run: Run[RadiusOptions]) -> Iterator[RadiusResult]:
        """Bisection of all items together."""
        import torch

        from absint.analyses.radius.bisection import radii
        from absint.analyses.verify.run_settings import limited

        data = run.inputs.at([item.index for item in items])
        labels = None if data.labels is None else torch.from_numpy(data.labels)
        settings = replace(run.problem, verify=limited(run.problem.verify, items, run))
        yield from radii(run.network, torch.from_numpy(data.inputs), settings, labels=labels, index=[item.index for item in items])

    def word(self, record: RadiusResult) -> str:
        """Whether anything was proved."""
        return "cut short" if record.short else "certified" if record.certified else "zero"

    def replayed(self, record: RadiusResult, run: Run[RadiusOptions]) -> WitnessReplay:
        """Its witness, by onnxruntime and a proof."""
        if record.witness is None:
            return WitnessReplay()
        from absint.analyses.radius.replaying import is_counterexample

        return WitnessReplay.of(is_counterexample(record, run))

    def document(self, records: Sequence[RadiusResult], run: Run[RadiusOptions]) -> Document:
        """Mean and median of the certified radii, rounded down."""
        certified = [record.certified for record in records]
        cut, zero = sum(record.short for record in records), sum(not value for value in certified)
        average, middle = (mean(certified), median(certified)) if certified else (None, None)
        finished = len(records) == len(run.asked) and not cut
        search, clip = run.header["search"], run.options.clip
        found = "none" if average is None or middle is None else (
            f"mean {outward_text(average, -1)}, median {outward_text(middle, -1)}, {zero} of {len(records)} are 0")
        missed = "" if finished else f"; {len(run.asked) - len(records)} not reached, {cut} cut short"
        return Document(
            {"inputs": len(run.asked), "finished": finished, "mean": None if average is None else float_below(average),
             "median": None if middle is None else float_below(middle), "zero": zero,
             "tied": sum(record.tied for record in records), "cut_short": cut},
            (facts(("radii", found),
                   ("search", f"{search['norm']}, up to {search['upper']}, {search['halvings']} halvings to {search['step']} "
                              + ("without data range" if clip is None else f"in data range [{clip[0]:g}, {clip[1]:g}]")),
                   ("inputs", f"{len(run.asked)} of {run.data_name}{missed}")), *_curve(records, search["norm"])),
            exit_code=0 if finished else 1)


def _curve(records: Sequence[RadiusResult], norm: str) -> Iterator[Section]:
    """How many inputs are certified up to each radius, and how many have no counterexample there; a detail, for formats with room."""
    if len(records) < 2:
        return
    counts = tuple(float(len(records) - place) for place in range(len(records)))
    proved = sorted(float_below(record.certified) for record in records)
    lines = [_steps("certified", proved, counts, 2)]
    refuted = sorted(float_above(record.refuted) for record in records if isinstance(record.refuted, Fraction))
    if refuted:
        lines.append(_steps("without a counterexample", refuted, counts, 1))
    panel = Panel(tuple(lines), x_label=f"radius, {norm}, in raw input units", y_label="inputs", y_limits=(0.0, len(records) * 1.05),
                  legend=True)
    yield Section("Inputs by radius", (Figure("certified", "Inputs whose radius is at least so large", (panel,), (7.0, 3.2)),), detail=True)


def _steps(label: str, ends: Sequence[float], counts: Sequence[float], colour: int) -> Series:
    """Down by one at each end, from all on the left."""
    x, y = [0.0], [counts[0]]
    for end, before in zip(ends, counts, strict=False):
        x, y = [*x, end, end], [*y, before, before - 1]
    return Series(label, tuple(x), tuple(y), colour=colour)
