"""One small run, made once: its JSON document, its journal and its pack; and ways to change a journal or to forge a pack."""

from __future__ import annotations

import hashlib
import io
import json
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np
import onnx
import warm
from onnx import TensorProto, helper, numpy_helper

from absint.runs.gathered import Gathered
from absint.runs.packs import MANIFEST, REPORT, WITNESSES, name_members, write_report, write_witnesses
from absint.runs.reported import Reported

INPUTS = [[0.9, 0.1, 0.5], [0.55, 0.5, 0.5], [0.1, 0.9, 0.5], [0.5, 0.55, 0.2], [0.9, 0.1, 0.3], [0.3, 0.2, 0.3]]
LABELS = [0, 0, 1, 1, 0, 0]
FALSIFIED = (1, 3, 5)
WORDS = ("--domain", "box", "--eps", "0.1", "--quiet")
# What of an item the clock says.
TIMES = ("time_s", "seconds", "started", "command", "journals")


@dataclass(frozen=True)
class Made:
    """document: of --format json.  journal, pack: bytes.  net, data: files."""

    document: dict[str, Any]
    code: int
    journal: bytes
    pack: bytes
    net: Path
    data: Path


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="reported-")


def network(path: Path, weight: float = 1.0) -> Path:
    """y = weight (x0, x1)."""
    matrix = np.array([[weight, 0, 0], [0, weight, 0]], dtype=np.float32)
    graph = helper.make_graph(
        [helper.make_node("Gemm", ["x", "w"], ["y"], transB=1)], "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])], [numpy_helper.from_array(matrix, "w")])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@cache
def made() -> Made:
    """All six inputs; 1, 3 and 5 are falsified. Run in a process of its own, so that no patch of the test that asks first is in it."""
    folder = Path(_folder().name)
    net, data = network(folder / "net.onnx"), folder / "data.npz"
    np.savez(data, images=np.array(INPUTS), labels=np.array(LABELS))
    out, journal, pack = folder / "run.json", folder / "run.jsonl", folder / "run.zip"
    words = ["verify", str(net), "--data", str(data), *WORDS, "--out", str(out), "--journal", str(journal), "--bundle", str(pack)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ABSINT_")}
    done = warm.run([sys.executable, "-m", "absint", *words], cwd=folder, env=environment)
    return Made(json.loads(out.read_bytes()), done.returncode, journal.read_bytes(), pack.read_bytes(), net, data)


def lines(kept: Callable[[dict[str, Any]], bool] = lambda row: True) -> list[bytes]:
    """The first line of the journal, and of the records those that are kept, by index: as a kill leaves it."""
    first, *rest = made().journal.splitlines(keepends=True)
    rows = [line for line in rest if not line.startswith(b'{"absint_') and kept(json.loads(line))]
    return [first, *sorted(rows, key=lambda line: json.loads(line)["index"])]


def written(path: Path, content: list[bytes] | None = None) -> Path:
    """A journal: the whole one, or these lines."""
    path.write_bytes(made().journal if content is None else b"".join(content))
    return path


def changed(line: bytes, **values: Any) -> bytes:
    """A record that says other things."""
    return json.dumps({**json.loads(line), **values}).encode() + b"\n"


def timeless(value: Any) -> Any:
    """A document without what the clock says, and without the journals that it was made of."""
    if isinstance(value, dict):
        return {name: timeless(item) for name, item in value.items() if name not in TIMES}
    return [timeless(item) for item in value] if isinstance(value, list) else value


# ---- packs ---------------------------------------------------------------------------------------------------------------


def members(pack: bytes | None = None) -> dict[str, bytes]:
    """Of the pack, or of another one."""
    with ZipFile(io.BytesIO(made().pack if pack is None else pack)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def packed(path: Path, content: Mapping[str, bytes], *, twice: str = "") -> Path:
    """A zip file of these members."""
    with ZipFile(path, "w", ZIP_DEFLATED) as archive:
        for name in (*content, *([twice] if twice else [])):
            archive.writestr(name, content[name])
    return path


def resigned(content: Mapping[str, bytes]) -> dict[str, bytes]:
    """With a manifest that has the sizes and hashes of what is there: what someone does who changes a pack with care."""
    manifest = json.loads(content[MANIFEST])
    for one in manifest["members"]:
        data = content[one["name"]]
        one |= {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    return {**content, MANIFEST: json.dumps(manifest).encode()}


def forged(folder: Path, change: Callable[[dict[str, Any]], dict[str, Any]] = lambda row: row, **options: Any) -> dict[str, bytes]:
    """The pack, its records changed, with report, counterexamples and manifest made to fit."""
    return forged_of(members(), folder, change, **options)


def forged_of(content: Mapping[str, bytes], folder: Path, change: Callable[[dict[str, Any]], dict[str, Any]] = lambda row: row,
              **options: Any) -> dict[str, bytes]:
    """The same of any pack with one journal."""
    journal = folder / "journal.jsonl"
    journal.write_bytes(b"".join(
        line if line.startswith(b'{"absint_') else json.dumps(change(json.loads(line))).encode() + b"\n"
        for line in content["journal.jsonl"].splitlines(keepends=True)))
    if options:
        first, *rest = journal.read_bytes().splitlines(keepends=True)
        row = json.loads(first)
        row["run"]["options"] |= options
        journal.write_bytes(b"".join([json.dumps(row).encode() + b"\n", *rest]))
    with Gathered([journal]) as gathered:
        name_members(gathered, folder)
        write_report(Reported(gathered), folder / REPORT)
        write_witnesses(gathered, folder / WITNESSES)
    return resigned({**content, **{name: (folder / name).read_bytes() for name in ("journal.jsonl", REPORT, WITNESSES)}})
