"""Weights that change: a graph's operators made anew from other constants, for one step of whoever changes them.

An operator keeps casts and absolute values of its constants. Training therefore never changes an operator: it asks for a view of
the graph whose operators are made from the parameters of this very step, by the rules that imported the file, with torch's graph of
gradients through them. Operators of a view are `live`: they keep nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from absint.errors import AbsintError, UnsupportedError, UsageError, shown
from absint.model.families.composite import Composite
from absint.model.families.linear import Linear
from absint.model.op import FromOnnx, OnnxNode, Op

_LISTED = 8
Parts = tuple[Op, ...]


@dataclass(frozen=True, eq=False)
class Making:
    """How one node of a file became operators.

    rule: of its import.  node: without its constants.  names: of its constants in the file, by input; '' where there is none.
    values: those constants, by input, for the asking: float64 copies are not kept.  parts: the operators that came of it, in order.
    replay: the operators that a composite, which the rule gave, expands into here.  unnamed: whether other constants are among its inputs.
    """

    rule: FromOnnx
    node: OnnxNode
    names: tuple[str, ...]
    values: Callable[[], tuple[Tensor | None, ...]]
    parts: Parts
    replay: Callable[[Op], Parts]
    unnamed: bool

    @cached_property
    def fixed(self) -> tuple[Tensor | None, ...]:
        """The file's own constants."""
        return self.values()

    def remade(self, given: Mapping[str, Tensor]) -> Parts:
        """The operators, from these constants where they are named; the others are the file's."""
        whole = not self.unnamed and all(name in given or name == "" for name in self.names)
        values = (None,) * len(self.names) if whole else self.fixed
        constants = tuple(given.get(name, value) for name, value in zip(self.names, values, strict=True))
        op = self.rule(replace(self.node, constants=constants))
        return self.replay(op) if isinstance(op, Composite) else (op,)


@dataclass(frozen=True, eq=False)
class Made:
    """Where a node's operator stands among those of its making; void once a rewrite gave the node another one."""

    making: Making
    place: int

    def holds(self, op: Op) -> bool:
        """Whether this very operator was made so."""
        return self.making.parts[self.place] is op


Operator = tuple[Op, Made | None]


def _making(op: Op, made: Made | None) -> Making | None:
    """How this very operator was made."""
    return made.making if made is not None and made.holds(op) else None


def read_from(operators: Iterable[Operator]) -> Counter[str]:
    """By constant of the file, how many operators that still stand are made of it; those that only move entries, and go, left out.

    `Source.reads` is this number at import, and one more where other constants, or what keeps no names, were made of it: it is then
    never reached.
    """
    making = (found for op, made in operators if (found := _making(op, made)) is not None and not _idle(op))
    return Counter(name for found in making for name in set(found.names) - {""})


def either(one: Mapping[str, int], two: Mapping[str, int]) -> dict[str, int]:
    """`Source.reads` of two graphs in one. A name that both have is left out: whose numbers are meant cannot be said."""
    return {name: count for name, count in (*one.items(), *two.items()) if not (name in one and name in two)}


def _idle(op: Op) -> bool:
    return isinstance(op, Linear) and op.exact and not op.constants()


def _everywhere(operators: Collection[Operator], reads: Mapping[str, int]) -> set[str]:
    """Constants all of whose numbers can be exchanged: none was made into another constant, or folded into another operator.

    Otherwise a view would be a network with the new numbers here and the old ones there, which is nobody's.
    """
    return {name for name, count in read_from(operators).items() if reads.get(name) == count}


def parameters_of(operators: Collection[Operator], reads: Mapping[str, int]) -> dict[str, Tensor]:
    """The floating-point constants of the file that operators are made of, and nothing else is, by name, as copies in float64."""
    found: dict[str, Tensor] = {}
    wanted = _everywhere(operators, reads)
    for op, made in operators:
        making = _making(op, made)
        if making is not None and not wanted.intersection(making.names) <= found.keys():
            found |= {name: value for name, value in zip(making.names, making.values(), strict=True)
                      if name in wanted and value is not None and value.is_floating_point() and name not in found}
    return found


