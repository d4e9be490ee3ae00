"""A search under way says how it stands to whoever watches, seldom; no analysis knows which search it is, and silence is no report."""

from __future__ import annotations

import re
from dataclasses import dataclass

import torch
from costly import images
from test_what_a_stage_says import Saying

from absint.analyses.verify import ProofSettings, verify
from absint.problem.spec import Refutation
from absint.search.search import ProofSearch

STANDS = re.compile(r"bab, input 0: \d+ nodes open, \d+/s(, ~-?[\d.e+-]+)?")


@dataclass
class Talking(ProofSearch):
    """Some steps that prove nothing, each a second long by the clock of the test. Mutable."""

    shape: tuple
    clock: object
    seconds: float
    left: int = 8
    asked: int = 0
    words: str = "at it"

    @property
    def open(self):
        return torch.full((self.shape[0],), self.left > 0)

    @property
    def said(self):
        self.asked += 1
        return self.words

    def step(self, budget):
        self.clock.sleep(self.seconds)
        self.left -= 1
        return Refutation(torch.full(self.shape, -torch.inf, dtype=torch.float64))

    def keep(self, live):
        pass


def told(clock, seconds, words="at it", watched=True):
    made, heard = [], []

    def begin(ctx, spec, refuted):
        made.append(Talking(tuple(refuted.shape), clock, seconds, words=words))
        return made[0]

    verify(images(1, "0.05"), ProofSettings(Saying(begin), attack=None, on_stage=heard.append if watched else None))
    return [text for text in heard if "saying" in text], made[0].asked


def test_a_search_is_told_with_its_stage_and_input(clock):
    assert told(clock, 1.0)[0] == ["saying, input 0"] + ["saying, input 0: at it"] * 8


def test_it_is_asked_four_times_a_second_at_most(clock):
    heard, asked = told(clock, 0.0625)
    assert (len(heard), asked) == (1 + 2, 2)


def test_silence_is_no_report(clock):
    assert told(clock, 1.0, words="")[0] == ["saying, input 0"]


def test_nobody_is_asked_where_nobody_watches(clock):
    assert told(clock, 1.0, watched=False) == ([], 0)


def test_trees_say_nodes_speed_and_bound(monkeypatch):
    """The bound is what the search found, marked as no proof; on a terminal's line all of it fits."""
    monkeypatch.setattr("absint.analyses.verify.portfolio._SAID", 0.0)
    heard = []
    (found,) = verify(images(1, "0.06"), ProofSettings("bab:base=deeppoly,nodes=100", attack=None, on_stage=heard.append))
    stands = [text for text in heard if text.startswith("bab, input 0: ")]
    assert len(stands) > 3
    assert all(STANDS.fullmatch(text) for text in stands)
    assert max(map(len, stands)) < 60
    bounds = [float(text.rpartition("~")[2]) for text in stands if "~" in text]
    assert bounds == sorted(bounds)
    assert bounds[0] < bounds[-1] <= found.margin + 0.1
