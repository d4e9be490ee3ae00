"""Whether an evidence pack is what it was: hashes, journal against report, the model, and every counterexample replayed anew.

No verdict `verified` is proved again here: the pack has no proof of it.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any
from zipfile import BadZipFile, ZipFile

from absint.errors import InputError
from absint.registry import own_version
from absint.runs.gathered import Gathered
from absint.runs.journal import DAMAGED
from absint.runs.member_sizes import check_sizes, links, repeated
from absint.runs.packs import (
    ENVIRONMENT,
    MANIFEST,
    PAGE,
    REPORT,
    ROWS,
    SCHEMA,
    WITNESSES,
    check_model,
    digest,
    name_members,
    networks_of,
    write_report,
    write_witnesses,
)
from absint.runs.questions import shown_unbound
from absint.runs.replays import Replayed, ReplayFiles, again_of, replays
from absint.runs.reported import Reported

_MOST_MEMBERS = 1000
_LARGEST_MANIFEST = 1 << 24
_LARGEST_TEXT = 1 << 28     # bytes of a report that is looked into: where it differs from the journal is said
_SHOWN = 10
_NOT_PROVED = (f"not checked: 'verified' verdicts (a pack holds no proof of them), {ROWS} against the file of the data, and who made the "
               "pack (the manifest is not signed)")
_PARTIAL = "nothing is wrong, but not all could be checked (exit code 1; --allow-unreplayed: 0)"
_PARTIAL_ALLOWED = "nothing is wrong, but not all could be checked, which --allow-unreplayed allows"


@dataclass
class Checked:
    """What was checked, line by line; nothing of it failed. replayed: of the counterexamples.

    allowed: whether it is enough that nothing failed, though not all could be replayed.
    """

    manifest_sha256: str
    lines: list[str] = field(default_factory=list)
    replayed: Replayed = field(default_factory=Replayed)
    allowed: bool = False

    @property
    def complete(self) -> bool:
        """Whether the question was asked anew, where a run has one to ask, and every counterexample replayed."""
        return not (self.replayed.unasked or self.replayed.left_count)

    @property
    def exit_code(self) -> int:
        """1 where something could not be checked that can be in other packs, unless that is allowed."""
        return int(not (self.complete or self.allowed))

    def as_text(self) -> str:
        """A line each; the last but one says whether all of it was checked."""
        whole = "complete" if self.complete else _PARTIAL_ALLOWED if self.allowed else _PARTIAL
        return "".join(f"{line}\n" for line in (*self.lines, f"check: {whole}", f"manifest sha256: {self.manifest_sha256}"))

    def as_json(self) -> str:
        """One document."""
        left = [{"count": count, "reason": why} for why, count in self.replayed.left.items()]
        witnesses = {"replayed": self.replayed.held, "not_replayed": self.replayed.left_count, "reasons": left}
        said = {"ok": self.exit_code == 0, "complete": self.complete, "manifest_sha256": self.manifest_sha256, "counterexamples": witnesses}
        return json.dumps({**said, "checked": self.lines}, indent=2) + "\n"


def checked(pack: Path, model: Path | None = None, *, allowed: bool = False) -> Checked:
    """Check everything. model: in place of the one in the pack, if it is the same.  allowed: see `Checked`.

    Raises InputError E-BUNDLE-PATH, -FORMAT, -MEMBERS, -SIZE (before anything is unpacked), -CHANGED (every member that is), -DISAGREE
    (what report and journal say differently), -MODEL, -WITNESS (counterexamples that are none), and what `Gathered` raises of the journal.
    """
    try:
        with ZipFile(pack) as archive, tempfile.TemporaryDirectory(prefix="absint-") as folder:
            manifest, raw = _manifest(archive, pack)
            found = Checked(hashlib.sha256(raw).hexdigest(), allowed=allowed)
            place = Path(folder) / "pack"       # what is made anew lies beside it, where no member can be
            check_sizes(archive, manifest, str(pack))
            _unpack(archive, manifest, pack, place)
            found.lines.append(f"hashes: {len(manifest)} members are as the manifest says, and there is no other one")
            _contents(pack, place, manifest, json.loads(raw), found)
            _model(pack, place, manifest, model, found)
            return found
    except (BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError) as error:
        raise InputError("E-BUNDLE-FORMAT", f"no whole zip file: {error}", where=str(pack), hint="give what --bundle wrote") from error
    except OSError as error:
        raise InputError("E-BUNDLE-PATH", f"cannot be read: {error.strerror or error}", where=str(pack), hint="check its path") from error


# ---- members -------------------------------------------------------------------------------------------------------------


def _manifest(archive: ZipFile, pack: Path) -> tuple[dict[str, dict[str, Any]], bytes]:
    """Members by name, and the manifest's bytes. Raises InputError E-BUNDLE-FORMAT, -MEMBERS."""
    names = [one.filename for one in archive.infolist()]
    odd = repeated(names)
    odd += [f"{name!r} is no plain name" for name in names if not _plain_name(name)]
    odd += [f"{name} lies in {one}, which is a file" for name in names for one in PurePosixPath(name).parents if str(one) in names]
    odd += links(archive)
    if len(names) > _MOST_MEMBERS:
        odd.append(f"{len(names)} members are more than any pack has")
    if odd:
        raise _members(pack, odd)
    try:
        raw = b"" if MANIFEST not in names else _read(archive, MANIFEST, _LARGEST_MANIFEST)
        manifest = json.loads(raw)
        listed = [(str(one["name"]), {**one, "bytes": int(one["bytes"]), "sha256": str(one["sha256"])}) for one in manifest["members"]]
        placed = [int(one["place"]) for _, one in listed if one.get("role") == "model"]
        known = manifest["schema"] == SCHEMA
    except DAMAGED as error:
        raise InputError("E-BUNDLE-FORMAT", f"there is no {MANIFEST} of a pack in it", where=str(pack),
                         hint="give what --bundle wrote") from error
    if not known:
        raise InputError("E-BUNDLE-FORMAT", f"the pack has the form {str(manifest['schema'])[:40]}, this absint reads {SCHEMA}",
                         where=str(pack), hint="use the absint that wrote it")
    members = dict(listed)
    odd = [f"{name} is missing" for name in members if name not in names]
    odd += [f"{name} is in no manifest" for name in names if name not in members and name != MANIFEST]
    odd += [f"{one} in the manifest" for one in repeated(name for name, _ in listed)]
    odd += [f"{name} is missing in the manifest" for name in (REPORT, WITNESSES, ENVIRONMENT) if name not in members]
    odd += [f"network {place + 1} is there {placed.count(place)} times" for place in sorted({*placed})
            if placed.count(place) > 1 or place < 0]
    if not any(one.get("role") == "journal" for one in members.values()):
        odd.append("there is no journal")
    if odd:
        raise _members(pack, odd)
    return members, raw


