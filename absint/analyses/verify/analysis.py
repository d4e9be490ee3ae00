"""`verify` as an analysis: what it makes of its options, and what its verdicts add up to."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from absint.analyses.verify.counts import Counts, assumptions
from absint.analyses.verify.options import DEFAULT_EPS, VerifyOptions
from absint.contract.analysis import TIMED_OUT, Analysis, Failure, Item, facts
from absint.contract.document import Document, Figure, Json, Section
from absint.contract.replay import WitnessReplay
from absint.contract.run import Run
from absint.errors import UsageError
from absint.verdict import Assurance, InstanceResult, Reason, Verdict

if TYPE_CHECKING:
    from absint.analyses.verify.question import Question
    from absint.model.graph import Graph

_QUERIES = "query"
_QUERY_SUFFIXES = (".vnnlib", ".vnnlib.gz")


class Verify(Analysis[VerifyOptions, InstanceResult]):
    """Prove that every input within eps of each given one (or under a patch, or a change of light, or in a box) keeps its class.

    With --output-range, prove instead that every output stays within limits.

    With a VNN-LIB query instead of a network, answer it: the first line of stdout is sat, unsat, unknown or timed-out.

    Exit code 0: every correctly classified instance is verified (and there is one); or a query was answered, whatever the
    answer. 1: finished, not all verified. 2 usage, 3 bad input, 4 unsupported, 5 resource, 70 internal error, 130 interrupted.
    """

    Options = VerifyOptions
    Record = InstanceResult
    records: ClassVar[str] = "instances"
    unread: ClassVar[frozenset[str]] = frozenset(("net", "compose", "data", "labels", "domain", "eps", "target"))   # the header says them
    positional: ClassVar[tuple[str, ...]] = ("net", "data", "labels", "eps")
    also: ClassVar[tuple[str, ...]] = (_QUERIES,)

    def route(self, given: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
        """A query, or a list of them, instead of a network."""
        net = given.get("net")
        named = net is not None and net.name.lower().endswith(_QUERY_SUFFIXES)
        if not (named or "network" in given or "instances" in given):
            alien = next((f"--{name.replace('_', '-')}" for name in ("serialise_assignments",) if name in given), "")
            if alien:
                raise UsageError("E-USAGE", f"{alien} belongs to queries", hint="see absint query --help")
            return "", given
        rest = {name: value for name, value in given.items() if name != "net"}
        return _QUERIES, rest if net is None else {**rest, "query": net}

    def check(self, options: VerifyOptions) -> None:
        """The region in words, and a folder for witnesses that can be written."""
        if options.net is None:
            raise UsageError("E-USAGE", "Missing argument 'NET.onnx'",
                             hint="name the network: absint verify net.onnx; see absint verify --help")
        from absint.analyses.verify.question import check_property, words_of
        from absint.attacks.witness_files import check_folder
        from absint.problem.plane import check_plane

        check_property(options)
        check_plane(options.plane, options.plot, options.out)
        if options.plane is None and options.plot is not None:
            raise UsageError("E-USAGE", "which two inputs are drawn?", where="--plot", hint="add --plane i,j, such as --plane 0,1")
        words_of(options)
        if options.evidence and options.executor != "local":
            raise UsageError("E-EVIDENCE", "evidence does not leave the process it was found in", where=f"executor={options.executor}",
                             hint="leave the executor away, or the evidence")
        if options.witness is not None:
            check_folder(Path(options.witness))

    def resolved(self, options: VerifyOptions) -> VerifyOptions:
        """With the radius that is meant: of a file or a sample; who hands over values states one."""
        values = options.box is not None or not (options.data is None or isinstance(options.data, (str, Path)))
        stated = options.eps is not None or values
        return options if stated else replace(options, eps=DEFAULT_EPS)

    def reads(self, options: VerifyOptions) -> Mapping[str, Path]:
        """A file of limits."""
        from absint.problem.output_range import file_of

        path = file_of(options.output_range)
        return {} if path is None else {"--output-range": path}

    def suited(self, graph: Graph, options: VerifyOptions) -> None:
        """Two classes at least, where classes are asked for."""
        from absint.problem.problem import check_classes

        if options.output_range is None:
            check_classes(graph)

    def labelled(self, options: VerifyOptions) -> bool:
        """Unless the property is about no class of the data's."""
        return options.output_range is None and (options.label is None or options.labels is not None)

    def prepare(self, run: Run[VerifyOptions]) -> Question:
        """The region, label and target of every input."""
        from absint.analyses.verify.question import question_of

        return question_of(run)

    def about(self, run: Run[VerifyOptions]) -> Mapping[str, Json]:
        """The property, what a verdict rests on, and how many inputs the network gets right; that on the command line alone."""
        from absint.analyses.verify.question import accuracy_of, property_of

        said: dict[str, Json] = {"property": property_of(run), "assumptions": list(assumptions(run.options))}
        if run.data is not None:
            said["data"] = {"accuracy": accuracy_of(run) if run.command else None}
        return said

    def binding(self, run: Run[VerifyOptions]) -> Mapping[str, Json]:
        """Which axes hold the channels, where the property goes by them; whose labels are meant; what is stated input by input."""
        return {**{f"axes_{key}": value for key, value in run.problem.layout.items()}, "predicted_labels": run.problem.own,
                **run.problem.by_position(run)}

    def items(self, run: Run[VerifyOptions]) -> Sequence[Item]:
        """The chosen inputs, or the instances of a region."""
        return [Item(index, f"input {index}") for index in run.problem.index]

    def opening(self, run: Run[VerifyOptions], count: int) -> str:
        """What is verified, and how well the network does on it."""
        right = run.header["data"]["accuracy"] if run.data is not None else None
        known = f", {right['correct']} of {right['of']} classified correctly" if right else ""
        return f"verifying {count} instances of {run.data_name or 'a region'}{known}"

    def decide(self, items: Sequence[Item], run: Run[VerifyOptions]) -> Iterator[InstanceResult]:
        """The portfolio on all items together."""
        from absint.analyses.verify.question import answers
        from absint.analyses.verify.run_settings import limited

        yield from answers(run, [item.index for item in items], limited(run.problem.settings, items, run))

    def word(self, record: InstanceResult) -> str:
        """The verdict; a solver's word apart from a proof."""
        word = " on a solver's word" if record.verdict is Verdict.VERIFIED and record.assurance is not Assurance.SOUND else ""
        return record.verdict.value + word

    def tone(self, record: InstanceResult) -> str:
        """By the verdict."""
        return {Verdict.VERIFIED: "good", Verdict.FALSIFIED: "bad", Verdict.UNKNOWN: "open", Verdict.LIKELY: "open"}.get(record.verdict, "")

    def failed(self, item: Item, failure: Failure) -> InstanceResult | None:
        """Killed at its limit: unknown. Nothing is said of an item that met an error."""
        if failure.code != TIMED_OUT:
            return None
        return InstanceResult(item.index, Verdict.UNKNOWN, reason=Reason.TIMEOUT, time_s=failure.time_s, detail="killed")

    def replayed(self, record: InstanceResult, run: Run[VerifyOptions]) -> WitnessReplay:
        """By onnxruntime, and a proof."""
        if record.witness is None:
            return WitnessReplay()
        from absint.analyses.verify.replaying import is_counterexample

        return WitnessReplay.of(is_counterexample(record, run))

    def document(self, records: Sequence[InstanceResult], run: Run[VerifyOptions]) -> Document:
        """Counts, and what was proved of what."""
        counts = Counts.of(records, run.asked)
        claim = run.header["property"]
        clip = "no data range" if claim["clip"] is None else f"data range [{claim['clip'][0]:g}, {claim['clip'][1]:g}]"
        region = claim.get("region") or f"linf eps {claim['eps']}"
        lines = (*counts.lines(classes=run.options.output_range is None), ("seconds", f"{time.monotonic() - run.begin:.2f}"),
                 *counts.note_lines(), ("property", f"{claim['text']}, {region}, {clip}"))
        from absint.analyses.verify.details import details

        return Document(
            counts.as_dict(), (facts(*lines), *details(records, run)), figures_of(records, run),
            warnings=tuple(filter(None, (_doubt(run), _vast(run), counts.warning))), remarks=tuple(filter(None, (counts.remark,))),
            exit_code=0 if counts.all_verified else 1)

    def further(self, records: Sequence[InstanceResult], run: Run[VerifyOptions]) -> Sequence[Section]:
        """Widths by layer: of some bounds of some instances, which are no verdict's."""
        from absint.analyses.verify.by_layer import widths_section

        return (widths_section(records, run),)

    def finish(self, records: Sequence[InstanceResult], document: Document, run: Run[VerifyOptions]) -> Sequence[str]:
        """The counterexamples as files, where --witness asks for them; also those found before an interrupt."""
        if run.options.witness is None:
            return ()
        from absint.attacks.witness_files import WitnessInfo, save_witnesses

        data = run.data
        originals = {} if data is None else dict(zip(map(int, data.index), data.inputs, strict=True))
        provenance = {"property": run.header["property"], **({} if data is None else {"data_sha256": data.sha256})}
        within = run.problem.within
        margin = None if within is None else lambda _, output: within.slack(output)
        saved = save_witnesses(Path(run.options.witness), run.network, records,
                               WitnessInfo(originals, provenance, margin, run.problem.axes))
        return (f"{len(saved.files)} counterexample files in {run.options.witness}", *saved.notes)


