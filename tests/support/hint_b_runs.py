"""More calls of `tests/project/test_hints.py`: executors, workers and clusters, journals, the project file of `absint init`."""

from __future__ import annotations

import fcntl
import json
import os
import pickle
import shutil
import sys
import tomllib
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager, redirect_stderr
from dataclasses import replace
from io import StringIO
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from fake_ray import FakeRay
from hint_calls import rows

from absint.cli import init
from absint.cli.main import main
from absint.contract.analysis import Item
from absint.contract.run import Run
from absint.registry import load_plugin
from absint.runs import gathered, parcel, ray_executor, worker
from absint.runs.executors import EXECUTORS
from absint.runs.gathered import Gathered
from absint.runs.merging import merge

Call = Callable[[dict[str, str]], Any]
ROOT = Path(__file__).parents[2]
TINY = ROOT / "tests" / "runs" / "tiny_analysis.py"


# ---- executors ---------------------------------------------------------------------------------------------------------------


@contextmanager
def tiny() -> Iterator[Any]:
    """The plug-in whose items say what becomes of them."""
    load_plugin(TINY)
    try:
        yield sys.modules["absint_plugin_tiny_analysis"]
    finally:
        del sys.modules["absint_plugin_tiny_analysis"]


def asked(executor: str, deed: str = "answer", run: dict[str, Any] | None = None, **options: Any) -> Call:
    """One item of the plug-in, decided there. A deed of the name 'live' cannot be sent."""

    def call(words: dict[str, str]) -> Any:
        with tiny() as module:
            stated = module.TinyOptions(**{"plugin": (TINY,), "executor": executor, "threads": 1, **options})
            payload = ("answer", lambda: 0) if deed == "live" else (deed, "")
            chosen = EXECUTORS.get(executor)()
            chosen.check(stated)
            (record,) = chosen.records(module.Tiny(), Run("tiny", stated, **(run or {})), [Item(0, "zero", payload=payload)])
            assert record.said == "well"

    return call


def _of_nowhere() -> bytes:
    """An object, pickled, whose class is in no module that can be imported."""
    module = ModuleType("hint_b_nowhere")
    kind = type("Mine", (), {"__module__": module.__name__})
    module.Mine = kind      # type: ignore[attr-defined]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, module.__name__, module)
        return pickle.dumps(kind())


def sent_to_a_process(content: bytes) -> Call:
    head = {"plugins": [], "begin": 0.0, "limit": None, "total": None, "analysis": "tiny"}
    return lambda words: worker.answer(head, content, content, print)


# ---- clusters ----------------------------------------------------------------------------------------------------------------


def cluster(call: Call, version: str | None = "2.60.0", **state: Any) -> Call:
    """The call where such a cluster is: see `FakeRay`. START: how long nobody waits for a first worker."""

    def installed(name: str) -> str:
        if version is None:
            raise ray_executor.PackageNotFoundError(name)
        return version

    def inside(words: dict[str, str]) -> Any:
        ray = FakeRay()
        vars(ray).update(state)
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(sys.modules, "ray", ray)
            patch.setattr(ray_executor, "version", installed)
            patch.setattr(parcel, "load_plugin", ray.loaded.append)     # it is loaded here already
            patch.setattr("absint.runs.ray_pool.START", 0.0 if ray.deaf else 60.0)
            return call(words)

    return inside


