"""One run of `absint radius`: check everything, bisect chunk by chunk with each chunk kept in the journal, write."""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Mapping
from contextlib import closing, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from math import inf
from pathlib import Path
from typing import Any

import torch

from absint.analyses.radius.bisection import RadiusOptions, RadiusResult, radius
from absint.analyses.verify.options import VerifyOptions
from absint.attacks import ATTACKS
from absint.cli.chosen_domain import domain_of
from absint.cli.header import model_of, options_of, versions
from absint.cli.inputs import (
    behind_normalisation,
    check_model,
    chosen_inputs,
    layout_shown,
    memory_of,
    normalisation,
    read_inputs,
    set_up_device,
    warn_of,
)
from absint.cli.parsing import parse_clip
from absint.cli.settings import RadiusSettings
from absint.engine.domain import chosen_domain
from absint.errors import InputError, UsageError, printable
from absint.model.frontend import load_model
from absint.model.graph import Graph
from absint.numeric.decimal import parse_eps
from absint.problem.dataset import Dataset
from absint.problem.problem import check_classes
from absint.registry import load_plugin, own_version
from absint.reports.radius import WRITERS, RadiusDocument, exact
from absint.runs.journal import Journal
from absint.runs.output import check_out, check_writable, interrupts_deferred, opened
from absint.verdict import Assurance, InstanceResult, Verdict

_NORMS = ("linf", "l2", "l1")
_INTERRUPTED = 130


@dataclass(frozen=True, eq=False)
class RadiusJob:
    """A run whose every option has been checked. data: the chosen inputs; whole: all of the file's."""

    settings: RadiusSettings
    graph: Graph
    data: Dataset
    whole: Dataset
    options: RadiusOptions

    @property
    def asked(self) -> list[int]:
        """The inputs by their position in the data."""
        return [int(index) for index in self.data.index]


def execute(settings: RadiusSettings) -> int:
    """Run; returns the exit code."""
    job = prepare(settings)
    check_writable(settings.out)
    journal = None if settings.journal is None else Journal.open(settings.journal, _binding(job), resume=settings.resume)
    with nullcontext() if journal is None else closing(journal):
        return _run(job, journal)


def prepare(settings: RadiusSettings) -> RadiusJob:
    """Read and check everything; nothing is written. Usage errors come before files are read."""
    for file in settings.plugin:
        load_plugin(file)
    _check_usage(settings)
    options = _options(settings)
    set_up_device(settings)
    normalisation(settings)
    check_model(settings.net)
    graph = load_model(settings.net, fold=settings.semantics != "float32")
    check_classes(graph)
    warn_of(graph)
    whole = read_inputs(settings, graph)
    graph = behind_normalisation(graph, settings, whole.axes)
    data = chosen_inputs(whole, options.clip, settings.index)
    data.check_labels(graph.output.size)
    return RadiusJob(settings, graph, data, whole, options)


def _check_usage(settings: RadiusSettings) -> None:
    if settings.resume and settings.journal is None:
        raise UsageError("E-USAGE", "--resume needs the journal to continue", where="--resume", hint="add --journal FILE")
    if settings.format not in WRITERS:
        raise UsageError("E-FORMAT-UNKNOWN", f"there is no format '{settings.format}'", where="--format", hint=", ".join(WRITERS))
    if settings.norm not in _NORMS:
        raise UsageError("E-NORM", f"there is no norm '{settings.norm}'", where="--norm", hint=", ".join(_NORMS))
    named: dict[str, Any] = {"NET": settings.net, "--data": settings.data, "--labels": settings.labels}
    check_out(settings.out, {**named, "--journal": settings.journal})
    check_out(settings.journal, named, "--journal")


def _options(settings: RadiusSettings) -> RadiusOptions:
    attack = None if settings.attack == "none" else settings.attack
    if attack is not None:
        ATTACKS.get(attack)
    engine = VerifyOptions(
        domain=domain_of(settings), dtype=settings.dtype, device=settings.device, semantics=settings.semantics,
        batch=settings.batch, memory=memory_of(settings), attack=attack,
        timeout=inf if settings.timeout is None else settings.timeout,
        total_timeout=inf if settings.total_timeout is None else settings.total_timeout,
    )
    return RadiusOptions(parse_eps(settings.upper, "--upper"), parse_eps(settings.tolerance, "--tolerance"), engine,
                         settings.norm, parse_clip(settings.clip), settings.fan)


def _run(job: RadiusJob, journal: Journal | None) -> int:
    """Bisect what the journal does not hold; a Ctrl-C leaves a report of what is done."""
    begin, settings, asked = time.monotonic(), job.settings, job.asked
    done = {} if journal is None else {index: _restored(row, journal.path) for index, row in journal.done.items()}
    found = {index: done[index] for index in asked if index in done}
    interrupted = False
    if not settings.quiet:
        name = printable(job.data.name)
        sys.stderr.write(f"bisecting {len(asked) - len(found)} inputs of {name}, {job.options.halvings} halvings each\n")
        sys.stderr.flush()
    try:
        _bisect(job, found, journal, begin)
    except KeyboardInterrupt:
        interrupted = True
    with interrupts_deferred():
        left = tuple(index for index in asked if index not in found)
        results = tuple(found[index] for index in asked if index in found)
        document = RadiusDocument(_header(job), results, left, time.monotonic() - begin)
        with opened(settings.out) as stream:
            WRITERS[settings.format](document, stream)
    if interrupted:
        sys.stderr.write(f"interrupted: {len(left)} of {len(asked)} inputs are not done\n")
        return _INTERRUPTED
    return 0 if document.finished else 1


