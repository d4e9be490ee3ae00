"""Several inputs of a file as one vector: flat, in the file's order, each cut out of it again under its own name."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import torch

from absint.frontends.onnx_file import OnnxFile
from absint.frontends.onnx_shapes import inner
from absint.model.graph import GraphBuilder
from absint.model.op import Shape
from absint.model.ops.assemble import moved
from absint.model.source import InputPart

_NAME = "inputs"    # of the vector


@dataclass(frozen=True)
class Joined:
    """The graph's input. name, shape: of the file's only input, or of the vector of them all, batch axis included as 1.

    parts: the inputs in the vector, in order; empty for an only one.
    """

    name: str
    shape: Shape
    batched: bool
    parts: tuple[InputPart, ...] = ()

    @classmethod
    def of(cls, file: OnnxFile, *, batched: bool) -> Joined:
        """batched: whether axis 0 of every input is the batch axis."""
        if len(file.inputs) == 1:
            return cls(file.inputs[0].name, file.inputs[0].shape, batched)
        parts = tuple(InputPart(one.name, one.shape) for one in file.inputs)
        taken, name = {*file.used, *(o for step in file.steps for o in step.proto.output), *(one.name for one in parts)}, _NAME
        while name in taken:
            name += "'"
        size = sum(prod(one.shape) for one in parts)
        return cls(name, (1, size) if batched else (size,), batched, parts)

    def parted(self, builder: GraphBuilder) -> None:
        """Add a selection of entries for each part."""
        start, size = 0, prod(self.shape)
        for one in self.parts:
            index = torch.arange(start, start + prod(one.shape)).reshape(inner(one.shape))
            builder.add(moved(index, (size,)), (self.name,), one.name, (one.name,))
            start += prod(one.shape)

    @property
    def notes(self) -> tuple[str, ...]:
        """What every answer says of it."""
        if not self.parts:
            return ()
        shapes = ", ".join(f"'{one.name}' {inner(one.shape)}" for one in self.parts)
        return (f"{len(self.parts)} inputs are analysed as one vector of {prod(self.shape)} numbers, each flat, in this order: {shapes}",)
