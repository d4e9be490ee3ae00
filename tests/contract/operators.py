"""Representative instances of every built-in operator, by name: the operator and the shapes of its inputs."""

from __future__ import annotations

import torch

from absint.model.families.bilinear import Times
from absint.model.families.maximum import Maximum
from absint.model.ops.affine import Affine
from absint.model.ops.assemble import Assemble
from absint.model.ops.computed import ComputedCoefficients, Fixed
from absint.model.ops.conv import Conv
from absint.model.ops.conv_transpose import ConvTranspose
from absint.model.ops.exponential import Exp, ExponentialUnit, Log, Softplus
from absint.model.ops.extremum import Total
from absint.model.ops.gemm import Gemm, LeftMatMul
from absint.model.ops.inverse_functions import Acos, Acosh, Asin, Atanh
from absint.model.ops.log_sum_exp import LogSumExp
from absint.model.ops.matmul_constant import Matrices
from absint.model.ops.more_norms import RunningSums
from absint.model.ops.norms import InverseOfNorm
from absint.model.ops.piecewise import Abs, Clip, HardSwish, PRelu, ThresholdedRelu
from absint.model.ops.pool import AveragePool, PoolingWindow
from absint.model.ops.power import Power
from absint.model.ops.product import SumLast
from absint.model.ops.reduce import AxisMap, Reduce, mean_of
from absint.model.ops.relu import LeakyRelu, Relu
from absint.model.ops.scikit_learn import AwayFromZero
from absint.model.ops.shape import Concat, Gather, Identity, Narrowed, Pad, Reshape, Transpose
from absint.model.ops.sigmoid import Sigmoid, Tanh
from absint.model.ops.smooth import Asinh, Atan, Cosh, Erf, Gelu, Mish, Sinh, Softsign, Swish, TanhGelu
from absint.model.ops.step import Ceil, Compare, Floor, Held, Round, Sign, Truncate
from absint.model.ops.sum import Sum
from absint.model.ops.trigonometric import Cos, Sin, Tan


def _numbers(*shape):
    seed = sum((k + 1) * s for k, s in enumerate(shape)) + len(shape)
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def _finite(cls, *arguments):
    """The operator for the kit, which takes truth from `forward`: the largest float where f leaves float64, 0 where undefined.

    No finite bound holds at such points, so that truth is never met from the wrong side.
    """
    kind = type(cls.__name__, (cls,), {"forward": lambda self, *xs: self.evaluate(xs[0]).nan_to_num()})
    return kind(*arguments)


def _average():
    weight = torch.full((4, 3), 0.25, dtype=torch.float64)
    weight[0] = 1 / 3
    return AveragePool(PoolingWindow((2, 2), (1, 1), ((1, 0), (0, 0)), (1, 1), False), weight)


def _dilated_average():
    window = PoolingWindow((2, 2), (2, 1), ((0, 1), (1, 0)), (1, 2), True)
    return AveragePool(window, torch.full(window.outputs((4, 5)), 1 / 3, dtype=torch.float64))


def _triangle(*, zero=0):
    return torch.ones(4, 4, dtype=torch.float64).tril(zero)


def _assemble(border=None):
    return Assemble(torch.tensor([[0, 7, -1], [3, 3, 8], [-1, 2, 1]]), 2, border)


