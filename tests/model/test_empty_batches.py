"""Operators on a batch of no instance: what searches when nothing is left over."""

from __future__ import annotations

import torch

from absint.model.ops.assemble import Assemble
from absint.model.ops.shape import Gather


def test_entries_are_selected_of_no_instance():
    op = Gather.of(torch.tensor([[5, 0], [1, 1]]))
    assert op.apply(torch.zeros(0, 2, 3)).shape == (0, 2, 2)
    assert op.apply_abs(torch.zeros(0, 2, 3)).shape == (0, 2, 2)
    assert op.adjoint(torch.zeros(0, 2, 2), ((2, 3),))[0].shape == (0, 2, 3)


def test_entries_of_several_tensors_are_joined_of_no_instance():
    op = Assemble(torch.tensor([[0, -1], [4, 7]]), 1)
    shapes = ((2, 3), (2,))
    assert op.apply(*(torch.zeros(0, *shape) for shape in shapes)).shape == (0, 2, 2)
    assert [part.shape[1:] for part in op.adjoint(torch.zeros(0, 2, 2), shapes)] == list(shapes)
