"""Whatever a user hands to a public function, of whatever type: it works, or the error is coded. Never anything else."""

from __future__ import annotations

import inspect
from datetime import date
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from known_pairs import identity_generator, sign_classifier
from taboo_nets import rectifier
from trainings import data_file

import absint
from absint import api
from absint.contract.analysis import functions
from absint.errors import AbsintError, InternalError

NASTY = [
    None, True, False, 0, 1, -1, 10**30, 0.5, -0.5, float("nan"), float("inf"), 1e-320, 1j, "", "x", "none", "0.01", "a" * 5000, "\0", b"x",
    [], [1, [2]], [0.01], [0.01, 0.02], (0, 1), (1, 0), {}, {"a": 1}, {1}, object(), int, len, lambda x: x, iter([1]), Path("nowhere.onnx"),
    Fraction(1, 3), Decimal("0.01"), Decimal("NaN"), date(2020, 1, 1), np.float32(0.01), np.int64(3), np.array(0.01), np.array([]),
    np.array(["a"]), np.array([None, 1], dtype=object), np.full((2, 3), np.nan), np.zeros((2, 3)), np.zeros((1, 2, 3, 4)),
    np.zeros((2, 3), dtype=complex), torch.zeros(2, 3), torch.zeros(2, 3, requires_grad=True), torch.tensor(0.01),
    torch.zeros(2, 3, dtype=torch.bfloat16), torch.sparse_coo_tensor([[0], [1]], [1.0], (2, 3)), torch.nn.Linear(3, 2), torch.nn.Identity(),
    absint.Verdict, ValueError("x"), range(3), slice(1), ..., NotImplemented,
]
NAMES = sorted(functions())


@pytest.fixture(scope="module")
def net(tmp_path_factory):
    from small_runs import query_list

    folder = tmp_path_factory.mktemp("fuzz")
    query_list(folder, 1)
    return folder / "net.onnx"


def arguments(name, net):
    """What works, so that one wrong value at a time is met on the way."""
    known = inspect.signature(getattr(absint, name)).parameters
    good = {"graph": net, "inputs": np.array([[0.6, 0.1, 0.5], [0.2, 0.7, 0.5]]), "labels": [0, 1], "eps": 0.01,
            "query": net.with_name("0.vnnlib"), "timeout": 5}
    if name == "train":     # the first one trains; what the others are told comes before they find a training there already
        good = {"model": lambda shape, classes: torch.nn.Sequential(torch.nn.Linear(3, classes)),
                "data": data_file(net.parent, shape=(3,)), "steps": 1, "attack_steps": 1, "restarts": 1}
    if name.startswith("taboo"):    # a network with rectified neurons, and traps of it
        path, detector = net.with_name("rectified.onnx"), net.with_name("traps.json")
        if not detector.exists():
            path.write_bytes(rectifier(np.array([[1.0, 0, 0], [0, 1, 0], [0, 0, -1]])))
            absint.taboo_calibrate(path, good["inputs"], detector=detector)
        good |= {"graph": path, "attack": ["sign:eps=0.1"] if name == "taboo_evaluate" else "pgd"}
        if name == "taboo_calibrate":
            del good["eps"]
        else:
            good["detector"] = detector
    if name == "sweep":
        good |= {"graphs": good["graph"], "domains": "box"}
    if name.startswith("global"):
        pair = {"classifier": sign_classifier(net.parent, 6.0), "generator": {0: identity_generator(net.parent)}}
        good |= {**pair, "as_is": True, "draws": 2}
    return {key: value for key, value in good.items() if key in known}


@pytest.mark.parametrize("share", [12, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", NAMES)
def test_one_wrong_value_at_a_time(name, share, net, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)     # a text may be taken for the name of a file
    function, good = getattr(absint, name), arguments(name, net)
    outcomes = {"fine": 0, "coded": 0, "asked": 0}
    for place, key in enumerate(inspect.signature(function).parameters):
        for value in NASTY[place % share :: share]:     # every value meets that share of the parameters
            if key == "on_record" and callable(value):
                continue    # what a caller's own function raises is the caller's
            given = {**good, key: value}
            if key == "journal":
                given["resume"] = True      # the same name twice is no news
            try:
                function(**given)
            except InternalError as error:
                raise AssertionError(f"{name}({key}={value!r:.60}): {error}") from error
            except AbsintError as error:
                outcomes["coded"] += error.code.startswith("E-") and len(error.render()) < 3000
            except Exception as error:
                raise AssertionError(f"{name}({key}={value!r:.60}): {type(error).__name__}: {error}") from error
            else:
                outcomes["fine"] += 1
            outcomes["asked"] += 1
    assert outcomes["coded"] + outcomes["fine"] == outcomes["asked"]
    assert outcomes["fine"] > 0 or name.startswith("validate"), "else nothing is met on the way; a validator takes more inputs than these"


def test_a_planted_uncoded_error_is_seen(net, monkeypatch):
    monkeypatch.setattr(api, "options_from", lambda *_: {}["x"], raising=True)
    with pytest.raises(KeyError):
        absint.radius(net, np.zeros((1, 3)))


@pytest.mark.parametrize("value", NASTY, ids=range(len(NASTY)))
def test_load_takes_anything(value):
    try:
        absint.load(value)
    except InternalError:
        raise
    except AbsintError:
        pass
