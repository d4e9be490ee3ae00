"""A second device on a machine that has none: its tensors say `fakegpu:0`, compute on the CPU, and mix as CUDA tensors mix.

torch's PrivateUse1 back end, set up from Python, and a dispatch mode. Where CUDA raises for operands on two devices, so does
it (`MixError`); it counts kernels and synchronisations, of each stage and with the place in our code they come from.
What it does not show: rounding of another device, streams, races, and kernels that CUDA lacks.

    import fake_device                        # before autograd first runs: in a process of its own
    with fake_device.FakeDevice() as device, device.stage("deeppoly") as count:
        absint.verify(net, inputs, labels, eps, device="fakegpu")
    print(count.kernels, count.syncs, count.places.most_common(5))
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, Self

import numpy as np
import torch
from fake_launches import Cost, Operation
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing

from absint.numeric.backend import register_device

NAME = "fakegpu"
RATE = 2e9        # products a second, as of the CPU
GIB = 1 << 30
_COPIES = ("_to_copy", "copy_")
_INDEXED = ("index", "index_put", "_index_put_impl", "_unsafe_index", "_unsafe_index_put")


class MixError(RuntimeError):
    """Operands on two devices where CUDA refuses them."""


# ---- setting up ----------------------------------------------------------------------------------------------------------


class _Module:
    """What `torch.fakegpu` answers; `memory`: bytes that it claims to have."""

    memory = 8 * GIB

    def is_initialized(self) -> bool:
        return True

    def is_available(self) -> bool:
        return True

    def current_device(self) -> int:
        return 0

    def device_count(self) -> int:
        return 1

    def _is_in_bad_fork(self) -> bool:
        return False

    def manual_seed_all(self, seed: int) -> None:
        """Its random numbers are those of the CPU."""

    def synchronize(self, device: object = None) -> None:
        """Nothing runs behind the host's back."""

    def mem_get_info(self, device: object = None) -> tuple[int, int]:
        """(free, total) bytes."""
        return self.memory, self.memory


_MODULE = _Module()
_state: dict[str, str | None] = {}


def why_not() -> str | None:
    """Why there is no such device here, in one line; None where it works. The first call sets it up, for the whole process."""
    if "reason" not in _state:
        _state["reason"] = _set_up()
    return _state["reason"]


def _set_up() -> str | None:
    try:
        from torch.utils.backend_registration import _setup_privateuseone_for_python_backend
    except ImportError:
        return f"torch {torch.__version__} cannot set up a back end from Python (2.10 and later can)"
    try:
        _setup_privateuseone_for_python_backend(NAME, backend_module=_MODULE)
        register_device(NAME, RATE)
        with FakeDevice():
            x = torch.ones(2, 2, dtype=torch.float64).to(NAME).requires_grad_()
            (slope,) = torch.autograd.grad((x @ x).sum(), x)
            right = slope.device.type == NAME and slope.cpu().tolist() == [[4.0, 4.0], [4.0, 4.0]]
    except (AttributeError, TypeError, RuntimeError, NotImplementedError) as error:
        said = str(error).splitlines()[0] if str(error) else ""
        return f"torch {torch.__version__} differs in its private API: {type(error).__name__}: {said}"
    return None if right else f"torch {torch.__version__} computes other gradients through a back end of Python"


# ---- tensors -------------------------------------------------------------------------------------------------------------


class FakeTensor(Tensor):
    """A tensor of the device; `host` holds its numbers.  literal: a number of Python's, which CUDA would have kept on the host."""

    host: Tensor
    literal = False
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @staticmethod
    def __new__(cls, host: Tensor) -> FakeTensor:
        made: FakeTensor = torch.Tensor._make_wrapper_subclass(
            cls, host.size(), strides=host.stride(), storage_offset=host.storage_offset(), dtype=host.dtype,
            device=torch.device(NAME, 0), requires_grad=False)
        made.host = host
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        return _entered[-1].run(func, args, dict(kwargs or {}))

    def tolist(self) -> Any:
        """Through the host, as CUDA does."""
        return self.cpu().tolist()

    def numpy(self, *, force: bool = False) -> np.ndarray[Any, Any]:
        """Refused, in CUDA's words."""
        raise TypeError(f"can't convert {NAME}:0 device type tensor to numpy. Use Tensor.cpu() to copy the tensor to host memory first.")

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        return self.numpy()

    def new_tensor(self, data: Any, dtype: torch.dtype | None = None, device: Any = None, requires_grad: bool = False,
                   pin_memory: bool = False) -> Tensor:
        """Made on the host, then copied."""
        made = torch.tensor(data, dtype=dtype or (None if isinstance(data, Tensor) else self.dtype)).to(device or self.device)
        return made.requires_grad_(requires_grad)

    def __repr__(self, *, tensor_contents: Any = None) -> Any:
        return f"FakeTensor({self.host!r})"


