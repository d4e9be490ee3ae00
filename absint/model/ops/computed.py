"""Constants that the network itself computes from others, with rounding: as coefficients of an operator, and as a tensor of their own."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor

from absint.model.families.linear import Linear
from absint.model.op import Shape
from absint.model.window import Window


@dataclass(frozen=True, eq=False)
class ComputedCoefficients(Linear):
    """`base`, whose coefficients are those of the network up to a relative error of gamma_terms in float64.

    shift_error: bound on what the offset errs by, beyond what `base` says of it; None for nothing.
    more_terms, reach: executions compute the coefficients, too, and so err by gamma_{n + more_terms} of `reach`, an operator of the same
    kind with larger coefficients, or of `base` where it is None.  more_terms is infinite where nobody knows.
    shift_magnitude: in place of `Linear.offset_magnitude`; None for that of `base`.
    """

    base: Linear
    terms: int = 0
    shift_error: Tensor | None = None
    more_terms: float = 0
    reach: Linear | None = None
    shift_magnitude: Tensor | None = None
    arity = None

    @property
    def channel_axis(self) -> int | None:  # type: ignore[override]
        """As `base`."""
        return self.base.channel_axis

    @property
    def faithful(self) -> bool:
        """Never."""
        return False

    @property
    def single(self) -> bool:
        """Never: what it moves or scales may have an error of its own."""
        return False

    @property
    def exact(self) -> bool:
        """Never."""
        return False

    @property
    def forward_terms(self) -> int:
        """With those that went into the coefficients."""
        return self.base.forward_terms + self.terms

    @property
    def adjoint_terms(self) -> int:
        """The same."""
        return self.base.adjoint_terms + self.terms

    @property
    def execution_terms(self) -> int:
        """With those that executions need for the coefficients."""
        return self.base.execution_terms + (0 if self.more_terms == inf else int(self.more_terms))

    @property
    def execution_scale(self) -> float:
        """Infinite where nobody knows."""
        return inf if self.more_terms == inf else self.base.execution_scale

    def execution_error(self, size: Tensor) -> Tensor | None:
        """As `base`."""
        return self.base.execution_error(size)

    @property
    def offset(self) -> Tensor | None:
        """As `base`; zeros where only an error is known."""
        if self.base.offset is None and self.shift_error is not None:
            return torch.zeros_like(self.shift_error)
        return self.base.offset

    @property
    def offset_error(self) -> Tensor | None:
        """Both errors."""
        known = self.base.offset_error
        if self.shift_error is None or known is None:
            return known if self.shift_error is None else self.shift_error
        return (known + self.shift_error) * (1 + 2.0**-40)

    @property
    def offset_magnitude(self) -> Tensor | None:
        """What executions meet in the offset."""
        return self.base.offset_magnitude if self.shift_magnitude is None else self.shift_magnitude

    def constants(self) -> tuple[Tensor, ...]:
        """As `base`."""
        return self.base.constants()

    def fits(self, dtype: torch.dtype) -> bool:
        """As `base`."""
        return self.base.fits(dtype)

    def output_shape(self, *shapes: Shape) -> Shape:
        """As `base`."""
        return self.base.output_shape(*shapes)

    def apply(self, *xs: Tensor) -> Tensor:
        """As `base`."""
        return self.base.apply(*xs)

    def apply_abs(self, *rs: Tensor) -> Tensor:
        """As `base`."""
        return self.base.apply_abs(*rs)

    def apply_magnitude(self, *rs: Tensor) -> Tensor:
        """|M| r."""
        return self.base.apply_magnitude(*rs) if self.reach is None else self.reach.apply_abs(*rs)

    def forward(self, *xs: Tensor) -> Tensor:
        """As `base`."""
        return self.base.forward(*xs)

    def scratch(self, shape: Shape, shapes: tuple[Shape, ...]) -> int:
        """As `base`."""
        return self.base.scratch(shape, shapes)

    def adjoint(self, y: Tensor, shapes: tuple[Shape, ...]) -> tuple[Tensor, ...]:
        """As `base`."""
        return self.base.adjoint(y, shapes)

    def windows(self, window: Window, shapes: tuple[Shape, ...]) -> tuple[Window, ...] | None:
        """As `base`."""
        return self.base.windows(window, shapes)

    def adjoint_within(self, y: Tensor, window: Window) -> tuple[Tensor, ...]:
        """As `base`."""
        return self.base.adjoint_within(y, window)

    def part(self, position: int, x: Tensor, shapes: tuple[Shape, ...]) -> Tensor:
        """As `base`."""
        return self.base.part(position, x, shapes)

    def columns(self, index: Tensor, shape: Shape, like: Tensor) -> Tensor:
        """As `base`."""
        return self.base.columns(index, shape, like)

    def unit_rows(self, index: Tensor, shape: Shape, shapes: tuple[Shape, ...], like: Tensor) -> tuple[Tensor, ...]:
        """As `base`."""
        return self.base.unit_rows(index, shape, shapes, like)


@dataclass(frozen=True, eq=False)
class Fixed(Linear):
    """The same tensor whatever the operand is: y = 0 x + value.

    value_error: bound on its error.  value_magnitude: see `Linear.offset_magnitude`.
    """

    value: Tensor
    value_error: Tensor | None = None
    value_magnitude: Tensor | None = None

    @property
    def faithful(self) -> bool:
        """Where it has no error."""
        return self.value_error is None

    @property
    def single(self) -> bool:
        """No: it may have an error."""
        return False

    @property
    def offset(self) -> Tensor | None:
        """The tensor."""
        return self.value

    @property
    def offset_error(self) -> Tensor | None:
        """Its error."""
        return self.value_error

    @property
    def offset_magnitude(self) -> Tensor | None:
        """Of what executions have in its place."""
        return super().offset_magnitude if self.value_magnitude is None else self.value_magnitude

    def output_shape(self, *shapes: Shape) -> Shape:
        """The tensor's."""
        return tuple(self.value.shape)

    def apply(self, *xs: Tensor) -> Tensor:
        """Zeros."""
        return xs[0].new_zeros(len(xs[0]), *self.value.shape)

    apply_abs = apply

    def forward(self, *xs: Tensor) -> Tensor:
        """The tensor, for each instance."""
        return self.constant("value", xs[0]).expand(len(xs[0]), *self.value.shape)

    def adjoint(self, y: Tensor, shapes: tuple[Shape, ...]) -> tuple[Tensor, ...]:
        """Zeros."""
        return (y.new_zeros(len(y), *shapes[0]),)

    def columns(self, index: Tensor, shape: Shape, like: Tensor) -> Tensor:
        """Zeros."""
        return like.new_zeros(len(index), *self.value.shape)

