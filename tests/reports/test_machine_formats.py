"""JUnit, SARIF, Markdown, Parquet and the options of formats: what the programs that read them count on."""

from __future__ import annotations

import io
import json
import os
import re
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote
from xml.etree import ElementTree

import numpy as np
import pytest
from documents import CAVEAT, COLUMNS, DOCUMENT, HEADING, HOSTILE, ROWS, WARNED, row, written
from places import ROOT
from sarif_subset import SUBSET

from absint import samples
from absint.contract.document import Document, Row
from absint.errors import ResourceError, UsageError
from absint.reports.interface import FORMATS, format_of
from absint.reports.sarif import uri_of

HEADER = {"command": "absint demo net.onnx --eps 0.1", "started": "2026-01-02T03:04:05+00:00", "versions": {"absint": "1.2.3"},
          "model": {"path": "my nets/a b.onnx", "sha256": "0" * 64, "notes": [], "caveats": []}, "property": {"eps": "0.1"},
          "numerics": {"rounding": True}}
REAL = replace(HEADING, header=HEADER, columns=("index", "label", "verdict", "reason", "margin", "time_s"), shown={"index": 5, "margin": 6})
PLAIN = Document(summary={"complete": True, "remaining": [], "seconds": 3.5}, exit_code=1)


def case(index: int, verdict: str, tone: str, reason: str | None = None, **values: object) -> Row:
    known = {"index": index, "label": 3, "verdict": verdict, "reason": reason, "margin": -0.5, "time_s": 0.25} | values
    return Row(known, {name: "" if value is None else str(value) for name, value in known.items()}, tone)


CASES = (case(3, "misclassified", ""), case(1, "falsified", "bad"), case(2, "unknown", "open", "timeout"), case(0, "verified", "good"))
LOST = replace(PLAIN, summary={"complete": False, "remaining": [5, 6]}, error=ResourceError("E-MEMORY-FULL", "no memory"),
               values={"failures": [{"index": 5, "name": "input 5", "code": "E-WORKER-DIED", "what": "killed <9>"}]})


# ---- options --------------------------------------------------------------------------------------------------------------


def test_options_are_read_by_the_type_of_their_default() -> None:
    assert format_of("sarif:passed=on,unknown=note").options == format_of("sarif").Options(
        format_of("sarif").options.unknown.__class__("note"), passed=True)
    assert format_of("parquet:rows=7,compression=zstd").options == format_of("parquet").Options("zstd", 7)
    assert format_of("csv:") is not None
    assert format_of("junit").options == format_of("junit").Options()     # what one command says leaves no trace


@pytest.mark.parametrize("choice", ["junit:unknown=", "junit:unknown", "junit:unknown=maybe", "junit:other=1",
                                    "junit:unknown=passed,unknown=passed", "markdown:rows=-1", "markdown:rows=x", "sarif:passed=maybe",
                                    "parquet:rows=0", "parquet:compression=zip", "csv:x=1", "json:=", "pictures:dpi=3"])
def test_options_that_are_none_are_refused_with_those_there_are(choice: str) -> None:
    with pytest.raises(UsageError) as caught:
        format_of(choice)
    assert caught.value.code == "E-FORMAT-OPTION"
    name = choice.partition(":")[0]
    for option in format_of(name).Options.__dataclass_fields__:
        assert f"{option}=" in caught.value.hint


def test_the_page_on_formats_has_every_option() -> None:
    told = set(re.findall(r"^\| `(\w+:\w+)` \|", (ROOT / "docs" / "formats.md").read_text(), re.MULTILINE))
    assert told == {f"{name}:{option}" for name in FORMATS for option in format_of(name).Options.__dataclass_fields__}


# ---- JUnit ----------------------------------------------------------------------------------------------------------------


def junit(choice: str = "junit", document: Document = PLAIN, rows=CASES, heading=REAL):
    """Name of each case -> what it is, and the suite."""
    (suite,) = ElementTree.fromstring(written(format_of(choice), document, rows, heading))
    kinds = {"failure", "error", "skipped"}
    return {one.get("name"): next((child.tag for child in one if child.tag in kinds), "passed") for one in suite.iter("testcase")}, suite


