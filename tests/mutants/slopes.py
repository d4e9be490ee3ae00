"""Unsound variants of optimised slopes and of the stages' bookkeeping."""

from __future__ import annotations

from dataclasses import replace

from absint.engine.backward import charges
from absint.engine.backward import slopes as ascent
from mutants.planting import mutant


@mutant("domain:alpha/net/relu")
def slopes_proved_without_a_proof(patch):
    """A bound that is a little better than what the slopes prove."""
    proved = ascent.SlopeSearch.proved
    patch(ascent.SlopeSearch, "proved", lambda self, rows, chosen, sign: proved(self, rows, chosen, sign) + 1e-3)


@mutant("domain:alpha/net/relu")
def offsets_of_another_rows_slopes(patch):
    """Each row's slopes with the offsets of its neighbour's."""
    of_rows = charges.Charges.of_rows

    def rolled(self, *args):
        step = of_rows(self, *args)
        return replace(step, below=step.below.roll(1, 0), above=step.above.roll(1, 0))

    patch(charges.Charges, "of_rows", rolled)
