"""Nothing that an operator keeps outlives its constants: every memory of one goes by their versions (`absint.model.constants`)."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType
from typing import Any

import pytest
import torch
from source_tree import modules, tree
from torch import Tensor

from absint.model.constants import kept
from absint.model.op import Op
from absint.model.ops.gemm import Gemm

MEMORIES = {"cached_property", "lru_cache", "cache"}
# Whose code is an operator's own.
ROOMS = ("absint.model.families", "absint.model.ops", "absint.model.passes", "absint.model.op", "absint.model.constants")


def kinds(below: type = Op) -> Iterator[type]:
    """Every operator, family and stranger's operator that is loaded."""
    for kind in below.__subclasses__():
        yield kind
        yield from kinds(kind)


def memories(kind: type) -> list[str]:
    """Members of a class that remember by a way of their own."""
    return [f"{kind.__module__}.{kind.__qualname__}.{name}" for name, member in vars(kind).items() if _remembers(member)]


def _remembers(member: Any) -> bool:
    """A cached property, or a function with a cache, behind whatever stands before it."""
    if isinstance(member, functools.cached_property) or hasattr(member, "cache_info") or hasattr(member, "cache_clear"):
        return True
    inner = [getattr(member, name, None) for name in ("fget", "__func__", "func", "__wrapped__")]
    return any(_remembers(one) for one in inner if isinstance(one, FunctionType) or hasattr(one, "cache_info"))


def imported_memories(module: str, source: ast.AST) -> list[str]:
    """What a module takes from functools to remember with."""
    found = []
    for node in ast.walk(source):
        if isinstance(node, ast.ImportFrom) and node.module == "functools":
            found += [f"{module}:{node.lineno} {a.name}" for a in node.names if a.name in MEMORIES]
        elif isinstance(node, ast.Attribute) and node.attr in MEMORIES and ast.unparse(node.value) == "functools":
            found.append(f"{module}:{node.lineno} {node.attr}")
    return found


def test_no_operator_remembers_by_a_way_of_its_own() -> None:
    found = [kind for kind in {*kinds(), Op} if kind.__module__.startswith("absint")]
    assert len(found) > 60
    assert [line for kind in found for line in memories(kind)] == []


@pytest.mark.parametrize(("module", "path"), sorted((m, p) for m, p in modules().items() if m.startswith(ROOMS)))
def test_no_module_of_operators_does(module: str, path: Path) -> None:
    assert imported_memories(module, tree(path)) == []


def planted() -> list[type]:
    """Operators that remember wrongly."""

    class ByProperty(Gemm):
        @functools.cached_property
        def single(self) -> bool:
            return True

    class ByMethod(Gemm):
        @functools.lru_cache    # noqa: B019  # the fault itself
        def total(self) -> float:
            return float(self.weight.sum())

    class Behind(Gemm):
        @property
        @functools.cache    # noqa: B019
        def total(self) -> float:
            return float(self.weight.sum())

    class OfTheClass(Gemm):
        @staticmethod
        @functools.cache
        def total(op: Gemm) -> float:
            return float(op.weight.sum())

    return [ByProperty, ByMethod, Behind, OfTheClass]


@pytest.mark.parametrize("place", range(4))
def test_a_planted_memory_is_seen(place: int) -> None:
    kind = planted()[place]
    assert kind in set(kinds())
    assert memories(kind) != []


@pytest.mark.parametrize("source", [
    "from functools import cached_property", "from functools import wraps, lru_cache as l",
    "import functools\n@functools.cache\ndef f(op): ...",
])
def test_a_planted_import_is_seen(source: str) -> None:
    assert imported_memories("absint.model.ops.planted", ast.parse(source))


def test_the_one_way_is_no_fault() -> None:
    @dataclass(frozen=True, eq=False)
    class Right(Gemm):
        calls = 0

        @property
        @kept
        def total(self) -> float:
            type(self).calls += 1
            return float(self.weight.sum())

    op = Right(torch.ones(1, 2, dtype=torch.float64))
    assert memories(Right) == []
    assert [op.total, op.total, Right.calls] == [2.0, 2.0, 1]
    op.weight.add_(1.0)
    assert [op.total, op.total, Right.calls] == [4.0, 4.0, 2]


def test_what_an_operator_has_beside_its_fields_is_what_it_keeps() -> None:
    """No tensor hides in an attribute that a copy of the constants would not have."""
    op = Gemm(torch.ones(2, 2, dtype=torch.float64), torch.ones(2, dtype=torch.float64))
    before = set(vars(op))
    op.forward(torch.ones(1, 2))
    assert op.single is False
    assert op.fits(torch.float32)
    assert len(set(vars(op)) - before) == 1
    assert not any(isinstance(vars(op)[name], Tensor) for name in set(vars(op)) - before)
