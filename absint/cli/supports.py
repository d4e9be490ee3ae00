"""`absint supports`: what absint can do, one name a line, as the VNN-LIB standard's solver interface asks for it.

A `*` after a name marks partial support, with a note on the same line.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Annotated, Any

import typer

from absint.errors import UsageError

_OLDEST_OPSET = 7    # of the ONNX front end, which nothing here may import; a test compares the two
_CONSTANTS = ("Constant", "ConstantOfShape")     # evaluated at import: no operator of a graph stands for them
_FIXED = {
    "vnnlib_versions": ("1.0", "2.0"),
    "onnx_element_types": ("real", "float32", "float64"),
    "hidden_node_theories": ("NH",),
    "multiple_input_output_theories": ("SIO", "MIO * several inputs; one output"),
    "multiple_network_theories": ("SNET",),
    "multiple_node_comparison_theories": ("SNC",),
    "arithmetic_complexity_theories": ("BND", "OUTC", "LIN * over outputs; an input is compared with constants only"),
    "optimised_disjunctive_reasoning": ("true",),
    "serialise_assignments": ("true",),
}


def _flag(text: str, name: str) -> Any:
    return typer.Option(name, help=text)


def supports(
    *,
    onnx_operators: Annotated[bool, _flag("Operators of ONNX.", "--onnx-operators")] = False,
    onnx_opset_versions: Annotated[bool, _flag("Least and greatest version of the operator set.", "--onnx-opset-versions")] = False,
    onnx_element_types: Annotated[bool, _flag("Element types of inputs and outputs.", "--onnx-element-types")] = False,
    vnnlib_versions: Annotated[bool, _flag("Versions of VNN-LIB.", "--vnnlib-versions")] = False,
    hidden_node_theories: Annotated[bool, _flag("NH: no hidden nodes in a query.", "--hidden-node-theories")] = False,
    multiple_input_output_theories: Annotated[
        bool, _flag("SIO: a single input and output tensor; MIO: several.", "--multiple-input-output-theories")] = False,
    multiple_network_theories: Annotated[bool, _flag("SNET: a single network.", "--multiple-network-theories")] = False,
    multiple_node_comparison_theories: Annotated[
        bool, _flag("SNC: a constraint compares entries of one tensor.", "--multiple-node-comparison-theories")] = False,
    arithmetic_complexity_theories: Annotated[
        bool, _flag("BND: bounds; OUTC: comparisons of outputs; LIN: linear.", "--arithmetic-complexity-theories")] = False,
    optimised_disjunctive_reasoning: Annotated[
        bool, _flag("Whether disjunctions are answered together.", "--optimised-disjunctive-reasoning")] = False,
    serialise_assignments: Annotated[
        bool, _flag("Whether assignments can be written as ONNX tensors.", "--serialise-assignments")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> Callable[[], int]:
    """List what absint supports, for the capability asked for: the VNN-LIB standard's solver interface."""
    asked = [name for name, value in locals().items() if value and name != "debug"]
    return lambda: _execute(asked)


def _execute(asked: list[str]) -> int:
    if len(asked) != 1:
        options = ", ".join("--" + name.replace("_", "-") for name in ("onnx_operators", "onnx_opset_versions", *_FIXED))
        raise UsageError("E-USAGE", "one capability is asked for at a time", hint=options)
    sys.stdout.writelines(f"{line}\n" for line in _lines(asked[0]))
    return 0


def _lines(name: str) -> Iterable[str]:
    if name == "onnx_operators":
        return _operators()
    return _opsets() if name == "onnx_opset_versions" else _FIXED[name]


def _operators() -> list[str]:
    import absint.model.ops  # noqa: F401  # its modules register themselves
    from absint.model.op import OPS

    return sorted({*OPS.names(), *_CONSTANTS})


def _opsets() -> tuple[str, str]:
    from onnx.defs import onnx_opset_version

    return str(_OLDEST_OPSET), str(onnx_opset_version())
