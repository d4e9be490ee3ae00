"""More calls of `tests/project/test_hints.py`: networks with operators that are read in part, several inputs, two networks in a row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from hint_calls import ROWS, rows
from hint_files_read import _net, _path, node
from several_inputs import two_inputs

import absint
from absint.attacks.foolbox_attacks import Setting, attack, parse_attack, send
from absint.domains.box import Box
from absint.domains.deeppoly import DeepPoly
from absint.model.graph import GraphBuilder
from absint.model.ops.gemm import Gemm
from absint.model.ops.relu import Relu
from absint.model.ops.step import Floor
from absint.problem.asked_region import Stated, asked_region
from absint.problem.boxes import box_of
from absint.problem.dataset import Dataset
from absint.problem.regions import ZonotopeRegion
from absint.problem.regions.region import BoxRegion
from absint.testing.kit import op_checks

Call = Callable[[dict[str, str]], Any]
STATE, IMAGE, LABELS = np.full((2, 2), 0.5, "f4"), np.full((2, 3, 2), 0.25, "f4"), [0, 1]
_ZEROS = torch.zeros(2, 4, dtype=torch.float64)


# ---- operators ------------------------------------------------------------------------------------------------------

_HALVES = {"stored": [("w", np.array([2]))]}
_POOLS = {"inputs": ("n", 1, 4), "outputs": ("n", 1, 3)}
_PARTS = [("c", np.array(1))]

OPERATORS = [
    *rows("E-OP-UNSUPPORTED",
          ("cast them to a floating-point type in front of it, and export again",
           _net(node("Cast", "x", "i", to=7), node("Div", "i w", "d"), node("Cast", "d", to=1), **_HALVES),
           _net(node("Cast", "x", "i", to=7), node("Cast", "i", "f", to=1), node("Div", "f w"), stored=[("w", np.array([2], "f4"))])),
          ("export with constant positions, or with torch.split replaced by slices",
           _net(node("SplitToSequence", "x", "s", axis=1), node("ReduceMax", "x", "m", keepdims=0), node("Cast", "m", "c", to=7),
                node("SequenceAt", "s c")),
           _net(node("SplitToSequence", "x", "s", axis=1), node("SequenceAt", "s c"), stored=_PARTS, outputs=("n", 1))),
          ("use its first output alone, such as that of MaxPool without return_indices",
           _net(node("MaxPool", "x", "p i", kernel_shape=[2]), node("Cast", "i", "c", to=1), node("Add", "p c"), **_POOLS),
           _net(node("MaxPool", "x", "p i", kernel_shape=[2]), node("Relu", "p"), **_POOLS)),
          ("store it as floating-point numbers or integers", _net(node("Add", "x w"), stored=[("w", np.array([1j] * 4, "c8"))]),
           _net(node("Add", "x w"), stored=[("w", np.array([1] * 4, "f4"))]))),
]


# ---- inputs by name, boxes, two networks ----------------------------------------------------------------------------


def _two(words: dict[str, str], inputs: Any) -> Any:
    return absint.verify(_path(words, "two-inputs.onnx", two_inputs()), inputs, LABELS, 0.01, domain="box", attack="none")


def _named(**inputs: Any) -> Call:
    return lambda words: _two(words, inputs)


def _box(shape: tuple[int, ...]) -> Call:
    def call(words: dict[str, str]) -> Any:
        path = _path(words, "shaped.npz", b"")
        np.savez(path, lower=np.zeros(shape), upper=np.ones(shape))
        return box_of(path, (2, 3))

    return call


def _asked(data: Dataset | None) -> Call:
    stated = Stated(eps=Fraction(1, 100), norm="linf", clip=None)
    return lambda words: asked_region(absint.load(words["NET"]), stated, data, None)


def _query(lower: str) -> Call:
    text = "(declare-const X_0 Real)(declare-const Y_0 Real)(assert (<= X_0 0.5))(assert (>= X_0 {}))(assert (>= Y_0 9))"
    return lambda words: box_of(_path(words, f"least{lower}.vnnlib", text.format(lower)), (1,))


def _chained(top: float) -> Call:
    def call(words: dict[str, str]) -> Any:
        first = _net(node("Sigmoid", "x"))(words)
        return first.then(absint.load(words["NET"]), rescale=True, classifier_range=(0.0, top))

    return call


INPUTS = [
    *rows("E-DATA-INPUTS",
          ("give one array an input, with one row an instance: {}", _named(state=STATE, picture=IMAGE), _named(state=STATE, image=IMAGE)),
          ("give one array an input, as a dict of arrays or in an npz file, called as above; or rows of all {} numbers in this order",
           lambda words: _two(words, IMAGE), _named(state=STATE, image=IMAGE)),
          ("give one array an input, as a dict of arrays or in an npz file, called as above; or rows of all {} numbers in this order",
           lambda words: _two(words, IMAGE), lambda words: _two(words, np.full((2, 8), 0.5)))),
    *rows("E-DATA-SHAPE",
          ("give one row per instance, axes in the network's order", _named(state=STATE, image=IMAGE.transpose(0, 2, 1)),
           _named(state=STATE, image=IMAGE)),
          ("give as many rows of each: row k is part of instance k", _named(state=STATE[:1], image=IMAGE),
           _named(state=STATE, image=IMAGE))),
    *rows("E-BOX",
          ("give the axes in the network's order", _box((1, 3, 2)), _box((1, 2, 3))),
          ("the box would be empty: look at its constraints on the inputs", _query("0.75"), _query("0.25"))),
    *rows("E-REGION",
          ("give both the shape (batch, *input shape)", lambda words: BoxRegion(_ZEROS, _ZEROS[0]),
           lambda words: BoxRegion(_ZEROS, _ZEROS)),
          ("give finite numbers, and a remainder of 0 or more", lambda words: ZonotopeRegion(_ZEROS, _ZEROS[:, None], _ZEROS - 1),
           lambda words: ZonotopeRegion(_ZEROS, _ZEROS[:, None], _ZEROS + 1))),
    *rows("E-COMPOSE-RANGE",
          ("--classifier-range states a range of about the size of the values (classifier_range= in Python)", _chained(1e305),
           _chained(1.0))),
    *rows("E-DATA-NONE",
          ("give arrays, a file of data, or a Region", _asked(None), _asked(Dataset(ROWS, None, "rows", "")))),
]


# ---- gradients ------------------------------------------------------------------------------------------------------


def _scored(first: Any, **options: Any) -> Call:
    """Three scores behind what stands before them."""
    def call(words: dict[str, str]) -> Any:
        build, zero = GraphBuilder("x", (4,)), torch.zeros(3, dtype=torch.float64)
        weight = torch.arange(12.0, dtype=torch.float64).reshape(3, 4).sin()
        graph = build.graph(build.add(Gemm(weight, zero), (first(build),), "y"))
        return absint.clever(graph, ROWS[:1], **{"radius": 0.5, "samples": 30, "batches": 12, **options})

    return call


def _huge(build: GraphBuilder) -> str:
    return build.add(Gemm(1e30 * torch.eye(4, dtype=torch.float64), torch.zeros(4, dtype=torch.float64)), ("x",))


def _plain(build: GraphBuilder) -> str:
    return build.add(Relu(), ("x",))


def _stairs(build: GraphBuilder) -> str:
    eye, zero = torch.eye(4, dtype=torch.float64), torch.zeros(4, dtype=torch.float64)
    return build.add(Gemm(eye / 8, zero), (build.add(Floor(), (build.add(Gemm(8 * eye, zero), ("x",)),)),))


# ---- attacks --------------------------------------------------------------------------------------------------------


def _attacked(text: str, inputs: Any = ROWS, support: Any = None, **options: Any) -> Call:
    def call(words: dict[str, str]) -> Any:
        graph, given = absint.load(words["NET"]), torch.from_numpy(inputs)
        if support is None:
            return attack(graph, given, parse_attack(text), **options)
        setting = Setting(support=torch.ones(given.shape, dtype=torch.bool) & support)
        return send(graph, given, torch.zeros(len(given), dtype=torch.int64), parse_attack(text), setting)

    return call


ATTACKS = [
    *rows("E-ATTACK-OPTION", ("l2 or linf", lambda words: parse_attack("hopskipjump:constraint=l7"),
                              lambda words: parse_attack("hopskipjump:constraint=linf"))),
    *rows("E-ATTACK-REGION",
          ("give --region all, or another attack", _attacked("boundary:steps=1", support=True), _attacked("fgsm", support=True))),
    *rows("E-ATTACK-FAILED",
          ("attack inputs of at least two classes together", _attacked("boundary:steps=1"),
           _attacked("boundary:steps=1", np.array([[0, 0, 0, 0.9], [0.9, 0, 0, 0], [0, 0.9, 0, 0], [0, 0, 0.9, 0]], "f4")))),
    *rows("E-DATA-RANGE",
          ("scale the data, or state its range: --clip LOW,HIGH (clip= in Python)", _attacked("fgsm", ROWS + 2),
           _attacked("fgsm", ROWS + 2, clip=(0.0, 3.0)))),
    *rows("E-GRADIENT-NAN",
          ("--dtype float64, a smaller --radius, or look for 0/0 in the network", _scored(_huge, dtype="float32"),
           _scored(_huge, dtype="float64"))),
    *rows("E-GRADIENT-MASKED",
          ("where rounding, thresholds or a bit depth stand before or in the network, name them: --transform NAME takes gradients behind "
           "them (BPDA)", _scored(_stairs), _scored(_plain, transform="bits3"))),
]


# ---- domains --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Raising(Box):
    """A stranger's domain that fails."""

    def linear(self, node: Any, args: Any, ctx: Any) -> Any:
        """Fail."""
        raise ValueError("oops")