# Built anew for every use: operators keep converted constants, and a mutant must not leave its own behind.
LINEAR = {
    "gemm": lambda: (Gemm(_numbers(4, 4), _numbers(4)), ((4,),)),
    "gemm-wide": lambda: (Gemm(_numbers(2, 40)), ((40,),)),
    "gemm-rows": lambda: (Gemm(_numbers(3, 5), _numbers(3)), ((2, 5),)),
    "gemm-folded": lambda: (Gemm(_numbers(3, 5), _numbers(3), 2, _numbers(3).abs() * 1e-16, _numbers(3).abs()), ((5,),)),
    "matmul-left": lambda: (LeftMatMul(_numbers(3, 4)), ((4, 2),)),
    "conv": lambda: (Conv(_numbers(4, 2, 3, 3), _numbers(4), (1, 1), ((1, 1), (1, 1)), (1, 1)), ((2, 5, 4),)),
    "conv-strided": lambda: (Conv(_numbers(4, 1, 3, 3), _numbers(4), (2, 1), ((1, 2), (1, 0)), (1, 2), 2), ((2, 7, 6),)),
    "conv-1d": lambda: (Conv(_numbers(4, 2, 3), None, (3,), ((0, 0),), (1,)), ((2, 11),)),
    "conv-3d": lambda: (Conv(_numbers(2, 1, 2, 2, 2), _numbers(2), (1, 2, 1), ((0, 1), (0, 0), (1, 1)), (1, 1, 1)), ((1, 3, 4, 2),)),
    "average-pool": lambda: (_average(), ((2, 4, 4),)),
    "average-pool-strided": lambda: (
        AveragePool(PoolingWindow((2, 3), (2, 2), ((0, 0), (0, 0)), (1, 1), False), torch.full((2, 2), 1 / 6, dtype=torch.float64)),
        ((1, 4, 5),)),
    "add": lambda: (Sum(), ((2, 3), (2, 3))),
    "sub": lambda: (Sum(-1.0), ((2, 3), (2, 3))),
    "scale": lambda: (Affine(_numbers(3)), ((2, 3),)),
    "shift": lambda: (Affine(shift=_numbers(3)), ((2, 3),)),
    "negate": lambda: (Affine(-torch.ones((), dtype=torch.float64)), ((2, 3),)),
    "batch-norm": lambda: (Affine(_numbers(2, 1, 1), _numbers(2, 1, 1), 3, _numbers(2, 1, 1).abs() * 1e-15), ((2, 3, 2),)),
    "affine-broadcast": lambda: (Affine(_numbers(3), _numbers(2, 3), fan_out=2), ((3,),)),
    "identity": lambda: (Identity(), ((2, 3),)),
    **{f"narrowed({name})": lambda name=name: (Narrowed.to(getattr(torch, name)), ((2, 3),)) for name in ("float32", "bfloat16")},
    "reshape": lambda: (Reshape((3, 2)), ((2, 3),)),
    "transpose": lambda: (Transpose((2, 0, 1)), ((2, 3, 4),)),
    "concat": lambda: (Concat(1), ((2, 3), (2, 1), (2, 2))),
    "gather": lambda: (Gather.of(torch.tensor([[0, 2, 2], [5, 2, 0]])), ((6,),)),
    "pad": lambda: (Pad(((1, 2), (-1, 0))), ((3, 4),)),
    "slice": lambda: (Gather.of(torch.tensor([5, 3, 1])), ((2, 4),)),
    "assemble": lambda: (_assemble(), ((2, 3), (3,))),
    "assemble-constants": lambda: (
        _assemble(torch.tensor([[0, 0, 0.3], [0, 0, 0], [-2.5, 0, 0]], dtype=torch.float64)), ((2, 3), (3,))),
    "reduce-sum": lambda: (Reduce((0, 2), 6, True), ((2, 4, 3),)),
    "reduce-sum-of-one": lambda: (Reduce((1,), 1, False), ((2, 1, 3),)),
    "reduce-mean": lambda: (mean_of((1,), (2, 3, 2), keep=False), ((2, 3, 2),)),
    "cumulative-sum": lambda: (AxisMap(0, _triangle()), ((4, 2),)),
    "cumulative-sum-exclusive": lambda: (AxisMap(1, _triangle(zero=-1)), ((2, 4),)),
    "resize-linear": lambda: (AxisMap(1, torch.tensor([[1, 0], [2 / 3, 1 / 3], [0, 1]], dtype=torch.float64), 1), ((2, 2, 3),)),
    "total": lambda: (Total(3), ((2, 2), (2, 2), (2, 2))),
    "total-mean": lambda: (
        Total(3, torch.tensor(1 / 3, dtype=torch.float64), _numbers(2), _numbers(2).abs() * 1e-15, _numbers(2).abs()), ((2,), (2,))),
    "matrices": lambda: (Matrices(_numbers(2, 3, 4), False, 2), ((2, 3),)),
    "matrices-left": lambda: (Matrices(_numbers(2, 4, 3), True, 1), ((2, 3, 2),)),
    "conv-transpose": lambda: (ConvTranspose(_numbers(4, 2, 3, 2), _numbers(4), (2, 1), ((1, -1), (0, 1)), (1, 2), 2), ((4, 3, 4),)),
    "conv-transpose-1d": lambda: (ConvTranspose(_numbers(2, 3, 2), None, (3,), ((0, 0),), (1,)), ((2, 4),)),
    "average-pool-dilated": lambda: (_dilated_average(), ((2, 4, 5),)),
    "computed": lambda: (
        ComputedCoefficients(Gemm(_numbers(3, 4), _numbers(3)), 2, _numbers(3).abs() * 1e-15, 9, Gemm(2 * _numbers(3, 4), None),
                             2 * _numbers(3).abs()),
        ((4,),)),
    "computed-shift": lambda: (ComputedCoefficients(Affine(shift=_numbers(4)), 0, _numbers(4).abs() * 1e-15), ((4,),)),
    "computed-conv": lambda: (ComputedCoefficients(Conv(_numbers(2, 1, 2, 2), None, (1, 1), ((0, 0), (0, 0)), (1, 1)), 1), ((1, 3, 3),)),
    "fixed": lambda: (Fixed(_numbers(3), _numbers(3).abs() * 1e-15, 2 * _numbers(3).abs()), ((2, 2),)),
    "pad-border": lambda: (Pad(((0, 1),), torch.tensor([0.0, 0.0, 0.5], dtype=torch.float64)), ((2,),)),
}
NONLINEAR = {
    "relu": lambda: (Relu(), None),
    **{f"leaky-relu({alpha})": lambda alpha=alpha: (LeakyRelu(alpha), None) for alpha in (0.01, 0.0, 0.3, 1.0, 2.5, -0.7)},
    "sigmoid": lambda: (Sigmoid(), None),
    "tanh": lambda: (Tanh(), None),
    "maximum": lambda: (Maximum(), ((2, 3),)),
    "maximum-of-9": lambda: (Maximum(), ((9,),)),
    "log-sum-exp": lambda: (LogSumExp(3), ((2, 3),)),
    "log-sum-exp-hidden": lambda: (LogSumExp(3, torch.tensor([[False, True, False], [True, False, True]])), ((2, 3),)),
}
ELEMENTWISE = {
    "abs": Abs,
    "prelu": lambda: PRelu(torch.tensor(0.3, dtype=torch.float64)),
    "prelu-steep": lambda: PRelu(torch.tensor(-1.7, dtype=torch.float64)),
    "clip": lambda: Clip(-0.3, 6.0),
    "clip-below": lambda: Clip(low=-1.5),
    "clip-above": lambda: Clip(high=1e-3),
    "clip-constant": lambda: Clip(2.0, 2.0),
    "thresholded-relu": lambda: ThresholdedRelu(1.0),
    "thresholded-relu-negative": lambda: ThresholdedRelu(-0.5),
    "hard-swish": HardSwish,
    "exp": lambda: _finite(Exp),
    "log": lambda: _finite(Log),
    "softplus": Softplus,
    "elu": lambda: ExponentialUnit(1.0),
    "elu-steep": lambda: ExponentialUnit(2.5),
    "elu-flat": lambda: ExponentialUnit(0.0),
    "elu-falling": lambda: ExponentialUnit(-0.7),
    "selu": lambda: ExponentialUnit(1.6732631921768188, 1.0, 1.0507010221481323),
    "celu": lambda: ExponentialUnit(0.3, 0.3),
    **{f"power({p:g})": lambda p=p: _finite(Power, p) for p in (2.0, 3.0, 0.5, -1.0, -2.0, 1.5, -0.5, 0.1)},
    "erf": Erf,
    "gelu": Gelu,
    "gelu-tanh": TanhGelu,
    "mish": Mish,
    "swish": Swish,
    "atan": Atan,
    "asinh": Asinh,
    "asin": lambda: _finite(Asin),
    "acos": lambda: _finite(Acos),
    "atanh": lambda: _finite(Atanh),
    "acosh": lambda: _finite(Acosh),
    "tan": Tan,
    "sinh": lambda: _finite(Sinh),
    "cosh": lambda: _finite(Cosh),
    "softsign": Softsign,
    "sin": Sin,
    "cos": Cos,
    "sign": Sign,
    "floor": Floor,
    "ceil": Ceil,
    "round": Round,
}
NONLINEAR |= {name: lambda make=make: (make(), None) for name, make in ELEMENTWISE.items()}
# Which instances (or, for composites, which parts) cover each name that ONNX import knows.
COVERED = {
    "Add": "add", "Sub": "sub", "Mul": "scale", "Div": "scale", "Neg": "negate", "BatchNormalization": "batch-norm", "Gemm": "gemm",
    "MatMul": "matmul-left", "Conv": "conv", "AveragePool": "average-pool", "MaxPool": "maximum", "Relu": "relu",
    "LeakyRelu": "leaky-relu(0.01)", "Sigmoid": "sigmoid", "Tanh": "tanh", "Identity": "identity", "Dropout": "identity",
    "Cast": "narrowed(float32)",
    "Flatten": "reshape", "Reshape": "reshape", "Squeeze": "reshape", "Unsqueeze": "reshape", "Transpose": "transpose", "Concat": "concat",
    "Pad": "pad", "Slice": "slice", "Split": "slice", "Gather": "gather", "GatherElements": "gather", "GatherND": "gather",
    "Expand": "gather", "Tile": "gather", "DepthToSpace": "gather", "SpaceToDepth": "gather", "Trilu": "assemble", "Where": "assemble",
    "ScatterND": "assemble-constants", "ScatterElements": "assemble-constants", "ReduceSum": "reduce-sum", "ReduceMean": "reduce-mean",
    "ReduceMax": "maximum", "ReduceMin": "maximum", "GlobalAveragePool": "reduce-mean", "GlobalMaxPool": "maximum",
    "CumSum": "cumulative-sum", "Resize": "resize-linear", "Upsample": "resize-linear", "Sum": "total", "Mean": "total-mean",
    "Max": "maximum", "Min": "maximum", "ConvTranspose": "conv-transpose",
}
COVERED |= {
    "Abs": "abs", "PRelu": "prelu", "Clip": "clip", "ThresholdedRelu": "thresholded-relu", "HardSigmoid": "clip", "HardSwish": "hard-swish",
    "Exp": "exp", "Log": "log", "Softplus": "softplus", "Elu": "elu", "Selu": "selu", "Celu": "celu", "Pow": "power(3)",
    "Sqrt": "power(0.5)", "Reciprocal": "power(-1)",
    "Erf": "erf", "Gelu": "gelu", "Mish": "mish", "Atan": "atan", "Asinh": "asinh", "Sinh": "sinh",
    "Cosh": "cosh", "Sin": "sin", "Cos": "cos", "Sign": "sign", "Floor": "floor", "Ceil": "ceil", "Round": "round",
}
LINEAR |= {"running-sums": lambda: (RunningSums(0, _triangle(), 1), ((4, 2),))}
LINEAR |= {"sum-last": lambda: (SumLast(4), [(3, 4)])}
NONLINEAR |= {"times": lambda: (Times(), [(3,), (3,)])}
_AT = torch.tensor(0.1, dtype=torch.float64)
NONLINEAR |= {
    "greater": lambda: (Compare(_AT, 0.0, 0.0, 1.0), None), "less-or-equal": lambda: (Compare(_AT, 1.0, 1.0, 0.0), None),
    "equal": lambda: (Compare(_AT, 0.0, 1.0, 0.0), None), "not-zero": lambda: (Compare(0 * _AT, 1.0, 0.0, 1.0), None),
    "truncate": lambda: (Truncate(-128.0, 127.0), None), "held": lambda: (Held(-128.0, 127.0), None),
}
COVERED |= {"Greater": "greater", "GreaterOrEqual": "greater", "Less": "less-or-equal", "LessOrEqual": "less-or-equal", "Equal": "equal",
            "Not": "negate", "And": "relu", "Or": "relu", "Xor": "abs"}
