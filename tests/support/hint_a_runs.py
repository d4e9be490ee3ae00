"""More calls of `tests/project/test_hints.py`: evidence packs that were changed, trainings that go on, calibrations, plug-ins that fail."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hint_a_networks import _Raising
from hint_calls import ROWS, rows
from hint_training import _task, _trained
from reported_runs import forged, made, members, network, packed, resigned

import absint
from absint.analyses.taboo.asked import FoundTraps
from absint.analyses.taboo.evaluation import PerturbationPlan, TabooExperiment
from absint.analyses.taboo.traps import read_traps
from absint.analyses.train.checkpoint import read_state, same_shapes
from absint.analyses.train.trainer import Trainer
from absint.analyses.validate.calibration import read_calibration, write_calibration
from absint.analyses.validate.validator import RadiusValidator
from absint.attacks.distances import _Pairs
from absint.attacks.foolbox_attacks import attack, parse_attack
from absint.cli.main import main
from absint.cli.project_keys import variables
from absint.engine.domain import DOMAINS, register_domain
from absint.problem.dataset import Dataset
from absint.runs import member_sizes
from absint.runs.gathered import Gathered
from absint.runs.pack_checks import checked
from absint.runs.packs import ENVIRONMENT, MANIFEST, REPORT
from absint.runs.replays import _places
from absint.solvers.interface import SOLVERS, Presence, Solver, register_solver

Call = Callable[[dict[str, str]], Any]


# ---- evidence packs -------------------------------------------------------------------------------------------------


def _pack(change: Callable[[dict[str, bytes]], Any], *, sign: bool = True) -> Call:
    """Checked, after its members were changed. sign: let the manifest fit."""
    def call(words: dict[str, str]) -> Any:
        content = members()
        change(content)
        return checked(packed(Path(words["NET"]).with_name("changed.zip"), resigned(content) if sign else content))

    return call


def _anew(words: dict[str, str]) -> None:
    path = Path(words["NET"]).with_name("anew.zip")
    path.write_bytes(made().pack)
    assert checked(path).lines


def _as_journal(words: dict[str, str]) -> Any:
    path = Path(words["NET"]).with_name("anew.zip")
    path.write_bytes(made().pack)
    return Gathered([path])


def _with_model(model: str | None) -> Call:
    def call(words: dict[str, str]) -> Any:
        path = Path(words["NET"]).with_name("anew.zip")
        path.write_bytes(made().pack)
        return checked(path, made().net if model is None else Path(words[model]))

    return call


@cache
def _of_two(net: str, first: str, data: str) -> Path:
    """The pack of a run on two networks in a row."""
    path = Path(net).with_name("of-two.zip")
    with contextlib.redirect_stderr(io.StringIO()):
        main(["verify", net, "--compose", first, "--as-is", "--data", data, "--domain", "box", "--attack", "none", "--quiet",
              "--bundle", str(path), "--journal", str(path.with_suffix(".jsonl")), "--out", str(path.with_suffix(".txt"))])
    return path


def _two(model: bool) -> Call:
    return lambda words: checked(_of_two(words["NET"], words["SAMESIZE"], words["DATA"]), Path(words["NET"]) if model else None)


def _manifest(**changes: Any) -> Callable[[dict[str, bytes]], None]:
    def change(content: dict[str, bytes]) -> None:
        content[MANIFEST] = json.dumps({**json.loads(content[MANIFEST]), **changes}).encode()

    return change


def _rows(**arrays: Any) -> Call:
    """The rows of a pack, read as its counterexamples are replayed."""
    def call(words: dict[str, str]) -> Any:
        path = Path(words["NET"]).with_name("rows.npz")
        np.savez(path, **arrays)
        return _places(path)

    return call


def _another(content: dict[str, bytes]) -> None:
    """A network that nobody analysed."""
    content["model/1-net.onnx"] = network(made().net.with_name("another.onnx"), 2.0).read_bytes()


def _in_little_memory(words: dict[str, str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(member_sizes, "_memory", lambda: 10)
        _pack(lambda found: None)(words)


def _moved(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "witness": [0.55, 0.5, 0.5]} if row["index"] == 1 else row


def _forged(words: dict[str, str]) -> Any:
    folder = Path(words["NET"]).with_name("forged")
    folder.mkdir(exist_ok=True)
    return checked(packed(folder / "p.zip", forged(folder, _moved)))


PACKS = [
    *rows("E-BUNDLE-CHANGED", ("ask for the pack anew: this one was changed", _pack(lambda found: found.update({ENVIRONMENT: b"x"}),
                                                                                    sign=False), _anew)),
    *rows("E-JOURNAL-FORMAT", ("a pack is looked through by absint report --check {}", _as_journal, _anew)),
    *rows("E-BUNDLE-MEMBERS", ("ask for the pack anew: this one was changed", _pack(lambda found: found.pop(REPORT), sign=False), _anew)),
    *rows("E-BUNDLE-SIZE", ("check it on a machine with more memory and disk, if you expect so large a pack; else trust none of it",
                            _in_little_memory, _anew)),
    *rows("E-BUNDLE-DISAGREE", ("trust neither; ask for the pack anew", _pack(lambda found: found.update({REPORT: b"{}"})), _anew)),
    *rows("E-BUNDLE-FORMAT",
          ("give what --bundle wrote", lambda words: checked(Path(words["TEXT"])), _anew),
          ("give what --bundle wrote", _pack(lambda found: found.update({MANIFEST: b"[]"}), sign=False), _anew),
          ("use the absint that wrote it", _pack(_manifest(schema="absint-pack/9"), sign=False), _anew),
          ("ask for the pack anew", _rows(inputs=ROWS), _rows(index=np.array([4, 7]), inputs=ROWS))),
    *rows("E-BUNDLE-MODEL",
          ("ask for the pack anew: this one was changed", _pack(_another), _anew),
          ("give the file that was analysed", _with_model("NET"), _with_model(None)),
          ("leave --model out", _two(True), _two(False))),
    *rows("E-BUNDLE-WITNESS", ("trust none of its verdicts; ask for the pack anew", _forged, _anew)),
]


# ---- trainings that go on -------------------------------------------------------------------------------------------

_SAME = {"attacked": 1, "attack_steps": 1, "restarts": 1, "warm_up": "0", "ramp": "1"}


def _trainer(words: dict[str, str], folder: Path, **options: Any) -> Trainer:
    folder.mkdir(exist_ok=True)
    task = _task(words["NET"], save=folder, **{**_SAME, **options})
    return Trainer(task, lambda text: None, float("inf"), lambda text: None, resume=True)


def _folder(words: dict[str, str], name: str) -> Path:
    return Path(words["NET"]).with_name(name)


def _copied(name: str, lost: str = "") -> Call:
    """What a finished training is measured by, where somebody takes one of its files away meanwhile."""
    def call(words: dict[str, str]) -> Any:
        folder = _folder(words, name)
        shutil.copytree(_trained(words["NET"]), folder, dirs_exist_ok=True)
        one = _trainer(words, folder)
        if lost:
            (folder / lost).unlink()
        return one.best()

    return call


def _resumed(**options: Any) -> Call:
    def call(words: dict[str, str]) -> Any:
        folder = _folder(words, "kept")
        if not folder.exists():
            _trainer(words, folder).keep()
        return _trainer(words, folder, **options)

    return call


def _built(change: Callable[[torch.Tensor], torch.Tensor]) -> Call:
    """Of a builder that gives other weights each time, beside a checkpoint of its first ones."""
    def call(words: dict[str, str]) -> None:
        folder = _folder(words, "built")
        one = _trainer(words, folder)
        one.keep()
        state = read_state(folder / "checkpoint.safetensors", one.task.bound)
        same_shapes(folder / "checkpoint.safetensors", state, {name: change(value) for name, value in one.parameters.items()})

    return call


TRAINED = [
    *rows("E-CHECKPOINT-OTHER",
          ("use the same options, or give --save another folder", _resumed(eps="0.01"), _resumed()),
          ("use the same options, or give --save another folder", _resumed(eps="0.01"),
           lambda words: _trainer(words, _folder(words, "elsewhere"), eps="0.01")),
          ("use the same --model, or give --save another folder", _built(lambda value: value[:1]), _built(lambda value: value)),
          ("give --save another folder and begin again", _copied("lost-network", "best.onnx"), _copied("whole"))),
    *rows("E-CHECKPOINT-FORMAT",
          ("give --save another folder and begin again", _copied("lost-weights", "best.safetensors"), _copied("whole"))),
    *rows("E-CHECKPOINT-MISSING",
          ("give --save another folder and begin again", lambda words: _trainer(words, _folder(words, "unfilled")).epoch(1),
           lambda words: _trainer(words, _trained(words["NET"])).epoch(0))),
]


# ---- calibrations and detectors -------------------------------------------------------------------------------------


def _few(words: dict[str, str]) -> Path:
    """A calibration of fewer inputs than a window takes."""
    path = Path(words["NET"]).with_name("few.json")
    found = read_calibration(words["CALIBRATION"])
    write_calibration(replace(found, window=None, rule=replace(found.rule, size=100)).as_dict(), path)
    return path


def _validator(domain: str = "box", file: Callable[[dict[str, str]], Any] = itemgetter("CALIBRATION"), **options: Any) -> Call:
    def call(words: dict[str, str]) -> Any:
        given = {"upper": "0.008", "tolerance": "0.0005", "rate": "0.1", **options}
        return RadiusValidator(absint.load(words["NET"]), domain, **given).load_state(file(words))

    return call


def _experiment(inputs: Any) -> Call:
    def call(words: dict[str, str]) -> Any:
        data = Dataset(inputs, np.zeros(len(inputs), "i8"), "rows", "")
        found = FoundTraps(read_traps(words["TRAPS"]), absint.load(words["TABOO"], fold=False), "traps")
        return TabooExperiment(found, data, PerturbationPlan(()))

    return call


RULES = [
    *rows("E-CALIBRATION-SETTINGS",
          ("use the same settings, or calibrate again", _validator("zonotope"), _validator())),
    *rows("E-CALIBRATION-FEW",
          ("calibrate with {} correctly classified inputs, or give --mode threshold", _validator(file=_few, mode="distribution"),
           _validator(file=_few)),
          ("calibrate with {} correctly classified inputs, or give --mode threshold", _validator(file=_few, mode="distribution"),
           _validator(mode="distribution"))),
    *rows("E-DATA-NONE", ("give one input at least", _experiment(ROWS[:0]), _experiment(ROWS))),
    *rows("E-EVIDENCE",
          ("ask the queries one by one", lambda words: absint.verify_query(instances=words["LIST"], evidence=True),
           lambda words: absint.verify_query(words["NET"], words["QUERY"], evidence=True)),
          ("leave the executor away, or the evidence",
           lambda words: absint.verify(words["NET"], ROWS, [0, 1], 0.01, evidence=True, executor="processes"),
           lambda words: absint.verify(words["NET"], ROWS, [0, 1], 0.01, evidence=True, domain="box", attack="none"))),
]


# ---- attacks, plug-ins, the environment -----------------------------------------------------------------------------

_PAIRS = torch.tensor([[0, 1], [1, 2]])
_CLASSES = torch.tensor([[0, 0, 0, 0.9], [0.9, 0, 0, 0], [0, 0.9, 0, 0], [0, 0, 0.9, 0]])


def _attacked(text: str) -> Call:
    return lambda words: attack(absint.load(words["NET"]), _CLASSES, parse_attack(text))


def _of_pairs(count: int) -> Call:
    """What an attack does that evaluates so many rows of two pairs."""
    return lambda words: _Pairs(absint.load(words["NET"]), _PAIRS, torch.ones(2), float("inf"))(torch.zeros(count, 4))


class _Lost(Solver):
    """A stranger's, which says of itself only that it cannot be used."""

    def check(self) -> Presence:
        """Not usable."""
        return Presence(False, "its server does not answer")

    def start(self, model: Any) -> Any:
        """Never called."""
        raise NotImplementedError


