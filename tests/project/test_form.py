"""The form of the source: sizes, global state, prints, who sets torch's switches or steps between floats, and names that stand alone."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest
from source_tree import modules, room, tree
from test_naming import words

LONGEST_FILE, LONGEST_FUNCTION = 400, 50


def form_faults(module: str, text: str) -> Iterator[str]:
    """What a reader would stumble over: sizes, global state, prints, asserts that are more than a hint to the type checker."""
    source = ast.parse(text)
    lines = text.count("\n")
    if lines > LONGEST_FILE:
        yield f"{module} has {lines} lines"
    for node in ast.walk(source):
        where = f"{module}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and (node.end_lineno or 0) - node.lineno + 1 > LONGEST_FUNCTION:
            yield f"{where} {node.name} has {(node.end_lineno or 0) - node.lineno + 1} lines"
        elif isinstance(node, ast.Global):
            yield f"{where} changes a global"
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("print", "eval", "exec"):
            if room(module) != "cli" or node.func.id != "print":
                yield f"{where} calls {node.func.id}"
        elif isinstance(node, ast.Assert) and not _narrows(node.test):
            yield f"{where} asserts {ast.unparse(node.test)}: raise an AbsintError"
        elif isinstance(node, ast.ImportFrom) and any(a.name == "*" for a in node.names):
            yield f"{where} star import"
        elif isinstance(node, ast.ExceptHandler) and node.type is None:
            yield f"{where} bare except"


def _narrows(test: ast.expr) -> bool:
    """`isinstance(...)`, `x is not None`, or a conjunction of such: for the type checker, true by construction."""
    if isinstance(test, ast.BoolOp):
        return isinstance(test.op, ast.And) and all(_narrows(v) for v in test.values)
    if isinstance(test, ast.Compare):
        return isinstance(test.ops[0], ast.IsNot)
    return isinstance(test, ast.Call) and ast.unparse(test.func) == "isinstance"


def test_form() -> None:
    assert [fault for module, path in modules().items() for fault in form_faults(module, path.read_text(encoding="utf-8"))] == []


@pytest.mark.parametrize("source", [
    "x = 1\n" * 401, "def f():\n" + "    x = 1\n" * 51, "def f():\n    global x\n", "print(1)\n", "eval('1')\n",
    "def f(n):\n    assert n > 0\n", "from math import *\n", "try:\n    pass\nexcept:\n    pass\n",
])
def test_a_planted_fault_of_form_is_seen(source: str) -> None:
    assert list(form_faults("absint.planted", source))


TORCH_SWITCHES = {
    "set_flush_denormal", "set_float32_matmul_precision", "allow_tf32", "set_flags", "use_deterministic_algorithms", "set_default_dtype",
    "fp32_precision", "preferred_blas_library",
}


def test_only_the_numeric_mode_touches_torch_switches() -> None:
    users = {module for module, path in modules().items() if words(tree(path)) & TORCH_SWITCHES}
    assert users == {"absint.numeric.backend", "absint.numeric.flags"}


def neighbours(source: ast.AST) -> bool:
    """Whether a module steps from a float to the next one by itself: a name nextafter, or `stepped`, called or imported."""
    names = {n.id for n in ast.walk(source) if isinstance(n, ast.Name)} | {n.attr for n in ast.walk(source) if isinstance(n, ast.Attribute)}
    imported = {a.name for n in ast.walk(source) if isinstance(n, ast.ImportFrom) for a in n.names}
    return bool({"nextafter", "stepped"} & (names | imported))


def test_one_room_rounds_outward_by_hand() -> None:
    users = {module for module, path in modules().items() if neighbours(tree(path))}
    assert {room(m) for m in users} == {"numeric"}, sorted(users)


@pytest.mark.parametrize("source", ["torch.nextafter(x, y)", "from math import nextafter", "np.nextafter(a, 1.0)", "f = nextafter",
                                    "stepped(x, inf)"])
def test_a_planted_step_is_seen(source: str) -> None:
    assert neighbours(ast.parse(source))


def class_names() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for module, path in modules().items():
        for node in tree(path).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found.setdefault(node.name, []).append(module)
    return found


def test_no_two_public_classes_share_a_name() -> None:
    """A reader who meets a name in a message or an import should not have to ask which one."""
    assert {name: where for name, where in class_names().items() if len(where) > 1} == {}