def test_a_case_for_each_record_in_the_order_of_their_index() -> None:
    found, suite = junit()
    assert list(found.items()) == [("index 0", "passed"), ("index 1", "failure"), ("index 2", "skipped"), ("index 3", "skipped")]
    counts = {name: suite.get(name) for name in ("tests", "failures", "errors", "skipped", "time", "timestamp")}
    assert counts == {"tests": "4", "failures": "1", "errors": "0", "skipped": "2", "time": "3.500", "timestamp": "2026-01-02T03:04:05"}
    failed = next(one for one in suite.iter("testcase") if one.find("failure") is not None)
    assert (failed.get("time"), failed.get("classname")) == ("0.250000", "absint.demo.a_b_onnx")
    assert failed.find("failure").attrib == {"type": "falsified", "message": "falsified: margin -0.5"}
    properties = {one.get("name"): one.get("value") for one in suite.find("properties")}
    assert properties["model.sha256"] == "0" * 64
    assert properties["exit_code"] == "1"


@pytest.mark.parametrize(("unknown", "becomes"), [("skipped", "skipped"), ("failure", "failure"), ("passed", "passed")])
def test_unknown_is_what_is_chosen(unknown: str, becomes: str) -> None:
    found, suite = junit(f"junit:unknown={unknown}")
    assert found["index 2"] == becomes
    assert found["index 0"] == "passed"
    assert found["index 1"] == "failure"
    (open_,) = [one for one in suite.iter("testcase") if one.get("name") == "index 2"]
    said = {one.get("name"): one.get("value") for one in open_.find("properties")}
    assert (said["outcome"], said["verdict"], said["reason"]) == ("open", "unknown", "timeout")
    assert int(suite.get("failures")) == 1 + (unknown == "failure")


def test_a_run_that_was_cut_short_does_not_look_like_one_that_passed() -> None:
    found, suite = junit(document=LOST, rows=CASES[3:])
    assert found == {"index 0": "passed", "input 5": "error", "index 6": "error", "result": "error"}
    assert suite.get("errors") == "3"
    assert [one.get("type") for one in suite.iter("error")] == ["E-WORKER-DIED", "not-decided", "E-MEMORY-FULL"]


def test_a_command_that_fails_has_a_case_that_fails() -> None:
    # Every input is misclassified: exit code 1, and no case of its own would say so.
    nothing = [case(0, "misclassified", "")]
    assert junit("junit:unknown=failure", rows=nothing)[0] == {"index 0": "skipped", "result": "error"}
    assert junit(document=replace(PLAIN, exit_code=0), rows=nothing)[0] == {"index 0": "skipped"}
    assert junit(rows=())[0] == {"result": "error"}
    log = json.loads(written(format_of("sarif"), PLAIN, nothing, REAL))
    assert [(one["ruleId"], one["level"]) for one in log["runs"][0]["results"]] == [("misclassified", "note"), ("nothing-passed", "error")]


def test_items_that_nobody_lists_are_no_passes() -> None:
    # A journal of an older format does not say what was asked for; of very many missing items only the first are listed.
    unknown = replace(PLAIN, summary={"complete": None, "remaining": []})
    assert junit(document=unknown, rows=CASES[3:])[0] == {"index 0": "passed", "items": "error"}
    many = replace(PLAIN, summary={"complete": False, "remaining": [5], "remaining_count": 90_000})
    assert junit(document=many, rows=CASES[3:])[0] == {"index 0": "passed", "index 5": "error", "others": "error"}
    for document, said in ((unknown, "not known"), (many, "90000 items are not decided")):
        log = json.loads(written(format_of("sarif"), document, CASES[3:], REAL))
        (invocation,) = log["runs"][0]["invocations"]
        assert invocation["executionSuccessful"] is False
        assert said in json.dumps(invocation)
        assert said in written(format_of("markdown"), document, CASES[3:], REAL)