def _solved(name: str) -> Call:
    def call(words: dict[str, str]) -> Any:
        register_solver("lost")(_Lost)
        try:
            return absint.verify(words["NET"], ROWS, [0, 1], 0.001, domain=f"refine:solver={name}", attack="none")
        finally:
            del SOLVERS._entries["lost"]

    return call


def _traced(words: dict[str, str]) -> None:
    register_domain("raising")(_Raising)
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            main(["bounds", words["NET"], "--data", words["DATA"], "--domain", "raising", "--quiet", "--debug"])
    finally:
        del DOMAINS._entries["raising"]
    assert "in linear" in said.getvalue()


@contextlib.contextmanager
def _environment(**values: str) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in values.items():
            patch.setenv(name, value)
        yield


def _said(value: str) -> Call:
    """What the environment says to a command."""
    def call(words: dict[str, str]) -> Any:
        with _environment(ABSINT_BATCH=value):
            return variables("bounds", "")

    return call


def _unheard(words: dict[str, str]) -> None:
    """A command that does not listen."""
    with _environment(ABSINT_BATCH="many"), contextlib.redirect_stdout(io.StringIO()):
        assert main(["bounds", words["NET"], "--data", words["DATA"], "--domain", "box", "--quiet", "--no-config"]) == 0


_CHECK = "run absint.testing.kit.check_domain on it; --debug shows the traceback"
_SET = "set them right, unset them, or take no notice of any with --no-config"

STRANGERS = [
    *rows("E-ATTACK-FAILED",
          ("give other parameters, or inputs of at least two classes", _attacked("hopskipjump:steps=1,initial_gradient_eval_steps=0"),
           _attacked("hopskipjump:steps=1,initial_gradient_eval_steps=5")),
          ("leave this attack away", _of_pairs(3), _of_pairs(2))),
    *rows("E-SOLVER-MISSING",
          ("absint doctor lists those that are there; --solver auto takes one of them", _solved("lost"), _solved("auto"))),
    *rows("E-DOMAIN-RAISED",
          (_CHECK, lambda words: absint.bounds(words["NET"], ROWS, 0.01, domain=_Raising()), _traced),
          (_CHECK, lambda words: absint.verify(words["NET"], ROWS, [0, 1], 0.01, domain=_Raising(), attack="none"), _traced)),
    *rows("E-CONFIG-VARIABLE", (_SET, _said("many"), _said("8")), (_SET, _said("many"), _unheard)),
]
