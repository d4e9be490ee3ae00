"""Runs of `absint taboo` for `taboo.py`: as a reader would type them, journaled, resumed, killed where a table asks for it; their cost."""

from __future__ import annotations

import gzip
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from clever_runner import Found, kept

import absint
from absint.numeric.backend import numeric_mode

TRAIN, TEST = "train-images-idx3-ubyte.gz", "t10k-images-idx3-ubyte.gz"
KEYS = ("absint benchmarks taboo 1", "absint benchmarks taboo 2")      # no secrets: the figures can be repeated
_POLL = 0.2
_FORWARD = 128      # images of a forward pass, for the ratios


@dataclass(frozen=True)
class Size:
    """Images by stage: train for thresholds, test for alarms, attacked by Table 1, certified by one radius, radii, points around some."""

    train: int
    test: int
    attacked: int
    certified: int
    radii: int
    pointed: int
    points: int
    resumed: int


@dataclass
class Visit:
    """What units are given. out: a folder.  net: the ONNX file.  mnist: a folder of IDX files."""

    out: Path
    net: Path
    mnist: Path
    size: Size
    threads: int = 1
    device: str = "cpu"

    def keys(self, count: int) -> Path:
        """A file of the first keys."""
        path = self.out / f"keys-{count}.txt"
        path.write_text("\n".join(KEYS[:count]) + "\n")
        return path

    @cached_property
    def test(self) -> np.ndarray:
        """(n, 1, 28, 28) float32 in [0, 1]."""
        return images(self.mnist / TEST)

    @cached_property
    def train(self) -> np.ndarray:
        """The same of the training set."""
        return images(self.mnist / TRAIN)

    def unit(self, name: str) -> Found:
        """What another unit found. Raises RuntimeError where it has not run."""
        found = kept(self, name)
        if found is None or found["state"] != "done":
            raise RuntimeError(f"unit {name} comes first")
        return found

    @cached_property
    def forward(self) -> float:
        """CPU seconds of an image's forward pass by absint's graph in float32, one thread."""
        graph, x = absint.load(self.net), torch.from_numpy(self.test[:2000])
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        with numeric_mode(), torch.no_grad():
            graph(x[:_FORWARD])
            begin = time.process_time()
            for part in x.split(_FORWARD):
                graph(part)
        spent = time.process_time() - begin
        torch.set_num_threads(threads)
        return spent / len(x)


def images(path: Path) -> np.ndarray:
    """(n, 1, 28, 28) float32 in [0, 1], of an IDX file."""
    return np.frombuffer(gzip.decompress(path.read_bytes()), np.uint8, offset=16).reshape(-1, 1, 28, 28) / np.float32(255)


def labels(path: Path) -> np.ndarray:
    """(n,) of the IDX file beside the images."""
    return np.frombuffer(gzip.decompress(path.with_name(path.name.replace("images-idx3", "labels-idx1")).read_bytes()), np.uint8, offset=8)


def asked(visit: Visit, name: str, words: Sequence[object], *, kill: Callable[[int], bool] | None = None) -> Found:
    """`absint WORDS` with a journal, and its JSON. kill: of the journal's lines so far, whether the process is killed now, once; then it
    is started again with --resume. Raises RuntimeError with the last lines of what it says, unless it ends with 0 or 1.
    """
    journal, out = visit.out / f"{name}.journal.jsonl", visit.out / f"{name}.result.json"
    line = [sys.executable, "-m", "absint", *map(str, words), "--journal", str(journal), "--out", str(out), "--threads", str(visit.threads)]
    before, begin, killed = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic(), None
    earlier = lines_of(journal)      # of a visit that was ended: what it cost is not known
    if kill is not None and not journal.exists():
        killed = _killed(line, journal, kill, visit.out / f"{name}.log")
    line += ["--resume"] if journal.exists() else []
    with (visit.out / f"{name}.log").open("a") as log:
        code = subprocess.run(line, stdout=log, stderr=log, check=False, env=environment()).returncode
    if code not in (0, 1):
        raise RuntimeError(f"exit {code}: " + " | ".join((visit.out / f"{name}.log").read_text().splitlines()[-3:]))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    command = " ".join(["absint", *(_shown(visit, word) for word in words)])
    return {"document": json.loads(out.read_text()), "code": code, "wall_s": time.monotonic() - begin, "cpu_s": cpu, "killed_at": killed,
            "command": command, "before": earlier}


def lines_of(journal: Path) -> int:
    """0 where there is none."""
    return len(journal.read_bytes().splitlines()) if journal.exists() else 0


def _shown(visit: Visit, word: object) -> str:
    places = {str(visit.net): "lenet5.onnx", str(visit.mnist): "MNIST", str(visit.out): "OUT"}
    text = str(word)
    for place, name in places.items():
        text = text.replace(place, name)
    return f"'{text}'" if " " in text else text


def environment() -> dict[str, str]:
    """With what this Python imports, and no cards."""
    return {**os.environ, "CUDA_VISIBLE_DEVICES": ""}


def _killed(line: Sequence[str], journal: Path, kill: Callable[[int], bool], log: Path) -> int | None:
    """Lines of the journal at SIGKILL; None where the process ended before."""
    with log.open("a") as said, subprocess.Popen(line, stdout=said, stderr=said, env=environment()) as process:
        while process.poll() is None:
            count = lines_of(journal)
            if kill(count):
                process.kill()
                process.wait()
                return count
            time.sleep(_POLL)
    return None


def costs(visit: Visit, found: Found, inputs: int) -> Found:
    """Minutes, and forward passes of an image for each input."""
    return {"command": found["command"], "minutes": found["wall_s"] / 60, "cpu_minutes": found["cpu_s"] / 60, "inputs": inputs,
            "passes": found["cpu_s"] / inputs / visit.forward, "killed_at": found["killed_at"], "before": found["before"]}


def session(path: Path, *, optimised: bool, threads: int = 1) -> onnxruntime.InferenceSession:
    """Of an ONNX file."""
    options = onnxruntime.SessionOptions()
    levels = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = levels.ORT_ENABLE_ALL if optimised else levels.ORT_DISABLE_ALL
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def outputs(made: onnxruntime.InferenceSession, x: np.ndarray, part: int = 500) -> dict[str, Any]:
    """All outputs by name, joined over parts of the inputs."""
    names, given = [one.name for one in made.get_outputs()], made.get_inputs()[0].name
    found = [made.run(names, {given: x[k:k + part]}) for k in range(0, len(x), part)]
    return {name: np.concatenate([one[k].reshape(len(x[part * i:part * (i + 1)]), -1) for i, one in enumerate(found)])
            for k, name in enumerate(names)}
