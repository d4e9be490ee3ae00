"""From a run to its task: checks of the options, and what they stand for."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from importlib.util import find_spec
from typing import Any

import numpy as np

from absint.analyses.global_robustness.latents import DISTRIBUTIONS, drawn
from absint.analyses.global_robustness.options import GlobalOptions
from absint.analyses.global_robustness.pairs import fit_of_images, groups_of, networks_read, stated_classes, stated_generators
from absint.analyses.global_robustness.task import GlobalTask
from absint.contract.document import Json
from absint.contract.run import Run
from absint.errors import UnsupportedError, UsageError, shown
from absint.model.content_digest import content_digest, graph_digest
from absint.numeric import backend
from absint.numeric.decimal import exact_text, rational

_SAMPLE = 4         # draws of each class that a journal knows the generator of random numbers by
_MOST = 1 << 40     # draws of a class


def check_global(options: GlobalOptions) -> None:
    """Raise UsageError, UnsupportedError for what is wrong whatever the networks."""
    draws: int = getattr(options, "draws", 0)
    if not 1 <= draws < _MOST:
        raise UsageError("E-GLOBAL-DRAWS", f"of {draws} draws nothing can be said", where="--draws", hint="for example 1000")
    if options.seed < 0:
        raise UsageError("E-GLOBAL-DRAWS", f"no seed: {options.seed}", where="--seed", hint="a number from 0 on")
    if options.latent not in DISTRIBUTIONS:
        raise UsageError("E-GLOBAL-LATENT", f"no distribution: '{options.latent}'", where="--latent", hint=" or ".join(DISTRIBUTIONS))
    if options.one_hot not in ("first", "last"):
        raise UsageError("E-USAGE", f"no place: '{options.one_hot}'", where="--one-hot", hint="first or last")
    if options.batch is not None and options.batch < 1:
        raise UsageError("E-BATCH", f"the batch size must be at least 1, not {options.batch}", where="--batch", hint="for example 1000")
    miss_of(options.level)
    width_of(options.stop_width)
    fit_of_images(options)
    stated_generators(options)
    classes = stated_classes(options)
    if classes and options.conditional is None:
        raise UsageError("E-USAGE", "--classes chooses among those of a conditional generator", where="--classes", hint="add --conditional")
    if options.grid is not None and find_spec("PIL") is None:
        raise UnsupportedError("E-PLOT-MISSING", "pictures need pillow, which is not installed", where="--grid",
                               hint="pip install 'absint[images]'")


def miss_of(level: object) -> Fraction:
    """1 - level, exact. Raises UsageError E-GLOBAL-LEVEL."""
    found = _exact(level)
    if found is None or not 0 < found < 1:
        raise UsageError("E-GLOBAL-LEVEL", f"no level of confidence: {shown(level)}", where="--level", hint="between 0 and 1, such as 0.99")
    return 1 - found


def width_of(width: object) -> Fraction | None:
    """Exact. Raises UsageError E-GLOBAL-WIDTH."""
    if width is None:
        return None
    found = _exact(width)
    if found is None or not 0 < found < 1:
        raise UsageError("E-GLOBAL-WIDTH", f"no width of an interval: {shown(width)}", where="--stop-width", hint="such as 0.01")
    return found


def _exact(value: object) -> Fraction | None:
    """A number as it was written; a float as Python prints it."""
    try:
        return value if isinstance(value, Fraction) else rational(value if isinstance(value, str) else repr(float(value)))  # type: ignore[arg-type]
    except (ValueError, ZeroDivisionError, OverflowError, TypeError):
        return None


def task_of(run: Run[Any], radii: int = 1) -> GlobalTask:
    """Networks read and composed. radii: of a run, each with intervals of its own. Raises what `groups_of` does."""
    options: GlobalOptions = run.options
    groups = groups_of(options)
    device = backend.device(options.device)
    memory = int(options.memory or backend.default_memory(device))
    width = width_of(options.stop_width)
    return GlobalTask(groups, options.latent, options.seed, run.options.draws, miss_of(options.level),
                      len(groups) * radii if options.simultaneous else 1, options.sequential or width is not None, width, device, memory,
                      options.batch)


def described(task: GlobalTask, options: GlobalOptions) -> dict[str, Json]:
    """For reports: networks, draws, and what intervals mean."""
    found = [{"classifier": pair.classifier, "generator": pair.generator, "set": group.number, "class": pair.label,
              "latent": pair.size, "networks": pair.graph.source.files.get("networks", []), "notes": list(pair.graph.source.notes)}
             for group, pair in task.named()]
    return {
        "networks": networks_read(options, (one for pair in task.pairs for one in pair.graph.source.networks)),
        "pairs": found,
        "draws": {"distribution": DISTRIBUTIONS[task.kind], "seed": task.seed, "of_each_class": task.draws,
                  "made_by": "Philox4x64-10 at counter k, float32 numbers taken exactly"},
        "intervals": {"level": exact_text(1 - task.miss), "kind": kind_of(task), "over": reach_of(task, options)},
    }


def kind_of(task: GlobalTask) -> str:
    """How intervals are made."""
    return ("confidence sequence (Beta mixture, Ville's inequality): holds at every number of draws at once" if task.sequential else
            "Clopper-Pearson, of a number of draws that was fixed before")


def reach_of(task: GlobalTask, options: GlobalOptions) -> str:
    """Which intervals hold at once."""
    if options.simultaneous:
        return "simultaneous: all intervals of the run hold at once"
    return "pointwise: the classes of one classifier and set of generators hold at once, at each radius for itself"


def bound_to(task: GlobalTask) -> Mapping[str, Json]:
    """What records depend on: networks in their order, and the numbers drawn; of a fixed number of draws that number, too.

    A run that was looked at may go on only where its intervals hold at every number of draws.
    """
    return {
        "pairs": [[pair.label, pair.generator, pair.classifier, graph_digest(pair.graph)] for pair in task.pairs],
        "latents": [content_digest(drawn(task.kind, task.seed, label, 0, _SAMPLE, size)) for label, size in
                    sorted({(pair.label, pair.size) for pair in task.pairs})],
        "draws": None if task.sequential else task.draws,
    }


def spacing(task: GlobalTask) -> float:
    """The largest distance of a drawn number from the next float32 number away from 0."""
    largest = max(float(np.abs(drawn(task.kind, task.seed, label, 0, task.draws, size)).max()) for label, size in
                  {(pair.label, pair.size) for pair in task.pairs})
    return float(np.spacing(np.float32(largest)))
