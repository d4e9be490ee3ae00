"""Small networks whose numbers are simple, so that ties are common, and their exact extremes."""

from __future__ import annotations

from fractions import Fraction

import torch
from exact import minimum

from absint.analyses.query.answering import QueryAnswer, verify_query
from absint.analyses.verify.settings import ProofSettings
from absint.model.families.maximum import Maximum
from absint.model.graph import GraphBuilder
from absint.model.ops.affine import Affine
from absint.model.ops.gemm import Gemm
from absint.model.ops.piecewise import Abs, Clip
from absint.model.ops.relu import LeakyRelu, Relu
from absint.model.ops.shape import Reshape
from absint.problem.query import read_query

KINDS = {"relu": Relu, "leaky": lambda: LeakyRelu(0.25), "abs": Abs, "clip": lambda: Clip(-0.5, 1.0)}


def whole(random, *shape, scale=2):
    """Multiples of a half, many of them zero."""
    return torch.tensor(random.integers(-scale, scale + 1, shape) / 2, dtype=torch.float64)


def network(random, inputs=2, outputs=2):
    """Two or three layers over a few kinks; sometimes a maximum."""
    build = GraphBuilder("x", (inputs,))
    kind = KINDS[random.choice(list(KINDS))]
    name = build.add(kind(), (build.add(Gemm(whole(random, 4, inputs), whole(random, 4)), ("x",)),))
    if random.random() < 0.4:
        name = build.add(Maximum(), (build.add(Reshape((2, 2)), (name,)),))
        return build.graph(build.add(Gemm(whole(random, outputs, 2), whole(random, outputs)), (name,)))
    name = build.add(Relu(), (build.add(Gemm(whole(random, 2, 4), whole(random, 2)), (name,)),))
    name = build.add(Gemm(whole(random, outputs, 2)), (name,))
    return build.graph(build.add(Affine(shift=whole(random, outputs)), (name,)))


def least(graph, lower, upper, weight):
    """The exact minimum of weight . y over a box."""
    return minimum(graph, *([Fraction(v) for v in side] for side in (lower, upper, weight)), Fraction(0))


def text(value):
    """A decimal that is exactly this dyadic number."""
    return repr(float(value)) if Fraction(repr(float(value))) == value else None


def query(path, lower, upper, outputs, asserts):
    """A VNN-LIB 1.0 query over the box."""
    lines = [f"(declare-const X_{k} Real)" for k in range(len(lower))] + [f"(declare-const Y_{k} Real)" for k in range(outputs)]
    lines += [f"(assert (>= X_{k} {a}))\n(assert (<= X_{k} {b}))" for k, (a, b) in enumerate(zip(lower, upper, strict=True))]
    path.write_text("\n".join([*lines, *(f"(assert {a})" for a in asserts)]))
    return read_query(path)


def answer(graph, asked, domain="deeppoly"):
    """sat, unsat or neither."""
    return verify_query(graph, asked, ProofSettings(domain=domain, total_timeout=60.0)).answer


def term(weight):
    """weight . Y as an expression."""
    return "(+ " + " ".join(f"(* {float(w)} Y_{k})" for k, w in enumerate(weight)) + ")"


def about_the_least(random, path, domain="deeppoly"):
    """Four questions about one network's exact minimum m: <= m, < m, <= m - 1/64, < m + 1/64. [(answer, whether one exists)]."""
    graph = network(random)
    lower = random.integers(-4, 3, 2) / 2
    upper = lower + random.integers(0, 5, 2) / 2
    weight = random.choice([-1.0, 1.0, 2.0], 2) if random.random() < 0.5 else [0.0, random.choice([-1.0, 1.0])]
    m = least(graph, lower.tolist(), upper.tolist(), weight)
    found = []
    for sign, at, exists in (("<=", m, True), ("<", m, False), ("<=", m - Fraction(1, 64), False), ("<", m + Fraction(1, 64), True)):
        written = text(at)
        if written is None:  # a third, say: no decimal of a file is that number
            continue
        asked = query(path, lower, upper, 2, [f"({sign} {term(weight)} {written})"])
        found.append((answer(graph, asked, domain), exists))
    return found


def wrong(found):
    """Answers that are not true."""
    return [pair for pair in found if pair[0] in (QueryAnswer.SAT, QueryAnswer.UNSAT) and (pair[0] is QueryAnswer.SAT) != pair[1]]