COVERED |= {"ConvInteger": "conv", "QLinearConv": "conv", "MatMulInteger": "gemm", "QLinearMatMul": "gemm", "QuantizeLinear": "round",
            "DequantizeLinear": "scale", "RNN": "tanh", "GRU": "sigmoid", "LSTM": "times", "ReduceL1": "abs", "ReduceL2": "power(0.5)",
            "ReduceSumSquare": "power(2)", "Swish": "swish"}
COVERED |= {"Softsign": "softsign", "Asin": "asin", "Acos": "acos", "Atanh": "atanh", "Acosh": "acosh", "Tan": "tan"}
COVERED |= {"Softmax": "log-sum-exp", "LogSoftmax": "log-sum-exp", "LayerNormalization": "times", "InstanceNormalization": "times"}
NONLINEAR |= {"inverse-of-norm": lambda: (_finite(InverseOfNorm), None), "away-from-zero": lambda: (AwayFromZero(), None)}
COVERED |= {"LpNormalization": "inverse-of-norm", **{f"ai.onnx.ml.{name}": instance for name, instance in {
    "Normalizer": "inverse-of-norm", "LinearClassifier": "away-from-zero", "LinearRegressor": "gemm", "Scaler": "scale",
    "Binarizer": "greater", "Imputer": "identity", "ArrayFeatureExtractor": "gather", "FeatureVectorizer": "concat"}.items()}}
COVERED |= {"ai.onnx.ml.SVMClassifier": "exp", "ai.onnx.ml.SVMRegressor": "exp", "TopK": "maximum", "Col2Im": "assemble",
            "GridSample": "assemble"}
COVERED |= {"GroupNormalization": "times", "RMSNormalization": "times", "MeanVarianceNormalization": "times", "LRN": "running-sums",
            "LpPool": "power(0.1)", "GlobalLpPool": "power(0.1)"}
COVERED |= {"Einsum": "times", "ReduceLogSumExp": "log-sum-exp", "ReduceLogSum": "log", "ReduceProd": "times"}
INSTANCES = LINEAR | NONLINEAR
