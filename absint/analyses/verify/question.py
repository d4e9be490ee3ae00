"""What a run of `verify` asks: the region, label and target of every input, made of what a user stated."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from absint.analyses.verify.deciding import decided
from absint.analyses.verify.options import DEFAULT_EPS, VerifyOptions
from absint.analyses.verify.patches import decided_patches
from absint.analyses.verify.run_settings import settings_of
from absint.analyses.verify.settings import ProofSettings
from absint.contract.run import Run
from absint.errors import InputError, UsageError
from absint.model.content_digest import content_digest
from absint.model.graph import Graph
from absint.model.layout import Known, named
from absint.problem.boxes import box_text, stated_once
from absint.problem.live import labels_of, norm_of, predicted_classes, region_of
from absint.problem.live.arrays import number_of
from absint.problem.output_range import OutputRange, output_range
from absint.problem.parsing import parse_clip, parse_index
from absint.problem.plane import plane_of
from absint.problem.problem import Problem, robustness
from absint.problem.region_choice import RegionChoice, parse_region
from absint.problem.regions.region import Region
from absint.problem.spec import Spec
from absint.verdict import InstanceResult

_SAMPLE = 200       # inputs that the clean accuracy is measured on
_MOST = 10          # offenders listed


@dataclass(frozen=True, eq=False)
class Question:
    """Everything by position; index: what the instances are called.

    labels, targets: (batch,) int64; of no meaning with `within`.  own: whether the labels are the network's own, which no report calls
    labels.  within: the range of outputs that is asked for instead of a class.
    choice: the region in words, None where it was given as such or by values.  text: of the radius, None for a Region.
    """

    settings: ProofSettings
    region: Region
    index: tuple[int, ...]
    labels: Tensor
    targets: Tensor | None
    own: bool
    choice: RegionChoice | None
    text: str | None
    within: OutputRange | None = None

    @property
    def axes(self) -> Known:
        """What is known of the inputs' axes."""
        return None if self.choice is None else self.choice.axes

    @property
    def layout(self) -> Mapping[str, str]:
        """{"layout": ...} where the property goes by channels or pixels."""
        return {"layout": named(self.choice.axes)} if self.choice is not None and self.choice.by_axes else {}

    def by_position(self, run: Run[VerifyOptions]) -> Mapping[str, Any]:
        """Radii, targets and a region's labels go by the place among the chosen inputs: another choice gives an input others."""
        options = run.options
        within = {} if self.within is None else {"within": [[str(one) for one in side] for side in (self.within.lower, self.within.upper)]}
        several = [not (value is None or isinstance(value, (str, bytes)) or number_of(value) is not None)
                   for value in (options.eps, options.target)]
        labelled = run.region is not None and not self.own and self.within is None
        if not (any(several) or labelled):
            return within
        return {**within, "inputs": list(self.index), "values_sha256": content_digest((self.labels, self.targets))}


def words_of(options: VerifyOptions) -> RegionChoice | None:
    """The region, where it is stated in words; None where eps is a value or an array. Raises what `parse_region` does."""
    stated = isinstance(options.eps, str)
    if not stated and options.patch is None and options.brightness is None and options.contrast is None:
        return None
    return parse_region(parse_clip(options.clip), eps=options.eps if stated else DEFAULT_EPS,
                        norm=norm_of(options.norm), patch=options.patch, brightness=options.brightness, contrast=options.contrast)


def question_of(run: Run[VerifyOptions]) -> Question:
    """Everything but files was read. Raises InputError E-LABEL, E-DATA-UNLABELLED, UsageError, UnsupportedError E-CLASSES."""
    graph, options = run.network, run.options
    settings = settings_of(run)
    choice: RegionChoice | None = None
    text: str | None = None
    if run.region is not None:
        region, index = _given(run, run.region)
    else:
        index = tuple(int(one) for one in run.inputs.index)
        region, text, choice = _around(run)
    if options.plane is not None:
        plane_of(options.plane, region)
    if options.output_range is not None:
        within = output_range(options.output_range, graph.output.shape)
        return Question(settings, region, index, torch.zeros(region.batch, dtype=torch.int64), None, False, choice, text, within)
    labels, own = _labels(run, region)
    targets = _targets(graph, options.target, labels, index)
    return Question(settings, region, index, labels, targets, own, choice, text)


def check_property(options: VerifyOptions) -> None:
    """Raise UsageError E-USAGE for regions, or properties, that are stated twice; nothing is read."""
    stated_once(options, "patch")
    classes = {"--target": options.target is not None, "--label": options.label is not None, "--patch": options.patch is not None}
    word = next((word for word, given in classes.items() if given), None)
    if options.output_range is not None and word is not None:
        raise UsageError("E-USAGE", "--output-range asks for no class", where=word, hint="leave one of them away")


def _given(run: Run[VerifyOptions], region: Region) -> tuple[Region, tuple[int, ...]]:
    """A Region in place of inputs. Raises UsageError E-EPS where a radius is stated, too; E-USAGE for another kind of change."""
    options = run.options
    if options.patch is not None or options.brightness is not None or options.contrast is not None:
        raise UsageError("E-USAGE", "a region says itself which inputs are meant", where="patch, brightness, contrast",
                         hint="leave them away")
    region, _ = region_of(run.network, region, options.eps)
    if options.index is None:
        return region, tuple(range(region.batch))
    index = parse_index(options.index, region.batch, "inputs")
    return region.take(torch.tensor(index)), tuple(index)


