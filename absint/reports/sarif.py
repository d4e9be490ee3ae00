"""SARIF 2.1.0: a result for each instance that is not verified, for code scanning of a continuous integration.

Source: OASIS, Static Analysis Results Interchange Format (SARIF) Version 2.1.0, sections 3.13 (log) to 3.58 (notification).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from hashlib import sha256
from pathlib import PurePath, PurePosixPath, PureWindowsPath
from typing import Any, ClassVar
from urllib.parse import quote

from absint.contract.document import Document, Heading
from absint.errors import printable
from absint.reports.cases import NOT_DECIDED, Case, CaseOutcome, cases_of, plain
from absint.reports.interface import KeptFormat
from absint.reports.rows import UNASKED, caveats, dumps, left_of, unasked

_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_ABOUT = ("model", "query", "instances", "data")    # what of a header comes first among the artifacts
_CHANGING = (   # what is no part of the question: how, when and by what it was answered, which inputs were chosen, what is said of files
    "command", "started", "versions", "numerics", "domain", "path", "accuracy", "instances", "notes", "caveats", "passes", "assumptions",
)
_LONG = 200     # letters of a property
_RULES = {      # by outcome: what is seen on top of a result, and what helps
    CaseOutcome.FAILS: ("The property is violated, or an alarm is raised",
                    "A counterexample was found, replayed on the model and proved, or the analysis raised an alarm. "
                    "--witness DIR keeps counterexamples as files."),
    CaseOutcome.OPEN: ("Neither proved nor refuted",
                   "Nothing is known of this instance: the method was too imprecise, or a limit ended it. Try a higher --timeout, "
                   "a more precise --domain, or a smaller radius."),
    CaseOutcome.ERROR: ("An error, or no time, left this instance without an answer",
                    "The message says what went wrong. It is no verdict of any kind."),
    CaseOutcome.UNJUDGED: ("Counted neither for nor against", "It says nothing of the property, such as a misclassified one."),
    CaseOutcome.HOLDS: ("The property holds, proved", "Every real input of the region satisfies the property."),
    CaseOutcome.PLAIN: ("A value", "The analysis reports a value and judges nothing."),
}
_LEVELS = {CaseOutcome.FAILS: "error", CaseOutcome.OPEN: "warning", CaseOutcome.ERROR: "error", CaseOutcome.UNJUDGED: "note"}
_KINDS = {CaseOutcome.HOLDS: "pass", CaseOutcome.PLAIN: "informational"}


class OpenAs(Enum):
    """How what is unknown is shown; as `open` a result has SARIF's own word for it, which has no level."""

    WARNING = "warning"
    ERROR = "error"
    NOTE = "note"
    OPEN = "open"


@dataclass(frozen=True)
class SarifOptions:
    """unknown: warning, error, note, or open (`kind` "open", level "none").  passed: whether what holds has a result as well."""

    unknown: OpenAs = OpenAs.WARNING
    passed: bool = False


class Sarif(KeptFormat):
    """Written at the end: one run with its tool, rules, artifacts, invocation and results.

    What has a result: whatever is falsified, unknown, misclassified or met an error. Results are at the first character of the model's
    file, as a network has no lines. Fingerprints are of the model, the data, the question and the instance: the same in every run.
    """

    suffixes: ClassVar[tuple[str, ...]] = (".sarif",)
    fits: ClassVar[tuple[str, ...]] = (".json",)
    Options: ClassVar[type[Any]] = SarifOptions

    def end(self, document: Document) -> None:
        """The log."""
        cases = cases_of(self.heading, self.rows, document)
        found = [case for case in cases if self.options.passed or case.outcome not in _KINDS]
        rules: dict[str, dict[str, Any]] = {}
        artifacts = list(_artifacts(self.heading.header))
        question = _question(self.heading)
        results = [self._result(case, rules, artifacts, question) for case in found]
        driver: dict[str, Any] = {"name": "absint", "rules": list(rules.values())}
        version = _mapping(self.heading.header.get("versions")).get("absint")
        if version:
            driver |= {"version": version}
        run = {"tool": {"driver": driver}, "automationDetails": {"id": _category(self.heading, artifacts, question)},
               "invocations": [_invocation(self.heading, document)], "artifacts": artifacts, "results": results,
               "columnKind": "unicodeCodePoints", "properties": {"summary": document.summary, "header": self.heading.header}}
        log = {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}
        self.stream.write(json.dumps(json.loads(dumps(log)), indent=1) + "\n")
        self.stream.flush()

    def _result(self, case: Case, rules: dict[str, dict[str, Any]], artifacts: list[dict[str, Any]], question: str) -> dict[str, Any]:
        rule = _rule(case, self.heading)
        kind, level = self._weight(case.outcome)
        places = list(rules)
        if rule not in rules:
            rules[rule] = _described(rule, case.outcome, level)
            places.append(rule)
        print_ = _digest([question, case.name])
        location: dict[str, Any] = {"logicalLocations": [{"fullyQualifiedName": f"{self.heading.analysis}/{printable(case.name)}"}]}
        if artifacts:
            start = {"startLine": 1, "startColumn": 1, "endLine": 1, "endColumn": 1}
            uri = artifacts[0]["location"]["uri"]
            location["physicalLocation"] = {"artifactLocation": {"uri": uri, "index": 0}, "region": start}
        text = f"{self.heading.analysis} {case.name}: {case.said}"
        return {"ruleId": rule, "ruleIndex": places.index(rule), "kind": kind, "level": level, "message": {"text": _message(text)},
                "locations": [location], "properties": _bag(case.values),
                "partialFingerprints": {"absint/v1": print_, "primaryLocationLineHash": print_}}

    def _weight(self, outcome: CaseOutcome) -> tuple[str, str]:
        """Kind and level; whatever is no failure has level none (section 3.27.10)."""
        unknown = self.options.unknown
        if outcome in _KINDS:
            return _KINDS[outcome], "none"
        if outcome is CaseOutcome.OPEN:
            return ("open", "none") if unknown is OpenAs.OPEN else ("fail", unknown.value)
        return "fail", _LEVELS[outcome]


