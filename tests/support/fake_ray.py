"""Ray as far as absint asks for it, in this process: actors are objects, and nothing is ever started.

A deed that raises `Death` stands for a process that dies: what was yielded before has arrived.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

HEAD = "10.0.0.1:6379"
SETTINGS = bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))      # how a server of HTTP/2 begins


class Death(BaseException):
    """The actor's process dies here."""


class RayError(Exception):
    """As Ray's."""


class RayActorError(RayError):
    """As Ray's, and so are these."""


class WorkerCrashedError(RayError):
    pass


class NodeDiedError(RayError):
    pass


class ObjectLostError(RayError):
    pass


class RayTaskError(RayError):
    pass


class Reference:
    """What `put` or a call returns; its value is made when it is asked for."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self.make = make


class Stream:
    """What a streaming call returns. hangs: whether nothing more comes."""

    def __init__(self, lines: Iterator[Any]) -> None:
        self.lines = lines
        self.hangs = False

    def __next__(self) -> Reference:
        try:
            value = next(self.lines)
        except Death:
            return Reference(self._raise)
        return Reference(lambda: value)

    @staticmethod
    def _raise() -> Any:
        raise RayActorError("The actor died unexpectedly before finishing this task.\n\tpid: 7\nIt was killed by SIGKILL.")


class Answer:
    """A connection whose other end says something and nothing more; where it says nothing, the patience of who asks ends."""

    def __init__(self, said: bytes) -> None:
        self.said, self.heard = said, b""

    def __enter__(self) -> Answer:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def close(self) -> None:
        pass

    def settimeout(self, seconds: float) -> None:
        assert seconds > 0

    def sendall(self, said: bytes) -> None:
        self.heard += said

    def recv(self, count: int) -> bytes:
        if not self.said:
            raise TimeoutError("timed out")
        found, self.said = self.said[:count], self.said[count:]
        return found


class FakeRay:
    """Stands for the module. cpus, gpus: of the cluster.  started: actors so far; alive: of them, those that were not killed.

    deaf: whether actors never start.  stillborn: error that starting one ends in.  breaks: error of the next `wait`.  orders: handed out.
    headless: whether nobody answers at the head's port; says: what is answered there.
    """

    def __init__(self, cpus: int = 2, gpus: float = 0) -> None:
        self.gpus, self.headless, self.says = gpus, False, SETTINGS
        self.cpus, self.started, self.alive = cpus, 0, set[int]()
        self.deaf, self.stillborn, self.breaks = False, "", ""
        self.orders: list[int] = []
        self.hung: Callable[[], None] = lambda: None
        self.calls: list[str] = []
        self.loaded: list[Any] = []
        self.cloudpickle = SimpleNamespace(dumps=pickle.dumps, loads=pickle.loads)
        self.exceptions = SimpleNamespace(**{kind.__name__: kind for kind in (
            RayError, RayActorError, WorkerCrashedError, NodeDiedError, ObjectLostError, RayTaskError)})
        self.util = SimpleNamespace(get_node_ip_address=lambda: "10.0.0.1")
        self._private = SimpleNamespace(ray_constants=SimpleNamespace(ENABLE_RAY_CLUSTER=True),
                                        services=SimpleNamespace(canonicalize_bootstrap_address_or_die=lambda stated: HEAD))
        self.initialised = True
        self.refuses: Exception | None = None

    def is_initialized(self) -> bool:
        return self.initialised

    def init(self, **words: Any) -> None:
        self.calls.append("init")
        self.words = words
        if self.refuses is not None:
            raise self.refuses

    def shutdown(self) -> None:
        self.calls.append("shutdown")

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": float(self.cpus), **({"GPU": float(self.gpus)} if self.gpus else {})}

    def nodes(self) -> list[dict[str, bool]]:
        return [{"Alive": True}]

    def get_runtime_context(self) -> Any:
        return SimpleNamespace(get_node_id=lambda: "ab" * 20, gcs_address=HEAD)

    def connect(self, place: tuple[str, int], timeout: float) -> Answer:
        """In place of `socket.create_connection`."""
        assert place == ("10.0.0.1", 6379)
        if self.headless:
            raise ConnectionRefusedError(111, "Connection refused")
        return Answer(self.says)

    def put(self, value: Any) -> Reference:
        self.calls.append(f"put {type(value).__name__}")
        return Reference(lambda: value)

    def get(self, what: Any) -> Any:
        return [one.make() for one in what] if isinstance(what, list) else what.make()

    def wait(self, awaited: list[Any], *, num_returns: int, timeout: float) -> tuple[list[Any], list[Any]]:
        if self.breaks:
            raise RayError(self.breaks)
        ready = [] if self.deaf else [one for one in awaited if not getattr(one, "hangs", False)]
        if not ready:
            self.hung()
        return ready[:num_returns], []

    def kill(self, actor: Any) -> None:
        self.alive.discard(actor.number)

    def remote(self, **words: Any) -> Callable[[type], Any]:
        self.asked = words
        return lambda kind: SimpleNamespace(remote=lambda parcel: _Actor(self, kind, parcel))


class _Actor:
    def __init__(self, ray: FakeRay, kind: type, parcel: Reference) -> None:
        assert ray.started < 200, "workers are started for ever"
        self.ray, self.number = ray, ray.started
        ray.started += 1
        ray.alive.add(self.number)
        self._made: Any = None
        self._kind, self._parcel = kind, parcel

    @property
    def ready(self) -> Any:
        def begin() -> Any:
            if self.ray.stillborn:
                raise RayActorError(self.ray.stillborn)
            self._made = self._kind(self._parcel.make())
            return self._made.ready()

        return SimpleNamespace(remote=lambda: Reference(begin))

    @property
    def decide(self) -> Any:
        def call(packed: bytes, left: float | None, files: Any) -> Stream:
            self.ray.orders.append(len(pickle.loads(packed)))
            stream = Stream(self._made.decide(packed, left, files))
            stream.hangs = any(item.payload[0] == "hang" for item in pickle.loads(packed))
            return stream

        return SimpleNamespace(options=lambda **words: SimpleNamespace(remote=call))