def remade(operators: Mapping[str, Operator], mapping: Mapping[str, Tensor], reads: Mapping[str, int], path: str | None,
           folded: str) -> dict[str, Op]:
    """Live operators in place of those of the nodes that are made of any of the tensors: see `Graph.with_parameters`.

    operators: of all nodes, by name.  reads: `Source.reads`.  path, folded: for messages.
    """
    parts: dict[int, Parts] = {}
    fresh: dict[str, Op] = {}
    unknown = mapping.keys() - _everywhere(operators.values(), reads)
    if unknown:
        raise _unknown(list(parameters_of(operators.values(), reads)), [name for name in mapping if name in unknown], reads, path, folded)
    for node, (op, made) in operators.items():
        making = _making(op, made)
        if making is None or made is None or not any(name in mapping for name in making.names):
            continue
        if id(making) not in parts:
            _check_shapes(making, mapping, node)
            parts[id(making)] = _live(making, mapping, node)
        fresh[node] = parts[id(making)][made.place]
    return fresh


def _live(making: Making, mapping: Mapping[str, Tensor], where: str) -> Parts:
    """The operators, marked as live. Raises UnsupportedError E-PARAMETER where they cannot be made of tensors that change.

    A tensor that asks for gradients and could get none would silently never be trained.
    """
    try:
        parts = making.remade(mapping)
    except AbsintError:
        raise
    except Exception as error:      # a rule that looks at the numbers, perhaps a stranger's
        raise UnsupportedError("E-PARAMETER", f"{making.node.op_type} cannot be made of parameters: {type(error).__name__}: {error}",
                               where=where, hint="leave its constants out of the parameters") from error
    if [type(part) for part in parts] != [type(part) for part in making.parts]:
        raise UnsupportedError("E-PARAMETER", f"{making.node.op_type} becomes other operators with these parameters", where=where,
                               hint="leave its constants out of the parameters")
    asked = torch.is_grad_enabled() and any(mapping[name].requires_grad for name in making.names if name in mapping)
    if asked and not any(map(_follows, parts)):
        raise UnsupportedError("E-PARAMETER", f"{making.node.op_type} takes these constants as plain numbers: no gradient reaches them",
                               where=where, hint="leave its constants out of the parameters")
    for part in parts:
        object.__setattr__(part, "live", True)
    return parts


class ClosedForm(Protocol):
    """What states a closed form: see `absint.model.graph.Closed`."""

    @property
    def op(self) -> Op: ...  # noqa: D102


F = TypeVar("F", bound=ClosedForm)


def of_no_numbers(closed: F | None) -> F | None:
    """A closed form, unless it is of the file's own numbers."""
    return None if closed is not None and any(isinstance(value, Tensor) for value in vars(closed.op).values()) else closed


def _follows(part: Op) -> bool:
    """Whether a gradient flows through the operator into what it was made of."""
    return any(isinstance(value, Tensor) and value.requires_grad for value in vars(part).values())


def _check_shapes(making: Making, mapping: Mapping[str, Tensor], where: str) -> None:
    asked = [(name, shape) for name, shape in zip(making.names, making.node.shapes, strict=True) if name in mapping]
    wrong = [f"{shown(name)}: {tuple(mapping[name].shape)} in place of {shape}" for name, shape in asked
             if tuple(mapping[name].shape) != shape]
    if wrong:
        raise UsageError("E-PARAMETER", "parameters of other shapes than the file's", where=where, details=wrong,
                         hint="give each the shape that the file's constant has")


def _unknown(known: list[str], names: list[str], reads: Mapping[str, int], path: str | None, folded: str) -> UsageError:
    more = "" if len(known) <= _LISTED else f" and {len(known) - _LISTED} more"
    others = [name for name in names if name in reads]
    what = "parts of the graph are made of its numbers that cannot be made anew: " if others else "the graph has no parameter "
    return UsageError("E-PARAMETER", what + ", ".join(map(shown, (others or names)[:3])), where=path,
                      hint=f"known: {', '.join(known[:_LISTED]) or 'none'}{more}{folded}")
