"""The result of a run, made again from its journals: nothing is decided, and no model or data is read.

Where the last end of the run speaks of all records, it is shown as it was. Else (a run that was killed, or journals of several
machines) the analysis sums up the records, where it can without the network; else they are counted, and the report says so.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from absint.contract.analysis import facts
from absint.contract.document import Document, Heading, Row
from absint.contract.record import columns_of, lines_of, row_of, running_of, shown_of
from absint.contract.run import Run, seconds_of
from absint.contract.spans import Spans
from absint.reports.outputs import Outputs
from absint.runs.gathered import Gathered
from absint.runs.header import origin
from absint.runs.opening import Opening

_MOST = 20_000          # records that an analysis sums up anew: it has all of them in memory
_MOST_ASKED = 1 << 22   # items, of which each has a number in memory then
_MOST_REMAINING = 10_000
_COUNTED = "made of the journal alone, whose run did not end: records are counted, and nothing else is said of them"
_LOST = ("the run was given objects of a Python program (", "), of which a journal keeps no value, and without them this analysis sums up "
         "no records: every record is in --out FILE.jsonl; the program itself, with resume=True, sums them up")
_SUMMED = "made of the journal alone, whose run did not end: times are sums over the records"
_JOINED = "made of journals of several runs: times are sums over the records"
_UNASKED = "the journal is of an older format, which does not say which items were asked for: these may be some of them"
_AS_KEPT = "the rows are the records as the journal keeps them: what the run showed of each needs the network"


@dataclass
class _Tally:
    """What was shown, counted on the way."""

    words: Counter[str]
    tones: Counter[str]


class Reported:
    """The result of gathered journals, on its way to outputs."""

    def __init__(self, gathered: Gathered) -> None:
        self.gathered, self.analysis = gathered, gathered.analysis
        self.opening = gathered.opening or _old_opening(gathered)
        self.asked = gathered.asked or Spans.of(gathered.indices())
        self.run = self._run()
        self.as_kept = not self._shown_alike()
        self._tally = _Tally(Counter(), Counter())

    def to(self, outputs: Outputs) -> Document:
        """Everything, row by row."""
        ended = self.gathered.ended()
        outputs.begin(self.heading())
        for record in self.gathered.records():
            self._tally.words[self.analysis.word(record)] += 1
            self._tally.tones[self.analysis.tone(record)] += 1
            for row in self.rows(record):
                outputs.row(row)
        for record in () if ended is None else ended[1]:
            for row in self.rows(record, kept=False):
                outputs.row(row)
        document = self._noted(self._anew() if ended is None else ended[0])
        outputs.end(document)
        return document

    # ---- what formats are given ------------------------------------------------------------------------------------

    def heading(self) -> Heading:
        """As the run had it, with the journals."""
        heading = self.opening.heading
        header = {**heading.header, "journals": [one.facts for one in self.gathered.sources]}
        if self.opening.merged:
            header["merged"] = list(self.opening.merged)
        if self.as_kept:
            kind = self.analysis.Record
            heading = replace(heading, columns=tuple(one.name for one in columns_of(kind)), shown=shown_of(kind), running=running_of(kind))
        return replace(heading, header=header, total=len(self.asked))

    def rows(self, record: Any, *, kept: bool = True) -> Iterator[Row]:
        """Of one record. kept: whether the journal keeps it, and does not leave it to be tried again."""
        whole = self.analysis.tone(record), self.analysis.word(record)
        for one in (record,) if self.as_kept else self.analysis.rows(record, self.run):
            tone, word = whole if self.as_kept else self.analysis.row_tone(record, one)
            lines = lines_of(one) or [{}]
            yield Row(row_of(one), lines[0], tone, tuple(lines[1:]), word, not kept)

    def _shown_alike(self) -> bool:
        """Whether the analysis makes the rows of its records without the network: the first record tells."""
        if self.opening.heading.columns == tuple(one.name for one in columns_of(self.analysis.Record)):
            return True
        try:
            rows = [one for record in self._first() for one in self.analysis.rows(record, self.run)]
            return all(tuple(one.name for one in columns_of(type(row))) == self.opening.heading.columns for row in rows)
        except Exception:   # whatever a stranger's analysis raises where the run has no network
            return False

    def _first(self) -> Iterator[Any]:
        for record in self.gathered.records():
            yield record
            return

    def _run(self) -> Run[Any]:
        """The run as far as the journal says it; options are those of defaults where some cannot be had."""
        try:
            options = self.opening.options_as(self.analysis.Options)
            self.whole = self.enough = True
        except Exception:   # objects of a Python program, or another version's options
            options, self.whole = self.analysis.Options(), False
            self.enough = bool(self.opening.lost) and {*self.opening.lost} <= self.analysis.unread
            if self.enough:
                options, self.enough = self._without_lost(options)
        return Run(str(self.gathered.binding["analysis"]), options, str(self.opening.heading.header.get("command", "")),
                   timeout=seconds_of(getattr(options, "timeout", None), "--timeout"),
                   header=self.opening.heading.header, binding=self.gathered.binding)

    def _without_lost(self, defaults: Any) -> tuple[Any, bool]:
        """Those that the journal keeps, the others as they are by default; and whether they could be had."""
        try:
            return replace(self.opening, lost=()).options_as(self.analysis.Options), True
        except Exception:   # another version's options
            return defaults, False

    # ---- what it adds up to ----------------------------------------------------------------------------------------

    def _noted(self, document: Document) -> Document:
        """With what is to be known of the journals."""
        notes = [f"{one.path}: a last line without an end was dropped" for one in self.gathered.sources if one.torn]
        notes += [f"{one.path}: a run is still writing it; this is what it holds now" for one in self.gathered.sources if one.busy]
        notes += [_AS_KEPT] if self.as_kept else []
        return replace(document, notes=(*document.notes, *notes))

    def _anew(self) -> Document:
        """Of the records, by the analysis where it can; with what holds for every run."""
        said = None
        few = self.gathered.count <= _MOST and len(self.asked) <= _MOST_ASKED
        if self.enough and self.gathered.asked is not None and few:
            said = self._summed_up()
        document = self._counted() if said is None else said
        known = self.gathered.asked is not None
        missing, left = self._remaining()
        summary = {"items": len(self.asked), "complete": not missing if known else None, **document.summary, "remaining": left}
        if missing > len(left):
            summary["remaining_count"] = missing
        several = len(self.gathered.sources) > 1 or bool(self.opening.merged)
        why = _COUNTED if said is None else _JOINED if several else _SUMMED
        lost = (", ".join(self.opening.lost).join(_LOST),) if said is None and known and self.opening.lost else ()
        notes = (*document.notes, why, *lost, *(() if known else (_UNASKED,)))
        sections = (*document.sections, *origin(self.opening.heading.header))
        code = max(document.exit_code, 1) if missing or not known else document.exit_code
        return replace(document, sections=sections, summary=summary, notes=notes, exit_code=code)

    def _summed_up(self) -> Document | None:
        """By the analysis; None where it needs what only the run had."""
        try:
            records = tuple(self.gathered.records())
            spent = sum(float(getattr(one, "time_s", None) or 0) for one in records)
            document = self.analysis.document(records, replace(self.run, asked=tuple(self.asked), begin=time.monotonic() - spent))
        except Exception:   # it asked for the network, the data, or what it made of them
            return None
        return document if isinstance(document, Document) else None

    def _remaining(self) -> tuple[int, list[int]]:
        """How many items have no record, and the first of them."""
        missing = len(self.asked) - self.gathered.count
        left: list[int] = []
        if missing:
            known = self.gathered.indices()
            here = next(known, None)
            for index in self.asked:
                if index == here:
                    here = next(known, None)
                elif len(left) < min(missing, _MOST_REMAINING):
                    left.append(index)
                else:
                    break
        return missing, left

    def _counted(self) -> Document:
        """By word; open or bad ones leave the exit code of a run that is not done."""
        words = dict(sorted(self._tally.words.items()))
        text = ", ".join(f"{word} {count}" for word, count in words.items()) or "none"
        lines = facts(("counts", f"{text}; {self.gathered.count} of {len(self.asked)}"))
        return Document({"counts": words}, (lines,), exit_code=int(any(self._tally.tones[tone] for tone in ("bad", "open"))))


def _old_opening(gathered: Gathered) -> Opening:
    """Of a journal whose first line says nothing of the run: what its records are, and what it is bound to."""
    analysis, kind = gathered.analysis, gathered.analysis.Record
    header = {"binding": dict(gathered.binding), "versions": {"absint": gathered.binding.get("absint")}}
    heading = Heading(str(gathered.binding["analysis"]), header, analysis.records, tuple(one.name for one in columns_of(kind)),
                      shown_of(kind), running=running_of(kind))
    return Opening(heading, Spans(), lost=("options",))
