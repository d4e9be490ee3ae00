"""RNN, GRU and LSTM of a fixed number of steps, unrolled into operators that exist.

Axes are those of ONNX with layout 0: X (steps, batch, inputs), Y (steps, directions, batch, hidden), states (directions, batch, hidden).
Where the batch axis of X is the graph's, shapes lack it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

import torch
from torch import Tensor

from absint.model.families.composite import SeveralResults
from absint.model.op import OPS, OnnxNode, Op, Shape, mixes, register_import, unsupported, widened
from absint.model.ops.affine import Affine
from absint.model.ops.assemble import Assemble, moved
from absint.model.ops.gemm import Gemm
from absint.model.ops.piecewise import Clip
from absint.model.ops.product import Build
from absint.model.ops.recurrent_cells import Cell, Function, Gate, GruCell, LstmCell, PlainCell, State
from absint.model.ops.shape import Gather, Reshape
from absint.model.ops.sigmoid import Tanh

_ALL = -1   # the result that holds all of them
_Y, _LAST_CELL = 0, 2
_OPERANDS = ("X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P")
_DEFAULTS = {"RNN": ("Tanh",), "GRU": ("Sigmoid", "Tanh"), "LSTM": ("Sigmoid", "Tanh", "Tanh")}
_GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
_FACTORS = ("activation_alpha", "activation_beta")     # of the activation functions
_SCALED = {  # functions that take alpha, and alpha and beta
    "Affine": 2, "LeakyRelu": 1, "ThresholdedRelu": 1, "ScaledTanh": 2, "HardSigmoid": 2, "Elu": 1,
}
_PLAIN = ("Relu", "Tanh", "Sigmoid", "Softsign")
_NO_DEFAULT = ("Affine", "ScaledTanh", "ThresholdedRelu")   # onnxruntime takes 0 for the last one's alpha, ONNX 1


@dataclass(frozen=True, eq=False)
class InitialState:
    """Of all directions, (directions, *rows, hidden). operand: which computed input holds it, or None.  value: where it is constant.

    Neither: zero.
    """

    operand: int | None = None
    value: Tensor | None = None

    def of(self, build: Build, inputs: tuple[str, ...], direction: int, shape: Shape) -> State:
        """A node with the state of one direction, (*rows, hidden). A constant is a map of X to which no entry of X contributes."""
        size = prod(shape[1:])
        if self.operand is not None:
            return build(Gather.of(torch.arange(direction * size, (direction + 1) * size).reshape(shape[1:])), (inputs[self.operand],))
        if self.value is None:
            return None
        nothing = torch.full(shape[1:], -1)
        return build(Assemble(nothing, 1, self.value.double().reshape(shape)[direction].contiguous()), inputs[:1])


@dataclass(frozen=True, eq=False)
class Unrolled(SeveralResults):
    """A recurrent layer, step by step. cells: one a direction.  backward: whether a direction starts at the last step.

    steps: of X, its first operand, (steps, *rows, inputs).  starts: of h and c.  output: which result, in the order of ONNX.
    """

    cells: tuple[Cell, ...]
    backward: tuple[bool, ...]
    steps: int
    rows: Shape
    starts: tuple[InitialState, InitialState]
    output: int
    arity = None

    @property
    def in_words(self) -> str:
        """How many steps there are."""
        ways = f", {len(self.cells)} directions" if len(self.cells) > 1 else ""
        return f"unrolled, {self.steps} step{'' if self.steps == 1 else 's'}{ways}"

    def constants(self) -> tuple[Tensor, ...]:
        """The weights, each once, with the two biases of a gate as one."""
        products = (product for cell in self.cells for product in cell.products)
        return tuple(value for product in products for value in product.constants())

    @property
    def _state(self) -> Shape:
        return (len(self.cells), *self.rows, self.cells[0].hidden)

    def output_shape(self, *shapes: Shape) -> Shape:
        """Of Y, of a state, or of all results joined."""
        wanted = (self.steps, *self.rows, self.cells[0].inputs)
        if not shapes or shapes[0] != wanted:
            raise ValueError(f"an input of shape {shapes[0] if shapes else ()} in place of {wanted}")
        y = (self.steps, *self._state)
        return {_Y: y, _ALL: (prod(y) + prod(self._state),)}.get(self.output, self._state)

    def forward(self, *xs: Tensor) -> Tensor:
        """What it expands into."""
        values = dict(zip(map(str, range(len(xs))), xs, strict=True))

        def build(op: Op, inputs: tuple[str, ...]) -> str:
            name = str(len(values))
            values[name] = op.forward(*(values[i] for i in inputs))
            return name

        return values[self.expand(build, tuple(values), tuple(tuple(x.shape[1:]) for x in xs))]

    def expand(self, build: Build, inputs: tuple[str, ...], shapes: tuple[Shape, ...]) -> str:
        """Step by step, direction by direction; then the states that are asked for, joined."""
        self.output_shape(*shapes)
        hidden: list[list[str]] = []
        last: list[str] = []
        for direction, (cell, backward) in enumerate(zip(self.cells, self.backward, strict=True)):
            h, c = (start.of(build, inputs, direction, self._state) for start in self.starts)
            found: dict[int, str] = {}
            for t in reversed(range(self.steps)) if backward else range(self.steps):
                h, c = cell.step(build, build(self._slice(t), inputs[:1]), (h, c), len(self.rows) + 1)
                found[t] = h
            hidden.append([found[t] for t in range(self.steps)])
            last += [c] if c is not None else []
        return self._joined(build, hidden, last)

    def _slice(self, t: int) -> Op:
        size = prod(self.rows) * self.cells[0].inputs
        return Gather.of(torch.arange(t * size, (t + 1) * size).reshape(*self.rows, self.cells[0].inputs))

    def _joined(self, build: Build, hidden: Sequence[Sequence[str]], last: Sequence[str]) -> str:
        everywhere = [states[t] for t in range(self.steps) for states in hidden]
        ends = [states[0 if backward else -1] for states, backward in zip(hidden, self.backward, strict=True)]
        if self.output == _ALL:
            return _put_together(build, [*everywhere, *(last or ends)], (len(everywhere) + len(ends)) * prod(self._state[1:]))
        if self.output == _Y:
            return _put_together(build, everywhere, self.steps, *self._state)
        return _put_together(build, last if self.output == _LAST_CELL else ends, *self._state)

    def together(self) -> tuple[Op, Op]:
        """All of Y, then the last states c (h where there is no c); the last states h are parts of Y."""
        state, y = prod(self._state), self.steps * prod(self._state)
        places = torch.arange(y + state)
        of_y = places[:y].reshape(self.steps, *self._state)
        if self.output == _Y:
            index = of_y
        elif self.output == _LAST_CELL:
            index = places[y:].reshape(self._state)
        else:
            index = torch.stack([of_y[0 if backward else -1, d] for d, backward in enumerate(self.backward)])
        return replace(self, output=_ALL), moved(index.contiguous(), (y + state,))


def _put_together(build: Build, names: Sequence[str], *shape: int) -> str:
    """States, each flattened, one behind the other, in a node of its own. A state that stands twice is handed over twice."""
    if len(names) == 1:
        return build(Reshape(shape), (names[0],))
    return build(Assemble(torch.arange(prod(shape)).reshape(shape), 1), tuple(names))


# ---- import ------------------------------------------------------------------------------------------------------------


@register_import("RNN", "GRU", "LSTM")
def recurrent_from_onnx(node: OnnxNode) -> Op:
    """All directions, functions and gates of ONNX; weights are constants, initial states may be computed.

    Raises UnsupportedError for layout 1, which the ONNX front end writes as layout 0 first, and for sequences of unequal lengths.
    """
    if int(node.attribute("layout", 0)):
        raise unsupported(node, "layout=1 cannot be compared with onnxruntime, which does not run it", "export with layout=0")
    for k in (1, 2, 3, 4, 7):
        if _computed(node, k):
            raise unsupported(node, f"its input {_OPERANDS[k]} must be a constant", "export with constant folding")
    steps, rows = _extent(node)
    weights = node.required(1, "its input W")
    hidden, inputs = int(weights.shape[1]) // _GATES[node.op_type], int(weights.shape[2])
    if int(node.attribute("hidden_size", hidden)) != hidden:
        raise unsupported(node, f"hidden_size is {node.attribute('hidden_size', 0)}, but W is of {hidden}", "repair the model")
    backward = _directions(node)
    _full_length(node, steps)
    functions = _functions(node, len(backward))
    cells = tuple(_cell(node, d, functions[d], (hidden, inputs)) for d in range(len(backward)))
    starts = (_start(node, 5), _start(node, 6) if node.op_type == "LSTM" else InitialState())
    return Unrolled(cells, backward, steps, rows, starts, node.output)


def _computed(node: OnnxNode, k: int) -> bool:
    return k < len(node.shapes) and node.constant(k) is None and node.shapes[k] != ()


def _extent(node: OnnxNode) -> tuple[int, Shape]:
    """Steps of X, and its batch axis: (size,), or () where the graph's shapes lack it."""
    if not _computed(node, 0):
        raise unsupported(node, "its input X is a constant", "make X the computed operand, or fold the node")
    if node.batched[0]:
        raise mixes(node, f"axis 0 of its input {node.shapes[0]}, which is the sequence, is the axis of the batch")
    return node.shapes[0][0], node.shapes[0][1:2]


