"""From a run to what is computed: checks of the options with the network and data at hand, and the numbers they stand for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf, isfinite, prod

import torch

from absint.analyses.clever.between import Between
from absint.analyses.clever.options import RADII, CleverOptions
from absint.analyses.clever.settings import TARGETS, UNTARGETED, ScoreSettings, Transformed
from absint.analyses.clever.weibull import FEWEST, check_level
from absint.analyses.radius.bisection import BisectionSettings
from absint.analyses.verify.settings import ProofSettings
from absint.attacks.foolbox_attacks import check_foolbox, parse_attacks
from absint.contract.run import Run
from absint.errors import UnsupportedError, UsageError
from absint.model.graph import Graph
from absint.numeric import backend
from absint.numeric.decimal import parse_eps
from absint.problem.live import norm_of
from absint.problem.transforms import transform_of
from absint.search.names import domain_of

DEFAULT = "default"             # the attacks that suit the norm
_MOST = 100_000                 # batches
_FINE = 2.0**-13                # an offset that is smaller, beside the data's range, needs float64


@dataclass(frozen=True, eq=False)
class ScoreTask:
    """settings: of the samples.  words: of the targets.  transform: what stands before the network, or None.  level: of intervals.

    between: what scores are put between, or None.
    """

    settings: ScoreSettings
    words: tuple[str, ...]
    transform: Transformed | None
    level: float
    notes: tuple[str, ...] = ()
    between: Between | None = None


def check_options(options: CleverOptions) -> None:
    """Raise UsageError for what is wrong whatever the network: E-CLEVER-ORDER, -NORM, -BATCHES, -SAMPLES, -RADIUS, -TARGETS, -OPTION."""
    if options.order not in (1, 2):
        raise UsageError("E-CLEVER-ORDER", f"there is no order {options.order}", where="--order", hint="1 or 2")
    norm = norm_of(options.norm)
    if options.order == 2 and norm != "l2":
        raise UsageError("E-CLEVER-NORM", f"the second order is defined for norm l2, not {norm}", where="--norm",
                         hint="--order 1 takes any norm; or --norm l2")
    if options.batches < FEWEST:
        raise UsageError("E-CLEVER-BATCHES", f"{options.batches} batches are too few to tell where their maxima end", where="--batches",
                         hint=f"{FEWEST} at least; 100 are usual")
    if options.batches > _MOST:
        raise UsageError("E-CLEVER-BATCHES", f"{options.batches} batches are more than a fit takes", where="--batches",
                         hint=f"{_MOST} at most; 100 are usual")
    if options.samples < 1:
        raise UsageError("E-CLEVER-SAMPLES", f"{options.samples} samples a batch", where="--samples", hint="1 at least; 200 are usual")
    radius = options.radius
    if radius is not None and not (radius > 0 and isfinite(radius)):
        raise UsageError("E-CLEVER-RADIUS", f"a ball of radius {radius:g} holds nothing to sample", where="--radius",
                         hint=f"positive; {RADII[norm]:g} is usual for {norm}")
    if options.curvature not in ("spectral", "neg"):
        raise UsageError("E-CLEVER-OPTION", f"there is no curvature '{options.curvature}'", where="--curvature", hint="spectral or neg")
    if options.dtype not in (None, "float32", "float64"):
        raise UsageError("E-DTYPE", f"there is no format '{options.dtype}' for samples", where="--dtype", hint="float32 or float64")
    check_level(options.level)
    if options.seed < 0:
        raise UsageError("E-CLEVER-OPTION", f"a seed of {options.seed}", where="--seed", hint="a whole number, 0 or more")
    words_of(options.targets)


def words_of(text: str) -> tuple[str, ...]:
    """The targets asked for, as words of TARGETS or decimal numbers of classes. Raises UsageError E-CLEVER-TARGETS."""
    words = tuple(_plain(word.strip()) for word in text.split(","))
    wrong = [word for word in words if word not in TARGETS and not (word.isascii() and word.isdigit() and len(word) < 10)]
    if wrong or len(set(words)) < len(words) or (UNTARGETED in words and len(words) > 1):
        said = f"no target: {', '.join(map(repr, wrong))}" if wrong else f"'{text}' names a class twice"
        raise UsageError("E-CLEVER-TARGETS", said, where="--targets",
                         hint="runner-up, random, least and numbers of classes, with commas between them; or untargeted")
    return words


def _plain(word: str) -> str:
    """One spelling of each: '01' is class 1."""
    return str(int(word)) if word.isascii() and word.isdigit() else word.replace("top2", "runner-up")


def check_scores(graph: Graph) -> None:
    """Raise UnsupportedError E-CLEVER-SOFTMAX for a network that ends in probabilities: their gradients vanish where it is sure."""
    from absint.model.scores import before_softmax

    name = before_softmax(graph)
    if name is not None:
        raise UnsupportedError("E-CLEVER-SOFTMAX", "the network ends in a softmax, whose gradients vanish where it is sure: scores would "
                               "be far too large", where=graph.source.path or None, hint=f"take what stands before it: --scores {name}")


def asked_of(run: Run[CleverOptions]) -> ScoreTask:
    """Raises UsageError E-CLEVER-RADIUS beyond the data range, E-CLEVER-TARGETS for no such class, UnsupportedError E-CLEVER-SMOOTH."""
    options, graph = run.options, run.network
    words = words_of(options.targets)
    beyond = [word for word in words if word not in TARGETS and int(word) >= graph.output.size]
    if beyond:
        raise UsageError("E-CLEVER-TARGETS", f"the network has no class {', '.join(beyond)}", where="--targets",
                         hint=f"its classes are 0 to {graph.output.size - 1}")
    norm, radius = norm_of(options.norm), float(options.radius if options.radius is not None else RADII[norm_of(options.norm)])
    size = prod(graph.input.shape)
    check_radius(norm, radius, options.clip, size, stated=options.radius is not None)
    notes = smooth_notes(graph) if options.order == 2 else ()
    transform = None if options.transform is None else transform_of(options.transform, options.clip, graph.input.shape,
                                                                             None if run.whole is None else run.whole.axes)
    device = backend.device(options.device)
    settings = ScoreSettings(
        options.order, norm, min(radius, widest(norm, options.clip, size)), options.clip, options.batches, options.samples,
        options.curvature, options.seed, dtype_of(options.dtype, norm, radius, options.clip, size), device,
        int(options.memory or backend.default_memory(device)), run.timeout, run.end, backend.rate(device))
    return ScoreTask(settings, words, transform, options.level, notes, between_of(run, settings, transform))


def between_of(run: Run[CleverOptions], settings: ScoreSettings, transform: Transformed | None) -> Between | None:
    """What --certify and --attack ask for. Raises E-CLEVER-TRANSFORM for a proof behind a transform, and what domains and attacks do."""
    options, radius = run.options, parse_eps(settings.radius, "--radius")
    tolerance = radius / 100 if options.tolerance is None else parse_eps(options.tolerance, "--tolerance")
    if options.certify is None and options.attack in (None, "none"):
        return None
    if options.certify is not None and transform is not None:
        raise UsageError("E-CLEVER-TRANSFORM", "a proof would be of the network without the transform before it", where="--certify",
                         hint="leave out --transform or --certify; --attack takes both")
    attacks = None
    if options.attack not in (None, "none"):
        attacks = parse_attacks("" if options.attack == DEFAULT else options.attack, settings.norm)
        check_foolbox()
    words = words_of(options.targets)
    limit = run.timeout / (run.network.output.size - 1 if UNTARGETED in words else len(words))
    proof = ProofSettings(None, device=options.device, batch=options.batch, memory=settings.memory, timeout=limit, on_stage=run.stage)
    domain = None if options.certify is None else domain_of(options.certify)
    if domain is not None:
        BisectionSettings(radius, tolerance, replace(proof, domain=domain), settings.norm, options.clip)   # refuses what cannot be searched
    return Between(domain, attacks, settings.norm, radius, tolerance, options.clip, options.seed, transform, proof)


def widest(norm: str, clip: tuple[float, float] | None, size: int) -> float:
    """The greatest distance of two inputs in the data range."""
    return inf if clip is None else float(clip[1] - clip[0]) * {"l1": float(size), "l2": size**0.5, "linf": 1.0}[norm]


def check_radius(norm: str, radius: float, clip: tuple[float, float] | None, size: int, *, stated: bool) -> None:
    """A ball that holds the whole data range says nothing of its own; a default one is cut to it."""
    most = widest(norm, clip, size)
    if stated and radius > most:
        raise UsageError("E-CLEVER-RADIUS", f"a radius of {radius:g} goes beyond the data range, in which no two inputs are further apart "
                         f"than {most:g}", where="--radius", hint=f"smaller, such as {min(RADII[norm], most / 4):g}; or --clip none")


def dtype_of(word: str | None, norm: str, radius: float, clip: tuple[float, float] | None, size: int) -> torch.dtype:
    """None: float32, unless its numbers are too far apart for the offsets of samples."""
    if word is not None:
        return torch.float64 if word == "float64" else torch.float32
    entry = radius / {"l1": float(size), "l2": size**0.5, "linf": 1.0}[norm]
    largest = 1.0 if clip is None else max(abs(clip[0]), abs(clip[1]))
    return torch.float64 if entry < _FINE * largest else torch.float32


def smooth_notes(graph: Graph) -> tuple[str, ...]:
    """Raise UnsupportedError E-CLEVER-SMOOTH unless the network has Hessians; a note where they miss the kinks of maxima."""
    from absint.model.smoothness import kinks

    found = kinks(graph)
    if found.activations:
        raise UnsupportedError(
            "E-CLEVER-SMOOTH", f"the second order needs twice differentiable activations; {len(found.activations)} nodes have none",
            where="--order 2", details=found.activations[:10],
            hint="their Hessians are zero or jump, and the score would mean nothing: --order 1")
    notes = []
    if found.maxima:
        notes.append(f"{len(found.maxima)} maxima (max-pools) have kinks, whose curvature no Hessian shows: {', '.join(found.maxima[:3])}")
    if found.ends:
        notes.append(f"{len(found.ends)} functions have kinks where they are first defined, such as sqrt at 0: {', '.join(found.ends[:3])}")
    return tuple(notes)
