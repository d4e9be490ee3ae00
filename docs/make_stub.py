"""Writes absint/__init__.pyi from the options of every analysis: `python docs/make_stub.py`. A test compares it with the code."""

from __future__ import annotations

import inspect
from pathlib import Path

import absint
from absint import api
from absint.contract.analysis import ANALYSES, analysis_of, function_name

STUB = Path(__file__).parents[1] / "absint" / "__init__.pyi"
_HEAD = '''"""Made by `python docs/make_stub.py`; a test compares it with the code."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor
from torch.nn import Module

'''
_TYPES = '''
ABSINT_CONTRACT: int
__version__: str
ArrayLike = Tensor | np.ndarray[Any, Any] | Sequence[Any]

'''
_ALSO = {"absint.engine.domain": ["Domain"], "absint.search.strategy": ["Strategy"], "absint.problem.dataset": ["Dataset"],
         "absint.problem.query": ["Query"], "absint.analyses.taboo.traps": ["Traps"]}
_WIDE = 132


def stub() -> str:
    """The whole file."""
    homes: dict[str, list[str]] = {}
    for name, home in absint._HOME.items():
        homes.setdefault(home, []).append(name)
    for home, names in _ALSO.items():
        homes.setdefault(home, []).extend(names)
    own = [name for name in ANALYSES.names() if ANALYSES.get(name).__module__.startswith("absint.")]
    for name in own:
        kind = ANALYSES.get(name)
        homes.setdefault(kind.Record.__module__, []).append(kind.Record.__name__)
        if kind.returns:
            home, _, returned = kind.returns.partition(":")
            homes.setdefault(home, []).append(returned)
    exported = set(absint._HOME)
    lines = [_import(home, sorted(set(names)), exported) for home, names in sorted(homes.items())]
    functions = [_function(name) for name in sorted(own, key=function_name)]
    return _HEAD + "\n".join(lines) + "\n" + _TYPES + "\n".join(functions)


def _import(home: str, names: list[str], exported: set[str]) -> str:
    """`X as X` exports a name from a stub."""
    said = [f"{name} as {name}" if name in exported else name for name in names]
    line = f"from {home} import {', '.join(said)}"
    return line if len(line) <= _WIDE else f"from {home} import (\n" + "".join(f"    {name},\n" for name in said) + ")"


def _function(name: str) -> str:
    analysis = analysis_of(name)
    kind = type(analysis)
    parts = []
    for parameter in inspect.signature(api.function(name)).parameters.values():
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY and "*" not in parts:
            parts.append("*")
        parts.append(f"{parameter.name}: {parameter.annotation} = ...")
    returned = kind.returns.partition(":")[2] if kind.returns else f"Results[{kind.Record.__name__}]"
    lines, line = [], "   "
    for part in parts:
        if len(line) + len(part) > _WIDE:
            lines.append(line)
            line = "   "
        line += f" {part},"
    said = analysis.help().splitlines()[0]
    return "\n".join([f"def {function_name(name)}(", *lines, line, f") -> {returned}:", f'    """{said}"""', ""])


if __name__ == "__main__":
    STUB.write_text(stub(), encoding="utf-8")
