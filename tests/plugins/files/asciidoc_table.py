"""AsciiDoc: the records of any analysis as a table, then what they add up to. A whole format, with an option."""

from dataclasses import dataclass

from absint.contract.document import Document, Facts, Heading, Row, Table
from absint.contract.record import cell
from absint.errors import printable
from absint.reports.interface import Format, register_format

ABSINT_CONTRACT = 1


@dataclass(frozen=True)
class AsciidocOptions:
    """notes: whether what is to be known of the model is told. `--format asciidoc:notes=off` leaves it out."""

    notes: bool = True


@register_format("asciidoc")
class Asciidoc(Format):
    """Chosen by `--format asciidoc` or `--out result.adoc`; each row is there the moment its item is decided."""

    suffixes, streams, Options = (".adoc",), True, AsciidocOptions

    def begin(self, heading: Heading) -> None:
        """The columns that people want to see."""
        self.columns = list(heading.shown)
        self.lines("[%header]\n|===", self.columns)

    def row(self, row: Row) -> None:
        """One record."""
        self.lines("", [row.cells.get(name, "") for name in self.columns])

    def end(self, document: Document) -> None:
        """Tables, then facts and notes. lead: the answer in the words of a standard, where it has any."""
        parts = [part for section in document.sections for part in section.parts]
        for table in (part for part in parts if isinstance(part, Table)):
            self.lines("|===\n\n[%header]\n|===", table.columns, *([cell(value) for value in row] for row in table.rows))
        facts = [item for part in parts if isinstance(part, Facts) for item in part.items]
        notes = [("note", note) for note in document.notes] if self.options.notes else []
        self.lines("|===\n\n[cols=2]\n|===", *(item for item in (("answer", document.lead), *facts, *notes) if item[1]))
        self.stream.write("|===\n")
        self.stream.flush()

    def lines(self, before: str, *rows) -> None:
        """Cells come from files: a bar or a line feed in one must not end it."""
        shown = (" ".join(f"|{printable(' '.join(text.split())).replace('|', '{vbar}')}" for text in cells) for cells in rows)
        self.stream.write("".join(f"{line}\n" for line in (before, *shown) if line))
        self.stream.flush()
