"""Support vector machines of ai.onnx.ml: kernels between the input and constant vectors, and weighted sums of these.

Every kernel is a function that operators here state already: of products x . v (LINEAR, POLY, SIGMOID), or of squared distances (RBF). What
the runtime computes, scores of pairs of classes above all, is as onnxruntime 1.23 to 1.32 have it (svmclassifier.cc, svmregressor.cc, and
`SVMCommon::batched_kernel_dot`), which the check of single nodes holds the rules here to. Constants are float32 attributes, taken exactly.
"""

from __future__ import annotations

from itertools import combinations, pairwise

import torch
from torch import Tensor

from absint.model.op import OnnxNode, Op, register_import, unsupported
from absint.model.ops.affine import Affine
from absint.model.ops.assemble import steps
from absint.model.ops.exponential import Exp
from absint.model.ops.gemm import Gemm
from absint.model.ops.power import Power
from absint.model.ops.power_import import power
from absint.model.ops.product import SumLast
from absint.model.ops.scikit_learn import features_of, numbers_of, transformed
from absint.model.ops.shape import Reshape
from absint.model.ops.sigmoid import Tanh
from absint.model.ops.step import Compare

KERNELS = ("LINEAR", "POLY", "RBF", "SIGMOID")
_REPAIR = "repair the model"


@register_import("ai.onnx.ml.SVMRegressor")
def regressor_from_onnx(node: OnnxNode) -> Op:
    """sum_i c_i K(x, v_i) + rho, or c . x + rho without support vectors; of one class its sign, -1 where it is 0.

    onnxruntime does not read post_transform here.
    """
    count, features, weight = int(node.attribute("n_supports", 0)), features_of(node), numbers_of(node, "coefficients")
    _plain(node)
    terms = count if count > 0 else features
    if len(weight) != terms:
        raise unsupported(node, f"{len(weight)} coefficients do not fit {terms} terms", _REPAIR)
    before = _kernels(node, count) if count > 0 else ()
    side = Compare(torch.zeros((), dtype=torch.float64), 0.0, 0.0, 1.0)
    two, one = torch.tensor(2.0, dtype=torch.float64), torch.tensor(-1.0, dtype=torch.float64)
    after = (side, Affine(scale=two, shift=one)) if int(node.attribute("one_class", 0)) else ()
    return steps(*before, Gemm(weight.reshape(1, -1), _offsets(node, 1)), *after)


@register_import("ai.onnx.ml.SVMClassifier")
def classifier_from_onnx(node: OnnxNode) -> Op:
    """The scores, which are output 1, one for each pair of classes, a before b: positive where a is preferred; of two classes (-s, s).

    Without support vectors one row of coefficients for each class. The label, output 0, is no number.
    """
    if node.output == 0:
        raise unsupported(node, "its label is used", "analyse its scores: name that tensor with --output (output= in Python)")
    classes = len(node.attribute("classlabels_strings", ()) or node.attribute("classlabels_ints", ()))
    sizes = [int(v) for v in node.attribute("vectors_per_class", ())]
    if "prob_a" in node.attributes:
        raise unsupported(node, "finds probabilities by an iteration, which is no function of known bounds",
                          "fit it with probability=False and export it again")
    if sum(sizes) == 0:
        return _by_class(node, classes)
    _plain(node)
    if len(sizes) != classes or classes < 2 or min(sizes) < 0:
        raise unsupported(node, f"vectors_per_class {sizes} do not fit {classes} classes", _REPAIR)
    weight = _pairs(node, sizes)
    both = (Affine(scale=torch.tensor([-1.0, 1.0], dtype=torch.float64), fan_out=2),) if classes == 2 else ()
    return steps(*_kernels(node, sum(sizes)), Gemm(weight, _offsets(node, len(weight))), *both)


def _by_class(node: OnnxNode, classes: int) -> Op:
    features, weight = features_of(node), numbers_of(node, "coefficients")
    if classes < 2 or len(weight) != classes * features:
        raise unsupported(node, f"{len(weight)} coefficients do not fit {classes} classes of {features} features", _REPAIR)
    return steps(Gemm(weight.reshape(classes, features), _offsets(node, 1).expand(classes)), *transformed(node, classes))


def _plain(node: OnnxNode) -> None:
    kind = node.attribute("post_transform", "NONE")
    if kind != "NONE":
        raise unsupported(node, f"post_transform={kind} of a support vector machine is not supported", "use NONE")


def _offsets(node: OnnxNode, count: int) -> Tensor:
    rho = numbers_of(node, "rho")
    if len(rho) < count:
        raise unsupported(node, f"{len(rho)} offsets rho do not fit {count} scores", _REPAIR)
    return rho[:count]


def _pairs(node: OnnxNode, sizes: list[int]) -> Tensor:
    """(pairs of classes, vectors): row k - 1 of the coefficients tells vectors of earlier classes from class k, row k later ones from k."""
    rows, total = numbers_of(node, "coefficients"), sum(sizes)
    if len(rows) != (len(sizes) - 1) * total:
        raise unsupported(node, f"{len(rows)} coefficients do not fit {len(sizes)} classes of {total} vectors", _REPAIR)
    rows = rows.reshape(len(sizes) - 1, total)
    starts = [sum(sizes[:k]) for k in range(len(sizes) + 1)]
    own = [slice(low, high) for low, high in pairwise(starts)]
    found = torch.zeros(len(sizes) * (len(sizes) - 1) // 2, total, dtype=torch.float64)
    for pair, (first, second) in enumerate(combinations(range(len(sizes)), 2)):
        found[pair, own[first]] = rows[second - 1, own[first]]
        found[pair, own[second]] = rows[first, own[second]]
    return found


def _kernels(node: OnnxNode, count: int) -> tuple[Op, ...]:
    """K(x, v_i) for each of `count` support vectors, in turn."""
    features, vectors, kind = features_of(node), numbers_of(node, "support_vectors"), node.attribute("kernel_type", "LINEAR")
    if len(vectors) != count * features:
        raise unsupported(node, f"{len(vectors)} numbers are not {count} support vectors of {features} features", _REPAIR)
    vectors = vectors.reshape(count, features)
    if kind == "LINEAR":
        return (Gemm(vectors),)
    given = numbers_of(node, "kernel_params")
    if kind not in KERNELS or len(given) != 3:
        raise unsupported(node, f"kernel_type={kind} with {len(given)} kernel_params is not supported", f"use {', '.join(KERNELS)}")
    gamma, shift, degree = given
    if kind == "RBF":
        return _of_distances(node, vectors, gamma)
    if kind == "POLY" and (not float(degree).is_integer() or degree < 1):
        raise unsupported(node, f"a kernel of degree {float(degree):g} is not supported", "use a whole degree of at least 1")
    product = (Gemm(vectors), Affine(scale=gamma, shift=shift))
    return (*product, Tanh() if kind == "SIGMOID" else power(float(degree)))


def _of_distances(node: OnnxNode, vectors: Tensor, gamma: Tensor) -> tuple[Op, ...]:
    """exp(-gamma |x - v|^2)."""
    count, features = vectors.shape
    lead = node.unbatched(0)[:-1]
    spread = (Reshape((*lead, 1, features)),) if lead else ()
    differences = Affine(shift=-vectors, fan_out=count)
    squares = (Power(2.0), SumLast(features), Reshape((*lead, count)))
    return (*spread, differences, *squares, Affine(scale=-gamma), Exp())
