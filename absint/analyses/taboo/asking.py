"""From a run of `taboo certify` to what is asked: the trap, the graph of its neurons, radii and settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction

import torch

from absint.analyses.radius.bisection import BisectionSettings
from absint.analyses.taboo.asked import traps_for
from absint.analyses.taboo.certificate import TabooCertificate
from absint.analyses.taboo.certifying import PART, Certifying, certificates
from absint.analyses.taboo.options import TabooCertifyOptions
from absint.analyses.taboo.traps import Trap, Traps
from absint.analyses.verify.run_settings import limited, settings_of
from absint.contract.analysis import Item
from absint.contract.document import Json
from absint.contract.run import Run
from absint.errors import UsageError, shown
from absint.model.watched import watched
from absint.numeric.decimal import exact_text, parse_eps

_DIGITS = 10     # more than any number of a trap has


def asked_of(run: Run[TabooCertifyOptions]) -> Certifying:
    """Raises InputError E-TABOO-FILE, -FORMAT, -CHECKSUM, -MODEL, UsageError E-TABOO-TRAP, E-EPS, E-RADIUS, and what `settings_of` does."""
    options = run.options
    eps = None if options.radius else parse_eps(options.eps)
    if eps is not None:
        _check_radius(eps, options.clip)
    search = BisectionSettings(parse_eps(options.upper, "--upper"), parse_eps(options.tolerance, "--tolerance"), settings_of(run),
                               clip=options.clip)
    found = traps_for(run)
    trap = chosen(found.traps, options.trap)
    return Certifying(found.traps, trap, watched(run.network, trap.watches), eps, search, options.alarms, found.name)


def chosen(traps: Traps, which: int | str | None) -> Trap:
    """A trap by its number from 0, or its key id; None for the union. Raises UsageError E-TABOO-TRAP."""
    if which is None:
        return traps.union
    if isinstance(which, bool) or not isinstance(which, (int, str)):
        raise UsageError("E-TABOO-TRAP", f"no number of a trap, nor a key id: a {type(which).__name__}", where="--trap", hint="such as 0")
    by_id = {trap.key_id: trap for trap in traps.traps if trap.key_id}
    if str(which) in by_id:
        return by_id[str(which)]
    number = int(which) if isinstance(which, int) or (which.isascii() and which.isdigit() and len(which) < _DIGITS) else -1
    if not 0 <= number < len(traps):
        raise UsageError("E-TABOO-TRAP", f"there is no trap {shown(which)}", where="--trap",
                         hint=f"a number in 0..{len(traps) - 1}, or a key id: {', '.join(by_id) or 'none is known'}")
    return traps.traps[number]


def described(run: Run[TabooCertifyOptions]) -> Mapping[str, Json]:
    """For reports: the trap, and the balls."""
    asked: Certifying = run.problem
    search, traps = asked.search, asked.traps
    balls = {"eps": None if asked.eps is None else exact_text(asked.eps), "norm": search.norm, "clip": search.clip and list(search.clip),
             **({} if asked.eps is not None else {"upper": exact_text(search.upper), "tolerance": exact_text(search.tolerance),
                                                  "halvings": search.halvings, "step": exact_text(search.step)})}
    return {
        "trap": {"detector": asked.detector, "rule": traps.rule, "rule_eps": None if traps.eps is None else exact_text(traps.eps),
                 "training_inputs": traps.inputs, "keys": len(traps), "neurons": len(asked.trap),
                 "chosen": None if run.options.trap is None else str(run.options.trap)},
        "property": {**balls, "alarms": asked.always, "text": "no watched neuron above its threshold"},
    }


def answers(run: Run[TabooCertifyOptions], items: Sequence[Item]) -> Iterator[TabooCertificate]:
    """The certificates of some inputs, each the moment it is known."""
    asked: Certifying = run.problem
    for start in range(0, len(items), PART):        # never a second copy of all inputs
        if run.over:
            return
        part = items[start : start + PART]
        names = [item.index for item in part]
        question = asked.limited(limited(asked.settings, items, run))
        yield from certificates(question, torch.from_numpy(run.inputs.at(names).inputs), names)


def _check_radius(eps: Fraction, clip: tuple[float, float] | None) -> None:
    if clip is not None and eps > Fraction(clip[1]) - Fraction(clip[0]):
        raise UsageError("E-EPS", f"a radius of {float(eps):g} goes beyond the data range [{clip[0]:g}, {clip[1]:g}]", where="--eps",
                         hint="every input lies in such a ball; radii are in raw input units, such as 1/255; --clip tells another range")
