"""Whoever watches is told what is going on: before each search and each proof, and of whom where it is about one input."""

from __future__ import annotations

from costly import images

from absint.analyses.verify import ProofSettings, verify
from absint.search.names import domain_of, strategy_of


def test_each_search_and_each_proof_is_told():
    told = []
    verify(images(4, "0.03"), ProofSettings(strategy_of("auto"), on_stage=told.append))
    assert told[0] == "counterexamples, 4 inputs"
    assert told[1] == "box, 4 inputs"
    assert any(stage.startswith("zonotope") for stage in told)


def test_one_input_is_named():
    told = []
    verify(images(1, "0.03"), ProofSettings(domain_of("zonotope"), on_stage=told.append))
    assert told[:2] == ["counterexamples, input 0", "zonotope, input 0"]


def test_settings_are_equal_whoever_watches():
    assert ProofSettings("box", on_stage=print) == ProofSettings("box")
