"""Items in processes of their own: nothing that happens to one is lost, becomes a record, or leaves a process behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from math import inf
from pathlib import Path

import pytest
from counting import until

from absint.contract.analysis import Failure, Item
from absint.contract.run import Run
from absint.errors import UsageError
from absint.registry import load_plugin
from absint.runs.executors import EXECUTORS
from absint.runs.processes import GRACE, Processes

PLUGIN = Path(__file__).with_name("tiny_analysis.py")


@pytest.fixture(autouse=True)
def tiny() -> Iterator[object]:
    """The module of the plug-in, which no test after this one sees."""
    load_plugin(PLUGIN)
    yield sys.modules["absint_plugin_tiny_analysis"]
    del sys.modules["absint_plugin_tiny_analysis"]


@pytest.fixture
def records(tiny):
    """What comes of items, `(deed, *what it needs)`, one by one: limits by position, options by name."""

    def start(*deeds, limits=(), run=None, **options):
        stated = tiny.TinyOptions(**{"plugin": (PLUGIN,), "executor": "processes", **options})
        made = replace(run or Run("tiny", stated), options=stated)
        items = [Item(k, f"item {k}", limit=dict(limits).get(k), payload=tuple(map(str, deed))) for k, deed in enumerate(deeds)]
        return EXECUTORS.get("processes")().records(tiny.Tiny(), made, items)

    return start


def gone(pids: Path) -> bool:
    """Whether all of them end: a killed process takes a moment. On no clock."""
    tick = threading.Event()
    return any(not alive(pids) or tick.wait(0.01) for _ in range(1000))


def alive(pids: Path) -> list[int]:
    """Those that still run: a zombie does not."""
    found = []
    for pid in map(int, pids.read_text().split()):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            continue
        found += [pid] if state != "Z" else []
    return found


def when(there: Path, then: Callable[[], object]) -> threading.Thread:
    """A thread that waits for what a worker writes, on no clock, and then does something."""

    def wait() -> None:
        tick = threading.Event()
        for _ in range(6000):
            if there.exists() and there.read_text().endswith(" "):
                break
            tick.wait(0.01)
        then()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


# ---- what a process may do -------------------------------------------------------------------------------------------------


def test_each_fate_of_a_process(records, tmp_path):
    """One run with all of them: each costs its own item an answer, and no other one's. A record without the end is none."""
    marks = {name: tmp_path / name for name in ("die_once", "die", "complain")}
    deeds = ["answer", "die_once", "die", "leave", "stumble", "complain", "stray", "twice", "mangle", "tear", "silent", "cut"]
    found = list(records(*((deed, marks.get(deed, "")) for deed in deeds), processes=2))
    assert len(found) == len(deeds) - 1
    by = {deeds[one.index]: one for one in found}
    assert "silent" not in by
    assert {deed: by[deed].said for deed in ("answer", "die_once", "cut")} == {"answer": "well", "die_once": "at last", "cut": "cut"}
    assert by["cut"].cut
    assert not by["answer"].cut
    codes = {deed: one.code for deed, one in by.items() if isinstance(one, Failure)}
    assert codes == {**dict.fromkeys(("die", "leave", "stumble"), "E-WORKER-DIED"), "complain": "E-TINY",
                     **dict.fromkeys(("stray", "twice", "mangle", "tear"), "E-WORKER-ANSWER")}
    assert (marks["die"].read_text(), marks["complain"].read_text()) == ("xx", "x")     # once more, and at once
    assert "SIGKILL" in by["die"].what
    assert "exit status 1: ZeroDivisionError: of mine" in by["stumble"].what
    assert by["complain"].what == "file.csv: is bad indeed"
    assert by["die"].name == "item 2"
    assert all(one.time_s > 0 for one in by.values() if isinstance(one, Failure))


def test_records_come_as_they_are_known(records, tmp_path):
    """The first item waits until the second one's record has been seen."""
    gate = tmp_path / "gate"
    order = []
    with closing(records(("wait", gate), ("answer",), processes=2)) as arriving:
        for record in arriving:
            order.append((record.index, record.said))
            gate.touch()
    assert order == [(1, "well"), (0, "waited")]


@pytest.mark.parametrize(("processes", "threads", "told"), [(1, None, (os.environ.get("OMP_NUM_THREADS"), None)), (2, None, ("1", 1)),
                                                           (2, 3, ("3", 3))])
def test_what_a_worker_is_told(records, tmp_path, monkeypatch, processes, threads, told):
    """Its folder is ours, for relative paths in options; what it prints is no answer; what becomes of records is not its business."""
    monkeypatch.chdir(tmp_path)
    run = Run("tiny", None, end=1e12)
    (record,) = records(("about",), processes=processes, threads=threads, given={"a": [1, 2.5]}, journal=tmp_path / "j", limits=[(0, 50.0)],
                        run=run)
    folder, environment, given_threads, given, limit, ends, journal, plugins = eval(record.said)
    assert (Path(folder), given, ends, journal, plugins) == (tmp_path, {"a": [1, 2.5]}, True, None, ())
    assert (environment, given_threads) == told
    assert 0 < limit < 50.0     # what the start took is gone


