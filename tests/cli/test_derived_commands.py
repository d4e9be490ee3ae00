"""Commands, keywords, docs/cli.md and absint/__init__.pyi are made from the options of an analysis, and from nothing else."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location

import numpy as np
import pytest
from places import ROOT

import absint
from absint import samples
from absint.contract.analysis import ANALYSES, analysis_of, function_name, functions
from absint.contract.options import options_of
from absint.registry import load_plugin

NET = samples.network_path("mnist_relu_3x50")
NOISE = ROOT / "tests" / "plugins" / "files" / "noise.py"


def script(name):
    spec = spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("name", "make", "file"), [("make_cli", "page", "PAGE"), ("make_stub", "stub", "STUB")])
def test_no_generated_file_is_stale(name, make, file):
    made = script(name)
    assert getattr(made, file).read_text(encoding="utf-8") == getattr(made, make)(), f"run python docs/{name}.py"


def test_a_changed_option_makes_the_files_stale(monkeypatch):
    """Seen to fail: another default, or another word, is another page and another signature."""
    options = options_of(ANALYSES.get("radius").Options)
    upper = next(one for one in options if one.name == "upper")
    before = script("make_cli").page(), str(inspect.signature(absint.radius))
    monkeypatch.setitem(upper.__dict__, "default", "0.5")
    after = script("make_cli").page(), str(inspect.signature(absint.radius))
    assert before[0] != after[0]
    assert before[1] != after[1]


@pytest.mark.parametrize("name", sorted(ANALYSES))
def test_options_import_the_standard_library_alone(name):
    """Themselves, and the words that options are stated with."""
    module = ANALYSES.get(name).Options.__module__
    look = f"import sys, {module}; print(*(m for m in sys.modules if m.partition('.')[0] not in sys.stdlib_module_names))"
    loaded = subprocess.run([sys.executable, "-S", "-c", f"import sys; sys.path[:0] = {sys.path!r}; {look}"], capture_output=True,
                            text=True, check=True).stdout.split()
    assert {m for m in loaded if m.startswith("absint.") and not m.startswith(("absint.contract", "absint.analyses"))} == set()
    assert {m.partition(".")[0] for m in loaded} <= {"absint", "__main__"}


def test_help_of_every_command_leaves_torch_alone():
    words = [name.split(".") for name in ANALYSES]
    look = ("import sys; from absint.cli.main import main\n"
            f"for words in {[[], *words]!r}:\n    assert main([*words, '--help']) == 0\n    assert main([*words, '--help-all']) == 0\n"
            "print('torch' in sys.modules, 'onnx' in sys.modules, 'numpy' in sys.modules)")
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False False False"


def test_help_shows_what_a_newcomer_needs_and_help_all_the_rest(cli):
    for name in ANALYSES:
        few, every = cli(*name.split("."), "--help").out, cli(*name.split("."), "--help-all").out
        options = [one for one in options_of(ANALYSES.get(name).Options) if one.words.command and not one.words.argument]
        common = [one for one in options if one.words.common]
        assert len(common) <= 24, name
        assert all(_shown(one.word, few) == one.words.common for one in options), name
        assert all(_shown(one.word, every) for one in options), name
    assert cli(*name.split("."), "-h").out == few


def _shown(word, text):
    return any(line.replace("│", " ").split()[:1] == [word] for line in text.splitlines())


@pytest.mark.parametrize("name", sorted(ANALYSES))
def test_the_function_takes_every_option_by_its_keyword(name):
    found = inspect.signature(getattr(absint, function_name(name))).parameters
    analysis = analysis_of(name)
    wanted = {one.keyword: one.default for one in options_of(analysis.Options) if one.words.python}
    assert {key: value.default for key, value in found.items()} == {**wanted, "on_record": None, "progress": False}
    by_position = [key for key, value in found.items() if value.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD]
    assert len(by_position) == len(analysis.positional)


def test_completion_shows_what_there_is():
    assert {"load", "stream", "verify", "verify_query", "bounds", "radius", "Verdict", "Region", "Spec", "VerifyOptions",
            "InstanceResult", "Graph"} <= set(dir(absint))
    assert all(getattr(absint, name) is not None for name in dir(absint))
    assert not [name for name in dir(absint) if name.startswith("_") and name != "__version__"]


def test_one_file_has_everything(cli, tmp_path):
    """A stranger's analysis: command, help, formats, journal, resume, executors, Python function."""
    words = ["noise", NET, "--plugin", NOISE, "--index", "0:3", "--quiet", "--sigma", "0.4"]
    text = cli(*words)
    assert text.code == 0
    assert "noisy copies of 3 inputs" in text.out
    rows = [json.loads(line) for line in cli(*words, "--format", "jsonl").out.splitlines()]
    assert [row["index"] for row in rows] == [0, 1, 2]
    document = json.loads(cli(*words, "--format", "json").out)
    assert document["records"] == rows
    assert document["schema"] == "absint-noise/2"
    assert cli(*words, "--format", "csv").out.splitlines()[0] == "index,predicted,kept"
    journal = tmp_path / "j"
    out = [tmp_path / f"r.{suffix}" for suffix in ("json", "csv", "npz")]
    kept = cli(*words[:4], "--index", "0:2", "--quiet", "--sigma", "0.4", "--journal", journal)
    assert kept.code == 0
    whole = cli(*words, "--journal", journal, "--resume", *(word for path in out for word in ("--out", path)))
    assert whole.code == 0
    assert json.loads(out[0].read_text())["records"] == rows
    assert np.load(out[2])["kept"].tolist() == [row["kept"] for row in rows]
    cli(*words[:-1], "0.5", "--journal", journal, "--resume").fails(3, "E-JOURNAL-MISMATCH]")
    assert "Standard deviation" in cli("noise", "--plugin", NOISE, "--help").out
    load_plugin(NOISE)
    found = absint.noise(NET, index="0:3", sigma=0.4)
    assert [record.kept for record in found] == [row["kept"] for row in rows]
    assert [record.index for record in absint.stream("noise", NET, index="1:3")] == [1, 2]


def test_a_stranger_whose_options_clash_is_told(cli, plugin):
    clash = plugin("clash", """
        from dataclasses import dataclass
        from absint.contract.analysis import Analysis, register_analysis
        from absint.contract.common_options import DataOptions
        from absint.contract.options import METHOD, option

        @dataclass(frozen=True)
        class Options(DataOptions):
            mine: int = option(1, "Mine.", group=METHOD, word="--journal")

        @dataclass(frozen=True)
        class Record:
            index: int

        @register_analysis("clash")
        class Clash(Analysis[Options, Record]):
            \"\"\"Two options of one word.\"\"\"
            Options, Record = Options, Record
            def decide(self, items, run): yield from ()
            def document(self, records, run): raise NotImplementedError
    """)
    cli("clash", NET, "--plugin", clash).fails(4, "E-PLUGIN-CONTRACT]")


def test_a_command_nobody_knows(cli):
    cli("noise", NET).fails(2, "E-USAGE]")


def test_every_function_is_the_one_of_its_analysis():
    assert set(functions().values()) == set(ANALYSES)