def _around(run: Run[VerifyOptions]) -> tuple[Region, str, RegionChoice | None]:
    options, data, whole = run.options, run.inputs, run.whole
    assert whole is not None
    words = words_of(options)
    if words is None:
        # As an array: the data are in the network's axes already, and a second arrangement would be of other images.
        region, text = region_of(run.network, torch.from_numpy(data.inputs), options.eps, options.norm, options.clip, whole.axes)
        return region, text or "", None
    choice = words.seen(whole.axes, run.network.input.shape)
    return choice.around(torch.from_numpy(data.inputs)), choice.text, choice


def _labels(run: Run[VerifyOptions], region: Region) -> tuple[Tensor, bool]:
    """One class an input; and whether the network itself chose them, where none are given."""
    graph, options = run.network, run.options
    if options.label is not None:
        _check_class(graph, options.label, "--label")
        return torch.full((region.batch,), options.label, dtype=torch.int64), False
    if run.data is None:
        stated = labels_of(graph, options.labels, region.batch)
    elif run.data.labels is None:
        stated = None
    else:
        stated = torch.from_numpy(np.ascontiguousarray(run.data.labels, dtype=np.int64))
    if stated is not None:
        return stated, False
    if run.command:     # in Python, no labels mean the predicted classes; a file that should have had some is a mistake
        if run.data is None:
            raise InputError("E-DATA-UNLABELLED", "a box has no label", where=str(options.box),
                             hint="say what holds in it: --output-range LOW,HIGH, or --label N for a class")
        raise InputError("E-DATA-UNLABELLED", "the data has no labels", where=run.data.name,
                         hint="add --labels FILE, or --label N where all inputs are of one class; --key NAME,LABELS names arrays, "
                              "--label-column NAME a column; without classes: --output-range LOW,HIGH")
    return predicted_classes(graph, region.center), True


def _check_class(graph: Graph, label: int, where: str) -> None:
    if not 0 <= label < graph.output.size:
        raise InputError("E-LABEL", f"{label} is not in 0..{graph.output.size - 1}", where=where,
                         hint=f"the network has {graph.output.size} outputs; classes count from 0")


def _targets(graph: Graph, stated: object, labels: Tensor, index: Sequence[int]) -> Tensor | None:
    """(batch,), none of them the label. Raises InputError E-LABEL naming the inputs."""
    if type(stated) is int:
        _check_class(graph, stated, "--target")
    targets = labels_of(graph, stated, len(labels), "targets")
    if targets is None:
        return None
    same = [index[slot] for slot in (targets == labels).nonzero().flatten().tolist()]
    if same:
        shown = ", ".join(map(str, same[:_MOST])) + (", ..." if len(same) > _MOST else "")
        raise InputError("E-LABEL", f"{len(same)} inputs have the target as their label: {shown}", where="--target",
                         hint="leave these inputs out with --index")
    return targets


def answers(run: Run[VerifyOptions], index: Sequence[int], settings: ProofSettings) -> Iterator[InstanceResult]:
    """The results of some instances, each the moment it is known."""
    asked: Question = run.problem
    place = {name: slot for slot, name in enumerate(asked.index)}
    where = torch.tensor([place[name] for name in index], dtype=torch.int64)
    labels = asked.labels[where]
    targets = None if asked.targets is None else asked.targets[where]
    region, names, graph = asked.region.take(where), tuple(index), run.network
    found: Any
    if asked.choice is not None and asked.choice.patches is not None:
        found = decided_patches(graph, region.center, labels, asked.choice.patches, settings, targets=targets, index=names)
    elif asked.within is not None:
        found = decided(Problem(graph, region, partial(_within, asked.within), names, eps=asked.text), settings)
    else:
        found = decided(robustness(graph, region, labels, targets=targets, index=names, eps=asked.text), settings)
    stated = run.options.domain
    name = stated if isinstance(stated, str) else str(run.header["domain"]["name"])
    with closing(found) as results:
        for result in results:
            margin = result.margin if asked.within is None else asked.within.margin(result.margin)
            yield replace(result, domain=name, label=None if asked.own else result.label, margin=margin)


def _within(within: OutputRange, chosen: Tensor) -> Spec:
    return within.spec(len(chosen))


def accuracy_of(run: Run[VerifyOptions]) -> dict[str, int] | None:
    """{"correct", "of"} over the first inputs of the whole data; None where their labels are no news."""
    data = run.whole
    if run.options.label is not None or run.options.output_range is not None or data is None or data.labels is None:
        return None
    count = min(len(data), _SAMPLE)
    with torch.no_grad():
        parts = torch.from_numpy(data.inputs[:count]).split(50)
        predicted = torch.cat([run.network(part).flatten(1).argmax(1) for part in parts]).numpy()
    return {"correct": int((predicted == data.labels[:count]).sum()), "of": count}


def property_of(run: Run[VerifyOptions]) -> dict[str, Any]:
    """What is proved, JSON-ready."""
    asked, options, clip = run.problem, run.options, run.options.clip
    other = "y[j] for every other class j"
    if asked.targets is not None:
        target = options.target if isinstance(options.target, int) else "target"
        other = f"y[{target}]"
    text = f"y[{'predicted' if asked.own else 'label'}] > {other}" if asked.within is None else asked.within.text
    claim = {"text": text, "norm": "linf", "eps": asked.text,
             "clip": None if clip is None else list(clip), "target": options.target if isinstance(options.target, int) else None,
             "label": options.label}
    if asked.choice is not None:
        return {**claim, **asked.choice.property, **asked.layout}
    if options.box is not None:
        return {**claim, "norm": None, "clip": None, "region": box_text(asked.region)}
    if run.region is not None:
        kind = type(asked.region).__name__
        return {**claim, "norm": None, "clip": None, "region": f"{asked.region.batch} regions of kind {kind}"}
    norm = norm_of(options.norm)
    return {**claim, "norm": norm, "region": f"{norm} eps {asked.text}"}
