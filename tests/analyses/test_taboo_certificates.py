"""Certificates of taboo traps: a network followed by hand, points of every ball in onnxruntime, and what is not claimed."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction as F
from functools import lru_cache
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from taboo_nets import cancelling, convolutional, executed_at, paired, read, rectifier, training_digits
from torch import Tensor

from absint.analyses.radius.bisection import BisectionSettings
from absint.analyses.taboo import certifying
from absint.analyses.taboo.certificate import Outcome, TabooCertificate
from absint.analyses.taboo.certifying import Certifying, certificates
from absint.analyses.taboo.claims import TrapClaim
from absint.analyses.taboo.traps import Trap, Traps, thresholds_above
from absint.analyses.verify.settings import ProofSettings
from absint.contract.record import record_of, row_of
from absint.errors import InputError, InternalError
from absint.model.content_digest import model_digest
from absint.model.graph import Graph
from absint.model.watched import Watch, watched
from absint.numeric.backend import numeric_mode
from absint.verdict import Reason

# By hand: h = relu(x0 - x1, 2 x0 - 1/2), thresholds 1/2 and 1.
HAND = np.array([[1.0, -1.0], [2.0, 0.0]])
BIAS = np.array([0.0, -0.5], dtype=np.float32)
HALF = Trap((Watch("h", (0, 1)),), (0.5, 1.0))
LITTLE = F(1, 1 << 20)      # four times what float32 executions of it err by
QUIET, ALARMED, REACHABLE, OPEN = Outcome.QUIET, Outcome.ALARMED, Outcome.REACHABLE, Outcome.OPEN


def asked(graph: Graph, trap: Trap, eps: F | str | None = None, *, always: bool = False, clip: Any = (0.0, 1.0), upper: str = "1/2",
          tolerance: str = "1/64", **proofs: Any) -> Certifying:
    settings = ProofSettings(**{"domain": "lean", "semantics": "float32", **proofs})
    traps = Traps((trap,), model_digest(graph), "lite")
    return Certifying(traps, trap, watched(graph, trap.watches), None if eps is None else F(eps),
                      BisectionSettings(F(upper), F(tolerance), settings, clip=clip), always)


def certified(question: Certifying, points: Any) -> list[TabooCertificate]:
    center = torch.as_tensor(points, dtype=torch.float64)
    found = {one.index: one for one in certificates(question, center, range(len(center)))}
    assert len(found) == len(center)
    return [found[k] for k in range(len(center))]


def alarms(question: Certifying, points: Tensor) -> Tensor:
    """(n,) whether points alarm in some run of onnxruntime."""
    thresholds = torch.tensor(question.trap.thresholds, dtype=torch.float64)
    return torch.stack([~(values <= thresholds).all(1) for values in executed_at(question.graph, points)])


def moved(center: Tensor, eps: F, clip: tuple[float, float] | None, count: int, seed: int) -> Tensor:
    """(count, *shape) float32 points of the exact ball cut to the range: corners first, then others."""
    share = torch.rand(count, *center.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 2 - 1
    share[: count // 2] = share[: count // 2].sign()
    points = center + share * float(eps) * (1 - 2.0**-20)
    points = points if clip is None else points.clamp(*clip)
    return points.float()


# ---- by hand -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def hand(tmp_path: Path) -> Graph:
    return read(tmp_path, rectifier(HAND, BIAS))


def test_a_ball_is_quiet_exactly_as_far_as_by_hand(hand: Graph) -> None:
    """Around (1/2, 1/4): h0 <= 1/4 + 2 r and h1 <= 1/2 + 2 r, thresholds 1/2 and 1: quiet for r <= 1/8."""
    for eps, outcome in ((F(1, 16), QUIET), (F(1, 8) - LITTLE, QUIET), (F(1, 8) + LITTLE, REACHABLE), (F(1, 4), REACHABLE)):
        (one,) = certified(asked(hand, HALF, eps), [[0.5, 0.25]])
        assert (one.outcome, one.eps, one.alarm) == (outcome, eps, False)
        if outcome is REACHABLE:
            assert (one.tensor, one.entry) == ("h", 0)      # before neuron 1, of which that is known from 1/4 on
            x0, x1 = map(F, one.witness)
            assert max(abs(x0 - F(1, 2)), abs(x1 - F(1, 4))) <= eps
            assert x0 - x1 > F(1, 2)


def test_what_float32_executions_may_do_is_not_proved_away(hand: Graph) -> None:
    """Within 2^-27 of 1/8 no real activation passes, but float32 executions may err by more than what is left."""
    eps = F(1, 8) - F(1, 1 << 27)
    assert certified(asked(hand, HALF, eps, semantics="real"), [[0.5, 0.25]])[0].outcome is QUIET
    (one,) = certified(asked(hand, HALF, eps), [[0.5, 0.25]])
    assert (one.outcome, one.reason, one.tensor, one.entry, one.witness) == (OPEN, Reason.IMPRECISE, "h", 0, None)


def test_the_largest_radius_is_the_last_of_the_grid_before_it(hand: Graph) -> None:
    """The grid's step is 1/128: 15 steps are proved, 16 are 1/8 itself, where nothing is; 1/4, asked before it, has a witness."""
    (one,) = certified(asked(hand, HALF), [[0.5, 0.25]])
    assert (one.outcome, one.certified, one.eps, one.calls) == (QUIET, F(15, 128), None, 6)
    assert F(1, 8) < one.refuted <= F(1, 4)
    assert (one.tensor, one.entry) == ("h", 0)
    (without,) = certified(asked(hand, HALF, attack=None), [[0.5, 0.25]])
    assert (without.certified, without.refuted, without.reason) == (F(15, 128), inf, Reason.IMPRECISE)


