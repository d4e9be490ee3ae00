"""What a run shows of itself: true at any moment, never longer than a line, never in the way of rows."""

from __future__ import annotations

import io
import threading

import pytest
from counting import until

from absint.runs import progress as module
from absint.runs.progress import Progress


class Terminal(io.StringIO):
    """A stream that says it is a terminal, and what its last line looks like."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True

    @property
    def shown(self) -> str:
        line = self.getvalue().rpartition("\n")[2]
        return line.rpartition("\r\x1b[K")[2]


@pytest.fixture
def terminal(monkeypatch) -> Terminal:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("LC_ALL", raising=False)
    return Terminal()


def test_the_line_tells_time_stage_counts_and_what_is_left(clock):
    """Drawn by hand: the thread is not started."""
    stream = io.StringIO()
    shown = Progress(10, stream=stream)
    shown.stage("reading")
    clock.sleep(7)
    shown.draw()
    shown.stage("deeppoly float32")
    for word in ("verified", "unknown", "verified", "verified"):
        clock.sleep(30)
        shown.record(word)
    shown.draw()
    assert stream.getvalue().splitlines() == [
        "0:07  reading  0/10", "2:07  deeppoly float32  3 verified, 1 unknown  4/10  about 3 min left"]


def left(clock, total: int, *, known: int = 0, seconds: float = 0.0, decided: int = 0, idle: float = 0.0) -> str:
    shown = Progress(total, stream=io.StringIO())
    for _ in range(known):
        shown.known("verified")
    clock.sleep(seconds)
    for _ in range(decided):
        shown.record("verified")
    clock.sleep(idle)
    shown.draw()
    return shown.stream.getvalue().strip().rpartition(f"{known + decided}/{total}")[2].strip()


def test_what_is_left_is_estimated_from_what_this_run_decided(clock):
    assert left(clock, 100, seconds=50.0) == ""                                     # nothing before the first
    assert left(clock, 100, known=90, seconds=50.0) == ""                           # those of the journal took no time
    assert left(clock, 100, known=90, seconds=50.0, decided=5) == "about 50 s left"
    assert left(clock, 100, seconds=10.0, decided=1) == "about 16 min left"
    assert left(clock, 2000, seconds=10.0, decided=1) == "about 5.6 h left"
    assert left(clock, 10, seconds=10.0, decided=5, idle=6.0) == "about 4 s left"
    assert left(clock, 10, seconds=10.0, decided=5, idle=9.9) == "about 1 s left"
    assert left(clock, 10, seconds=10.0, decided=5, idle=60.0) == "? left"          # it was wrong
    assert left(clock, 10, decided=5) == "? left"                                   # five at once, at no time
    assert left(clock, 10, seconds=10.0, decided=10) == ""


@pytest.mark.parametrize("seconds", [0.0, 59.6, 3599.0, 3600.0, 86_400.0])
def test_the_clock_never_says_sixty(clock, seconds):
    shown = Progress(1, stream=io.StringIO())
    clock.sleep(seconds)
    shown.draw()
    told = shown.stream.getvalue().split()[0]
    assert told == {0.0: "0:00", 59.6: "0:59", 3599.0: "59:59", 3600.0: "1:00:00", 86_400.0: "24:00:00"}[seconds]


def test_the_line_fits(clock, terminal, monkeypatch):
    """The stage gives way first. Nothing of a user's file moves the cursor, and every character takes one column."""
    shown = Progress(1000, stream=terminal)
    shown.stage("zonotope:\x1b[2J\n\u6f22\u5b57 " + "x" * 200)
    clock.sleep(5)
    shown.record("verified")
    shown.draw()
    assert len(terminal.shown) == 79
    assert "..." in terminal.shown
    assert terminal.shown.endswith("1/1000  about 83 min left")
    assert set(terminal.shown) <= set(map(chr, range(32, 127)))
    for k in range(40):
        shown.record(f"word number {k}")
    shown.draw()
    assert len(terminal.shown) == 79
    assert terminal.shown.endswith("...")
    monkeypatch.setattr(module.os, "get_terminal_size", lambda number: module.os.terminal_size((40, 20)))
    monkeypatch.setattr(Terminal, "fileno", lambda self: 2)
    shown.draw()
    assert len(terminal.shown) == 39
    plain = io.StringIO()
    shown = Progress(9, stream=plain)
    shown.stage("y" * 200)
    shown.draw()
    assert len(plain.getvalue()) == 80 + 1


