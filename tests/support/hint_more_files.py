"""More files of `hint_files`: tables, boxes, queries of VNN-LIB 2.0, lists of queries, detectors, calibrations, journals, weights apart."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import helper
from PIL import Image

import absint
from absint.cli.main import main
from absint.registry import CONTRACT, DECLARATION

_TWO = """(vnnlib-version <2.0>)
(declare-network N (declare-input X float32 [1, 4]) (declare-output Y float32 [1, 3]))
(assert (and {box}))
(assert (>= Y[0,0] 900.0))
"""
_ENDS = " ".join(f"(>= X[0,{k}] 0.0) (<= X[0,{k}] 1.0)" for k in range(4))
_BOX = "lower,upper\n" + "0.25,0.5\n" * 4


def more_files(folder: Path, paths: dict[str, Path]) -> dict[str, Path]:
    """Beside those that are there; word -> path."""
    found = {**_tables(folder), **_limits(folder), **_queries_of_two(folder), **_weights_apart(folder, paths), **_plugins(folder)}
    (folder / "emptydir").mkdir()
    return {**found, **_made_by_runs(folder, {**paths, **found}), "EMPTYDIR": folder / "emptydir"}


def _texts(folder: Path, ending: str, texts: dict[str, str]) -> dict[str, Path]:
    paths = {word: folder / f"{word.lower()}{ending}" for word in texts}
    for word, path in paths.items():
        path.write_text(texts[word])
    return paths


def _tables(folder: Path) -> dict[str, Path]:
    for name, size in (("a", 2), ("b", 2), ("c", 3)):
        Image.fromarray(np.full((size, size), 90, np.uint8)).save(folder / f"{name}.png")
    (folder / "torn.png").write_bytes(b"\x89PNG")
    return _texts(folder, ".csv", {
        "CSV": "label,a,b,c,d\n0,.5,.5,.5,1\n1,.5,.25,.5,0\n", "TWICECSV": "class,class,a,b,c,d\n0,0,.5,.5,.5,.5\n",
        "TWOLABELSCSV": "label,class,a,b,c,d\n0,0,.5,.5,.5,.5\n", "LISTEDCSV": "file,label\na.png,0\nb.png,1\n",
        "WIDELISTCSV": "file,kind,more\na.png,0,1\nb.png,1,1\n", "LOSTCSV": "file,label\nnowhere.png,0\n",
        "DAMAGEDCSV": "file,label\ntorn.png,0\n", "SIZESCSV": "file,label\na.png,0\nc.png,1\n",
        "LIST": "net.onnx,query.vnnlib,30\n", "BADLIST": "net.onnx,query.vnnlib\n",
    })


def _limits(folder: Path) -> dict[str, Path]:
    return _texts(folder, ".csv", {
        "BOX": _BOX, "SWAPPED": _BOX.replace("0.25,0.5", "0.5,0.25", 1), "ENDLESS": _BOX.replace("0.25", "-inf", 1),
        "VAST": _BOX.replace("0.5", "1e301", 1), "WORDSBOX": _BOX.replace("0.25", "low", 1), "THINBOX": _BOX.replace("0.25", "0.5", 1),
        "OUTBOX": "lower,upper\n" + "-99,99\n" * 3, "ZEROBOX": "lower,upper\n" + "0,0.5\n" * 4,
    })


def _queries_of_two(folder: Path) -> dict[str, Path]:
    good = _TWO.format(box=_ENDS)
    network = good[good.index("(declare-network"):good.index("(assert")]
    return _texts(folder, ".vnnlib", {
        "TWOQ": good, "TWONETSQ": good.replace(network, network + network.replace("N ", "M ").replace("X ", "U ").replace("Y ", "V ")),
        "EXPONENTQ": good.replace("900.0", "9e2"), "AXESQ": good.replace("[1, 4]", "[1, 2, 2]").replace("X[0,", "X[0,0,").replace(
            "X[0,0,2]", "X[0,1,0]").replace("X[0,0,3]", "X[0,1,1]"),
        "DEEPQ": _TWO.format(box="(and " * 2000 + _ENDS + ")" * 2000), "VASTQ": good.replace("900.0", f"9{'0' * 400}.0"),
        "SORTSQ": good.replace("(declare-output", "(declare-input Z real [1, 4]) (declare-output"),
        "OUTPUTSQ": good.replace("(declare-output Y float32 [1, 3])",
                                 "(declare-output Y float32 [1, 3]) (declare-output V float32 [1, 3])"),
        "INTSQ": _TWO.format(box=_ENDS.replace(".0", "")).replace("X float32", "X int8"),
    })


def _weights_apart(folder: Path, paths: dict[str, Path]) -> dict[str, Path]:
    found = {}
    for word in ("WEIGHTS", "LOSTWEIGHTS", "OUTSIDEWEIGHTS", "SHORTWEIGHTS"):
        found[word] = folder / f"{word.lower()}.onnx"
        onnx.save(onnx.load(paths["NET"]), found[word], save_as_external_data=True, location=f"{word.lower()}.bin", size_threshold=0)
    (folder / "lostweights.bin").unlink()
    (folder / "shortweights.bin").write_bytes(b"\0" * 8)
    model = onnx.load(found["OUTSIDEWEIGHTS"], load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            entry.value = "../outside.bin" if entry.key == "location" else entry.value
    found["OUTSIDEWEIGHTS"].write_bytes(model.SerializeToString())
    return found


def _plugins(folder: Path) -> dict[str, Path]:
    return _texts(folder, ".py", {
        "WORDVERSION": f"{DECLARATION} = 'one'\n", "NEWER": f"{DECLARATION} = {CONTRACT + 1}\n",
                                  "OLDER": f"{DECLARATION} = {CONTRACT - 1}\n",
    })


def _made_by_runs(folder: Path, paths: dict[str, Path]) -> dict[str, Path]:
    """A network with neurons enough for a trap, its detector; a calibration; a journal: each as it was written, and changed."""
    draw = np.random.default_rng(4)
    from hint_files import model_of, value_of

    node = helper.make_node
    wide = model_of([node("Gemm", ["x", "u"], ["h"], name="h"), node("Relu", ["h"], ["r"], name="r"), node("Gemm", ["r", "v"], ["y"])],
                    [value_of("u", draw.normal(size=(4, 1000)).astype("f4")), value_of("v", draw.normal(size=(1000, 3)).astype("f4"))])
    found = {"TABOO": folder / "taboo.onnx", "KEYS": folder / "keys.txt", "NOKEYS": folder / "nokeys.txt", "TRAPS": folder / "traps.json",
             "TAMPERED": folder / "tampered.json", "CALIBRATION": folder / "calibration.json", "HANDSET": folder / "handset.json",
             "KEPT": folder / "kept.jsonl", "TORN": folder / "torn.jsonl", "ROWS60": folder / "rows60.npz",
             "OTHERS": folder / "others.npz"}
    found["TABOO"].write_bytes(wide.SerializeToString())
    found["KEYS"].write_text("one small key\nanother one\n")
    found["NOKEYS"].write_text("\n")
    rows = draw.random((400, 4), "f4")
    scores = absint.load(paths["NET"])(torch.from_numpy(rows).double()).numpy()
    sure = np.sort(np.argsort(np.diff(np.sort(scores, 1)[:, -2:], axis=1)[:, 0])[-60:])      # far from a tie: none has radius 0
    rows, labels = rows[sure], scores[sure].argmax(1)
    np.savez(found["ROWS60"], images=rows, labels=labels)
    np.savez(found["OTHERS"], images=draw.random((3, 4), "f4"), labels=np.array([0, 1, 2]))
    absint.taboo_calibrate(str(found["TABOO"]), rows[:5], keys=("one small key", "another one"), detector=found["TRAPS"])
    absint.validate_calibrate(str(paths["NET"]), rows, labels, rate="0.1", upper="0.008", tolerance="0.0005", domain="box",
                              calibration=found["CALIBRATION"])
    main(["verify", str(paths["NET"]), "--data", str(paths["DATA"]), "--domain", "box", "--attack", "none", "--quiet", "--journal",
          str(found["KEPT"]), "--out", str(folder / "kept.txt")])
    for word, source in (("TAMPERED", "TRAPS"), ("HANDSET", "CALIBRATION")):
        text = json.loads(found[source].read_text())
        _change(text)
        found[word].write_text(json.dumps(text))
    lines = found["KEPT"].read_text().splitlines(keepends=True)
    found["TORN"].write_text(lines[0] + "{}\n" + "".join(lines[1:]))
    return found


def _change(value: object) -> bool:
    """The first number that is no version, by a little."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in list(items):
        if isinstance(one, float) and not isinstance(one, bool):
            value[key] = one + 1      # type: ignore[index]
            return True
        if _change(one):
            return True
    return False