def _bag(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a row that are short; a witness has files of its own."""
    return {name: value for name, value in plain(values).items() if value not in (None, "", []) and len(dumps(value)) <= _LONG}


def _rule(case: Case, heading: Heading) -> str:
    """An error's code, or the verdict with its reason; of what has no verdict the analysis and its tone."""
    if case.outcome is CaseOutcome.ERROR:
        return printable(case.code) or "error"
    if case.verdict:
        return printable("-".join(filter(None, (case.verdict, case.reason))))
    return f"{heading.analysis}-{case.outcome.value or 'value'}"


def _described(rule: str, outcome: CaseOutcome, level: str) -> dict[str, Any]:
    short, full = _RULES[outcome]
    name = re.sub(r"[^\w]+", " ", rule).title().replace(" ", "")
    return {"id": rule, "name": name or "Result", "shortDescription": {"text": f"{short} ({rule})."}, "fullDescription": {"text": full},
            "help": {"text": full}, "defaultConfiguration": {"level": level}}


def _invocation(heading: Heading, document: Document) -> dict[str, Any]:
    """How the run went. The exit code is left out where something else than the result decides it, an interrupt or a lost device."""
    failures = [failure for failure in document.values.get("failures") or () if isinstance(failure, Mapping)]
    left = {*(document.summary.get("remaining") or ())} - {failure.get("index") for failure in failures}
    more = left_of(document) - len(document.summary.get("remaining") or ())
    complete = not left and more <= 0 and not unasked(document) and document.error is None
    said: list[dict[str, Any]] = [_said(f"{failure.get('name')}: {failure.get('what')}", "error", str(failure.get("code")))
                                  for failure in failures]
    if document.error is not None:
        said.append(_said(document.error.what, "error", document.error.code))
    if left:
        said.append(_said(f"{len(left) + more} items are not decided: the run ended before", "error", NOT_DECIDED))
    if unasked(document):
        said.append(_said(UNASKED, "error", NOT_DECIDED))
    known = caveats(heading)
    said += [_said(text, "warning") for text in (*document.warnings, *((known,) if known else ()))]
    said += [_said(text, "note") for text in dict.fromkeys(document.notes) if text not in known]
    found: dict[str, Any] = {"executionSuccessful": complete and not failures, "toolExecutionNotifications": said}
    if not left:
        found["exitCode"] = document.exit_code if document.error is None else document.error.exit_code
    if heading.header.get("command"):
        found["commandLine"] = printable(str(heading.header["command"]))
    started = str(heading.header.get("started", ""))
    if re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", started):
        found["startTimeUtc"] = f"{started[:19]}Z"
    return found


def _said(text: str, level: str, code: str = "") -> dict[str, Any]:
    return {"message": {"text": _message(text)}, "level": level, **({"descriptor": {"id": code}} if code else {})}


def _message(text: str) -> str:
    """Plain text of a message: brackets would be links, braces placeholders (section 3.11)."""
    plain = printable(text).replace("\\", "\\\\").replace("[", "\\[").replace("]", "\\]")
    return plain.replace("{", "{{").replace("}", "}}") or "-"


# ---- what the run is about -------------------------------------------------------------------------------------------------


def _artifacts(header: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Every file that the header names with its hash, the model first, each once."""
    seen: set[str] = set()
    for name in sorted(header, key=lambda key: _ABOUT.index(key) if key in _ABOUT else len(_ABOUT)):
        value = _mapping(header[name])
        for one in (value, *(_mapping(part) for part in value.get("networks") or ())):
            path = one.get("path")
            if not isinstance(path, str) or not path or (uri := uri_of(path)) in seen:
                continue
            seen.add(uri)
            digest = one.get("sha256")
            hashed = {"hashes": {"sha-256": digest}} if isinstance(digest, str) and digest else {}
            yield {"location": {"uri": uri}, "roles": ["analysisTarget"], **hashed}


def uri_of(path: str) -> str:
    """A path as a reference (RFC 3986): relative ones stay so, every other letter than the unreserved ones is escaped."""
    windows = PureWindowsPath(path)
    rooted = bool(windows.drive and windows.root)
    pure: PurePath = windows if rooted else PurePosixPath(path)
    try:
        raw = os.fsencode(pure.as_posix())
    except UnicodeEncodeError:
        raw = pure.as_posix().encode("utf-8", "backslashreplace")
    whole = quote(raw, safe="/")
    if rooted and not whole.startswith("//"):
        return f"file:///{whole}"
    if rooted:      # a share: its host stands in the place of one
        return f"file:{whole}"
    return f"file://{whole}" if whole.startswith("/") else whole


def _question(heading: Heading) -> str:
    """A digest of what is asked of which bytes: not of when, how, where or by which version."""
    return _digest([heading.analysis, _asked(heading.header)])


def _asked(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _asked(item) for name, item in value.items() if name not in _CHANGING}
    return [_asked(item) for item in value] if isinstance(value, (list, tuple)) else value


def _category(heading: Heading, artifacts: list[dict[str, Any]], question: str) -> str:
    """What tells this run from others of one commit; the last part, which would tell runs apart, is empty."""
    about = artifacts[0]["location"]["uri"] if artifacts else "-"
    return f"absint/{heading.analysis}/{about}/{question[:12]}/"


def _digest(value: Any) -> str:
    return sha256(json.dumps(json.loads(dumps(value)), sort_keys=True).encode()).hexdigest()


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