def _directions(node: OnnxNode) -> tuple[bool, ...]:
    found = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}.get(str(node.attribute("direction", "forward")))
    if found is None or node.shapes[1][0] != len(found):
        raise unsupported(node, f"direction={node.attribute('direction', 'forward')} with W of {node.shapes[1]}", "repair the model")
    return found


def _full_length(node: OnnxNode, steps: int) -> None:
    """sequence_lens may only say that every sequence is as long as X."""
    given = node.constant(4)
    if given is not None and bool((given != steps).any()):
        raise unsupported(node, f"sequence_lens {sorted(set(given.reshape(-1).tolist()))} cut sequences of {steps} steps short",
                          "export without sequence_lens (no packed sequences), for one fixed length")


def _start(node: OnnxNode, k: int) -> InitialState:
    """The initial state at an input; one of zeros counts as absent."""
    if _computed(node, k):
        if node.batched[k]:
            raise mixes(node, f"axis 0 of its input {_OPERANDS[k]}, which is the direction, is the axis of the batch")
        return InitialState(sum(_computed(node, j) for j in range(k)))
    value = node.constant(k)
    return InitialState() if value is None or not bool(value.any()) else InitialState(value=value)


def _functions(node: OnnxNode, directions: int) -> list[list[Function]]:
    """For each direction its activation functions f, g, h, behind the clip of what they are given.

    h of an LSTM is given c, which onnxruntime does not clip.
    """
    defaults = _DEFAULTS[node.op_type]
    given = [a.decode() if isinstance(a, bytes) else str(a) for a in node.attribute("activations", [])]
    names = given or [*defaults] * directions
    if len(names) != len(defaults) * directions:
        raise unsupported(node, f"{len(names)} activations in place of {len(defaults) * directions}", "repair the model")
    scales = {name: iter(node.attribute(name, [])) for name in _FACTORS}
    clip = float(node.attribute("clip", 0.0))
    before = (Clip(-clip, clip),) if clip > 0 else ()
    found: list[Function] = []
    for name in names:
        known = {n.lower(): n for n in (*_PLAIN, *_SCALED)}.get(name.lower())
        if known is None:
            raise unsupported(node, f"activation {name} is not supported", f"those that are: {', '.join(sorted((*_PLAIN, *_SCALED)))}")
        factors = {key: next(scales[key], None) for key in _FACTORS[: _SCALED.get(known, 0)]}
        if known in _NO_DEFAULT and None in factors.values():
            raise unsupported(node, f"activation {known} lacks {' and '.join(factors)}", "state them")
        gated = defaults[len(found) % len(defaults):][1:] or node.op_type != "LSTM"
        own = _function(node, known, {k.removeprefix("activation_"): float(v) for k, v in factors.items() if v is not None})
        found.append((*before, *own) if gated else own)
    return [found[d * len(defaults) : (d + 1) * len(defaults)] for d in range(directions)]


