"""Proofs of `global_robustness.py` under attack: verified latents, evaluated by the files alone, and refuted ones for comparison."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from clever_data import AbsentError
from clever_runner import DONE, Found, Stage, Unit, kept, relation, table
from global_calls import NEAREST, RESCALED, Model, Pair
from global_stages import ROBUST, Visit

import absint
from absint.analyses.global_robustness.grids import pixels_of
from absint.analyses.global_robustness.latents import NORMAL, drawn

FOR_COMPARISON = "0.03"     # where enough is refuted
TRIED = (("0.003", "verified"), ("0.01", "verified"), (FOR_COMPARISON, "falsified"))
RANDOM, STARTS, STEPS = 1000, 10, 20
Array = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Attacked:
    """Of one latent. points: evaluated.  misread: among them.  lead: the least lead of the class.  latent: where."""

    points: int
    misread: int
    lead: float
    latent: Array


class Attack:
    """1,000 random points and 20 steps of descent from 10 starts in a ball, every one evaluated by onnxruntime: G, then C."""

    def __init__(self, pair: Pair) -> None:
        """pair: rescaled."""
        self.label, self.seed = pair.label, pair.seed
        self.draws, self.scores = Model(pair.generator), Model(pair.classifier)
        self.graph = absint.load(pair.classifier, compose=pair.generator, rescale=True)

    def leads(self, latents: Array) -> npt.NDArray[np.float32]:
        """(n,): by how much the class leads all others, negative where it is misread."""
        unit = ((self.draws(latents).astype(np.float64) + 1) / 2).astype(np.float32)
        scores = self.scores(unit)
        others = np.delete(scores, self.label, axis=1).max(1)
        return scores[:, self.label] - others

    def around(self, draw: int, latent: Array, eps: float) -> Attacked:
        """latent: (size,) float32, a number of the run. No point is further than eps: the files compute at float32 points."""
        inside = eps * (1 - 1e-3)        # what rounding to float32 moves is far less than the rest
        random = np.random.default_rng([self.seed, draw])
        points = latent.astype(np.float64) + random.uniform(-inside, inside, (RANDOM, latent.size))
        every = np.concatenate([points, *self._descent(points[:STARTS], latent, inside)]).astype(np.float32)
        assert np.abs(every.astype(np.float64) - latent).max() <= eps
        leads = self.leads(every)
        least = int(leads.argmin())
        return Attacked(len(every), int((leads <= 0).sum()), float(leads[least]), every[least])

    def _descent(self, starts: npt.NDArray[np.float64], latent: Array, inside: float) -> Iterator[npt.NDArray[np.float64]]:
        """After each step. Signs of the gradient of the lead over the best other class, an eighth of the radius a step."""
        center = torch.from_numpy(latent).double()
        x = torch.from_numpy(starts)
        for _ in range(STEPS):
            x.requires_grad_()
            scores = self.graph(x)
            lead = scores[:, self.label] - scores.index_fill(1, torch.tensor([self.label]), -inf).amax(1)
            (gradient,) = torch.autograd.grad(lead.sum(), x)
            x = (x.detach() - inside / 8 * gradient.sign()).clamp(center - inside, center + inside)
            yield x.numpy()


def units(visit: Visit) -> list[Unit]:
    """Each pair whose robustness was asked, at both radii."""
    def attacked(generator: str, classifier: str) -> Unit:
        name = f"{generator}-{classifier}"

        def attack(visit: Visit, seconds: float) -> Found:
            found = kept(visit, f"robust-{name}") or {}
            if found.get("state") != DONE:
                raise AbsentError(f"robust-{name} is not done")
            tried, grids = Attack(visit.pair(generator, classifier, RESCALED)), visit.out / "grids" / f"attack-{name}"
            return {"rows": [attacked_row(tried, eps, verdict, found["nearest"][eps][verdict], grids) for eps, verdict in TRIED]}

        return Unit(f"attack-{name}", 1, attack)

    return [attacked(*pair) for pair in ROBUST]


def attacked_row(attack: Attack, eps: str, verdict: str, draws: Sequence[int], grids: Path) -> Found:
    """What became of these draws, and a picture: each beside the point that the class leads least on."""
    (size,) = attack.graph.input.shape
    latents = [drawn(NORMAL, attack.seed, attack.label, draw, 1, size)[0] for draw in draws]
    found = [attack.around(draw, latent, float(eps)) for draw, latent in zip(draws, latents, strict=True)]
    if found:
        both = np.stack([one for latent, near in zip(latents, found, strict=True) for one in (latent, near.latent)])
        _picture(attack.draws(both), grids / f"{verdict}-{eps}.png")
    return {"eps": eps, "verdict": verdict, "latents": len(found), "points": sum(one.points for one in found),
            "misread": sum(one.misread > 0 for one in found), "lead": min((one.lead for one in found), default=None)}


def _picture(images: Array, path: Path) -> None:
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = pixels_of(torch.from_numpy(images))
    if pixels is not None:
        Image.fromarray(pixels, "RGB").save(path)


def page(visit: Visit, found: Mapping[str, Found]) -> Iterator[str]:
    """Verified latents, none of which may be misread anywhere; refuted ones say whether the attack finds anything at all."""
    yield (f"The {NEAREST} latents that the class leads least on, of those that are verified (at {FOR_COMPARISON}: of those that are "
           f"refuted, but right themselves): {RANDOM:,} random points in the ball and {STEPS} steps of descent from {STARTS} starts, each "
           "evaluated in onnxruntime, the generator's file, then the classifier's.")
    yield ""
    rows = [(unit.removeprefix("attack-"), one) for unit, kept_ in found.items() for one in kept_["rows"]]
    yield from table(("generator and classifier", "eps", "latents", "points", "latents misread somewhere", "least lead"), [
        (name, one["eps"], f"{one['latents']} {one['verdict']}", one["points"], one["misread"], one["lead"]) for name, one in rows])
    proofs = [one for _, one in rows if one["verdict"] == "verified"]
    yield relation("no verified latent is misread anywhere", not any(one["misread"] for one in proofs) if proofs else None)


ATTACKS = Stage("proofs under attack", units, page)
