"""M + N: who may name an operator, a domain, an analysis. Every rule is first seen to fail on a planted breach."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from functools import cache

import pytest
from places import ROOT
from source_tree import modules, room, tree

# Names of domains outside domains/ that are no choice of an analysis, each with its reason.
NAMED_DOMAINS = {
    ("absint.engine.forward", "box"): "the key under which the engine's own box step keeps a constant",
    ("absint.engine.backward.charges", "linear"): "the key under which a walk keeps what linear nodes cost",
    **{(f"absint.model.ops.{module}", "linear"): "the ONNX mode of that name" for module in ("resize", "sampled")},
    **{(f"absint.analyses.train.{module}", "linear"): "the shape of a schedule" for module in ("options", "schedule")},
    ("absint.analyses.verify.settings", "auto"): "the number format of that name",
    ("absint.analyses.verify.portfolio", "auto"): "the number format of that name",
    ("absint.analyses.errors.options", "auto"): "the number format of that name",
    ("absint.analyses.sweep.options", "auto"): "the number format of that name",
    **{("absint.analyses.sweep.options", name): "a default that the user sees" for name in ("box", "zonotope", "deeppoly")},
    ("absint.analyses.inspect.record", "exact"): "a kind of node",
    **{(f"absint.analyses.{name}.options", "zonotope"): "the default that users read" for name in ("bounds", "validate")},
    **{(f"absint.model.ops.{module}", "alpha"): "the ONNX attribute of that name"
       for module in ("exponential", "gemm", "more_norms", "piecewise", "relu", "smooth")},
    **{("absint.analyses.radius.options", name): "a default that the user sees" for name in ("zonotope", "exact")},
    **{(f"absint.analyses.train.{module}", "auto"): "the augmentation that the data decide, or the order of their axes"
       for module in ("augment", "options", "task")},
    ("absint.analyses.train.options", "box"): "a default that the user sees",
    **{(f"absint.analyses.{name}.options", "box"): "the option of that name, which others exclude" for name in ("bounds", "verify")},
    ("absint.analyses.taboo.options", "lean"): "a default that the user sees",
    ("absint.analyses.global_robustness.options", "auto"): "the order of axes that is decided from the network",
    ("absint.problem.dataset", "auto"): "the order of axes that is decided from the data",
    ("absint.problem.training_data", "auto"): "the order of axes that is decided from the data",
    ("absint.model.layout", "auto"): "the order of axes that is decided from the network",
}


@cache
def words(source: ast.AST) -> frozenset[str]:
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
    return frozenset(out)


@cache
def operator_names() -> set[str]:
    """Class names and ONNX names of the concrete operators."""
    import absint.model.ops  # noqa: F401  # registers them
    from absint.model.op import OPS

    classes = {node.name for path in sorted((ROOT / "absint" / "model" / "ops").glob("*.py")) for node in tree(path).body
               if isinstance(node, ast.ClassDef)
               and any(isinstance(m, ast.FunctionDef) and m.name in ("output_shape", "evaluate") for m in node.body)}
    return {*classes, *map(repr, classes), *map(repr, OPS.names())}


@cache
def domain_names() -> set[str]:
    """Class names and registered names of the domains, and of the strategies made of them."""
    from absint.engine.domain import DOMAINS
    from absint.search.strategy import STRATEGIES

    folders = ("domains", "absint/search/bounders", "absint/search/strategies")
    files = [path for folder in folders for path in sorted((ROOT / folder).glob("*.py"))]
    bases = ("Domain", "Wrapper", "Strategy", "Programming")
    classes = {node.name for path in files for node in tree(path).body
               if isinstance(node, ast.ClassDef) and any(name in ast.unparse(base) for base in node.bases for name in bases)}
    return {*classes, *map(repr, classes), *map(repr, DOMAINS.names()), *map(repr, STRATEGIES.names())}


def named(source: ast.AST, names: set[str]) -> list[str]:
    return sorted(words(source) & names)


def naming(part: str, names: set[str], exceptions: Mapping[tuple[str, str], str]) -> dict[str, list[str]]:
    """Module -> the names that it says and has no reason for, for every file of a room."""
    allowed = {(module, repr(name)) for module, name in exceptions}
    found = {module: [name for name in named(tree(path), names) if (module, name) not in allowed]
             for module, path in modules().items() if room(module) == part}
    assert found, part
    return {module: those for module, those in found.items() if those}


def test_the_name_lists_are_not_empty() -> None:
    assert {"Relu", "Gemm", "Conv", "Sum", "'MaxPool'", "'Add'"} <= operator_names()
    assert {"Box", "Zonotope", "DeepPoly", "'box'", "'zonotope'", "'deeppoly'"} <= domain_names()
    assert {"Auto", "Exact", "Milp", "Refine", "Refined", "'auto'", "'exact'", "'milp'", "'refine'"} <= domain_names()


@pytest.mark.parametrize("part", ["domains", "engine", "search", "attacks", "analyses"])
def test_no_domain_and_no_engine_file_names_an_operator(part: str) -> None:
    assert naming(part, operator_names(), {}) == {}


@pytest.mark.parametrize("part", ["analyses", "attacks", "engine", "model", "encode", "problem"])
def test_no_analysis_and_no_operator_names_a_domain(part: str) -> None:
    assert naming(part, domain_names(), NAMED_DOMAINS) == {}


# Names of analyses where nothing else may know them, each with its reason.
NAMED_ANALYSES = {
    **{("absint.cli.derived", name): "the order of `absint --help`" for name in ("verify", "query", "radius", "bounds", "inspect")},
    **{("absint.cli.slips", name): "a word that was typed, or the command that was meant"
       for name in ("verify", "query", "radius", "bounds", "sweep")},
    ("absint.reports.junit", "errors"): "an attribute of JUnit's", ("absint.reports.sarif", "query"): "a key of headers: the query's file",
}


@cache
def analysis_names() -> set[str]:
    """Registered names and class names of the analyses."""
    from absint.contract.analysis import ANALYSES

    return {*map(repr, ANALYSES.names()), *(ANALYSES.get(name).__name__ for name in ANALYSES)}


@pytest.mark.parametrize("part", ["contract", "runs", "reports", "cli", "api"])
def test_no_format_and_no_run_names_an_analysis(part: str) -> None:
    assert naming(part, analysis_names(), NAMED_ANALYSES) == {}


def test_a_planted_name_of_an_analysis_is_seen() -> None:
    assert named(ast.parse("if run.analysis == 'radius':\n    pass"), analysis_names()) == ["'radius'"]
    assert named(ast.parse("from absint.analyses.radius.analysis import Radius"), analysis_names()) == ["Radius"]


def test_no_exception_is_stale() -> None:
    assert all(repr(name) in words(tree(modules()[module])) for module, name in NAMED_DOMAINS)


def test_a_planted_name_is_seen() -> None:
    assert named(ast.parse("def f(op):\n    return isinstance(op, Relu)"), operator_names()) == ["Relu"]
    assert named(ast.parse("def f(op):\n    return type(op).__name__ == 'MaxPool'"), operator_names()) == ["'MaxPool'"]
    assert named(ast.parse("from absint.domains.box import Box"), domain_names()) == ["Box"]
    assert named(ast.parse("if name == 'zonotope':\n    pass"), domain_names()) == ["'zonotope'"]
    assert named(ast.parse("@rule('DeepPoly', 'Relu')\ndef f():\n    'Relu'"), operator_names() | domain_names()) == []
