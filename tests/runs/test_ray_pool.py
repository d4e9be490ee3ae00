"""Who decides what in a cluster: whatever happens to a worker, no item is lost, becomes another's record, or is counted twice."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from fake_ray import Death
from ray_runs import said

from absint.contract.analysis import Failure, Item
from absint.contract.run import Run
from absint.errors import InputError, ResourceError, UsageError
from absint.registry import load_plugin, plugin_packages
from absint.runs import parcel
from absint.runs.executors import EXECUTORS
from absint.runs.processes import GRACE
from absint.runs.ray_pool import AIM, START

# ---- fates -----------------------------------------------------------------------------------------------------------------


FATES = {"answer": "well", "die_once": "at last", "die": "E-WORKER-DIED", "stumble": "E-WORKER-DIED", "complain": "E-TINY",
         "fail": "E-MINE", "cut": "cut", "stray": "E-WORKER-ANSWER"}


@pytest.mark.parametrize("workers", [1, 3])
def test_each_fate_of_a_worker(records, ray, tmp_path, workers):
    """Between items that are answered: each costs its own item an answer, and no other one's."""
    fates = [fate for name in FATES if name not in ("stumble", "complain") for fate in ("answer", "answer", name)]
    found = list(records(*((fate,) for fate in fates), processes=workers))
    assert said(found) == [(k, FATES[fate]) for k, fate in enumerate(fates)]
    assert not ray.alive


@pytest.mark.parametrize("name", ["stumble", "complain"])
def test_an_error_after_a_record_takes_nothing_back(records, tmp_path, name):
    """The record was on its way before: a second one of this item, or a failure, would count it twice."""
    found = list(records(("answer",), (name, tmp_path / "mark"), ("answer",)))
    assert said(found) == [(0, "well"), (1, "too early"), (2, "well")]


def test_an_item_without_a_record_stays_undecided(records):
    assert said(records(("silent",), ("answer",))) == [(1, "well")]


def test_a_dead_workers_records_are_kept(records, ray):
    found = list(records(("die_late", "late"), ("answer",), processes=1))
    assert said(found) == [(0, "too early"), (1, "well")]
    assert ray.started == 2


def test_deaths_are_told(records):
    (failure,) = records(("die",))
    assert (failure.name, failure.code) == ("item 0", "E-WORKER-DIED")
    assert "2 times" in failure.what
    assert "10.0.0.1" in failure.what
    assert "killed by SIGKILL" in failure.what
    assert "\n" not in failure.what


def test_a_batch_with_an_error_costs_one_item(records, ray, tmp_path):
    """Its other items are asked about alone."""
    deeds = [("answer",)] * 8 + [("complain", tmp_path / "mark")] + [("answer",)] * 8
    ray.cpus = 1
    found = list(records(*deeds))
    assert [one.index for one in found if isinstance(one, Failure)] in ([], [8])
    assert len(found) == len(deeds)
    assert max(ray.orders) > 1


# ---- batches ---------------------------------------------------------------------------------------------------------------


def test_batches_grow_to_what_they_should_cost(records, ray, tiny, clock):
    """A second an item: after a batch of one, as many as take five seconds; at the end smaller ones, for all workers end together."""

    def slow(item, run):
        clock.sleep(1.0)
        yield tiny.TinyRecord(item.index, "well")

    tiny.DEEDS["slow"] = slow
    ray.cpus = 1
    assert len(list(records(*[("slow",)] * 60))) == 60
    assert ray.orders[0] == 1
    assert max(ray.orders) == AIM
    assert ray.orders[-1] == 1
    assert ray.calls.count("put Parcel") == 1


def test_as_many_workers_as_there_is_room_for(records, ray):
    ray.cpus = 7
    list(records(*[("answer",)] * 30, threads=2))
    assert ray.started == 3
    assert ray.asked["num_cpus"] == 2
    assert ray.asked["max_restarts"] == ray.asked["max_task_retries"] == 0      # what is tried again is decided here


def test_progress_names_nodes(records):
    told = []
    run = Run("tiny", None, stage=told.append)
    list(records(("answer",), ("answer",), run=run))
    assert "ray: 1 at 2 workers on 1 node" in told or "ray: 2 at 2 workers on 1 node" in told


# ---- limits ----------------------------------------------------------------------------------------------------------------


