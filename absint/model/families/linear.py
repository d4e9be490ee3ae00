"""The linear family: y = L(x1, ..., xk) + b, exact over the reals; what it rounds is counted in terms."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from absint.model.families.rational_linear import image
from absint.model.op import Op, Shape, Smoothness, unerring
from absint.model.window import Window
from absint.numeric.rational import Rationals
from absint.numeric.rounding import Numerics, lost


@dataclass(frozen=True, eq=False)
class Monomial:
    """A linear map that sends the unit vector e_j to scale[j] e_target[j] (flat indices); scale None means all ones.

    Shape changes, permutations, paddings and entrywise scalings are of this kind: diagonal generators stay diagonal.
    """

    target: Tensor
    scale: Tensor | None = None


class Linear(Op):
    """y = L(x1, ..., xk) + b, with L linear and b constant.

    `apply_abs` is |L| entry by entry; it is mandatory and checked against the dense matrix by `absint.testing.kit`.
    forward_terms: the most products summed into one output entry, plus one for every rounding that made a coefficient.
    adjoint_terms: the same for one input entry of the adjoint. 1 means that entries are only moved, or scaled by powers of two:
    nothing rounds but by underflow.
    """

    smoothness = Smoothness.SMOOTH

    @property
    def forward_terms(self) -> int:
        """See the class; a subclass overrides it by a property or by a class attribute."""
        return 1

    @property
    def adjoint_terms(self) -> int:
        """See the class."""
        return 1

    @abstractmethod
    def apply(self, *xs: Tensor) -> Tensor:
        """L(x1, ..., xk), without the bias."""

    @abstractmethod
    def apply_abs(self, *rs: Tensor) -> Tensor:
        """|L|(r1, ..., rk) for r >= 0."""

    def apply_magnitude(self, *rs: Tensor) -> Tensor:
        """Bound on the sums of magnitudes met when the original network computes L, at |x| <= r; |L| r unless a pass composed maps."""
        return self.apply_abs(*rs)

    @property
    def execution_terms(self) -> int:
        """`forward_terms` of the original network's own operators, one behind the other."""
        return self.forward_terms

    @property
    def offset(self) -> Tensor | None:
        """b in float64, broadcastable to the output shape; None for zero."""
        return None

    @property
    def offset_error(self) -> Tensor | None:
        """Bound on the absolute error of `offset` made by passes, same shape; None for exact."""
        return None

    @property
    def offset_magnitude(self) -> Tensor | None:
        """Bound on the magnitudes met when the original network adds its constants; |b| unless terms cancelled."""
        return None if self.offset is None else self.offset.abs()

    @property
    def execution_scale(self) -> float:
        """Factor by which intermediate values of a float32 execution may exceed the inputs and the result's terms."""
        return 1.0

    def execution_error(self, size: Tensor) -> Tensor | None:
        """What a float32 execution errs by beyond a dot product's rounding, at |L||x| <= size; None for nothing."""
        return None

    def scratch(self, shape: Shape, shapes: tuple[Shape, ...]) -> int:
        """About how many entries `apply` or `adjoint` of one vector needs on a device, beside it and its image.

        shape: of the image.  shapes: of the inputs.
        """
        return 0

    @property
    def exact(self) -> bool:
        """True where entries are only moved and no constant is added."""
        return self.forward_terms <= 1 and self.offset is None

    @property
    def nonnegative(self) -> bool:
        """True where no coefficient and no constant is negative: of operands that are not negative, neither is the result.

        Bounds that were rounded outward would lose that. Default: nobody says.
        """
        return False

    @property
    def single(self) -> bool:
        """True where every output entry is a constant, or one input entry times 0 or +-2^k: then nothing rounds but what leaves
        the normal numbers (`rounding.is_power`), and `offset` is 0 wherever an input entry counts.
        """
        return self.exact

    def lost(self, image: Tensor, xs: tuple[Tensor, ...], num: Numerics) -> Tensor:
        """Bound on |image - (L(xs) + b)| for a `single` operator and image = forward(*xs), or apply_abs(*xs) and no b."""
        if self.exact:
            return torch.zeros_like(image)
        touched = self.apply_abs(*((x != 0).to(x.dtype) for x in xs)) > 0
        error = lost(image.detach(), touched, num)
        if self.offset is None or not num.rounding:
            return error
        # The difference between a number and its cast is exact.
        return error + (self.offset - self.offset.to(image.dtype).to(self.offset)).abs().to(image)

    @property
    def faithful(self) -> bool:
        """True where `apply` and `offset` hold the network's very coefficients, none of them rounded on its way here.

        Default: where entries are only moved and the constants have no error. Other members say so from their own fields.
        """
        return self.forward_terms <= 1 and unerring(self.offset_error)

    def rational(self, *xs: Rationals) -> Rationals | None:
        """By the images of unit vectors, which are coefficients and round nothing."""
        return image(self, xs) if self.faithful else None

    def offset_as(self, like: Tensor) -> Tensor | None:
        """`offset` in the format and on the device of `like`."""
        return None if self.offset is None else self.constant("offset", like)

    def forward(self, *xs: Tensor) -> Tensor:
        """L(x) + b."""
        y = self.apply(*xs)
        b = self.offset_as(y)
        return y if b is None else y + b

    def adjoint(self, y: Tensor, shapes: tuple[Shape, ...]) -> tuple[Tensor, ...]:
        """L^T y, one tensor per input. y: (rows, *output). Default: vector-Jacobian product of `apply`."""
        xs = [torch.zeros((len(y), *s), dtype=y.dtype, device=y.device, requires_grad=True) for s in shapes]
        # The coefficients may be parameters: then the result has a gradient though the rows have none.
        recorded = torch.is_grad_enabled() and (y.requires_grad or any(c.requires_grad for c in self.constants()))
        with torch.enable_grad():
            image = self.apply(*xs)
            return tuple(torch.autograd.grad(image, xs, y, create_graph=recorded))

    def windows(self, window: Window, shapes: tuple[Shape, ...]) -> tuple[Window, ...] | None:
        """What the entries in a window of the result read of each input (C, *spatial); None where that is no window, or not known."""
        return None

    def adjoint_within(self, y: Tensor, window: Window) -> tuple[Tensor, ...]:
        """L^T y where y (rows, C, *window) is zero elsewhere, within what `windows` names. Entries in padding may have any value."""
        raise NotImplementedError(f"{type(self).__name__} names windows and has no adjoint within them")

    def patch_size(self, size: Shape, shape: Shape) -> Shape | None:
        """Of the window of the result in which the image lies of any x (C, *spatial) that is zero outside of a window of `size`.

        shape: of the one input.  None where that is no window, or not known.
        """
        return None

    def patch_corner(self, corner: Tensor) -> Tensor:
        """(R, rank) lowest positions of the images' windows, from those of the inputs'. They may lie beyond the image."""
        raise NotImplementedError(f"{type(self).__name__} names the size of windows and not where they are")

    def patch(self, x: Tensor, corner: Tensor, shape: Shape) -> Tensor:
        """L x within `patch_size`, (R, C', *window), for x (R, C, *window) zero beyond the image. Entries beyond the image of the
        result may have any value.
        """
        raise NotImplementedError(f"{type(self).__name__} names windows and has no image within them")

    def part(self, position: int, x: Tensor, shapes: tuple[Shape, ...]) -> Tensor:
        """L with every input but one zero. Default: by zeros."""
        zeros = [x.new_zeros((len(x), *s)) for s in shapes]
        return self.apply(*(x if k == position else z for k, z in enumerate(zeros)))

    def monomial(self, shape: Shape) -> Monomial | None:
        """The map as a monomial one for a single input of that shape, or None."""
        return None

    def gathered(self, shape: Shape) -> bool:
        """Whether `columns` of an input of that shape hold the coefficients themselves, converted once and not computed, for the price of
        a gather: then sums of their products err as `apply` does.
        """
        return False

    def columns(self, index: Tensor, shape: Shape, like: Tensor) -> Tensor:
        """L e_j for flat indices j of a single input of that shape: (len(index), *output). Default: by unit vectors."""
        units = like.new_zeros((len(index), prod(shape)))
        units[torch.arange(len(index), device=like.device), index] = 1
        return self.apply(units.reshape(len(index), *shape))

    def unit_rows(self, index: Tensor, shape: Shape, shapes: tuple[Shape, ...], like: Tensor) -> tuple[Tensor, ...]:
        """L^T e_i for flat indices i of the output (of shape `shape`): rows per input. Default: adjoint of unit vectors."""
        units = like.new_zeros((len(index), prod(shape)))
        units[torch.arange(len(index), device=like.device), index] = 1
        return self.adjoint(units.reshape(len(index), *shape), shapes)
