"""Generators and classifiers: read, checked, and every generator before every classifier as one graph."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

from absint.analyses.global_robustness.options import GlobalOptions
from absint.errors import InputError, UsageError
from absint.model.composition import Fit
from absint.model.conditioned import conditioned
from absint.model.graph import Graph
from absint.model.source import Source
from absint.problem.live import composed, graph_of
from absint.problem.parsing import parse_clip, parse_numbers
from absint.problem.problem import check_classes


@dataclass(frozen=True, eq=False)
class JudgedPair:
    """A generator of a class before a classifier. graph: both, from the latent.  image: the node that holds the generator's output.

    place: among all pairs.  group: the place of its classifier and set of generators, whose classes are judged together.
    """

    place: int
    group: int
    classifier: str
    generator: str
    label: int
    graph: Graph
    image: str

    @property
    def size(self) -> int:
        """Entries of a latent."""
        return prod(self.graph.input.shape)


@dataclass(frozen=True, eq=False)
class JudgedSet:
    """A classifier and one set of generators, a class each. number: of the set, from 1."""

    classifier: str
    number: int
    pairs: tuple[JudgedPair, ...]


@dataclass(frozen=True)
class Named:
    """A generator as it was stated. label: its class."""

    label: int
    model: Any


def fit_of_images(options: GlobalOptions) -> Fit:
    """How images reach the classifier. Raises UsageError E-USAGE, E-CLIP."""
    return Fit(options.rescale, options.as_is, parse_clip(options.classifier_range, "--classifier-range"))


def stated_generators(options: GlobalOptions) -> tuple[Named, ...]:
    """What `generator` names, in order; nothing is read. Raises UsageError E-GLOBAL-GENERATOR."""
    given = options.generator
    found: list[Named] = []
    for one in given if isinstance(given, tuple) else () if given is None else (given,):
        if isinstance(one, Mapping):
            found += [Named(_label(label, str(label)), model) for label, model in one.items()]
            continue
        label, equals, file = str(one).partition("=") if isinstance(one, str) else ("", "", "")
        if not (equals and label and file):
            raise UsageError("E-GLOBAL-GENERATOR", f"no class and generator: {_shown(one)}", where="--generator",
                             hint="for example 8=G.onnx; in Python {8: 'G.onnx'}; one generator of all classes goes with --conditional")
        found.append(Named(_label(label, one), file))
    if given and not found:
        raise UsageError("E-GLOBAL-GENERATOR", "no generator is named", where="--generator", hint="for example 8=G.onnx")
    if found and options.conditional is not None:
        raise UsageError("E-USAGE", "--generator and --conditional do not go together", where="--conditional", hint="give one of them")
    return tuple(found)


def _label(value: object, text: str) -> int:
    try:
        label = int(value) if isinstance(value, (str, int)) and not isinstance(value, bool) else -1
    except ValueError:
        label = -1
    if label < 0:
        raise UsageError("E-GLOBAL-GENERATOR", f"no class: {_shown(value)}", where=f"--generator {text}"[:60],
                         hint="classes are numbers that count from 0: 8=G.onnx")
    return label


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) < 60 else f"a {type(value).__name__}"


def groups_of(options: GlobalOptions) -> tuple[JudgedSet, ...]:
    """Every classifier with every set of generators. Raises what reading and composing raise; InputError E-GLOBAL-CLASS for a class
    that a classifier does not have, E-GLOBAL-LATENT for generators whose latents differ in size."""
    classifiers = [_read(net) for net in options.net]
    for one in classifiers:
        check_classes(one)
    generators = _generators(options, classifiers)
    _check_latents(generators)
    names, before = _names(options.net, classifiers), _names([one.model for one, _ in generators], [graph for _, graph in generators])
    fit, mean, std = fit_of_images(options), _numbers(options.mean, "--mean"), _numbers(options.std, "--std")
    found: list[JudgedSet] = []
    pairs = 0
    for name, classifier in zip(names, classifiers, strict=True):
        for number, members in _sets(generators).items():
            made = []
            for k in members:
                named, generator = generators[k]
                _check_class(named.label, classifier)
                graph = composed((generator, classifier), fit, mean=mean, std=std, layout=options.layout)
                made.append(JudgedPair(pairs, len(found), name, before[k], named.label, graph, generator.output.name))
                pairs += 1
            found.append(JudgedSet(name, number, tuple(made)))
    return tuple(found)


def _generators(options: GlobalOptions, classifiers: Sequence[Graph]) -> list[tuple[Named, Graph]]:
    if options.conditional is None:
        return [(one, _read(one.model)) for one in stated_generators(options)]
    sizes = [one.output.size for one in classifiers]
    if len(set(sizes)) > 1:
        raise InputError("E-GLOBAL-CLASS", "the classifiers differ in their number of classes, which is that of the conditional generator",
                         where="--conditional", details=[f"{one.source.path or 'a graph'}: {one.output.size}" for one in classifiers],
                         hint="judge them in runs of their own")
    whole, classes = _read(options.conditional), sizes[0]
    return [(Named(label, options.conditional), conditioned(whole, label, classes, first=options.one_hot == "first"))
            for label in stated_classes(options) or range(classes)]


def stated_classes(options: GlobalOptions) -> tuple[int, ...]:
    """Of `--classes`; none for all. Raises UsageError E-GLOBAL-CLASS."""
    if options.classes is None:
        return ()
    try:
        found = tuple(int(part) for part in options.classes.split(","))
    except ValueError:
        found = (-1,)
    if min(found) < 0 or len(set(found)) < len(found):
        raise UsageError("E-GLOBAL-CLASS", f"no classes: '{options.classes}'", where="--classes", hint="for example 3,8, each once")
    return found


def _sets(generators: Sequence[tuple[Named, Graph]]) -> dict[int, list[int]]:
    """Set -> generators: the k-th one of a class belongs to the k-th set."""
    seen: Counter[int] = Counter()
    found: dict[int, list[int]] = {}
    for k, (named, _) in enumerate(generators):
        seen[named.label] += 1
        found.setdefault(seen[named.label], []).append(k)
    return found


def _check_latents(generators: Sequence[tuple[Named, Graph]]) -> None:
    sizes = {prod(graph.input.shape) for _, graph in generators}
    if len(sizes) > 1:
        raise InputError("E-GLOBAL-LATENT", "the generators' latents differ in size", where="--generator",
                         details=[f"class {named.label}: {prod(graph.input.shape)} entries, {graph.source.path or 'a graph'}"
                                  for named, graph in generators],
                         hint="all classes are judged on draws from one distribution: judge these in runs of their own")


def _check_class(label: int, classifier: Graph) -> None:
    if label >= classifier.output.size:
        raise InputError("E-GLOBAL-CLASS", f"class {label} is not in 0..{classifier.output.size - 1}", where=classifier.source.path or None,
                         hint=f"the classifier has {classifier.output.size} outputs; classes count from 0")


def _numbers(value: Any, where: str) -> Any:
    """Text as exact decimals."""
    return parse_numbers(value, where) if isinstance(value, str) else value


def _read(model: Any) -> Graph:
    """A file, a graph, or an object that a front end accepts. Raises what the front ends raise."""
    from absint.model.model_files import check_model

    if isinstance(model, (str, Path)):
        check_model(Path(model))
    return graph_of(model)


def _names(models: Sequence[Any], graphs: Sequence[Graph]) -> list[str]:
    """How tables call them: files by their stems, numbered where several have one."""
    names = [Path(str(one)).stem if isinstance(one, (str, Path)) else Path(graph.source.path).stem or "network"
             for one, graph in zip(models, graphs, strict=True)]
    counts = Counter(names)
    return [name if counts[name] == 1 else f"{name} {1 + k}" for k, name in enumerate(names)]


def files_read(options: GlobalOptions) -> Iterator[tuple[str, Path]]:
    """Word and file of what is named inside of other words."""
    for one in stated_generators(options):
        if isinstance(one.model, (str, Path)):
            yield f"--generator {one.label}", Path(one.model)


def on_files(options: GlobalOptions, files: Sequence[Path]) -> Any:
    """The options about these files: classifiers first, then generators in the order in which they are stated; None for another number."""
    stated = stated_generators(options)
    after = files[len(options.net):]
    if options.conditional is not None and len(after) == 1:
        return replace(options, net=tuple(files[:-1]), conditional=after[0])
    if options.conditional is None and len(after) == len(stated):
        named = tuple(f"{one.label}={file}" for one, file in zip(stated, after, strict=True))
        return replace(options, net=tuple(files[: len(options.net)]), generator=named)
    return None


def networks_read(options: GlobalOptions, sources: Iterable[Source]) -> list[dict[str, str]]:
    """{"path", "sha256"} of classifiers, then of generators, as `on_files` takes them. sources: of all networks of the composed graphs."""
    hashes = {one.path: one.sha256 for one in sources}
    generators = [options.conditional] if options.conditional is not None else [one.model for one in stated_generators(options)]
    return [{"path": str(one), "sha256": hashes.get(str(one), "")} for one in (*options.net, *generators)
            if isinstance(one, (str, Path))]
