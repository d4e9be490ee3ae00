"""More calls of `tests/project/test_hints.py`: what a Python program hands over, regions made by hand, parts of the library used alone."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from functools import cache
from math import inf, nan
from typing import Any

import numpy as np
import torch
from hint_calls import ROWS, X, imports, rows

import absint
from absint import samples
from absint.analyses.radius.bisection import BisectionSettings
from absint.analyses.taboo.asking import chosen
from absint.analyses.taboo.detector import TabooDetector
from absint.analyses.taboo.keys import mask
from absint.analyses.taboo.traps import Trap, Traps, read_traps, threshold_above
from absint.analyses.validate.validator import RadiusValidator
from absint.analyses.verify.settings import ProofSettings
from absint.attacks.distances import DistanceSettings
from absint.attacks.foolbox_attacks import parse_attack, parse_attacks
from absint.engine.backward.slopes import Ascent
from absint.model.composition import Fit
from absint.model.frontend import load_model
from absint.model.ops.normalise import Softmax
from absint.model.ops.relu import Relu
from absint.model.reference import runtime
from absint.model.watched import Watch, rectified
from absint.problem.boxes import box_of, number_of_float
from absint.problem.dataset import Dataset
from absint.problem.live import clip_of, region_of
from absint.problem.live.arrays import array_of
from absint.problem.live.inputs import arranged
from absint.problem.live.models import graph_of
from absint.problem.live.words import dtype_of, layout_of
from absint.problem.regions import InstanceRadii, Patch, Patches, Photometric, ZonotopeRegion, ball
from absint.problem.regions.region import BoxRegion, LinfBall
from absint.problem.spec import Spec
from absint.problem.training_data import Split
from absint.problem.transforms import transform_of
from absint.search.names import domain_of, domains_of
from absint.solvers.model import Limits
from absint.testing.kit import check_op

Z = torch.zeros(1, 4, dtype=torch.float64)


@cache
def _graph(path: str) -> Any:
    return absint.load(path)


def _verify(*arguments: Any, **options: Any) -> Any:
    given = arguments or (ROWS, [0, 1])
    more = {"eps": 0.01, "domain": "box", "attack": "none", **options}
    return lambda words: absint.verify(words["NET"], *given, **{key: value for key, value in more.items() if value is not None})


def _bounds(**options: Any) -> Any:
    return lambda words: absint.bounds(words["NET"], ROWS, **{"eps": 0.01, "domain": "box", **options})


def _region(eps: Any, inputs: Any = ROWS, word: str = "NET", **options: Any) -> Any:
    return lambda words: region_of(_graph(words[word]), inputs, eps, **options)


def _box(value: Any) -> Any:
    return lambda words: box_of(value, (4,))


def _made(kind: Any, *arguments: Any, **options: Any) -> Any:
    return lambda words: kind(*arguments, **options)


def _of_traps(call: Any) -> Any:
    return lambda words: call(read_traps(words["TRAPS"]))


def _masked(key: str, share: Fraction = Fraction(1, 1000)) -> Any:
    return lambda words: mask(key, rectified(_unfolded(words["TABOO"])), share)


@cache
def _unfolded(path: str) -> Any:
    return absint.load(path, fold=False)


def _arranged(layout: Any) -> Any:
    return lambda words: arranged(_graph(words["NET"]), Dataset(ROWS, None, "rows", ""), layout)


def _detect(fitted: bool) -> Any:
    def call(words: dict[str, str]) -> Any:
        detector = TabooDetector(_unfolded(words["TABOO"]))
        return (detector.load(words["TRAPS"]) if fitted else detector).alarms(ROWS)

    return call


_BALL = LinfBall(Z, Fraction(1, 100))
_SEARCH = {"upper": Fraction(1, 100), "tolerance": Fraction(1, 1000), "verify": ProofSettings("box")}

PYTHON = [
    *rows("E-EPS",
          ("a number such as 0.01, or a Region as inputs", _region(None), _region(0.01)),
          ("a number such as 0.01, or a Region as inputs", _bounds(eps=None), _bounds()),
          ("leave eps away", _region(0.01, _BALL), _region(None, _BALL)),
          ("a number, one radius an input, or one an entry", _region({"a": 1}), _region([0.01, 0.02])),
          ("a number, or one radius per entry, channel or instance", _region(np.ones((3, 7))), _region(np.full((2, 4), 0.01))),
          ("one radius, or one an input", _region([0.1, 0.2, 0.3], norm="l2"), _region([0.1, 0.2], norm="l2")),
          ("one radius, or one per instance", _region(np.arange(8.0).reshape(2, 4), norm="l2"), _region(np.array([0.1, 0.2]), norm="l2")),
          ("one radius, or one an input", _made(InstanceRadii((Fraction(1),)).of, 2), _made(InstanceRadii((Fraction(1),) * 2).of, 2)),
          ("numbers >= 0", _made(InstanceRadii, (Fraction(-1),)), _made(InstanceRadii, (Fraction(1),))),
          ("numbers >= 0", _made(LinfBall, Z, torch.full((1, 4), -1.0).double()), _made(LinfBall, Z, torch.ones(1, 4).double())),
          ("numbers >= 0, as many as inputs", _made(ball, "l2", Z, torch.ones(3).double(), None),
           _made(ball, "l2", Z, torch.ones(1).double(), None)),
          ("use --norm linf", _made(ball, "l2", Z, (Fraction(1), Fraction(2)), None), _made(ball, "linf", Z, Fraction(1), None)),
          ("an array of shape {} is one an input; for one a channel, give another number of inputs at once",
           _region([0.1, 0.2], np.full((2, 2, 3, 3), 0.5), "COLOURS"),
           _region(np.full((2, 1, 1, 1), 0.1), np.full((2, 2, 3, 3), 0.5), "COLOURS")),
          ("give them the shape {} for one an input, or that of the inputs", _region(np.array([0.1, 0.2, 0.3, 0.4]), np.full((4, 4), 0.5)),
           _region(np.array([[0.1], [0.2], [0.3], [0.4]]), np.full((4, 4), 0.5)))),
    *rows("E-NORM",
          ("linf, l2 or l1", _made(ball, "l3", Z, Fraction(1), None), _made(ball, "l2", Z, Fraction(1), None)),
          ("linf, l2 or l1", _made(DistanceSettings, "l3", Fraction(1)), _made(DistanceSettings, "l2", Fraction(1)))),
    *rows("E-CLIP",
          ("two finite numbers such as (0, 1), the same for all entries, or None", _made(clip_of, (1, 0)), _made(clip_of, (0, 1))),
          ("a pair of numbers, such as (0, 1), or None", _made(Fit, expects=(nan, 1.0)), _made(Fit, expects=(0.0, 1.0))),
          ("for example 0,1", _made(ball, "linf", Z, Fraction(1), (1.0, 0.0)), _made(ball, "linf", Z, Fraction(1), (0.0, 1.0)))),
    *rows("E-USAGE",
          ("give one of them", _made(Fit, rescale=True, as_is=True), _made(Fit, rescale=True)),
          ("for example 0,1", _made(Fit, rescale=True, expects=None), _made(Fit, rescale=True, expects=(0.0, 1.0))),
          ("in order: {}; name the others", _verify(*([ROWS] * 9), eps=None), _verify()),
          ("known: {}", _verify(epsilon=0.1), _verify()),
          ("leave them away", lambda words: absint.verify(words["NET"], _BALL, [0], brightness="0.1"),
           lambda words: absint.verify(words["NET"], _BALL, [0], domain="box", attack="none")),
          ("choose them with --index, or hand over fewer", lambda words: absint.verify(words["NET"], _BALL, [0], sample=1),
           lambda words: absint.verify(words["NET"], _BALL, [0], domain="box", attack="none")),
          ("add --data FILE; values of a Python program are taken as they are", _verify(scale="1/255"), _verify()),
          ("leave one of them away", _bounds(differentiable=True, journal="j"), _bounds(differentiable=True)),
          ("leave rounding on", _made(BisectionSettings, **{**_SEARCH, "verify": ProofSettings("box", rounding=False)}),
           _made(BisectionSettings, **_SEARCH)),
          ("leave accept_solver away", _made(BisectionSettings, **{**_SEARCH, "verify": ProofSettings("box", accept_solver=True)}),
           _made(BisectionSettings, **_SEARCH)),
          ("leave it away", lambda words: absint.radius(words["NET"], ROWS, accept_solver=True),
           lambda words: absint.radius(words["NET"], ROWS, domain="box", upper="0.01")),
          ("a file, or its Traps", lambda words: absint.taboo_detect(words["TABOO"], ROWS, detector=3),
           lambda words: absint.taboo_detect(words["TABOO"], ROWS, detector=words["TRAPS"])),
          ("give arrays", lambda words: absint.taboo_calibrate(words["TABOO"], _BALL), _of_traps(len)),
          ("give arrays", lambda words: absint.taboo_evaluate(words["TABOO"], _BALL, detector=words["TRAPS"]), _of_traps(len)),
          ("give arrays", lambda words: absint.clever(words["NET"], _BALL),
           lambda words: absint.clever(words["NET"], ROWS, order=1, samples=8, batches=10))),
    *rows("E-OPTION",
          ("leave them away", _verify(progress="yes"), _verify()),
          ("such as (0, 1)", lambda words: absint.load(words["NET"], check_range="wide"),
           lambda words: absint.load(words["NET"], check_range=(0, 1))),
          ("give it to absint.load", lambda words: graph_of(_graph(words["NET"]), normalisation=False),
           lambda words: absint.load(words["NET"], normalisation=True)),
          ("known: {}", lambda words: load_model(words["NET"], example_input=X), lambda words: load_model(words["NET"], fold=True)),
          ("known: {}", lambda words: RadiusValidator(_graph(words["NET"]), "box", colour=1),
           lambda words: RadiusValidator(_graph(words["NET"]), "box")),
          ("two arrays of the network's input shape, a Region, or the path of a file", _box(3), _box((np.zeros(4), np.ones(4))))),
    *rows("E-BOX",
          ("give it the network's axes", _box(LinfBall(torch.zeros(1, 5).double(), Fraction(1))), _box(_BALL)),
          ("one of each for a box", _box((np.zeros((2, 4)), np.ones((3, 4)))), _box((np.zeros((2, 4)), np.ones((2, 4))))),
          ("give the axes in the network's order, several boxes along an axis in front", _box((np.zeros(3), np.ones(3))),
           _box((np.zeros(4), np.ones(4)))),
          ("give numbers; inf and -inf where there is no limit", _made(number_of_float, nan), _made(number_of_float, inf))),
    *rows("E-NORMALISE", ("for example 0.1307, or [0.491, 0.482, 0.447]", lambda words: absint.load(words["NET"], mean={"a": 1}, std=1),
                          lambda words: absint.load(words["NET"], mean=0.1307, std=0.5)),
          ("for example 0.1307, or 0.491,0.482,0.447", lambda words: absint.load(words["NET"], mean="x", std="1"),
           lambda words: absint.load(words["NET"], mean="0.1307", std="0.5"))),
    *rows("E-TENSOR",
          ("a name, a list of names, or 'all'", _bounds(tensors=3), _bounds(tensors="h")),
          ("a name, a list of names, or 'all'", _bounds(tensors=[3]), _bounds(tensors=["h", "y"])),
          ("known: {}", lambda words: _graph(words["NET"]).find("nowhere"), lambda words: _graph(words["NET"]).find("y"))),
    *rows("E-EXAMPLE-INPUT",
          ("give example_input to absint.load", lambda words: absint.verify(torch.nn.Linear(4, 3).eval(), np.zeros((0, 4)), []),
           imports),
          ("give one batch of inputs, axis 0 counting the instances", lambda words: absint.load(torch.nn.Linear(4, 3).eval(),
                                                                                               example_input=torch.tensor(1.0)),
           imports)),
    *rows("E-MODEL-TYPE", ("absint.load reads files and modules: generator.then(absint.load('C.onnx'))",
                           lambda words: _graph(words["SAMESIZE"]).then(words["NET"], as_is=True),
                           lambda words: _graph(words["SAMESIZE"]).then(absint.load(words["NET"]), as_is=True))),
    *rows("E-DATA-LAYOUT",
          ("auto, chw, hwc, or two of them as DATA:NETWORK", _arranged(3), _arranged("chw")),
          ("auto, chw or hwc", _made(layout_of, 3), _made(layout_of, "auto"))),
    *rows("E-DTYPE", ("float32 or float64", _made(dtype_of, "float16"), _made(dtype_of, "float64"))),
    *rows("E-DATA-SHAPE",
          ("make it of inputs in the network's shape", _region(None, LinfBall(torch.zeros(1, 5).double(), Fraction(1))),
           _region(None, _BALL)),
          ("use shape (N, ...)", _made(Dataset, np.array(3.0), None, "rows", ""), _made(Dataset, ROWS, None, "rows", ""))),
    *rows("E-DATA-LABELS",
          ("give one label an input, in the same order", _made(Dataset, ROWS, np.array([1]), "rows", ""),
           _made(Dataset, ROWS, np.array([1, 0]), "rows", "")),
          ("give one class number an input, in the same order", _made(Split, ROWS, 1.0, np.array([1]), "rows", ""),
           _made(Split, ROWS, 1.0, np.array([1, 0]), "rows", ""))),
    *rows("E-DATA-LABELS", ("store class numbers 0, 1, 2, ...", _made(Dataset, ROWS, np.array([0.5, 1]), "rows", ""),
                            _made(Dataset, ROWS, np.array([0, 1]), "rows", ""))),
    *rows("E-DATA-EMPTY", ("store shape (N, ...), one row an input", _made(Split, ROWS[:0], 1.0, np.array([], "i8"), "rows", ""),
                           _made(Split, ROWS, 1.0, np.array([1, 0]), "rows", ""))),
    *rows("E-DATA-FORMAT", ("use uint8 or float32", _made(Split, ROWS.astype("f8"), 1.0, np.array([1, 0]), "rows", ""),
                            _made(Split, ROWS, 1.0, np.array([1, 0]), "rows", ""))),
    *rows("E-DATA-INDEX",
          ("positions count from 0", lambda words: Dataset(ROWS, None, "rows", "").select(np.array([0.5])),
           lambda words: Dataset(ROWS, None, "rows", "").select([0])),
          ("the data set is empty", lambda words: Dataset(ROWS[:0], None, "rows", "").select([0]),
           lambda words: Dataset(ROWS, None, "rows", "").select([0])),
          ("use positions 0 to {}", lambda words: Dataset(ROWS, None, "rows", "").select([9]),
           lambda words: Dataset(ROWS, None, "rows", "").select([1]))),
    *rows("E-DATA-TYPE",
          ("a numpy array, a torch tensor, or lists of equal length that hold numbers", _made(array_of, "words", "inputs"),
           _made(array_of, [[1, 2], [3, 4]], "inputs")),
          ("a numpy array, a torch tensor, or lists of equal length that hold numbers", _made(array_of, [[1, 2], [3]], "inputs"),
           _made(array_of, [[1, 2], [3, 4]], "inputs")),
          ("round them yourself: what is proved holds for the very numbers given", _made(array_of, [2**60 + 1], "inputs"),
           _made(array_of, [float(2**60 + 1)], "inputs"))),
    *rows("E-LABEL",
          ("a target must be another class", _made(Spec.targeted, torch.tensor([1]), torch.tensor([1]), 3),
           _made(Spec.targeted, torch.tensor([1]), torch.tensor([2]), 3)),
          ("give labels", lambda words: absint.verify(words["CONSTANTS"], ROWS, eps=0.01, domain="box", attack="none"),
           lambda words: absint.verify(words["CONSTANTS"], ROWS, [0, 1], eps=0.01, domain="box", attack="none"))),
    *rows("E-REGION",
          ("every input needs finite bounds", _made(BoxRegion, Z, Z + inf), _made(BoxRegion, Z, Z + 1)),
          ("swap the bounds", _made(BoxRegion, Z + 1, Z), _made(BoxRegion, Z, Z + 1)),
          ("remove or repair these inputs", _made(LinfBall, Z + nan, Fraction(1)), _made(LinfBall, Z, Fraction(1))),
          ("is the data normalised already? give raw values and --mean, --std, or take these: --clip none",
           _made(LinfBall, Z - 1, Fraction(1)), _made(LinfBall, Z - 1, Fraction(1), None)),
          ("{}give the true range with --clip LOW,HIGH", _made(LinfBall, Z + 255, Fraction(1)),
           _made(LinfBall, Z + 255, Fraction(1), (0, 255))),
          ("give the true range with --clip", _made(Patch, Z, Z + 1, Z + 2), _made(Patch, Z, Z + 2, Z + 2)),
          ("give LOW:HIGH", _made(Photometric, Z, (Fraction(2), Fraction(1))), _made(Photometric, Z, (Fraction(1), Fraction(2)))),
          ("(batch, *shape), (batch, m, *shape) and (batch, *shape)", _made(ZonotopeRegion, Z, Z), _made(ZonotopeRegion, Z, Z[:, None]))),
    *rows("E-PATCH", ("for example 3x3", _made(Patches, 0, 3), _made(Patches, 3, 3))),
    *rows("E-TRANSFORM-UNKNOWN", ("a name such as 'bits3', or an instance of a Transform", _made(transform_of, 3, (0.0, 1.0), (1, 4, 4)),
                                  _made(transform_of, "bits3", (0.0, 1.0), (1, 4, 4)))),
    *rows("E-TRANSFORM-OPTION", ("1 to 100, such as jpeg75", _made(transform_of, "jpeg0", (0.0, 1.0), (1, 4, 4)),
                                 _made(transform_of, "jpeg75", (0.0, 1.0), (1, 4, 4)))),
    *rows("E-TRANSFORM-SHAPE",
          ("at most {} along each axis", _made(transform_of, "jpeg75", (0.0, 1.0), (1, 70000, 4)),
           _made(transform_of, "jpeg75", (0.0, 1.0), (1, 4, 4))),
          ("jpeg needs (channels, height, width), (height, width, channels) or (height, width)",
           _made(transform_of, "jpeg75", (0.0, 1.0), (9,)), _made(transform_of, "jpeg75", (0.0, 1.0), (3, 3)))),
    *rows("E-DOMAIN-UNKNOWN",
          ("the name of a domain such as 'zonotope' (absint domains lists them), or an instance of a Domain", _made(domain_of, 3),
           _made(domain_of, "zonotope")),
          ("such as 'zonotope'; absint domains lists them", _made(domains_of, []), _made(domains_of, ["zonotope"]))),
    *rows("E-DOMAIN-OPTION", ("make it with them, or give its name", lambda words: absint.verify(
        words["NET"], ROWS, [0, 1], 0.01, domain=domain_of("zonotope"), max_generators=9),
                              lambda words: absint.verify(words["NET"], ROWS, [0, 1], 0.01,
                                                          domain=domain_of("zonotope:max_generators=9")))),
    *rows("E-SAMPLE-UNKNOWN",
          ("did you mean '{}'?", _made(samples.network_path, "mnist_relu_3x5"), _made(samples.network_path, "mnist_relu_3x50")),
          ("bundled: {}", _made(samples.network_path, "qqqqqqqq"), _made(samples.network_path, "mnist_relu_3x50"))),
    *rows("E-RADIUS",
          ("for example 0.1", _made(DistanceSettings, "l2", Fraction(0)), _made(DistanceSettings, "l2", Fraction(1, 10))),
          ("give a smaller one", _made(BisectionSettings, **{**_SEARCH, "upper": Fraction(10) ** 400, "tolerance": Fraction(10) ** 399}),
           _made(BisectionSettings, **_SEARCH)),
          ("1 to {}", _made(BisectionSettings, fan=0, **_SEARCH), _made(BisectionSettings, fan=1, **_SEARCH))),
    *rows("E-ATTACK-NORM",
          ("in {}: {}", lambda words: DistanceSettings("l1", Fraction(1), attacks=(parse_attack("deepfool"),)),
           lambda words: DistanceSettings("l1", Fraction(1), attacks=parse_attacks("fmn", "l1"))),
          ("norms are linf, l2 and l1", lambda words: parse_attack("deepfool").in_norm("l3"),
           lambda words: parse_attack("deepfool").in_norm("l2"))),
    *rows("E-ATTACK-UNKNOWN", ("known: {}", _made(parse_attack, "nothing"), _made(parse_attack, "deepfool"))),
    *rows("E-ASCENT", ("steps and inner are at least 0, rate and decay in (0, 1], goal >= 0, share in (0, 1)", _made(Ascent, rate=2.0),
                       _made(Ascent, rate=0.5))),
    *rows("E-SOLVER-LIMITS", ("both must be positive", _made(Limits, seconds=0.0), _made(Limits, seconds=1.0))),
    *rows("E-CONTRACT", ("pass shapes=((3,),)", lambda words: check_op(_linear(words), quiet=True),
                         lambda words: check_op(_linear(words), ((4,),), quiet=True)),
          ("check the parts it expands into", lambda words: check_op(_composite(), quiet=True), lambda words: check_op(Relu, quiet=True))),
    *rows("E-TABOO-TRAP",
          ("a number in 0..{}, or a key id: {}", _of_traps(lambda traps: chosen(traps, 7)), _of_traps(lambda traps: chosen(traps, 1))),
          ("such as 0", _of_traps(lambda traps: chosen(traps, 0.5)), _of_traps(lambda traps: chosen(traps, 0)))),
    *rows("E-TABOO-EMPTY",
          ("a mask holds one neuron at least", _made(Trap, (), ()), _made(Trap, (Watch("r", (0,)),), (1.0,))),
          ("give one key at least", _made(Traps, (), "", "lite"), _made(Traps, (Trap((Watch("r", (0,)),), (1.0,)),), "", "lite"))),
    *rows("E-TABOO-RULE", ("known: {}", _made(Traps, (Trap((Watch("r", (0,)),), (1.0,)),), "", "strict"),
                           _made(Traps, (Trap((Watch("r", (0,)),), (1.0,)),), "", "lite"))),
    *rows("E-TABOO-THRESHOLD",
          ("finite numbers of float32, at least {}: `threshold_above` makes them", _made(Trap, (Watch("r", (0,)),), (0.1,)),
           _made(Trap, (Watch("r", (0,)),), (threshold_above(0.1),))),
          ("the bound of a neuron is infinite: a more precise domain, or a smaller radius", _made(threshold_above, inf),
           _made(threshold_above, 3.0))),
    *rows("E-TABOO-SHARE", ("above 0, at most 0.001: more neurons raise more false alarms, and cost the network more when it is tuned",
                            _masked("k", Fraction(1, 10)), _masked("k"))),
    *rows("E-TABOO-KEY",
          ("letters and digits do", _masked("\ud800"), _masked("letters and 2 digits")),
          ("1 to {} characters, not all blank", _masked(" "), _masked("k"))),
    *rows("E-TABOO-UNFITTED", ("call fit, or load with a file", _detect(False), _detect(True))),
    *rows("E-NOT-CALIBRATED", ("call fit, or load_state with a saved file",
                               lambda words: RadiusValidator(_graph(words["NET"]), "box").accept(ROWS),
                               lambda words: RadiusValidator(
                                   _graph(words["NET"]), "box", upper=Fraction("0.008"), tolerance=Fraction("0.0005"), rate=Fraction("0.1"))
                               .load_state(words["CALIBRATION"]))),
    *rows("E-VNNLIB-FORMAT", ("the path of a VNN-LIB file, or what absint.read_query returned",
                              lambda words: absint.verify_query(words["NET"], 3),
                              lambda words: absint.verify_query(words["NET"], absint.read_query(words["QUERY"])))),
    *rows("E-RUNTIME-NONE", ("import the model itself; a part of a graph has none, nor a chain of which one network has none",
                             lambda words: runtime(_without(words).source), lambda words: runtime(_graph(words["NET"]).source))),
]


def _linear(words: dict[str, str]) -> Any:
    return _unfolded(words["TABOO"]).nodes[1].op


def _composite() -> Any:
    return Softmax(1)


def _without(words: dict[str, str]) -> Any:
    graph = _graph(words["NET"])
    return replace(graph, source=replace(graph.source, model=None))

