"""The documentation's complete files are the files that are tested, and its commands exist."""

from __future__ import annotations

import re

from places import ROOT

PLUGIN = ROOT / "tests/plugins/absint_example_plugin"
FILES = ("thrifty.py", "noise.py", "asciidoc_table.py", "shuffled_executor.py", "median.py", "four_arrays.py",
         "trades.py")


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / page).read_text(), flags=re.DOTALL)


def test_the_extending_page_shows_the_tested_files_word_for_word():
    shown = blocks("docs/extending.md", "python") + blocks("docs/extending.md", "toml")
    files = [*(PLUGIN / "absint_example_plugin" / name for name in ("shrink.py", "fastlin.py", "centred.py")),
             *(ROOT / "tests/plugins/files" / name for name in FILES),
             PLUGIN / "pyproject.toml"]
    assert shown == [file.read_text() for file in files]


def test_the_readme_examples_run(capsys):
    first, serving, alarms = blocks("README.md", "python")
    exec(compile(first, "README.md", "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines[:5]] == ["verified"] * 5
    exec(compile(serving, "README.md", "exec"), {})
    threshold, valid, noise = capsys.readouterr().out.splitlines()
    assert threshold.startswith("threshold 0.0")
    assert valid.count("True") >= 4
    assert "True" not in noise
    exec(compile(alarms, "README.md", "exec"), {})
    fitted, negatives = capsys.readouterr().out.splitlines()
    assert fitted.startswith("0 alarms")
    assert int(negatives.split()[0]) > 50


def test_links_lead_somewhere():
    for page in ("README.md", *(str(p.relative_to(ROOT)) for p in (ROOT / "docs").glob("*.md"))):
        for target in re.findall(r"\]\(([^)#]+)\)", (ROOT / page).read_text()):
            assert target.startswith("http") or ((ROOT / page).parent / target).exists(), f"{page}: {target}"
