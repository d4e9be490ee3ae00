"""The search for radii with another property than the class: what must hold is stated chunk by chunk, and may fail at the input itself."""

from __future__ import annotations

from fractions import Fraction as F
from math import inf

import pytest
import torch
from torch import Tensor

from absint.analyses.radius import bisection
from absint.analyses.radius.bisection import BisectionSettings, radii, radii_of
from absint.analyses.radius.kept import Kept, classes_kept, outputs_at
from absint.analyses.verify.settings import ProofSettings
from absint.errors import InputError
from absint.model.graph import Graph, GraphBuilder
from absint.model.ops.gemm import Gemm
from absint.problem.spec import Spec
from absint.verdict import Reason

SUMS = torch.tensor([[1.0, 1.0], [1.0, -2.0]], dtype=torch.float64)


def linear() -> Graph:
    build = GraphBuilder("x", (2,))
    return build.graph(build.add(Gemm(SUMS, torch.zeros(2, dtype=torch.float64)), ("x",)))


def settings(**more) -> BisectionSettings:
    return BisectionSettings(F(1), F(1, 64), ProofSettings("deeppoly", attack=more.pop("attack", None)), clip=None, **more)


def above(limits: Tensor):
    """y0 > limit, of each input its own."""

    def asked(graph: Graph, center: Tensor, positions: Tensor) -> Kept:
        mine, values = limits[positions], outputs_at(graph, center)

        def specify(slots: Tensor) -> Spec:
            return Spec.rows(torch.tensor([[[1.0, 0.0]]], dtype=torch.float64).expand(len(slots), -1, -1), -mine[slots, None])

        return Kept(specify, values[:, 0] <= mine, values.isfinite().all(1))

    return asked


CENTERS = torch.tensor([[0.5, 0.5], [0.25, 0.25], [1.0, 1.0], [0.5, 0.25]], dtype=torch.float64)
LIMITS = torch.tensor([0.5, 0.0, 2.0, 0.125], dtype=torch.float64)
# x0 + x1 falls by 2 r: (1 - 1/2) / 2, (1/2 - 0) / 2, at once, (3/4 - 1/8) / 2.
EXACT = (F(1, 4), F(1, 4), F(0), F(5, 16))


@pytest.mark.parametrize("size", [128, 3, 1])
def test_each_input_has_its_own_property_in_any_chunk(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(bisection, "_CHUNK", size)
    found = {one.index: one for one in radii_of(linear(), CENTERS, settings(attack="pgd"), above(LIMITS), index=(7, 8, 9, 10))}
    for name, exact in zip((7, 8, 9, 10), EXACT, strict=True):
        one = found[name]
        assert one.certified < exact + F(1, 10**9) if exact else one.certified == 0
        assert exact - one.certified <= F(1, 64) or not exact
        assert one.predicted is None
    assert found[9].tied
    assert (found[9].calls, found[9].refuted) == (0, inf)
    assert all(one.refuted >= exact for one, exact in zip((found[7], found[8], found[10]), (EXACT[0], EXACT[1], EXACT[3]), strict=True))


def test_what_is_not_finite_at_the_input_is_searched_no_further() -> None:
    def asked(graph: Graph, center: Tensor, positions: Tensor) -> Kept:
        found = above(LIMITS)(graph, center, positions)
        return Kept(found.specify, found.tied, torch.zeros_like(found.tied))

    assert [(one.certified, one.reason, one.tied) for one in radii_of(linear(), CENTERS[:1], settings(), asked)] == [
        (F(0), Reason.OVERFLOW, False)]


def test_the_class_is_one_such_property() -> None:
    def bare(found):
        return [(one.index, one.certified, one.refuted, one.calls, one.reason, one.tied) for one in found]

    classes = list(radii(linear(), CENTERS, settings(attack="pgd")))
    assert bare(radii_of(linear(), CENTERS, settings(attack="pgd"), classes_kept())) == bare(classes)
    target = torch.tensor([1, 1, 1, 1])
    assert bare(radii_of(linear(), CENTERS, settings(), classes_kept(target))) == bare(radii(linear(), CENTERS, settings(), target=target))


def test_inputs_without_numbers_are_named() -> None:
    broken = CENTERS.clone()
    broken[2, 0] = torch.nan
    with pytest.raises(InputError) as refused:
        list(radii_of(linear(), broken, settings(), above(LIMITS), index=(5, 6, 7, 8)))
    assert (refused.value.code, "7" in refused.value.what) == ("E-DATA-NAN", True)
