"""Every advice that the code can print, read from its source: the `hint` of whatever is raised, with the code it stands beside."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
_ROOMS = ("absint", "domains", "frontends")
_PLACE = {"NodeProblemError": 1, "NotAffineError": 1, "refuse": 3}      # which argument is the hint, where it has no name
_BEHIND = ("fail",)     # of these, the one after the code and what is wrong
_TABLES = ("_KINDS", "_REFUSED", "_QUANTISED", "_RANDOM", "_CONTROL", "_RECURRENT", "_CHOICE")    # of pairs: what is wrong, what to do
_WRITERS = ("start_behind",)      # functions that write advice, under other names than ..._hint
_HOLE = "{}"
_WORDS = re.compile("|".join(("hint", *_BEHIND, *_PLACE, *_TABLES, *_WRITERS)))


@dataclass(frozen=True)
class Hint:
    """One advice. code: '?' where the call does not say it.  template: the text, {} where it depends."""

    code: str
    template: str

    def fits(self, code: str, text: str) -> bool:
        """Whether `text`, printed beside `code`, is this one."""
        parts = map(re.escape, self.template.split(_HOLE))
        return self.code in (code, "?") and re.fullmatch(".*".join(parts), text, re.DOTALL) is not None

    def __str__(self) -> str:
        return f"{self.code}\t{self.template}"


def all_hints() -> list[Hint]:
    """Of the whole source, each once; hints that are passed on from elsewhere are found there."""
    return sorted({hint for found in hints_by_file().values() for hint in found}, key=str)


@cache
def hints_by_file() -> dict[str, list[Hint]]:
    """File, from the repository's root -> its advice. Files without any of the words that advice is written by are not looked through."""
    files = [file for room in _ROOMS for file in sorted((ROOT / room).rglob("*.py"))]
    texts = {str(file.relative_to(ROOT)): file.read_text(encoding="utf-8") for file in files}
    texts = {file: text for file, text in texts.items() if _WORDS.search(text)}
    made = {name: texts for text in texts.values() for name, texts in _returned(text).items()}
    return {file: list(hints_of(text, made)) for file, text in texts.items()}


@cache
def _parsed(text: str) -> ast.Module:
    return ast.parse(text)


def _returned(text: str) -> dict[str, list[ast.expr]]:
    """What the functions of a file that write advice return, by name."""
    found: dict[str, list[ast.expr]] = {}
    for function in _parsed(text).body:
        if isinstance(function, ast.FunctionDef) and (function.name.endswith("_hint") or function.name in _WRITERS):
            found[function.name] = [node.value for node in ast.walk(function) if isinstance(node, ast.Return) and node.value is not None]
    return found


def hints_of(text: str, made: dict[str, list[ast.expr]] | None = None) -> Iterator[Hint]:
    """Those of one file. made: what functions that write advice return."""
    tree = _parsed(text)
    outer = {**(made or {}), **_returned(text), **_assigned(tree.body)}
    yield from (Hint("?", template) for pair in _pairs(tree) for template in _texts(pair.elts[1], outer, 0))
    for scope in ast.walk(tree):
        if isinstance(scope, (ast.FunctionDef, ast.Module)):
            advising = [(call, node) for call in _calls(scope) if (node := _hint_of(call)) is not None]
            names = {**outer, **(_assigned(list(ast.walk(scope))) if advising and isinstance(scope, ast.FunctionDef) else {})}
            for call, node in advising:
                for template in _texts(node, names, 0):
                    if template.replace(_HOLE, "").strip(" ,;:."):
                        yield Hint(_code_of(call), template)


def _pairs(tree: ast.Module) -> Iterator[ast.Tuple]:
    """(what is wrong, what to do) of tables at the top level, whose texts a call takes out by a key."""
    for node in tree.body:
        target = node.targets[0] if isinstance(node, ast.Assign) else node.target if isinstance(node, ast.AnnAssign) else None
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value is not None and getattr(target, "id", "") in _TABLES:
            for pair in ast.walk(node.value):
                if isinstance(pair, ast.Tuple) and len(pair.elts) == 2 and _sentence(pair.elts[0]):
                    yield pair


def _sentence(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value


def _calls(scope: ast.AST) -> Iterator[ast.Call]:
    """Calls of a function's own body; those of functions inside it belong to them."""
    stack = list(ast.iter_child_nodes(scope))
    while stack:
        node = stack.pop()
        if isinstance(node, ast.FunctionDef):
            continue
        if isinstance(node, ast.Call):
            yield node
        stack += ast.iter_child_nodes(node)


def _assigned(nodes: list[ast.stmt] | list[ast.AST]) -> dict[str, list[ast.expr]]:
    found: dict[str, list[ast.expr]] = {}
    for node in nodes:
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            found.setdefault(node.targets[0].id, []).append(node.value)
    return found


def _hint_of(call: ast.Call) -> ast.expr | None:
    named = next((k.value for k in call.keywords if k.arg == "hint"), None)
    if named is not None:
        return named
    name = getattr(call.func, "id", getattr(call.func, "attr", ""))
    codes = [k for k, one in enumerate(call.args) if _is_code(one)] if name in _BEHIND else []
    place = codes[0] + 2 if codes else _PLACE.get(name)
    return call.args[place] if place is not None and len(call.args) > place else None


def _is_code(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and re.fullmatch(r"E-[A-Z0-9-]+", node.value) is not None


def _code_of(call: ast.Call) -> str:
    if getattr(call.func, "id", "") == "NodeProblemError":      # gathered with those of other nodes under one code
        return "?"
    return next((str(one.value) for one in call.args if isinstance(one, ast.Constant) and _is_code(one)), "?")


def _texts(node: ast.expr, names: dict[str, list[ast.expr]], depth: int) -> list[str]:
    """What an expression can be, holes where it cannot be told."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("replace", "format"):
        return [re.sub(r"\{\w*\}", _HOLE, text) for text in _texts(node.func.value, names, depth)]
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names:
        return _texts(node.func, names, depth)
    if isinstance(node, ast.Constant):
        return [re.sub(r"\{\w+\}", _HOLE, node.value)] if isinstance(node.value, str) else []
    if isinstance(node, ast.JoinedStr):
        return ["".join(part.value if isinstance(part, ast.Constant) else _HOLE for part in node.values)]
    if isinstance(node, ast.IfExp):
        return _texts(node.body, names, depth) + _texts(node.orelse, names, depth)
    if isinstance(node, ast.BoolOp):
        return [text for value in node.values for text in _texts(value, names, depth)]
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return [a + b for a in _texts(node.left, names, depth) or [_HOLE] for b in _texts(node.right, names, depth) or [_HOLE]]
    if isinstance(node, ast.Name) and depth < 3:
        return [text for value in names.get(node.id, []) for text in _texts(value, names, depth + 1)]
    return [_HOLE]