def test_a_terminal_has_one_line_which_is_gone_at_the_end(terminal):
    with Progress(3, stream=terminal) as shown:
        until(lambda: terminal.shown)
        shown.record("verified")
        until(lambda: "1 verified" in terminal.shown)
    assert terminal.shown == ""
    assert "\n" not in terminal.getvalue()


def test_it_moves_by_itself_and_is_redrawn_at_most_four_times_a_second(terminal):
    """Counted by what the thread waits for; on a terminal a quarter of a second, elsewhere ten."""
    assert (module.REDRAWN, module.REPEATED) == (0.25, 10.0)
    waits = []

    class Over(threading.Event):
        def wait(self, timeout=None):
            waits.append(timeout)
            return super().wait(0.001) or len(waits) % 50 == 0

    for stream, pause in ((terminal, 0.25), (io.StringIO(), 10.0)):
        waits.clear()
        shown = Progress(3, stream=stream)
        shown._over = Over()
        with shown:
            until(lambda: len(waits) >= 50)
        assert set(waits) == {pause}
    assert stream.getvalue().count("0/3\n") == 49


def test_rows_and_the_line_share_a_terminal(clock, terminal):
    shown = Progress(9, stream=terminal)
    shown.live = True
    shown.draw()
    assert terminal.shown
    clock.sleep(1)
    with shown.paused():
        assert terminal.shown == ""
        shown.draw()                    # as the thread would
        assert terminal.shown == ""
        terminal.write("a row\n")
        with shown.paused():
            terminal.write("another\n")
    assert "0/9" in terminal.shown      # and back
    drawings = terminal.getvalue().count("0/9")
    for _ in range(100):
        with shown.paused():
            terminal.write("a row\n")
    assert terminal.getvalue().count("0/9") == drawings
    assert all("0/9" not in line.rpartition("\r\x1b[K")[2] for line in terminal.getvalue().split("\n")[:-1])


@pytest.mark.parametrize("environment", [{"TERM": "dumb"}, {"TERM": "xterm", "LC_ALL": "C"}, {"TERM": "xterm", "LC_ALL": "POSIX"}])
def test_poor_terminals_get_plain_lines(terminal, monkeypatch, environment):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    shown = Progress(9, stream=terminal)
    with shown.paused():
        terminal.write("row\n")
    shown.draw()
    assert terminal.getvalue() == "row\n0:00  0/9\n"


def test_quiet_is_silent_and_starts_nothing(terminal):
    before = threading.active_count()
    with Progress(9, quiet=True, stream=terminal) as shown:
        assert threading.active_count() == before
        shown.stage("x")
        shown.record("verified")
        shown.known("verified")
        shown.draw()
        with shown.paused():
            pass
    assert terminal.getvalue() == ""


def test_a_short_run_off_a_terminal_says_nothing():
    stream = io.StringIO()
    with Progress(2, stream=stream) as shown:
        shown.record("verified")
        shown.record("verified")
    assert stream.getvalue() == ""


def test_what_cannot_be_written_stops_nobody(terminal, monkeypatch):
    """A closed stderr: the thread ends in silence, and so does the context."""
    faults = []
    monkeypatch.setattr(threading, "excepthook", faults.append)
    with Progress(2, stream=terminal) as shown:
        until(lambda: terminal.shown)
        terminal.close()
        until(lambda: not shown._thread.is_alive())
        with shown.paused():
            shown.record("verified")
    assert faults == []


def test_the_thread_ends_with_the_context(terminal):
    shown = Progress(2, stream=terminal)

    def fail() -> None:
        with shown:
            assert shown._thread.is_alive()
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert not shown._thread.is_alive()
    assert shown._thread.daemon