def _members(pack: Path, odd: list[str]) -> InputError:
    return InputError("E-BUNDLE-MEMBERS", "the pack does not hold what its manifest says", where=str(pack), details=odd[:_SHOWN],
                      hint="ask for the pack anew: this one was changed")


def _plain_name(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return bool(parts) and not name.startswith("/") and not name.endswith("/") and "\\" not in name and ":" not in name and (
        "\0" not in name and all(part not in ("", ".", "..") for part in name.split("/")))


def _read(archive: ZipFile, name: str, most: int) -> bytes:
    with archive.open(name) as stream:
        content = stream.read(most + 1)
    if len(content) > most:
        raise ValueError(f"{name} is larger than {most} bytes")
    return content


def _unpack(archive: ZipFile, members: Mapping[str, Mapping[str, Any]], pack: Path, folder: Path) -> None:
    """Every member to its place, hashed on the way; never more bytes than the manifest says."""
    wrong = []
    for name, one in members.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        found, count = hashlib.sha256(), 0
        try:
            with archive.open(name) as source, target.open("wb") as out:
                while count <= one["bytes"] and (chunk := source.read(1 << 20)):
                    found.update(chunk)
                    count += len(chunk)
                    out.write(chunk)
        except (BadZipFile, zlib.error, EOFError) as error:
            wrong.append(f"{name}: {error}")
            continue
        if count != one["bytes"]:
            wrong.append(f"{name}: {'more' if count > one['bytes'] else 'fewer'} bytes than the manifest says, which has {one['bytes']}")
        elif found.hexdigest() != one["sha256"]:
            wrong.append(f"{name}: sha256 {found.hexdigest()}, the manifest has {one['sha256']}")
    if wrong:
        raise InputError("E-BUNDLE-CHANGED", f"{len(wrong)} members are not what was packed", where=str(pack), details=wrong[:_SHOWN],
                         hint="ask for the pack anew: this one was changed")


# ---- what they say -------------------------------------------------------------------------------------------------------


def _contents(pack: Path, folder: Path, members: Mapping[str, Mapping[str, Any]], manifest: Mapping[str, Any], found: Checked) -> None:
    """Report and witnesses follow from the journal."""
    journals = sorted(name for name, one in members.items() if one.get("role") == "journal")
    with Gathered([folder / name for name in journals]) as gathered:
        name_members(gathered, folder)
        again = again_of(folder)
        again.mkdir()
        reported = Reported(gathered)
        ended = write_report(reported, again / REPORT)
        write_witnesses(gathered, again / WITNESSES)
        said = {"analysis": str(gathered.binding["analysis"]), "networks": networks_of(reported.opening.heading.header)}
        count = gathered.count
        asked = gathered.asked
    same_version = f"absint=={own_version()}" in (folder / ENVIRONMENT).read_text(encoding="utf-8", errors="replace").splitlines()
    odd = list(_differences(folder / REPORT, again / REPORT, same_version=same_version))
    odd += [f"{MANIFEST}: {name} {json.dumps(manifest.get(name))[:200]}, the journal has {json.dumps(value)[:200]}"
            for name, value in said.items() if manifest.get(name) != value]
    if digest(folder / WITNESSES) != digest(again / WITNESSES):
        odd.append(f"{WITNESSES}: other counterexamples than the journal has")
    if odd:
        raise InputError("E-BUNDLE-DISAGREE", "report and journal say different things", where=str(pack), details=odd[:_SHOWN],
                         hint="trust neither; ask for the pack anew")
    missing = "" if asked is None or len(asked) == count else f", {len(asked) - count} items have none"
    found.lines.append(f"journal: {count} records{missing}; {REPORT} and {WITNESSES} follow from it")
    if ended.error is not None:
        found.lines.append(f"the run ended with [{ended.error.code}] {ended.error.what}: trust none of its verdicts")
    if not same_version:
        found.lines.append("only the records of the report were compared, not what it adds up to: another absint made it")
    if PAGE in members:
        found.lines.append(f"not compared with the journal: {PAGE}, whose bytes are as packed")


def _differences(packed: Path, again: Path, *, same_version: bool) -> Iterator[str]:
    """Where the report is not what the journal makes of itself."""
    if digest(packed) == digest(again):
        return
    if packed.stat().st_size > _LARGEST_TEXT:
        yield f"{REPORT}: not what the journal says"
        return
    try:
        one, two = json.loads(packed.read_bytes(), object_pairs_hook=_once), json.loads(again.read_bytes())
        names = sorted({*one, *two})
        for name in names:
            left, right = one.get(name), two.get(name)
            if left == right:
                continue
            rows = isinstance(left, list) and isinstance(right, list) and name != "notes"
            if rows:
                yield from _rows(name, left, right)
            elif same_version:
                yield f"{name}: not what the journal says"
    except DAMAGED:
        yield f"{REPORT}: no report"


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Of a key that is there twice, one reader takes the first, another the last. Raises ValueError."""
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a key is there twice")
    return dict(pairs)


def _rows(name: str, left: list[Any], right: list[Any]) -> Iterator[str]:
    if len(left) != len(right):
        yield f"{name}: {len(left)} in the report, {len(right)} in the journal"
        return
    for one, two in zip(left, right, strict=True):
        if one != two:
            keys = [key for key in two if one.get(key) != two.get(key)]
            yield f"{name} {two.get('index', '')}: {', '.join(keys)}"


def _model(pack: Path, folder: Path, members: Mapping[str, Mapping[str, Any]], model: Path | None, found: Checked) -> None:
    """The model is the run's, and the counterexamples are some."""
    from absint.model.frontend import model_hash

    packed = sorted((int(one["place"]), folder / name) for name, one in members.items() if one.get("role") == "model")
    journals = sorted(name for name, one in members.items() if one.get("role") == "journal")
    with Gathered([folder / name for name in journals]) as gathered:
        header = Reported(gathered).opening.heading.header
        networks = networks_of(header)
        if model is not None:
            check_model(model, networks)
            found.lines.append(f"model {model}: the one that was analysed, sha256 {networks[0]['sha256']}")
        for place, path in packed:
            if place >= len(networks) or model_hash(path) != networks[place]["sha256"]:
                raise InputError("E-BUNDLE-MODEL", f"{path.relative_to(folder)} is not the network that the journal names", where=str(pack),
                                 hint="ask for the pack anew: this one was changed")
        if packed:
            found.lines.append(f"model: {len(packed)} of {len(networks)} networks in the pack, each with the hash in the journal")
        files = [path for _, path in packed] if len(packed) == len(networks) else [] if model is None else [model]
        named = {str(one["option"]): folder / name for name, one in members.items() if one.get("role") == "file" and "option" in one}
        names = [one["path"] for one in networks]
        found.replayed = _replayed(pack, gathered, ReplayFiles(files, folder, named, names))
        found.lines += [*_question(found.replayed), _told(found.replayed)]
    found.lines.append(_NOT_PROVED)


def _replayed(pack: Path, gathered: Gathered, asked: ReplayFiles) -> Replayed:
    """Every counterexample on the model. Raises InputError E-BUNDLE-WITNESS naming the items."""
    odd = shown_unbound(Reported(gathered).opening.heading.header, gathered.binding)
    done = Replayed(different=odd) if odd else replays(gathered, asked)
    if done.different:
        raise InputError("E-BUNDLE-DISAGREE", "the journal's records are bound to another question than it names", where=str(pack),
                         details=done.different[:_SHOWN], hint="trust neither; ask for the pack anew")
    if done.refuted:
        items = ", ".join(map(str, done.refuted[:_SHOWN]))
        raise InputError("E-BUNDLE-WITNESS", f"{len(done.refuted)} counterexamples are none: items {items}",
                         where=str(pack), hint="trust none of its verdicts; ask for the pack anew")
    return done


def _question(done: Replayed) -> Iterator[str]:
    """Whether what readers are told was asked is what was."""
    if done.asked:
        yield "question: asked anew with the pack's options, rows and networks; header and records are of that question"
    elif done.unasked:
        yield f"question: not asked anew: {done.unasked}"


def _told(done: Replayed) -> str:
    """How many were replayed, and why others were not."""
    why = "; ".join(f"{count} not replayed: {reason}" for reason, count in done.left.items())
    return f"counterexamples: {done.held} replayed in onnxruntime and proved again{f'; {why}' if why else ''}"