# ---- counting ------------------------------------------------------------------------------------------------------------


@dataclass
class Count:
    """Of one stage. operations: dispatched.  kernels, syncs: `fake_launches`.  by_operation: kernels.  places: syncs by place."""

    operations: int = 0
    kernels: int = 0
    syncs: int = 0
    by_operation: Counter[str] = field(default_factory=Counter)
    places: Counter[str] = field(default_factory=Counter)
    kernel_places: Counter[str] = field(default_factory=Counter)

    def add(self, operation: str, one: Cost) -> None:
        """One operation more."""
        self.operations += 1
        self.kernels += one.kernels
        self.syncs += one.syncs
        self.by_operation[operation] += one.kernels
        if one.syncs or one.kernels > 8:
            where = place()
            if one.syncs:
                self.places[f"{where} {operation}"] += one.syncs
            if one.kernels > 8:
                self.kernel_places[f"{where} {operation}"] += one.kernels


def place(package: str = "absint", depth: int = 2) -> str:
    """The innermost lines of a package that are being run, as `file:line(function) < caller`."""
    frame: FrameType | None = sys._getframe(1)
    found: list[str] = []
    while frame is not None and len(found) < depth:
        if str(frame.f_globals.get("__name__")).partition(".")[0] == package:
            file = "/".join(frame.f_code.co_filename.rsplit("/", 2)[-2:])
            found.append(f"{file}:{frame.f_lineno}({frame.f_code.co_name})")
        frame = frame.f_back
    return " < ".join(found) or "outside"


_entered: list[FakeDevice] = []


