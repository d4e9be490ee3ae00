"""What a pack's members may be: plain files of one name each, none larger than there is room for, which is known before it is unpacked."""

from __future__ import annotations

import io
import json
import stat
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import numpy as np
import pytest
from reported_runs import members, packed, resigned

from absint.runs import member_sizes, pack_checks
from absint.runs.packs import ENVIRONMENT, MANIFEST, REPORT, ROWS

MANY = 1 << 22


def unpacks(*given):
    raise AssertionError("something was unpacked")


def test_what_is_said_to_be_vast_is_not_unpacked(cli, tmp_path, monkeypatch):
    """Four MiB in a few kB."""
    bomb = packed(tmp_path / "p.zip", resigned({**members(), ENVIRONMENT: b"\0" * MANY}))
    assert bomb.stat().st_size < MANY // 50
    monkeypatch.setattr(member_sizes, "_memory", lambda: MANY // 4)
    monkeypatch.setattr(pack_checks, "_unpack", unpacks)
    error = cli("report", "--check", bomb).fails(3, "E-BUNDLE-SIZE]").err
    assert f"  {ENVIRONMENT} is said to have 4 MiB, and 1 MiB of memory may be used" in error
    monkeypatch.setattr(member_sizes, "_memory", lambda: 2 * MANY)
    monkeypatch.setattr(member_sizes, "LARGEST", MANY)
    assert "  all members are said to have 4.0" in cli("report", "--check", bomb).fails(3, "E-BUNDLE-SIZE]").err


def test_a_manifest_that_says_less_is_not_believed(cli, tmp_path):
    content = resigned({**members(), ENVIRONMENT: b"\0" * MANY})
    manifest = json.loads(content[MANIFEST])
    next(one for one in manifest["members"] if one["name"] == ENVIRONMENT)["bytes"] = 10
    pack = packed(tmp_path / "p.zip", {**content, MANIFEST: json.dumps(manifest).encode()})
    assert "more bytes than the manifest says, which has 10" in cli("report", "--check", pack).fails(3, "E-BUNDLE-CHANGED]").err


def rows_of(**arrays):
    """An npz file of bytes as they are."""
    stream = io.BytesIO()
    with ZipFile(stream, "w", ZIP_DEFLATED) as archive:
        for name, content in arrays.items():
            archive.writestr(f"{name}.npy", content)
    return stream.getvalue()


def array(shape, content=b"", kind="<i8"):
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": kind, "fortran_order": False, "shape": shape})
    return stream.getvalue() + content


def test_arrays_that_are_said_to_be_vast_are_not_read(cli, tmp_path):
    pack = packed(tmp_path / "p.zip", resigned({**members(), ROWS: rows_of(index=array((1 << 40,)))}))
    error = cli("report", "--check", pack).fails(3, "E-BUNDLE-SIZE]").err
    assert "  index.npy is said to have 8192 GiB" in error


def test_arrays_that_are_vast_are_not_read(cli, tmp_path, monkeypatch):
    pack = packed(tmp_path / "p.zip", resigned({**members(), ROWS: rows_of(index=array((MANY // 8,), b"\0" * MANY))}))
    monkeypatch.setattr(member_sizes, "_memory", lambda: MANY // 4)
    assert "  index.npy is said to have 4 MiB" in cli("report", "--check", pack).fails(3, "E-BUNDLE-SIZE]").err


ONE = array((1,), b"\0" * 8)


@pytest.mark.parametrize("content", [
    rows_of(index=b"no array"), rows_of(index=array((2,), kind="|O")), rows_of(index=array((-1,))), b"no zip",
    rows_of(index=ONE, INDEX=ONE),
], ids=["text", "objects", "negative", "no zip", "twice"])
def test_rows_that_are_none_are_refused(cli, tmp_path, content):
    pack = packed(tmp_path / "p.zip", resigned({**members(), ROWS: content}))
    cli("report", "--check", pack).fails(3, "E-BUNDLE-FORMAT]")


def odd(kind):
    """Members in the order of the zip file, and what is said of one of them."""
    plain = [(ZipInfo(name), content) for name, content in members().items()]
    if kind == "link":
        entry = ZipInfo(ENVIRONMENT)
        entry.external_attr = (stat.S_IFLNK | 0o777) << 16
        return [(entry, b"/etc/passwd") if one.filename == ENVIRONMENT else (one, content) for one, content in plain], "is no plain file"
    if kind == "encrypted":
        return plain, "is encrypted"
    more = {"case": REPORT.upper(), "inside": f"{REPORT}/x", "folder": "empty/", "absolute": "/etc/passwd", "above": "a/../../b"}[kind]
    said = {"case": "report.json is there 2 times", "inside": f"lies in {REPORT}, which is a file"}.get(kind, "is no plain name")
    return [*plain, (ZipInfo(more), b"x")], said


@pytest.mark.parametrize("kind", ["link", "encrypted", "case", "inside", "folder", "absolute", "above"])
def test_members_are_plain_files_of_one_name_each(cli, tmp_path, kind):
    entries, said = odd(kind)
    pack = tmp_path / "p.zip"
    with ZipFile(pack, "w", ZIP_DEFLATED) as archive:
        for entry, content in entries:
            archive.writestr(entry, content)
    if kind == "encrypted":
        content = bytearray(pack.read_bytes())
        content[content.rfind(b"PK\x01\x02") + 8] |= 1
        pack.write_bytes(content)
    assert said in cli("report", "--check", pack).fails(3, "E-BUNDLE-MEMBERS]").err


def test_a_manifest_names_each_member_once(cli, tmp_path):
    manifest = json.loads(members()[MANIFEST])
    manifest["members"].append(manifest["members"][0])
    name = manifest["members"][0]["name"]
    pack = packed(tmp_path / "p.zip", {**members(), MANIFEST: json.dumps(manifest).encode()})
    assert f"{name} is there 2 times in the manifest" in cli("report", "--check", pack).fails(3, "E-BUNDLE-MEMBERS]").err
