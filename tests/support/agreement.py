"""What a verdict or a bound may say of a problem whose answer is known exactly (tests only)."""

from __future__ import annotations

from fractions import Fraction
from math import inf

import torch
from agreement_nets import BATCH
from exact_cells import Net

from absint.analyses.verify import ProofSettings, verify
from absint.engine.context import Context
from absint.errors import UnsupportedError
from absint.numeric.backend import numeric_mode
from absint.search.names import domain_of, strategy_of, walker_of
from absint.search.search import run_out
from absint.search.strategy import Stage
from absint.verdict import Assurance, Verdict

F = Fraction


def ask(case, domain, *instances, **options):
    """Results of the engine, without an attack, in float64 unless told otherwise."""
    given = {"dtype": "float64", "attack": None, **options}
    return verify(case.problem(*instances), ProofSettings(domain=domain_of(domain), **given))


def faults(case, result):
    """Why the result is false; empty where it may stand, decided or not. What rests on a solver's word may be wrong in a near tie."""
    k = result.index
    truth, claimed = case.truths[k], result.assurance is Assurance.SOLVER
    if claimed and not case.clear(k):
        return []
    found = []
    if result.verdict is Verdict.VERIFIED and not truth.holds:
        found.append("verified, but a point is unsafe")
    if result.verdict is Verdict.VERIFIED and result.assurance not in (Assurance.SOUND, Assurance.SOLVER):
        found.append(f"verified with assurance {result.assurance.value}")
    if result.verdict is Verdict.FALSIFIED and not unsafe(case, k, result.witness):
        found.append("falsified, but the witness is none")
    if result.verdict in (Verdict.LIKELY, Verdict.MISCLASSIFIED):
        found.append(f"the verdict is {result.verdict.value}")
    if result.margin is not None and not claimed and truth.margin < F(result.margin):
        found.append(f"a margin of {result.margin!r} above the exact {float(truth.margin)!r}")
    return [told(case, k, line) for line in found]


def undecided(case, result):
    """Something that claims to be exact must decide what is clear."""
    if result.verdict is Verdict.UNKNOWN and case.clear(result.index):
        margin = float(case.truths[result.index].margin)
        return [told(case, result.index, f"unknown ({result.reason.value}), although the margin is {margin!r}")]
    return []


def unsafe(case, instance, point):
    """Whether a point (flat floats) is in the box and in the unsafe set, exactly."""
    if point is None:
        return False
    x = [F(v) for v in point]
    inside = all(low <= v <= high for low, v, high in zip(case.ends(instance)[0], x, case.ends(instance)[1], strict=True))
    outputs = Net(case.graph).at(x)[case.graph.output.name]
    spec, hit = case.spec, [True] * case.spec.disjuncts
    for w, b, d, strict in zip(spec.weight[instance].tolist(), spec.bias[instance].tolist(), spec.disjunct.tolist(),
                               spec.strict.tolist(), strict=True):
        value = sum((F(a) * y for a, y in zip(w, outputs, strict=True)), F(b))
        hit[d] &= value < 0 if strict else value <= 0
    return inside and any(hit)


def told(case, instance, line):
    """A message with what is needed to repeat it."""
    return f"seed {case.seed} {case.kinds}, instance {instance}: {line}"


def stages(domain):
    """What proves by the name: the domain that walks for it, and the last stage of its strategy, alone."""
    return tuple(dict.fromkeys((Stage(walker_of(domain)), strategy_of(domain).stages()[-1])))


def excess(case, stage, numerics):
    """Bounds of rows, of disjuncts and of every node that a run certifies and the exact values contradict; and how many rows are near.

    What is flagged as a solver's word certifies nothing. A format that does not hold the network's constants has no bounds.
    """
    try:
        with numeric_mode(), torch.no_grad():
            found = stage.attempt(Context(case.graph, case.region, numerics), case.spec)
            searched = run_out(stage.beyond, found.ctx, case.spec, proved(found, case.spec))
    except UnsupportedError as error:
        if error.code != "E-DTYPE":
            raise
        return [], 0
    lines, near = [], 0
    solver = found.interval.solver
    for k in range(BATCH):
        truth = case.truths[k]
        certified = solver is None or not bool(solver[k])
        claims = {"row": (found.interval.lower[k], truth.rows)}
        if found.refuted is not None:
            claims["disjunct"] = (found.refuted[k], truth.disjuncts)
        if searched is not None:
            claims["searched disjunct"] = (searched.lower[k], truth.disjuncts)
        for what, (bounds, exact) in claims.items():
            lines += [told(case, k, f"{what} {i}: bound {b!r} above the exact {float(e)!r}")
                      for i, (b, e) in enumerate(zip(bounds.tolist(), exact, strict=True)) if certified and not below(b, e)]
        near += sum(b >= float(e) - 0.01 * float(case.scales[k]) for b, e in zip(found.interval.lower[k].tolist(), truth.rows, strict=True))
        lines += outside(case, k, found.ctx.known)
    return lines, near


def proved(found, spec):
    """(batch, disjuncts) what an attempt proves of disjuncts by rows or their combinations, nothing where it is a solver's word."""
    best = spec.refutation(found.interval.lower)
    best = best if found.refuted is None else torch.fmax(best, found.refuted.to(best))
    return best if found.interval.solver is None else torch.where(found.interval.solver[:, None], -inf, best)


def outside(case, k, known):
    """Nodes whose known bounds leave out a value that they take."""
    lines = []
    for name, interval in known.items():
        if interval.solver is not None and bool(interval.solver[k]):
            continue
        lower, upper = interval.lower[k].reshape(-1).tolist(), interval.upper[k].reshape(-1).tolist()
        lines += [told(case, k, f"{name}[{i}] in [{a!r}, {b!r}] takes [{float(least)!r}, {float(most)!r}]")
                  for i, (a, b, (least, most)) in enumerate(zip(lower, upper, case.truths[k].ranges[name], strict=True))
                  if not (below(a, least) and below(-b, -most))]
    return lines


def below(bound, exact):
    """bound <= exact; -inf bounds everything, NaN and +inf nothing."""
    return bound == -inf or (abs(bound) < inf and F(bound) <= exact)