def figures_of(records: Sequence[InstanceResult], run: Run[VerifyOptions]) -> tuple[Figure, ...]:
    """The plane that is asked for, with verdicts and counterexamples."""
    if run.options.plane is None:
        return ()
    from absint.analyses.verify.planes import pictures

    return pictures(records, run)


def _vast(run: Run[VerifyOptions]) -> str:
    """Where a radius was stated in other units than the data."""
    from absint.numeric.decimal import parse_eps

    eps, clip = run.options.eps, run.options.clip
    if run.data is None or not isinstance(eps, str) or "," in eps or clip is None or run.problem.choice is None or (
            run.problem.choice.patches or run.problem.choice.photometric) or parse_eps(eps) < clip[1] - clip[0]:
        return ""
    return (f"within eps {eps} lies everything in the data range [{clip[0]:g}, {clip[1]:g}]\n"
            f"  hint: eps is in the units of the data, after --scale and before --mean: did you mean {eps}/255?")


def _doubt(run: Run[VerifyOptions]) -> str:
    """Where it looks like wrong preprocessing."""
    found = run.header.get("data", {}).get("accuracy")
    if found is None or 2 * found["correct"] >= found["of"]:
        return ""
    from absint.analyses.verify.doubts import remedy

    tried = remedy(run, found["correct"])
    flat = len(run.network.input.shape) == 1
    advice = tried or (
        "is the normalisation wrong, or the order of the columns or of the classes? try --mean and --std as in training, "
        "--scale where values have another range, --label-column, --labels, or other --data" if flat else
        "is the normalisation or the layout wrong, or the order of the classes? try --mean and --std as in training, "
        "--scale where values have another range, --layout chw or hwc, --labels, or other --data")
    return f"the network classifies only {found['correct']} of {found['of']} inputs of {run.inputs.name} correctly\n  hint: {advice}"
