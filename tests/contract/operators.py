"""Representative instances of every built-in operator, by name: the operator and the shapes of its inputs."""

from __future__ import annotations

import torch

from absint.ops.affine import Affine
from absint.ops.conv import Conv
from absint.ops.gemm import Gemm, LeftMatMul
from absint.ops.maximum import Maximum
from absint.ops.pool import AveragePool, Window
from absint.ops.relu import LeakyRelu, Relu
from absint.ops.shape import Concat, Gather, Identity, Pad, Reshape, Transpose
from absint.ops.sigmoid import Sigmoid, Tanh
from absint.ops.sum import Sum


def _numbers(*shape):
    seed = sum((k + 1) * s for k, s in enumerate(shape)) + len(shape)
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def _average():
    weight = torch.full((4, 3), 0.25, dtype=torch.float64)
    weight[0] = 1 / 3
    return AveragePool(Window((2, 2), (1, 1), ((1, 0), (0, 0)), (1, 1), False), weight)


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
        AveragePool(Window((2, 3), (2, 2), ((0, 0), (0, 0)), (1, 1), False), torch.full((2, 2), 1 / 6, dtype=torch.float64)), ((1, 4, 5),)),
    "add": lambda: (Sum(), ((2, 3), (2, 3))),
    "sub": lambda: (Sum(-1.0), ((2, 3), (2, 3))),
    "scale": lambda: (Affine(_numbers(3)), ((2, 3),)),
    "shift": lambda: (Affine(shift=_numbers(3)), ((2, 3),)),
    "negate": lambda: (Affine(-torch.ones((), dtype=torch.float64)), ((2, 3),)),
    "batch-norm": lambda: (Affine(_numbers(2, 1, 1), _numbers(2, 1, 1), 3, _numbers(2, 1, 1).abs() * 1e-15), ((2, 3, 2),)),
    "affine-broadcast": lambda: (Affine(_numbers(3), _numbers(2, 3), fan_out=2), ((3,),)),
    "identity": lambda: (Identity(), ((2, 3),)),
    "reshape": lambda: (Reshape((3, 2)), ((2, 3),)),
    "transpose": lambda: (Transpose((2, 0, 1)), ((2, 3, 4),)),
    "concat": lambda: (Concat(1), ((2, 3), (2, 1), (2, 2))),
    "gather": lambda: (Gather.of(torch.tensor([[0, 2, 2], [5, 2, 0]])), ((6,),)),
    "pad": lambda: (Pad(((1, 2), (-1, 0))), ((3, 4),)),
    "pad-border": lambda: (Pad(((0, 1),), torch.tensor([0.0, 0.0, 0.5], dtype=torch.float64)), ((2,),)),
}
NONLINEAR = {
    "relu": lambda: (Relu(), None),
    **{f"leaky-relu({alpha})": lambda alpha=alpha: (LeakyRelu(alpha), None) for alpha in (0.01, 0.0, 0.3, 1.0, 2.5, -0.7)},
    "sigmoid": lambda: (Sigmoid(), None),
    "tanh": lambda: (Tanh(), None),
    "maximum": lambda: (Maximum(), ((2, 3),)),
    "maximum-of-9": lambda: (Maximum(), ((9,),)),
}
# Which instances (or, for composites, which parts) cover each name that ONNX import knows.
COVERED = {
    "Add": "add", "Sub": "sub", "Mul": "scale", "Div": "scale", "Neg": "negate", "BatchNormalization": "batch-norm", "Gemm": "gemm",
    "MatMul": "matmul-left", "Conv": "conv", "AveragePool": "average-pool", "MaxPool": "maximum", "Relu": "relu",
    "LeakyRelu": "leaky-relu(0.01)", "Sigmoid": "sigmoid", "Tanh": "tanh", "Identity": "identity", "Dropout": "identity",
    "Cast": "identity",
    "Flatten": "reshape", "Reshape": "reshape", "Squeeze": "reshape", "Unsqueeze": "reshape", "Transpose": "transpose", "Concat": "concat",
    "Pad": "pad",
}
INSTANCES = LINEAR | NONLINEAR
