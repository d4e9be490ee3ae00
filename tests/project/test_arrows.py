"""Who may import whom: a rule about the source itself, first seen to fail on planted breaches."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache

import pytest
from source_tree import modules, room, tree

# A module may reach its own row and every row below, directly or through others. A name stands for the room and all in it.
ROWS = (
    ("__main__", "cli"),
    ("api", "testing"),
    ("runs", "reports"),
    ("analyses",),
    ("contract",),
    ("search",),
    ("attacks",),
    ("encode",),
    ("solvers",),
    ("engine", "samples"),
    ("problem",),
    ("model",),
    ("numeric",),
    ("registry", "verdict", "errors"),
)
# Thin re-exports for users and for plug-ins; nothing of ours imports them. tests/api/test_faces.py holds them to what they repeat.
FACES = {"op", "elementwise", "domain", "graph", "region", "regions", "spec", "strategy", "training"}
BASICS = {"problem", "model", "numeric", "registry", "verdict", "errors"}
# Plug-ins see the contract they implement, not the engine around it; a domain that solves programs may use the last two.
PLUG_INS = {
    "domains": {"domains", "engine", *BASICS, "encode", "solvers"},
    "frontends": {"frontends", *BASICS},
}
# What a plug-in may not reach although it lies in a room that it may: a domain is carried, it never starts a walk of its own.
KEPT_FROM = {"domains": {"absint.engine.forward"}, "frontends": set()}
# Only these may import the file format and its runtime.
FORMAT_LIBRARIES = {"onnx", "onnxruntime"}
FORMAT_USERS = {"frontends", "model", "testing", "cli"}
FORMAT_FREE = ("absint.model.graph", "absint.model.op", "absint.model.families", "absint.model.passes")


@dataclass(frozen=True)
class Import:
    """`target` is a dotted module; `name` what is taken from it, or None; deferred: inside a function."""

    target: str
    name: str | None = None
    deferred: bool = False


Imports = Mapping[str, tuple[Import, ...]]


def imports_of(source: ast.AST, known: frozenset[str]) -> tuple[Import, ...]:
    """Every import: at the top, in functions, under TYPE_CHECKING, and by importlib with a literal name."""
    out: list[Import] = []
    functions = (node for node in ast.walk(source) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)))
    inside = {id(inner) for node in functions for inner in ast.walk(node)}
    for node in ast.walk(source):
        later = id(node) in inside
        if isinstance(node, ast.Import):
            out += [Import(alias.name, None, later) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "relative imports hide where a name comes from"
            assert node.module is not None
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                out.append(Import(whole, None, later) if whole in known else Import(node.module, alias.name, later))
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            out += [Import(a.value) for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
    return tuple(out)


@cache
def all_imports() -> Imports:
    files = modules()
    return {name: imports_of(tree(path), frozenset(files)) for name, path in files.items()}


def row(name: str) -> int | None:
    return next((k for k, names in enumerate(ROWS) if name in names), None)


def breaches(imports: Imports) -> Iterator[str]:
    """One line per import that points the wrong way."""
    for module, items in imports.items():
        here = room(module)
        for item in items:
            library = item.target.partition(".")[0]
            if library in FORMAT_LIBRARIES and (here not in FORMAT_USERS or module.startswith(FORMAT_FREE)):
                yield f"{module} imports {library}"
            if library != "absint":
                continue
            reason = _breach(module, here, item)
            if reason:
                yield f"{module} imports {item.target}{'.' + item.name if item.name else ''}: {reason}"


def _breach(module: str, here: str, item: Import) -> str | None:
    there = room(item.target)
    if item.name is not None and item.name.startswith("_"):
        return "a private name"
    if item.target == "absint" and item.name is not None:
        return None if here == "" else "the root package is for users"
    if there in FACES and here != there:
        return "a face is for users"
    if here == "analyses" == there and item.name is None and item.target != module:
        return "an analysis names what it takes from another one"
    return None if here in ("", *FACES) else misplaced(here, there)


def misplaced(here: str, there: str) -> str | None:
    """Why a module of one room may not see one of another."""
    if here in PLUG_INS:
        return None if there in PLUG_INS[here] else f"{here} may not see {there}"
    if there in PLUG_INS:
        return "absint finds plug-ins by their entry points"
    mine, its = row(here), row(there)
    if mine is None or its is None:
        return f"{here if mine is None else there} stands in no row of ROWS"
    return None if its >= mine else f"{there} stands above {here}"


def edges_of(imports: Imports) -> dict[str, set[str]]:
    """Module -> the modules that run when it is imported, the packages around what it imports included."""
    out: dict[str, set[str]] = {}
    for module, items in imports.items():
        targets = {i.target for i in items if i.target in imports}
        around = {t.rsplit(".", k)[0] for t in targets for k in range(1, t.count("."))}
        out[module] = (targets | (around & imports.keys())) - {module, "absint"}
    return out


def indirect_breaches(imports: Imports) -> Iterator[str]:
    """One line per module that reaches, over any number of imports, what it may not see; with the way there."""
    edges = edges_of(imports)
    for module in imports:
        here = room(module)
        if here in ("", *FACES):
            continue
        way = {module: (module,)}
        todo = [module]
        while todo:
            for target in edges[todo[0]] - way.keys():
                way[target] = (*way[todo[0]], target)
                todo.append(target)
            todo.pop(0)
        for target, path in way.items():
            kept = target in KEPT_FROM.get(here, ())
            reason = "a domain never starts a walk" if kept else misplaced(here, room(target))
            if target != module and reason:
                yield f"{' -> '.join(path)}: {reason}"


def cycles(imports: Imports) -> list[str]:
    """Modules on an import cycle. The root package and the command line import on use, to start fast: that is left out."""
    edges = {m: {i.target for i in items if i.target in imports and i.target not in ("absint", m)
                 and not (i.deferred and room(m) == "cli")} for m, items in imports.items()}
    while True:
        leaves = {m for m, targets in edges.items() if not targets & edges.keys()}
        if not leaves:
            return sorted(edges)
        edges = {m: targets for m, targets in edges.items() if m not in leaves}


def planted(module: str, source: str) -> list[str]:
    """Breaches after `source` was appended to a module's real text."""
    files = modules()
    text = files[module].read_text(encoding="utf-8") + "\n" + source
    return list(breaches({module: imports_of(ast.parse(text), frozenset(files))}))


