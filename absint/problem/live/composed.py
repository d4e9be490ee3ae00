"""The network that options state: of one model, or of several in a row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import torch

from absint.errors import UsageError
from absint.model.composition import Fit
from absint.model.graph import Graph, chain
from absint.model.import_check import check_import
from absint.model.model_files import check_model
from absint.problem.live.models import graph_of
from absint.problem.parsing import parse_clip, parse_numbers

_RANGE = "0,1"   # the default
_BEFORE_LAST = "mean and std stand before the last network"
_POINTS = 4     # each network was compared at import; what is left to see is that they meet in the same place


class Networks(Protocol):
    """The options that say which network is meant (`absint.contract.common_options.NetworkOptions`)."""

    @property
    def net(self) -> Any:
        """The last network: a path, a graph, or an object that a front end accepts."""

    @property
    def compose(self) -> tuple[Any, ...]:
        """Networks before it, in order."""

    @property
    def output(self) -> str | None:
        """Of the last network, where it has several, or a tensor inside it; None for its only one."""

    @property
    def normalisation(self) -> bool:
        """Whether the last network has the normalisation that its file states."""

    @property
    def rescale(self) -> bool:
        """Whether the range of what comes to it is mapped to the one that it expects."""

    @property
    def as_is(self) -> bool:
        """Whether values may leave the range that it expects."""

    @property
    def classifier_range(self) -> Any:
        """What it expects: 'LOW,HIGH', a pair of numbers, or none."""


def fit_of(options: Networks) -> Fit:
    """How values reach the last network. Raises UsageError E-USAGE, E-CLIP for words that do not go together; nothing is read."""
    stated = isinstance(options.classifier_range, str) and options.classifier_range == _RANGE
    words = {"--rescale": options.rescale, "--as-is": options.as_is, "--classifier-range": not stated}
    idle = [word for word, given in words.items() if given and not options.compose]
    if idle:
        raise UsageError("E-USAGE", f"{idle[0]} says how values of one network reach the next, and there is one network", where=idle[0],
                         hint="add --compose G.onnx, the network that runs first")
    return Fit(options.rescale, options.as_is, parse_clip(options.classifier_range, "--classifier-range"))


def stated_graph(options: Networks, *, inputs: object = None, **more: Any) -> Graph:
    """The network, read and checked. With `compose` it is all of them in a row, and the last one's own `mean` and `std` stand before it.

    inputs: what the call is about, for front ends that need an example.  more: options of the front ends.
    Raises UsageError E-USAGE for none, InputError E-COMPOSE-RANGE, E-SHAPE, and whatever reading them raises.
    """
    fit = fit_of(options)
    if options.net is None:
        raise UsageError("E-USAGE", "Missing argument 'NET.onnx'", hint="name the network")
    if not options.compose:
        return _read(options.net, inputs, {**more, **_of_the_last(options)})
    mean, std = normalisation(options)
    layout = getattr(options, "layout", None)
    own = {"mean": mean, "std": std, "layout": layout, "last": _of_the_last(options)}
    return composed((*options.compose, options.net), fit, inputs=inputs, **own, **more)


def _of_the_last(options: Networks) -> dict[str, Any]:
    """What is said of the network that answers alone."""
    return {"output": options.output, "normalisation": options.normalisation}


def normalisation(options: Networks) -> tuple[Any, Any]:
    """Mean and std, where the options have them; text as exact decimals. Raises UsageError E-NUMBERS."""
    given = ((getattr(options, name, None), f"--{name}") for name in ("mean", "std"))
    mean, std = (parse_numbers(value, where) if isinstance(value, str) else value for value, where in given)
    return mean, std


def composed(models: Sequence[Any], fit: Fit, *, example_input: object = None, inputs: object = None, mean: object = None,
             std: object = None, layout: object = None, last: Mapping[str, Any] | None = None, **more: Any) -> Graph:
    """Networks in a row as one graph, compared with all of them in the reference runtime on a few points.

    mean, std, layout: normalisation that the last one expects.  last: options of the last one's reading.
    fit: how values reach it; those before it take what they get.
    Raises what `chain`, `Graph.then` and reading raise.
    """
    graph = _read(models[0], inputs, more, example_input)
    for place, model in enumerate(models[1:], 2):
        image = torch.zeros((1, *graph.output.shape), dtype=torch.float32)
        following = _read(model, image, {**more, **(last or {})} if place == len(models) else more)
        if place < len(models):
            graph = chain(graph, following)
            continue
        if mean is not None or std is not None:
            following = graph_of(following, mean=mean, std=std, layout=layout)
            following = replace(following, source=replace(following.source, notes=(*following.source.notes, _BEFORE_LAST)))
        graph = graph.then(following, rescale=fit.rescale, as_is=fit.as_is, classifier_range=fit.expects)
    if graph.source.runs:
        check_import(graph, points=_POINTS)
    return graph


def _read(model: Any, inputs: object, more: dict[str, Any], example_input: object = None) -> Graph:
    """One of them. Raises InputError E-MODEL-MISSING, -FORMAT and what the front ends raise."""
    if isinstance(model, (str, Path)):
        check_model(Path(model))
    return graph_of(model, example_input, inputs=None if isinstance(inputs, (str, Path)) else inputs, **more)