def _bisect(job: RadiusJob, found: dict[int, RadiusResult], journal: Journal | None, begin: float) -> None:
    """Into `found`, and to the journal first: what was shown is never lost."""
    slots = [slot for slot, index in enumerate(job.asked) if index not in found]
    end, total = begin + job.options.verify.total_timeout, len(found) + len(slots)

    def on_result(result: RadiusResult) -> None:
        # A run cut short by --total-timeout can be resumed: what it did not finish is no result to keep.
        cut = result.cut and time.monotonic() >= end
        with interrupts_deferred():
            if journal is not None and not cut:
                journal.append(_kept(result))
            found[result.index] = result
        if not job.settings.quiet and len(found) % 100 == 0:
            sys.stderr.write(f"{len(found)}/{total} inputs done\n")
            sys.stderr.flush()

    if slots:
        labels = None if job.data.labels is None else torch.from_numpy(job.data.labels[slots])
        radius(job.graph, torch.from_numpy(job.data.inputs[slots]), job.options, labels=labels,
               index=[job.asked[slot] for slot in slots], on_result=on_result)


# ---- the journal -------------------------------------------------------------------------------------------------------


def _kept(result: RadiusResult) -> InstanceResult:
    """As a line of the journal: verified at the certified radius, all else in `detail`."""
    proved = result.certified > 0
    detail = json.dumps({"refuted": exact(result.refuted), "calls": result.calls, "tied": result.tied})
    return InstanceResult(
        result.index, Verdict.VERIFIED if proved else Verdict.UNKNOWN, result.label, result.predicted, result.reason,
        assurance=Assurance.SOUND if proved else Assurance.NONE, eps=exact(result.certified), time_s=result.time_s, detail=detail,
        witness=result.witness,
    )


def _restored(kept: InstanceResult, path: Path) -> RadiusResult:
    """What `_kept` wrote. Raises InputError E-JOURNAL-CORRUPT on anything else."""
    try:
        more = json.loads(kept.detail or "")
        refuted = inf if more["refuted"] is None else Fraction(more["refuted"])
        return RadiusResult(kept.index, Fraction(kept.eps or ""), refuted, kept.predicted, kept.label, int(more["calls"]), kept.reason,
                            bool(more["tied"]), kept.time_s, kept.witness)
    except (ValueError, TypeError, KeyError, ZeroDivisionError) as error:
        raise InputError("E-JOURNAL-CORRUPT", f"the line of input {kept.index} is damaged", where=str(path),
                         hint="remove that line, then --resume again") from error


def _binding(job: RadiusJob) -> Mapping[str, Any]:
    """Everything that the radii depend on."""
    settings, data, engine = job.settings, job.whole, job.options.verify
    labels = None if data.labels is None else hashlib.sha256(data.labels.astype("<i8").tobytes()).hexdigest()
    return {
        "command": "radius", "absint": own_version(), "model_sha256": job.graph.source.sha256, "data_sha256": data.sha256,
        "labels_sha256": labels, "layout": settings.layout, "mean": settings.mean, "std": settings.std, **_search(job),
        "domain": settings.domain.partition(":")[0], "domain_options": options_of(chosen_domain(engine.domain)), "dtype": settings.dtype,
        "semantics": settings.semantics, "attack": settings.attack, "timeout": settings.timeout,
        "plugins": [hashlib.sha256(Path(file).read_bytes()).hexdigest() for file in settings.plugin],
    }


def _search(job: RadiusJob) -> dict[str, Any]:
    options = job.options
    return {"norm": options.norm, "upper": exact(options.upper), "tolerance": exact(options.tolerance), "halvings": options.halvings,
            "step": exact(options.step), "clip": None if options.clip is None else list(options.clip)}


def _header(job: RadiusJob) -> dict[str, Any]:
    settings, domain = job.settings, chosen_domain(job.options.verify.domain)
    return {
        "command": settings.command, "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "model": model_of(job.graph, str(settings.net)),
        "data": {"name": job.data.name, "sha256": job.data.sha256, "notes": list(job.data.notes), "bundled": settings.data is None},
        "search": {**_search(job), "attack": settings.attack, "mean": settings.mean, "std": settings.std,
                   **layout_shown(settings, job.whole.axes, used=False)},
        "domain": {"name": settings.domain, "class": f"{type(domain).__module__}.{type(domain).__qualname__}",
                   "options": options_of(domain), "source": domain.source},
        "numerics": {"device": settings.device, "dtype": settings.dtype, "semantics": settings.semantics, "batch": settings.batch,
                     "timeout": settings.timeout, "total_timeout": settings.total_timeout, "threads": settings.threads},
        "versions": versions(),
        "assurance": "every real input within the certified radius (and the data range) has the predicted class, in exact real "
                     "arithmetic" + (" and in every float32 execution" if settings.semantics == "float32" else ""),
    }
