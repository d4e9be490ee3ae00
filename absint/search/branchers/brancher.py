"""What a brancher offers: how nodes of one kind are bounded and divided. What is divided next, and for how long, is not its business."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from absint.engine.evidence import Leaf
from absint.numeric.backend import Budget
from absint.search.frontier import Nodes


@dataclass(frozen=True, eq=False)
class Grown:
    """What became of some nodes. open: children, each with its own bound, and nodes that there was no time for.

    closed, held: (tree (k,), bound (k,)) of leaves that are proved, and of leaves that nothing can be done about.
    Sound: the children, closed and held leaves of a node cover it, and a bound holds under the assumptions of its own node alone.
    """

    open: Nodes | None = None
    closed: tuple[Tensor, Tensor] | None = None
    held: tuple[Tensor, Tensor] | None = None

    @staticmethod
    def joined(parts: Sequence[Grown]) -> Grown:
        """Of parts of the nodes, side by side."""
        opened = [part.open for part in parts if part.open is not None and len(part.open)]
        return Grown(Nodes.joined(opened) if opened else None, _leaves([p.closed for p in parts]), _leaves([p.held for p in parts]))


def _leaves(parts: Sequence[tuple[Tensor, Tensor] | None]) -> tuple[Tensor, Tensor] | None:
    there = [part for part in parts if part is not None and len(part[0])]
    return (torch.cat([tree for tree, _ in there]), torch.cat([bound for _, bound in there])) if there else None


@dataclass(frozen=True, eq=False)
class Trees:
    """Which disjunct (T,) of which instance (T,) each tree proves; both int64 on the CPU."""

    instance: Tensor
    disjunct: Tensor

    def __len__(self) -> int:
        return len(self.instance)

    @staticmethod
    def of(open_: Tensor) -> Trees:
        """One for each entry of the mask (batch, disjuncts)."""
        instance, disjunct = open_.cpu().nonzero(as_tuple=True)
        return Trees(instance, disjunct)


class Brancher(ABC):
    """One kind of division over the trees of one batch. It holds what its nodes share; the frontier holds the nodes.

    trees: those asked.
    """

    trees: Trees

    @abstractmethod
    def able(self) -> Tensor:
        """(T,) bool: trees that this kind of division may prove."""

    @abstractmethod
    def roots(self, trees: Tensor, refuted: Tensor) -> Nodes:
        """The undivided nodes of the trees `trees` (k,), with `refuted` (k,), the bounds known before."""

    @abstractmethod
    def expand(self, nodes: Nodes, budget: Budget) -> Grown:
        """Bound and divide some nodes. Raises DeadlineError, after which the nodes are as good as new."""

    def proved(self, lower: Tensor) -> tuple[Tensor, Tensor]:
        """What bounds (T,) of the trees in the frontier say of the disjuncts: proved, and claimed where a solver's word counts.

        Default: they say what they are.
        """
        return lower, lower

    @property
    def spent(self) -> Tensor:
        """(T,) bool: trees whose own limits are reached. Default: none."""
        return torch.zeros(len(self.trees), dtype=torch.bool)

    @property
    def notes(self) -> list[tuple[int, str]]:
        """(instance, what the user should know), so far."""
        return []

    def limit(self, tree: int) -> str | None:
        """Which limit of its own left a tree open; None for none."""
        return None

    def leaves(self, tree: int) -> Sequence[Leaf] | None:
        """Why each leaf of a closed tree is closed, with its path, where a context has a recorder; None where that is not known.

        Asked once a tree.
        """
        return None

    def forget(self, trees: Tensor) -> None:  # noqa: B027 (most hold nothing)
        """Free what is held of trees in the mask (T,), which are no longer grown."""

    def batch(self, budget: Budget) -> int:
        """How many nodes to take at once. Default: one."""
        return 1

    def close(self) -> None:  # noqa: B027 (most hold nothing)
        """Free what is held."""