@dataclass(frozen=True)
class _Asking(DeepPoly):
    """A stranger's domain that takes inner bounds from a solver."""

    def bounds(self, element: Any, rows: Any, ctx: Any, sense: Any) -> Any:
        """All of them."""
        found = super().bounds(element, rows, ctx, sense)
        return replace(found, solver=torch.ones_like(found.lower, dtype=torch.bool))


@dataclass(frozen=True)
class _Shifted(Relu):
    """Says that it is ReLU, and is not."""

    def evaluate(self, x: torch.Tensor) -> torch.Tensor:
        """Of another function."""
        return super().evaluate(x) + 1


def _bounded(domain: Any, **options: Any) -> Call:
    return lambda words: absint.bounds(words["NET"], ROWS, 0.01, domain=domain, **options)


def _checked(op: Any) -> Call:
    return lambda words: dict(op_checks(op(), None, lambda x: max(x, 0 * x)))["nonlinear/range-float64"](op())


DOMAINS_ASKED = [
    *rows("E-AFFINE",
          ("domains that have them: {}", _bounded("box", affine=True), _bounded("deeppoly", affine=True)),
          ("domains that ask none: {}", _bounded(_Asking(), affine=True), _bounded("deeppoly", affine=True))),
    *rows("E-DOMAIN-OPTION", ("a number of seconds above 0", _bounded("refine:timeout_lp=0"), _bounded("refine:timeout_lp=1"))),
    *rows("E-CONTRACT", ("what is unsound proves false statements: repair it before using it", _checked(_Shifted), _checked(Relu))),
]
