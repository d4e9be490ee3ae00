"""How many estimates lie below their proofs is said where there are proofs, with or without attacks, and nowhere else."""

from __future__ import annotations

import pytest
from test_clever_scores import FEW, images, net

import absint


@pytest.mark.parametrize(("certify", "attack", "said"), [
    (None, "pgd", False), ("box", "none", True), ("box", "pgd", True), (None, "none", False)])
def test_it_is_said_where_there_are_proofs(certify: str | None, attack: str, said: bool) -> None:
    found = absint.clever(net(3, 4, 3), images(1, 2, 4), radius=0.5, targets="untargeted", certify=certify, attack=attack, **FEW)
    assert ("estimate below the proof" in str(found.document.sections)) is said
