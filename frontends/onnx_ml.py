"""The operators of ai.onnx.ml, which scikit-learn's converters write: their names here, what is refused; and what is said of nodes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import onnx

from absint.frontends.onnx_file import AnyArray, standard
from absint.model.onnx_formats import FLOATS, ML_DOMAIN

_NETWORK = "train a network (MLPClassifier, MLPRegressor) or a linear model for the same task"
_TREES = ("is an ensemble of decision trees, which is no network", _NETWORK)
_ENCODING = ("encodes categories or text", "export the steps behind it alone")
# Why an operator has no entry, where more can be said than that.
REFUSED_ML = {
    **dict.fromkeys(("TreeEnsemble", "TreeEnsembleClassifier", "TreeEnsembleRegressor"), _TREES),
    **dict.fromkeys(("CastMap", "CategoryMapper", "DictVectorizer", "LabelEncoder", "OneHotEncoder"), _ENCODING),
}


def kind_of(node: onnx.NodeProto) -> str:
    """The name under which an operator is registered: that of the standard, or 'domain.name'."""
    return str(node.op_type) if standard(node.domain) else f"{node.domain}.{node.op_type}"


def said_of(nodes: Sequence[onnx.NodeProto], constants: Mapping[str, AnyArray]) -> Iterator[str]:
    """What every answer about a network with these nodes says, as "E-CODE: text"."""
    yield from _of_casts(nodes, constants)
    for node in nodes:
        if node.domain != ML_DOMAIN:
            continue
        name = node.name or node.output[0]
        if node.op_type == "Imputer":
            yield f"E-MODEL-IMPUTER: Imputer '{name}' fills in what is missing (NaN); inputs here are numbers, which it leaves as they are"
        elif node.op_type == "LinearClassifier":
            yield from _of_one_row(node, name)
        elif node.op_type == "SVMClassifier" and len(node.output) > 1:
            yield from _of_pairs(node, name, _behind(node.output[1], nodes), constants)


def _of_casts(nodes: Sequence[onnx.NodeProto], constants: Mapping[str, AnyArray]) -> Iterator[str]:
    """Of tensors that are cast to fewer digits than float32 has, and back."""
    kinds = {str(node.output[0]): next((int(a.i) for a in node.attribute if a.name == "to"), 0) for node in nodes
             if standard(node.domain) and node.op_type == "Cast" and node.input[0] not in constants}
    narrow = [name for name, kind in kinds.items() if FLOATS.get(kind) in ("float16", "bfloat16")]
    back = [node for node in nodes if node.op_type == "Cast" and node.input[0] in narrow]
    if back:
        count = "a cast" if len(narrow) == 1 else f"{len(narrow)} casts"
        yield (f"E-MODEL-CAST: {count} to {FLOATS[kinds[narrow[0]]]} ('{narrow[0]}') and back: analysed are the real numbers, which no "
               "cast rounds; onnxruntime's results differ by that rounding")


def _of_one_row(node: onnx.NodeProto, name: str) -> Iterator[str]:
    given = {a.name: a for a in node.attribute}
    logistic = "post_transform" in given and given["post_transform"].s == b"LOGISTIC"
    if _classes(node) == 2 and not logistic and "intercepts" in given and len(given["intercepts"].floats) == 1:
        yield (f"E-MODEL-LABEL: LinearClassifier '{name}' gives the scores 1 - s and s of its one number s: the greater one is the "
               "second where s > 1/2, but its own label is the second class where s > 0")


def _of_pairs(node: onnx.NodeProto, name: str, readers: list[onnx.NodeProto], constants: Mapping[str, AnyArray]) -> Iterator[str]:
    """Scores of pairs of classes, unless something behind the node makes others of them."""
    if not any(a.name == "vectors_per_class" and sum(a.ints) for a in node.attribute):
        return
    if _classes(node) > 2 and not readers:
        count = _classes(node)
        yield (f"E-MODEL-PAIRS: the {count * (count - 1) // 2} scores of SVMClassifier '{name}' are those of pairs of classes, the first "
               "before the second: which one is the greatest is no class; fit it with decision_function_shape='ovr' and export it again")
    elif _classes(node) == 2 and not any(_turns(reader, constants) for reader in readers):
        yield (f"E-MODEL-LABEL: SVMClassifier '{name}' gives the scores -s and s, but its own label is the first class where s > 0: the "
               "greater score is that of the other class; skl2onnx turns them by options={id(model): {'raw_scores': True}}")


def _classes(node: onnx.NodeProto) -> int:
    return max((len(a.strings) + len(a.ints) for a in node.attribute if a.name.startswith("classlabels")), default=0)


def _behind(tensor: str, nodes: Sequence[onnx.NodeProto]) -> list[onnx.NodeProto]:
    """Nodes that read a tensor, or what only copies it."""
    found = []
    for node in nodes:
        if tensor in node.input:
            found += _behind(node.output[0], nodes) if node.op_type in ("Cast", "Identity") else [node]
    return found


def _turns(node: onnx.NodeProto, constants: Mapping[str, AnyArray]) -> bool:
    """Whether a node changes the sign of what it reads."""
    factors = [constants[i] for i in node.input if i in constants]
    return node.op_type == "Neg" or (node.op_type == "Mul" and len(factors) == 1 and bool((factors[0] < 0).all()))
