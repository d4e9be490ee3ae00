"""What is counted of a run that is whole, stopped or looked at on its way, and which interval that gives."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from known_pairs import draw

from absint.analyses.global_robustness import counting
from absint.analyses.global_robustness.counting import Count
from absint.numeric.statistics import clopper_pearson, confidence_sequence

REST = Fraction(1, 100)


def near(low: float, high: float):
    """Within the rounding of a level."""
    return pytest.approx((low, high), abs=1e-12)


def counted(decided: dict[int, str], asked: int) -> Count:
    """Of draws by number, each verified or falsified."""
    records = counting.prefix({k: draw(k, {"0.1": verdict}) for k, verdict in decided.items()}, range(asked))
    verdicts = [record.verdicts["0.1"] for record in records]
    return Count(asked, len(records), verdicts.count("verified"), verdicts.count("falsified"))


def test_of_a_whole_run_it_is_the_interval_of_both_counts() -> None:
    found = Count(25, 25, 20, 2)
    assert found.unknown == 3
    low, high = found.interval(Fraction(5, 100), sequential=False)
    assert low == pytest.approx(0.5930, abs=1e-4)
    assert high == pytest.approx(0.9902, abs=1e-4)
    assert found.interval(REST, sequential=False) == near(clopper_pearson(20, 25, 0.99)[0], clopper_pearson(23, 25, 0.99)[1])
    assert found.interval(REST, sequential=True) == near(confidence_sequence(20, 25, 0.99)[0], confidence_sequence(23, 25, 0.99)[1])


def test_both_shares_are_in_the_interval() -> None:
    for sequential in (False, True):
        for yes in range(0, 11, 2):
            for no in range(0, 11 - yes, 3):
                low, high = Count(10, 10, yes, no).interval(REST, sequential=sequential)
                assert 0 <= low <= yes / 10 <= (10 - no) / 10 <= high <= 1


def test_a_stopped_run_counts_the_longest_complete_prefix() -> None:
    decided = dict.fromkeys([0, 1, 2, 3, 5, 6, 7, 9], "verified")
    found = counted(decided, 10)
    assert (found.asked, found.counted, found.yes, found.no) == (10, 4, 4, 0)
    assert found.interval(REST, sequential=False) == near(clopper_pearson(4, 10, 0.99)[0], 1.0)
    assert found.interval(REST, sequential=True) == near(confidence_sequence(4, 4, 0.99)[0], 1.0)


def test_nothing_decided_says_nothing() -> None:
    for sequential in (False, True):
        assert counted({}, 10).interval(REST, sequential=sequential) == (0.0, 1.0)
        assert counted({1: "verified"}, 10).interval(REST, sequential=sequential) == (0.0, 1.0)


def misses(interval, runs: int = 2000) -> float:
    """How often an interval of a run that time ends misses: half of the draws are robust.

    All are decided together, the robust ones first, which take a third of the others' time.
    """
    random, out = np.random.default_rng(5), 0
    for _ in range(runs):
        robust, left = (random.random(60) < 0.5).tolist(), random.uniform(3, 120)
        decided: dict[int, str] = {}
        for k in sorted(range(60), key=lambda k, robust=robust: not robust[k]):
            left -= 1.0 if robust[k] else 3.0
            if left > 0:
                decided[k] = "verified" if robust[k] else "falsified"
        low, high = interval(decided)
        out += not low <= 0.5 <= high
    return out / runs


def test_finished_draws_alone_would_miss() -> None:
    """Seen to fail: those that happen to be finished are the easy ones."""
    def finished(decided: dict[int, str]) -> tuple[float, float]:
        hits = list(decided.values()).count("verified")
        return confidence_sequence(hits, len(decided), 0.9)

    assert misses(finished) > 0.1


@pytest.mark.parametrize("sequential", [False, True])
def test_intervals_of_stopped_runs_hold(sequential: bool) -> None:
    assert misses(lambda decided: counted(decided, 60).interval(Fraction(1, 10), sequential=sequential)) <= 0.1


def test_a_worst_class_is_that_of_the_least_ends() -> None:
    intervals = [(0.9, 0.99), (0.85, 0.999), (0.95, 0.97)]
    assert counting.worst(intervals) == (0.85, 0.97)


def test_the_least_probability_lies_there_at_the_level() -> None:
    """Of four classes, each with its share of what may be missed."""
    random, p, count = np.random.default_rng(6), (0.9, 0.92, 0.95, 0.9), 80
    drawn = random.binomial(count, p, (2000, 4)).tolist()
    rest = Fraction(1, 10) / 4
    ends = [counting.worst([Count(count, count, hits, count - hits).interval(rest, sequential=False) for hits in row]) for row in drawn]
    assert np.mean([low <= 0.9 <= high for low, high in ends]) >= 0.9
    assert np.mean([low <= 0.9 for low, _ in ends]) >= 0.95
