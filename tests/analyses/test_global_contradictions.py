"""What robustness over a generator says of proofs that deny each other, and of networks that nothing can run."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from known_pairs import identity_generator, sign_classifier

import absint
from absint.analyses.global_robustness import deciding
from absint.contract.document import Facts
from absint.errors import InputError, InternalError
from absint.graph import Graph, GraphBuilder
from absint.model.ops.gemm import Gemm
from absint.verdict import Assurance, InstanceResult, Verdict


def test_a_witness_within_a_proved_radius_is_an_error_and_no_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The latent itself is proved to be of its class at radius 0, and a witness is claimed at that very place."""
    def there(problem, settings):
        for k, name in enumerate(problem.index):
            yield InstanceResult(name, Verdict.FALSIFIED, assurance=Assurance.REPLAYED,
                                 witness=tuple(problem.region.center[k].flatten().tolist()))

    monkeypatch.setattr(deciding, "decided", there)
    nets = sign_classifier(tmp_path, 100.0), {0: identity_generator(tmp_path)}
    with pytest.raises(InternalError) as caught:
        absint.global_robustness(*nets, draws=3, eps="0,0.1", classifier_range="none")
    assert caught.value.code == "E-CONTRADICTION"


def test_what_stands_at_one_radius_is_not_changed_by_another() -> None:
    """Verified first, then falsified, and the other way round; what is open gives way, and to neither does it return."""
    for first, second in ((deciding.VERIFIED, deciding.FALSIFIED), (deciding.FALSIFIED, deciding.VERIFIED)):
        draw = deciding._Draw(deciding.Item(0, "draw 0"), torch.zeros(2))
        deciding._Draws._learn(draw, "0.1", deciding.UNKNOWN, "timeout")
        deciding._Draws._learn(draw, "0.1", first)
        deciding._Draws._learn(draw, "0.1", deciding.UNKNOWN, "timeout")
        assert (draw.verdicts, draw.reasons) == ({"0.1": first}, {})
        with pytest.raises(InternalError):
            deciding._Draws._learn(draw, "0.1", second)


def line(weight: list[list[float]], bias: list[float]) -> Graph:
    build = GraphBuilder("x", (2,))
    return build.graph(build.add(Gemm(torch.tensor(weight, dtype=torch.float64), torch.tensor(bias, dtype=torch.float64)), ("x",)))


def falsified(found) -> str:
    return next(text for section in found.document.sections for part in section.parts if isinstance(part, Facts)
                for name, text in part.items if name == "falsified")


def test_nothing_is_said_to_be_run_where_there_is_no_model(tmp_path: Path) -> None:
    graph = line([[1.0, 0], [0, 1]], [0, 0])
    alone = absint.global_robustness(line([[3.0, -4], [0, 0]], [0, 0]), {0: graph}, draws=20, eps="0.1", classifier_range="none")
    assert any(one.verdicts["0.1"] == "falsified" for one in alone)
    assert "both models" not in falsified(alone)
    assert "no models to run" in falsified(alone)
    files = absint.global_robustness(sign_classifier(tmp_path, 0.0), {0: identity_generator(tmp_path)}, draws=20, eps="0.1",
                                     classifier_range="none")
    assert "both models one after the other" in falsified(files)
    assert "no models" not in falsified(files)
    mixed = absint.global_robustness(sign_classifier(tmp_path, 0.0), {0: identity_generator(tmp_path), 1: graph}, draws=20, eps="0.1",
                                     classifier_range="none")
    assert "(but for class 1, C: no models to run)" in falsified(mixed)


def test_distances_are_exact(tmp_path: Path) -> None:
    """A radius that is a hair smaller than the distance of the witness is not falsified by it."""
    build = deciding._Draw(deciding.Item(0, "draw 0"), torch.tensor([0.1, 0.2], dtype=torch.float64))
    exact = abs(Fraction(0.1) - Fraction(0.3))

    radii = SimpleNamespace(exact={"below": exact - Fraction(1, 10**40), "at": exact})
    deciding._Draws._reached(SimpleNamespace(radii=radii, _learn=deciding._Draws._learn), build, (0.3, 0.2))
    assert build.verdicts == {"at": deciding.FALSIFIED}
    assert build.distance == exact


def test_one_conditional_generator_has_one_number_of_classes() -> None:
    """Of two classifiers the first would say how long its one-hot part is: what else is of it would be drawn as latents."""
    build = GraphBuilder("x", (4,))
    generator = build.graph(build.add(Gemm(torch.ones(2, 4, dtype=torch.float64)), ("x",)))
    two, three = line([[3.0, -4], [0, 0]], [0, 0]), line([[3.0, -4], [0, 0], [1, 1]], [0, 0, 0])
    for both in ((two, three), (three, two)):
        with pytest.raises(InputError) as caught:
            absint.global_robustness(both, conditional=generator, draws=3, eps="0.1", classifier_range="none")
        assert caught.value.code == "E-GLOBAL-CLASS"