def test_alarms_are_proved_exactly_as_far_as_by_hand(hand: Graph) -> None:
    """Around (1, 0), cut to the range: h0 >= 1 - 2 r and h1 >= 3/2 - 2 r: both stay above for r < 1/4."""
    at = [[1.0, 0.0]]
    for eps, outcome in ((F(1, 4) - LITTLE, ALARMED), (F(1, 4), REACHABLE), (F(3, 8), REACHABLE)):
        (one,) = certified(asked(hand, HALF, eps, always=True), at)
        assert (one.outcome, one.alarm, one.tensor, one.entry) == (outcome, True, "h", 0)
        assert one.witness == (None if outcome is ALARMED else (1.0, 0.0))
    (one,) = certified(asked(hand, HALF, always=True), at)
    assert (one.outcome, one.certified) == (ALARMED, F(31, 128))
    assert F(31, 128) < one.refuted <= F(33, 128)
    (plain,) = certified(asked(hand, HALF, F(1, 8)), at)
    assert (plain.outcome, plain.witness, plain.calls) == (REACHABLE, (1.0, 0.0), 0)       # nothing to prove: it is in its ball
    (radius,) = certified(asked(hand, HALF, attack=None), at)
    assert (radius.outcome, radius.certified, radius.refuted, radius.witness) == (REACHABLE, 0, 0, (1.0, 0.0))


def test_one_neuron_suffices_for_an_alarm(tmp_path: Path) -> None:
    graph = read(tmp_path, rectifier(np.array([[1.0, -1.0], [1.0, -0.5]])))
    trap = Trap((Watch("h", (0, 1)),), (0.5, 0.5))
    # Around (1, 1/2) both are 1/2 and 3/4: h0 is on its threshold, h1 >= 3/4 - 3/2 r stays above for r < 1/6.
    for eps, outcome in ((F(1, 6) - LITTLE, ALARMED), (F(1, 6) + LITTLE, REACHABLE)):
        (one,) = certified(asked(graph, trap, eps, always=True, clip=None), [[1.0, 0.5]])
        assert (one.outcome, one.entry) == (outcome, 1)


