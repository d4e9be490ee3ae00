"""Models as users have them: a graph, a path, a torch.nn.Module, or whatever a front end accepts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from absint.errors import AbsintError, InputError, UsageError
from absint.model.frontend import front_end_for, load_model, normalised
from absint.model.graph import Graph
from absint.model.scores import ending_with
from absint.problem.dataset import Dataset
from absint.problem.live.arrays import array_of, is_list, number_of
from absint.problem.live.regions import clip_of
from absint.problem.live.words import layout_of
from absint.problem.regions.region import Region


def graph_of(
    model: object, example_input: object = None, *, inputs: object = None, mean: object = None, std: object = None,
    layout: object = None, output: str | None = None, normalisation: bool = True, **options: Any,
) -> Graph:
    """The graph of a model, read and checked; a graph is taken as it is.

    model: a Graph, a path (str or Path), a torch.nn.Module, or an object that a front end accepts.
    example_input: a batch that the model takes, for front ends that ask for one.  inputs: what the call is about (arrays, a
    Dataset or a Region), whose first row stands in where such a front end is given no example.
    mean, std, layout: normalisation to prepend (`normalised`).  output: of several outputs the one that is meant, or a tensor inside,
    where the network then ends.  normalisation: False leaves out the one that a file states (.nnet).
    options: the front end's (fold, check, check_range).
    Raises InputError E-MODEL-TYPE, E-MODEL-MISSING and whatever the front end raises, UsageError E-OPTION and E-NORMALISE.
    """
    if not normalisation and isinstance(model, Graph):
        raise UsageError("E-OPTION", "a graph that was read has its normalisation, or has it not", where="normalisation",
                         hint="give it to absint.load")
    if not normalisation:
        options["normalisation"] = False
    graph = _ending(model, output) if isinstance(model, Graph) else _read(model, example_input, inputs, options, output)
    if mean is None and std is None:
        return graph
    return normalised(graph, _numbers(mean, "mean"), _numbers(std, "std"), layout_of(layout))


def _ending(graph: Graph, output: str | None) -> Graph:
    return graph if output is None else ending_with(graph, output)


def _read(model: object, example_input: object, inputs: object, options: dict[str, Any], output: str | None) -> Graph:
    source = _source(model)
    checked = _checked(options)
    chooses = output is not None and "output" in signature(front_end_for(source).read).parameters
    if chooses:
        checked["output"] = output
    example = example_input
    if example is None and inputs is not None and not isinstance(source, Path) and _asks_for_example(source):
        example = _first_row(inputs)
    if example is not None:
        checked["example_input"] = _example(example)
    try:
        return _ending(load_model(source, **checked), None if chooses else output)
    except (ValueError, OSError) as error:   # a name with a zero byte, a path too long: no front end got as far as a file
        if not isinstance(source, Path):
            raise
        raise InputError("E-MODEL-MISSING", f"cannot be read: {error}", where=str(source)[:200],
                         hint="check the path of the model") from error


def _source(model: object) -> object:
    """Paths as Path, so that no front end meets another kind."""
    if isinstance(model, (str, os.PathLike)):
        path = os.fspath(model)
        if isinstance(path, str):
            return Path(path)
    if model is None or isinstance(model, (bytes, bool, int, float, complex, list, tuple, dict, set, Tensor, np.ndarray)):
        raise InputError("E-MODEL-TYPE", f"an object of type {type(model).__name__} is no model", where="model",
                         hint="give the path of a model file, a torch.nn.Module, or what absint.load returned")
    return model


def _asks_for_example(source: object) -> bool:
    return "example_input" in signature(front_end_for(source).read).parameters


def _first_row(inputs: object) -> Tensor | dict[str, Tensor]:
    """One row, in the format that torch takes where a module does not say: of a region its centre, of data the first input.

    Of a mapping, one row of each.
    """
    if isinstance(inputs, Mapping):
        return {str(name): _row(value) for name, value in inputs.items()}
    return _row(inputs)


def _row(inputs: object) -> Tensor:
    if isinstance(inputs, Region):
        return inputs.center[:1].detach().to("cpu", torch.float32)
    rows = array_of(inputs.inputs[:1] if isinstance(inputs, Dataset) else inputs, "inputs", truth=True)
    if not rows.dim() or not len(rows):
        raise UsageError("E-EXAMPLE-INPUT", "the inputs hold no row that would tell the model's input shape", where="inputs",
                         hint="give example_input to absint.load")
    return rows[:1].to(torch.float32)


def _example(value: object) -> object:
    """Arrays and tensors as they are, for their format; anything else as what it holds."""
    if isinstance(value, (Dataset, Region)):
        return _first_row(value)
    if isinstance(value, Mapping):
        return {str(name): _example(one) for name, one in value.items()}
    several = isinstance(value, (list, tuple)) and all(isinstance(v, (Tensor, np.ndarray)) for v in value)
    if several or isinstance(value, Tensor) or (isinstance(value, np.ndarray) and value.dtype.kind in "biuf"):
        return value
    try:
        return array_of(value, "example_input")
    except InputError as error:
        raise UsageError("E-EXAMPLE-INPUT", error.what, where="example_input", hint="one batch of inputs, such as torch.zeros(1, 3, 32, 32)"
                         ) from error


def _checked(options: dict[str, Any]) -> dict[str, Any]:
    """The front end's options, of the type that they must have."""
    found = dict(options)
    for name in ("fold", "check"):
        if name in found and not isinstance(found[name], bool):
            raise UsageError("E-OPTION", f"{name} is True or False, not an object of type {type(found[name]).__name__}", where=name)
    if found.get("check_range") is not None:
        with suppress(AbsintError):
            found["check_range"] = clip_of(found["check_range"])
        if not isinstance(found["check_range"], tuple):
            raise UsageError("E-OPTION", "check_range is a pair of numbers, the lower one first", where="check_range",
                             hint="such as (0, 1)")
    return found


def _numbers(values: object, what: str) -> Any:
    """Numbers of a normalisation: text and exact numbers stay exact, floats and arrays are taken as they are."""
    if values is None or isinstance(values, str):
        return values
    single = number_of(values)
    if single is not None:
        return single
    if is_list(values) and len(values) and all(isinstance(v, str) or number_of(v) is not None for v in values):
        return [v if isinstance(v, str) else number_of(v) for v in values]
    try:
        return array_of(values, what)
    except InputError as error:
        raise UsageError("E-NORMALISE", error.what, where=what, hint="for example 0.1307, or [0.491, 0.482, 0.447]") from error
