"""Where a graph came from: the user's own model or models, for reports and as the reference that everything is compared with."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from absint.model.op import Op, Shape
from absint.model.parameters import either


@dataclass(frozen=True)
class NodeCoverage:
    """What was compared of a file's nodes one by one: `nodes` of `total`, `visited` of the `pieces` of their functions."""

    nodes: int
    total: int
    visited: int
    pieces: int


@dataclass(frozen=True, eq=False)
class ClassIndex:
    """A network that ends in ArgMax: its output is the index of the greatest entry of the graph's output, its scores.

    node: what messages call the end, such as "ArgMax 'pick'".  last: of several greatest scores the last one is taken, else
    the first.  shape: of the network's own output, batch axis included.  model: the whole network for the reference
    runtime, the ArgMax with it, or None.
    """

    node: str
    last: bool
    shape: Shape
    model: bytes | None


@dataclass(frozen=True)
class InputPart:
    """One of several inputs of a model. name: as the file calls it.  shape: what the runtime expects, batch axis included as 1."""

    name: str
    shape: Shape


# Formats of which float32 does not hold every number.
WIDE = frozenset({"float64", "int32", "uint32", "int64", "uint64"})


@dataclass(frozen=True, eq=False)
class Source:
    """Where a graph came from, for reports and for replaying witnesses.

    model: the serialized reference model (bytes), or None; None of a chain, whose models are those of its parts (`runs`).
    sha256: of every byte the user's model
    was read from, weights in other files included.  full_input_shape: what the
    reference runtime expects, batch axis included as 1.  prefix: operators applied to the user's input before it.
    float32_executions: False where the model computes in a narrower format, or has kernels (softmax, normalisations) whose
    rounding is not bounded: float32 semantics is refused then.  formats: of its floating-point tensors
    and of the integers that it computes; None where nobody knows.
    chooses: how the network itself ends where the graph ends with its scores.
    caveats: where what is analysed is not what the file seems to say, as "E-CODE: text"; every answer carries them. They are
    among the `notes`, too, without their code.
    node_check: None where the file's nodes were not compared.  reads: of the file's constants, see `absint.model.parameters.read_from`.
    parts: of a chain its networks, from input to output, each with what is applied to the output of the one before as its
    `prefix`; all else is said of the chain as a whole then.  names: what the graph's names of this part's tensors begin with.
    inputs: of a model with several, all of them, in the order in which they lie, flat, in the graph's one input; else empty.
    chosen: the output, or the tensor inside, that the user asked for in place of the file's own output; else ''.
    """

    path: str = ""
    sha256: str = ""
    model: bytes | None = None
    input_tensor: str = ""
    full_input_shape: Shape = ()
    batched: bool = True
    passes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    prefix: tuple[Op, ...] = field(default=())
    float32_executions: bool = True
    formats: frozenset[str] | None = None
    chooses: ClassIndex | None = None
    caveats: tuple[str, ...] = ()
    node_check: NodeCoverage | None = None
    reads: Mapping[str, int] = field(default_factory=dict)
    parts: tuple[Source, ...] = ()
    names: str = ""
    inputs: tuple[InputPart, ...] = ()
    chosen: str = ""

    @property
    def fed(self) -> tuple[InputPart, ...]:
        """What the reference runtime is fed with, in the order of the graph's input."""
        return self.inputs or (InputPart(self.input_tensor, self.full_input_shape),)

    @property
    def named_inputs(self) -> dict[str, Shape]:
        """Of a network with several inputs, each with its shape without batch axis, in the order of the graph's vector; else empty."""
        return {one.name: one.shape[1:] if self.batched else one.shape for one in self.inputs}

    @property
    def wide(self) -> bool:
        """Whether a tensor may hold numbers that float32 does not, so that a cast to it rounds; True where nobody knows."""
        return self.formats is None or bool(self.formats & WIDE)

    @property
    def networks(self) -> tuple[Source, ...]:
        """The parts of a chain, or the one network itself."""
        return self.parts or (self,)

    @property
    def files(self) -> dict[str, list[dict[str, str]]]:
        """For reports, of a chain: what each network was read from, in order; nothing of a single network."""
        return {"networks": [{"path": part.path, "sha256": part.sha256} for part in self.parts]} if self.parts else {}

    @property
    def runs(self) -> bool:
        """Whether there is a reference to run: a model of every part."""
        return all(part.model is not None for part in self.networks)

    @property
    def whole(self) -> Source:
        """The network as the user has it: with its ArgMax, where the graph ends with the scores."""
        if self.chooses is None:
            return self
        if not self.parts:
            return replace(self, model=self.chooses.model, chooses=None)
        return replace(self, parts=(*self.parts[:-1], self.parts[-1].whole), chooses=None)

    @property
    def unreferenced(self) -> Source:
        """The same of a graph that is no longer what the models say: without any."""
        return replace(self, model=None, parts=(), chooses=None)

    def behind(self, ops: tuple[Op, ...]) -> Source:
        """With operators between the user's input and what was its first one until now."""
        parts = (self.parts[0].behind(ops), *self.parts[1:]) if self.parts else ()
        return replace(self, prefix=(*ops, *self.prefix), parts=parts)


def in_words(one: Source, two: Source) -> str:
    """What messages call two networks in a row; '' where neither has a path."""
    return " then ".join(filter(None, (one.path, two.path)))


def joined(one: Source, two: Source, between: tuple[Op, ...], names: str, notes: tuple[str, ...] = ()) -> Source:
    """Of two networks in a row. between: applied to the first one's output, as the second one's `prefix` before its own.

    names: what the chain's names of the second one's tensors begin with.  notes: on what lies between.
    """
    first, *others = two.networks
    behind = (first.behind(between), *others)
    parts = (*one.networks, *(replace(part, names=names + part.names) for part in behind))
    formats = None if one.formats is None or two.formats is None else one.formats | two.formats
    return replace(
        one, path=in_words(one, two), sha256=_of_all(tuple(part.sha256 for part in parts)), model=None,
        passes=tuple(dict.fromkeys((*one.passes, *two.passes))), notes=(*one.notes, *notes, *two.notes),
        # Between a network of float64 (or of integers) and the next lies a conversion that is nobody's operator.
        float32_executions=one.float32_executions and two.float32_executions and not WIDE & (one.formats or frozenset()),
        formats=formats, chooses=None if two.chooses is None else replace(two.chooses, model=None),
        caveats=tuple(dict.fromkeys((*one.caveats, *two.caveats))), node_check=_both(one.node_check, two.node_check),
        reads=either(one.reads, two.reads), parts=parts,
    )


def _of_all(hashes: tuple[str, ...]) -> str:
    """One hash of several; '' where a part has none. No two lists have one, unless SHA-256 itself is broken."""
    if not all(hashes):
        return ""
    return hashlib.sha256("\n".join(("absint chain", *hashes)).encode()).hexdigest()


def _both(one: NodeCoverage | None, two: NodeCoverage | None) -> NodeCoverage | None:
    if one is None or two is None:
        return None
    return NodeCoverage(one.nodes + two.nodes, one.total + two.total, one.visited + two.visited, one.pieces + two.pieces)
