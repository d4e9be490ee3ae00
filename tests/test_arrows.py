"""Who may import whom, and M + N: rules about the source itself. Every rule is first seen to fail on a planted breach."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = {"absint": ROOT / "absint", "absint.domains": ROOT / "domains", "absint.frontends": ROOT / "frontends"}

# A module may import from its own row and from every row below. A name stands for the module and all its submodules.
ROWS = (
    ("__main__", "cli"),
    ("api",),
    ("reports", "testing", "_contract", "_contract_nets", "_contract_probes", "_contract_domains", "_contract_rows", "_contract_ops",
     "_contract_report"),
    ("frontend", "data_frontend"),
    ("analyses",),
    ("attacks", "solvers"),
    ("interpret",),
    ("domain",),
    ("conjunction",),
    ("ascent",),
    ("affine_bounds",),
    ("substitute",),
    ("relaxed",),
    ("passage",),
    ("attained", "closed", "executions", "row_forms"),
    ("context",),
    ("passes",),
    ("import_check", "node_check", "node_points", "forward_error"),
    ("input_axes",),
    ("graph", "reference"),
    ("ops",),
    ("op", "elementwise", "pieces"),
    ("query",),
    ("region", "regions", "spec", "verdict", "backend", "kernels", "rounding", "registry", "errors", "digest", "interval", "rational",
     "rational_linear", "dataset", "samples", "layout", "arrangement", "child"),
)
BOTTOM = ROWS[-1]
# Plug-ins see the contract they implement, not the engine around it. Domain.memory takes a Graph.
PLUG_INS = {
    "domains": {"domains", "domain", "context", "graph", "op", "solvers", *BOTTOM},
    "frontends": {"frontends", "frontend", "data_frontend", "query", "graph", "op", "ops", "passes", "reference", "import_check",
                  "node_check", *BOTTOM},
}
# Only these may import the file format and its runtime.
FORMAT_LIBRARIES = {"onnx", "onnxruntime"}
FORMAT_USERS = {
    "frontends", "reference", "node_check", "node_points", "import_check", "testing", "_contract", "_contract_nets", "_contract_ops", "cli",
}

# Names of domains outside domains/ that are no choice of an analysis, each with its reason.
NAMED_DOMAINS = {
    ("absint.engine.forward", "box"): "the key under which the engine's own box step keeps a constant",
    ("absint.problem.problem", "auto"): "the number format of that name",
    ("absint.analyses.verify.portfolio", "auto"): "the number format of that name",
    ("absint.analyses.inspect.treatment", "exact"): "a kind of node",
    **{(f"absint.model.ops.{module}", "alpha"): "the ONNX attribute of that name" for module in ("exponential", "gemm", "piecewise", "relu")},
}


@dataclass(frozen=True)
class Import:
    """`target` is a dotted module; `name` what is taken from it, or None; deferred: inside a function."""

    target: str
    name: str | None = None
    deferred: bool = False


Imports = Mapping[str, tuple[Import, ...]]


def modules() -> dict[str, Path]:
    """Dotted name -> file, as installed."""
    found = {}
    for package, folder in FOLDERS.items():
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            found[".".join((package, *(p for p in parts if p != "__init__")))] = path
    return found


@lru_cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


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


@lru_cache
def all_imports() -> dict[str, tuple[Import, ...]]:
    files = modules()
    return {name: imports_of(tree(path), frozenset(files)) for name, path in files.items()}


def room(module: str) -> str:
    """'absint.model.ops.relu' -> 'ops'; '' for the root package."""
    return module.removeprefix("absint").strip(".").partition(".")[0]


def row(name: str) -> int | None:
    return next((k for k, names in enumerate(ROWS) if name in names), None)


def breaches(imports: Imports) -> Iterator[str]:
    """One line per import that points the wrong way."""
    for module, items in imports.items():
        here = room(module)
        for item in items:
            library = item.target.partition(".")[0]
            if library in FORMAT_LIBRARIES and here not in FORMAT_USERS:
                yield f"{module} imports {library}"
            if library != "absint":
                continue
            reason = _breach(module, here, item)
            if reason:
                yield f"{module} imports {item.target}{'.' + item.name if item.name else ''}: {reason}"


def _breach(module: str, here: str, item: Import) -> str | None:
    there = room(item.target)
    if item.target == "absint":
        return None if here == "" or item.name in ("__version__", None) else "the root package is for users"
    if item.name is not None and item.name.startswith("_") and item.name != "__version__":
        return "a private name"
    if here == "analyses" == there and item.target != module and item.name is None:
        return "an analysis names what it takes from another one"
    if here == "":
        return None
    if here in PLUG_INS:
        return None if there in PLUG_INS[here] else f"{here} may not see {there}"
    if there in PLUG_INS:
        return "absint finds plug-ins by their entry points"
    mine, its = row(here), row(there)
    if mine is None or its is None:
        return f"{here if mine is None else there} stands in no row of ROWS"
    return None if its >= mine else f"{there} stands above {here}"


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


def test_every_module_stands_in_a_row() -> None:
    rooms = {room(m) for m in modules()} - {"", *PLUG_INS}
    assert sorted(r for r in rooms if row(r) is None) == []


def test_there_is_no_import_cycle() -> None:
    assert cycles(all_imports()) == []


@pytest.mark.parametrize(("module", "source"), [
    ("absint.engine.forward", "import absint.domains.box"),
    ("absint.engine.forward", "def f():\n    from absint.domains.box import Box"),
    ("absint.engine.forward", "from importlib import import_module\nimport_module('absint.domains.box')"),
    ("absint.engine.domain", "if TYPE_CHECKING:\n    from absint.engine.forward import analyse"),
    ("absint.model.op", "from absint import domain"),
    ("absint.model.op", "from absint.engine.context import Context"),
    ("absint.model.graph", "import onnx"),
    ("absint.numeric.rounding", "from absint.model.op import Op"),
    ("absint.domains.box", "from absint.frontends import data"),
    ("absint.domains.box", "from absint.engine.forward import box_step"),
    ("absint.domains.box", "from absint.model.ops.relu import Relu"),
    ("absint.frontends.data", "from absint.domains.box import Box"),
    ("absint.frontends.data", "from absint.analyses.verify import verify"),
    ("absint.analyses.verify", "from absint.cli import main"),
    ("absint.attacks.pgd", "from absint.analyses.verify import verify"),
    ("absint.api", "from absint.analyses.verify import _Run"),
    ("absint.engine.backward.walk", "from absint import verify"),
    ("absint.engine.backward.walk", "import absint.newcomer"),
])
def test_a_planted_import_is_seen(module: str, source: str) -> None:
    assert planted(module, source)


def test_a_planted_cycle_is_seen() -> None:
    imports = dict(all_imports())
    imports["absint.errors"] = (*imports["absint.errors"], Import("absint.registry", "Registry"))
    assert {"absint.errors", "absint.registry"} <= set(cycles(imports))


# ---- M + N ----------------------------------------------------------------------------------------------------------


def words(source: ast.AST) -> set[str]:
    """Identifiers and whole string constants of a module; docstrings and the arguments of `@rule` do not count.

    A registered name counts as a string only (`box` is a fair name for a variable), so strings keep their quotes.
    """
    skipped = set()
    for node in ast.walk(source):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node) is not None:
            skipped.add(id(node.body[0].value))  # type: ignore[attr-defined]
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == "rule":
            skipped |= {id(a) for a in node.args}
    out = set()
    for node in ast.walk(source):
        if isinstance(node, ast.Name):
            out.add(node.id)
        elif isinstance(node, ast.Attribute):
            out.add(node.attr)
        elif isinstance(node, ast.alias):
            out.add(node.name.rpartition(".")[2])
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in skipped:
            out.add(repr(node.value))
    return out


def operator_names() -> set[str]:
    """Class names and ONNX names of the concrete operators."""
    import absint.model.ops  # noqa: F401  # registers them
    from absint.model.op import OPS

    classes = {node.name for path in sorted((ROOT / "absint" / "ops").glob("*.py")) for node in tree(path).body
               if isinstance(node, ast.ClassDef)
               and any(isinstance(m, ast.FunctionDef) and m.name in ("output_shape", "evaluate") for m in node.body)}
    return {*classes, *map(repr, classes), *map(repr, OPS.names())}


def domain_names() -> set[str]:
    """Class names and registered names of the domains."""
    from absint.engine.domain import DOMAINS

    classes = {node.name for path in sorted((ROOT / "domains").glob("*.py")) for node in tree(path).body
               if isinstance(node, ast.ClassDef) and any("Domain" in ast.unparse(base) for base in node.bases)}
    return {*classes, *map(repr, classes), *map(repr, DOMAINS.names())}


def named(source: ast.AST, names: set[str]) -> list[str]:
    return sorted(words(source) & names)


def _files(*rooms: str) -> list[tuple[str, Path]]:
    return [(m, p) for m, p in modules().items() if room(m) in rooms]


def test_the_name_lists_are_not_empty() -> None:
    assert {"Relu", "Gemm", "Conv", "Sum", "'MaxPool'", "'Add'"} <= operator_names()
    assert {"Box", "Zonotope", "DeepPoly", "'box'", "'zonotope'", "'deeppoly'"} <= domain_names()


@pytest.mark.parametrize(("module", "path"), _files("domains", "domain", "substitute", "interpret", "context"))
def test_no_domain_and_no_engine_file_names_an_operator(module: str, path: Path) -> None:
    assert named(tree(path), operator_names()) == []


@pytest.mark.parametrize(("module", "path"), _files("analyses", "attacks", "interpret", "substitute", "context", "domain", "ops", "op"))
def test_no_analysis_and_no_operator_names_a_domain(module: str, path: Path) -> None:
    allowed = {repr(name) for (where, name) in NAMED_DOMAINS if where == module}
    assert set(named(tree(path), domain_names())) <= allowed


def test_no_exception_is_stale() -> None:
    assert all(repr(name) in words(tree(modules()[module])) for module, name in NAMED_DOMAINS)


def test_a_planted_name_is_seen() -> None:
    assert named(ast.parse("def f(op):\n    return isinstance(op, Relu)"), operator_names()) == ["Relu"]
    assert named(ast.parse("def f(op):\n    return type(op).__name__ == 'MaxPool'"), operator_names()) == ["'MaxPool'"]
    assert named(ast.parse("from absint.domains.box import Box"), domain_names()) == ["Box"]
    assert named(ast.parse("if name == 'zonotope':\n    pass"), domain_names()) == ["'zonotope'"]
    assert named(ast.parse("@rule('DeepPoly', 'Relu')\ndef f():\n    'Relu'"), operator_names() | domain_names()) == []


# ---- form -----------------------------------------------------------------------------------------------------------


def form_faults(module: str, text: str) -> Iterator[str]:
    """What a reader would stumble over: sizes, global state, prints, asserts that are more than a hint to the type checker."""
    source = ast.parse(text)
    lines = text.count("\n")
    if lines > 500:
        yield f"{module} has {lines} lines"
    for node in ast.walk(source):
        where = f"{module}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and (node.end_lineno or 0) - node.lineno + 1 > 60:
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


@pytest.mark.parametrize(("module", "path"), sorted(modules().items()))
def test_form(module: str, path: Path) -> None:
    assert list(form_faults(module, path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize("source", [
    "x = 1\n" * 501, "def f():\n" + "    x = 1\n" * 61, "def f():\n    global x\n", "print(1)\n", "eval('1')\n",
    "def f(n):\n    assert n > 0\n", "from math import *\n", "try:\n    pass\nexcept:\n    pass\n",
])
def test_a_planted_fault_of_form_is_seen(source: str) -> None:
    assert list(form_faults("absint.planted", source))


TORCH_SWITCHES = {
    "set_flush_denormal", "set_float32_matmul_precision", "allow_tf32", "set_flags", "use_deterministic_algorithms", "set_default_dtype",
}


def test_only_backend_touches_torch_switches() -> None:
    users = {module for module, path in modules().items() if words(tree(path)) & TORCH_SWITCHES}
    assert users <= {"absint.numeric.backend", "absint.numeric.kernels"}
    assert "absint.numeric.backend" in users
