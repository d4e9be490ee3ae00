"""Joining a Ray cluster, or starting one for a run, and leaving it as it was found."""

from __future__ import annotations

import logging
import os
import signal
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from absint.contract.run import Run
from absint.errors import AbsintError, ResourceError, UnsupportedError
from absint.runs.ray_head import Head, greet
from absint.runs.ray_leaving import Offspring, kill, remove

ANSWER = 20.0       # seconds within which a cluster answers
_LONGEST = 40       # characters of a folder in which Ray's sockets still have names that are short enough
_QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}    # no word to anyone about the use of Ray
# A cluster of our own listens on the loopback interface alone: who reaches a port of Ray's runs what he likes. Ray does so by itself where
# it is no "cluster" that it starts, as on a desktop; its processes read the variable, this one has read it when Ray was imported.
# Its workers are what the run consists of: they are not as polite as Ray makes them, which on a busy machine means never served.
_OF_OURS = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_worker_niceness": "0"}
_LOOPBACK = "ENABLE_RAY_CLUSTER"


@dataclass(frozen=True)
class RayCluster:
    """One that this process is connected to. where: as messages call it.  cpus: of each worker.  gpus: of each worker."""

    where: str
    cpus: int
    gpus: int

    def room(self) -> int:
        """How many workers the nodes that are there have room for, whoever else uses them."""
        import ray

        known = ray.cluster_resources()
        room = int(known.get("CPU", 0)) // self.cpus
        return min(room, int(known.get("GPU", 0)) // self.gpus) if self.gpus else room

    def head(self) -> Head:
        """To be asked whether it is there."""
        import ray

        return Head(ray.get_runtime_context().gcs_address)

    def shown(self) -> str:
        """What there is: '3 nodes, 12 CPU, 0 GPU'."""
        import ray

        known = ray.cluster_resources()
        nodes = sum(bool(node.get("Alive")) for node in ray.nodes())
        return f"{nodes} node{'' if nodes == 1 else 's'}, {known.get('CPU', 0):g} CPU, {known.get('GPU', 0):g} GPU"


@contextmanager
def joined(run: Run[Any]) -> Iterator[RayCluster]:
    """A cluster while the block runs. A program's own connection is used and kept; what is started here ends here.

    Raises ResourceError E-RAY-ADDRESS where nobody answers within `ANSWER` seconds, -START, UnsupportedError E-RAY-VERSION.
    """
    options = run.options
    cpus, gpus = options.threads or 1, int(options.device.startswith("cuda"))
    address = options.address or os.environ.get("RAY_ADDRESS") or None
    with _environment(_QUIET if address else {**_QUIET, **_OF_OURS}):
        run.stage(f"joins the Ray cluster {address}: at most {ANSWER:g} s" if address else "starts Ray on this machine")
        ray = imported()
        if ray.is_initialized():
            yield RayCluster("of this program", cpus, gpus)
            return
        folder = None if address else _folder()
        offspring, left = Offspring(), list[Any]()
        try:
            if address:
                _join(ray, address)
            elif folder is not None:
                _start(ray, folder, (options.processes or max(1, (os.cpu_count() or 1) // cpus)) * cpus)
            yield RayCluster(address or "on this machine", cpus, gpus)
        finally:
            if folder is not None:
                left = offspring.processes()
            with suppress(Exception):
                ray.shutdown()
            kill(left)
            if folder is not None:
                remove(folder)


def imported() -> Any:
    """Ray. Raises UnsupportedError E-RAY-MISSING where it does not import."""
    try:
        import ray
    except Exception as error:
        raise UnsupportedError("E-RAY-MISSING", f"ray cannot be imported: {type(error).__name__}: {error}", where="--executor ray",
                               hint="pip uninstall ray, then pip install 'absint[ray]'") from error
    return ray


def _join(ray: Any, address: str) -> None:
    """Connect to a cluster that runs. Raises ResourceError E-RAY-ADDRESS, UnsupportedError E-RAY-VERSION."""
    meant = _found(ray) if address == "auto" else address
    if ":" in meant and "://" not in meant:
        try:
            greet(meant, ANSWER)
        except (OSError, OverflowError) as error:
            raise _silent(address, f"nobody answers at {meant} within {ANSWER:g} s: {error}") from error
        except ValueError as error:
            raise _silent(address, f"{meant}: {error}") from error
    _begun(ray, lambda error: _silent(address, error), address=address)


def _found(ray: Any) -> str:
    """The address that Ray finds on this machine. Raises ResourceError E-RAY-ADDRESS."""
    try:
        return str(ray._private.services.canonicalize_bootstrap_address_or_die("auto"))
    except Exception as error:
        raise _silent("auto", " ".join(str(error).split())) from error


def _start(ray: Any, folder: str, cpus: int) -> None:
    """Start a cluster of this machine alone. Raises ResourceError E-RAY-START."""
    def failed(what: str) -> ResourceError:
        return ResourceError("E-RAY-START", f"Ray did not start: {what}", where="--executor ray",
                             hint="see whether /dev/shm and the folder for temporary files have room; or use --executor processes")

    constants = ray._private.ray_constants
    before, usual = getattr(constants, _LOOPBACK, None), os.environ.get("TMPDIR")
    setattr(constants, _LOOPBACK, False)
    os.environ["TMPDIR"] = folder       # also what a killed worker leaves lies there
    try:
        _begun(ray, failed, address="local", num_cpus=cpus, include_dashboard=False, _temp_dir=folder)
    finally:
        setattr(constants, _LOOPBACK, before)
        os.environ.pop("TMPDIR")
        os.environ |= {} if usual is None else {"TMPDIR": usual}


def _begun(ray: Any, failed: Any, **words: Any) -> None:
    """`ray.init`, whose every complaint becomes a coded error; a SIGTERM goes on meaning what it meant."""
    main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGTERM) if main else None
    try:
        ray.init(log_to_driver=False, logging_level=logging.CRITICAL, **words)
    except AbsintError:
        raise
    except (Exception, SystemExit) as error:
        text = " ".join(str(error).split()) or type(error).__name__
        if "ersion mismatch" in text:
            raise UnsupportedError("E-RAY-VERSION", f"the cluster has other versions: {text}", where="--address",
                                   hint="install the cluster's versions of ray and Python here, or the other way round") from error
        raise failed(text) from error
    finally:
        if main:
            signal.signal(signal.SIGTERM, signal.SIG_DFL if before is None else before)


def _silent(address: str, what: str) -> ResourceError:
    return ResourceError("E-RAY-ADDRESS", f"no Ray cluster: {what}", where=f"--address {address}",
                         hint="run absint on a node of the cluster, with the address that `ray start --head` printed; without --address a "
                         "cluster is started on this machine")


def _folder() -> str:
    """For what Ray writes: a new one, in a place whose name is short enough for sockets."""
    usual = tempfile.gettempdir()
    return tempfile.mkdtemp(prefix="absint-ray-", dir=usual if len(usual) < _LONGEST or not os.path.isdir("/tmp") else "/tmp")


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """These variables while the block runs, for the processes that Ray starts; what the user has set himself stays."""
    added = {name: value for name, value in values.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)
