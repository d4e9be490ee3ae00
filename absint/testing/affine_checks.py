"""What the conformance kit asks of a domain's affine bounds: they hold at points, in exact arithmetic. Private to `absint.testing`."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from absint.engine.affine_forms import AffineForms
from absint.engine.context import Context
from absint.engine.domain import Domain
from absint.engine.forward import analyse
from absint.engine.from_relaxations import forms_at_input
from absint.engine.rows import Rows
from absint.model.families.nonlinear import Nonlinear
from absint.testing.networks import SCALES, case, network
from absint.testing.report import KitClaim, raised
from absint.testing.truth import ExactTensor, Failures, evaluate, format_label, formats, shown

_NETS = ("gemm", "affine", "residual", "maximum", "sigmoid", "cancelling", "tiny")
_SCALES = SCALES[::2]    # the ends and the middle


def false_forms(forms: AffineForms, rows: Rows, points: list[Any], values: list[ExactTensor]) -> Iterator[str]:
    """Where forms of unit rows, every entry of a node in order, fail at points of their regions.

    points: per instance (points, inputs) float64.  values: per instance (points, entries), the node's exact values there.
    """
    sides = (("lower", forms.lower, forms.lower_bias, 1), ("upper", forms.upper, forms.upper_bias, -1))
    for side, weight, bias, sign in sides:
        if not bool(weight.isfinite().all()) or bool((bias.isnan() | (bias == sign * torch.inf)).any()):
            yield f"{side}: a coefficient is not finite, or a constant is NaN or on the wrong side"
            continue
        for instance, (many, exact) in enumerate(zip(points, values, strict=True)):
            mine = (rows.instance == instance) & bias.isfinite()
            wrong = _wrong(weight[mine].double().flatten(1), bias[mine], many, exact[:, _entries(rows, mine)], sign)
            if wrong is not None:
                yield f"{side} form of instance {instance}: {wrong}"


def _entries(rows: Rows, mine: Tensor) -> Any:
    assert rows.index is not None
    return rows.index[mine].cpu().numpy()


def _wrong(weight: Tensor, bias: Tensor, points: Any, values: ExactTensor, sign: int) -> str | None:
    if not len(bias):
        return None
    found = ExactTensor.of(points) @ ExactTensor.of(weight.numpy().T) + ExactTensor.of(bias.double()).reshape(1, -1)
    holds = found.at_most(values) if sign > 0 else values.at_most(found)
    if holds.all():
        return None
    place = int(np.flatnonzero(~holds.reshape(-1))[0])
    there, true = found.reshape(-1).fraction(place), values.reshape(-1).fraction(place)
    return f"{int((~holds).sum())} of {holds.size} values lie beyond it, such as {shown(true)} beyond {shown(there)}"


def _check_affine(domain: Domain[Any]) -> Failures:
    """Forms of every entry of a node enclose its exact values at vertices and samples of boxes; nothing where there are none."""
    if not domain.traits.relaxations:
        return
    for name in _NETS:
        for scale in _SCALES:
            for num in formats(domain):
                c = case(name, scale)
                where = f"net '{name}' at magnitude {scale:g} in {format_label(num)}"
                ctx = Context(network(name, scale), c.region, num)
                if not all(ctx.graph.fits(dtype) for dtype in (num.dtype, num.vector)):
                    continue
                try:
                    yield from (f"{where}: {line}" for line in _of_nodes(domain, ctx, c.points, _exact(name, scale)))
                except Exception as error:  # a stranger's code: whatever it raises is a failure to report, with its place
                    yield f"{where}: {raised(error)}"


@cache
def _exact(name: str, scale: float) -> list[dict[str, ExactTensor]]:
    return [evaluate(network(name, scale), many) for many in case(name, scale).points]


def _of_nodes(domain: Domain[Any], ctx: Context, points: list[Any], exact: list[dict[str, ExactTensor]]) -> Failures:
    """Of the input, the output, what is relaxed, and where paths meet."""
    ends = (ctx.graph.input, ctx.graph.output)
    asked = [node for node in ctx.graph.nodes if node in ends or isinstance(node.op, Nonlinear) or len(node.inputs) > 1]
    result = analyse(domain, ctx, frozenset(node.name for node in asked))
    for node in asked:
        rows = Rows.units(node.name, torch.ones((ctx.batch, *node.shape), dtype=torch.bool))
        forms = forms_at_input(domain.traits, rows, result.ctx)
        if forms is not None:
            values = [one[node.name].reshape(len(many), -1) for one, many in zip(exact, points, strict=True)]
            yield from (f"node '{node.name}' ({type(node.op).__name__}): {line}" for line in false_forms(forms, rows, points, values))


AFFINE: dict[str, KitClaim] = {
    "affine": KitClaim(_check_affine, "`relax`, and that what the coefficients lost by rounding is in the constants"),
}
