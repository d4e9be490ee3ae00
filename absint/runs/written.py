"""What a run writes besides its result: places are made sure of before any work; a folder of pictures, one a figure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from absint.contract.document import Document, Heading
from absint.contract.options import Option, options_of
from absint.errors import InputError
from absint.reports.interface import Format, drawing
from absint.runs.output import check_out, check_writable, opened_file


def prepare_written(options: Any, read: dict[str, Path | None]) -> None:
    """Make the folders that the options name for writing, and try the files; those come to what is `read`, by word.

    Raises UsageError E-OUT for a file that something else of the run is, InputError E-OUT for a place that cannot be written.
    """
    make_folders(options)
    words = {one.name: one.word for one in options_of(type(options))}
    for one in options_of(type(options)):
        value = getattr(options, one.name)
        if one.words.writes == "file" and value is not None:
            path = Path(value)
            _try_file(path, one, {word: other for word, other in read.items() if word != words.get(one.words.replaces)})
            read[one.word] = path


def make_folders(options: Any) -> None:
    """Make the folders that the options name for writing. Raises InputError E-OUT for a place that cannot be one."""
    for one in options_of(type(options)):
        value = getattr(options, one.name)
        if one.words.writes == "folder" and value is not None:
            _make_folder(Path(value), one)


def _make_folder(path: Path, one: Option) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError("E-OUT", f"no folder can be made there: {error.strerror}", where=str(path),
                         hint=f"give {one.word} another path") from error


def _try_file(path: Path, one: Option, others: Mapping[str, Path | None]) -> None:
    """It is written at the end, perhaps."""
    check_out(path, dict(others), one.word)
    check_writable(path, one.word)


@dataclass(frozen=True)
class Drawings:
    """A folder of pictures. suffix: of each; kind: the format that draws it."""

    folder: Path
    suffix: str
    kind: type[Format]

    @staticmethod
    def of(options: Any) -> Drawings | None:
        """What the options `plots` and `plot_format` ask for. Raises UsageError E-PLOT-FORMAT, UnsupportedError E-PLOT-MISSING."""
        folder = getattr(options, "plots", None)
        if folder is None:
            return None
        suffix = f".{options.plot_format.lower().lstrip('.')}"
        kind = drawing(Path(f"figure{suffix}"), "--plot-format")
        kind.check()
        return Drawings(Path(folder), suffix, kind)

    def draw(self, heading: Heading, document: Document) -> None:
        """Each figure of the document into a file of its name. Raises what `opened_file` does."""
        for figure in document.figures:
            with opened_file(self.folder / f"{figure.name}{self.suffix}", "--plots") as stream:
                picture = self.kind(stream, self.suffix)
                picture.begin(heading)
                picture.end(replace(document, figures=(figure,)))
