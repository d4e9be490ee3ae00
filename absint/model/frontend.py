"""Model front ends: files (chosen by suffix) and objects to graphs; and normalisation in front of a graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from inspect import Parameter, signature
from math import inf, prod
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from absint.errors import InputError, UsageError, missing_hint, shown
from absint.model.digest import digest
from absint.model.graph import Graph, Node
from absint.model.input_axes import axes_of
from absint.model.layout import Axes, Known, agreed, axes_of_values, named
from absint.model.op import Input, Shape
from absint.model.ops.affine import Affine
from absint.model.other_formats import kind_of_file
from absint.numeric.decimal import rational
from absint.numeric.outward import next_above
from absint.registry import Registry

Number = float | str | Fraction
Numbers = Number | Sequence[Number] | Tensor


class FrontEnd(Protocol):
    """What a model front end offers. suffixes: in lower case, with their dots; those that it claims only to refuse them with
    better words it states in `refused`, too.

    One that reads objects, such as a framework's modules, states `accepts(source: object) -> bool` besides. One whose models
    lie in more than one file states `sha256(path) -> str`, of all of them, and puts the same into the graph's source.
    """

    suffixes: tuple[str, ...]

    def read(self, source: Any, **options: Any) -> Graph:
        """The graph of a file, or of an object that the front end accepts."""


FRONTENDS: Registry[Callable[[], FrontEnd]] = Registry("front end", "absint.frontends")


def load_model(source: object, **options: Any) -> Graph:
    """The graph of a model: the front end of a path's suffix, or the one that accepts the object, reads it.

    Raises InputError E-MODEL-FORMAT for an unknown suffix, E-MODEL-TYPE for an object of no known kind, UsageError E-OPTION
    for an option that the front end does not have, and whatever the front end raises.
    """
    end = front_end_for(source)
    _known_options(end, source, options)
    graph = end.read(source, **options)
    if graph.source.sha256 or not isinstance(source, (str, Path)) or not Path(source).is_file():
        return graph
    return replace(graph, source=replace(graph.source, sha256=_hash_by(end, source)))  # no journal binds itself to nothing


def model_hash(path: str | Path) -> str:
    """SHA-256 of every byte that a model is read from, the `source.sha256` of its graph, by which journals and reports know it.

    Raises InputError E-MODEL-MISSING, and what the front end raises where it cannot read the model.
    """
    return _hash_by(front_end_for(path), path)


def _hash_by(end: FrontEnd, path: str | Path) -> str:
    own: Callable[[str | Path], str] | None = getattr(end, "sha256", None)
    if own is not None:
        return own(path)
    try:
        return digest(Path(path).read_bytes())
    except OSError as error:
        raise InputError("E-MODEL-MISSING", f"cannot be read: {error.strerror}", where=str(path),
                         hint="check the path of the model") from error


def front_end_for(source: object) -> FrontEnd:
    """The front end with the longest suffix that a path ends in, or the first that accepts an object.

    Raises InputError E-MODEL-FORMAT naming all suffixes, or E-MODEL-TYPE.
    """
    ends = [FRONTENDS.get(entry)() for entry in FRONTENDS]
    if not isinstance(source, (str, Path)):
        return _accepting(source, ends)
    name = Path(source).name.lower()
    fitting = [(len(s), k) for k, end in enumerate(ends) for s in end.suffixes if name.endswith(s)]
    if not fitting:
        raise _unread(Path(source), ends)
    return ends[max(fitting)[1]]


def _unread(path: Path, ends: Sequence[FrontEnd]) -> InputError:
    """What a file that no front end reads is, and what to do with it."""
    known = kind_of_file(path)
    if known is not None:
        return InputError("E-MODEL-FORMAT", f"'{path.name}' is {known[0]}", where=str(path), hint=known[1])
    if path.is_dir():
        return InputError("E-MODEL-FORMAT", "a folder, not a model", where=str(path),
                          hint="name the file in it, such as one that ends in .onnx")
    if not path.exists():
        return InputError("E-MODEL-MISSING", "no such file", where=str(path), hint=missing_hint(path) or "check the path of the model")
    read = ", ".join(sorted({s for end in ends for s in end.suffixes if s not in getattr(end, "refused", ())}))
    return InputError("E-MODEL-FORMAT", f"no front end reads '{path.name}'", where=str(path),
                      hint=f"models end in {read}; convert it, or rename it where it is one of these")


def _accepting(source: object, ends: Sequence[FrontEnd]) -> FrontEnd:
    for end in ends:
        accepts = getattr(end, "accepts", None)
        if accepts is not None and accepts(source):
            return end
    kind = f"{type(source).__module__}.{type(source).__qualname__}"
    raise InputError("E-MODEL-TYPE", f"no front end takes an object of type {kind}", where="model",
                     hint="give the path of a model file, or a torch.nn.Module together with example_input")


def _known_options(end: FrontEnd, source: object, options: dict[str, Any]) -> None:
    parameters = signature(end.read).parameters.values()
    if any(p.kind is Parameter.VAR_KEYWORD for p in parameters):
        return
    known = [p.name for p in parameters if p.kind is Parameter.KEYWORD_ONLY]
    unknown = sorted(set(options) - set(known))
    if unknown:
        where = str(source) if isinstance(source, (str, Path)) else type(source).__name__
        raise UsageError("E-OPTION", f"the front end of this model has no option {', '.join(map(repr, unknown))}", where=where,
                         hint=f"known: {', '.join(known)}")


def normalised(graph: Graph, mean: Numbers | None = None, std: Numbers | None = None, axes: Known = None) -> Graph:
    """The graph behind x -> (x - mean) / std, so that regions live in the user's raw units.

    mean, std: one number (0 and 1 where None), one per channel, or one per entry.  axes: what is told of the input's
    channels; what the operators say is found here (docs/regions.md, "Channels first or last").
    Floats are taken as they are; strings ('0.1307') and Fractions
    as the exact rational, with the error of their conversion carried along. The input node of `graph` keeps its name.
    Raises UsageError E-NORMALISE on a length that does not fit, a number that is none, or std <= 0; E-LAYOUT where numbers
    per channel may go along two axes, or what is told contradicts the operators.
    """
    shape = graph.input.shape
    known = agreed(shape, axes_of(graph), axes)
    means, stds = _numbers(0.0 if mean is None else mean, "mean"), _numbers(1.0 if std is None else std, "std")
    if any(s <= 0 for s in stds):
        raise UsageError("E-NORMALISE", f"std must be positive, got {float(min(stds)):g}", where="--std",
                         hint="the deviation of the training data, such as 0.3081")
    where = {"mean": _along(means, shape, known, "mean"), "std": _along(stds, shape, known, "std")}
    shift = _broadcast([-float(m) for m in means], shape, where["mean"])
    error = _broadcast([_above(abs(m - Fraction(float(m)))) for m in means], shape, where["mean"])
    tiny, huge = Fraction(torch.finfo(torch.float64).tiny), Fraction(torch.finfo(torch.float64).max)
    if any(not tiny <= 1 / s <= huge for s in stds):
        raise UsageError("E-NORMALISE", "1 / std leaves the range of float64", where="--std",
                         hint="the deviation of the training data, such as 0.3081")
    scale = _broadcast([float(1 / s) for s in stds], shape, where["std"])
    center = Affine(shift=shift, shift_error=error if bool((error > 0).any()) else None)
    divide = Affine(scale=scale, weight_terms=1)
    return _prepended(graph, (center, divide))


def _prepended(graph: Graph, ops: tuple[Affine, Affine]) -> Graph:
    """Entrywise operators before the graph; the last takes over the name of the input."""
    old = graph.input
    raw, middle = _fresh(graph, f"{old.name}/raw"), _fresh(graph, f"{old.name}/centred")
    nodes = (
        Node(raw, Input(old.shape), (), old.shape, (raw,)),
        Node(middle, ops[0], (raw,), old.shape),
        replace(old, op=ops[1], inputs=(middle,)),
        *graph.nodes[1:],
    )
    return Graph(nodes, graph.source.behind(ops))


def _fresh(graph: Graph, name: str) -> str:
    while name in graph.tensors:
        name += "'"
    return name


def _numbers(values: Numbers, what: str) -> list[Fraction]:
    if isinstance(values, Tensor):
        values = [float(v) for v in values.double().reshape(-1)]
    if isinstance(values, (str, float, int, Fraction)):
        values = [values]
    try:
        exact = [rational(v) if isinstance(v, (str, Decimal)) else Fraction(v) for v in values]
        if not exact or any(abs(float(v)) == inf for v in exact):
            raise ValueError("nothing given")
    except (ValueError, OverflowError, ZeroDivisionError, TypeError) as error:
        raise UsageError("E-NORMALISE", f"not a list of numbers: {shown(values)} ({type(error).__name__})", where=f"--{what}",
                         hint="for example 0.1307, or 0.491,0.482,0.447") from error
    return exact


def _above(error: Fraction) -> float:
    return next_above(float(error)) if error else 0.0


def _along(values: list[Fraction], shape: Shape, known: Known, what: str) -> Axes | None:
    """The axes of numbers per channel; None for one number, or one per entry."""
    if len(values) in (1, prod(shape)):
        return None
    found = axes_of_values(shape, values, known, f"--{what}")
    if found is None:
        raise UsageError("E-NORMALISE", f"{len(values)} numbers do not fit an input of shape {shape}, read as {named(known)}",
                         where=f"--{what}",
                         hint="give one number, one per channel (--layout tells the order of flat inputs), or one per entry")
    return found


def _broadcast(values: list[float], shape: Shape, axes: Axes | None) -> Tensor:
    """The numbers in a shape that broadcasts against `shape`."""
    tensor = torch.tensor(values, dtype=torch.float64)
    if axes is not None:
        return axes.spread(tensor, shape)
    return tensor.reshape(() if len(values) == 1 else shape)
