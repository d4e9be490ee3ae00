"""A document with every part that a page shows, its names full of tags; and what a browser would make of a page."""

from __future__ import annotations

from html.parser import HTMLParser

from documents import BARS, LINES, written

from absint.contract.document import Document, Facts, Field, Figure, Heading, Panel, Picture, Row, Section, Series, Strip, Table
from absint.errors import InputError
from absint.reports.html import Html

TAG = ("<script>window.hacked=1</script><img src=x onerror=window.hacked=2>\"' onload='window.hacked=3' {{7*7}} "
       "</title></style></svg>-->")
GREY = Picture(f"grey {TAG}", (5, 4), bytes(range(20)))
COLOUR = Picture("colour", (3, 2), bytes(range(200, 218)))
PLANE = Field((0.0, 1.0), (0.0, 1.0), ((0.0, 1.0), (1.0, 0.0)), (TAG, "other"))
NAMED = Figure(TAG, f"plane {TAG}", (Panel((Series(TAG, (0.0, 1.0), (1.0, 2.0), marked=True),), TAG, TAG, TAG, names=(TAG, "b"),
                                           legend=True, field=PLANE),), (4.0, 3.0))
COLUMNS = ("index", TAG, "verdict", "margin", "detail", "eps")
HEADER = {"command": f"absint demo {TAG}", "started": TAG, "model": {"path": TAG, "caveats": [TAG], TAG: TAG}, "data": {"name": TAG},
          "versions": {"absint": "0.1.0"}, "assumptions": [TAG]}
HOSTILE_HEADING = Heading(f"demo{TAG}", HEADER, "things", COLUMNS, {"index": 5, TAG: 8, "verdict": 9, "margin": 8}, 3)
SHOWN = Document(
    summary={"complete": False, "remaining": [7], TAG: TAG},
    sections=(Section(TAG, (Table((TAG, "n"), ((TAG, 1.5), ("b", None)), "named", ("good", "bad")), Facts(((TAG, TAG),)))),
              Section("details", (NAMED, Strip(TAG, (GREY, COLOUR))), detail=True)),
    figures=(LINES, BARS), values={TAG: {TAG: [1, 2]}, "many": list(range(500))},
    notes=(TAG, "a note", TAG), warnings=(f"{TAG}\n  hint: {TAG}",),
    remarks=(TAG,), lead=f"unsat\n{TAG}\n", error=InputError("E-DEMO", TAG, where=TAG, hint=TAG))


def row(index: int, tone: str = "good", margin: float = 0.5, verdict: str = "", name: str = TAG) -> Row:
    word = verdict or {"good": "verified", "bad": "falsified", "open": "unknown"}.get(tone, "misclassified")
    values = {"index": index, TAG: name, "verdict": word, "margin": margin, "detail": f"{name} {index}", "eps": "0.01"}
    return Row(values, {key: str(value) for key, value in values.items()}, tone, word=word)


HOSTILE_ROWS = (row(2, "good", 2.5), row(0, "bad", -10.0), row(1, "open", 1e-3), row(3, "", 7.0, name="plain"),
                row(4, "good", 11.0, name="other"))


def page(document: Document = SHOWN, rows=HOSTILE_ROWS, heading: Heading = HOSTILE_HEADING) -> str:
    return written(Html, document, rows, heading)


class Page(HTMLParser):
    """tags: with their attributes, as a browser's parser sees them.  text: all that is shown, styles and scripts left out."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._silent = False
        self.feed(source)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._silent = tag in ("style", "script")

    def handle_endtag(self, tag):
        self._silent = False

    def handle_data(self, data):
        if not self._silent:
            self.text += data

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.tags)
