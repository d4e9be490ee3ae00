"""How a run comes to a cluster and leaves it: addresses, cards, options, and what is said where there is none."""

from __future__ import annotations

import os
import signal
from contextlib import closing
from pathlib import Path

import pytest

from absint.errors import AbsintError, ResourceError, UnsupportedError
from absint.runs import ray_cluster, ray_executor, ray_worker
from absint.runs.executors import EXECUTORS

# ---- joining ---------------------------------------------------------------------------------------------------------------


def test_a_cluster_of_our_own_ends_with_the_run(records, ray, tmp_path):
    ray.initialised = False
    before, handler = dict(os.environ), signal.getsignal(signal.SIGTERM)
    with closing(records(("answer",), ("answer",), processes=2)) as arriving:
        assert next(arriving).said == "well"
        folder = Path(ray.words["_temp_dir"])
        assert folder.is_dir()
        assert (ray.words["address"], ray.words["num_cpus"]) == ("local", 2)
        assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
    assert ray.calls[-1] == "shutdown"
    assert not folder.exists()
    assert not ray.alive
    assert dict(os.environ) == before
    assert signal.getsignal(signal.SIGTERM) is handler
    assert ray._private.ray_constants.ENABLE_RAY_CLUSTER is True


def test_a_programs_own_connection_is_left_alone(records, ray):
    list(records(("answer",)))
    assert "init" not in ray.calls
    assert "shutdown" not in ray.calls


@pytest.mark.parametrize(("error", "kind", "code"), [
    (ConnectionError("could not find any running Ray instance"), ResourceError, "E-RAY-ADDRESS"),
    (RuntimeError("Version mismatch: The cluster was started with: Ray: 2.9.0"), UnsupportedError, "E-RAY-VERSION"),
    (SystemExit("no raylet"), ResourceError, "E-RAY-ADDRESS")])
def test_no_cluster(records, ray, error, kind, code):
    ray.initialised, ray.refuses = False, error
    with pytest.raises(kind, match=code):
        list(records(("answer",), address="auto"))


def test_an_address_that_nobody_answers(records, ray, monkeypatch):
    def never(place, timeout):
        assert (place, timeout) == (("10.0.0.9", 6379), ray_cluster.ANSWER)
        raise TimeoutError("timed out")

    monkeypatch.setattr("socket.create_connection", never)
    ray.initialised = False
    with pytest.raises(ResourceError, match=r"E-RAY-ADDRESS.*10\.0\.0\.9:6379.*nobody answers at 10\.0\.0\.9:6379 within 20 s: timed out"):
        list(records(("answer",), address="10.0.0.9:6379"))


def test_a_cluster_that_is_found_does_not_answer(records, ray):
    """A head that has died leaves its address behind."""
    ray.initialised, ray.headless = False, True
    with pytest.raises(ResourceError, match=r"E-RAY-ADDRESS.*nobody answers at 10\.0\.0\.1:6379.*Connection refused"):
        list(records(("answer",), address="auto"))
    assert "init" not in ray.calls      # it would wait for minutes


@pytest.mark.parametrize(("says", "what"), [(b"", "nobody answers.*timed out"), (b"HTTP/1.1 400 Bad Request", "no head node of a Ray")])
def test_an_address_of_something_else(records, ray, says, what):
    ray.initialised, ray.says = False, says
    with pytest.raises(ResourceError, match=f"E-RAY-ADDRESS.*{what}"):
        list(records(("answer",), address="10.0.0.1:6379"))
    assert "init" not in ray.calls


# ---- cards -----------------------------------------------------------------------------------------------------------------


def test_a_worker_gets_a_card(records, ray, tiny, monkeypatch):
    """As many workers as there are cards; each computes on what Ray gave it, which CUDA then calls its first one."""
    seen = []
    monkeypatch.setattr("absint.runs.inputs.set_up_device", lambda options: seen.append(options.device))
    ray.cpus, ray.gpus = 8, 2
    assert len(list(records(*[("answer",)] * 9, device="cuda"))) == 9
    assert (ray.started, ray.asked["num_gpus"], ray.asked["num_cpus"]) == (2, 1, 1)
    assert seen == ["cuda"] * 2


def test_without_cuda_no_card_is_held(records, ray):
    ray.gpus = 2
    list(records(("answer",)))
    assert ray.asked["num_gpus"] == 0


@pytest.mark.parametrize("gpus", [0, 0.5])
def test_a_cluster_without_a_whole_card(records, ray, clock, gpus):
    """Of nodes that share a card, none can give one; it says what a worker needs and what there is."""
    def tick():
        clock.now += 30.0

    ray.gpus, ray.deaf, ray.hung = gpus, True, tick
    with pytest.raises(ResourceError, match=rf"E-RAY-BUSY.*each needs 1 CPU and 1 GPU; the cluster has 1 node, 2 CPU, {gpus} GPU"):
        list(records(("answer",), device="cuda"))


# ---- options ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("installed", "options", "code"), [
    (None, {}, "E-RAY-MISSING"), ("3.0.1", {}, "E-RAY-VERSION"), ("2.60.0", {"address": "ray://10.0.0.1:10001"}, "E-RAY-ADDRESS"),
    ("2.60.0", {"address": "nowhere"}, "E-RAY-ADDRESS"), ("2.60.0", {"device": "cuda:1"}, "E-EXECUTOR"),
    ("2.60.0", {"executor": "local", "address": "auto"}, "E-EXECUTOR"),
    ("2.60.0", {"executor": "processes", "address": "auto"}, "E-EXECUTOR"),
    ("2.60.0", {"executor": "local", "processes": 2}, "E-EXECUTOR")])
def test_options_that_make_no_sense(tiny, monkeypatch, installed, options, code):
    def version(name):
        if installed is None:
            raise ray_executor.PackageNotFoundError(name)
        return installed

    monkeypatch.setattr(ray_executor, "version", version)
    stated = tiny.TinyOptions(**{"executor": "ray", **options})
    with pytest.raises(AbsintError, match=code):
        EXECUTORS.get(stated.executor)().check(stated)


@pytest.mark.parametrize("address", [None, "auto", "10.0.0.1:6379", "head.cluster.local:6379", "[::1]:6379"])
def test_addresses(tiny, ray, address):
    EXECUTORS.get("ray")().check(tiny.TinyOptions(executor="ray", address=address))


def test_a_worker_says_what_is_wrong_with_its_node(monkeypatch):
    """It does not die of it: what a dead one says is a traceback."""
    monkeypatch.setattr(ray_worker, "opened", lambda *a: 1 / 0)
    assert ray_worker.RayWorker(None)._refused["code"] == "E-EXECUTOR"