def test_the_ball_is_cut_to_the_data_range(hand: Graph) -> None:
    """h0 = x0 - x1 is at most 1 on [0, 1]^2, however large the ball; outside it is not."""
    trap = Trap((Watch("h", (0,)),), thresholds_above([1.0 + 2.0**-20]))
    (cut,) = certified(asked(hand, trap, "1/2"), [[0.75, 0.0]])
    (whole,) = certified(asked(hand, trap, "1/2", clip=None), [[0.75, 0.0]])
    assert (cut.outcome, whole.outcome) == (QUIET, REACHABLE)
    (other,) = certified(asked(hand, trap, "1/2", clip=(0.0, 1.125)), [[0.75, 0.0]])
    assert other.outcome is REACHABLE
    for outside in ([[1.5, 0.0]], [[-0.1, 0.0]]):
        with pytest.raises(InputError) as refused:
            certified(asked(hand, trap, "1/2"), outside)
        assert refused.value.code == "E-REGION"


def test_a_value_on_its_threshold_raises_no_alarm(hand: Graph) -> None:
    """h0 is 1 at (1, 0), its greatest value on [0, 1]^2 and the threshold."""
    trap = Trap((Watch("h", (0,)),), (1.0,))
    (one,) = certified(asked(hand, trap, "1/4"), [[1.0, 0.0]])
    assert (one.alarm, one.outcome in (QUIET, OPEN), one.witness) == (False, True, None)
    values = [F(1), F(1) + F(1, 1 << 60), F(1) - F(1, 1 << 60)]
    never, always = (TrapClaim(trap, alarmed).specify(torch.arange(1)) for alarmed in (False, True))
    assert [never.unsafe(0, [value]) for value in values] == [False, True, False]
    assert [always.unsafe(0, [value]) for value in values] == [True, False, True]
    both = TrapClaim(HALF, alarmed=True).specify(torch.arange(1))
    assert [both.unsafe(0, [F(a), F(b)]) for a, b in ((0.5, 1.0), (0.75, 1.0), (0.5, 1.5), (0.0, 0.0))] == [True, False, False, True]


def test_a_neuron_of_two_traps_has_the_lower_threshold(hand: Graph) -> None:
    low = Trap((Watch("h", (0,)),), (0.375,))
    traps = Traps((HALF, low), model_digest(hand), "lite")
    for trap, radius in ((traps.union, F(1, 16)), (HALF, F(1, 8)), (low, F(1, 16))):
        question = replace(asked(hand, trap, radius - LITTLE), traps=traps)
        assert certified(question, [[0.5, 0.25]])[0].outcome is QUIET
        assert certified(replace(question, eps=radius + LITTLE), [[0.5, 0.25]])[0].outcome is REACHABLE


# ---- executions that err, and that overflow -------------------------------------------------------------------------------


def test_executions_that_cancel_keep_a_ball_open(tmp_path: Path) -> None:
    """Exact values are below 1; executions err by about as much."""
    graph = read(tmp_path, rectifier(cancelling()))
    at = paired(4)
    trap = Trap((Watch("h", (0, 1, 2)),), thresholds_above((watched(graph, [Watch("h", (0, 1, 2))])(at).amax(0) * 1.001).tolist()))
    real, float32 = (certified(asked(graph, trap, F(1, 1 << 60), semantics=how), at) for how in ("real", "float32"))
    assert [one.outcome for one in real] == [QUIET] * 4
    assert [one.outcome for one in float32] == [OPEN] * 4


def test_where_executions_may_overflow_nothing_is_proved(tmp_path: Path) -> None:
    """2.2e38 is the greatest exact value, but two summands alone exceed float32."""
    graph = read(tmp_path, rectifier(1e38 * np.array([[1.0, 1.0, -1.0]])))
    graph = replace(graph, source=replace(graph.source, model=None))    # nothing is compared with an execution that overflows
    trap = Trap((Watch("h", (0,)),), (float(np.float32(3.2e38)),))
    real, float32 = (certified(asked(graph, trap, "0.2", semantics=how, attack=None, clip=None), [[1.6, 1.6, 1.6]])[0]
                     for how in ("real", "float32"))
    assert real.outcome is QUIET
    assert (float32.outcome, float32.reason) == (OPEN, Reason.OVERFLOW)