class FakeDevice(TorchDispatchMode):
    """Within it, `device="fakegpu"` works. Raises RuntimeError where `why_not` gives a reason.

    memory: bytes that the device claims to have; a result beyond it raises `torch.OutOfMemoryError`.
    """

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """No compiler is told to stay away: to import one takes a second, and to ask it a third of an operation's time."""
        return False

    def __init__(self, *, memory: int = 8 * GIB) -> None:
        super().__init__()
        self.memory = memory
        self._counted = Count()
        self.counts = {"else": self._counted}

    def __enter__(self) -> Self:
        if _state.get("reason"):
            raise RuntimeError(_state["reason"])
        self._before = torch._C._only_lift_cpu_tensors(), _MODULE.memory
        torch._C._set_only_lift_cpu_tensors(True)  # torch.tensor(..., device=) builds on the host and copies
        _MODULE.memory = self.memory
        _entered.append(self)
        super().__enter__()
        return self

    def __exit__(self, *raised: Any) -> None:
        super().__exit__(*raised)
        _entered.remove(self)
        lifted, _MODULE.memory = self._before
        torch._C._set_only_lift_cpu_tensors(lifted)

    @contextmanager
    def stage(self, name: str) -> Iterator[Count]:
        """What happens within counts under this name."""
        before, self._counted = self._counted, self.counts.setdefault(name, Count())
        try:
            yield self._counted
        finally:
            self._counted = before

    def table(self) -> str:
        """A line a stage."""
        lines = [f"{name:40s} {one.operations:10d} {one.kernels:9d} {one.syncs:7d}" for name, one in self.counts.items()]
        return "\n".join([f"{'stage':40s} {'operations':>10s} {'kernels':>9s} {'syncs':>7s}", *lines])

    # ---- one operation -----------------------------------------------------------------------------------------------

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        return self.run(func, args, dict(kwargs or {}))

    def run(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Check the operands' devices, compute on the host, count, and give the result its device."""
        tensors = list(_tensors((*args, *kwargs.values())))
        device = kwargs.get("device")
        target = None if device is None else torch.device(device).type
        if target != NAME and not any(isinstance(one, FakeTensor) for one in tensors):
            return func(*args, **kwargs)
        operation = Operation.of(func)
        crossings = _crossings(func, operation, args, kwargs, target, tensors)
        there = {key: _changed(value, _host) for key, value in kwargs.items()}
        if target is not None:
            there["device"] = torch.device("cpu")
        found = func(*_changed(args, _host), **there)
        one = operation.cost(args, kwargs, crossings)
        self._counted.add(operation.base, one)
        if one.kernels:
            self._fits(found)
        if operation.name == "copy_" and not isinstance(args[0], FakeTensor):
            return args[0]
        if target not in (None, NAME):
            return found
        made = _changed(found, FakeTensor)
        if operation.name == "scalar_tensor":
            made.literal = True
        # Views share the storage; what was written to stays the same object.
        return return_and_correct_aliasing(func, args, kwargs, made) if operation.aliases else made

    def _fits(self, found: Any) -> None:
        """Only whether a single result does: what else lies on the card is not added up."""
        size = max((one.numel() * one.element_size() for one in _tensors((found,))), default=0)
        if size > self.memory:
            raise torch.OutOfMemoryError(f"{NAME} out of memory. Tried to allocate {size / GIB:.2f} GiB.")


def _tensors(values: Iterable[Any]) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from _tensors(value)


def _changed(value: Any, change: Callable[[Any], Any]) -> Any:
    """Every tensor replaced, in lists and tuples too."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, (list, tuple)):
        return type(value)(_changed(one, change) for one in value)
    return value


def _host(value: Tensor) -> Tensor:
    return value.host if isinstance(value, FakeTensor) else value


# ---- what CUDA refuses ---------------------------------------------------------------------------------------------------


def _crossings(
    func: Any, operation: Operation, args: tuple[Any, ...], kwargs: dict[str, Any], target: str | None, tensors: list[Tensor],
) -> int:
    """How many copies between host and device it takes. Raises MixError where CUDA would raise."""
    if operation.name in _COPIES:
        ends = [isinstance(one, FakeTensor) for one in args[:2] if isinstance(one, Tensor)]
        if operation.name == "_to_copy":
            ends.append(ends[0] if target is None else target == NAME)
        return int(ends[0] != ends[1])
    if target is not None and kwargs.get("generator") is not None:
        _refuse(func, "a generator of the CPU draws for the device")
    host = [one for one in tensors if not isinstance(one, FakeTensor)]
    if not host or len(host) == len(tensors):
        return 0
    if operation.base in _INDEXED:
        return _indexing(func, args)
    if operation.mutable and not isinstance(args[0], FakeTensor):
        _refuse(func, "a result on the device goes into a CPU tensor")
    large = [tuple(one.shape) for one in host if one.dim()]
    if large or not operation.elementwise:
        _refuse(func, f"a CPU operand of shape {large[0] if large else ()}")
    if operation.name == "where":
        return len(host)        # each is copied; elsewhere such a number becomes an argument of the kernel, one at most
    if len(host) > 1:
        _refuse(func, "more than one CPU operand without axes")
    return 0


def _indexing(func: Any, args: tuple[Any, ...]) -> int:
    """Indices may lie on the CPU: each is copied, a mask as indices along each of its axes. Values must lie with the tensor."""
    if not isinstance(args[0], FakeTensor):
        _refuse(func, "indices or values on the device for a CPU tensor")
    if len(args) > 2 and not isinstance(args[2], FakeTensor) and args[2].dim():
        _refuse(func, f"values on the CPU, of shape {tuple(args[2].shape)}, put into a tensor on the device")
    host = [one for one in args[1] if isinstance(one, Tensor) and not isinstance(one, FakeTensor)]
    return sum(one.dim() if one.dtype == torch.bool else 1 for one in host)


def _refuse(func: Any, why: str) -> None:
    raise MixError(f"{func}: {why}; at {place()}")
