"""kill -9 at random moments of a journaled run of each analysis: what was shown is kept, and --resume ends with the same document.

One kill in every run of the suite; twenty for each analysis with `make slow`.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest
from journals import kept
from small_runs import query_list
from trainings import words_in

from absint import samples
from absint.contract.analysis import ANALYSES

pytestmark = pytest.mark.usefixtures("warm")

NET = str(samples.network_path("mnist_relu_3x50"))
CONV = str(samples.network_path("mnist_conv_small"))
# Of each analysis: its words, and what makes a run of some seconds of some items.
WORDS = {
    "train": ["--epochs", "4", "--checkpoint", "0.2", "--threads", "1"],
    "radius": [NET, "--index", "0:40", "--domain", "deeppoly", "--batch", "4"],
    "verify": [NET, "--index", "0:60", "--eps", "0.03", "--domain", "deeppoly", "--batch", "2"],
    "bounds": [NET, "--index", "0:40", "--domain", "box,deeppoly", "--stats", "--batch", "2"],
    "validate.evaluate": [NET, "--domain", "zonotope", "--count", "10", "--calibrate", "40", "--attack", "fgsm:eps=0.1"],
    "validate.calibrate": [NET, "--index", "0:60", "--rate", "0.05", "--batch", "4", "--domain", "deeppoly"],
    "validate.run": [NET, "--index", "60:100", "--batch", "4"],
    "taboo.calibrate": [CONV, "--index", "0:400", "--block", "10", "--rule", "certified", "--eps", "0.01", "--batch", "10"],
    "taboo.detect": [CONV, "--batch", "2"],
    "taboo.certify": [CONV, "--index", "0:60", "--radius", "--batch", "4"],
    "taboo.evaluate": [CONV, "--index", "0:40", "--attack", "fgsm:eps=0.1", "--attack", "sign:eps=0.1", "--attack", "pgd:eps=0.1"],
    "global.correctness": ["--draws", "20000", "--block", "500"],
    "global.robustness": ["--draws", "30", "--eps", "0.003,0.01", "--timeout", "none", "--batch", "4"],
    "inspect": [CONV],
    "clever": [NET, "--index", "0:12", "--radius", "2", "--batches", "20", "--samples", "40"],
    "sweep": [NET, "--index", "0:30", "--eps", "0.01", "--eps", "0.03", "--domain", "box", "--domain", "deeppoly"],
    "errors": [NET, "--index", "0:40", "--domains", "box,auto", "--attack-steps", "40", "--restarts", "2", "--eps", "0.03"],
}
TIMES = ("time_s", "seconds", "started", "command", "calls", "median_s")
SLACK = ("margin", "over", "median_margin", "slope", "score", "low", "high", "quotient", "mean score")
# These agree within the slack of rounding, whatever else is analysed beside them


def run(words, *, stop=None):
    """The output of a run in a process of its own; stop: seconds until it is killed."""
    start = "from absint.cli.main import run; run()"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen([sys.executable, "-c", start, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment,
                          start_new_session=True) as process:
        if stop is not None:
            try:
                process.wait(stop)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
    return process.returncode, out.decode(), err.decode()


def same(text, *, slack=False):
    """A document without what the clock says. slack: margins equal whatever is near them."""
    def cleaned(value):
        if isinstance(value, dict):
            kept = {key: cleaned(item) for key, item in value.items() if key not in TIMES}
            near = [key for key in SLACK if slack and isinstance(kept.get(key), float)]
            return kept | {key: pytest.approx(kept[key], rel=1e-4, abs=1e-5) for key in near}
        return [cleaned(item) for item in value] if isinstance(value, list) else value

    document = json.loads(text)
    document.get("tables", {}).pop("widths", None)      # of a run with a journal, as many as there was time for
    return cleaned(document)


def indices(text):
    """Of the records of whole lines; one record may be several rows."""
    return {json.loads(line)["index"] for line in text.split("\n")[:-1]}


def prepared(name, folder):
    """The words of one analysis, with the files that they need."""
    words = [*name.split("."), *WORDS.get(name, [])]
    if name == "train":
        words = [word for word in words_in(folder, *WORDS[name]) if word != "--quiet"]
    if name == "query":
        words = ["verify", "--instances", str(query_list(folder, 4))]
    if name == "taboo.calibrate":
        words += ["--detector", str(folder / "made.json"), "--onnx", str(folder / "made.onnx")]
    elif name.startswith("taboo"):
        made = folder / "taboo.json"
        code, _, err = run(["taboo", "calibrate", CONV, "--index", "0:400", "--detector", str(made), "--onnx", str(folder / "taboo.onnx"),
                            "--quiet"])
        assert code == 0, err
        words += ["--detector", str(made)]
    if name == "validate.calibrate":
        words += ["--calibration", str(folder / "made.json")]
    if name == "validate.run":
        made = folder / "calibration.json"
        code, _, err = run(["validate", "calibrate", NET, "--index", "0:60", "--rate", "0.05", "--calibration", str(made), "--quiet"])
        assert code == 0, err
        words += ["--calibration", str(made)]
    return [*words, "--quiet"]


def killed(name, folder, kills, seed):
    """Kill, look at what is kept, resume. Returns how many runs the kill met alive."""
    words = prepared(name, folder)
    begin = time.monotonic()
    code, whole, err = run([*words, "--format", "json"])
    length = time.monotonic() - begin
    assert code in (0, 1), err
    rng, alive = random.Random(seed), 0
    for k in range(kills):
        journal = folder / f"{k}.jsonl"
        shutil.rmtree(folder / "out", ignore_errors=True)   # a training is not begun over another one
        code, shown, _ = run([*words, "--format", "jsonl", "--journal", str(journal)], stop=rng.uniform(0.2, 1.0) * length)
        alive += code < 0
        held = {row["index"] for row in kept(journal)} if journal.exists() else set()
        assert indices(shown) <= held, "what was shown is on disk"
        code, resumed, err = run([*words, "--format", "json", "--journal", str(journal), "--resume"])
        assert code in (0, 1), err
        assert same(resumed) == same(whole, slack=True)
        journal.unlink()
    return alive


def test_every_analysis_is_killed():
    assert {*WORDS, "query"} >= set(ANALYSES)


def test_a_killed_run_goes_on(tmp_path):
    killed("verify", tmp_path, kills=1, seed=3)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted({*WORDS, "query"}))
def test_twenty_kills_of_each_analysis(name, tmp_path):
    alive = killed(name, tmp_path, kills=20, seed=7)
    assert alive >= 5 or name == "inspect", "most kills must meet a run that is alive"
