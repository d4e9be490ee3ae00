"""Falsification: search for candidate inputs, and proof and replay of witnesses. A candidate alone is no verdict."""

from absint.attacks.falsify import Found, Given, falsify
from absint.attacks.search import ATTACKS, Attack, Search, register_attack
from absint.attacks.witness import Witness, prove_witness

__all__ = ["ATTACKS", "Attack", "Found", "Given", "Search", "Witness", "falsify", "prove_witness", "register_attack"]
