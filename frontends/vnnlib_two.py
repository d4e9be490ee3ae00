"""VNN-LIB 2.0: the standard's own library parses and type-checks; its tree becomes the same formulas as in 1.0.

Nothing of the library's numbers is used: it holds them in floating point, the text of each is exact.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import accumulate
from math import prod
from typing import Any

import vnnlib

from absint.errors import InputError, UnsupportedError
from absint.frontends.vnnlib_atoms import RELATION, Formula, LinearTerm, QueryText, comparison, conjunction, disjunction
from absint.frontends.vnnlib_build import Declared, build
from absint.frontends.vnnlib_numbers import decimal
from absint.frontends.vnnlib_reader import scaled, summed
from absint.problem.query import DeclaredInput, Query
from absint.problem.regions.region import Shape

_DEPTH = 400  # the library recurses without limit, and its process dies where the stack ends
_COMMENT = re.compile(r";[^\n]*")
_RELATIONS = {
    vnnlib.LessEqual: "<=", vnnlib.LessThan: "<", vnnlib.GreaterEqual: ">=", vnnlib.GreaterThan: ">", vnnlib.Equal: "=",
}
_SINGLE = {vnnlib.DType.F32: True, vnnlib.DType.F64: False}


def read(text: str, path: str) -> Query:
    """The query of a whole text.

    Raises InputError E-VNNLIB-SYNTAX, -TYPE, -SIZE, UnsupportedError E-VNNLIB-NETWORKS, -SORT and those of `build`.
    """
    source = QueryText(path)
    tree = _parsed(_checked_depth(text, source), path)
    network = _only_network(tree, path)
    given, (asked,) = network.inputs, network.outputs
    sizes = [prod(one.shape) for one in given]
    reader = _Reader(source, dict(zip((str(one.name) for one in given), accumulate([0, *sizes]), strict=False)))
    asserts = [reader.formula(assertion.expr) for assertion in tree.assertions]
    several = len(given) > 1
    shapes = ((sum(sizes),) if several else tuple(given[0].shape), tuple(asked.shape))
    names = tuple(name for one in given for name in _names(one.name, tuple(one.shape)))
    declared = Declared(names, _names(asked.name, shapes[1]), tuple(reader.false), _all_single(given, path))
    inputs = tuple(DeclaredInput(str(one.name), tuple(one.shape), str(one.onnx_name or "")) for one in given) if several else ()
    return replace(build(declared, asserts, source), network=str(network.name), shapes=shapes, version="2.0", inputs=inputs)


def _checked_depth(text: str, source: QueryText) -> str:
    depth = 0
    plain = _COMMENT.sub("", text)
    for match in re.finditer(r"[()]", plain):
        depth += 1 if match[0] == "(" else -1
        if depth > _DEPTH:
            line = plain.count("\n", 0, match.start()) + 1
            raise source.fail(line, "E-VNNLIB-SIZE", f"parentheses nested deeper than {_DEPTH}", "write conjunctions flat")
    return text


def _parsed(text: str, path: str) -> Any:
    try:
        return vnnlib.parse_query_string(text)
    except vnnlib.VNNLibException as error:
        raise _coded(str(error), path) from error
    except MemoryError:
        raise
    except Exception as error:  # a foreign library: std::stod of a number beyond float64 arrives as an IndexError
        raise InputError("E-VNNLIB-SYNTAX", f"the vnnlib library fails on it: {type(error).__name__}: {error}", where=path,
                         hint="are all numbers within the range of float64?") from error


def _coded(message: str, path: str) -> InputError:
    """The library's complaint, all of its findings as details."""
    try:
        found = json.loads(message)["errors"]
        details = [f"line {e['line']}: {e['message']}: '{e['offendingSymbol']}'. {e['hint']}" for e in found]
    except (ValueError, KeyError, TypeError):
        match = re.search(r"line (\d+), column (\d+)", message)
        where = f"{path}:{match[1]}:{match[2]}" if match else path
        return InputError("E-VNNLIB-SYNTAX", " ".join(message.split())[:200], where=where,
                          hint="in VNN-LIB 2.0 numbers have no exponent, and variables are indexed as X[0,3]")
    return InputError("E-VNNLIB-TYPE", f"{len(details)} faults", where=path, details=details[:20])


