"""Where a label comes from: the ArgMax, or the classifier of ai.onnx.ml, in front of what only looks up, casts or reshapes its choice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import onnx

from absint.frontends.onnx_end import CHOOSING
from absint.frontends.onnx_functions import STANDARD_DOMAINS
from absint.model.onnx_formats import LABELLING, ML_DOMAIN

# Operators that carry a choice on, and which of their operands it is.
_CARRIES = {("", kind): 0 for kind in ("Cast", "Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze")}
_CARRIES |= {("", "Gather"): 1, (ML_DOMAIN, "ArrayFeatureExtractor"): 1, (ML_DOMAIN, "LabelEncoder"): 0}


@dataclass(frozen=True)
class LabelSource:
    """Who chooses. kind: its operator.  tensor: its choice, an index; of a classifier its scores, the greatest of which it names.

    direct: whether nothing stands behind it.
    """

    kind: str
    tensor: str
    direct: bool


def choice_of(proto: onnx.ModelProto, output: str) -> LabelSource | None:
    """The choice that an output is the label of; None where it is none."""
    made = {str(name): node for node in proto.graph.node for name in node.output if name}
    direct, seen = True, set[str]()
    while output in made and output not in seen:
        seen.add(output)
        node = made[output]
        domain = "" if node.domain in STANDARD_DOMAINS else str(node.domain)
        if not domain and node.op_type in CHOOSING:
            return LabelSource(str(node.op_type), output, direct)
        if domain == ML_DOMAIN and node.op_type in LABELLING and output == node.output[0] and len(node.output) > 1:
            return LabelSource(str(node.op_type), str(node.output[1]), direct=False)
        place = _CARRIES.get((domain, str(node.op_type)))
        if place is None or place >= len(node.input) or (place == 1 and not _stored(str(node.input[0]), proto)):
            return None
        output, direct = str(node.input[place]), False
    return None


def _stored(name: str, proto: onnx.ModelProto) -> bool:
    """Whether a table of names is the file's own: what a choice looks up in computed numbers is no label."""
    constants = (node for node in proto.graph.node if node.op_type == "Constant")
    return any(t.name == name for t in proto.graph.initializer) or any(name in node.output for node in constants)


_PARTS = frozenset(("Cast", "Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Slice", "Split", "Gather", "ArrayFeatureExtractor"))


def wholes_of(proto: onnx.ModelProto, outputs: Sequence[str]) -> list[str]:
    """In words, what several outputs are parts of, such as the columns of scores; and what a sequence is made of."""
    made = {str(name): node for node in proto.graph.node for name in node.output if name}
    found = [f"'{name}' is a sequence of {', '.join(repr(str(i)) for i in made[name].input)}" for name in outputs
             if name in made and made[name].op_type == "SequenceConstruct"]
    whole: dict[str, list[str]] = {}
    for name in outputs:
        source = name
        while source in made and made[source].op_type in _PARTS:
            source = str(made[source].input[0])
        whole.setdefault(source, []).append(name)
    return found + [f"{', '.join(map(repr, parts))} are parts of '{source}'" for source, parts in whole.items()
                    if len(parts) > 1 and source in made]


def least_of(proto: onnx.ModelProto, dropped: list[str], chosen: str) -> Iterator[str]:
    """What is said of labels that are left out, and that are not those of the greatest score: "E-CODE: text"."""
    for name in dropped:
        choice = choice_of(proto, name)
        if choice is not None and choice.kind == "ArgMin":
            yield (f"E-MODEL-LABEL: the label '{name}' is that of the least number, by ArgMin, not of the greatest of '{chosen}'; "
                   f"--output {choice.tensor} analyses that choice")
