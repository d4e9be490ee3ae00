"""What a score lies between: a proved radius of each target below it, and the nearest counterexample found above it.

Both are about one row, f_c - f_t: no counterexample of another class counts. All are cut off at the radius of the sampled ball.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from math import inf
from typing import Any

from torch import Tensor

from absint.analyses.clever.settings import Images, Transformed
from absint.analyses.radius.bisection import BisectionSettings, RadiusResult, radii
from absint.analyses.verify.settings import ProofSettings
from absint.attacks.distances import Attacked, DistanceSettings, attacked_distances
from absint.attacks.foolbox_attacks import AttackPlan
from absint.errors import PluginError
from absint.model.graph import Graph
from absint.numeric.decimal import float_above, float_below
from absint.search.names import Method
from absint.search.strategy import Strategy

Filled = Mapping[str, Any]      # fields of `TargetScore`


@dataclass(frozen=True, eq=False)
class Sides:
    """found: of each image and target, the fields of `TargetScore` that a proof and an attack fill.  time_s: an image's share.

    short: images of which a time limit left a proof or an attack unfinished.
    """

    found: tuple[tuple[Filled, ...], ...]
    short: frozenset[int]
    time_s: float


@dataclass(frozen=True, eq=False)
class Between:
    """domain: what proves, or None.  attacks: what looks for counterexamples, () for what suits the norm, None for nothing.

    tolerance: of the proved radius, exact.  norm, radius, clip: of the ball.  transform: before the network, for attacks alone.
    proof: the engine's options but for the domain.
    """

    domain: Method | None
    attacks: tuple[AttackPlan, ...] | None
    norm: str
    radius: Fraction
    tolerance: Fraction
    clip: tuple[float, float] | None
    seed: int
    transform: Transformed | None
    proof: ProofSettings

    def of(self, graph: Graph, images: Images, left: float) -> Sides:
        """For each image and target what is found. left: seconds for all of it; attacks take half of them at most where a proof waits.

        Raises PluginError E-CONTRADICTION where a proved radius reaches a proved counterexample.
        """
        begin = time.monotonic()
        targets = images.target.shape[1]
        other = (images.target != images.original[:, None]).flatten().cpu()
        pairs = other.nonzero().flatten()
        row = pairs // targets
        center, target = images.center.cpu()[row], images.target.cpu().flatten()[pairs]
        original = images.original.cpu()[row]
        names = [images.index[k] for k in row.tolist()]
        most = min(left, self.proof.timeout * len(images)) / (1 if self.domain is None else 2)
        attacked = self._attacked(graph, (center, original, target), most)
        proved = self._proved(graph, center, target, left - (time.monotonic() - begin))
        found = [self._filled(k, name, attacked, proved) for k, name in enumerate(names)]
        whole: list[Filled] = [{}] * len(other)
        for place, one in zip(pairs.tolist(), found, strict=True):
            whole[place] = one
        cut = set(row[[k for k, one in enumerate(proved or ()) if one.cut]].tolist())
        if attacked is not None and attacked.cut:
            cut |= set(range(len(images)))
        return Sides(tuple(tuple(whole[k:k + targets]) for k in range(0, len(whole), targets)), frozenset(cut),
                     (time.monotonic() - begin) / max(1, len(images)))

    def _attacked(self, graph: Graph, pairs: tuple[Tensor, Tensor, Tensor], left: float) -> Attacked | None:
        if self.attacks is None:
            return None
        settings = DistanceSettings(self.norm, self.radius, self.clip, self.attacks, self.seed, self.proof.memory,
                                    inf if left == inf else time.monotonic() + left)
        return attacked_distances(graph if self.transform is None else straight_through(graph, self.transform), *pairs, settings)

    def _proved(self, graph: Graph, center: Tensor, target: Tensor, left: float) -> list[RadiusResult] | None:
        if self.domain is None:
            return None
        # A domain alone is asked for proofs; what decides both ways gets to look for counterexamples.
        attack = "pgd" if isinstance(self.domain, Strategy) else None
        proof = replace(self.proof, domain=self.domain, attack=attack, total_timeout=max(left, 1e-9))
        settings = BisectionSettings(self.radius, self.tolerance, proof, self.norm, self.clip)
        found: list[RadiusResult | None] = [None] * len(center)
        for one in radii(graph, center, settings, target=target):
            found[one.index] = one
        return [one for one in found if one is not None]

    def _filled(self, place: int, name: int, attacked: Attacked | None, proved: list[RadiusResult] | None) -> Filled:
        found: dict[str, Any] = {}
        if attacked is not None:
            found |= {"attacked": float(attacked.distance[place]), "attack": attacked.by[place]}
        if proved is not None:
            one = proved[place]
            refuted = float_above(one.refuted) if isinstance(one.refuted, Fraction) else inf
            found |= {"certified": float_below(one.certified), "refuted": refuted}
            if attacked is not None and attacked.proved and found["attacked"] <= found["certified"] > 0:
                raise PluginError(
                    "E-CONTRADICTION", f"input {name} has a counterexample at {found['attacked']:g}, and {found['certified']:g} was "
                    "certified", where=str(self.domain), hint="the domain or an operator is unsound: run absint.testing.kit on it")
        return found


def straight_through(graph: Callable[[Tensor], Tensor], transform: Transformed) -> Callable[[Tensor], Tensor]:
    """x -> graph(transform(x)), whose gradient is the graph's at the transformed input: BPDA with the identity backwards.

    Source: Athalye et al., Obfuscated Gradients Give a False Sense of Security, ICML 2018, section 4.1.
    """

    def model(x: Tensor) -> Tensor:
        # The transformed input to the last bit: what is added is zero, and passes the gradient on.
        return graph(transform(x.detach()) + (x - x.detach()))

    return model