def test_what_the_limit_of_the_whole_run_ended_is_an_error() -> None:
    late = [replace(case(0, "unknown", "open", "timeout"), cut=True), replace(case(1, "verified", "good"), cut=True)]
    found, suite = junit("junit:unknown=passed", rows=late)
    assert found == {"index 0": "error", "index 1": "passed"}
    assert suite.find(".//error").attrib == {"type": "not-decided", "message": "not-decided: the limit of the whole run ended it"}


def test_a_failed_item_has_one_case_whether_it_is_found_by_index_or_by_name() -> None:
    failure = {"index": 0, "name": "a.onnx b.vnnlib", "code": "E-X", "what": "bad file"}
    document = replace(PLAIN, values={"failures": [failure]})
    listed = Row({"onnx": "a.onnx", "vnnlib": "b.vnnlib", "verdict": "error", "time_s": 1}, {}, "bad")
    by_name = junit(document=document, rows=[listed], heading=replace(REAL, columns=tuple(listed.values)))[0]
    assert by_name == {"a.onnx b.vnnlib": "error"}
    assert junit(document=document, rows=[case(0, "falsified", "bad")])[0] == {"index 0": "error"}


def test_cases_of_one_name_are_told_apart() -> None:
    rows = [Row({"index": 0, "domain": "box", "tensor": tensor, "lower": 1.0}, {}) for tensor in ("y", "z", "y")]
    found, _ = junit(document=replace(PLAIN, exit_code=0), rows=rows, heading=replace(REAL, columns=("index", "domain", "tensor", "lower")))
    assert found == {"index 0 box y": "passed", "index 0 box z": "passed", "index 0 box y (2)": "passed"}


def test_xml_holds_whatever_comes_out_of_files() -> None:
    strange = "".join(map(chr, range(0x20))) + "\x7f\x9f\ufffe\uffff\ud800]]>&<\"'é漢🙂"
    text = written(format_of("junit"), replace(DOCUMENT, notes=(strange,)), [*ROWS, row(7, strange, "unknown", tone="open")])
    assert text.isascii()
    try:
        names = [one.get("name") for one in ElementTree.fromstring(text).iter("testcase")]
    except ElementTree.ParseError as error:
        pytest.fail(f"no XML: {error}")
    assert len(names) == 4
    assert any("é漢🙂" in name and "]]>&<\"'" in name and "\\x00" in name for name in names)


# ---- SARIF ----------------------------------------------------------------------------------------------------------------


def sarif(choice: str = "sarif", document: Document = PLAIN, rows=CASES, heading=REAL):
    log = json.loads(written(format_of(choice), document, rows, heading), parse_constant=pytest.fail)
    (run,) = log["runs"]
    return run, log


LOGS = {"plain": {}, "lost": {"document": LOST}, "hostile": {"document": DOCUMENT, "rows": ROWS, "heading": HEADING},
        "nothing": {"document": Document(), "rows": ()}, "all": {"choice": "sarif:passed=on,unknown=open"},
        "warned": {"document": DOCUMENT, "heading": WARNED, "rows": ROWS}}


@pytest.mark.parametrize("name", LOGS)
def test_a_log_has_the_form_of_sarif(name: str) -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")
    jsonschema.Draft202012Validator(SUBSET).validate(sarif(**LOGS[name])[1])


@pytest.mark.skipif("SARIF_SCHEMA" not in os.environ, reason="SARIF_SCHEMA does not name OASIS' sarif-schema-2.1.0.json")
@pytest.mark.parametrize("name", LOGS)
def test_a_log_is_valid_by_the_schema_of_oasis(name: str) -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")
    schema = json.loads(Path(os.environ["SARIF_SCHEMA"]).read_text())
    jsonschema.Draft4Validator(schema, format_checker=jsonschema.FormatChecker()).validate(sarif(**LOGS[name])[1])


def test_a_form_that_is_none_is_seen() -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")
    for spoil in (lambda run: run["results"][0].pop("message"), lambda run: run["results"][0].update(level="bad"),
                  lambda run: run["results"][0].update(rule="x"), lambda run: run["artifacts"][0]["location"].update(uri="a b"),
                  lambda run: run["invocations"][0].pop("executionSuccessful"), lambda run: run["tool"].pop("driver")):
        run, log = sarif()
        spoil(run)
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.Draft202012Validator(SUBSET).validate(log)


