"""The product's modules by their dotted names, as installed, and what they parse to."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from places import ROOT

FOLDERS = {"absint": ROOT / "absint", "absint.domains": ROOT / "domains", "absint.frontends": ROOT / "frontends"}


@cache
def modules() -> Mapping[str, Path]:
    """Dotted name -> file, as installed."""
    found = {}
    for package, folder in FOLDERS.items():
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            found[".".join((package, *(p for p in parts if p != "__init__")))] = path
    return found


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def room(module: str) -> str:
    """'absint.model.ops.relu' -> 'ops'; '' for the root package."""
    return module.removeprefix("absint").strip(".").partition(".")[0]
