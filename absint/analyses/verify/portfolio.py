"""How `verify` decides a batch: the strategy's searches for a witness and its stages in turn, each on what is undecided.

Every stage is given what was proved before it: bounds of nodes (`known`) and of the property's rows. A stage computes in
float32 first where its domain keeps matrices; what stays undecided by rounding alone is done again in float64 before
anything costlier. No stage is chosen by a network, a benchmark or a domain's name.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from functools import partial
from math import inf
from typing import TypeVar

import torch
from torch import Tensor

from absint.analyses.verify.attempted import Centres
from absint.analyses.verify.settings import ProofSettings
from absint.analyses.verify.undecided import Undecided, misclassified
from absint.attacks import ATTACKS, Attack, Given, Search, falsify
from absint.engine.attempts import Attempt, refuted_by, slack_of
from absint.engine.batch_size import batch_size, most_at_once
from absint.engine.context import Context
from absint.engine.cost import within
from absint.engine.float32_executions import check_executions
from absint.engine.out_of_reach import out_of_reach
from absint.engine.recorder import Recorder
from absint.errors import AbsintError, InternalError, PluginError
from absint.numeric import backend
from absint.numeric.backend import Budget, DeadlineError, MemoryBudgetError, default_memory, is_out_of_memory
from absint.numeric.interval import Interval
from absint.numeric.rounding import Numerics
from absint.problem.problem import Problem
from absint.search.names import strategy_of
from absint.search.search import ProofSearch
from absint.search.strategy import Falsification, Stage
from absint.verdict import InstanceResult, Reason, Verdict

# Of the memory, what the evidence of a batch may take; and what may be known of a batch between stages, in bytes an entry: both ends,
# in two formats.
_EVIDENCE = 4
_SHARE, _KNOWN = 4, 32
# Seconds between two reports of how a search stands.
_SAID = 0.25


Decided = tuple[int, InstanceResult]
_Found = TypeVar("_Found")


class Portfolio:
    """One call of `verify`: the settings resolved, and the stages an instance passes.

    on_left: called for each batch with the positions given up and sound bounds of the nodes over their regions, which hold
    in every smaller region, too.  allowed: seconds of each instance, compared with its share; None for `timeout` each.
    """

    def __init__(self, problem: Problem, options: ProofSettings,
                 on_left: Callable[[Tensor, Mapping[str, Interval]], None] | None = None, allowed: Sequence[float] | None = None) -> None:
        self.problem, self.options, self.on_left = problem, options, on_left
        self.strategy = strategy_of(options.domain)
        stages = self.strategy.stages()
        # Those that some instance passes; all where there is no instance.
        self.stages = [stage for stage in stages if bool(stage.takes(problem.graph, problem.region).any())] or stages
        self.name = options.domain if isinstance(options.domain, str) else type(options.domain).__name__.lower()
        self.device = backend.device(options.device)
        self.memory = within(options.memory or default_memory(self.device), problem.graph)
        self.end = time.monotonic() + options.total_timeout
        self.allowed = [options.timeout] * len(problem.index) if allowed is None else allowed
        self.spent = [0.0] * len(problem.index)
        self.ready = 0      # results that follow the last one yielded before anything is computed
        self.attack: Attack | None = ATTACKS.get(options.attack)() if options.attack else None
        self.formats = self._formats()

    def _formats(self) -> list[Numerics]:
        options, graph = self.options, self.problem.graph
        if options.semantics == "float32":
            check_executions(graph)
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

    def groups(self) -> Generator[list[Decided], None, None]:
        """What `results` yields, those that are known at the same moment together."""
        found: list[Decided] = []
        for one in self.results():
            found.append(one)
            if not self.ready:
                yield found
                found = []

    def _batch_size(self) -> int:
        """Instances that pass the stages together: as many as the cheapest stage takes at once, and what all know has room."""
        most = max(self._size_of(stage) for stage in self.stages)
        if self.options.batch is not None or len(self.stages) < 2:
            return most
        known = _KNOWN * sum(node.size for node in self.problem.graph.nodes)
        return max(min(self._size_of(stage) for stage in self.stages), min(most, self.memory // _SHARE // known))

    def _size_of(self, stage: Stage) -> int:
        """Instances that a stage takes at once."""
        graph, device = self.problem.graph, self.device
        if self.options.batch is not None:
            return min(self.options.batch, most_at_once(graph, device))
        return batch_size(graph, [stage.domain.traits], self.formats, self.memory, device)

    def _batch(self, todo: Tensor) -> Generator[Decided, None, None]:
        """Decide a batch, stage by stage. Running out of memory is raised where a smaller batch may need less."""
        work: Undecided | None = None
        try:
            work = Undecided(self.problem, todo, self.device, self.name, self.spent)
            if self.options.evidence:
                work.recorder = Recorder.of(self.problem.region, self.memory / _EVIDENCE, self.options.semantics)
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
        done = work.drain()
        for place, one in enumerate(done):
            self.ready = len(done) - place - 1
            yield one

    def _decide(self, work: Undecided) -> Generator[Decided, None, None]:
        parts, few = [work], min(self._size_of(stage) for stage in self.stages)
        for step in self.strategy.plan():
            if isinstance(step, Falsification):
                parts = [one for part in parts for one in part.split(few)]      # what is found is told part by part
                chosen = [part for part in parts if part.corner is not None] if step.corners else parts
                yield from self._searched(chosen, step.effort)
                continue
            size = 1 if step.one_by_one else self._size_of(step)
            whole, others = Undecided.parted(parts if step.one_by_one else Undecided.together(parts), step.takes)
            chosen = [one for part in whole for one in part.split(size)]
            yield from self._proved(chosen, step)
            parts = chosen + others
        for part in parts:
            part.give_up()
            yield from self._told(part)

    def _say(self, stage: str, part: Undecided, more: str = "") -> None:
        if self.options.on_stage is not None:
            self.options.on_stage(f"{stage}, {'input' if len(part) == 1 else f'{len(part)} inputs'}"
                                  + (f" {part.part.index[0]}" if len(part) == 1 else "") + (f": {more}" if more else ""))

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
            if stage.share < 1:
                until = min(until, now + stage.share * min(self.end - now, part.soonest(self.allowed) * len(part)))
            for turn, numerics in enumerate(self.formats if stage.domain.traits.mixed else [n.single() for n in self.formats]):
                if turn and not bool(part.again.any()):
                    break
                self._say(stage.label, part)
                begun: list[ProofSearch] = []
                yield from self._stage(part, partial(self._prove, part, stage, numerics, begun), until)
                for search in begun:
                    yield from self._branched(part, search, stage, _label(stage, numerics), until)

    def _prove(self, work: Undecided, stage: Stage, numerics: Numerics, begun: list[ProofSearch], budget: Budget) -> None:
        """One attempt at all undecided instances; what it proves is reported. begun: given the search that goes on from there."""
        try:
            with work.clock():
                found = self._attempt(work, stage, numerics, budget)
                work.mark()
                search = None if found is None else self._guarded(lambda: stage.search(found, work.spec, work.refuted), stage)
            if search is not None:
                begun.append(search)
            self._settle(work, _label(stage, numerics))
        except Exception as error:
            if not is_out_of_memory(error) or len(work) > 1:
                raise
            # A smaller batch does not exist, but another stage may need less.
            work.reason[0] = Reason.MEMORY
            if isinstance(error, MemoryBudgetError):
                work.note(((0, f"{_label(stage, numerics)}: {error}"),))

    def _branched(self, work: Undecided, search: ProofSearch, stage: Stage, label: str, until: float) -> Generator[Decided, None, None]:
        """A search, step by step, on what is undecided: what a step decides leaves, and so does what has had its time."""
        said = -inf
        try:
            while True:
                now = time.monotonic()
                if now >= self.end:
                    work.give_up(Reason.TIMEOUT, cut=True)
                else:
                    work.expire(self.allowed, 0.0)
                yield from self._told(work)
                search.keep(work.marked)
                if not bool(search.open.any()):
                    return
                own = now + work.soonest(self.allowed) * len(work)
                work.total = own >= min(self.end, until)
                if now >= until:
                    work.late()
                    return
                if self.options.on_stage is not None and now - said >= _SAID and (more := search.said):
                    said = now
                    self._say(stage.label, work, more)
                budget = Budget(self.memory, min(self.end, until, own), backend.rate(self.device))
                with work.clock(), torch.no_grad():
                    found = self._guarded(partial(search.step, budget), stage).take(work.origin)
                    Centres(work, self.name).check_disjuncts(found.lower)
                work.searched(found)
                if found.points is not None:
                    self._replay(work, found.points, budget, label)
                self._settle(work, label)
                yield from self._told(work)
        except Exception as error:
            if not is_out_of_memory(error) or len(work) != 1:
                raise
            work.reason[0] = Reason.MEMORY
        finally:
            search.close()

    def _settle(self, work: Undecided, label: str) -> None:
        """Report what is proved."""
        proved = work.margin.cpu() > 0
        usable = torch.tensor([reason is Reason.IMPRECISE for reason in work.reason], dtype=torch.bool)
        if self.options.rounding:
            work.settle(Verdict.VERIFIED, None, proved & usable, label)
        else:
            work.settle(Verdict.LIKELY, Reason.UNROUNDED, proved & usable, label)
        if self.options.accept_solver and self.options.rounding:
            work.trust(torch.tensor([reason is Reason.SOLVER for reason in work.reason], dtype=torch.bool), label)

    def _attempt(self, work: Undecided, stage: Stage, numerics: Numerics, budget: Budget) -> Attempt | None:
        """Learn what one analysis proves of all undecided instances; None where it is out of reach."""
        known = {name: interval.to(numerics.vector) for name, interval in work.known.items()}
        recorder = work.recording
        ctx = Context(work.part.graph, work.part.region, numerics, budget, known=known, recorder=recorder)
        with torch.no_grad():
            excess = self._guarded(lambda: out_of_reach(stage.domain.traits, ctx), stage)
            if excess is not None:
                work.skip(excess[0], f"{_label(stage, numerics)} {excess[1]}")
                return None
            if recorder is not None:
                recorder.begin(_label(stage, numerics))
            found = self._guarded(lambda: stage.attempt(ctx, work.spec, corner=self.attack is not None, proved=work.refuted), stage)
            centres = Centres(work, self.name)
            centres.check_rows(found.interval.lower)
            if found.refuted is not None:
                centres.check_disjuncts(found.refuted)
        refuted, whole = refuted_by(found, work.spec), found.whole
        slack = slack_of(found, work.spec)
        work.learn(refuted, ctx, found.ctx, found.interval.solver, None if whole is None else whole.claimed)
        if recorder is not None:
            recorder.commit()
        work.corner = work.corner if found.corner is None else found.corner
        work.limit = [None] * len(work)
        work.reasons()
        if found.ctx.hurried:
            work.hurried()
        work.note(stage.notes(found))
        work.slack = slack.to(work.refuted)
        return found

    def _guarded(self, run: Callable[[], _Found], stage: Stage) -> _Found:
        """The engine, with a stranger's exceptions turned into one coded error."""
        try:
            return run()
        except (AbsintError, DeadlineError):
            raise
        except Exception as error:
            if is_out_of_memory(error):
                raise
            ours = all(type(part).__module__.startswith("absint.") for part in (self.strategy, stage.domain))
            kind = InternalError if ours else PluginError
            raise kind("E-DOMAIN-RAISED", f"the domain raised {type(error).__name__}: {error}", where=self.name,
                       hint="run absint.testing.kit.check_domain on it; --debug shows the traceback") from error

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


def _label(stage: Stage, numerics: Numerics) -> str:
    return f"{stage.label} {str(numerics.dtype).removeprefix('torch.')}"