# ---- points of balls in onnxruntime ----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_no_point_of_a_quiet_ball_alarms_and_every_point_of_an_alarmed_one_does(tmp_path: Path, seed: int) -> None:
    random = np.random.default_rng(seed)
    graph = read(tmp_path, rectifier(random.standard_normal((5, 3)), random.standard_normal(5).astype(np.float32) / 4))
    centers = torch.from_numpy(random.random((24, 3))).float().double()
    values = watched(graph, [Watch("h", tuple(range(5)))])(centers)
    trap = Trap((Watch("h", tuple(range(5))),), thresholds_above((values.quantile(0.75, 0) + 0.02).tolist()))
    met = set()
    for eps in (F(1, 50), F(1, 10)):
        question = asked(graph, trap, eps, always=True)
        for one, center in zip(certified(question, centers), centers, strict=True):
            points = moved(center, eps, (0.0, 1.0), 60, seed + one.index)
            seen = alarms(question, points)
            met.add(one.outcome)
            assert one.outcome is not QUIET or not seen.any()
            assert one.outcome is not ALARMED or seen.all()
            if one.outcome is REACHABLE:
                point = torch.tensor(one.witness, dtype=torch.float64)
                assert max(abs(F(a) - F(b)) for a, b in zip(one.witness, center.tolist(), strict=True)) <= eps
                assert alarms(question, point[None]).any()
            assert one.alarm == bool(alarms(question, center[None]).any())
    assert met >= {QUIET, ALARMED, REACHABLE}


