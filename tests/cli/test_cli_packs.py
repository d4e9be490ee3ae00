"""Evidence packs: a pack that was changed anywhere is refused, one that was forged with care is caught where it can be."""

from __future__ import annotations

import io
import json
from zipfile import ZipFile

import pytest
from reported_runs import WORDS, forged, lines, made, members, network, packed, resigned, written

from absint.runs.packs import ENVIRONMENT, MANIFEST, PAGE, REPORT, ROWS, WITNESSES

NAMES = (ENVIRONMENT, "journal.jsonl", "model/1-net.onnx", PAGE, REPORT, ROWS, WITNESSES)


@pytest.fixture
def pack(tmp_path):
    path = tmp_path / "run.zip"
    path.write_bytes(made().pack)
    return path


def test_a_pack_holds_all_and_is_checked(cli, pack):
    with ZipFile(io.BytesIO(made().pack)) as archive:
        assert archive.namelist() == sorted((*NAMES, MANIFEST))
        assert {one.date_time[0] for one in archive.infolist()} == {1980}
    done = cli("report", "--check", pack)
    assert done.code == 0, done.err
    assert f"hashes: {len(members()) - 1} members" in done.out
    assert "counterexamples: 3 replayed in onnxruntime and proved again\n" in done.out
    assert "not checked: 'verified' verdicts" in done.out
    assert json.loads(cli("report", "--check", pack, "--model", made().net, "--format", "json").out)["ok"] is True


@pytest.mark.parametrize("name", NAMES)
def test_a_changed_byte_is_refused(cli, tmp_path, name):
    content = members()
    place = len(content[name]) // 2
    content[name] = content[name][:place] + bytes([content[name][place] ^ 1]) + content[name][place + 1 :]
    error = cli("report", "--check", packed(tmp_path / "p.zip", content)).fails(3, "E-BUNDLE-CHANGED]").err
    assert f"  {name}: sha256" in error


def test_a_byte_changed_in_the_zip_file_itself_is_refused(cli, pack):
    content = bytearray(made().pack)
    content[content.find(b"model/1-net.onnx") + 60] ^= 1
    pack.write_bytes(content)
    assert cli("report", "--check", pack).code == 3


@pytest.mark.parametrize(("change", "said"), [
    (lambda found: found.pop(ROWS), f"{ROWS} is missing"),
    (lambda found: found.update(extra=b"x"), "extra is in no manifest"),
    (lambda found: found.update({"../out": b"x"}), "'../out' is no plain name"),
    (lambda found: found.update({"/out": b"x"}), "'/out' is no plain name"),
])
def test_members_are_those_of_the_manifest(cli, tmp_path, change, said):
    content = members()
    change(content)
    assert said in cli("report", "--check", packed(tmp_path / "p.zip", content)).fails(3, "E-BUNDLE-MEMBERS]").err


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_member_is_there_once_and_of_its_size(cli, tmp_path):
    twice = packed(tmp_path / "p.zip", members(), twice=REPORT)
    assert f"{REPORT} is there 2 times" in cli("report", "--check", twice).fails(3, "E-BUNDLE-MEMBERS]").err
    bomb = packed(tmp_path / "q.zip", {**members(), ENVIRONMENT: b"\0" * (1 << 22)})
    assert "more bytes than the manifest says" in cli("report", "--check", bomb).fails(3, "E-BUNDLE-CHANGED]").err


def moved(row):
    """Into the region's middle, where the network is right."""
    return {**row, "witness": [0.55, 0.5, 0.5]} if row["index"] == 1 else row


def outside(row):
    """Where the network is wrong, but nobody asked."""
    return {**row, "witness": [0.1, 0.9, 0.5]} if row["index"] == 1 else row


def short(row):
    return {**row, "witness": [0.55]} if row["index"] == 1 else row


