"""A process that was forked from a warm one is what a test would otherwise have started: streams, environment, folder, session, ends."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys

import pytest
import warm

pytestmark = [pytest.mark.usefixtures("warm"), pytest.mark.skipif(sys.platform != "linux", reason="elsewhere none is forked")]

TELL = """
import json, os, sys
told = {"argv": sys.argv, "path": sys.path[0], "cwd": os.getcwd(), "mark": os.environ.get("MARK"), "home": os.environ.get("HOME"),
        "leads": os.getsid(0) == os.getpid(), "parent": os.getppid(), "name": __name__,
        "read": sys.stdin.read(), "warm": "torch" in sys.modules}
print(json.dumps(told))
print("beside", file=sys.stderr)
sys.exit(7)
"""


def told(*options, words=("-c", TELL, "one", "two"), **more):
    done = subprocess.run([sys.executable, *options, *words], input="given", capture_output=True, text=True, check=False, **more)
    assert done.returncode == 7, done.stderr
    assert done.stderr == "beside\n"
    return json.loads(done.stdout)


def test_it_has_what_it_is_given(tmp_path):
    found = told(cwd=tmp_path, env={"MARK": "here"}, start_new_session=True)
    assert found == {"argv": ["-c", "one", "two"], "path": "", "cwd": str(tmp_path), "mark": "here", "home": None, "leads": True,
                     "parent": os.getpid(), "name": "__main__", "read": "given", "warm": True}
    found = told("-P", env={"PYTHONPATH": str(tmp_path)})
    assert (found["path"], found["leads"], found["cwd"]) == (str(tmp_path), False, os.getcwd())
    (tmp_path / "teller.py").write_text(TELL)
    assert told(words=("-m", "teller"), env={"PYTHONPATH": str(tmp_path)})["name"] == "__main__"


def test_what_a_fork_cannot_give_is_started_afresh():
    assert not told(preexec_fn=lambda: None)["warm"]
    assert not told("-I")["warm"]


def test_nothing_of_one_is_left_in_another():
    subprocess.run([sys.executable, "-c", "import absint; absint.left = 1"], check=True)
    subprocess.run([sys.executable, "-c", "import absint; assert not hasattr(absint, 'left')"], check=True)


def test_it_ends_as_a_child_of_the_tests():
    waits = subprocess.Popen([sys.executable, "-c", "import time; print('there', flush=True); time.sleep(100)"], stdout=subprocess.PIPE)
    assert waits.stdout.readline() == b"there\n"
    assert os.waitid(os.P_PID, waits.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
    waits.send_signal(signal.SIGTERM)
    waits.communicate()
    assert waits.returncode == -signal.SIGTERM
    raised = subprocess.run([sys.executable, "-c", "1 / 0"], capture_output=True, check=False)
    assert raised.returncode == 1
    assert raised.stderr.endswith(b"ZeroDivisionError: division by zero\n")


def test_orphans_of_others_are_none_of_ours():
    """Whoever was asked for has become a child; what orphans there are later goes where orphans go."""
    subprocess.run([sys.executable, "-c", ""], check=True)
    said = ctypes.c_int(5)
    assert ctypes.CDLL(None).prctl(37, ctypes.byref(said), 0, 0, 0) == 0     # PR_GET_CHILD_SUBREAPER
    assert said.value == 0
    assert warm._server() is not None
