"""More calls of `tests/project/test_hints.py`: labels, layouts, ranges, results, and settings that a Python program hands over."""

from __future__ import annotations

import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hint_b_runs import installs
from hint_calls import ROWS, rows

import absint
from absint.analyses.global_robustness.options import GlobalCorrectnessOptions
from absint.analyses.global_robustness.pairs import stated_generators
from absint.analyses.global_robustness.radii import radii_in
from absint.analyses.radius.kept import check_targets
from absint.analyses.validate import evaluate
from absint.analyses.validate.calibration import write_calibration
from absint.analyses.validate.options import EvaluateOptions
from absint.attacks.distances import DistanceSettings, attacked_distances
from absint.model.layout import Layout
from absint.numeric.rounding import gamma
from absint.problem.dataset import Dataset
from absint.problem.output_range import output_range
from absint.problem.problem import robustness
from absint.problem.regions.region import LinfBall
from absint.reports.csv import Csv
from absint.reports.html import Html
from absint.reports.json import Json
from absint.reports.npz import Npz
from absint.reports.outputs import Outputs
from absint.reports.parquet import Parquet

Call = Callable[[dict[str, str]], Any]


def read(words: dict[str, str], word: str = "NET") -> Any:
    return absint.load(words[word])


def _robust(*labels: int) -> Call:
    region = LinfBall(torch.zeros(2, 4, dtype=torch.float64), Fraction(1, 100))
    return lambda words: robustness(read(words), region, torch.tensor(labels))


def _targets(*classes: int) -> Call:
    """Of two inputs whose prediction is class 0."""
    def call(words: dict[str, str]) -> None:
        graph, center = read(words), torch.from_numpy(ROWS)
        predicted = int(graph(center.double())[0].argmax())
        check_targets(graph, center.double(), torch.tensor([(predicted + one) % 3 for one in classes]), (0, 1))

    return call


def _attacked(*targets: int) -> Call:
    def call(words: dict[str, str]) -> Any:
        settings = DistanceSettings("l2", Fraction(1), deadline=0.0)     # looks, and is late
        return attacked_distances(read(words), torch.from_numpy(ROWS).double(), torch.tensor([0, 0]), torch.tensor(targets), settings)

    return call


def _shaped(shape: tuple[int, ...], target: tuple[int, ...], layout: str, network: Any = None, own: Any = None) -> Call:
    return lambda words: Dataset(np.zeros((1, *shape), "f4"), None, "rows", "", layout=own).shaped_for(target, layout, network)


def _outputs(*kinds: Any, files: tuple[str, ...] = (), terminal: bool = False) -> Call:
    """Results of these kinds; the first ones go to files, all others to stdout."""
    def call(words: dict[str, str]) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys.stdout, "isatty", lambda: terminal)
            places = [Path(words["NET"]).with_name(name) for name in files] + [None] * (len(kinds) - len(files))
            Outputs(list(zip(places, kinds, strict=True)))

    return call


def _calibration(name: str) -> Call:
    return lambda words: write_calibration({}, Path(words["NET"]).parent / name)


def _range(shape: tuple[int, ...]) -> Call:
    def call(words: dict[str, str]) -> Any:
        path = Path(words["NET"]).with_name("range.npz")
        np.savez(path, lower=np.zeros(shape), upper=np.ones(shape))
        return output_range(path, (3,))

    return call


def _without(package: str, kind: Any) -> Call:
    def call(words: dict[str, str]) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(f"{kind.__module__}.find_spec", lambda name: None if name == package else object())
            kind.check()

    return call


def _bounds(domain: str) -> Call:
    return lambda words: absint.bounds(words["NET"], ROWS, eps=0.01, domain=domain, differentiable=True)


def _thresholds(value: Any) -> Call:
    return lambda words: evaluate._plan(EvaluateOptions(thresholds=value))


DATA = [
    *rows("E-LABEL",
          ("give one class per input", _robust(0), _robust(0, 1)),
          ("give one original and one target class per centre", _attacked(1), _attacked(1, 2)),
          ("give one class number per input", _targets(1), _targets(1, 2))),
    *rows("E-LAYOUT",
          ("give --layout the order that the data has; these fit: {}", _shaped((3, 4, 4), (4, 4, 3), "hwc"),
           _shaped((3, 4, 4), (4, 4, 3), "chw")),
          ("leave --layout away: the network takes no pictures", _shaped((3, 4, 4), (3, 16), "hwc"), _shaped((3, 4, 4), (3, 16), "auto")),
          ("store the inputs with the network's axes, in its order", _shaped((3, 4, 4), (3, 16), "auto", own=Layout.CHW),
           _shaped((3, 16), (3, 16), "auto")),
          ("leave the network's order to its operators; --layout with one word is about the data",
           _shaped((3, 4, 4), (3, 4, 4), "chw:hwc", Layout.CHW), _shaped((3, 4, 4), (3, 4, 4), "chw", Layout.CHW))),
    *rows("E-OUT",
          ("give --out FILE", _outputs(Npz, terminal=True), _outputs(Npz, files=("b.npz",), terminal=True)),
          ("give all but one a file", _outputs(Json, Csv), _outputs(Json, Csv, files=("x.json",))),
          ("give the name of a file", _calibration("emptydir"), _calibration("c.json")),
          ("give a file in a folder you may write", _calibration("no/c.json"), _calibration("c.json"))),
    *rows("E-OUTPUT-RANGE", ("give one, for all inputs", _range((2, 3)), _range((3,)))),
    *rows("E-GLOBAL-EPS", ("for example 0.003,0.01", lambda words: radii_in([]), lambda words: radii_in("0.003,0.01"))),
    *rows("E-GLOBAL-GENERATOR", ("for example 8=G.onnx", lambda words: stated_generators(GlobalCorrectnessOptions(generator=({},))),
                                 lambda words: stated_generators(GlobalCorrectnessOptions(generator=("8=G.onnx",))))),
    *rows("E-GRADIENT", ("domains with gradients: {}", _bounds("refine"), _bounds("zonotope"))),
    *rows("E-NUMBERS", ("for example 0.002,0.004", _thresholds(5), _thresholds("0.002,0.004"))),
    *rows("E-PARQUET-MISSING", ("pip install 'absint[parquet]', or pip install pyarrow", _without("pyarrow", Parquet),
                                installs("parquet", "pyarrow"))),
    *rows("E-REPORT-MISSING", ("pip install 'absint[reports]', or pip install jinja2", _without("jinja2", Html),
                               installs("reports", "jinja2"))),
    *rows("E-ROUNDING-TERMS", ("use --dtype float64", lambda words: gamma(1 << 24, torch.float32),
                               lambda words: gamma(1 << 24, torch.float64))),
]