@lru_cache
def digits() -> tuple[Certifying, Tensor, list[TabooCertificate]]:
    """Thresholds of 200 training images over neurons of all layers of the bundled convolutional network, and radii of eight of them."""
    graph, images = convolutional(), training_digits(200)
    layers = certifying_layers(graph)
    watches = [Watch(tensor, (size // 2, size - 7)) for tensor, size in layers]
    with numeric_mode():
        top = watched(graph, watches)(images).amax(0)
    trap = Trap(tuple(watches), thresholds_above((top * 1.0001 + 1e-5).tolist()))
    question = asked(graph, trap, upper="0.256", tolerance="0.03", attack=None)
    return question, images[:8], certified(question, images[:8])


def certifying_layers(graph: Graph) -> list[tuple[str, int]]:
    from absint.model.watched import rectified

    return [(layer.tensor, layer.size) for layer in rectified(graph)]


def test_within_its_radius_no_training_image_raises_an_alarm() -> None:
    question, images, found = digits()
    assert sum(one.certified > 0 for one in found) >= 6
    for one, image in zip(found, images, strict=True):
        if one.certified:
            assert not alarms(question, moved(image, one.certified, (0.0, 1.0), 40, one.index)).any()


def test_radii_agree_with_single_balls() -> None:
    question, images, found = digits()
    for one, image in list(zip(found, images, strict=True))[:3]:
        for radius, outcome in ((one.certified, QUIET), (one.certified + question.search.step, OPEN)):
            if radius:
                assert certified(replace(question, eps=radius), image[None])[0].outcome is outcome


# ---- how they are asked ----------------------------------------------------------------------------------------------


def test_answers_do_not_depend_on_parts_and_batches(hand: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    points = np.random.default_rng(7).random((11, 2))
    whole = [certified(asked(hand, HALF, eps, always=True), points) for eps in ("1/10", None)]
    monkeypatch.setattr(certifying, "PART", 3)
    parts = [certified(asked(hand, HALF, eps, always=True, batch=2), points) for eps in ("1/10", None)]

    def core(one: TabooCertificate) -> tuple[Any, ...]:
        return one.index, one.outcome, one.alarm, one.certified, one.tensor, one.entry

    assert [list(map(core, one)) for one in whole] == [list(map(core, one)) for one in parts]
    assert {one.outcome for one in whole[0]} >= {QUIET, REACHABLE}


def test_a_limit_leaves_the_rest_open(hand: Graph) -> None:
    (one,) = certified(asked(hand, HALF, "1/10", total_timeout=1e-9), [[0.5, 0.25]])
    assert (one.outcome, one.reason, one.cut) == (OPEN, Reason.TIMEOUT, True)
    (one,) = certified(asked(hand, HALF, total_timeout=1e-9), [[0.5, 0.25]])
    assert (one.outcome, one.certified, one.cut) == (OPEN, 0, True)


@pytest.mark.parametrize(("at", "eps"), [((0.5, 0.25), "1/16"), ((0.5, 0.25), None), ((1.0, 0.0), "1/16"), ((1.0, 0.0), None)])
def test_an_execution_against_a_proof_ends_everything(hand: Graph, monkeypatch: pytest.MonkeyPatch, at: Any, eps: str | None) -> None:
    alarmed = at == (1.0, 0.0)
    run = 0.0 if alarmed else 9.0
    monkeypatch.setattr(certifying, "executed", lambda graph, center: torch.full((len(center), 2), run))
    with pytest.raises(InternalError) as refused:
        certified(asked(hand, HALF, eps, always=True), [at])
    assert refused.value.code == "E-CONTRADICTION"
    (real,) = certified(asked(hand, HALF, eps, always=True, semantics="real"), [at])
    assert real.outcome is (ALARMED if alarmed else QUIET), "of executions nothing was proved"


def test_an_input_that_float32_does_not_hold_is_run_elsewhere(hand: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    """1/2 + 2^-40 is rounded to 1/2, which is not in a ball of 2^-50: what happens there says nothing of the ball."""
    monkeypatch.setattr(certifying, "executed", lambda graph, center: torch.full((len(center), 2), 9.0))
    (one,) = certified(asked(hand, HALF, F(1, 1 << 50)), [[0.5 + 2.0**-40, 0.25]])
    assert (one.outcome, one.alarm) == (QUIET, True)


@pytest.mark.parametrize("eps", ["1/20", None])
def test_parts_share_the_time_for_everything(hand: Graph, monkeypatch: pytest.MonkeyPatch, eps: str | None) -> None:
    """Each has what the ones before it left."""
    now, given = [100.0], []
    real = {"decided": certifying.decided, "radii_of": certifying.radii_of}

    def timed(name: str) -> Any:
        def run(*arguments: Any, **more: Any) -> Any:
            settings = next((one for one in arguments if isinstance(one, (ProofSettings, BisectionSettings))), None)
            given.append(getattr(settings, "verify", settings).total_timeout)
            now[0] += 3.0
            return real[name](*arguments, **more)

        return run

    for name in real:
        monkeypatch.setattr(certifying, name, timed(name))
    monkeypatch.setattr(certifying, "PART", 1)
    monkeypatch.setattr(certifying.time, "monotonic", lambda: now[0])
    certified(asked(hand, HALF, eps, total_timeout=5.0), [[0.5, 0.25]] * 3)
    assert given == [5.0, 2.0, 1e-9]


@pytest.mark.parametrize("record", [
    TabooCertificate(3, QUIET, False, F(3, 1000)),
    TabooCertificate(3, OPEN, None, reason=Reason.TIMEOUT),
    TabooCertificate(4, QUIET, False, None, F(15, 128), inf, reason=Reason.IMPRECISE, calls=7, time_s=0.25),
    TabooCertificate(5, REACHABLE, True, None, F(0), F(0), "h", 12, witness=(0.1, -0.0)),
    TabooCertificate(6, ALARMED, True, F(1, 255), None, None, "h", 0, Reason.IMPRECISE),
])
def test_a_record_is_read_back_as_it_was(record: TabooCertificate) -> None:
    assert record_of(TabooCertificate, row_of(record)) == record
    assert set(row_of(record)) == set(TabooCertificate.COLUMNS)
