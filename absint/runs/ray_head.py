"""The head node of a Ray cluster, asked over its own port whether it is there.

Ray waits for minutes for one that does not answer at all, then ends the program without a word to it: what is left of a run could not be
told any more.
"""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress

# What a client of HTTP/2 says first, and an empty frame of settings; a server answers with its own settings (RFC 9113, sections 3.4, 6.5).
_HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
_FRAME, _TYPE, _SETTINGS = 9, 3, 4
_EVERY = 5.0        # seconds between two questions
_PATIENCE = 2.0     # seconds that one question may take
_LIMIT = "RAY_gcs_rpc_server_reconnect_timeout_s"   # after so many seconds Ray ends the program by itself
_USUAL = 60.0


class Head:
    """Mutable. One that was there when the run began; address: HOST:PORT."""

    def __init__(self, address: str) -> None:
        self._place = place_of(address)
        self._asked = self._heard = time.monotonic()
        limit = _USUAL
        with suppress(ValueError):
            limit = float(os.environ.get(_LIMIT, _USUAL))
        self._limit = 0.6 * limit       # what is left of a run is written before Ray ends it

    def lost(self) -> float | None:
        """For how many seconds it has not answered, once that is too long. Takes `_PATIENCE` seconds at most."""
        if time.monotonic() - self._asked >= _EVERY:
            self.answers()
        silent = self._asked - self._heard
        return silent if silent > self._limit else None

    def answers(self) -> bool:
        """Whether it does now. Takes `_PATIENCE` seconds at most."""
        self._asked = time.monotonic()
        try:
            socket.create_connection(self._place, timeout=_PATIENCE).close()
        except OSError:
            return False
        self._heard = self._asked
        return True


def place_of(address: str) -> tuple[str, int]:
    """Host and port. Raises ValueError."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def greet(address: str, patience: float) -> None:
    """Return where a server of Ray's kind answers within so many seconds.

    Raises OSError where nobody answers, ValueError where what answers is no such server, OverflowError for a port that is none.
    """
    end = time.monotonic() + patience
    with socket.create_connection(place_of(address), timeout=patience) as there:
        if os.environ.get("RAY_USE_TLS", "0") in ("1", "true", "True"):     # it listens before it speaks
            return
        there.sendall(_HELLO)
        said = b""
        while len(said) < _FRAME:
            there.settimeout(max(1e-3, end - time.monotonic()))
            more = there.recv(_FRAME - len(said))
            if not more:
                break
            said += more
    if len(said) < _FRAME or said[_TYPE] != _SETTINGS:
        raise ValueError("what answers there is no head node of a Ray cluster")
