"""Falsification: search for candidate inputs, and proof and replay of witnesses. A candidate alone is no verdict."""

from absint.attacks.pgd import ATTACKS, Attack, register_attack
from absint.attacks.witness import Witness, prove_witness

__all__ = ["ATTACKS", "Attack", "Witness", "prove_witness", "register_attack"]
