"""docs/faults.md: every row is run, and its code and exit code are what happens. One message, no traceback, no verdict."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import pickle
import pty
import re
import shlex
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from places import ROOT

from absint import samples
from absint.verdict import InstanceResult, Verdict

PAGE = ROOT / "docs" / "faults.md"
ROWS = [tuple(cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]) for line in PAGE.read_text(encoding="utf-8").splitlines()
        if re.match(r"\| .*`.*\|$", line)]
NET = samples.network_path("mnist_conv_small")
RUN = [sys.executable, "-c", "from absint.cli.main import run; run()"]
IMAGES = np.full((2, 28, 28), 0.5)
VERDICTS = re.compile(r"\b(verified|falsified|likely|misclassified)\b")


class Trap:
    """Unpickling it would leave a file behind."""

    def __reduce__(self):
        return (open, ("executed", "w"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Every file that the table names."""
    here = tmp_path_factory.mktemp("faults")
    small = small_net()
    (here / "net.onnx").write_bytes(NET.read_bytes())
    for name in ("ünïcode.onnx", "ä b.onnx", "größe — 網.onnx"):
        (here / name).write_bytes(small)
    (here / "generator.onnx").write_bytes(generator())
    (here / "link.onnx").symlink_to(here / "net.onnx")
    (here / "empty.onnx").touch()
    (here / "half.onnx").write_bytes(NET.read_bytes()[:5000])
    (here / "model.keras").write_bytes(b"anything")
    (here / "folder.onnx").mkdir()
    (here / "folder.png").mkdir()
    write_data(here)
    write_pickles(here)
    write_journals(here)
    return here


def small_net() -> bytes:
    """3 channels, 4 x 5: a convolution, then a sum per channel."""
    nodes = [helper.make_node("Conv", ["x", "w"], ["c"]), helper.make_node("Relu", ["c"], ["r"]), helper.make_node("Flatten", ["r"], ["y"])]
    weight = numpy_helper.from_array(np.ones((2, 3, 4, 5), dtype=np.float32), "w")
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 4, 5])],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])], [weight])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


