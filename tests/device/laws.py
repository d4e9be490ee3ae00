"""What a second device refuses, lets pass and counts. True of CUDA, and so demanded of the fake one.

With tests/ and tests/support on its path, `python -m device.laws cuda` holds a card to the first two tables.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from fake_device import NAME, FakeDevice, MixError
from torch import Tensor
from torch.nn import functional

from device.compared import scenario


@dataclass(frozen=True)
class Given:
    """x: (3, 4) on the device.  h: the same on the host.  s: a number, i: indices, m: a mask, all on the host."""

    device: str
    x: Tensor
    h: Tensor
    s: Tensor
    i: Tensor
    m: Tensor

    @staticmethod
    def of(device: str) -> Given:
        h = torch.linspace(-1, 1, 12).reshape(3, 4)
        return Given(device, h.to(device), h, torch.tensor(2.0), torch.tensor([0, 2]), h > 0)

    def put(self, *places: tuple[object, object]) -> Tensor:
        """A copy of x, written to."""
        y = self.x.clone()
        for place, value in places:
            y[place] = value
        return y

    def there(self, values: Tensor) -> Tensor:
        return values.to(self.device)


Law = Callable[[Given], object]

PASSES: dict[str, Law] = {
    "a number of Python": lambda g: g.x * 2.0,
    "a number without axes": lambda g: g.x * g.s,
    "such a number first": lambda g: torch.maximum(g.s, g.x),
    "where with one": lambda g: torch.where(g.x > 0, g.s, g.x),
    "where with two": lambda g: torch.where(g.x > 0, g.s, g.s),
    "addcmul with one": lambda g: torch.addcmul(g.x, g.x, g.s),
    "clamp_min with one": lambda g: g.x.clamp_min(g.s),
    "masked_fill with one": lambda g: g.x.masked_fill(g.x > 0, g.s),
    "indices of the host": lambda g: g.x[g.i],
    "a mask of the host": lambda g: g.x[g.m],
    "copy from the host": lambda g: g.x.clone().copy_(g.h),
    "copy to the host": lambda g: g.h.clone().copy_(g.x),
    "a row of the host, written to a slice": lambda g: g.put((0, g.h[0])),
    "numbers written": lambda g: g.put(((slice(None), 1), 3.0), (g.m, 1.0), (g.x > 0, 0.0), (g.i, g.s)),
    "to and back": lambda g: g.there(g.x.cpu()),
    "a new tensor of a list": lambda g: g.x.new_tensor([1.0, 2.0]) + g.x[:, :2],
    "a generator of the host, then moved": lambda g: g.there(torch.rand(3, generator=torch.Generator())) * 2,
}

REFUSED: dict[str, Law] = {
    "add": lambda g: g.x + g.h,
    "add in place": lambda g: g.x.clone().add_(g.h),
    "add to the host's": lambda g: g.h.clone().add_(g.x),
    "compare": lambda g: g.h < g.x,
    "one entry with an axis": lambda g: g.x * g.s.reshape(1),
    "maximum": lambda g: torch.fmax(g.h, g.x),
    "clamp by a number without axes": lambda g: g.x.clamp(min=g.s),
    "addcmul with two numbers": lambda g: torch.addcmul(g.x, g.s, g.s),
    "where by a mask of the host": lambda g: torch.where(g.m, g.x, g.x),
    "masked_fill by a mask of the host": lambda g: g.x.masked_fill(g.m, 0.0),
    "masked_scatter": lambda g: g.x.masked_scatter(g.x > 0, g.h),
    "product": lambda g: g.x @ g.h.T,
    "batched product": lambda g: torch.bmm(g.x[None], g.h.T[None]),
    "product with a number's row": lambda g: g.x @ g.h[0],
    "einsum": lambda g: torch.einsum("ij,ij->i", g.x, g.h),
    "linear": lambda g: functional.linear(g.x, g.h),
    "a bias of the host": lambda g: functional.linear(g.x, g.x, g.h[0, :3]),
    "convolution": lambda g: functional.conv2d(g.x[None, None], g.h[None, None, :2, :2]),
    "concatenation": lambda g: torch.cat([g.x, g.h]),
    "stack": lambda g: torch.stack([g.x[0], g.h[0]]),
    "stack of numbers": lambda g: torch.stack([g.x[0, 0], g.s]),
    "the host's tensor by indices": lambda g: g.h[g.there(g.i)],
    "the host's tensor by a mask": lambda g: g.h[g.x > 0],
    "values of the host, written by indices": lambda g: g.put((g.i, g.h[g.i])),
    "values of the host, written under a mask": lambda g: g.put((g.x > 0, g.h[g.m])),
    "gather": lambda g: g.x.gather(1, torch.zeros(3, 1, dtype=torch.int64)),
    "scatter": lambda g: g.x.scatter(1, torch.zeros(3, 1, dtype=torch.int64), 0.0),
    "index_select": lambda g: g.x.index_select(0, g.i),
    "index_add": lambda g: g.x.index_add(0, g.i, g.x[:2]),
    "searchsorted": lambda g: torch.searchsorted(g.x[0], g.h[0]),
    "repeat_interleave": lambda g: g.x.repeat_interleave(torch.tensor([1, 2, 0]), 0),
    "equal": lambda g: torch.equal(g.x, g.h),
    "a generator of the host": lambda g: torch.rand(3, device=g.device, generator=torch.Generator()),
    "numpy": lambda g: g.x.numpy(),
    "an array of numpy": lambda g: np.asarray(g.x),
}

# Syncs of an expression that is lawful, and the kernels where they are certain.
SYNCS: dict[str, tuple[Law, int]] = {
    "to the host": (lambda g: g.x.cpu(), 1),
    "from the host": (lambda g: g.there(g.h), 1),
    "a truth value": (lambda g: bool((g.x > 0).any()), 1),
    "a number": (lambda g: float(g.x[0, 0]), 1),
    "a list": (lambda g: g.x.tolist(), 1),
    "numbers one by one": (lambda g: [float(v) for v in g.x[0]], 4),
    "entries under a mask": (lambda g: g.x[g.x > 0], 1),
    "places under a mask": (lambda g: (g.x > 0).nonzero(), 1),
    "indices of the host": (lambda g: g.x[g.i], 1),
    "a mask of the host": (lambda g: g.x[g.m], 2),
    "a tensor of a list": (lambda g: torch.tensor([1.0], device=g.device), 1),
    "a new tensor": (lambda g: g.x.new_tensor(1.0), 1),
    "different numbers": (lambda g: g.x.unique(), 1),
    "equal": (lambda g: torch.equal(g.x, g.x), 1),
    "where with a number of the host": (lambda g: torch.where(g.x > 0, g.s, g.x), 1),
    "arithmetic": (lambda g: (g.x * 2 + g.s).clamp(min=0).sum(), 0),
    "a full tensor": (lambda g: g.x.new_full((3,), 1.0), 0),
    "a number written under a mask": (lambda g: g.put((g.x > 0, 0.0)), 0),
    "a number of the device written under a mask": (lambda g: g.put((g.x > 0, g.x[0, 0])), 1),
    "a view": (lambda g: g.x[1:, None].expand(2, 5, 4).transpose(0, 1), 0),
}


def broken(device: str, refusal: tuple[type[BaseException], ...]) -> list[str]:
    """A line for every law that the device does not keep. refusal: what it raises for operands on two devices."""
    lines = []
    for name, law in PASSES.items():
        try:
            law(Given.of(device))
        except Exception as error:
            lines.append(f"{name}: is refused: {type(error).__name__}: {str(error)[:120]}")
    for name, law in REFUSED.items():
        try:
            law(Given.of(device))
        except refusal:
            continue
        except Exception as error:
            lines.append(f"{name}: another error: {type(error).__name__}: {str(error)[:120]}")
        else:
            lines.append(f"{name}: passes")
    return lines


def miscounted(device: FakeDevice) -> list[str]:
    """A line for every law whose syncs the device counts otherwise."""
    lines = []
    for name, (law, syncs) in SYNCS.items():
        given = Given.of(NAME)
        with device.stage(name) as count:
            law(given)
        if count.syncs != syncs:
            lines.append(f"{name}: {count.syncs} syncs instead of {syncs}")
    return lines


@scenario("laws")
def what_cuda_refuses_and_lets_pass(device: FakeDevice) -> None:
    assert broken(NAME, (MixError, TypeError)) == []


@scenario("laws")
def what_waits(device: FakeDevice) -> None:
    assert miscounted(device) == []


@scenario("laws")
def what_is_launched(device: FakeDevice) -> None:
    x, full, half, point, own = (torch.ones(*shape, device=NAME) for shape in (
        (4, 6, 5, 5), (2, 6, 3, 3), (2, 3, 3, 3), (2, 6, 1, 1), (6, 1, 3, 3)))
    for kernels, run in (
            (1 + 2 * 4, lambda: functional.conv2d(x, full)),          # the bias, then columns and a product for each picture
            (1 + 4, lambda: functional.conv2d(x, point)), (2 * (1 + 2 * 4) + 1, lambda: functional.conv2d(x, half, groups=2)),
            (1, lambda: functional.conv2d(x, own, groups=6)), (1, lambda: x.flatten(1) @ x.flatten(1).T),
            (0, lambda: x.transpose(0, 1)[1:, None]), (2, lambda: x * 2 + 1)):
        with device.stage(f"launched: {kernels}") as count:
            before = count.kernels
            run()
        assert count.kernels - before == kernels, (count.kernels - before, kernels)


@scenario("laws")
def gradients_and_memory(device: FakeDevice) -> None:
    x = torch.linspace(0, 1, 6, device=NAME).requires_grad_()
    (slope,) = torch.autograd.grad((x * x).sum(), x)
    assert slope.device == x.device
    assert slope.tolist() == (2 * x).tolist()
    assert torch.get_device_module(NAME).mem_get_info()[1] == device.memory
    with FakeDevice(memory=1 << 20), pytest.raises(torch.OutOfMemoryError):
        torch.zeros(1 << 20, device=NAME)


@scenario("laws")
def views_share_what_is_written(device: FakeDevice) -> None:
    x = torch.zeros(2, 3, device=NAME)
    y = x[1]
    y.add_(1)
    x[:, 0] = 5.0
    assert x.tolist() == [[5, 0, 0], [5, 1, 1]]
    assert y.tolist() == [5, 1, 1]


if __name__ == "__main__":
    sys.exit("\n".join(broken(sys.argv[1], (RuntimeError, TypeError))))
