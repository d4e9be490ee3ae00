"""Markdown: the records of any analysis as a table, then what they add up to. A whole format."""

from absint.contract.document import Document, Facts, Heading, Row, Table
from absint.contract.record import cell
from absint.errors import printable
from absint.reports.interface import Format, register_format

ABSINT_CONTRACT = 1


@register_format("markdown")
class Markdown(Format):
    """Chosen by `--format markdown` or `--out result.md`; each row is there the moment its item is decided."""

    suffixes, streams = (".md",), True

    def begin(self, heading: Heading) -> None:
        """The columns that people want to see."""
        self.columns = list(heading.shown)
        self.lines(self.columns, ["---"] * len(self.columns))

    def row(self, row: Row) -> None:
        """One record."""
        self.lines([row.cells.get(name, "") for name in self.columns])

    def end(self, document: Document) -> None:
        """Tables, then facts and notes. lead: the answer in the words of a standard, where it has any."""
        parts = [part for section in document.sections for part in section.parts]
        for table in (part for part in parts if isinstance(part, Table)):
            self.lines([], table.columns, ["---"] * len(table.columns), *([cell(value) for value in row] for row in table.rows))
        facts = [item for part in parts if isinstance(part, Facts) for item in part.items]
        said = [("answer", document.lead), *facts, *(("note", note) for note in document.notes)]
        self.lines([], ["", ""], ["---", "---"], *(item for item in said if item[1]))

    def lines(self, *rows) -> None:
        """Cells come from files: a bar or a line feed in one must not end it."""
        for cells in rows:
            shown = (printable(" ".join(text.split())).replace("|", "\\|") for text in cells)
            self.stream.write(f"| {' | '.join(shown)} |\n" if cells else "\n")
        self.stream.flush()