def generator() -> bytes:
    """4 latents to 784 entries of [-1, 1]."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["m"]), helper.make_node("Tanh", ["m"], ["y"])]
    weight = numpy_helper.from_array(np.ones((4, 784), dtype=np.float32), "w")
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 784])], [weight])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


def write_data(here: Path) -> None:
    labels = np.array([1, 2])
    np.savez(here / "images.npz", images=IMAGES, labels=labels)
    np.savez(here / "latents.npz", inputs=np.zeros((2, 4)), labels=labels)
    np.savez(here / "uint8.npz", images=(IMAGES * 255).astype(np.uint8), labels=labels)
    np.savez(here / "int64.npz", images=(IMAGES * 255).astype(np.int64), labels=labels)
    np.savez(here / "labels.npz", labels=labels)
    np.save(here / "labels.npy", np.arange(7))
    np.save(here / "short.npy", IMAGES)
    (here / "short.npy").write_bytes((here / "short.npy").read_bytes()[:-9])
    (here / "empty.npz").touch()
    np.savez(here / "nhwc.npz", images=np.linspace(0, 1, 60).reshape(1, 4, 5, 3))
    np.savez(here / "ambiguous.npz", images=np.zeros((1, 3, 5, 4)))
    np.savez(here / "dätä 1.npz", images=np.zeros((1, 3, 4, 5)))
    (here / "labels-idx1-ubyte").write_bytes(struct.pack(">BBBBI", 0, 0, 8, 1, 2) + b"\x01\x02")
    (here / "short-images-idx3-ubyte").write_bytes(struct.pack(">BBBBIII", 0, 0, 8, 3, 2, 28, 28) + bytes(999))


def write_journals(here: Path) -> None:
    """Of an older format, which say no more of their run than what they are bound to; and no pack."""
    first = '{{"absint_journal": 2, "binding": {{"analysis": "verify", "eps": "{}"}}}}\n'
    row = json.dumps(InstanceResult(3, Verdict.UNKNOWN, margin=-1.0).as_dict()) + "\n"
    texts = {"a": first.format("0.1"), "b": first.format("0.2"), "one": first.format("0.1") + row,
             "two": first.format("0.1") + row.replace("-1.0", "-2.0"), "damaged": first.format("0.1") + row[:40] + "\n" + row}
    for name, text in texts.items():
        (here / f"{name}.jsonl").write_text(text)
    (here / "pack.zip").write_bytes(b"no zip file")


def write_pickles(here: Path) -> None:
    bare = pickle.dumps(Trap(), protocol=2)
    (here / "model.pth").write_bytes(bare)
    (here / "pickled.onnx").write_bytes(bare)
    with zipfile.ZipFile(here / "model.pt", "w") as archive:
        archive.writestr("model/data.pkl", bare)


# --- circumstances that are no files ---------------------------------------------------------------------------------


def busy(path):
    """Another run holds the file."""

    def arrange(folder, monkeypatch):
        file = (folder / path).open("w")
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return file

    return arrange


def no_cuda(folder, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def one_card(monkeypatch, found=()):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch, "zeros", lambda *args, **kwargs: None)
    monkeypatch.setattr("absint.numeric.probe.faults", lambda device: list(found) if device.type == "cuda" else [])


def mute_cuda(folder, monkeypatch):
    def refuses(*args, **kwargs):
        raise RuntimeError("CUDA error: unspecified launch failure")

    one_card(monkeypatch)
    monkeypatch.setattr(torch, "zeros", refuses)


def old_driver(folder, monkeypatch):
    def refuses():
        raise RuntimeError("The NVIDIA driver on your system is too old (found version 11040).")

    no_cuda(folder, monkeypatch)
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: True)
    monkeypatch.setattr(torch.cuda, "init", refuses)


def full_card(folder, monkeypatch):
    def refuses(*args, **kwargs):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 MiB.")

    one_card(monkeypatch)
    monkeypatch.setattr(torch, "zeros", refuses)


def emulated(folder, monkeypatch):
    one_card(monkeypatch)
    monkeypatch.setenv("CUBLAS_EMULATE_DOUBLE_PRECISION", "1")


def dying_cuda(folder, monkeypatch):
    """Simulated: the device answers at first, then a kernel fails."""

    def fails(*args, **kwargs):
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr("absint.numeric.backend.device", lambda name: torch.device("cpu"))
    monkeypatch.setattr("absint.engine.forward.box_step", fails)


def no_memory(folder, monkeypatch):
    def fails(*args, **kwargs):
        raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9e15 bytes")

    monkeypatch.setattr("absint.analyses.bounds.widths.tensor_bounds", fails)


def full_disk(folder, monkeypatch):
    def fails(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("absint.runs.journal.os.fsync", fails)


def read_only(folder, monkeypatch):
    """Root may write anywhere: the refusal is simulated."""
    real = os.open

    def refusing(path, *rest, **more):
        if str(path).endswith("readonly.json"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return real(path, *rest, **more)

    monkeypatch.setattr(os, "open", refusing)


ARRANGED = {
    "output that may not be written": read_only,
    "disk full, journal": full_disk,
    "two runs with one journal": busy("run.jsonl"),
    "two runs with one output": busy("busy.json"),
    "no CUDA device": no_cuda,
    "a CUDA device beyond the last": lambda folder, monkeypatch: one_card(monkeypatch),
    "a driver too old for this torch": old_driver,
    "a CUDA device without free memory": full_card,
    "a CUDA device that rounds otherwise": lambda folder, monkeypatch: one_card(monkeypatch, ["products of matrices in float32"]),
    "emulated products by the environment": emulated,
    "CUDA device that does not answer": mute_cuda,
    "CUDA device that dies on the way, bounds": dying_cuda,
    "CUDA device that dies on the way, verify": dying_cuda,
    "memory runs out": no_memory,
}
NETS = {"nhwc.npz": "ünïcode.onnx", "ambiguous.npz": "ünïcode.onnx"}  # `net.onnx` in the table, with three channels here
IN_A_SHELL = ("TERM=", "LC_ALL=", "<&-", "|", ">")


def in_a_shell(command):
    return any(word in command for word in IN_A_SHELL)


@pytest.mark.parametrize(("fault", "command", "code", "exit_code"), [row for row in ROWS if not in_a_shell(row[1])], ids=lambda v: v[:40])
def test_fault(cli, folder, monkeypatch, fault, command, code, exit_code):
    monkeypatch.chdir(folder)
    held = ARRANGED[fault](folder, monkeypatch) if fault in ARRANGED else None
    words = shlex.split(command.strip("`"))[1:]
    net = next((net for data, net in NETS.items() if data in words), None)
    words = [net if net and word == "net.onnx" else word for word in words]
    index = ["--index", "0:2"] if words[0] == "verify" and "--data" not in words else []
    done = cli(*words, *index)
    if code == "-":
        assert done.code == int(exit_code), done.err
        assert "error[" not in done.err
        assert "note" not in fault or "note: " in done.err
    else:
        done.fails(int(exit_code), f"{code}]")
        assert not VERDICTS.search(done.err)
    assert "Traceback" not in done.err
    assert not (folder / "executed").exists()
    if held is not None and hasattr(held, "close"):
        held.close()


@pytest.mark.parametrize(("fault", "command", "code", "exit_code"), [row for row in ROWS if in_a_shell(row[1])], ids=lambda v: v[:40])
def test_fault_of_the_shell(folder, fault, command, code, exit_code):
    """Whatever belongs to the process: environment, descriptors, pipes."""
    line = command.strip("`").replace("\\|", "|").replace("absint", shlex.join(RUN), 1)
    environment = {name: value for name, value in os.environ.items() if name not in ("LC_ALL", "LANG", "PYTHONUTF8", "NO_COLOR")}
    environment |= {"PYTHONCOERCECLOCALE": "0", "OMP_NUM_THREADS": "1"}
    script = f"set -o pipefail; {line}"
    done = subprocess.run(["bash", "-c", script], cwd=folder, env=environment, capture_output=True, check=False, timeout=60)
    error = done.stderr.decode("utf-8", "replace")
    assert done.returncode == int(exit_code), error
    assert "Traceback" not in error
    assert error.count("error[") == (code != "-")
    assert code == "-" or f"error[{code}]" in error
    assert b"\x1b[" not in done.stdout


@pytest.mark.parametrize(("term", "colours"), [("dumb", False), ("xterm", True)])
def test_colours_on_a_terminal(folder, term, colours):
    """A terminal of its own, so that the answer is not owed to a pipe."""
    master, slave = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if name not in ("LC_ALL", "LC_CTYPE", "NO_COLOR")}
    child = subprocess.Popen([*RUN, "inspect", "ünïcode.onnx"], cwd=folder, stdout=slave, stderr=slave, env=environment | {
        "TERM": term, "LANG": "C.UTF-8"})
    os.close(slave)
    shown = b""
    while True:
        try:
            part = os.read(master, 65536)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        shown += part
    os.close(master)
    assert child.wait() == 0
    assert b"can analyse" in shown
    assert (b"\x1b[" in shown) is colours


def test_the_table_names_every_arranged_fault():
    assert len(ROWS) > 40
    assert set(ARRANGED) <= {row[0] for row in ROWS}
    assert len({row[0] for row in ROWS}) == len(ROWS)


def test_a_second_run_leaves_the_output_of_the_first_alone(cli, tmp_path):
    path = tmp_path / "out.json"
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write("half a result")
        file.flush()
        cli("bounds", NET, "--quiet", "--out", path).fails(3, "E-OUT-BUSY]")
        assert path.read_text() == "half a result"
    assert cli("bounds", NET, "--quiet", "--out", path).code == 0
    assert json.loads(path.read_text())["schema"].startswith("absint-bounds/")


def test_transposed_images_are_the_same_images(cli, folder, monkeypatch):
    monkeypatch.chdir(folder)
    images = np.load("nhwc.npz")["images"]
    np.savez("nchw.npz", images=images.transpose(0, 3, 1, 2))
    one, two = (cli("bounds", "ünïcode.onnx", "--data", name, "--format", "csv") for name in ("nhwc.npz", "nchw.npz"))
    assert one.out == two.out
    assert "reordered" in one.err
    assert "reordered" not in two.err


def test_the_cli_page_is_up_to_date():
    import importlib.util

    path = PAGE.with_name("make_cli.py")
    spec = importlib.util.spec_from_file_location("make_cli", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["make_cli"] = module
    spec.loader.exec_module(module)
    assert module.PAGE.read_text(encoding="utf-8") == module.page(), "run: python docs/make_cli.py"
