"""How `verify` decides a batch: search for a witness, then the strategy's stages, each on what is undecided.

Every stage is given what was proved before it: bounds of nodes (`known`) and of the property's rows. A stage computes in
float32 first where its domain keeps matrices; what stays undecided by rounding alone is done again in float64 before
anything costlier. No stage is chosen by a network, a benchmark or a domain's name.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from functools import partial
from math import inf

import torch
from torch import Tensor

from absint.analyses.verify.settings import ProofSettings
from absint.analyses.verify.undecided import Undecided, misclassified
from absint.attacks import ATTACKS, Attack, Given, Search, falsify
from absint.engine.attempts import Attempt
from absint.engine.context import Context
from absint.errors import AbsintError, InternalError, PluginError, UnsupportedError, UsageError
from absint.model.passes import PASSES
from absint.model.work import work as products_of
from absint.numeric import backend
from absint.numeric.backend import Budget, DeadlineError, default_memory, is_out_of_memory
from absint.numeric.interval import Interval
from absint.numeric.rounding import Numerics
from absint.problem.problem import Problem
from absint.problem.spec import Spec
from absint.search.names import strategy_of
from absint.search.strategy import Stage
from absint.verdict import InstanceResult, Reason, Verdict

# A generator tensor of about this size stays in the last-level cache of a CPU core; measured in benchmarks/RESULTS.md.
_CACHE_BYTES = 24 << 20
# Undecided by rounding alone: the margin would be positive if a few times the rounding terms were given back.
_SLACK_FACTOR = 8.0
# Where a domain does not say what rounding costs: of the outputs' known widths, more than was ever measured in float32.
_ROUNDING_SHARE = 1e-4
# Effort of the search before any proof, from a relaxation's worst corner, and after the last proof failed.
_FIRST, _CORNER, _LAST = 0.25, 0.25, 4.0


Decided = tuple[int, InstanceResult]


class Portfolio:
    """One call of `verify`: the settings resolved, and the stages an instance passes.

    on_left: called for each batch with the positions given up and sound bounds of the nodes over their regions, which hold
    in every smaller region, too.  allowed: seconds of each instance, compared with its share; None for `timeout` each.
    """

    def __init__(self, problem: Problem, options: ProofSettings,
                 on_left: Callable[[Tensor, Mapping[str, Interval]], None] | None = None, allowed: Sequence[float] | None = None) -> None:
        self.problem, self.options, self.on_left = problem, options, on_left
        self.strategy = strategy_of(options.domain)
        self.stages = self.strategy.stages()
        self.name = options.domain if isinstance(options.domain, str) else type(options.domain).__name__.lower()
        self.device = backend.device(options.device)
        self.memory = options.memory or default_memory()
        self.end = time.monotonic() + options.total_timeout
        self.allowed = [options.timeout] * len(problem.index) if allowed is None else allowed
        self.spent = [0.0] * len(problem.index)
        self.attack: Attack | None = ATTACKS.get(options.attack)() if options.attack else None
        self.formats = self._formats()

    def _formats(self) -> list[Numerics]:
        options, graph = self.options, self.problem.graph
        if options.semantics == "float32":
            inexact = {p.name for p in PASSES if not p.exact} & set(graph.source.passes)
            if not graph.source.float32_executions:
                raise UnsupportedError(
                    "E-SEMANTICS", "the model computes in float16 or bfloat16, has a softmax or normalisation, or chains a float64 network",
                    where=graph.source.path or None,
                    hint="absint does not bound what executions of these err by; use --semantics real",
                )
            if inexact:
                raise UsageError("E-SEMANTICS", f"the graph was rewritten by {', '.join(sorted(inexact))}",
                                 hint="load it with fold=False for float32 semantics")
        formats = {"float32": [torch.float32], "float64": [torch.float64], "auto": [torch.float32, torch.float64]}[options.dtype]
        if options.dtype == "auto" and not self._fits(torch.float32):
            formats = [torch.float64]
        return [Numerics(dtype, device=self.device, rounding=options.rounding, float32_semantics=options.semantics == "float32")
                for dtype in formats]

    def _fits(self, dtype: torch.dtype) -> bool:
        try:
            return self.problem.graph.fits(dtype, Budget(deadline=self.end).check)
        except DeadlineError:
            return True  # nothing is analysed any more: every instance is out of time

    def results(self) -> Generator[Decided, None, None]:
        """Every instance once, each as soon as it is known: misclassified ones, then witnesses and proofs stage by stage.

        Nothing runs while the caller has a result: its time is nobody's share. A batch that memory does not suffice for is cut
        in half; what it has yielded stands, the rest is done again, with the time that it has had.
        """
        problem = self.problem
        correct = torch.ones(len(problem.index), dtype=torch.bool)
        if problem.labels is not None and problem.predicted is not None:
            correct = (problem.labels == problem.predicted).cpu()
        for k in (~correct).nonzero().flatten().tolist():
            yield k, misclassified(problem, k, self.name)
        todo = correct.nonzero().flatten()
        size = self._batch_size()
        while len(todo):
            part, rest = todo[:size], todo[size:]
            told: set[int] = set()
            try:
                for position, result in self._batch(part):
                    told.add(position)
                    yield position, result
            except Exception as error:
                if not is_out_of_memory(error) or len(part) == 1:
                    raise
                size = max(1, len(part) // 2)
                rest = todo[torch.tensor([k not in told for k in todo.tolist()])]
            todo = rest

    def _batch_size(self) -> int:
        # However large the batch asked for: one evaluation of it is one step between two looks at the clock.
        most = Budget(rate=backend.rate(self.device)).pieces(products_of(self.problem.graph))
        if self.options.batch is not None:
            return min(self.options.batch, most)
        need = max(stage.domain.traits.bytes_of(self.problem.graph, numerics) for numerics in self.formats for stage in self.stages)
        fit = self.memory // max(1, need)
        if self.device.type == "cpu":
            fit = min(fit, max(4, 3 * _CACHE_BYTES // max(1, need)))
        return int(max(1, min(512, fit, most)))

    def _batch(self, todo: Tensor) -> Generator[Decided, None, None]:
        """Decide a batch, stage by stage. Running out of memory is raised where a smaller batch may need less."""
        work: Undecided | None = None
        try:
            work = Undecided(self.problem, todo, self.device, self.name, self.spent)
            yield from self._decide(work)
        except Exception as error:
            if not is_out_of_memory(error) or len(todo) > 1:
                raise
            work = work or Undecided(self.problem, todo, torch.device("cpu"), self.name, self.spent)
            work.give_up(Reason.MEMORY)
            yield from self._told(work)

    def _told(self, work: Undecided) -> Generator[Decided, None, None]:
        """What was decided and not yet yielded; `on_left` hears of those given up first."""
        if self.on_left is not None and len(work.left[0]):
            self.on_left(*work.left)
        work.left = work.left[0][:0], {}
        yield from work.drain()

    def _decide(self, work: Undecided) -> Generator[Decided, None, None]:
        parts, searched = [work], False
        yield from self._searched(parts, _FIRST)
        for stage in self.stages:
            if stage.exhaustive and not searched:
                yield from self._searched(parts, _LAST)
                searched = True
            parts = [one for part in parts for one in (part.separate() if stage.one_by_one else [part])]
            yield from self._proved(parts, stage)
            if stage is not self.stages[-1]:
                yield from self._searched([part for part in parts if part.corner is not None], _CORNER)
        if not searched:
            yield from self._searched(parts, _LAST)
        for part in parts:
            part.give_up()
            yield from self._told(part)

    def _say(self, stage: str, part: Undecided) -> None:
        if self.options.on_stage is not None:
            self.options.on_stage(f"{stage}, {'input' if len(part) == 1 else f'{len(part)} inputs'}"
                                  + (f" {part.part.index[0]}" if len(part) == 1 else ""))

    # ---- limits ------------------------------------------------------------------------------------------------

    def _stage(self, work: Undecided, run: Callable[[Budget], None], until: float = inf) -> Generator[Decided, None, None]:
        """One stage on what is undecided. An instance whose share of the time reaches its limit is given up, the others go on.

        until: where the stage's share of the time for everything ends; it is left there, and later stages have their chance.
        """
        while True:
            now = time.monotonic()
            if now >= self.end:
                work.give_up(Reason.TIMEOUT, cut=True)
            else:
                work.expire(self.allowed, 0.0)
            yield from self._told(work)
            if not len(work) or now >= until:
                return
            soonest = work.soonest(self.allowed)
            own = now + soonest * len(work)
            work.total = own >= min(self.end, until)
            budget = Budget(self.memory, min(self.end, until, own), backend.rate(self.device))
            try:
                run(budget)
            except DeadlineError:
                if time.monotonic() < min(self.end, until):
                    work.expire(self.allowed, soonest)  # rounding must not keep those that the deadline was that of
                    yield from self._told(work)
                elif time.monotonic() < self.end:
                    work.late()
            else:
                yield from self._told(work)
                return

    def _searched(self, parts: list[Undecided], effort: float) -> Generator[Decided, None, None]:
        for part in parts:
            if len(part):
                self._say("counterexamples", part)
            yield from self._stage(part, partial(self._search, part, effort=effort))

    # ---- proofs ------------------------------------------------------------------------------------------------

    def _proved(self, parts: list[Undecided], stage: Stage) -> Generator[Decided, None, None]:
        """One stage on the undecided instances, in each number format that may decide them.

        What takes instances one by one shares the time for everything evenly among them: none takes that of the others.
        """
        open_ = [part for part in parts if len(part)]
        for number, part in enumerate(open_):
            now = time.monotonic()
            until = now + (self.end - now) / (len(open_) - number) if stage.one_by_one else inf
            part.again = torch.ones(len(part), dtype=torch.bool)
            for numerics in self.formats if stage.domain.traits.mixed else [n.single() for n in self.formats]:
                if not bool(part.again.any()):
                    break
                self._say(stage.label, part)
                yield from self._stage(part, partial(self._prove, part, stage, numerics), until)

    def _prove(self, work: Undecided, stage: Stage, numerics: Numerics, budget: Budget) -> None:
        """One attempt at all undecided instances; what it proves is reported."""
        label = f"{stage.label} {str(numerics.dtype).removeprefix('torch.')}"
        try:
            with work.clock():
                points = self._attempt(work, stage, numerics, budget)
            if points is not None:
                self._replay(work, points, budget, label)
        except Exception as error:
            if not is_out_of_memory(error) or len(work) > 1:
                raise
            # A smaller batch does not exist, but another stage may need less.
            work.reason[0], work.again = Reason.MEMORY, torch.zeros(1, dtype=torch.bool)
            return
        proved = work.margin.cpu() > 0
        usable = torch.tensor([reason is Reason.IMPRECISE for reason in work.reason], dtype=torch.bool)
        if numerics.rounding:
            work.settle(Verdict.VERIFIED, None, proved & usable, label)
        else:
            work.settle(Verdict.LIKELY, Reason.UNROUNDED, proved & usable, label)
        if self.options.accept_solver and numerics.rounding:
            work.trust(torch.tensor([reason is Reason.SOLVER for reason in work.reason], dtype=torch.bool), label)

    def _attempt(self, work: Undecided, stage: Stage, numerics: Numerics, budget: Budget) -> Tensor | None:
        """Learn what one analysis proves of all undecided instances, and which of them a finer format may decide (`work.again`).

        Returns the stage's candidates for witnesses, if it has any.
        """
        known = {name: interval.to(numerics.vector) for name, interval in work.known.items()}
        ctx = Context(work.part.graph, work.part.region, numerics, budget, known=known)
        with torch.no_grad():
            found = self._guarded(work, stage, ctx)
            self._contradiction(work, found)
        refuted, whole = _refuted(found, work.spec), found.whole
        fresh = torch.fmax(work.refuted, refuted.to(work.refuted)).amin(1).cpu() if work.spec.disjuncts else work.margin.cpu()
        slack = _slack(found, work.spec).cpu()
        solver = found.interval.solver
        work.learn(refuted, ctx, found.ctx, solver, None if whole is None else whole.claimed)
        work.corner = work.corner if found.corner is None else found.corner
        work.reasons(None if whole is None else whole.late, {} if whole is None else dict(whole.limits))
        if whole is not None and whole.notes:
            work.note(whole.notes)
        work.again = ~(fresh + _SLACK_FACTOR * slack <= 0)
        return None if whole is None else whole.points

    def _guarded(self, work: Undecided, stage: Stage, ctx: Context) -> Attempt:
        """The engine, with a stranger's exceptions turned into one coded error."""
        try:
            return stage.attempt(ctx, work.spec, corner=self.attack is not None, proved=work.refuted)
        except (AbsintError, DeadlineError):
            raise
        except Exception as error:
            if is_out_of_memory(error):
                raise
            ours = all(type(part).__module__.startswith("absint.") for part in (self.strategy, stage.domain))
            kind = InternalError if ours else PluginError
            raise kind("E-DOMAIN-RAISED", f"the domain raised {type(error).__name__}: {error}", where=self.name,
                       hint="run absint.testing.kit.check_domain on it; --debug shows the traceback") from error

    def _contradiction(self, work: Undecided, found: Attempt) -> None:
        """A certified lower bound above a concrete value is a bug, in the domain or here: refuse the whole run."""
        lower = found.interval.lower
        outputs = work.part.graph(work.part.region.center.to(self.device))
        values = work.spec.values(outputs)
        size = 1e-6 * (1 + outputs.flatten(1).abs().amax(1, keepdim=True))
        wrong = _above(lower, values, size)
        if found.refuted is not None:
            # A combination of a disjunct's rows is at most its greatest one.
            greatest = work.spec.refutation(values)
            wrong = wrong | _above(found.refuted.to(greatest), greatest, size)[:, work.spec.disjunct]
        if bool(wrong.any()) or lower.shape != values.shape:
            rows = [f"instance {work.part.index[int(i)]}, row {int(r)}: bound {float(lower[i, r]):.6g}, "
                    f"value at the centre {float(values[i, r]):.6g}"
                    for i, r in wrong.nonzero()[:3]]
            raise PluginError("E-CONTRADICTION", "certified bounds exceed values that real inputs attain", where=self.name,
                              details=rows, hint="the domain or an operator is unsound: run absint.testing.kit on it")

    # ---- witnesses ---------------------------------------------------------------------------------------------

    def _search(self, work: Undecided, budget: Budget, effort: float) -> None:
        """Look for witnesses of the undecided instances; a search that the deadline ends has found what it found."""
        if self.attack is None:
            return
        starts = None if work.corner is None else work.corner[:, None]
        search = Search(self.device, budget, starts, effort=effort)
        with work.clock():
            found = falsify(work.part.graph, work.part.region, work.exact, self.attack, search)
        work.ambiguous |= {int(work.positions[slot]) for slot in found.ambiguous}
        work.falsified(found.witnesses, "attack")

    def _replay(self, work: Undecided, points: Tensor, budget: Budget, label: str) -> None:
        """Prove candidates (n, *input) of a stage, NaN where there is none, and drop the instances that they falsify.

        What is not falsified by its candidate has it as a start of the next search.
        """
        slots = (points.flatten(1).isfinite().all(1) & ~(work.margin.cpu() > 0)).nonzero().flatten()
        if not len(slots):
            return
        there = slots.to(self.device)
        given = Given(points[slots].to(self.device), self.attack)
        with work.clock():
            found = falsify(work.part.graph, work.part.region.take(slots), work.exact.take(slots), given, Search(self.device, budget))
        center = work.part.region.center.to(self.device)
        work.corner = center.clone() if work.corner is None else work.corner.to(center).clone()
        work.corner[there] = given.points.to(center)
        work.ambiguous |= {int(work.positions[slots[slot]]) for slot in found.ambiguous}
        work.falsified({int(slots[slot]): witness for slot, witness in found.witnesses.items()}, label)


def _refuted(found: Attempt, spec: Spec) -> Tensor:
    """(n, disjuncts): the best bound of each disjunct, by one of its rows or by a combination of them."""
    rows = spec.refutation(found.interval.lower)
    # In float64: a bound rounded to nearest is none.
    return rows if found.refuted is None else torch.fmax(rows.double(), found.refuted.to(rows.device, torch.float64))


def _slack(found: Attempt, spec: Spec) -> Tensor:
    """(n,) float64: about what rounding took from the margins; a guess by the outputs' widths where the domain does not say."""
    if not spec.disjuncts:
        return torch.zeros(len(spec.bias), dtype=torch.float64)
    if found.interval.slack is not None:
        return found.interval.slack.double().amax(1)
    known = found.ctx.known[found.ctx.graph.output.name]
    width = (known.upper.double() - known.lower.double()).flatten(1)
    reach = torch.einsum("brn,bn->br", spec.weight.abs(), width).amax(1)
    return torch.nan_to_num(_ROUNDING_SHARE * reach, nan=inf, posinf=inf)


def _above(bound: Tensor, value: Tensor, size: Tensor) -> Tensor:
    return (bound.double() > value + size + 1e-6 * value.abs()) & bound.isfinite()
