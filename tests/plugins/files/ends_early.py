"""An analysis of a stranger that ends early, in the way that the option says."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from absint.contract.analysis import Analysis, Item, register_analysis
from absint.contract.common_options import RunOptions
from absint.contract.document import Document
from absint.contract.options import METHOD, option
from absint.contract.run import Run


@dataclass(frozen=True)
class Options(RunOptions):
    way: str = option("", "How it ends.", group=METHOD, binds=False)


@dataclass(frozen=True)
class Record:
    index: int


@register_analysis("ends")
class Ends(Analysis[Options, Record]):
    """Decides the first of two items."""

    Options = Options
    Record = Record

    def items(self, run: Run[Options]) -> Sequence[Item]:
        return [Item(0), Item(1)]

    def decide(self, items: Sequence[Item], run: Run[Options]) -> Iterator[Record]:
        for item in items:
            if item.index and run.options.way == "exit":
                sys.exit(0)
            if item.index and run.options.way == "memory":
                raise MemoryError
            if item.index and run.options.way == "silence":
                return
            yield Record(item.index)

    def document(self, records: Sequence[Record], run: Run[Options]) -> Document:
        return Document()