@pytest.mark.parametrize("change", [moved, outside, short])
def test_a_counterexample_that_is_none_is_noticed_though_every_hash_fits(cli, tmp_path, change):
    pack = packed(tmp_path / "p.zip", forged(tmp_path, change))
    error = cli("report", "--check", pack).fails(3, "E-BUNDLE-WITNESS]").err
    assert "1 counterexamples are none: items 1" in error


def test_report_and_counterexamples_follow_from_the_journal(cli, tmp_path):
    content = members()
    report = json.loads(content[REPORT])
    report["instances"][1] |= {"verdict": "verified", "witness": None}
    pack = packed(tmp_path / "p.zip", resigned({**content, REPORT: json.dumps(report).encode()}))
    assert "instances 1: verdict, witness" in cli("report", "--check", pack).fails(3, "E-BUNDLE-DISAGREE]").err
    counts = json.loads(content[REPORT])
    counts["summary"]["counts"]["verified"] = 6
    pack = packed(tmp_path / "p.zip", resigned({**content, REPORT: json.dumps(counts).encode()}))
    assert "summary: not what" in cli("report", "--check", pack).fails(3, "E-BUNDLE-DISAGREE]").err
    pack = packed(tmp_path / "p.zip", resigned({**content, WITNESSES: b""}))
    assert WITNESSES in cli("report", "--check", pack).fails(3, "E-BUNDLE-DISAGREE]").err


def test_the_model_is_the_one_of_the_run(cli, tmp_path, pack):
    other = network(tmp_path / "other.onnx", 2.0)
    cli("report", "--check", pack, "--model", other).fails(3, "E-BUNDLE-MODEL]")
    swapped = packed(tmp_path / "p.zip", resigned({**members(), "model/1-net.onnx": other.read_bytes()}))
    cli("report", "--check", swapped).fails(3, "E-BUNDLE-MODEL]")
    done = cli("report", written(tmp_path / "j.jsonl"), "--bundle", tmp_path / "q.zip", "--model", other)
    assert done.code == 3
    assert "error[E-BUNDLE-MODEL]" in done.err
    assert not (tmp_path / "q.zip").exists()


def test_a_pack_of_hashes_alone_takes_a_model(cli, tmp_path):
    pack = tmp_path / "p.zip"
    words = ["verify", made().net, "--data", made().data, *WORDS, "--bundle", pack, "--bundle-model", "hash"]
    assert cli(*words).code == 1
    with ZipFile(pack) as archive:
        assert not [name for name in archive.namelist() if name.startswith("model")]
        manifest = json.loads(archive.read(MANIFEST))
    assert manifest["networks"][0]["sha256"] == made().document["header"]["model"]["sha256"]
    assert any("by choice" in line for line in manifest["left_out"])
    without, with_one = cli("report", "--check", pack), cli("report", "--check", pack, "--model", made().net)
    assert "3 not replayed: the pack has no model" in without.out
    assert "3 replayed" in with_one.out
    assert (without.code, with_one.code) == (1, 0)
    assert cli(*words[:-1], "none").code == 2


def test_a_pack_of_a_report_has_what_a_report_knows(cli, tmp_path):
    journal, pack = written(tmp_path / "j.jsonl", [*lines()[:4], lines()[4][:-9]]), tmp_path / "p.zip"
    done = cli("report", journal, "--bundle", pack, "--out", tmp_path / "r.txt")
    assert done.code == 1
    assert "left out: rows of the data" in done.err
    said = cli("report", "--check", pack)
    assert said.code == 1, said.err
    assert "journal: 3 records, 3 items have none" in said.out
    assert f"1 not replayed: the pack has no {ROWS}" in said.out


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x03\x04 no zip"])
def test_what_is_no_pack_is_refused(cli, tmp_path, content):
    path = tmp_path / "p.zip"
    path.write_bytes(content)
    cli("report", "--check", path).fails(3, "E-BUNDLE-FORMAT]")
    cli("report", "--check", packed(path, {"a": b"b"})).fails(3, "E-BUNDLE-FORMAT]")
    cli("report", "--check", packed(path, {MANIFEST: b"[]"})).fails(3, "E-BUNDLE-FORMAT]")
    cli("report", "--check", packed(path, {MANIFEST: b'{"schema": "absint-pack/9", "members": []}'})).fails(3, "E-BUNDLE-FORMAT]")
    cli("report", "--check", tmp_path).fails(3, "E-BUNDLE-PATH]")
    cli("report", "--check", tmp_path / "none").fails(3, "E-BUNDLE-PATH]")