def without_ray(words: dict[str, str]) -> Any:
    """Its files are there, and broken."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ray_executor, "version", lambda name: "2.60.0")
        patch.setitem(sys.modules, "ray", None)
        asked("ray")(words)


def unpacked(**changes: Any) -> Call:
    """A parcel, at the other end."""

    def call(words: dict[str, str]) -> Any:
        with tiny() as module:
            run = Run("tiny", module.TinyOptions(plugin=(TINY,), executor="ray"))
            return parcel.opened(replace(parcel.packed(module.Tiny(), run, 1), **changes), Path(words["NET"]).parent)

    return cluster(call)


def items_of(content: bytes) -> Call:
    return cluster(lambda words: parcel.unpacked_items(content))


def copied(content: bytes) -> Call:
    sent = parcel.SentFile("/nowhere/sent.txt", parcel.digest(b"weights"), content)
    return lambda words: parcel.here(sent, Path(words["NET"]).parent / "copies")


def installs(extra: str, package: str) -> Call:
    """That `pip install 'absint[extra]'` brings the package."""

    def call(words: dict[str, str]) -> None:
        found = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"][extra]
        assert any(one.startswith(package) for one in found), found

    return call


_WELL = cluster(asked("ray"))
_START_AGAIN = cluster(asked("ray", processes=1))
_DEAD = "killed by the kernel"

EXECUTED = [
    *rows("E-EXECUTOR",
          ("define classes in a module that can be imported, or give files instead of live objects", sent_to_a_process(_of_nowhere()),
           lambda words: pickle.loads(pickle.dumps(Path(words["NET"])))),
          ("define classes in a module that every node can import, or in a file given to --plugin", items_of(_of_nowhere()),
           items_of(pickle.dumps([Path("x")]))),
          ("give files instead of live objects, or use --executor local", asked("processes", "live"), asked("local", "live")),
          ("say --device cuda", cluster(lambda words: _check(device="cuda:1")), cluster(lambda words: _check(device="cuda")))),
    *rows("E-FILE-READ", ("the workers are sent this file: check its path and rights",
                          lambda words: parcel.sent_file(Path(words["NET"]).with_name("nowhere.onnx")),
                          lambda words: parcel.sent_file(Path(words["NET"])))),
    *rows("E-RAY-ADDRESS",
          ("auto, or HOST:PORT of the head node, such as 10.0.0.1:6379; run absint on a node of the cluster",
           cluster(lambda words: _check(address="ray://10.0.0.1:10001")), cluster(lambda words: _check(address="10.0.0.1:6379"))),
          ("run absint on a node of the cluster, with the address that `ray start --head` printed; without --address a cluster is "
           "started on this machine", cluster(asked("ray", address="auto"), initialised=False, refuses=ConnectionError("none runs")),
           cluster(asked("ray"), initialised=False))),
    *rows("E-RAY-START", ("see whether /dev/shm and the folder for temporary files have room; or use --executor processes",
                          cluster(asked("ray"), initialised=False, refuses=OSError("No space left on device")),
                          cluster(asked("ray"), initialised=False))),
    *rows("E-RAY-BUSY",
          ("see `ray status` and the logs of its nodes; fewer --processes need less memory", cluster(asked("ray"), stillborn=_DEAD),
           _START_AGAIN),
          ("see `ray status`; wait for others to end, or ask for a cluster with more", cluster(asked("ray"), deaf=True), _WELL)),
    *rows("E-RAY-LOST", ("what a --journal holds is kept: start the cluster again, then --resume",
                         cluster(asked("ray"), breaks="the head is gone"), _WELL)),
    *rows("E-RAY-HASH",
          ("run again with --resume; see the node's memory", unpacked(sha256="0" * 64), unpacked()),
          ("run again with --resume; see the node's memory and disk", copied(b"other weights"), copied(b"weights"))),
    *rows("E-RAY-VERSION",
          ("install the cluster's versions of ray and Python here, or the other way round",
           cluster(asked("ray", address="auto"), initialised=False, refuses=RuntimeError("Version mismatch: Ray: 2.9.0")),
           cluster(asked("ray", address="auto"), initialised=False)),
          ("pip install 'ray>={},<{}'", cluster(asked("ray"), "3.0.1"), _WELL)),
    *rows("E-RAY-VERSIONS", ("install the same versions on every node, from one constraints.txt or one container image",
                             unpacked(versions={"absint": "0.0.1"}), unpacked())),
    *rows("E-RAY-MISSING",
          ("pip install 'absint[ray]', or pip install ray", cluster(asked("ray"), None), installs("ray", "ray")),
          ("pip uninstall ray, then pip install 'absint[ray]'", without_ray, installs("ray", "ray"))),
]


def _check(**options: Any) -> None:
    with tiny() as module:
        EXECUTORS.get("ray")().check(module.TinyOptions(executor="ray", **options))


# ---- journals ----------------------------------------------------------------------------------------------------------------


def _lines(words: dict[str, str]) -> list[bytes]:
    return Path(words["KEPT"]).read_bytes().splitlines(keepends=True)


def _written(words: dict[str, str], name: str, lines: list[bytes]) -> Path:
    path = Path(words["NET"]).with_name(name)
    path.write_bytes(b"".join(lines))
    return path


def _another_answer(words: dict[str, str]) -> Path:
    first, row, *_ = _lines(words)
    return _written(words, "answered.jsonl", [first, json.dumps({**json.loads(row), "label": 7}).encode() + b"\n"])


def _reads(*paths: Path | str) -> None:
    with Gathered([Path(path) for path in paths]):
        pass


def _while_it_is_written(words: dict[str, str]) -> None:
    with Path(words["KEPT"]).open("r+b") as writer:
        fcntl.flock(writer, fcntl.LOCK_EX)
        _merged(words)


def _merged(words: dict[str, str]) -> None:
    merge([Path(words["KEPT"])], Path(words["NET"]).with_name("merged.jsonl"))
    Path(words["NET"]).with_name("merged.jsonl").unlink()


def _a_file_without_lines(words: dict[str, str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gathered, "_LONGEST", 1 << 8)
        _reads(_written(words, "endless.jsonl", [b"{" * (1 << 9)]))


KEPT = [
    *rows("E-JOURNAL-BUSY", ("wait for it to end", _while_it_is_written, _merged)),
    *rows("E-JOURNAL-CONFLICT",
          ("one of them is wrong, or was changed: leave that journal out, or ask the item again",
           lambda words: _reads(words["KEPT"], _another_answer(words)), lambda words: _reads(words["KEPT"]))),
    *rows("E-JOURNAL-CORRUPT", ("give a file that --journal wrote", _a_file_without_lines, lambda words: _reads(words["KEPT"]))),
]


# ---- the project file --------------------------------------------------------------------------------------------------------


def _folder(words: dict[str, str], *names: str) -> Path:
    """An empty folder, with copies of the network and its data under these names."""
    folder = Path(words["NET"]).with_name("initiated")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name in names:
        shutil.copy(words["NET" if name.endswith(".onnx") else "DATA"], os.fsdecode(os.fsencode(folder) + b"/" + os.fsencode(name)))
    return folder


def begun(*names: str, force: bool = False, **given: Any) -> Call:
    """`absint init` in a folder with these files."""

    def call(words: dict[str, str]) -> None:
        with chdir(_folder(words, *names)):
            if force:
                Path("absint.toml").touch()
            init._execute({name: Path(value) for name, value in given.items()}, force=False)

    return call


def _initiates(words: dict[str, str], names: tuple[str, ...], *more: str) -> None:
    with chdir(_folder(words, *names)), redirect_stderr(StringIO()):
        assert main(["init", *more]) == 0
        assert main(["config", "verify"]) == 0


def _said(*names: str, more: tuple[str, ...] = ()) -> Call:
    return lambda words: _initiates(words, names, *more)


def _shown_and_replaced(words: dict[str, str]) -> None:
    _initiates(words, ("net.onnx", "data.npz"))
    with chdir(Path(words["NET"]).with_name("initiated")):
        assert main(["config"]) == 0
        assert main(["init", "--force"]) == 0


def _unlisted(words: dict[str, str]) -> None:
    """A folder whose files may be opened, but not listed."""
    def refused(self: Path) -> Iterator[Path]:
        raise PermissionError(13, "Permission denied")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "iterdir", refused)
        begun("net.onnx", "data.npz")(words)


def _unlisted_but_named(words: dict[str, str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "iterdir", lambda self: iter(()))
        _initiates(words, ("net.onnx", "data.npz"), "--net", "net.onnx", "--data", "data.npz")


def _unwritable(words: dict[str, str]) -> None:
    def refused(**words: Any) -> None:
        raise PermissionError(13, "Permission denied")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("absint.contract.whole_files.tempfile.mkstemp", refused)
        begun("net.onnx", "data.npz")(words)


_INITIATED = _said("net.onnx", "data.npz")

INITIATED = [
    *rows("E-INIT-EXISTS", ("absint config shows it; absint init --force replaces it", begun("net.onnx", "data.npz", force=True),
                            _shown_and_replaced)),
    *rows("E-INIT-NET",
          ("name it: absint init --net FILE", begun("net.onnx", "other.onnx", "data.npz"),
           _said("net.onnx", "other.onnx", "data.npz", more=("--net", "net.onnx"))),
          ("name both: --net FILE --data FILE", _unlisted, _unlisted_but_named)),
    *rows("E-INIT-DATA", ("name it: absint init --data FILE", begun("net.onnx", "data.npz", "more.npz"),
                          _said("net.onnx", "data.npz", "more.npz", more=("--data", "data.npz")))),
    *rows("E-INIT-NAME", ("give the file another name", begun("n\udcff.onnx", "data.npz"), _INITIATED)),
    *rows("E-INIT-WRITE", ("make the folder writable, or free some space", _unwritable, _INITIATED)),
]
