"""The operators of ai.onnx.ml, which scikit-learn's converters write: their names here, what is refused, and what is said of others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import onnx

from absint.frontends.onnx_file import standard
from absint.model.onnx_formats import ML_DOMAIN

_NETWORK = "train a network (MLPClassifier, MLPRegressor) or a linear model for the same task"
_TREES = ("is an ensemble of decision trees, which is no network", _NETWORK)
_KERNELS = ("is a support vector machine with kernels between inputs", f"use LinearSVC, or {_NETWORK}")
_ENCODING = ("encodes categories or text", "export the steps behind it alone")
# Why an operator has no entry, where more can be said than that.
REFUSED_ML = {
    **dict.fromkeys(("TreeEnsemble", "TreeEnsembleClassifier", "TreeEnsembleRegressor"), _TREES),
    **dict.fromkeys(("SVMClassifier", "SVMRegressor"), _KERNELS),
    **dict.fromkeys(("CastMap", "CategoryMapper", "DictVectorizer", "LabelEncoder", "OneHotEncoder"), _ENCODING),
}


def kind_of(node: onnx.NodeProto) -> str:
    """The name under which an operator is registered: that of the standard, or 'domain.name'."""
    return str(node.op_type) if standard(node.domain) else f"{node.domain}.{node.op_type}"


def said_of(nodes: Iterable[onnx.NodeProto]) -> Iterator[str]:
    """What every answer about a network with these nodes says, as "E-CODE: text"."""
    for node in nodes:
        if node.domain != ML_DOMAIN:
            continue
        given = {a.name: a for a in node.attribute}
        name = node.name or node.output[0]
        if node.op_type == "Imputer":
            yield f"E-MODEL-IMPUTER: Imputer '{name}' fills in what is missing (NaN); inputs here are numbers, which it leaves as they are"
        elif node.op_type == "LinearClassifier" and "intercepts" in given and len(given["intercepts"].floats) == 1:
            logistic = "post_transform" in given and given["post_transform"].s == b"LOGISTIC"
            classes = max((len(a.strings) + len(a.ints) for a in given.values() if a.name.startswith("classlabels")), default=0)
            if classes == 2 and not logistic:
                yield (f"E-MODEL-LABEL: LinearClassifier '{name}' gives the scores 1 - s and s of its one number s: the greater one is the "
                       "second where s > 1/2, but its own label is the second class where s > 0")