def test_places(cli, tmp_path):
    words = ("verify", made().net, "--data", made().data, *WORDS, "--bundle")
    cli(*words, tmp_path).fails(3, "E-OUT]")
    cli(*words, made().net).fails(2, "E-OUT]")
    assert network(tmp_path / "again.onnx").read_bytes() == made().net.read_bytes()


def test_counterexamples_are_of_the_question_that_the_records_are_bound_to(cli, tmp_path):
    """Options that allow more, under the heading and the binding of the run."""
    wider = forged(tmp_path, eps="0.5")
    assert "eps: bound to" in cli("report", "--check", packed(tmp_path / "p.zip", wider)).fails(3, "E-BUNDLE-DISAGREE]").err


def test_a_manifest_chooses_no_option_of_the_replay(cli, tmp_path):
    """Another network under the name of a file that an option names."""
    content = {**members(), "files/net-other.onnx": network(tmp_path / "other.onnx", 2.0).read_bytes()}
    manifest = json.loads(content[MANIFEST])
    manifest["members"].append({"name": "files/net-other.onnx", "role": "file", "option": "eps"})
    done = cli("report", "--check", packed(tmp_path / "p.zip", resigned({**content, MANIFEST: json.dumps(manifest).encode()})))
    assert "3 replayed in onnxruntime" in done.out, done.err


@pytest.mark.parametrize(("change", "code"), [
    (lambda manifest: manifest["networks"][0].update(sha256="0" * 64), "E-BUNDLE-DISAGREE]"),
    (lambda manifest: manifest["members"][0].update(bytes=float("inf")), "E-BUNDLE-FORMAT]"),
    (lambda manifest: next(one for one in manifest["members"] if one["role"] == "model").pop("place"), "E-BUNDLE-FORMAT]"),
])
def test_the_manifest_says_what_the_journal_says(cli, tmp_path, change, code):
    manifest = json.loads(members()[MANIFEST])
    change(manifest)
    cli("report", "--check", packed(tmp_path / "p.zip", {**members(), MANIFEST: json.dumps(manifest).encode()})).fails(3, code)


def test_a_key_that_is_there_twice_is_no_report(cli, tmp_path):
    report = members()[REPORT].replace(b"{", b'{"instances": [],', 1)
    pack = packed(tmp_path / "p.zip", resigned({**members(), REPORT: report}))
    assert f"{REPORT}: no report" in cli("report", "--check", pack).fails(3, "E-BUNDLE-DISAGREE]").err


def test_a_counterexample_of_another_class_is_noticed(cli, tmp_path):
    pack = packed(tmp_path / "p.zip", forged(tmp_path, lambda row: {**row, "label": 1} if row["index"] == 1 else row))
    cli("report", "--check", pack).fails(3, "E-BUNDLE-WITNESS]")


def test_a_pack_of_a_sweep_has_networks_and_rows(cli, tmp_path):
    pack, other = tmp_path / "p.zip", network(tmp_path / "other.onnx", 2.0)
    done = cli("sweep", made().net, other, "--data", made().data, "--eps", "0.1", "--domain", "box", "--quiet", "--bundle", pack)
    assert done.code == 0, done.err
    with ZipFile(pack) as archive:
        assert {"model/1-net.onnx", "model/2-other.onnx", ROWS} <= set(archive.namelist())
    said = cli("report", "--check", pack)
    assert "model: 2 of 2 networks in the pack" in said.out, said.err
    assert "counterexamples: 6 replayed" in said.out
