"""`absint report` and `absint merge`: what journals say, shown again, packed, checked, or joined."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from absint.errors import UsageError

_PLUGIN = typer.Option(help="Python file with the analysis, or a format; repeatable.")
_DEBUG = typer.Option("--debug", help="Show tracebacks.")


_JOURNALS = typer.Argument(metavar="JOURNAL.jsonl...", help="Journals of one run.", show_default=False)
_OUT = typer.Option(help="File for the report instead of stdout; its ending chooses the format; repeatable.")
_FORMAT = typer.Option("--format", help="text, json, jsonl, csv or a plug-in's; on stdout, or in an --out whose ending says nothing.")
_BUNDLE = typer.Option(help="Evidence pack: a zip file of report, journal, model, counterexamples, versions and hashes.")


def report(
    journals: Annotated[list[Path] | None, _JOURNALS] = None,
    *,
    out: Annotated[list[Path] | None, _OUT] = None,
    format_: Annotated[str | None, _FORMAT] = None,
    bundle: Annotated[Path | None, _BUNDLE] = None,
    bundle_model: Annotated[str, typer.Option("--bundle-model", help="copy or hash: the model itself in the pack, or its hash.")] = "copy",
    check: Annotated[Path | None, typer.Option(help="Instead: check an evidence pack, and replay its counterexamples.")] = None,
    model: Annotated[Path | None, typer.Option(help="With --bundle or --check: the model, where it lies elsewhere.")] = None,
    allow_unreplayed: Annotated[bool, typer.Option("--allow-unreplayed", help="With --check: exit code 0 though not all could be checked.")
                                ] = False,
    plugin: Annotated[list[Path] | None, _PLUGIN] = None,
    debug: Annotated[bool, _DEBUG] = False,
) -> Callable[[], int]:
    """Show the result of a run from its journals again, without repeating it.

    Exit code: that of the run; 1 where items have no record yet. With --check: 0 where the pack is what it was and all of it could be
    checked; 1 where nothing is wrong, but counterexamples were not replayed or the question could not be asked anew; 3 where something is.
    """
    pack = _Pack(bundle, bundle_model, check, model, allow_unreplayed)
    return lambda: _report(tuple(journals or ()), tuple(out or ()), format_, pack, tuple(plugin or ()))


def merge(
    journals: Annotated[list[Path], _JOURNALS],
    out: Annotated[Path, typer.Option(help="The journal that is written.", show_default=False)],
    plugin: Annotated[list[Path] | None, _PLUGIN] = None,
    debug: Annotated[bool, _DEBUG] = False,
) -> Callable[[], int]:
    """Join journals of one run whose items were decided on several machines. Journals of different runs are refused."""
    return lambda: _merge(tuple(journals), out, tuple(plugin or ()))


@dataclass(frozen=True)
class _Pack:
    """What is said of packs, by option."""

    bundle: Path | None
    kind: str
    check: Path | None
    model: Path | None
    allowed: bool


def _report(journals: tuple[Path, ...], out: tuple[Path, ...], format_: str | None, pack: _Pack, plugin: tuple[Path, ...]) -> int:
    from absint.registry import load_plugin
    from absint.runs.reporting import check_pack, show

    for file in plugin:
        load_plugin(file)
    if pack.check is not None:
        if journals or out or pack.bundle is not None:
            raise UsageError("E-USAGE", "--check reads a pack, and nothing else", where="--check",
                             hint="leave journals, --out and --bundle out")
        if format_ not in (None, "text", "json"):
            raise UsageError("E-USAGE", f"--check says what it found as text or json, not as '{format_}'", where="--format",
                             hint="--format json, or leave it away")
        return check_pack(pack.check, pack.model, format_ or "text", allowed=pack.allowed)
    if pack.allowed:
        raise UsageError("E-USAGE", "only a check replays counterexamples", where="--allow-unreplayed", hint="add --check FILE.zip")
    if not journals:
        raise UsageError("E-USAGE", "Missing argument 'JOURNAL.jsonl...'", hint="give what --journal wrote, or a pack to --check")
    if pack.kind not in ("copy", "hash"):
        raise UsageError("E-USAGE", f"no such choice: '{pack.kind}'", where="--bundle-model", hint="copy or hash")
    return show(journals, out, format_, pack.bundle, copied=pack.kind == "copy", model=pack.model)


def _merge(journals: tuple[Path, ...], out: Path, plugin: tuple[Path, ...]) -> int:
    from absint.registry import load_plugin
    from absint.runs.merging import merge as joined

    for file in plugin:
        load_plugin(file)
    sys.stderr.write(f"{joined(journals, out)}\n")
    return 0