def test_an_item_past_its_limit_is_killed(records, ray, clock):
    def tick():
        clock.now += 5.0

    ray.hung = tick
    found = list(records(("hang",), ("answer",), limits=[(0, 5.0)], processes=1))
    assert said(found) == [(0, "E-TIMEOUT"), (1, "well")]
    assert found[0].time_s >= 5.0 + GRACE
    assert not ray.alive


def test_the_end_of_the_run_leaves_items_undecided(records, ray, clock):
    def tick():
        clock.now += 5.0

    ray.hung = tick
    assert list(records(("hang",), ("answer",), processes=1, run=Run("tiny", None, end=clock.now + 20.0))) == []
    assert not ray.alive


def test_nobody_waits_for_ever_for_a_first_worker(records, ray, clock):
    def tick():
        clock.now += 5.0

    ray.deaf, ray.hung = True, tick
    with pytest.raises(ResourceError, match=r"E-RAY-BUSY.*each needs 1 CPU; the cluster has 1 node, 2 CPU"):
        list(records(("answer",)))
    assert clock.now >= 1000.0 + START
    assert not ray.alive


# ---- what cannot be ----------------------------------------------------------------------------------------------------------


def test_a_node_without_absint(records, ray):
    ray.stillborn = "The actor died because of an error raised in its creation task, ip=10.0.0.3\n" \
        "ModuleNotFoundError: No module named 'absint'"
    with pytest.raises(ResourceError, match=r"E-RAY-NODE.*10\.0\.0\.3.*No module named 'absint'"):
        list(records(("answer",)))


def test_a_node_with_another_version(records, monkeypatch):
    real = parcel.packed
    monkeypatch.setattr(parcel, "packed", lambda *a: replace(real(*a), versions={"absint": "0.0.1"}))
    with pytest.raises(ResourceError, match=r"E-RAY-NODE.*node 10\.0\.0\.1.*E-RAY-VERSIONS.*0\.0\.1"):
        list(records(("answer",)))


@pytest.mark.parametrize(("here", "there", "what"), [
    ({"nets": "1.0"}, {"nets": "1.1"}, r"the plug-in package nets 1\.1, where the run was started 1\.0"),
    ({"nets": "1.0"}, {}, r"the plug-in package nets missing, where the run was started 1\.0"),
    ({}, {"nets": "1.1"}, r"the plug-in package nets 1\.1, where the run was started missing")])
def test_a_node_with_other_plug_ins(records, ray, monkeypatch, here, there, what):
    """Also one that is there alone: a rule of it would count there."""
    installed = iter([here, there])
    monkeypatch.setattr(parcel, "plugin_packages", lambda: next(installed))
    with pytest.raises(ResourceError, match=rf"E-RAY-NODE.*E-RAY-VERSIONS.*{what}"):
        list(records(("answer",)))