def test_each_instance_that_is_not_verified_has_a_result() -> None:
    run, _ = sarif()
    found = [(one["ruleId"], one["kind"], one["level"]) for one in run["results"]]
    assert found == [("falsified", "fail", "error"), ("unknown-timeout", "fail", "warning"), ("misclassified", "fail", "note")]
    assert [run["tool"]["driver"]["rules"][one["ruleIndex"]]["id"] for one in run["results"]] == [rule for rule, *_ in found]
    assert run["invocations"][0] == {"executionSuccessful": True, "exitCode": 1, "commandLine": HEADER["command"],
                                     "startTimeUtc": "2026-01-02T03:04:05Z", "toolExecutionNotifications": []}
    assert run["artifacts"] == [{"location": {"uri": "my%20nets/a%20b.onnx"}, "roles": ["analysisTarget"], "hashes": {"sha-256": "0" * 64}}]
    assert run["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"] == {"uri": "my%20nets/a%20b.onnx", "index": 0}
    assert run["results"][0]["message"]["text"] == "demo index 1: falsified: margin -0.5"


def test_what_is_no_failure_has_no_level() -> None:
    """Section 3.27.10 of the standard."""
    run, _ = sarif("sarif:passed=on,unknown=open")
    found = {one["ruleId"]: (one["kind"], one["level"]) for one in run["results"]}
    assert found == {"verified": ("pass", "none"), "falsified": ("fail", "error"), "unknown-timeout": ("open", "none"),
                     "misclassified": ("fail", "note")}
    assert {one["ruleId"]: one["level"] for one in sarif("sarif:unknown=error")[0]["results"]}["unknown-timeout"] == "error"


def test_an_invocation_that_was_cut_short_says_so() -> None:
    (invocation,) = sarif(document=LOST)[0]["invocations"]
    assert not invocation["executionSuccessful"]
    assert "exitCode" not in invocation      # an interrupt decides it
    codes = [one["descriptor"]["id"] for one in invocation["toolExecutionNotifications"]]
    assert codes == ["E-WORKER-DIED", "E-MEMORY-FULL", "not-decided"]
    assert [one["ruleId"] for one in sarif(document=LOST, rows=())[0]["results"]] == ["E-WORKER-DIED", "not-decided", "E-MEMORY-FULL"]
    told = sarif(heading=WARNED, rows=ROWS)[0]["invocations"][0]["toolExecutionNotifications"]
    assert [(one["level"], one["message"]["text"]) for one in told] == [("warning", CAVEAT)]


def test_fingerprints_are_of_the_question_and_nothing_else() -> None:
    def prints(header, rows=CASES, **changes):
        run, _ = sarif(rows=rows, heading=replace(REAL, header=header, **changes))
        return [one["partialFingerprints"]["primaryLocationLineHash"] for one in run["results"]], run["automationDetails"]["id"]

    known, category = prints(HEADER)
    assert len(set(known)) == 3
    later = {**HEADER, "started": "2027-01-02T03:04:05+00:00", "versions": {"absint": "2"}, "command": "other", "numerics": {"threads": 1},
             "model": {**HEADER["model"], "path": "/elsewhere/net.onnx", "notes": ["a note"]}}
    assert prints(later)[0] == known
    assert prints(HEADER, CASES[:2])[0] == [known[0], known[2]]
    assert category.startswith("absint/demo/my%20nets/a%20b.onnx/")
    assert category.endswith("/")
    for other in ({"model": {**HEADER["model"], "sha256": "1" * 64}}, {"property": {"eps": "0.2"}}, {"data": {"sha256": "2"}}):
        assert not set(prints({**HEADER, **other})[0]) & set(known)
        assert prints({**HEADER, **other})[1] != category
    assert not set(prints(HEADER, analysis="other")[0]) & set(known)


