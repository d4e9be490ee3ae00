"""From a sweep to the runs of `verify` it is made of: one a network, each asked again at every norm, radius and domain."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from absint.analyses.sweep.grid import AskedRadius, radii_of
from absint.analyses.sweep.options import DEFAULT_DOMAINS, DEFAULT_EPS, SweepOptions
from absint.analyses.verify.options import VerifyOptions
from absint.contract.analysis import Item, analysis_of
from absint.contract.run import Run
from absint.errors import InputError, UsageError
from absint.problem.live import norm_of
from absint.problem.parsing import drawn
from absint.problem.region_choice import parse_region
from absint.problem.regions.region import Region
from absint.search.names import Method, domains_of, split_domains

ASKED = "verify"    # the analysis that each cell is an answer of
# What a network's own run is told otherwise: where results go, and what this analysis decides itself.
_OWN = {"net", "eps", "norm", "domain", "sample", "seed", "resume", "out", "format", "executor", "processes", "plugin"}


@dataclass(frozen=True)
class SweptLine:
    """Radii along which verdicts are skipped. place: its number.  part: of the network's run."""

    place: int
    part: int
    net: str
    norm: str
    domain: str


@dataclass(frozen=True, eq=False)
class SweepTask:
    """parts: by network, their runs of `verify` on the chosen inputs.  nets: their names.  radii: ascending.

    inputs: places in the data, of all samples together.  samples: those of each seed; one sample of all where none is drawn.
    """

    parts: tuple[Run[Any], ...]
    nets: tuple[str, ...]
    norms: tuple[str, ...]
    domains: Mapping[str, Method]
    radii: tuple[AskedRadius, ...]
    inputs: tuple[int, ...]
    samples: Mapping[str, tuple[int, ...]]
    _cells: dict[tuple[int, int], Run[Any]] = field(default_factory=dict)

    @property
    def lines(self) -> tuple[SweptLine, ...]:
        """Of every network, norm and domain, in this order."""
        found = [(part, net, norm, domain) for part, net in enumerate(self.nets) for norm in self.norms for domain in self.domains]
        return tuple(SweptLine(place, *one) for place, one in enumerate(found))

    @property
    def by_text(self) -> Mapping[str, AskedRadius]:
        """The radii by their texts."""
        return {one.text: one for one in self.radii}

    @cached_property
    def places(self) -> Mapping[int, int]:
        """Where an input stands among those of each part."""
        return {name: place for place, name in enumerate(self.inputs)}

    def around(self, line: SweptLine, radius: int, name: int) -> Region:
        """The set of one input at a radius, as `verify` is asked about it."""
        region: Region = self.cell(line, radius).problem.region
        return region.take(torch.tensor([self.places[name]]))

    def cell(self, line: SweptLine, radius: int) -> Run[Any]:
        """The run of `verify` of one network, norm, domain and radius, on all inputs; nothing but these differs from another cell's."""
        key = line.place, radius
        if key not in self._cells:
            whole = self.parts[line.part]
            domain = self.domains[line.domain]
            options = replace(whole.options, eps=self.radii[radius].text, norm=line.norm, domain=line.domain)
            one = replace(whole, options=options, domain=domain)
            self._cells[key] = replace(one, problem=analysis_of(ASKED).prepare(one))
        return self._cells[key]


def check_options(options: SweepOptions) -> None:
    """Raise UsageError for what is wrong whatever the networks: E-EPS, E-NORM, E-DOMAIN-UNKNOWN, E-OPTION, E-USAGE."""
    if isinstance(options.data, Region):
        raise UsageError("E-USAGE", "radii are around inputs, not around a region", where="inputs", hint="give arrays, or a file of data")
    for norm in norms_of(options):
        for radius in radii_of(options.eps or DEFAULT_EPS):
            parse_region(None, eps=radius.text, norm=norm)
    methods_of(options)
    # Two objects are two networks, however alike they print themselves.
    known = [str(one) if isinstance(one, (str, Path)) else id(one) for one in options.net]
    twice = [one for one, count in Counter(known).items() if count > 1]
    if twice:
        raise UsageError("E-USAGE", "the network is given twice", where=names_of(options.net)[known.index(twice[0])],
                         hint="name every network once")
    if not all(isinstance(seed, int) and not isinstance(seed, bool) for seed in options.seed):
        raise UsageError("E-OPTION", "a seed is a whole number", where="--seed", hint="for example 0, or 0, 1 and 2 for a sample each")
    if len(options.seed) > 1 and options.sample is None:
        raise UsageError("E-USAGE", "several seeds draw several samples, and none is drawn", where="--seed", hint="add --sample COUNT")
    if len(set(options.seed)) < len(options.seed):
        raise UsageError("E-USAGE", "the same seed draws the same sample", where="--seed", hint="name every seed once")