def _function(node: OnnxNode, name: str, factors: dict[str, float]) -> Function:
    """One activation function as operators; those that ONNX has an operator for by its rule, defaults included."""
    if name in ("Affine", "ScaledTanh"):
        alpha, beta = (torch.tensor(factors[key.removeprefix("activation_")], dtype=torch.float64) for key in _FACTORS)
        return (Affine(scale=alpha, shift=beta),) if name == "Affine" else (Affine(scale=beta), Tanh(), Affine(scale=alpha))
    shape = node.shapes[0]
    return (OPS.get(name)(OnnxNode(name, factors, node.opset, (None,), (shape,), (False,))),)


def _cell(node: OnnxNode, direction: int, functions: Sequence[Function], sizes: tuple[int, int]) -> Cell:
    """One direction, from its blocks of W, R, B and P."""
    hidden, inputs = sizes
    gates = _GATES[node.op_type]
    blocks = [(w, r) for w, r in zip(_blocks(node, 1, direction, gates), _blocks(node, 2, direction, gates), strict=True)]
    bias = _blocks(node, 3, direction, 2 * gates) if node.constant(3) is not None else None
    biases = [None if bias is None else (bias[k], bias[gates + k]) for k in range(gates)]
    if node.op_type == "RNN":
        return PlainCell(hidden, inputs, Gate.of(blocks[0], biases[0], functions[0]))
    if node.op_type == "LSTM":
        return _lstm(node, direction, functions, (blocks, biases), sizes)
    f, g = functions
    update, reset, candidate = (Gate.of(b, s, q) for b, s, q in zip(blocks, biases, (f, f, g), strict=True))
    if not int(node.attribute("linear_before_reset", 0)):
        return GruCell(hidden, inputs, update, reset, candidate, None)
    w, r = (widened(block).contiguous() for block in blocks[2])
    own, other = (None, None) if biases[2] is None else (widened(side).contiguous() for side in biases[2])
    alone = Gemm(w, own)
    return GruCell(hidden, inputs, update, reset, Gate(alone, alone, g), Gemm(r, other))


Blocks = list[tuple[Tensor, Tensor]]


def _lstm(
    node: OnnxNode, direction: int, functions: Sequence[Function], parts: tuple[Blocks, list[tuple[Tensor, Tensor] | None]],
    sizes: tuple[int, int],
) -> LstmCell:
    """Gates stand in the order i, o, f, c in W, R and B; i, o, f in P."""
    f, g, h = functions
    peepholes = _blocks(node, 7, direction, 3) if node.constant(7) is not None else (None, None, None)
    enter, leave, forget, candidate = (
        Gate.of(block, bias, function, see) for block, bias, function, see in zip(*parts, (f, f, f, g), (*peepholes, None), strict=True))
    coupled = int(node.attribute("input_forget", 0))
    return LstmCell(*sizes, enter, leave, None if coupled else forget, candidate, h)


def _blocks(node: OnnxNode, k: int, direction: int, count: int) -> tuple[Tensor, ...]:
    """One direction's constant at an input, cut into equal parts along its first axis."""
    value = node.required(k, f"its input {_OPERANDS[k]}")[direction]
    return value.chunk(count)
