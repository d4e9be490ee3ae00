"""Robustness verification of a batch of instances: prove, escalate the number format, then search for witnesses."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from math import inf
from typing import Any

import torch
from torch import Tensor

from absint import backend
from absint.attacks import ATTACKS, Attack, prove_witness
from absint.backend import Budget, DeadlineError, default_memory, is_out_of_memory, numeric_mode
from absint.context import Context
from absint.domain import DOMAINS, Domain
from absint.errors import AbsintError, InputError, InternalError, PluginError, UnsupportedError, UsageError
from absint.graph import Graph
from absint.import_check import check_import
from absint.interpret import margins
from absint.passes import PASSES
from absint.region import Region
from absint.rounding import Numerics
from absint.spec import Spec
from absint.verdict import Assurance, InstanceResult, Reason, Verdict

# A generator tensor of about this size stays in the last-level cache of a CPU core; measured in benchmarks/RESULTS.md.
_CACHE_BYTES = 24 << 20
# Undecided by rounding alone: the margin would be positive if a few times the rounding terms were given back.
_SLACK_FACTOR = 8.0


@dataclass(frozen=True)
class VerifyOptions:
    """How to verify. Times in seconds, memory in bytes.

    domain: an instance, or a registered name.  dtype: "float32", "float64", or "auto" (float32 first, then float64 for
    what is undecided by rounding alone).  rounding False never yields VERIFIED, only LIKELY.
    semantics: "real" or "float32" (also every float32 execution; needs a graph loaded with fold=False).
    batch: instances analysed together, None to size by memory.  attack: name of the falsifier, or None.
    timeout: per instance.  total_timeout: for the whole call.
    """

    domain: str | Domain[Any]
    dtype: str = "auto"
    device: str = "cpu"
    rounding: bool = True
    semantics: str = "real"
    batch: int | None = None
    memory: int | None = None
    attack: str | None = "pgd"
    timeout: float = inf
    total_timeout: float = inf

    def __post_init__(self) -> None:
        if self.dtype not in ("auto", "float32", "float64"):
            raise UsageError("E-DTYPE", f"not a number format: '{self.dtype}'", hint="auto, float32 or float64")
        if self.semantics not in ("real", "float32"):
            raise UsageError("E-SEMANTICS", f"not a semantics: '{self.semantics}'", hint="real or float32")
        if self.batch is not None and self.batch < 1:
            raise UsageError("E-BATCH", f"the batch size must be at least 1, not {self.batch}")
        for name in ("timeout", "total_timeout"):
            if not getattr(self, name) > 0:
                raise UsageError("E-TIMEOUT", f"{name} must be positive, not {getattr(self, name)}")

    def resolved(self) -> Domain[Any]:
        """The domain as an instance."""
        return DOMAINS.get(self.domain)() if isinstance(self.domain, str) else self.domain


@dataclass(frozen=True, eq=False)
class Problem:
    """What to verify: one region and property per instance.

    specify: positions (int64) -> their Spec; properties are built batch by batch, because the rows of many classes are
    large.  index: (batch,) the instances' names in the user's data.  labels, predicted: (batch,) int64 or None.
    An instance whose predicted class differs from its label is reported as misclassified and not analysed.
    """

    graph: Graph
    region: Region
    specify: Callable[[Tensor], Spec]
    index: tuple[int, ...]
    labels: Tensor | None = None
    predicted: Tensor | None = None
    eps: str | None = None

    @property
    def spec(self) -> Spec:
        """The properties of all instances."""
        return self.specify(torch.arange(len(self.index)))

    def take(self, index: Tensor) -> Problem:
        """Some instances."""
        labels, predicted = (None if v is None else v[index] for v in (self.labels, self.predicted))
        return replace(self, region=self.region.take(index), specify=lambda inner: self.specify(index[inner]),
                       labels=labels, predicted=predicted, index=tuple(self.index[i] for i in index.tolist()))


def robustness(graph: Graph, region: Region, labels: Tensor, *, targets: Tensor | None = None,
               index: tuple[int, ...] | None = None, eps: str | None = None) -> Problem:
    """The robustness problem of labelled inputs: the label's output stays the strict maximum over each region.

    labels, targets: (batch,) int64. Raises InputError for labels outside the network's classes, or too few or many.
    """
    classes = graph.output.size
    for name, given in (("labels", labels), ("targets", targets)):
        if given is not None and given.shape != (region.batch,):
            raise InputError("E-LABEL", f"{name} of shape {tuple(given.shape)} for {region.batch} inputs", hint="give one class per input")

    def specify(chosen: Tensor) -> Spec:
        if targets is None:
            return Spec.robust(labels[chosen], classes)
        return Spec.targeted(labels[chosen], targets[chosen], classes)

    Spec.check_labels(labels, classes)
    if targets is not None:
        specify(torch.arange(len(labels)))
    with numeric_mode(), torch.no_grad():
        predicted = torch.cat([graph(part).flatten(1).argmax(1) for part in region.center.split(256)])
    names = tuple(range(len(labels))) if index is None else index
    return Problem(graph, region, specify, names, labels, predicted, eps)


def verify(problem: Problem, options: VerifyOptions,
           on_result: Callable[[InstanceResult], None] | None = None) -> list[InstanceResult]:
    """One result per instance, in order. `on_result` is called as soon as an instance is decided or given up.

    The graph is compared with the user's model in onnxruntime on points of the very regions first.
    Sound: VERIFIED only if the domain's outward-rounded bounds prove the property for every real input of the region;
    FALSIFIED only with a proved and replayed witness. Everything else is UNKNOWN with its reason. Verdicts do not
    depend on batch composition, order, threads or chunk size; margins agree within the rounding slack.
    Raises UnsupportedError E-IMPORT-MISMATCH, and PluginError where a domain raises or contradicts a concrete
    execution. KeyboardInterrupt passes through; what `on_result` was given until then stands.
    """
    if problem.graph.source.model is not None and len(problem.index):
        check_import(problem.graph, region=problem.region.hull)
    run = _Run(problem, options)
    results: dict[int, InstanceResult] = {}
    with numeric_mode():
        for position, result in run.results():
            results[position] = result
            if on_result is not None:
                on_result(result)
    return [results[k] for k in range(len(problem.index))]


class _Run:
    """One call of `verify`: the settings resolved, and the stages an instance passes."""

    def __init__(self, problem: Problem, options: VerifyOptions) -> None:
        self.problem, self.options = problem, options
        self.domain = options.resolved()
        self.name = options.domain if isinstance(options.domain, str) else type(options.domain).__name__.lower()
        self.device = backend.device(options.device)
        self.memory = options.memory or default_memory()
        self.end = time.monotonic() + options.total_timeout
        self.attack: Attack | None = ATTACKS.get(options.attack)() if options.attack else None
        self.stages = self._stages()

    def _stages(self) -> list[Numerics]:
        options, graph = self.options, self.problem.graph
        if options.semantics == "float32":
            inexact = {p.name for p in PASSES if not p.exact} & set(graph.source.passes)
            if not graph.source.float32_executions:
                raise UnsupportedError(
                    "E-SEMANTICS", "the model computes in float16 or bfloat16, or has a softmax or normalisation",
                    where=graph.source.path or None,
                    hint="absint does not bound what executions of these err by; use --semantics real",
                )
            if inexact:
                raise UsageError("E-SEMANTICS", f"the graph was rewritten by {', '.join(sorted(inexact))}",
                                 hint="load it with fold=False for float32 semantics")
        formats = {"float32": [torch.float32], "float64": [torch.float64], "auto": [torch.float32, torch.float64]}[options.dtype]
        if options.dtype == "auto" and not graph.fits(torch.float32):
            formats = [torch.float64]
        stages = [Numerics(dtype, device=self.device, rounding=options.rounding, float32_semantics=options.semantics == "float32")
                  for dtype in formats]
        return stages if self.domain.mixed else [n.single() for n in stages]

    def results(self) -> Iterator[tuple[int, InstanceResult]]:
        """Every instance once, batch by batch."""
        problem = self.problem
        correct = torch.ones(len(problem.index), dtype=torch.bool)
        if problem.labels is not None and problem.predicted is not None:
            correct = (problem.labels == problem.predicted).cpu()
        for k in (~correct).nonzero().flatten().tolist():
            yield k, self._result(k, Verdict.MISCLASSIFIED)
        todo = correct.nonzero().flatten()
        size = self._batch_size()
        while len(todo):
            part, rest = todo[:size], todo[size:]
            try:
                yield from self._batch(part)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                if len(part) == 1:
                    yield int(part), self._result(int(part), Verdict.UNKNOWN, Reason.MEMORY)
                else:
                    # Only results not yet yielded are redone: _batch yields after all of its allocations.
                    size = max(1, len(part) // 2)
                    rest = todo
            todo = rest

    def _batch_size(self) -> int:
        if self.options.batch is not None:
            return self.options.batch
        need = max(self.domain.memory(self.problem.graph, numerics) for numerics in self.stages)
        fit = self.memory // max(1, need)
        if self.device.type == "cpu":
            fit = min(fit, max(4, 3 * _CACHE_BYTES // max(1, need)))
        return int(max(1, min(512, fit)))

    def _batch(self, todo: Tensor) -> list[tuple[int, InstanceResult]]:
        """Decide a batch. All allocations happen before anything is reported."""
        spent = {int(k): 0.0 for k in todo}
        out: list[tuple[int, InstanceResult]] = []
        try:
            pending, best, detail = self._prove(todo, spent, out)
        except DeadlineError:
            decided = {k for k, _ in out}
            return out + [(k, self._result(k, Verdict.UNKNOWN, Reason.TIMEOUT, time_s=spent[k])) for k in spent if k not in decided]
        out += self._falsify(pending, best, detail, spent)
        return out

    def _prove(self, todo: Tensor, spent: dict[int, float], out: list[tuple[int, InstanceResult]]
               ) -> tuple[Tensor, dict[int, float], dict[int, Reason]]:
        """Run the stages; decided instances go to `out`. Returns what is left, its best margin and the reason."""
        best: dict[int, float] = {}
        reason: dict[int, Reason] = {}
        pending, retry = todo, todo
        for stage in self.stages:
            if not len(retry):
                break
            begin = time.monotonic()
            margin, again, why = self._margins(retry, stage, begin)
            share = (time.monotonic() - begin) / len(retry)
            for k, value, cause in zip(retry.tolist(), margin.tolist(), why, strict=True):
                spent[k] += share
                best[k] = max(best.get(k, -inf), value)
                reason[k] = cause
                if cause is Reason.IMPRECISE and value > 0:
                    verdict = Verdict.VERIFIED if stage.rounding else Verdict.LIKELY
                    out.append((k, self._result(k, verdict, None if stage.rounding else Reason.UNROUNDED, value, time_s=spent[k])))
            proved = {k for k, _ in out}
            pending = torch.tensor([k for k in pending.tolist() if k not in proved], dtype=torch.int64)
            left = [k for k, a in zip(retry.tolist(), again.tolist(), strict=True) if a and k not in proved]
            retry = torch.tensor(left, dtype=torch.int64)
        return pending, best, reason

    def _margins(self, todo: Tensor, stage: Numerics, begin: float) -> tuple[Tensor, Tensor, list[Reason]]:
        """Certified margins of some instances, which of them a finer format may decide, and the reason if undecided."""
        part = self.problem.take(todo)
        deadline = min(self.end, begin + self.options.timeout * len(todo))
        spec = part.spec.to(self.device)
        ctx = Context(part.graph, part.region, stage, Budget(self.memory, deadline))
        with torch.no_grad():
            found = self._guarded(ctx, spec)
            self._contradiction(part, spec, found.lower)
        margin = spec.margin(found.lower).double().cpu()
        slack = torch.full_like(margin, inf) if found.slack is None else found.slack.amax(1).double().cpu()
        again = ~(margin + _SLACK_FACTOR * slack <= 0)
        why = [Reason.OVERFLOW if value == -inf else Reason.VACUOUS if value == inf else Reason.IMPRECISE for value in margin.tolist()]
        if found.solver is not None:
            why = [Reason.SOLVER if flag else cause for flag, cause in zip(found.solver.tolist(), why, strict=True)]
        return margin, again, why

    def _guarded(self, ctx: Context, spec: Spec) -> Any:
        """The engine, with a stranger's exceptions turned into one coded error."""
        try:
            return margins(self.domain, ctx, spec)[0]
        except (AbsintError, DeadlineError):
            raise
        except Exception as error:
            if is_out_of_memory(error):
                raise
            module = type(self.domain).__module__
            kind = InternalError if module.startswith("absint.") else PluginError
            raise kind("E-DOMAIN-RAISED", f"the domain raised {type(error).__name__}: {error}", where=self.name,
                       hint="run absint.testing.check_domain on it; --debug shows the traceback") from error

    def _contradiction(self, part: Problem, spec: Spec, lower: Tensor) -> None:
        """A certified lower bound above a concrete value is a bug, in the domain or here: refuse the whole run."""
        center = part.region.center.to(self.device)
        values = spec.values(part.graph(center))
        tolerance = 1e-6 * (1 + values.abs() + part.graph(center).flatten(1).abs().amax(1, keepdim=True))
        wrong = (lower.double() > values + tolerance) & lower.isfinite()
        if bool(wrong.any()) or lower.shape != values.shape:
            rows = [f"instance {part.index[int(i)]}, row {int(r)}: bound {float(lower[i, r]):.6g}, "
                    f"value at the centre {float(values[i, r]):.6g}"
                    for i, r in wrong.nonzero()[:3]]
            raise PluginError("E-CONTRADICTION", "certified bounds exceed values that real inputs attain", where=self.name,
                              details=rows, hint="the domain or an operator is unsound: run absint.testing on it")

    def _falsify(self, pending: Tensor, best: dict[int, float], reason: dict[int, Reason], spent: dict[int, float]
                 ) -> list[tuple[int, InstanceResult]]:
        """Search the undecided instances for witnesses."""
        if not len(pending):
            return []
        begin = time.monotonic()
        witnesses = self._witnesses(pending) if self.attack is not None and begin < self.end else {}
        share = (time.monotonic() - begin) / len(pending)
        out = []
        for k in pending.tolist():
            witness, cause = witnesses.get(k, (None, None))
            time_s = spent[k] + share
            if witness is not None:
                detail = (f"replayed at float distance {witness.distance:.3g}" if witness.output else
                          "proved; this graph has no reference model to replay in")
                result = self._result(k, Verdict.FALSIFIED, None, best.get(k), time_s=time_s, detail=detail, witness=witness.point)
            else:
                result = self._result(k, Verdict.UNKNOWN, cause or reason.get(k, Reason.IMPRECISE), best.get(k), time_s=time_s)
            out.append((k, result))
        return out

    def _witnesses(self, pending: Tensor) -> dict[int, tuple[Any, Reason | None]]:
        part = self.problem.take(pending)
        exact = part.spec
        spec = exact.to(self.device)
        assert self.attack is not None
        points = self.attack(part.graph, part.region, spec, self.device)
        with torch.no_grad():
            values = spec.values(part.graph(points))
        hit = (spec.refutation(values) <= 0).any(1)
        found: dict[int, tuple[Any, Reason | None]] = {}
        for slot in hit.nonzero().flatten().tolist():
            with torch.no_grad():
                witness = prove_witness(part.graph, part.region, exact, slot, points[slot].cpu().numpy())
            found[int(pending[slot])] = (witness, None if witness is not None else Reason.AMBIGUOUS)
        return found

    def _result(self, k: int, verdict: Verdict, reason: Reason | None = None, margin: float | None = None, *,
                time_s: float = 0.0, detail: str | None = None, witness: tuple[float, ...] | None = None) -> InstanceResult:
        problem = self.problem
        falsified = Assurance.REPLAYED if self.problem.graph.source.model is not None else Assurance.SOUND
        assurance = {Verdict.VERIFIED: Assurance.SOUND, Verdict.FALSIFIED: falsified}.get(verdict, Assurance.NONE)
        finite = margin is not None and abs(margin) != inf
        return InstanceResult(
            problem.index[k], verdict, None if problem.labels is None else int(problem.labels[k]),
            None if problem.predicted is None else int(problem.predicted[k]), reason, margin if finite else None,
            assurance, problem.eps, self.name, time_s, detail, witness,
        )
