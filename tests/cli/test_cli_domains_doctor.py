"""What is installed, and whether it works."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint

import pytest

from absint.cli import doctor
from absint.engine.domain_options import domain_options
from absint.numeric import kernels
from absint.numeric.kernels import KernelReport


@pytest.fixture
def quick_kernels(monkeypatch):
    """The kernels have a test of their own."""
    monkeypatch.setattr(kernels, "check_kernels", lambda device, *, full: [KernelReport("matmul", "float32", True, 0.1)])


def test_domains_as_json(cli):
    rows = {row["name"]: row for row in json.loads(cli("domains", "--format", "json").out)}
    assert rows.keys() >= {"box", "zonotope", "deeppoly"}
    zonotope = rows["zonotope"]
    assert zonotope["class"] == "absint.domains.zonotope.Zonotope"
    assert zonotope["options"].items() >= {"max_generators": 0, "product": True}.items()
    assert "Singh" in zonotope["source"]
    assert zonotope["package"] == "absint"
    assert zonotope["error"] is None


def test_domains_as_text(cli):
    done = cli("domains")
    assert done.code == 0
    assert "max_generators  merge the smallest symbols" in done.out
    assert "(default 0)" in done.out
    assert "Gowal" in done.out
    assert max(map(len, done.out.splitlines())) <= 80


def test_every_option_of_every_domain_is_explained(cli):
    rows = {row["name"]: row for row in json.loads(cli("domains", "--format", "json").out)}
    assert {(name, option) for name, row in rows.items() if row["package"] == "absint" for option in row["options"]
            if not row["help"][option]} == set()
    assert rows["alpha"]["help"]["intermediate"] == rows["deeppoly"]["help"]["intermediate"]
    assert rows["zonotope"]["help"]["product"] == "False takes relaxation intervals from the zonotope alone, as DeepZ does"
    assert "not explained" not in cli("domains").out


def test_options_are_explained_by_the_docstring_or_the_field():
    @dataclass(frozen=True)
    class Base:
        """What it is. near: not at the start of a line, so no option.

        Something else: with a colon, but not the name of a field.
        one, two: said of both.  three: on
        two lines. With more.
        After it.
        """

        near: int = 0
        one: int = 1
        two: bool = True
        three: str = "x"

    @dataclass(frozen=True)
    class Derived(Base):
        """Another one.

        two: said again.
        """

        four: float = field(default=0.5, metadata={"help": "by its field"})
        five: tuple[int, ...] = ()

    said = {one.name: one.help for one in domain_options(Derived)}
    assert said == {"near": "", "one": "said of both", "two": "said again", "three": "on two lines. With more", "four": "by its field",
                    "five": ""}
    assert [one.default for one in domain_options(Derived)] == [0, 1, True, "x", 0.5, "()"]


@pytest.mark.parametrize("command", ["domains", "doctor", "supports", "bounds", "inspect", "radius"])
def test_short_help(cli, command):
    done = cli(command, "-h")
    assert done.code == 0
    assert "--debug" in done.out or "--help-all" in done.out


def test_a_broken_package_is_listed_with_its_error(cli, monkeypatch):
    point = EntryPoint("broken", "a_module_that_is_nowhere:Thing", "absint.domains")
    monkeypatch.setattr("absint.engine.domain.DOMAINS._points", lambda: {"broken": point})
    rows = {row["name"]: row for row in json.loads(cli("domains", "--format", "json").out)}
    assert "a_module_that_is_nowhere" in rows["broken"]["error"]
    assert cli("domains").code == 0


def test_a_plugin_file_is_listed(cli, plugin):
    file = plugin("listed", "from absint.engine.domain import register_domain\nfrom absint.domains.box import Box\n"
                            "@register_domain('listed')\nclass Listed(Box):\n    pass\n")
    rows = {row["name"]: row for row in json.loads(cli("domains", "--plugin", file, "--format", "json").out)}
    assert rows["listed"]["package"] == "absint_plugin_listed"


@pytest.mark.parametrize("command", ["domains", "doctor"])
def test_unknown_format(cli, command):
    cli(command, "--format", "xml").fails(2, "E-FORMAT-UNKNOWN]")


def test_doctor_finds_nothing_wrong(cli, quick_kernels):
    done = cli("doctor")
    assert done.code == 0, done.out
    assert "FAIL" not in done.out
    for word in ("torch", "onnxruntime", "device cpu", "memory", "sample mnist.npz", "domains zonotope", "analyses bounds",
                 "executors local", "kernels"):
        assert word in done.out


def test_doctor_as_json(cli, quick_kernels):
    document = json.loads(cli("doctor", "--format", "json").out)
    assert document["ok"] is True
    assert all(check["ok"] for check in document["checks"])


@pytest.mark.parametrize(("break_it", "line", "mend"), [
    (lambda m: m.setattr(kernels, "check_kernels", lambda device, *, full: [KernelReport("conv2d", "float32", False, 1e4)]),
     "kernel conv2d: float32, 1e+04 times the bound", "pip install --force-reinstall torch"),
    (lambda m: m.setattr(doctor, "version", missing), "torch: not installed", "pip install 'torch'"),
    (lambda m: m.setattr(doctor, "import_module", unloadable),
     "numpy: does not import: no library", "pip install --force-reinstall 'numpy'"),
    (lambda m: m.setattr(doctor, "_available", lambda: 1000), "memory", "--memory 500M"),
    (lambda m: m.setattr(doctor, "entry_points", lambda group: [EntryPoint("x", "nowhere:X", group)]), "domains x:", "pip install"),
    (lambda m: m.setattr("absint.samples._FOLDER", __import__("pathlib").Path("/nowhere")), "samples: ", "pip install --force-reinstall"),
    (lambda m: m.setattr(doctor, "_NEEDED_PYTHON", (4, 0)), "python:", "install Python 4.0"),
])
def test_doctor_names_what_is_wrong_and_what_mends_it(cli, quick_kernels, monkeypatch, break_it, line, mend):
    break_it(monkeypatch)
    done = cli("doctor")
    assert done.code == 5
    assert f"FAIL  {line}" in done.out
    assert mend in done.out
    assert done.err == ""


def test_doctor_of_a_device_that_is_not_there(cli, quick_kernels, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    done = cli("doctor", "--device", "cuda")
    assert done.code == 5
    assert "FAIL  device cuda" in done.out


def missing(name):
    raise doctor.PackageNotFoundError(name)


def unloadable(name):
    raise ImportError("no library")


def test_a_vast_value_does_not_fill_the_screen(cli):
    done = cli("doctor", "--format", "x" * 50_000)
    assert done.code == 2
    assert len(done.err) < 2000
    assert " ... " in done.err
