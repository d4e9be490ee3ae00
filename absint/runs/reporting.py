"""`absint report` from its words to its exit code."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from absint.errors import printable
from absint.reports.outputs import Outputs
from absint.runs.command import chosen_outputs, warning_line
from absint.runs.earlier_results import set_aside_on_failure
from absint.runs.gathered import Gathered
from absint.runs.interrupts import interruptible
from absint.runs.output import check_out
from absint.runs.reported import Reported


def show(paths: Sequence[Path], out: Sequence[Path], format_: str | None, bundle: Path | None = None, *,
         copied: bool = True, model: Path | None = None) -> int:
    """Report the journals; returns the exit code of the run. bundle: where a pack is written, too; copied: with the model in it.

    Raises what `Gathered` and `Outputs` do, and the error that the run itself ended with.
    """
    with interruptible(), set_aside_on_failure() as earlier:
        read: dict[str, Path | None] = {f"journal {place + 1}": path for place, path in enumerate(paths)}
        if bundle is not None:
            from absint.runs.packs import check_place

            check_place(bundle, read)
            earlier.look_at([bundle])
        for file in out:
            check_out(file, read)
        earlier.look_at(out)
        with Gathered(paths) as gathered:
            default = gathered.analysis.default_format(Reported(gathered).run.options)
            with Outputs(chosen_outputs(out, format_, default, read)) as outputs:
                document = Reported(gathered).to(outputs)
            if bundle is not None:
                from absint.runs.packs import Pack

                sys.stderr.write(f"{printable(Pack(bundle, copied=copied, model=model).of(paths))}\n")
        for line in document.warnings:
            sys.stderr.write(f"{warning_line(printable(line))}\n")
        for line in document.remarks:
            sys.stderr.write(f"{printable(line)}\n")
        if document.error is not None:
            raise document.error
        return document.exit_code


def check_pack(pack: Path, model: Path | None, format_: str, *, allowed: bool = False) -> int:
    """Check an evidence pack, and say what was checked; 0 where all of it holds, 1 where some could not be checked, unless that is
    allowed. Raises InputError E-BUNDLE-*."""
    from absint.runs.pack_checks import checked

    with interruptible():
        found = checked(pack, model, allowed=allowed)
    sys.stdout.write(found.as_json() if format_ == "json" else found.as_text())
    return found.exit_code
