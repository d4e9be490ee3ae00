"""The page on evidence: its example runs and prints what the page shows, and the proof by hand uses those numbers."""

from __future__ import annotations

import re

from places import ROOT

PAGE = (ROOT / "docs/evidence.md").read_text()


def test_the_example_prints_what_the_page_shows(capsys):
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    (shown,) = re.findall(r"```text\n(.*?)```", PAGE, flags=re.DOTALL)
    exec(compile(code, "evidence.md", "exec"), {})
    assert capsys.readouterr().out == shown


def test_the_proof_by_hand_is_of_what_is_shown():
    for said in ("0.5 row[0] + 0.5 row[1] - row[2]", "linear[2] <= 0: at least 0.125", "minimise c[5] + c[6] - c[7] + 0.125",
                 "left of linear[2]"):
        assert said in PAGE
