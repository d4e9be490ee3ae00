"""More commands of `tests/project/test_hints.py`, and the files that they need: journals, networks of one index, detectors, witnesses."""

from __future__ import annotations

import json
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

import onnx
from hint_b_plugins import plugin_files
from hint_cases import V
from hint_commands import GC, VR, P, W, rows
from hint_files import model_of
from onnx import TensorProto, helper

import absint
from absint.analyses.taboo.exported import export_detector
from absint.analyses.taboo.traps import read_traps
from absint.cli.main import main

ROOT = Path(__file__).parents[2]
VW = f"{VR} --mode distribution"
_WHOLE = "radius NET --data DATA --domain box --clip none"
_BOX = "".join(f"(declare-const X_{k} Real)(assert (>= X_{k} 0))(assert (<= X_{k} 1))\n" for k in range(4))


def b_files(folder: Path, paths: dict[str, str]) -> dict[str, Path]:
    """Beside those that are there; word -> path."""
    return {**plugin_files(folder), **_networks(folder, paths), **_journals(folder, paths), **_witnesses(folder),
            "NOISE": ROOT / "tests/plugins/files/noise.py"}


def _networks(folder: Path, paths: dict[str, str]) -> dict[str, Path]:
    found = {word: folder / f"{word.lower()}.onnx" for word in ("ALARMED", "INDEXNET", "TWOINPUTS")}
    export_detector(absint.load(paths["TABOO"], fold=False), read_traps(paths["TRAPS"]), found["ALARMED"])
    model = onnx.load(paths["NET"])
    model.graph.node.append(helper.make_node("ArgMax", ["y"], ["i"], axis=1, keepdims=0))
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info("i", TensorProto.INT64, ["n"]))
    onnx.save(model, found["INDEXNET"])
    second = helper.make_tensor_value_info("z", TensorProto.FLOAT, ["n", 3])
    onnx.save(model_of([helper.make_node("Concat", ["x", "z"], ["y"], axis=1)], [], ("n", 2), ("n", 5), more_in=[second]),
              found["TWOINPUTS"])
    texts = {"INDEXQ": _BOX + "(declare-const Y_0 Real)(assert (>= Y_0 1))", "TWICEQ": _two(3, 2), "INPUTSQ": _two(2, 3)}
    for word, text in texts.items():
        found[word] = folder / f"{word.lower()}.vnnlib"
        found[word].write_text(text)
    return found


def _two(one: int, two: int) -> str:
    """A query of VNN-LIB 2.0 about a network of two inputs."""
    named = (("X", one), ("Z", two))
    declared = "".join(f"(declare-input {name} float32 [1, {count}])" for name, count in named)
    ends = "".join(f"(>= {name}[0,{k}] 0.0) (<= {name}[0,{k}] 1.0)" for name, count in named for k in range(count))
    return (f"(vnnlib-version <2.0>)\n(declare-network N {declared} (declare-output Y float32 [1, 5]))\n"
            f"(assert (and {ends}))\n(assert (>= Y[0,0] 900.0))\n")


def _journals(folder: Path, paths: dict[str, str]) -> dict[str, Path]:
    first, *records = Path(paths["KEPT"]).read_bytes().splitlines(keepends=True)
    other = json.dumps({**json.loads(records[0]), "label": 7}).encode() + b"\n"
    newer = json.dumps({**json.loads(first), "absint_journal": 99}).encode() + b"\n"
    found = {word: folder / f"{word.lower()}.jsonl" for word in ("NOISEJ", "TWICEJ", "NEWERJ", "GAPJ", "CUTJ")}
    found["NOISEJ"].write_text('{"absint_journal": 2, "binding": {"analysis": "noise"}}\n')
    found["TWICEJ"].write_bytes(first + records[0] + other)
    found["NEWERJ"].write_bytes(newer + b"".join(records))
    whole = folder / "whole.jsonl"
    with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        main([*_placed(VW, paths), "--journal", str(whole), "--quiet"])
    first, _, two, *_ = whole.read_bytes().splitlines(keepends=True)
    found["GAPJ"].write_bytes(first + two)
    found["CUTJ"].write_bytes(first)
    return found


def _placed(command: str, paths: dict[str, str]) -> list[str]:
    return [str(paths.get(word, word)) for word in command.split()]


def _witnesses(folder: Path) -> dict[str, Path]:
    taken = folder / "witnessed"
    taken.mkdir(exist_ok=True)
    for k in range(3):
        (taken / f"witness_{k:05d}.json").write_text("{}")
    return {"WITNESSED": taken}


B_COMMANDS = [
    *rows("E-EXECUTOR", ("leave --executor away: all items are decided in this process", f"{VW} --executor processes", VW)),
    *rows("E-GLOBAL-CLASS",
          ("classes count from 0", f"{GC} --classes 9", f"{GC} --classes 0"),
          ("judge them in runs of their own", GC.replace("NET", "NET SAMESIZE"), GC)),
    *rows("E-JOURNAL-ANALYSIS", ("add --plugin FILE with the file that defines it", "report NOISEJ", "report NOISEJ --plugin NOISE")),
    *rows("E-JOURNAL-CORRUPT",
          ("remove the line that is wrong, then --resume again", f"{V} --journal TWICEJ --resume", f"{V} --journal KEPT --resume"),
          ("remove the lines behind the missing one, then --resume again", f"{VW} --journal GAPJ --resume",
           f"{VW} --journal CUTJ --resume")),
    *rows("E-JOURNAL-MISMATCH",
          ("finish that run with the absint that began it{}, or give another --journal", f"{V} --journal NEWERJ --resume",
           f"{V} --journal TMP/another"),
          ("use the absint that wrote it{}", "report NEWERJ", "report KEPT")),
    *rows("E-MODEL-OUTPUTS", ("a network with an alarm: name the network that it was made of, whose nodes these are", "inspect ALARMED",
                              "inspect TABOO")),
    *rows("E-OUT", ("give {} another path", f"{W} --plots NET/x", f"{W} --plots TMP/x")),
    *rows("E-RADIUS", ("a smaller --upper, such as 1", f"{_WHOLE} --tolerance 1e307 --upper 1.7976931348623157e308",
                       f"{_WHOLE} --upper 1 --tolerance 0.5")),
    *rows("E-SEMANTICS", ("absint does not bound what executions of these err by; --semantics real, where it is offered, asks about the "
                          "reals alone", f"{V} --semantics float32".replace("NET", "SOFTMAX"),
                          f"{V} --semantics real".replace("NET", "SOFTMAX"))),
    *rows("E-VNNLIB-COUNT", ("declare Y_0 alone; for a query about the scores, cut the network in front of it: onnx.utils.extract_model",
                             "verify QUERY --network INDEXNET", "verify INDEXQ --network INDEXNET")),
    *rows("E-VNNLIB-INPUTS", ("declare the network's inputs in its own order and shapes", "verify TWICEQ --network TWOINPUTS",
                              "verify INPUTSQ --network TWOINPUTS")),
    *rows("E-WITNESS-EXISTS", ("give another folder, or remove them", f"{P} --eps 1 --witness WITNESSED", f"{P} --eps 1 --witness TMP/w")),
]
