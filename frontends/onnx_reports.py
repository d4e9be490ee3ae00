"""What became of the nodes of an ONNX file, and why some operators have no entry, where more can be said than that."""

from __future__ import annotations

import re
from dataclasses import dataclass

from torch import Tensor

from absint.frontends.onnx_end import CHOOSING
from absint.model.op import Op, Shape

_DYNAMIC = ("takes the scale from the very values that it quantises",
            "quantise statically (onnxruntime.quantization.quantize_static), or verify the floating-point network it was made from")
_RANDOM = ("draws random numbers", "export the model in evaluation mode")
_CONTROL = ("is control flow", "export with fixed sizes and without branches or loops (unroll, or onnxsim)")
_CHOICE = ("chooses an index, and is not the file's last node along one vector of scores",
           "--output NAME analyses the tensor that it reads (output=NAME in Python)")
REFUSED = {
    "DynamicQuantizeLinear": _DYNAMIC,
    **dict.fromkeys(("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli", "Multinomial"), _RANDOM),
    **dict.fromkeys(("If", "Loop", "Scan", "SequenceMap"), _CONTROL),
    **dict.fromkeys(CHOOSING, _CHOICE),
}

_OF_RUNTIME = re.compile("Q|Dequantize|Quantize|DynamicQuantize|MatMulInteger|ConvInteger")


def foreign(domain: str, op_type: str) -> tuple[str, str]:
    """Why an operator of a custom domain is refused, and what to do."""
    if domain == "com.microsoft" and _OF_RUNTIME.match(op_type):
        return (f"is an operator of onnxruntime for quantised networks (domain '{domain}')",
                "quantise in the QDQ format: quantize_static(..., quant_format=QuantFormat.QDQ); 16 bits need opset 21")
    return f"belongs to the custom domain '{domain}'", "export with standard ONNX operators only"


@dataclass(frozen=True, eq=False)
class NodeReport:
    """What became of one node. op: None where it was folded or is not supported; reason: None where all is well.

    inputs, output: full ONNX shapes at batch size 1; None where unknown. Constant inputs are left out.
    behind: the position of a node that is not supported, where this one was not looked at because nothing is known of its input.
    """

    position: int
    name: str
    op_type: str
    opset: int
    inputs: tuple[Shape | None, ...] = ()
    output: Shape | None = None
    op: Op | None = None
    folded: bool = False
    code: str | None = None
    reason: str | None = None
    hint: str | None = None
    behind: int | None = None

    def line(self) -> str:
        """One line of an error message or a table."""
        head = f"node {self.position} '{self.name}'  {self.op_type} (opset {self.opset})"
        shapes = ", ".join(_shape_text(s) for s in self.inputs)
        tail = [] if self.reason is None else [self.reason if self.hint is None else f"{self.reason}; {self.hint}"]
        return "  ".join([head, *([f"{shapes} -> {_shape_text(self.output)}"] if shapes else []), *tail])


def _shape_text(shape: Shape | None) -> str:
    return "?" if shape is None else str(shape)


@dataclass(frozen=True)
class Placeholder(Op):
    """Stands for a node that is not supported, so that the nodes behind it are looked at, too. Never in a result."""

    shape: Shape
    arity = None

    def output_shape(self, *shapes: Shape) -> Shape:
        """The shape that it is known to have."""
        return self.shape

    def forward(self, *xs: Tensor) -> Tensor:
        """Nobody asks."""
        raise NotImplementedError
