"""A check asks the question that readers are told anew, and says by its exit code whether it could check all."""

from __future__ import annotations

import json

import pytest
from reported_runs import forged_of, made, members, packed

CHANGES = {
    "property, eps": lambda header: header["property"].update(eps="0.001"),
    "property, clip": lambda header: header["property"].update(clip=[0.0, 0.1]),
    "assumptions": lambda header: header.update(assumptions=["none"]),
    "domain, name": lambda header: header["domain"].update(name="exact"),
    "domain, source": lambda header: header["domain"].update(source="nobody"),
    "numerics, semantics": lambda header: header["numerics"].update(semantics="float32"),
    "numerics, rounding": lambda header: header["numerics"].update(rounding=False),
    "data, mean": lambda header: header["data"].update(mean="0.5"),
    "model, input_shape": lambda header: header["model"].update(input_shape=[7]),
    "model, caveats": lambda header: header["model"].update(caveats=["W-MORE: more"]),
    "warranty": lambda header: header.update(warranty="for ever"),
}


def shown(content, folder, change, **versions):
    """The pack, its header changed, and all else made to fit."""
    first, *rest = content["journal.jsonl"].splitlines(keepends=True)
    row = json.loads(first)
    header = row["run"]["heading"]["header"]
    header["versions"] |= versions
    change(header)
    return forged_of({**content, "journal.jsonl": b"".join([json.dumps(row).encode() + b"\n", *rest])}, folder)


@pytest.mark.parametrize("where", CHANGES)
def test_whatever_a_header_says_of_the_question_is_compared(cli, tmp_path, where):
    pack = packed(tmp_path / "p.zip", shown(members(), tmp_path, CHANGES[where]))
    assert f"  {where}: shown " in cli("report", "--check", pack).fails(3, "E-BUNDLE-DISAGREE]").err


def test_of_another_version_words_may_be_others(cli, tmp_path):
    other = {"absint": "0.0.9"}
    pack = packed(tmp_path / "p.zip", shown(members(), tmp_path, CHANGES["assumptions"], **other))
    assert cli("report", "--check", pack).code == 0
    pack = packed(tmp_path / "p.zip", shown(members(), tmp_path, CHANGES["property, eps"], **other))
    assert "property, eps: shown " in cli("report", "--check", pack).fails(3, "E-BUNDLE-DISAGREE]").err


def test_a_run_without_counterexamples_has_a_question_too(cli, tmp_path):
    pack = tmp_path / "p.zip"
    words = ("verify", made().net, "--data", made().data, "--index", "0", "--domain", "box", "--eps", "0.01", "--quiet", "--bundle", pack)
    assert cli(*words).code == 0
    said = cli("report", "--check", pack)
    assert (said.code, "question: asked anew" in said.out, "check: complete\n" in said.out) == (0, True, True)
    changed = shown(members(pack.read_bytes()), tmp_path, lambda header: header["property"].update(eps="0.3"))
    assert "property, eps: shown " in cli("report", "--check", packed(pack, changed)).fails(3, "E-BUNDLE-DISAGREE]").err


def test_domains_and_data_are_those_that_records_are_bound_to_though_nothing_can_be_asked(cli, tmp_path):
    """No model in the pack."""
    def without(content):
        manifest = json.loads(content["manifest.json"])
        manifest["members"] = [one for one in manifest["members"] if one["role"] != "model"]
        return {name: data for name, data in content.items() if not name.startswith("model/")} | {
            "manifest.json": json.dumps(manifest).encode()}

    def change(header):
        header["domain"]["class"], header["data"]["sha256"] = "absint.domains.exact.Exact", "0" * 64

    error = cli("report", "--check", packed(tmp_path / "p.zip", shown(without(members()), tmp_path, change))).fails(
        3, "E-BUNDLE-DISAGREE]").err
    assert "data, sha256: shown " in error
    assert "domain, class: shown " in error


def test_a_check_that_could_not_check_all_has_an_exit_code_of_its_own(cli, tmp_path):
    pack = tmp_path / "p.zip"
    words = ("verify", made().net, "--data", made().data, "--domain", "box", "--eps", "0.1", "--quiet")
    assert cli(*words, "--bundle", pack, "--bundle-model", "hash").code == 1
    partial = cli("report", "--check", pack)
    assert (partial.code, "check: nothing is wrong, but not all could be checked" in partial.out) == (1, True)
    assert "question: not asked anew: the pack has no model" in partial.out
    codes = []
    for more in ((), ("--allow-unreplayed",), ("--model", made().net)):
        done = cli("report", "--check", pack, "--format", "json", *more)
        found = json.loads(done.out)
        codes.append((done.code, found["ok"], found["complete"], found["counterexamples"]["not_replayed"]))
    assert codes == [(1, False, False, 3), (0, True, False, 3), (0, True, True, 0)]
    assert "--check FILE.zip" in cli("report", pack, "--allow-unreplayed").fails(2, "E-USAGE]").err


@pytest.mark.parametrize("words", [("report", "j.jsonl", "--format", "csv", "--format", "json"),
                                   ("report", "--check", "a.zip", "--check=b.zip"), ("merge", "a", "--out", "b", "--out", "c")])
def test_what_is_said_twice_is_refused(cli, words):
    assert "is given twice" in cli(*words).fails(2, "E-USAGE]").err