def test_orders_and_answers_longer_than_a_pipe(records):
    (record,) = records(("big",), given=list(range(200_000)))
    assert record.said == str(sum(range(200_000))) + "x" * 1_000_000


def test_nothing_is_started_for_no_items(records):
    assert list(records()) == []


# ---- live objects ----------------------------------------------------------------------------------------------------------


def test_a_class_of_a_plug_in_that_python_loaded(records, tiny):
    """The file that defines what is sent goes along, though no option names it."""
    (record,) = records(("about",), given=tiny.Thing("live"), plugin=())
    assert "Thing(word='live')" in record.said


def test_what_cannot_be_sent_is_named_before_anything_starts(records, tiny, monkeypatch):
    monkeypatch.setattr(subprocess, "Popen", None)
    with pytest.raises(UsageError, match=r"E-EXECUTOR.*given cannot be sent"):
        next(records(("answer",), given=(k for k in range(3))))
    run = Run("tiny", tiny.TinyOptions())
    with pytest.raises(UsageError, match=r"E-EXECUTOR.*item 4 four cannot be sent"):
        next(Processes().records(tiny.Tiny(), run, [Item(4, "four", payload=lambda: 0)]))


def test_what_only_this_program_knows_is_a_coded_failure(records, monkeypatch):
    class Mine:
        pass

    Mine.__qualname__ = Mine.__name__ = "Mine"
    monkeypatch.setattr(Mine, "__module__", "__main__")
    monkeypatch.setattr(sys.modules["__main__"], "Mine", Mine, raising=False)
    (failure,) = records(("answer",), given=Mine())
    assert failure.code == "E-EXECUTOR"
    assert "Mine" in failure.what


# ---- limits ----------------------------------------------------------------------------------------------------------------


def test_an_item_past_its_own_limit_is_killed_with_its_children(records, clock, tmp_path):
    """The other item has no limit, and goes on."""
    pids, gate = tmp_path / "pids", tmp_path / "gate"

    def later() -> None:
        clock.now += 5.0 + GRACE

    turned = when(pids, later)
    order = []
    for one in records(("hang", pids), ("wait", gate), processes=2, limits=[(0, 5.0)]):
        order.append(one)
        gate.touch()
    turned.join()
    failure, record = order
    assert (failure.index, failure.code, failure.time_s) == (0, "E-TIMEOUT", 5.0 + GRACE)
    assert (record.index, record.said) == (1, "waited")
    assert gone(pids)


def test_no_item_is_killed_before_its_limit_and_the_grace(records, clock, tmp_path):
    pids, gate = tmp_path / "pids", tmp_path / "gate"
    (tmp_path / "now").write_text("now ")

    def nearly() -> None:
        clock.now += 5.0 + GRACE - 0.5
        gate.touch()

    when(tmp_path / "now", nearly)
    (record,) = records(("wait", gate), limits=[(0, 5.0)])
    assert record.said == "waited"
    assert not pids.exists()


def test_the_limit_of_the_run_is_every_items(records, clock, tmp_path):
    pids = tmp_path / "pids"
    when(pids, lambda: clock.sleep(7.0 + GRACE))
    (failure,) = records(("hang", pids), run=Run("tiny", None, timeout=7.0))
    assert failure.code == "E-TIMEOUT"
    assert gone(pids)


def test_the_end_of_the_run_leaves_items_undecided(records, clock, tmp_path):
    """No failure of the one that ran, no start of the one that waits."""
    pids = tmp_path / "pids"
    when(pids, lambda: clock.sleep(20.0 + GRACE))
    found = list(records(("hang", pids), ("answer",), run=Run("tiny", None, end=clock.now + 20.0, timeout=inf)))
    assert found == []
    assert gone(pids)


# ---- ends ------------------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_kills_every_worker(records, tmp_path):
    pids = tmp_path / "pids"
    when(pids, lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        list(records(("hang", pids), ("hang", tmp_path / "more"), processes=2))
    assert gone(pids)


def test_whoever_stops_listening_ends_the_workers(records, tmp_path):
    pids = tmp_path / "pids"
    arriving = records(("answer",), ("hang", pids), processes=2)
    assert next(arriving).said == "well"
    until(lambda: pids.exists() and pids.read_text().endswith(" "))
    arriving.close()
    assert gone(pids)


def test_a_killed_run_takes_its_workers_along(tmp_path):
    """SIGKILL, of which no handler hears: the worker sees its pipe close, and ends with its own child."""
    pids = tmp_path / "pids"
    script = f"""
import sys
from absint.contract.analysis import Item
from absint.contract.run import Run
from absint.registry import load_plugin
from absint.runs.processes import Processes
load_plugin({str(PLUGIN)!r})
tiny = sys.modules["absint_plugin_tiny_analysis"]
run = Run("tiny", tiny.TinyOptions(plugin=({str(PLUGIN)!r},)))
list(Processes().records(tiny.Tiny(), run, [Item(0, "", payload=("hang", {str(pids)!r}))]))
"""
    parent = subprocess.Popen([sys.executable, "-c", script], env=dict(os.environ))
    try:
        until(lambda: pids.exists() and pids.read_text().endswith(" "))
        assert len(alive(pids)) == 2
    finally:
        parent.kill()
        parent.wait()
    assert gone(pids)