@pytest.mark.parametrize(("path", "uri"), [
    ("net.onnx", "net.onnx"), ("a b/100%.onnx", "a%20b/100%25.onnx"), ("../x.onnx", "../x.onnx"), ("/tmp/a b.onnx", "file:///tmp/a%20b.onnx"),
    ("\\\\host\\share\\x.onnx", "file://host/share/x.onnx"),
    ("C:\\nets\\a b.onnx", "file:///C%3A/nets/a%20b.onnx"), ("é.onnx", "%C3%A9.onnx"), ("a:b.onnx", "a%3Ab.onnx"), ("x#y?z", "x%23y%3Fz"),
    ("\udcff.onnx", "%FF.onnx"), ("\ud800", "%5Cud800"), ("a\nb", "a%0Ab"),
])
def test_a_path_is_a_reference(path: str, uri: str) -> None:
    assert uri_of(path) == uri
    assert uri.isascii()
    if path.isascii() and "\\" not in path:
        assert unquote(uri).removeprefix("file://") == path


def test_every_value_of_a_result_is_json() -> None:
    rows = [row(0, "x", "falsified", value, "bad") for value in (np.ones(2), float("nan"), object(), {1: 2}, 2**70)]
    bags = [one["properties"] for one in sarif(rows=rows)[0]["results"]]
    assert [bags[0]["margin"], bags[1]["margin"], bags[3]["margin"], bags[4]["margin"]] == [[1.0, 1.0], "nan", {"1": 2}, 2**70]


def test_brackets_and_braces_of_a_message_are_letters() -> None:
    rows = [Row({"index": 0, "verdict": "falsified"}, {"index": "0", "margin": "[a](b) {0} \\"}, "bad")]
    (result,) = sarif(rows=rows)[0]["results"]
    assert result["message"]["text"].endswith("margin \\[a\\](b) {{0}} \\\\")


# ---- Markdown -------------------------------------------------------------------------------------------------------------


def test_what_matters_comes_first_and_the_page_stays_short() -> None:
    many = [*CASES, *(case(index, "verified", "good") for index in range(10, 60))]
    text = written(format_of("markdown:rows=4"), PLAIN, many, replace(REAL, shown=dict.fromkeys(("index", "verdict"), 5)))
    rows = re.findall(r"^\| (\d+) \| (\w+) \|$", text, re.MULTILINE)
    assert rows == [("1", "falsified"), ("2", "unknown"), ("0", "verified"), ("3", "misclassified")]
    assert "\n50 more: 50 verified\n" in text
    assert text.startswith("### absint demo: my nets/a b.onnx\n")
    everything = written(format_of("markdown:rows=0"), PLAIN, many, replace(REAL, shown=dict.fromkeys(("index", "verdict"), 5)))
    assert len(re.findall(r"^\| \d", everything, re.MULTILINE)) == 54


def test_markdown_shows_what_files_hold_and_obeys_none_of_it() -> None:
    evil = "<script>&`a`|*b*_c_[x](y)\\~$1$#\n\n# title"
    text = written(format_of("markdown"), replace(DOCUMENT, notes=(evil,)), [*ROWS, row(4, evil, "unknown", tone="open")])
    assert HOSTILE not in text
    assert "<" not in text
    shown = "&lt;script&gt;&amp;\\`a\\`\\|\\*b\\*\\_c\\_\\[x\\](y)\\\\\\~\\$1\\$\\# \\# title"
    assert text.count(shown) == 2
    for block in re.split(r"\n\n", text.strip()):
        lines = [line for line in block.splitlines() if line.startswith("|")]
        assert len({len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) for line in lines}) <= 1, block


def test_errors_and_what_is_missing_come_before_anything_else() -> None:
    lines = written(format_of("markdown"), LOST, CASES, REAL).splitlines()
    said = ("E-WORKER-DIED: input 5: killed &lt;9&gt;", "E-MEMORY-FULL: no memory", "2 items are not decided")
    assert lines[2:5] == [f"- **{text}**" for text in said]
    assert f"- {CAVEAT}" in written(format_of("markdown"), DOCUMENT, ROWS, WARNED)
    assert "\n    sat\n" in written(format_of("markdown"), replace(PLAIN, lead="sat\n"), (), replace(REAL, lead=True))


# ---- Parquet --------------------------------------------------------------------------------------------------------------


