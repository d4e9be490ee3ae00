"""Rows as cases: what machines that count passes and failures are told of a run. Shared by JUnit and SARIF."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from enum import Enum
from math import isfinite
from typing import Any

from absint.contract.document import Document, Heading, Row
from absint.reports.rows import NOTES, UNASKED, dumps, left_of, ordered, unasked

_VERDICT, _INDEX, _REASON = "verdict", "index", "reason"
_SECONDS = ("time_s", "seconds")
_ERROR = "error"
_RESULT = "result"
NOT_DECIDED, NOTHING_PASSED = "not-decided", "nothing-passed"


class CaseOutcome(Enum):
    """What became of a case."""

    HOLDS = "good"
    FAILS = "bad"
    OPEN = "open"
    PLAIN = ""              # a value that nothing is claimed of
    UNJUDGED = "unjudged"   # it has a verdict that counts neither for nor against
    ERROR = "error"         # it met an error, or the run ended before it was decided


_FAILING = {CaseOutcome.FAILS, CaseOutcome.OPEN, CaseOutcome.ERROR}     # a command's exit code is about these


@dataclass(frozen=True)
class Case:
    """One row. name: of its own in the run, the same in every run.  verdict, reason: its own words, or ''.  message: for people, one line.

    code: of what went wrong, for errors.  seconds: None where the row says none.  values: of the row, by column.
    """

    name: str
    outcome: CaseOutcome
    verdict: str = ""
    reason: str = ""
    message: str = ""
    code: str = ""
    seconds: float | None = None
    values: Mapping[str, Any] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """What became of it in one word for machines: the code of an error, the verdict with its reason, the outcome."""
        return self.code or "-".join(filter(None, (self.verdict or self.outcome.value, self.reason)))

    @property
    def said(self) -> str:
        """One line for people."""
        return ": ".join(filter(None, (self.kind, self.message)))


def cases_of(heading: Heading, rows: Sequence[Row], document: Document) -> list[Case]:
    """A case a row in the order of their index, then what has no row: items that met errors, items that were not decided.

    Items that a run lost are errors, never passes: they stand in `values["failures"]`, and what was not reached in
    `summary["remaining"]`. Where the command fails although no case does (all are misclassified), there is a case that says so.
    """
    failures = [one for one in document.values.get("failures") or () if isinstance(one, Mapping)]
    by_index = {one.get(_INDEX): one for one in failures}
    by_name = {one.get("name"): one for one in failures}
    found: list[Case] = []
    told: list[Mapping[str, Any]] = []
    for row in ordered(rows):
        case = _case(heading, row)
        failure = by_index.get(row.values[_INDEX]) if _INDEX in row.values else by_name.get(case.name)
        if failure is not None:
            told.append(failure)
            case = _failed(case, failure)
        found.append(case)
    unseen = [one for one in failures if one not in told]
    found += [_failed(Case(str(one.get("name") or f"{_INDEX} {one.get(_INDEX)}"), CaseOutcome.ERROR), one) for one in unseen]
    missing = [index for index in document.summary.get("remaining") or () if index not in by_index]
    found += [Case(f"{_INDEX} {index}", CaseOutcome.ERROR, message="the run ended before", code=NOT_DECIDED) for index in missing]
    found += _of_the_run(document, {case.outcome for case in found})
    return [replace(case, name=name) for case, name in zip(found, _names([case.name for case in found]), strict=True)]


def _of_the_run(document: Document, seen: Set[CaseOutcome]) -> Iterator[Case]:
    """What no item says: more items than are listed, an error of the whole run, and whatever else it fails for."""
    more = left_of(document) - len(document.summary.get("remaining") or ())
    if more > 0:
        yield Case("others", CaseOutcome.ERROR, message=f"{more} more items: the run ended before", code=NOT_DECIDED)
    if unasked(document):
        yield Case("items", CaseOutcome.ERROR, message=UNASKED, code=NOT_DECIDED)
    if document.error is not None:
        yield Case(_RESULT, CaseOutcome.ERROR, message=document.error.what, code=document.error.code)
    elif document.exit_code and not (more > 0 or unasked(document) or seen & _FAILING):
        yield Case(_RESULT, CaseOutcome.ERROR, message=f"the command ends with exit code {document.exit_code}: nothing passed",
                   code=NOTHING_PASSED)


def _case(heading: Heading, row: Row) -> Case:
    verdict, reason = (value if isinstance(value := row.values.get(key), str) else "" for key in (_VERDICT, _REASON))
    told = {_INDEX, _VERDICT, _REASON, *_SECONDS}     # elsewhere; how long it took differs from run to run
    message = ", ".join(f"{column} {cell}" for column in heading.shown if column not in told and (cell := row.cells.get(column, "")))
    outcome = CaseOutcome(row.tone) if row.tone in ("good", "bad", "open") else CaseOutcome.UNJUDGED if verdict else CaseOutcome.PLAIN
    if verdict == _ERROR:
        outcome = CaseOutcome.ERROR
        said = row.values.get(NOTES)
        message = "; ".join(map(str, said)) if isinstance(said, list) and said else message
    code = reason if outcome is CaseOutcome.ERROR else ""
    if row.cut and outcome is CaseOutcome.OPEN:
        outcome, code, message = CaseOutcome.ERROR, NOT_DECIDED, "the limit of the whole run ended it"
    seconds = next((float(row.values[key]) for key in _SECONDS if _number(row.values.get(key))), None)
    return Case(_identity(heading, row), outcome, verdict, reason, message, code, seconds, row.values)


def _number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and isfinite(value)


def _failed(case: Case, failure: Mapping[str, Any]) -> Case:
    code, message = str(failure.get("code") or _ERROR), str(failure.get("what") or case.message)
    return replace(case, outcome=CaseOutcome.ERROR, code=code, message=message)


def _identity(heading: Heading, row: Row) -> str:
    """The index, and the words that stand before the first number or verdict: a domain, a tensor, the files of a query."""
    return " ".join(_words(heading.columns, row.values)) or "result"


def _words(columns: Iterable[str], values: Mapping[str, Any]) -> Iterator[str]:
    for column in columns:
        value = values.get(column)
        if column == _INDEX:
            yield f"{_INDEX} {value}"
        elif not isinstance(value, str) or column == _VERDICT:
            return
        else:
            yield value


def _names(wanted: Sequence[str]) -> list[str]:
    """Each with a number behind it where it is there before."""
    seen: Counter[str] = Counter()
    made: set[str] = set()
    names = []
    for name in wanted:
        seen[name] += 1
        own = name if seen[name] == 1 else f"{name} ({seen[name]})"
        while own in made:
            seen[name] += 1
            own = f"{name} ({seen[name]})"
        made.add(own)
        names.append(own)
    return names


def plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """As JSON has them, whatever they are."""
    found: dict[str, Any] = json.loads(dumps(dict(values)))
    return found


def flat(values: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    """Names with dots and values as text, of JSON: of mappings in mappings; of lists those of plain values; None and '' are left out."""
    for name, value in values.items():
        whole = f"{before}{name}"
        if isinstance(value, dict):
            yield from flat(value, f"{whole}.")
        elif isinstance(value, bool):
            yield whole, str(value).lower()
        elif isinstance(value, list):
            if value and not any(isinstance(item, (dict, list)) for item in value):
                yield whole, "; ".join(map(str, value))
        elif value is not None and value != "":
            yield whole, str(value)
