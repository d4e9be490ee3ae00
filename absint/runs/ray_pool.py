"""Who decides which item next: the workers of one run, the items that wait, and what comes of them."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from math import ceil, inf
from pathlib import Path
from typing import Any

from absint.contract.analysis import TIMED_OUT, Analysis, Failure, Item
from absint.contract.run import Run
from absint.errors import ResourceError
from absint.runs.parcel import SAME_VERSIONS, Parcel, packed_items, sent_file
from absint.runs.processes import GRACE, TRIES, restored
from absint.runs.ray_cluster import RayCluster
from absint.runs.ray_hands import Errand, Hand, kind_of

AIM = 5.0           # seconds that a batch should take: long beside what handing it out costs, short beside what its loss costs
_GROWTH = 4         # a batch is at most so many times as large as the largest one before
_SHARES = 2         # of what waits, a worker is given at most one of so many shares, so that all of them end together
START = 300.0       # seconds within which the first worker has started
_LOOK = 0.5         # seconds between two looks at the clock
_PAGE = ("^", "File ", "class_name", "actor_id", "namespace", "pid:", "The actor died unexpectedly")    # what nobody needs to know
_FALSE_STARTS = 3   # workers that may die while they start, for each that is wanted


class RayPool:
    """Mutable. wanted: how many workers there are to be."""

    def __init__(self, analysis: Analysis[Any, Any], run: Run[Any], cluster: RayCluster, parcel: Parcel, items: Sequence[Item]) -> None:
        import ray

        self.analysis, self.run, self.cluster = analysis, run, cluster
        self.waiting = deque(Errand(item) for item in items)
        self.wanted = min(run.options.processes or max(1, cluster.room()), len(items))
        self.hands: list[Hand] = []
        self._parcel = ray.put(parcel)      # once; Ray brings it to each node once
        self._files: dict[Path, Any] = {}
        self._seconds = self._decided = 0.0
        self._largest = 0
        self._head, self._kind = cluster.head(), kind_of(cluster)
        self._begin, self._started, self._false = time.monotonic(), False, 0

    def close(self) -> None:
        """End every worker."""
        for hand in self.hands:
            hand.end()
        self.hands.clear()

    def records(self) -> Iterator[Any]:
        """Records and failures, as they come."""
        while (self.waiting and not self.run.over) or any(hand.errands for hand in self.hands):
            self._hand_out()
            for hand in self._stirring():
                yield from self._look_at(hand)
            for hand in [hand for hand in self.hands if time.monotonic() >= hand.deadline]:
                yield from self._killed(hand)
            self._wait_no_longer()
            self._watch()

    # ---- handing out -------------------------------------------------------------------------------------------------

    def _hand_out(self) -> None:
        """A batch for every worker that has none, and a new worker for one that is gone."""
        if self.run.over:
            return
        for hand in [hand for hand in self.hands if hand.idle]:
            if self.waiting:
                self._give(hand)
        missing = min(self.wanted, len(self.waiting) + sum(bool(hand.errands) for hand in self.hands)) - len(self.hands)
        if missing > 0 and self._head.answers():        # while it does not, Ray would wait for it and be told nothing else
            self.hands += [Hand(self._parcel, self._kind) for _ in range(missing)]
        self._tell()

    def _give(self, hand: Hand) -> None:
        """The next items; one whose worker has died goes alone."""
        count = 1 if self.waiting[0].alone else self._size()
        errands: list[Errand] = []
        while self.waiting and len(errands) < count and not (errands and self.waiting[0].alone):
            errands.append(self.waiting.popleft())
        items = [errand.item for errand in errands]
        limit = min(sum(self._limit(item) for item in items), self.run.left)
        files = [self._sent(Path(file)) for item in items for file in self.analysis.files(item)]
        hand.give(errands, (packed_items(items), None if self.run.left == inf else self.run.left, files), time.monotonic() + limit + GRACE)

    def _size(self) -> int:
        """Of the next batch, by what items have cost so far."""
        fair = ceil(len(self.waiting) / (_SHARES * max(1, len(self.hands))))
        aimed = int(AIM * self._decided / self._seconds) if self._seconds else _GROWTH
        size = max(1, min(aimed, fair, self._largest * _GROWTH or 1))
        self._largest = max(self._largest, size)
        return size

    def _limit(self, item: Item) -> float:
        return self.run.timeout if item.limit is None else item.limit

    def _sent(self, file: Path) -> Any:
        """A reference to the file in the cluster's store, where it is put once."""
        import ray

        if file not in self._files:
            self._files[file] = ray.put(sent_file(file))
        return self._files[file]

    def _tell(self) -> None:
        """To whoever watches."""
        ready = [hand for hand in self.hands if hand.node]
        nodes, busy = len({hand.node for hand in ready}), sum(len(hand.errands) for hand in ready)
        more = f", {len(self.hands) - len(ready)} to start" if len(ready) < len(self.hands) else ""
        self.run.stage(f"ray: {busy} at {_count(len(ready), 'worker')} on {_count(nodes, 'node')}{more}")

    # ---- what comes back ---------------------------------------------------------------------------------------------

    def _stirring(self) -> list[Hand]:
        """The workers of which there is news, after a moment's wait."""
        import ray

        awaited = [hand.awaited for hand in self.hands if hand.awaited is not None]
        if not awaited:
            time.sleep(_LOOK)
            return []
        nearest = min((hand.deadline for hand in self.hands), default=inf)
        patience = max(0.0, min(_LOOK, nearest - time.monotonic()))
        try:
            ready, _ = ray.wait(awaited, num_returns=1, timeout=patience)
            if ready and len(awaited) > 1:
                ready, _ = ray.wait(awaited, num_returns=len(awaited), timeout=0)
        except ray.exceptions.RayError as error:
            raise self._lost(_why(error)) from error
        stirring = {id(one) for one in ready}
        return [hand for hand in self.hands if id(hand.awaited) in stirring]

    def _look_at(self, hand: Hand) -> Iterator[Any]:
        """What a worker says; what is to be done about one that has died."""
        import ray

        try:
            if not hand.node:
                self._welcome(hand)
                return
            line = hand.line()
        except (ray.exceptions.RayActorError, ray.exceptions.WorkerCrashedError, ray.exceptions.NodeDiedError,
                ray.exceptions.ObjectLostError, ray.exceptions.RayTaskError) as error:
            yield from self._died(hand, error)
            return
        except ray.exceptions.RayError as error:
            raise self._lost(_why(error)) from error
        if line is None:
            yield from self._died(hand, None)
            return
        yield from self._said(hand, line)

    def _welcome(self, hand: Hand) -> None:
        """A worker that has started. Raises ResourceError E-RAY-NODE where its node cannot decide anything."""
        refused = hand.greet()
        self._started = True
        if refused:
            raise ResourceError("E-RAY-NODE", f"node {hand.node} cannot decide anything: [{refused['code']}] {refused['what']}",
                                where=self.cluster.where, hint=refused["hint"] or SAME_VERSIONS)

    def _said(self, hand: Hand, line: str) -> Iterator[Any]:
        """One line of an answer."""
        told = json.loads(line)
        if "end" in told:
            self._count(hand)
            hand.free()
            return
        if "error" in told or "raised" in told:
            code, what = ("E-WORKER-DIED", f"its worker failed: {told['raised']}") if "raised" in told else (
                str(told["error"]["code"]), str(told["error"]["what"]))
            yield from self._unanswered(hand, code, what)
            return
        mine = next((errand for errand in hand.asked if errand.item.index == told["index"]), None)
        try:
            if mine is None:
                raise ValueError(f"item {told['index']} is none of those it was asked about")
            answer = Failure(**told["failure"]) if "failure" in told else restored(self.analysis, told)
            if answer is not None and answer.index != told["index"]:
                raise ValueError(f"item {answer.index} under the name of {told['index']}")
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            self._dismiss(hand)     # it would go on answering
            yield from self._unanswered(hand, "E-WORKER-ANSWER", f"the worker did not answer as asked: {type(error).__name__}: {error}")
            return
        hand.done(mine)
        if answer is not None:
            yield answer

    def _count(self, hand: Hand) -> None:
        """What a whole batch has cost. Half of what was known before is forgotten: items come in kinds."""
        seconds, decided = time.monotonic() - hand.begin, len(hand.asked)
        self._seconds, self._decided = self._seconds / 2 + seconds, self._decided / 2 + decided

    def _unanswered(self, hand: Hand, code: str, what: str) -> Iterator[Any]:
        """A batch that met an error: it costs the one item an answer that meets it alone, too."""
        left, alone = hand.errands, len(hand.asked) == 1
        hand.free()
        if alone:
            yield from (self._failure(hand, errand, code, what) for errand in left)
        else:
            self.waiting.extendleft(errand.by_itself() for errand in reversed(left))

    def _died(self, hand: Hand, error: Exception | None) -> Iterator[Any]:
        """Its items are tried once more, each alone."""
        node, why = hand.node or "a node", _why(error)
        begun = bool(hand.node)
        self._dismiss(hand)
        if not begun:
            self._false_start(why)
            return
        for errand in reversed(hand.errands):
            if errand.attempt < TRIES:
                self.waiting.appendleft(errand.again())
            else:
                yield self._failure(hand, errand, "E-WORKER-DIED", f"its worker died, {TRIES} times, now on {node}: {why}")

    def _false_start(self, why: str) -> None:
        """Raises ResourceError E-RAY-NODE for a node where absint does not start, E-RAY-BUSY where workers die again and again."""
        if "creation task" in why or "ModuleNotFoundError" in why or "ImportError" in why:
            raise ResourceError("E-RAY-NODE", f"a node cannot decide anything: {why}", where=self.cluster.where, hint=SAME_VERSIONS)
        self._false += 1
        if self._false > _FALSE_STARTS * self.wanted:
            raise ResourceError("E-RAY-BUSY", f"workers die while they start, at last: {why}", where=self.cluster.where,
                                hint="see `ray status` and the logs of its nodes; fewer --processes need less memory")

    def _killed(self, hand: Hand) -> Iterator[Any]:
        """Past the limits of all its items; or the whole run's, and then they are not decided."""
        over = self.run.over
        self._dismiss(hand)
        if over:
            return
        left = hand.errands
        if len(hand.asked) > 1:
            self.waiting.extendleft(errand.by_itself() for errand in reversed(left))
            return
        for errand in left:
            limit = self._limit(errand.item)
            yield self._failure(hand, errand, TIMED_OUT, f"its worker was killed, still running {GRACE:g} s past the limit of {limit:g} s")

    def _dismiss(self, hand: Hand) -> None:
        hand.end()
        self.hands.remove(hand)

    def _wait_no_longer(self) -> None:
        """Raises ResourceError E-RAY-BUSY where no worker has started in time."""
        if not self._started and time.monotonic() - self._begin > START:
            each = f"{self.cluster.cpus} CPU" + (f" and {self.cluster.gpus} GPU" if self.cluster.gpus else "")
            raise ResourceError("E-RAY-BUSY", f"no worker has started within {START:g} s; each needs {each}; the cluster has "
                                f"{self.cluster.shown()}", where=self.cluster.where, hint="see `ray status`; wait for others to end, or "
                                "ask for a cluster with more")

    def _watch(self) -> None:
        """Raises ResourceError E-RAY-LOST where the head node is gone for good: nobody would say any more who dies."""
        silent = self._head.lost()
        if silent is not None:
            raise self._lost(f"its head node is silent for {silent:.0f} s")

    def _lost(self, why: str) -> ResourceError:
        return ResourceError("E-RAY-LOST", f"the cluster does not answer any more: {why}", where=self.cluster.where,
                             hint="what a --journal holds is kept: start the cluster again, then --resume")

    @staticmethod
    def _failure(hand: Hand, errand: Errand, code: str, what: str) -> Failure:
        return Failure(errand.item.index, errand.item.name, code, " ".join(what.split()), time.monotonic() - hand.begin)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _why(error: Exception | None) -> str:
    """Of Ray's pages about a death, what says why."""
    if error is None:
        return "it ended without a whole answer"
    lines: Mapping[str, None] = dict.fromkeys(line.strip() for line in str(error).splitlines() if line.strip())
    told = [line for line in lines if not line.startswith(_PAGE)]
    return " ".join(" ".join(told).split())[:300]
