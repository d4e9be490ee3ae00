"""A document of every part, with names out of hostile files, and ways to write one."""

from __future__ import annotations

import io
from math import inf, nan

import numpy as np

from absint.contract.document import Document, Facts, Figure, Heading, Panel, Row, Section, Series, Table

HOSTILE = "a\x1b[2J|\u202e\n,\"é漢\t\r$x_1^2$\ud800"
COLUMNS = ("index", "name", "verdict", "margin", "witness", "more")
HEADING = Heading("demo", {"command": "absint demo", "model": {"path": HOSTILE, "caveats": []}}, "things", COLUMNS,
                  {"index": 5, "name": 8, "verdict": 9, "margin": 8}, total=3)
CAVEAT = "E-MODEL-BATCH: 3x3 outputs are read as 9 classes"
WARNED = Heading("demo", {"model": {"caveats": [CAVEAT]}}, "things", COLUMNS, HEADING.shown)


def row(index: int, name: str = "plain", verdict: str = "verified", margin: object = 0.5, tone: str = "good",
        witness: object = None) -> Row:
    values = {"index": index, "name": name, "verdict": verdict, "margin": margin, "witness": witness, "more": {"k": [1, 2]}}
    return Row(values, {key: "" if value is None else str(value) for key, value in values.items()}, tone)


ROWS = (row(2, HOSTILE), row(0, "much longer than its column is", "falsified", -1.25, "bad", [0.25, 1]),
        row(1, "", "unknown", None, "open"))

LINES = Figure("widths", f"net_$x$ {HOSTILE}", (
    Panel((Series("_box", (0, 1, 2), (0.02, 0.0, nan), marked=True), Series("", (0, 1, 2), (0.5, inf, 2.0), dashed=True),
           Series("other", (0, 1, 2), (1.0, 2.0, 3.0), colour=8)), y_label="width $", logarithmic=True, legend=True, height=3),
    Panel((Series("", (1,), (40.0,), marked=True),), y_label="undecided, %", y_limits=(0, inf), names=(HOSTILE, "b$", "c" * 80)),
), (6.0, 5.0))
BARS = Figure("radii", "radii", (Panel((Series("", y=(3.0, 0.0), edges=(0.0, 0.5, 1.0), colour=1),), title="cat_1: p $= 3", marks=(0.7,)),
                                 Panel((Series("", y=(1.0, nan), edges=(0.0, 0.5, 1.0)),), x_label="radius")), (5.0, 4.0))

DOCUMENT = Document(
    summary={"verified": 1, "least": -inf},
    sections=(Section("", (Facts((("result", "1 of 3"), ("model", HOSTILE))),)), Section("", (Facts((("a longer name", "linf"),)),)),
              Section(HOSTILE, (Table(("layer", HOSTILE), ((HOSTILE, 0.25), ("b", None)), "layers", ("good", "bad")),
                                Facts((("domain", "box"),)))),
              Section("", (Table(("unnamed",), (("cell",),)),))),
    figures=(LINES, BARS),
    values={"seconds": 1.5, "roc": {"one": {"x": [0.0, 1.0], "y": [nan, inf]}}, "notes": "an analysis' own"},
    notes=("first note", HOSTILE, "first note", "third", "fourth", "fifth", "sixth", "seventh"),
)
ARRAYS = {"x": np.arange(6.0).reshape(2, 3), "file": np.array([1, 2]), f"{HOSTILE}.lower": np.zeros(2), "allow_pickle": np.array(["a"]),
          "objects": np.array([{"a": 1}, None], dtype=object), "ragged": [[1], [1, 2]]}


class Pipe(io.StringIO):
    """Text that remembers what was flushed."""

    def __init__(self, *, terminal: bool = False) -> None:
        super().__init__()
        self.seen, self.terminal = "", terminal

    def flush(self) -> None:
        self.seen = self.getvalue()

    def isatty(self) -> bool:
        return self.terminal


def written(kind, document: Document = DOCUMENT, rows=ROWS, heading: Heading = HEADING, stream=None):
    """All that a format writes of a run: text, or bytes."""
    stream = stream or (io.BytesIO() if kind.binary else Pipe())
    made = kind(stream, kind.suffixes[0])
    made.begin(heading)
    for one in rows:
        made.row(one)
    made.end(document)
    return stream.getvalue()