def norms_of(options: SweepOptions) -> tuple[str, ...]:
    """Each once, by its name. Raises UsageError E-NORM."""
    return tuple(dict.fromkeys(norm_of(one) for one in options.norm or ("linf",)))


def methods_of(options: SweepOptions) -> dict[str, Method]:
    """The domains by name. Raises what `domains_of` does."""
    stated = options.domain or DEFAULT_DOMAINS
    return domains_of([part for one in stated for part in (split_domains(one) if isinstance(one, str) else (one,))])


def parts_of(options: SweepOptions) -> list[tuple[str, VerifyOptions]]:
    """A run of `verify` for each network."""
    shared: dict[str, Any] = {one.name: getattr(options, one.name) for one in fields(VerifyOptions)
                              if hasattr(options, one.name) and one.name not in _OWN}
    first: dict[str, Any] = {"eps": radii_of(options.eps or DEFAULT_EPS)[0].text, "norm": norms_of(options)[0],
                             "domain": next(iter(methods_of(options).values()))}
    return [(ASKED, VerifyOptions(**shared, **first, net=net)) for net in options.net]


def asked_of(run: Run[SweepOptions]) -> SweepTask:
    """Raises InputError E-SWEEP-NETS for networks that do not go together, UsageError E-SAMPLE."""
    options, nets = run.options, names_of(run.options.net)
    _check_nets(run.parts, nets)
    data = run.parts[0].inputs
    samples = {str(seed): tuple(drawn(len(data), options.sample, seed)) for seed in options.seed} if options.sample is not None else {}
    places = sorted({place for one in samples.values() for place in one}) if samples else list(range(len(data)))
    names = data.index.tolist()
    parts = tuple(replace(part, data=part.inputs.select(places)) if samples else part for part in run.parts)
    return SweepTask(parts, nets, norms_of(options), methods_of(options), radii_of(options.eps or DEFAULT_EPS),
                     tuple(names[place] for place in places), {seed: tuple(names[place] for place in one) for seed, one in samples.items()})


def told_of(run: Run[SweepOptions]) -> SweepTask:
    """What the header says was asked, without the networks: enough to sum up records. Raises KeyError where it does not say."""
    said: Any = run.header
    nets, claim = tuple(one["name"] for one in said["networks"]), said["property"]
    domains: dict[str, Any] = dict.fromkeys(said["domains"])
    lines = len(nets) * len(claim["norms"]) * len(domains)
    return SweepTask((), nets, tuple(claim["norms"]), domains, radii_of(claim["eps"]), tuple(sorted({one // lines for one in run.asked})),
                     {seed: tuple(inputs) for seed, inputs in said["samples"].items()})


def items_of(run: Run[SweepOptions]) -> list[Item]:
    """An item an input and line, whatever other inputs are chosen: index = input * lines + line. Its limit is once that of each radius.

    payload: the line and the input, for a record of one that was killed.
    """
    task: SweepTask = run.problem
    lines, limit = task.lines, run.timeout * len(task.radii)
    texts = tuple(one.text for one in task.radii)
    return [Item(name * len(lines) + line.place, f"input {name} ({line.net}, {line.norm}, {line.domain})",
                 limit if limit < float("inf") else None, (line, name, texts)) for line in lines for name in task.inputs]


def names_of(nets: tuple[Any, ...]) -> tuple[str, ...]:
    """Files by their names, or by their paths where two have the same one; objects by their place."""
    short = [Path(one).name if isinstance(one, (str, Path)) else f"network {place + 1}" for place, one in enumerate(nets)]
    return tuple(name if short.count(name) == 1 else str(one) for name, one in zip(short, nets, strict=True))


def _check_nets(parts: tuple[Run[Any], ...], nets: tuple[str, ...]) -> None:
    first = parts[0]
    details = []
    for part, net in zip(parts, nets, strict=True):
        ours, theirs = part.network.output.size, first.network.output.size
        if ours != theirs:
            details.append(f"{net} has {ours} outputs, {nets[0]} has {theirs}")
        if part.inputs.sha256 != first.inputs.sha256 or part.inputs.index.tolist() != first.inputs.index.tolist():
            details.append(f"{net} takes inputs of shape {part.network.input.shape} from {part.inputs.name}, "
                           f"{nets[0]} of shape {first.network.input.shape} from {first.inputs.name}")
    if details:
        raise InputError("E-SWEEP-NETS", "the networks do not answer the same question", where=", ".join(nets), details=details,
                         hint="compare networks of the same classes on the same data; --data FILE names the data of all")
