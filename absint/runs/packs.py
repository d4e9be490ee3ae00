"""Evidence packs: one zip file with what a result is and what it rests on, each member under its SHA-256.

The same run gives the same bytes but for times: names are sorted, time stamps fixed. What is left out is said in the manifest.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib.metadata import distributions
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from absint.contract.document import Document
from absint.contract.options import Option, options_of
from absint.errors import AbsintError, InputError
from absint.problem.dataset import Dataset
from absint.reports.interface import FORMATS, format_of
from absint.reports.outputs import Outputs
from absint.runs.gathered import Gathered
from absint.runs.output import check_out, check_writable, opened_file
from absint.runs.reported import Reported

SCHEMA = "absint-pack/1"
MANIFEST, REPORT, WITNESSES, ROWS, ENVIRONMENT = "manifest.json", "report.json", "witnesses.jsonl", "rows.npz", "environment.txt"
PAGE = "report.html"     # where what it needs is installed
_LARGEST = 1 << 26      # bytes of a file that an option names, to be taken along
_APART = frozenset(("net", "network", "compose", "data", "labels", "plugin", "journal"))      # options whose files go another way, or not


def check_place(path: Path, read: dict[str, Path | None]) -> None:
    """Raise UsageError E-OUT, InputError E-OUT where a pack cannot be written there; nothing is left there."""
    check_out(path, read, "--bundle")
    check_writable(path, "--bundle")
    read["--bundle"] = path


@dataclass
class _Contents:
    """Members by name, with their roles; and what is left out, and why."""

    folder: Path
    roles: dict[str, str] = field(default_factory=dict)
    facts: dict[str, dict[str, Any]] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)

    def place(self, name: str, role: str, **facts: Any) -> Path:
        """Where a member is to be written."""
        self.roles[name], self.facts[name] = role, facts
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path


@dataclass(frozen=True)
class Pack:
    """A pack that will be written. copied: with the model in it.  model: where that lies, if not where the run read it."""

    path: Path
    copied: bool = True
    model: Path | None = None

    def of(self, journals: Sequence[Path], data: Dataset | None = None) -> str:
        """Write the pack of these journals; returns a line that says what is in it. data: the chosen inputs, in the process of the run.

        Raises what `Gathered`, `Reported` and `opened_file` do; InputError E-BUNDLE-MODEL for a `model` that is another one.
        """
        with tempfile.TemporaryDirectory(prefix="absint-") as folder:
            contents = _Contents(Path(folder))
            copies = [_journal_copy(contents, path, place, len(journals)) for place, path in enumerate(journals)]
            with Gathered(copies) as gathered:
                name_members(gathered, contents.folder)
                reported = Reported(gathered)
                header = reported.opening.heading.header
                write_report(reported, contents.place(REPORT, "report"))
                _html(gathered, contents)
                write_witnesses(gathered, contents.place(WITNESSES, "witnesses"))
                _rows(data, header, contents)
                _models(self, header, contents)
                _files(reported.run.options, contents)
            contents.place(ENVIRONMENT, "environment").write_text("".join(f"{line}\n" for line in environment()), encoding="utf-8")
            count = _zipped(self.path, contents, str(gathered.binding["analysis"]), networks_of(header))
        left = f"; left out: {'; '.join(contents.left_out)}" if contents.left_out else ""
        return f"evidence pack {self.path}: {count} files{left}"


def name_members(gathered: Gathered, folder: Path) -> None:
    """Let reports call the journals by their names in the pack."""
    for one in gathered.sources:
        one.path, one.busy = one.path.relative_to(folder), False


def write_report(reported: Reported, path: Path) -> Document:
    """As one JSON document, which is returned, too."""
    with Outputs([(path, format_of("json"))]) as outputs:
        return reported.to(outputs)


def write_witnesses(gathered: Gathered, path: Path) -> None:
    """The counterexamples of the journal, a line each."""
    with path.open("w", encoding="utf-8", newline="\n") as stream:
        for line in gathered.lines():
            if b'"witness"' in line:
                row = json.loads(line)
                if row.get("witness") is not None:
                    stream.write(json.dumps({name: row.get(name) for name in ("index", "label", "predicted", "verdict", "witness")}) + "\n")


def networks_of(header: Mapping[str, Any]) -> list[dict[str, str]]:
    """{"path", "sha256"} of each network, from input to output, or of each that was compared; the hash is that of reports and journals."""
    models = [header["model"]] if header.get("model") else header.get("networks") or []
    networks = [one for model in models for one in model.get("networks", [model])]
    return [{"path": str(one.get("path", "")), "sha256": str(one.get("sha256", ""))} for one in networks]


def environment() -> list[str]:
    """name==version of everything installed."""
    found = {str(one.metadata["Name"]): one.version for one in distributions() if one.metadata["Name"]}
    return [f"{name}=={version}" for name, version in sorted(found.items(), key=lambda one: one[0].lower())]


def _journal_copy(contents: _Contents, path: Path, place: int, count: int) -> Path:
    """Its whole lines: a run that still writes it, or a kill, may have left another one."""
    with ExitStack() as stack:
        stack.enter_context(Gathered([path]))       # what is no journal is refused by the name that the user gave
        copy = contents.place("journal.jsonl" if count == 1 else f"journals/{place + 1:03d}-{path.name}", "journal")
        source, target = stack.enter_context(path.open("rb")), stack.enter_context(copy.open("wb"))
        for line in source:
            if line.endswith(b"\n"):
                target.write(line)
    return copy


def _html(gathered: Gathered, contents: _Contents) -> None:
    """Where that format is there."""
    if "html" not in FORMATS:
        return
    try:
        kind = format_of("html")
        kind.check()
    except AbsintError as error:
        contents.left_out.append(f"{PAGE}: {error.what}")
        return
    with Outputs([(contents.place(PAGE, "report"), kind)]) as outputs:
        Reported(gathered).to(outputs)


def _rows(data: Dataset | None, header: Mapping[str, Any], contents: _Contents) -> None:
    """The inputs that were asked about, as the network was given them: index, inputs, labels."""
    if data is None:
        if header.get("data"):
            contents.left_out.append("rows of the data: a report reads none; --bundle of the run itself takes them along")
        return
    arrays: dict[str, Any] = {"index": data.index, "inputs": data.inputs, **({} if data.labels is None else {"labels": data.labels})}
    npz, suffix = format_of("npz"), ".npz"
    with contents.place(ROWS, "rows").open("wb") as stream:
        from absint.contract.document import Heading

        made = npz(stream, suffix)
        made.begin(Heading("rows", {"name": data.name, "sha256": data.sha256}, "", (), {}))
        made.end(Document(arrays=arrays))


def _models(pack: Pack, header: Mapping[str, Any], contents: _Contents) -> None:
    """The networks, where each is one file that is still what was analysed."""
    networks = networks_of(header)
    if pack.model is not None:
        check_model(pack.model, networks)
    for place, one in enumerate(networks):
        path = Path(one["path"]) if pack.model is None else pack.model
        why = "by choice" if not pack.copied else _unfit(path, one["sha256"])
        if why:
            contents.left_out.append(f"model {path}: {why}; its hash is in the manifest")
        else:
            shutil.copyfile(path, contents.place(f"model/{place + 1}-{path.name}", "model", model_sha256=one["sha256"], place=place))


def check_model(path: Path, networks: Sequence[Mapping[str, str]]) -> None:
    """Raise InputError E-BUNDLE-MODEL where the file is not the one network that was analysed."""
    from absint.model.frontend import model_hash

    if len(networks) != 1:
        raise InputError("E-BUNDLE-MODEL", f"{len(networks)} networks were analysed, and one is given", where=str(path),
                         hint="leave --model out")
    found = model_hash(path)
    if found != networks[0]["sha256"]:
        raise InputError("E-BUNDLE-MODEL", f"its sha256 is {found}, that of the run's network {networks[0]['sha256']}", where=str(path),
                         hint="give the file that was analysed")


def _unfit(path: Path, sha256: str) -> str:
    from absint.model.frontend import model_hash

    try:
        if not path.is_file():
            return "no such file now"
        if model_hash(path) != sha256:
            return "the file is another one now"
        return "" if digest(path) == sha256 else "it lies in several files"
    except AbsintError as error:
        return error.what


def _files(options: Any, contents: _Contents) -> None:
    """Other files that options name to be read: a box, a query, limits of outputs."""
    for one in options_of(type(options)):
        value = getattr(options, one.name)
        if not packable(one) or not isinstance(value, (str, Path)):
            continue
        path = Path(value)
        if path.is_file() and path.stat().st_size <= _LARGEST:
            shutil.copyfile(path, contents.place(f"files/{one.name}-{path.name}", "file", option=one.name))
        else:
            contents.left_out.append(f"{one.word} {path}: no file now, or a large one")


def packable(one: Option) -> bool:
    """Whether the option names a file that a pack has under the option's own name."""
    return one.kind is Path and not one.words.writes and one.name not in _APART


def _zipped(path: Path, contents: _Contents, analysis: str, networks: list[dict[str, str]]) -> int:
    members = [{"name": name, "role": contents.roles[name], "bytes": (contents.folder / name).stat().st_size,
                "sha256": digest(contents.folder / name), **contents.facts[name]} for name in sorted(contents.roles)]
    manifest = {"schema": SCHEMA, "analysis": analysis, "networks": networks, "left_out": contents.left_out, "members": members}
    (contents.folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    with opened_file(path, "--bundle") as stream, ZipFile(stream, "w") as archive:
        for name in sorted((*contents.roles, MANIFEST)):
            entry = ZipInfo(name)       # 1980, the same every time
            entry.compress_type, entry.external_attr = ZIP_DEFLATED, 0o644 << 16
            with archive.open(entry, "w", force_zip64=True) as target, (contents.folder / name).open("rb") as source:
                shutil.copyfileobj(source, target, 1 << 20)
    return len(members) + 1


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    return _digest_of(_chunks(path))


def _digest_of(chunks: Iterator[bytes]) -> str:
    found = hashlib.sha256()
    for chunk in chunks:
        found.update(chunk)
    return found.hexdigest()


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as stream:
        while chunk := stream.read(1 << 20):
            yield chunk
