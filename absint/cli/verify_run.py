"""One run of `absint verify`: check everything, then verify, report as it goes, and survive an interrupt."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from contextlib import closing, nullcontext
from dataclasses import dataclass, replace
from math import inf
from typing import Any

import numpy as np
import torch

from absint.analyses.verify import Problem, VerifyOptions, robustness, verify
from absint.analyses.verify.patches import verify_patches
from absint.cli.chosen_domain import domain_of
from absint.cli.header import make_binding, make_header
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
from absint.cli.regions import RegionChoice, parse_region
from absint.cli.settings import VerifySettings
from absint.engine.domain import Domain
from absint.errors import AbsintError, InputError, PluginError, UsageError, printable
from absint.model.frontend import load_model
from absint.model.graph import Graph
from absint.problem.dataset import Dataset
from absint.problem.problem import check_classes
from absint.problem.regions.region import Region
from absint.registry import load_plugin
from absint.reports.interface import REPORTS, Header, Report, Summary
from absint.reports.witness import WitnessInfo, check_folder, save_witnesses
from absint.runs.journal import Journal
from absint.runs.output import check_out, interrupts_deferred, opened
from absint.runs.progress import Progress, progress
from absint.verdict import InstanceResult, Reason, Verdict

_SAMPLE = 200          # inputs that the clean accuracy is measured on
_INTERRUPTED = 130


@dataclass(frozen=True, eq=False)
class VerifyJob:
    """A run whose every option has been checked. data: the chosen inputs; binding: of a journal."""

    settings: VerifySettings
    graph: Graph
    data: Dataset
    region: Region
    choice: RegionChoice
    options: VerifyOptions
    header: Header
    binding: Mapping[str, Any]

    @property
    def asked(self) -> list[int]:
        """The instances by their position in the data."""
        return [int(index) for index in self.data.index]


def execute(settings: VerifySettings) -> int:
    """Run; returns the exit code."""
    job = prepare(settings)
    journal = None if settings.journal is None else Journal.open(settings.journal, job.binding, resume=settings.resume)
    with nullcontext() if journal is None else closing(journal), opened(settings.out) as stream:
        report = _guarded(REPORTS.get(settings.format), "made", stream)
        return VerifyRun(job, report, journal).run()


def prepare(settings: VerifySettings) -> VerifyJob:
    """Read and check everything; nothing is written. Usage errors come before files are read."""
    for file in settings.plugin:
        load_plugin(file)
    if settings.resume and settings.journal is None:
        raise UsageError("E-USAGE", "--resume needs the journal to continue", where="--resume", hint="add --journal FILE")
    named: dict[str, Any] = {"NET": settings.net, "--data": settings.data, "--labels": settings.labels}
    check_out(settings.out, {**named, "--journal": settings.journal})
    check_out(settings.journal, named, "--journal")
    REPORTS.get(settings.format)
    if settings.witness is not None:
        check_folder(settings.witness)
    clip = parse_clip(settings.clip)
    choice = parse_region(settings, clip)
    options = _options(settings, domain_of(settings))
    graph = _graph(settings)
    whole = _labelled(read_inputs(settings, graph), settings, graph)
    graph, choice = behind_normalisation(graph, settings, whole.axes), choice.seen(whole.axes, graph.input.shape)
    data = chosen_inputs(whole, clip, settings.index)
    data.check_labels(graph.output.size)
    _check_target(settings, data, graph)
    accuracy = _accuracy(graph, whole, settings)
    region = choice.around(torch.from_numpy(data.inputs))
    layout = layout_shown(settings, choice.axes, used=choice.by_axes)
    header = choice.shown(make_header(settings, graph, data, options, clip=clip, accuracy=accuracy))
    header = replace(header, property={**header.property, **layout})
    binding = {**make_binding(settings, graph, whole, options, clip=clip), **choice.property, **{f"axes_{k}": v for k, v in layout.items()}}
    return VerifyJob(settings, graph, data, region, choice, options, header, binding)


def _options(settings: VerifySettings, domain: Domain[Any]) -> VerifyOptions:
    set_up_device(settings)
    options = VerifyOptions(
        domain=domain, dtype=settings.dtype, device=settings.device, rounding=settings.rounding, semantics=settings.semantics,
        batch=settings.batch, memory=memory_of(settings),
        attack=None if settings.attack == "none" else settings.attack, accept_solver=settings.accept_solver,
        timeout=inf if settings.timeout is None else settings.timeout,
        total_timeout=inf if settings.total_timeout is None else settings.total_timeout,
    )
    if options.attack is not None:
        from absint.attacks import ATTACKS

        ATTACKS.get(options.attack)
    return options


def _graph(settings: VerifySettings) -> Graph:
    normalisation(settings)
    check_model(settings.net)
    graph = load_model(settings.net, fold=settings.semantics != "float32")
    check_classes(graph)
    warn_of(graph)
    return graph


def _labelled(data: Dataset, settings: VerifySettings, graph: Graph) -> Dataset:
    if settings.label is not None:
        if not 0 <= settings.label < graph.output.size:
            raise InputError("E-LABEL", f"{settings.label} is not in 0..{graph.output.size - 1}", where="--label",
                             hint=f"the network has {graph.output.size} outputs; classes count from 0")
        return replace(data, labels=np.full(len(data), settings.label, dtype=np.int64))
    if data.labels is None:
        raise InputError("E-DATA-UNLABELLED", "the data has no labels", where=data.name,
                         hint="add --labels FILE, or --label N where all inputs are of one class")
    return data


def _check_target(settings: VerifySettings, data: Dataset, graph: Graph) -> None:
    if settings.target is None:
        return
    if not 0 <= settings.target < graph.output.size:
        raise InputError("E-LABEL", f"{settings.target} is not in 0..{graph.output.size - 1}", where="--target",
                         hint=f"the network has {graph.output.size} outputs; classes count from 0")
    assert data.labels is not None
    same = data.index[data.labels == settings.target]
    if same.size:
        shown = ", ".join(map(str, same[:10])) + (", ..." if same.size > 10 else "")
        raise InputError("E-LABEL", f"{same.size} inputs have the target {settings.target} as their label: {shown}", where="--target",
                         hint="leave these inputs out with --index")


def _accuracy(graph: Graph, data: Dataset, settings: VerifySettings) -> tuple[int, int] | None:
    """(correct, of) over the first inputs of the data, with a warning where it looks like wrong preprocessing."""
    if settings.label is not None or data.labels is None:
        return None
    count = min(len(data), _SAMPLE)
    with torch.no_grad():
        parts = torch.from_numpy(data.inputs[:count]).split(50)
        predicted = torch.cat([graph(part).flatten(1).argmax(1) for part in parts]).numpy()
    correct = int((predicted == data.labels[:count]).sum())
    if 2 * correct < count:
        sys.stderr.write(
            f"warning: the network classifies only {correct} of {count} inputs of {printable(data.name)} correctly\n"
            "  hint: is the normalisation or the layout wrong? try --mean and --std as in training, --layout chw or hwc, "
            "or other --data\n"
        )
    return correct, count


class VerifyRun:
    """Results on their way to report, journal and progress display."""

    def __init__(self, job: VerifyJob, report: Report, journal: Journal | None) -> None:
        self.job, self.report, self.journal = job, report, journal
        self.results: dict[int, InstanceResult] = {}
        self.begin = time.monotonic()

    def run(self) -> int:
        """Verify what the journal does not hold; returns the exit code."""
        job, settings = self.job, self.job.settings
        interrupted = False
        try:
            self._begin()
            busy = self.report.streams and settings.out is None and sys.stdout.isatty()
            with progress(len(job.asked), quiet=settings.quiet, stdout_busy=busy) as display:
                for index in job.asked:
                    if self.journal is not None and index in self.journal.done:
                        self._deliver(self.journal.done[index], display)
                self._verify(display)
        except KeyboardInterrupt:
            interrupted = True
        with interrupts_deferred():
            summary = Summary.of(self.results.values(), job.asked, time.monotonic() - self.begin)
            _guarded(self.report.end, "ended", summary)
            self._save_witnesses()
        self._tell(summary)
        if interrupted:
            sys.stderr.write(f"interrupted: {len(summary.remaining)} of {summary.instances} instances are not decided\n")
            return _INTERRUPTED
        return 0 if summary.all_verified else 1

    def _tell(self, summary: Summary) -> None:
        """What the exit code does not say: proofs that rest on a solver's word, accepted or not."""
        verified, waiting = summary.counts[Verdict.VERIFIED.value], summary.reasons.get(Reason.SOLVER.value, 0)
        if summary.on_word:
            sys.stderr.write(f"warning: {verified} verified, {summary.on_word} of them on a solver's word (--accept-solver)\n")
        if waiting and not self.job.settings.quiet:
            sys.stderr.write(f"note: {waiting} unknown on a solver's word alone; --accept-solver counts them as verified\n")

    def _begin(self) -> None:
        with interrupts_deferred():
            _guarded(self.report.begin, "begun", self.job.header)
        if not self.job.settings.quiet:
            data = self.job.header.data
            found = data["accuracy"]
            known = "" if found is None else f", {found['correct']} of {found['of']} classified correctly"
            origin = "bundled sample " if data["bundled"] else ""
            sys.stderr.write(f"verifying {len(self.job.asked)} instances of {origin}{printable(data['name'])}{known}\n")
            sys.stderr.flush()

    def _verify(self, display: Progress) -> None:
        problem = self._problem()
        if problem is None:
            return
        # A run cut short by --total-timeout can be resumed: what it did not reach is no result to keep.
        end = time.monotonic() + self.job.options.total_timeout

        def on_result(result: InstanceResult) -> None:
            cut = result.reason is Reason.TIMEOUT and time.monotonic() >= end
            self._deliver(replace(result, domain=self.job.settings.domain), display, journal=not cut)

        patches = self.job.choice.patches
        if patches is None:
            verify(problem, self.job.options, on_result)
            return
        assert problem.labels is not None
        target = self.job.settings.target
        verify_patches(problem.graph, problem.region.center, problem.labels, patches, self.job.options, index=problem.index,
                       targets=None if target is None else torch.full_like(problem.labels, target), on_result=on_result)

    def _problem(self) -> Problem | None:
        """The robustness problem of the instances not decided yet."""
        job = self.job
        left = [slot for slot, index in enumerate(job.asked) if index not in self.results]
        if not left:
            return None
        assert job.data.labels is not None
        labels = torch.from_numpy(job.data.labels[left])
        targets = None if job.settings.target is None else torch.full_like(labels, job.settings.target)
        region = job.region.take(torch.tensor(left))
        return robustness(job.graph, region, labels, targets=targets, index=tuple(job.asked[slot] for slot in left),
                          eps=job.choice.text)

    def _save_witnesses(self) -> None:
        """The counterexamples as files, where --witness asks for them; also those found before an interrupt."""
        directory = self.job.settings.witness
        if directory is None:
            return
        job = self.job
        originals = dict(zip(job.asked, job.data.inputs, strict=True))
        provenance = {"data_sha256": job.header.data["sha256"], "property": job.header.property}
        saved = save_witnesses(directory, job.graph, self.results.values(), WitnessInfo(originals, provenance, axes=job.choice.axes))
        if not job.settings.quiet:
            for line in (f"{len(saved.files)} counterexample files in {directory}", *saved.notes):
                sys.stderr.write(f"{printable(line)}\n")

    def _deliver(self, result: InstanceResult, display: Progress, *, journal: bool = True) -> None:
        """To the journal first: what was shown is never lost."""
        with interrupts_deferred():
            if journal and self.journal is not None and result.index not in self.journal.done:
                self.journal.append(result)
            self.results[result.index] = result
            _guarded(self.report.row, "written", result)
            display.advance(result)


def _guarded(step: Any, what: str, *arguments: Any) -> Any:
    """A report's step; whatever a stranger's format raises becomes one coded message."""
    try:
        return step(*arguments)
    except (AbsintError, OSError):
        raise
    except Exception as error:
        module = getattr(step, "__module__", "")
        if module.startswith("absint."):
            raise
        raise PluginError("E-PLUGIN-RAISED", f"the report could not be {what}: {type(error).__name__}: {error}",
                          where=module, hint="--debug shows the traceback") from error