def _only_network(tree: Any, path: str) -> Any:
    if len(tree.networks) != 1:
        names = ", ".join(str(n.name) for n in tree.networks)
        raise UnsupportedError("E-VNNLIB-NETWORKS", f"{len(tree.networks)} networks: {names}", where=path,
                               hint="absint answers queries about one network")
    (network,) = tree.networks
    if not network.inputs or len(network.outputs) != 1 or network.hidden:
        raise UnsupportedError(
            "E-VNNLIB-NETWORKS", f"network {network.name} has {len(network.inputs)} inputs, {len(network.outputs)} outputs and "
            f"{len(network.hidden)} hidden tensors", where=path, hint="absint handles one output (--output chooses) and nothing hidden",
        )
    return network


def _all_single(given: Sequence[Any], path: str) -> bool:
    """Whether all inputs are float32. Raises UnsupportedError E-VNNLIB-SORT where they differ in that."""
    kinds = {_single(one, path) for one in given}
    if len(kinds) > 1:
        raise UnsupportedError("E-VNNLIB-SORT", "inputs of several types", where=path, hint="declare all of them as float32, or as float64")
    return kinds.pop()


def _single(given: Any, path: str) -> bool:
    if given.dtype in _SINGLE:
        return _SINGLE[given.dtype]
    if given.dtype.name == "Real":      # which the library's own types leave out
        return False
    raise UnsupportedError("E-VNNLIB-SORT", f"inputs of type {given.dtype.name} are not handled", where=path,
                           hint="float32, float64 or real")


def _names(name: str, shape: Shape) -> tuple[str, ...]:
    """'X[0,3]' for every entry, in row-major order."""
    return tuple(f"{name}[{','.join(map(str, _position(k, shape)))}]" for k in range(prod(shape)))


def _position(k: int, shape: Shape) -> list[int]:
    out: list[int] = []
    for size in reversed(shape):
        k, index = divmod(k, size)
        out.append(index)
    return out[::-1]


class _Reader:
    """Expressions of the library's tree -> formulas. false: lines of constraints between constants that never hold.

    first: of each input the place of its first entry among all.
    """

    def __init__(self, source: QueryText, first: Mapping[str, int]) -> None:
        self.source, self.first = source, first
        self.false: list[int] = []

    def formula(self, node: Any) -> Formula:
        """A constraint."""
        if isinstance(node, (vnnlib.And, vnnlib.Or)):
            parts = [self.formula(child) for child in node.children()]
            return conjunction(parts, self.source, _line(node)) if isinstance(node, vnnlib.And) else disjunction(parts)
        left, right, line = self.linear(node.lhs), self.linear(node.rhs), _line(node)
        operator = _RELATIONS.get(type(node))
        if operator is None:  # different: less or greater
            found = disjunction([comparison(o, left, right, self.source, line) for o in ("<", ">")])
        else:
            found = comparison(operator, left, right, self.source, line)
        if not found:
            self.false.append(line)
        return found

    def linear(self, node: Any) -> LinearTerm:
        """A sum of variables with exact coefficients."""
        if isinstance(node, vnnlib.Var):
            return LinearTerm({self._code(node): Fraction(1)}, Fraction(0))
        if isinstance(node, vnnlib.Literal):
            number = decimal(node.lexeme)
            if number is None:
                raise self.source.fail(node.line, "E-VNNLIB-NUMBER", f"'{node.lexeme[:40]}' is no number that float64 can enclose")
            return LinearTerm({}, number.value)
        values = [self.linear(child) for child in node.children()]
        if isinstance(node, vnnlib.Negate):
            return scaled(values[0], Fraction(-1))
        if isinstance(node, vnnlib.Multiply):
            return self._product(values, _line(node))
        signs: dict[type, int] = {vnnlib.Plus: 1, vnnlib.Minus: -1}
        return summed(values, Fraction(signs[type(node)]))

    def _product(self, values: Sequence[LinearTerm], line: int) -> LinearTerm:
        result = values[0]
        for value in values[1:]:
            if value.terms and result.terms:
                raise self.source.refuse(line, "E-VNNLIB-RELATION", "a product of two variables is not linear", RELATION)
            result = scaled(value, result.constant) if value.terms else scaled(result, value.constant)
        return result

    def _code(self, var: Any) -> int:
        flat = 0
        for index, size in zip(var.indices, var.shape, strict=True):
            flat = flat * size + index
        start = self.first.get(str(var.name), 0)
        codes: dict[Any, Callable[[int], int]] = {vnnlib.SymbolKind.Input: lambda k: start + k, vnnlib.SymbolKind.Output: lambda k: -1 - k}
        if var.kind not in codes:
            raise self.source.refuse(var.line, "E-VNNLIB-NETWORKS", f"'{var.name}' is neither an input nor an output")
        return codes[var.kind](flat)


def _line(node: Any) -> int:
    """The line of the first leaf."""
    while not hasattr(node, "line"):
        node = node.children()[0]
    return int(node.line)
