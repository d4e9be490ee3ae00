"""Operators of ai.onnx.ml as scikit-learn's converters write them: scalings, linear models, thresholds and selections.

What each computes was measured on onnxruntime 1.23 to 1.32, whose kernels the specification leaves room for; the check of single
nodes holds the rules here to it. Constants are float32 attributes, taken exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isnan

import torch
from torch import Tensor

from absint.model.families.elementwise import Curvature, Elementwise, Piece
from absint.model.op import OnnxNode, Op, Smoothness, register_import, unsupported
from absint.model.ops.affine import Affine
from absint.model.ops.assemble import assembled, moved, positions, steps, without_batch
from absint.model.ops.gemm import Gemm
from absint.model.ops.normalise import Softmax
from absint.model.ops.norms import DividedByNorm
from absint.model.ops.shape import Concat, Identity
from absint.model.ops.sigmoid import Sigmoid
from absint.model.ops.step import Compare
from absint.numeric.rational import Rationals

_ZERO = 2.0**-23     # SOFTMAX_ZERO takes scores of at most float32(1e-7) for zero
_ROWS = "give it rows of features: an input of shape (batch, features)"


def features_of(node: OnnxNode) -> int:
    """Numbers in a row. Raises UnsupportedError for inputs that are no rows, which these kernels read in ways of their own."""
    if len(node.shapes[0]) != 2:
        raise unsupported(node, f"reads an input of shape {node.shapes[0]}", _ROWS)
    return node.shapes[0][1]


def numbers_of(node: OnnxNode, name: str) -> Tensor:
    """The numbers of an attribute in float64, exactly; none where it is absent."""
    return torch.tensor([float(v) for v in node.attribute(name, ())], dtype=torch.float64)


@register_import("ai.onnx.ml.Scaler")
def scaler_from_onnx(node: OnnxNode) -> Op:
    """(x - offset) scale, by feature or with one number for all; the difference comes first, so that nothing is computed here."""
    features = features_of(node)
    offset, scale = numbers_of(node, "offset"), numbers_of(node, "scale")
    if any(len(values) not in (1, features) for values in (offset, scale)):
        raise unsupported(node, f"{len(offset)} offsets and {len(scale)} scales do not fit {features} features", "repair the model")
    return steps(Affine(shift=-offset), Affine(scale=scale))


@register_import("ai.onnx.ml.Normalizer")
def normalizer_from_onnx(node: OnnxNode) -> Op:
    """Every row divided by its norm; MAX is the greatest entry, not the greatest magnitude."""
    features_of(node)
    norm = node.attribute("norm", "MAX")
    if norm not in DividedByNorm.norms:
        raise unsupported(node, f"norm={norm} is not supported", f"use {', '.join(DividedByNorm.norms)}")
    return DividedByNorm(norm)


@register_import("ai.onnx.ml.Binarizer")
def binarizer_from_onnx(node: OnnxNode) -> Op:
    """1 where x > threshold, else 0."""
    return Compare(torch.tensor(float(node.attribute("threshold", 0.0)), dtype=torch.float64), 0.0, 0.0, 1.0)


@register_import("ai.onnx.ml.Imputer")
def imputer_from_onnx(node: OnnxNode) -> Op:
    """Nothing, where NaN stands for what is missing: inputs are numbers. A number that does would be a jump at one point."""
    if not isnan(float(node.attribute("replaced_value_float", float("nan")))) or "imputed_value_floats" not in node.attributes:
        raise unsupported(node, "takes a number for what is missing", "export it with missing_values=nan, or leave the imputer out")
    return Identity()


@register_import("ai.onnx.ml.ArrayFeatureExtractor")
def extractor_from_onnx(node: OnnxNode) -> Op:
    """Features by constant places."""
    features, index = features_of(node), node.required(1, "the places").long().reshape(-1)
    if bool(((index < 0) | (index >= features)).any()):
        raise unsupported(node, f"a place lies beyond the {features} features", "repair the model")
    shape = node.unbatched(0)
    places = torch.arange(int(torch.tensor(shape).prod())).reshape(shape)
    return moved(places.index_select(-1, index), shape)


@register_import("ai.onnx.ml.FeatureVectorizer")
def vectorizer_from_onnx(node: OnnxNode) -> Op:
    """Features of several inputs in a row."""
    sizes = [int(v) for v in node.attribute("inputdimensions", ())]
    if any(len(shape) != 2 for shape in node.shapes) or sizes != [shape[1] for shape in node.shapes]:
        raise unsupported(node, f"inputdimensions {sizes} for inputs of shapes {', '.join(map(str, node.shapes))}", _ROWS)
    if all(constant is None for constant in node.constants):
        return Concat(node.axis(1))
    sources, places = positions(node, range(len(node.shapes)))
    return assembled(sources, without_batch(node, torch.cat(places, 1)))


@register_import("ai.onnx.ml.LinearRegressor")
def regressor_from_onnx(node: OnnxNode) -> Op:
    """x W^T + b, and for several targets what post_transform says."""
    targets = int(node.attribute("targets", 1))
    after = transformed(node, targets) if targets > 1 or node.attribute("post_transform", "NONE") != "NONE" else ()
    if targets == 1 and after:
        raise unsupported(node, f"post_transform={node.attribute('post_transform', '')} of one target is not supported", "use NONE")
    return steps(_product(node, targets, numbers_of(node, "intercepts") if "intercepts" in node.attributes else None), *after)


@register_import("ai.onnx.ml.LinearClassifier")
def classifier_from_onnx(node: OnnxNode) -> Op:
    """The scores, which are output 1: x W^T + b and what post_transform says.

    One row for two classes is the score s of the second one: (1 - s, s), and by LOGISTIC (sigmoid(-s), sigmoid(s)). One row
    without the names of two classes is left as it is. The label, output 0, is no number.
    """
    if node.output == 0:
        raise unsupported(node, "its label is used", "analyse its scores: name that tensor with --output (output= in Python)")
    rows = len(numbers_of(node, "intercepts"))
    product = _product(node, rows, numbers_of(node, "intercepts"))
    if rows > 1:
        return steps(product, *transformed(node, rows))
    labels = node.attribute("classlabels_strings", ()) or node.attribute("classlabels_ints", ())
    if len(labels) != 2:
        return product
    kind = node.attribute("post_transform", "NONE")
    if kind == "PROBIT":
        raise unsupported(node, "post_transform=PROBIT is not supported", "use LOGISTIC")
    sign, one = torch.tensor([-1.0, 1.0], dtype=torch.float64), torch.tensor([1.0, 0.0], dtype=torch.float64)
    if kind == "LOGISTIC":
        return steps(product, Affine(scale=sign, fan_out=2), Sigmoid())
    return steps(product, Affine(scale=sign, shift=one, fan_out=2))


def _product(node: OnnxNode, rows: int, bias: Tensor | None) -> Gemm:
    features, weight = features_of(node), numbers_of(node, "coefficients")
    if rows < 1 or len(weight) != rows * features or (bias is not None and len(bias) != rows):
        raise unsupported(node, f"{len(weight)} coefficients do not fit {rows} rows of {features} features", "repair the model")
    return Gemm(weight.reshape(rows, features), bias)


def transformed(node: OnnxNode, rows: int) -> tuple[Op, ...]:
    """What post_transform makes of several scores, in turn. Raises UnsupportedError for what is not known."""
    kind = node.attribute("post_transform", "NONE")
    last = Softmax(len(node.unbatched(0)) - 1)
    found: dict[str, tuple[Op, ...]] = {"NONE": (), "LOGISTIC": (Sigmoid(),), "SOFTMAX": (last,), "SOFTMAX_ZERO": (AwayFromZero(), last)}
    if kind not in found:
        raise unsupported(node, f"post_transform={kind} of {rows} scores is not supported", f"use {', '.join(found)}")
    return found[kind]


@dataclass(frozen=True, eq=False)
class AwayFromZero(Elementwise):
    """x, where it is no zero to SOFTMAX_ZERO: scores of at most 1e-7 get no share there, and nothing is claimed."""

    pieces = (Piece(-float("inf"), float("inf"), 1, Curvature.LINEAR),)
    smoothness = Smoothness.SMOOTH
    piecewise_linear = True

    def evaluate(self, x: Tensor) -> Tensor:
        """Exact."""
        return x

    def derivative(self, x: Tensor) -> Tensor:
        """1."""
        return torch.ones_like(x)

    def defined(self, low: Tensor, high: Tensor) -> Tensor:
        """Farther from 0 than 1e-7, on one side."""
        return (low > _ZERO) | (high < -_ZERO)

    def rational(self, *xs: Rationals) -> Rationals | None:
        """Exact, away from zero."""
        return None if any(abs(v) <= _ZERO for v in xs[0].list()) else xs[0]
