"""Advice on CLEVER scores. Rows as in `hint_cases`."""

from __future__ import annotations

from hint_cases import Case

SCORES = [
    Case("E-CLEVER-ORDER", ("1 or 2",),
         "clever NET --data DATA --order 3",
         "clever NET --data DATA --order 1 --samples 8 --batches 10"),
    Case("E-CLEVER-BATCHES", ("{} at least; 100 are usual",),
         "clever NET --data DATA --batches 1",
         "clever NET --data DATA --order 1 --samples 8 --batches 10"),
    Case("E-CLEVER-SAMPLES", ("1 at least; 200 are usual",),
         "clever NET --data DATA --samples 0",
         "clever NET --data DATA --order 1 --samples 8 --batches 10"),
    Case("E-CLEVER-SMOOTH", ("their Hessians are zero or jump, and the score would mean nothing: --order 1",),
         "clever NET --data DATA --order 2",
         "clever NET --data DATA --order 1 --samples 8 --batches 10"),
    Case("E-CLEVER-TARGETS", ("runner-up, random, least and numbers of classes, with commas between them; or untargeted",),
         "clever NET --data DATA --targets most",
         "clever NET --data DATA --order 1 --samples 8 --batches 10 --targets least"),
]