def test_imports_follow_the_arrows() -> None:
    assert list(breaches(all_imports())) == []


def test_nothing_reaches_upward_through_others() -> None:
    assert list(indirect_breaches(all_imports())) == []


@pytest.mark.parametrize(("module", "source", "culprit"), [
    # a domain reaches the forward walk through a solver: the breach that this rule was written for
    ("absint.solvers.choice", "from absint.engine.attempts import attempt", "absint.domains.zonotope"),
    ("absint.encode.segments", "from absint.search.branchers.phases import Phases", "absint.encode.network"),
    ("absint.numeric.interval", "from absint.engine.rows import Rows", "absint.problem.query"),
    ("absint.model.graph", "def f():\n    from absint.solvers.session import Session", "absint.frontends.onnx_reader"),
    ("absint.errors", "import absint.reports.text", "absint.registry"),
])
def test_a_planted_indirect_breach_is_seen(module: str, source: str, culprit: str) -> None:
    files = modules()
    imports = dict(all_imports())
    if module == "absint.solvers.choice":
        imports[culprit] = (*imports[culprit], Import("absint.solvers.choice", "solvers_of"))
    text = files[module].read_text(encoding="utf-8") + "\n" + source
    imports[module] = imports_of(ast.parse(text), frozenset(files))
    assert any(line.startswith(f"{culprit} -> ") for line in indirect_breaches(imports))


def test_there_are_few_rooms() -> None:
    rooms = {room(m) for m in modules()} - {"", "__main__", *FACES}
    assert len(rooms) <= 22, sorted(rooms)


def test_every_module_stands_in_a_row() -> None:
    rooms = {room(m) for m in modules()} - {"", *PLUG_INS, *FACES}
    assert sorted(r for r in rooms if row(r) is None) == []


def test_there_is_no_import_cycle() -> None:
    assert cycles(all_imports()) == []


@pytest.mark.parametrize(("module", "source"), [
    ("absint.engine.forward", "import absint.domains.box"),
    ("absint.engine.forward", "def f():\n    from absint.domains.box import Box"),
    ("absint.engine.forward", "from importlib import import_module\nimport_module('absint.domains.box')"),
    ("absint.engine.domain", "if TYPE_CHECKING:\n    from absint.search.strategies.exact import Exact"),
    ("absint.model.op", "from absint import domain"),
    ("absint.model.op", "from absint.engine.context import Context"),
    ("absint.model.graph", "import onnx"),
    ("absint.model.families.linear", "import onnxruntime"),
    ("absint.numeric.rounding", "from absint.model.op import Op"),
    ("absint.domains.box", "from absint.frontends import data"),
    ("absint.domains.box", "from absint.search.branchers import boxes"),
    ("absint.domains.box", "from absint.domain import Domain"),
    ("absint.frontends.data", "from absint.domains.box import Box"),
    ("absint.frontends.data", "from absint.analyses.verify import verify"),
    ("absint.analyses.verify", "from absint.cli import main"),
    ("absint.attacks.pgd", "from absint.analyses.verify import verify"),
    ("absint.api", "from absint.analyses.verify import _Run"),
    ("absint.engine.backward.walk", "from absint import verify"),
    ("absint.engine.backward.walk", "import absint.newcomer"),
    ("absint.runs.header", "from absint import __version__"),
])
def test_a_planted_import_is_seen(module: str, source: str) -> None:
    assert planted(module, source)


def test_a_planted_cycle_is_seen() -> None:
    imports = dict(all_imports())
    imports["absint.errors"] = (*imports["absint.errors"], Import("absint.registry", "Registry"))
    assert {"absint.errors", "absint.registry"} <= set(cycles(imports))
