"""Commands that are no analysis, too, take an option of one value once: of two, the last would silently win."""

from __future__ import annotations

from collections import Counter
from itertools import takewhile
from typing import Any

from typer.core import TyperCommand, TyperOption

from absint.errors import UsageError


class OnceCommand(TyperCommand):
    """A command that refuses what is given twice."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As typer does, after a look at the words. Raises UsageError E-USAGE."""
        counts = Counter(word.partition("=")[0] for word in takewhile(lambda word: word != "--", args))
        for one in self.params:
            if isinstance(one, TyperOption) and not one.multiple and not one.is_flag and sum(counts[word] for word in one.opts) > 1:
                raise UsageError("E-USAGE", f"{one.opts[0]} is given twice", where=one.opts[0],
                                 hint="one on stdout, each other one by its ending: --out a.csv --out b.json" if "--format" in one.opts
                                 else "give it once")
        return super().parse_args(ctx, args)
