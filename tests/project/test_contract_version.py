"""Plug-ins say which version of the contract they were written for; others are refused by name, before they run."""

from __future__ import annotations

import os
import sys
from importlib.metadata import EntryPoint
from types import ModuleType

import pytest

from absint import registry
from absint.cli import doctor
from absint.engine.domain import DOMAINS
from absint.errors import PluginError
from absint.model.ops import relu
from absint.registry import CONTRACT, Registry, load_entry, load_plugin

NEXT = CONTRACT + 1
REGISTERS = """
from absint.engine.domain import register_domain
from absint.domains.box import Box

@register_domain("cv")
class Cv(Box):
    pass
"""


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.setattr(DOMAINS, "_entries", dict(DOMAINS._entries))

    def write(text, name="stranger.py"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    yield write
    for name in ("stranger", "edited"):
        sys.modules.pop(f"absint_plugin_{name}", None)


def refused(call, *words):
    with pytest.raises(PluginError) as caught:
        call()
    assert caught.value.code == "E-PLUGIN-CONTRACT"
    assert all(word in caught.value.render() for word in words), caught.value.render()


@pytest.mark.parametrize("line", ["", f"ABSINT_CONTRACT = {CONTRACT}\n", f"ABSINT_CONTRACT: int = {CONTRACT}\n"])
def test_a_file_of_this_contract_is_taken(file, line):
    load_plugin(file(line + REGISTERS))
    assert "cv" in DOMAINS._entries


@pytest.mark.parametrize("version", [0, NEXT])
@pytest.mark.parametrize("rest", [REGISTERS, "from absint.search.frontier import Nothing\n", "raise SystemExit\n"])
@pytest.mark.parametrize("annotation", ["", ": int"])
def test_a_file_of_another_contract_is_refused_before_it_runs(file, version, rest, annotation):
    path = file(f"{rest}ABSINT_CONTRACT{annotation} = {version}\n")
    refused(lambda: load_plugin(path), "'stranger'", str(path), f"version {version}", f"version {CONTRACT}", "hint:")
    assert "cv" not in DOMAINS._entries
    assert "absint_plugin_stranger" not in sys.modules


@pytest.mark.parametrize("written", ["'1'", "1.0", "True", "1 + 0"])
def test_a_version_is_a_whole_number_written_out(file, written):
    refused(lambda: load_plugin(file(f"ABSINT_CONTRACT = {written}\n{REGISTERS}")), "no whole number", f"ABSINT_CONTRACT = {CONTRACT}")


@pytest.mark.parametrize("module", ["stranger_cv", "stranger_cv.deep.er"])
@pytest.mark.parametrize("kind", ["class", "function", "class method", "instance"])
def test_every_kind_of_registry_asks_the_module_or_the_package_around_it(monkeypatch, module, kind):
    said = ModuleType("stranger_cv")
    said.ABSINT_CONTRACT = NEXT
    monkeypatch.setitem(sys.modules, "stranger_cv", said)
    thing = type("Thing", (), {"make": classmethod(lambda cls: cls), "__module__": module})

    def function():
        pass

    function.__module__ = module
    given = {"class": thing, "function": function, "class method": thing.make, "instance": thing()}[kind]
    for noun in ("domain", "operator", "format", "solver"):
        refused(lambda noun=noun: Registry(noun, "absint.none").register("cv")(given), f"the {noun} plug-in 'cv'", str(NEXT))


def test_the_nearest_declaration_counts(monkeypatch):
    outer, inner = ModuleType("stranger_cv"), ModuleType("stranger_cv.inner")
    outer.ABSINT_CONTRACT, inner.ABSINT_CONTRACT = NEXT, CONTRACT
    monkeypatch.setitem(sys.modules, "stranger_cv", outer)
    monkeypatch.setitem(sys.modules, "stranger_cv.inner", inner)
    found = Registry("domain", "absint.none")
    found.add("cv", type("Thing", (), {"__module__": "stranger_cv.inner"}))
    assert found.names() == ["cv"]


@pytest.mark.parametrize("place", ["package", "module"])
@pytest.mark.parametrize("body", ["thing = dict\n", "raise ImportError('moved')\n"])
def test_an_entry_point_of_another_contract_is_refused_also_where_it_cannot_be_imported(file, monkeypatch, place, body):
    line = f"ABSINT_CONTRACT = {NEXT}\n"
    name = f"cv_{place}_{len(body)}"
    root = file(line if place == "package" else "", f"{name}/__init__.py")
    file(body + (line if place == "module" else ""), f"{name}/plug.py")
    monkeypatch.syspath_prepend(root.parent.parent)
    point = EntryPoint("cv", f"{name}.plug:thing", "absint.none")
    refused(lambda: load_entry(point, "domain"), "the domain plug-in 'cv'", f"{name}.plug:thing", f"version {NEXT}")
    monkeypatch.setattr(doctor, "_GROUPS", ("none",))
    monkeypatch.setattr(doctor, "entry_points", lambda group: [point])
    (check,) = doctor._plugins()
    assert not check.ok
    assert "E-PLUGIN-CONTRACT" in check.found


def test_an_entry_point_of_this_contract_that_does_not_import_is_a_load_error(file, monkeypatch):
    file(f"ABSINT_CONTRACT = {CONTRACT}\nraise ImportError('moved')\n", "cv_broken.py")
    monkeypatch.syspath_prepend(file("", "x.py").parent)
    with pytest.raises(PluginError, match="moved") as caught:
        load_entry(EntryPoint("cv", "cv_broken:thing", "absint.none"), "domain")
    assert caught.value.code == "E-PLUGIN-LOAD"


def test_built_in_plugins_are_held_to_it_too(monkeypatch):
    monkeypatch.setattr(registry, "CONTRACT", NEXT)
    (point,) = (p for p in DOMAINS._points().values() if p.name == "box")
    refused(lambda: load_entry(point, "domain"), "'box'", f"version {CONTRACT}")
    refused(lambda: Registry("operator", "absint.none").add("Relu", relu.Relu), "'Relu'")


def test_what_runs_is_what_the_file_holds_now(file, monkeypatch):
    """Python's cache of bytecode goes by time and size; a plug-in that was edited within a second would run as it was."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    for value in (3, 4):
        path = file(f"VALUE = {value}\n", "edited.py")
        os.utime(path, (1_000_000_000, 1_000_000_000))
        load_plugin(path)
        assert value == sys.modules["absint_plugin_edited"].VALUE
    assert not (path.parent / "__pycache__").exists()