def test_packages_of_plug_ins_are_found(tmp_path, monkeypatch):
    for name, group in (("nets", "absint.domains"), ("other", "other.domains")):
        made = tmp_path / f"{name}-1.5.dist-info"
        made.mkdir()
        (made / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.5\n")
        (made / "entry_points.txt").write_text(f"[{group}]\nmine = mine:Mine\n")
    monkeypatch.syspath_prepend(tmp_path)
    found = plugin_packages()
    assert found["nets"] == "1.5"
    assert not {"other", "absint"} & set(found)


def test_of_a_plug_in_what_was_run_here_is_sent(tiny, ray, tmp_path):
    """Not what its file holds by now."""
    file = tmp_path / "changing.py"
    file.write_text("WORD = 1\n")
    load_plugin(file)
    file.write_text("WORD = 2\n")
    stated = tiny.TinyOptions(executor="ray", threads=1, plugin=(file,))
    sent = {Path(one.path): one.content for one in parcel.packed(tiny.Tiny(), Run("tiny", stated), 1).plugins}
    assert sent[file] == b"WORD = 1\n"
    assert parcel.here(parcel.SentFile(str(file), parcel.digest(sent[file]), sent[file]), tmp_path / "copies").read_bytes() == sent[file]


def test_other_bytes_than_were_sent_are_refused(records, monkeypatch):
    real = parcel.packed
    monkeypatch.setattr(parcel, "packed", lambda *a: replace(real(*a), sha256="0" * 64))
    with pytest.raises(ResourceError, match=r"E-RAY-NODE.*E-RAY-HASH"):
        list(records(("answer",)))


def test_workers_that_die_again_and_again_while_they_start(records, ray):
    ray.stillborn = "killed by the kernel"
    with pytest.raises(ResourceError, match=r"E-RAY-BUSY.*killed by the kernel"):
        list(records(("answer",), processes=1))
    assert ray.started == 4


def test_a_cluster_that_is_gone(records, ray):
    ray.breaks = "the head is gone"
    with pytest.raises(ResourceError, match=r"E-RAY-LOST.*the head is gone"):
        list(records(("answer",)))


def test_what_cannot_be_sent_is_named_before_anything_starts(records, ray, tiny):
    with pytest.raises(UsageError, match=r"E-EXECUTOR.*given cannot be sent"):
        list(records(("answer",), given=(k for k in range(3))))
    run = Run("tiny", tiny.TinyOptions(executor="ray", threads=1))
    with pytest.raises(UsageError, match=r"E-EXECUTOR.*item 4 four cannot be sent"):
        list(EXECUTORS.get("ray")().records(tiny.Tiny(), run, [Item(4, "four", payload=lambda: 0)]))
    assert "init" not in ray.calls


def test_nothing_is_started_for_no_items(records, ray):
    ray.initialised = False
    assert list(records()) == []
    assert ray.calls == []


def test_a_head_that_stays_silent(records, ray, clock):
    """It tells nobody any more who dies: said while the program still can, which Ray ends after a minute."""
    def tick():
        clock.now += 1.0
        ray.headless = clock.now > 1010.0
        assert clock.now < 2000.0, "it is waited for"

    ray.hung = tick
    with pytest.raises(ResourceError, match=r"E-RAY-LOST.*its head node is silent for \d\d s"):
        list(records(("answer",), ("hang",), processes=2))
    assert 1040.0 < clock.now < 1055.0


def test_no_worker_is_started_without_a_head(records, ray, tiny, clock):
    """Ray would wait for the head in the middle of it, until it ends the program."""

    def lose(item, run):
        ray.headless = True
        raise Death
        yield

    tiny.DEEDS["lose"] = lose
    with pytest.raises(ResourceError, match="E-RAY-LOST"):
        list(records(("lose",), processes=1))
    assert ray.started == 1
    assert clock.now < 1055.0


def test_a_head_that_comes_back(records, ray, clock):
    def tick():
        clock.now += 1.0
        ray.headless = 1010.0 < clock.now < 1040.0

    ray.hung = tick
    assert said(records(("hang",), limits=[(0, 100.0)])) == [(0, "E-TIMEOUT")]


def test_a_head_may_be_given_more_time(records, ray, clock, monkeypatch):
    def tick():
        clock.now += 1.0
        ray.headless = True

    ray.hung = tick
    monkeypatch.setenv("RAY_gcs_rpc_server_reconnect_timeout_s", "600")
    assert said(records(("hang",), limits=[(0, 100.0)])) == [(0, "E-TIMEOUT")]


# ---- files of items --------------------------------------------------------------------------------------------------------


def test_files_are_sent_once_and_lie_where_they_are_read(records, ray, tiny, tmp_path, monkeypatch):
    """Taken away after they were sent, they are read from a copy; where they lie still, from there."""
    file = tmp_path / "net.txt"
    file.write_text("weights")

    def read(item, run):
        yield tiny.TinyRecord(item.index, json.dumps([Path(item.payload[1]).read_text(), item.payload[1] == str(file)]))

    tiny.DEEDS["read"] = read
    monkeypatch.setattr(tiny.Tiny, "files", lambda self, item: (file,))
    monkeypatch.setattr(tiny.Tiny, "moved", lambda self, item, places: replace(item, payload=("read", str(places[file]))))
    (one,) = records(("read", ""))
    assert json.loads(one.said) == ["weights", True]
    real = parcel.sent_file

    def gone(path):
        found = real(path)
        path.unlink()
        return found

    monkeypatch.setattr("absint.runs.ray_pool.sent_file", gone)
    found = list(records(("read", ""), ("read", "")))
    assert [json.loads(one.said) for one in found] == [["weights", False]] * 2
    assert ray.calls.count("put SentFile") == 2     # one in each run


def test_a_copy_that_the_disk_changed_is_refused(tmp_path, monkeypatch):
    sent = parcel.SentFile(str(tmp_path / "there"), parcel.digest(b"weights"), b"other weights")
    with pytest.raises(InputError, match="E-RAY-HASH"):
        parcel.here(sent, tmp_path / "copies")