def parquet(rows, choice: str = "parquet", heading=HEADING, document: Document = DOCUMENT):
    reader = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    return reader.ParquetFile(io.BytesIO(written(format_of(choice), document, rows, heading)))


def test_columns_have_the_type_of_all_their_values() -> None:
    names = ("i", "big", "f", "words", "b", "s", "l", "ll", "mixed", "map", "none", "vast", "lossy")
    first = dict(zip(names, (1, 2**60, 1, "inf", True, "inf", [1, None], [["a"], []], 1, {"k": 1}, None, 2**70, 2**60 + 1), strict=True))
    second = dict(zip(names, (None, -1, 0.5, None, None, "text", [], None, "x", None, None, 1, 0.5), strict=True))
    file = parquet([Row(first, {}), Row(second, {}), Row({}, {})], heading=replace(HEADING, columns=names))
    types = {field.name: str(field.type) for field in file.schema_arrow}
    assert types == {"i": "int64", "big": "int64", "f": "double", "words": "double", "b": "bool", "s": "string",
                     "l": "list<element: int64>", "ll": "list<element: list<element: string>>", "mixed": "string",
                     "map": "string", "none": "string", "vast": "string", "lossy": "string"}
    found = file.read().to_pylist()
    texts = {field.name for field in file.schema_arrow if (field.metadata or {}).get(b"json")}
    assert texts == {"mixed", "map", "vast", "lossy"}
    for given, got in zip((first, second, {}), found, strict=True):
        for name in names:
            value = json.loads(got[name]) if name in texts and got[name] is not None else got[name]
            expected = given.get(name)
            assert value == (float(expected) if name == "words" and expected else expected), name


def test_a_file_has_row_groups_and_the_header() -> None:
    file = parquet([row(index, HOSTILE, margin=index / 7) for index in range(25)], "parquet:rows=10,compression=zstd")
    assert [file.metadata.row_group(k).num_rows for k in range(file.metadata.num_row_groups)] == [10, 10, 5]
    assert file.metadata.row_group(0).column(0).compression == "ZSTD"
    assert file.read().column("margin").to_pylist() == [index / 7 for index in range(25)]
    said = {name.decode(): value.decode() for name, value in file.schema_arrow.metadata.items() if name.startswith(b"absint")}
    assert json.loads(said["absint.header"]) == HEADING.header
    assert json.loads(said["absint.notes"])[:2] == ["first note", HOSTILE]
    assert json.loads(said["absint.summary"])["verified"] == 1
    assert said["absint.schema"] == "absint-demo/2"
    assert parquet(ROWS, heading=WARNED).read().column("notes").to_pylist() == [CAVEAT] * 3
    assert tuple(field.name for field in parquet(()).schema_arrow) == COLUMNS


def test_rows_wait_on_the_disk_and_a_run_that_fails_leaves_nothing(monkeypatch) -> None:
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    from absint.reports import parquet as module

    monkeypatch.setattr(module, "_IN_MEMORY", 100)
    stream = io.BytesIO()
    made = format_of("parquet")(stream, ".parquet")
    made.begin(HEADING)
    for one in ROWS:
        made.row(one)
    assert made.kept._rolled
    assert not stream.getvalue()
    made.end(DOCUMENT)
    assert stream.getvalue().startswith(b"PAR1")
    assert made.kept.closed


def test_without_pyarrow_it_is_said_before_any_work(monkeypatch) -> None:
    from absint.errors import UnsupportedError
    from absint.reports import parquet as module

    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(UnsupportedError) as caught:
        format_of("parquet").check()
    assert caught.value.code == "E-PARQUET-MISSING"


# ---- the command line -----------------------------------------------------------------------------------------------------


def test_the_command_line_takes_options_of_a_format(cli) -> None:
    words = ("verify", samples.network_path("mnist_relu_3x50"), "--index", "0:2", "--domain", "box", "--attack", "none", "--quiet")
    done = cli(*words, "--eps", "0.05", "--format", "junit:unknown=failure")
    assert done.code == 1
    assert ElementTree.fromstring(done.out)[0].get("failures") == "2"
    cli(*words, "--format", "junit:unknwon=failure").fails(2, "E-FORMAT-OPTION")
