"""JUnit XML: a test case for each record, for what counts passes and failures of a continuous integration."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import PurePath
from typing import Any, ClassVar
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from absint.contract.document import Document, Heading
from absint.errors import printable
from absint.reports.cases import Case, CaseOutcome, cases_of, flat, plain
from absint.reports.interface import KeptFormat

_NO_XML = re.compile("[\ufffe\uffff]")      # no characters of XML 1.0; what else is none, `printable` writes as escapes
_LONG = 200                                 # letters of a property of a case: a witness has its own files
_UTC = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")


class UnknownAs(Enum):
    """What an instance is that is neither verified nor falsified."""

    SKIPPED = "skipped"
    FAILURE = "failure"
    PASSED = "passed"


@dataclass(frozen=True)
class JunitOptions:
    """unknown: skipped, failure, or passed (the property `outcome` of the case then says open)."""

    unknown: UnknownAs = UnknownAs.SKIPPED


class Junit(KeptFormat):
    """Written at the end: one suite, cases in the order of their index. A counterexample is a failure, an error is an error.

    What has a verdict that counts neither for nor against, such as misclassified, is skipped; a record without any claim passes.
    An item that was not decided is an error: a run that was cut short never looks like one that passed.
    """

    suffixes: ClassVar[tuple[str, ...]] = (".xml",)
    Options: ClassVar[type[Any]] = JunitOptions

    def end(self, document: Document) -> None:
        """The suite, in ASCII: right in whatever encoding the stream has."""
        cases = cases_of(self.heading, self.rows, document)
        root = Element("testsuites")
        suite = SubElement(root, "testsuite")
        _properties(suite, _facts(self.heading, document))
        place = _place(self.heading)
        kinds = Counter(_append(suite, case, place, self.options.unknown) for case in cases)
        seconds = document.summary.get("seconds")
        total = float(seconds) if isinstance(seconds, (int, float)) else sum(case.seconds or 0.0 for case in cases)
        counts = {"tests": len(cases), "failures": kinds["failure"], "errors": kinds["error"], "skipped": kinds["skipped"]}
        written = {name: str(count) for name, count in counts.items()} | {"time": f"{total:.3f}"}
        for element in (root, suite):
            element.attrib.update(name=f"absint {_text(self.heading.analysis)}", **written)
        started = _UTC.match(str(self.heading.header.get("started", "")))
        suite.attrib.update(timestamp=started[0] if started else "1970-01-01T00:00:00", hostname="localhost")
        if document.notes:
            SubElement(suite, "system-out").text = "\n".join(_text(note) for note in dict.fromkeys(document.notes))
        indent(root)
        self.stream.write(f"<?xml version='1.0' encoding='utf-8'?>\n{tostring(root, 'us-ascii', xml_declaration=False).decode('ascii')}\n")
        self.stream.flush()


def _append(suite: Element, case: Case, place: str, unknown: UnknownAs) -> str:
    """The element of a case; what it counts as."""
    element = SubElement(suite, "testcase", classname=place, name=_text(case.name), time=f"{case.seconds or 0.0:.6f}")
    said = (item for item in flat(plain(case.values)) if len(item[1]) <= _LONG)
    _properties(element, [("outcome", case.outcome.value or "none"), *said])
    kind = {CaseOutcome.FAILS: "failure", CaseOutcome.ERROR: "error", CaseOutcome.UNJUDGED: "skipped",
            CaseOutcome.OPEN: unknown.value}.get(case.outcome, "passed")
    if kind != "passed":
        child = SubElement(element, kind, type=_text(case.kind), message=_text(case.said))
        if kind != "skipped":
            child.text = _text(case.message)
    return kind


def _properties(element: Element, items: Iterable[tuple[str, str]]) -> None:
    known = SubElement(element, "properties")
    for name, value in items:
        SubElement(known, "property", name=_text(name), value=_text(value))


def _facts(heading: Heading, document: Document) -> Iterable[tuple[str, str]]:
    yield from flat(plain(heading.header))
    yield from flat(plain({"summary": document.summary}))
    yield "exit_code", str(document.exit_code if document.error is None else document.error.exit_code)


def _place(heading: Heading) -> str:
    """A class name by which viewers group: the analysis and the model's file."""
    model = heading.header.get("model")
    path = str(model.get("path") or "") if isinstance(model, Mapping) else ""
    stem = re.sub(r"[^\w-]+", "_", PurePath(path).name).strip("_")
    return _text(".".join(filter(None, ("absint", heading.analysis, stem))))


def _text(text: str) -> str:
    """What XML 1.0 can hold: control characters and lone surrogates, which no escape of its own can say, as text."""
    return _NO_XML.sub("\N{REPLACEMENT CHARACTER}", printable(text))
