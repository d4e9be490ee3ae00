"""`query` as an analysis: one VNN-LIB query by the standard's solver interface, or a list of them."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from absint.analyses.query.instance_list import Line, hashed, read_list
from absint.analyses.query.options import ALONE, LISTED, QueryOptions
from absint.analyses.query.record import ERROR, SAT, TIMED_OUT, UNKNOWN, UNSAT, AnswerRecord
from absint.contract import analysis as contract
from absint.contract.analysis import Analysis, Failure, Item
from absint.contract.document import Document, Json
from absint.contract.options import given, options_of
from absint.contract.replay import WitnessReplay
from absint.contract.run import Run, seconds_of
from absint.errors import AbsintError, InputError, UnsupportedError, UsageError
from absint.model.digest import digest
from absint.verdict import Reason

if TYPE_CHECKING:
    from absint.analyses.query.asking import AskedQuery

_NAMED = re.compile(r"([A-Za-z_][\w.-]*)=(.+)", re.DOTALL)
_OF_ONE = ("network", "output", "normalisation", "serialise_assignments", "witness")      # options that mean nothing for a list
_OF_LISTS = ("journal", "resume", "processes", "address")                 # and for a single query


@dataclass(frozen=True)
class Network:
    """What --network says: the name the query calls it by, if one is given, and the file or object."""

    name: str | None
    model: Any


@dataclass(frozen=True)
class Listing:
    """A list of queries, read when its items are asked for: who is sent one of them needs no list."""

    path: Path
    cap: float
    kept: bool

    @cached_property
    def lines(self) -> list[Line]:
        """With the hashes of their files, where answers are kept under them."""
        lines = read_list(self.path, self.cap)
        return hashed(lines) if self.kept else lines


class QueryAnalysis(Analysis[QueryOptions, AnswerRecord]):
    """Answer a VNN-LIB query about a network: the first line of stdout is sat, unsat, unknown or timed-out.

    Sat comes with a counterexample that is proved and replayed, unsat is proved. --timeout counts from the start of the process.
    With --instances, a whole list of queries is answered, each in a process of its own.

    Exit code 0: answered, whatever the answer. 1: of a list, some queries met errors.
    2 usage, 3 bad input, 4 unsupported, 5 resource, 70 internal error, 130 interrupted.
    """

    Options = QueryOptions
    Record = AnswerRecord
    records: ClassVar[str] = "answers"
    positional: ClassVar[tuple[str, ...]] = ("network", "query")
    function: ClassVar[str] = "verify_query"
    returns: ClassVar[str] = "absint.analyses.query.answering:QueryResult"
    project: ClassVar[bool] = False     # by a standard's interface, the same command is the same question wherever it is given

    # ---- what is asked ---------------------------------------------------------------------------------------------

    def check(self, options: QueryOptions) -> None:
        """One query about one network, or a list."""
        listed = options.instances is not None
        stated = {one.name for one, _ in given(options)}
        meaningless = stated & {*(_OF_ONE if listed else _OF_LISTS)}
        alien = next((one for one in options_of(QueryOptions) if one.name in meaningless), None)
        if listed and options.query is not None:
            raise UsageError("E-USAGE", "--instances names networks and queries itself", where=str(options.query), hint="leave this out")
        if alien is not None:
            raise UsageError("E-USAGE", f"{alien.word} has no meaning for a {'list of queries' if listed else 'VNN-LIB query'}",
                             hint="the list names networks and queries" if listed else "the query states the property, --timeout and "
                             "--domain say how to prove it")
        if listed and options.evidence:
            raise UsageError("E-EVIDENCE", "evidence does not leave the process it was found in", where=str(options.instances),
                             hint="ask the queries one by one")
        if listed:
            return
        if options.query is None:
            raise UsageError("E-USAGE", "Missing argument 'QUERY.vnnlib'", hint="see absint query --help")
        if options.executor not in ("", ALONE):
            raise UsageError("E-USAGE", "a single query is answered in this process", where="--executor", hint="leave this out")
        network_of(options)
        if options.witness is not None:
            from absint.attacks.witness_files import check_folder

            check_folder(Path(options.witness))

    def resolved(self, options: QueryOptions) -> QueryOptions:
        """A list has limits of its own, which only a stated one caps, and processes."""
        listed = options.instances is not None
        executor = options.executor or (LISTED if listed else ALONE)
        capped = not listed or any(one.name == "timeout" for one, _ in given(options))
        return replace(options, executor=executor, timeout=options.timeout if capped else None)

    def default_format(self, options: QueryOptions) -> str:
        """A list is answered by a table."""
        return "csv" if options.instances is not None else "text"

    def reads(self, options: QueryOptions) -> Mapping[str, Path]:
        """The network."""
        model = network_of(options).model if options.network else None
        return {"--network": Path(model)} if isinstance(model, (str, Path)) else {}

    def overdue(self, options: QueryOptions) -> tuple[float, Document, AnswerRecord] | None:
        """An answer in time, whatever hangs. A list has a guard of its own for each process."""
        if options.instances is not None:
            return None
        limit = min(seconds_of(options.timeout, "--timeout"), seconds_of(options.total_timeout, "--total-timeout"))
        model = network_of(options).model if options.network else None
        names = [str(one) if isinstance(one, (str, Path)) else "" for one in (model, options.query)]
        record = AnswerRecord(0, names[0], names[1], TIMED_OUT, limit, reason=Reason.TIMEOUT.value)
        return limit, Document(lead=f"{TIMED_OUT}\n", values={"answer": TIMED_OUT, "reason": Reason.TIMEOUT.value}), record

    def prepare(self, run: Run[QueryOptions]) -> AskedQuery | Listing:
        """The query and the network, read; or the list, not read yet."""
        from absint.analyses.query.asking import read
        from absint.analyses.verify.run_settings import settings_of

        options = run.options
        settings_of(run)
        if options.instances is not None:
            return Listing(Path(options.instances), run.timeout, options.journal is not None)
        network = network_of(options)
        return read(options.query, network.model, options, network.name)

    def items(self, run: Run[QueryOptions]) -> Sequence[Item]:
        """The lines of the list; or the one query."""
        if isinstance(run.problem, Listing):
            return [Item(line.index, f"{line.onnx} {line.vnnlib}", line.timeout, line) for line in run.problem.lines]
        return [Item(0, run.problem.query.path or "query")]

    def files(self, item: Item) -> Sequence[Path]:
        """Of a line, network and query; weights that lie beside a network have to lie on every machine."""
        return () if item.payload is None else tuple(one for one in (item.payload.network, item.payload.query) if one.is_file())

    def moved(self, item: Item, places: Mapping[Path, Path]) -> Item:
        """The line, as written, about the files where they lie now."""
        line = item.payload
        return replace(item, payload=replace(line, network=places.get(line.network, line.network),
                                             query=places.get(line.query, line.query)))

    def about(self, run: Run[QueryOptions]) -> Mapping[str, Json]:
        """Network and query."""
        if isinstance(run.problem, Listing):
            return {"instances": {"path": str(run.problem.path)}}
        from absint.analyses.query.documents import model_facts, query_facts

        try:
            reader = version("vnnlib")
        except PackageNotFoundError:
            reader = "missing"
        sense = "in exact real arithmetic" + (" and in every float32 execution" if run.options.semantics == "float32" else "")
        assurance = (f"unsat: proved that no real input meets the query, {sense}; sat: one that does was found, replayed in onnxruntime "
                     "and proved; anything else: neither, and nothing is said of the network")
        return {"model": model_facts(run.problem.graph), "query": query_facts(run.problem.query), "assurance": assurance,
                "versions": {"vnnlib": reader}}

    def binding(self, run: Run[QueryOptions]) -> Mapping[str, Json]:
        """All that the answers depend on: the list as it was read, every byte of every file it names, its cap."""
        if not isinstance(run.problem, Listing) or not run.problem.kept:
            return {}
        lines = run.problem.lines
        return {"instances_sha256": digest(json.dumps([[one.onnx, one.vnnlib, one.timeout] for one in lines]).encode()),
                "files_sha256": digest(json.dumps([one.sha256 for one in lines]).encode()),
                "timeout": None if run.timeout == inf else run.timeout}

    def opening(self, run: Run[QueryOptions], count: int) -> str:
        """Of a list."""
        return f"answering {count} queries of {run.problem.path}" if isinstance(run.problem, Listing) else ""

    # ---- the answers -----------------------------------------------------------------------------------------------

    def decide(self, items: Sequence[Item], run: Run[QueryOptions]) -> Iterator[AnswerRecord | Failure]:
        """One after the other. What a line of a list is about is read here; its errors are its own."""
        for place, item in enumerate(items):
            begin = time.monotonic() if place else run.begin
            if item.payload is None:
                yield self._answer(item, run.problem, run, begin, min(run.end, run.begin + run.timeout))
                continue
            try:
                yield self._line(item, item.payload, run, begin)
            except AbsintError as error:
                where = f"{error.where}: " if error.where else ""
                yield Failure(item.index, item.name, error.code, f"{where}{error.what}", time.monotonic() - begin)

    def _line(self, item: Item, line: Line, run: Run[QueryOptions], begin: float) -> AnswerRecord:
        from absint.analyses.query.asking import read

        end = time.monotonic() + (line.timeout if item.limit is None else item.limit)
        asked = read(line.query, line.network, run.options)
        if line.sha256 is not None and line.sha256 != asked.sha256:
            # A failure is shown without advice: what to do is part of what is said.
            raise InputError("E-INSTANCES-CHANGED", "network or query have changed since the run began, and nothing is said of other "
                             "bytes: run again", where=item.name)
        answer = self._answer(item, asked, run, begin, min(run.end, end), cut=run.end < end)
        return replace(answer, onnx=line.onnx, vnnlib=line.vnnlib, found=None)

    def _answer(self, item: Item, asked: AskedQuery, run: Run[QueryOptions], begin: float, end: float, *,
                cut: bool = False) -> AnswerRecord:
        from absint.analyses.query.asking import find, record_of

        found = find(asked, run, end)
        names = (asked.graph.source.path, asked.query.path)
        return record_of(found, item.index, names, time.monotonic() - begin, cut=cut)

    def tone(self, record: AnswerRecord) -> str:
        """By the answer."""
        return {UNSAT: "good", SAT: "bad", ERROR: "bad"}.get(record.verdict, "open")

    def failed(self, item: Item, failure: Failure) -> AnswerRecord | None:
        """No answer, and why: an item that could not be stopped in time is timed out, any other one met an error."""
        if item.payload is None:
            return None
        late = failure.code == contract.TIMED_OUT
        return AnswerRecord(item.index, item.payload.onnx, item.payload.vnnlib, TIMED_OUT if late else ERROR, failure.time_s,
                            reason=Reason.TIMEOUT.value if late else failure.code, notes=(failure.what,))

    def replayed(self, record: AnswerRecord, run: Run[QueryOptions]) -> WitnessReplay:
        """Of a single query, by onnxruntime and a proof against the exact query."""
        if record.witness is None or isinstance(run.problem, Listing):
            return WitnessReplay()
        from absint.analyses.query.asking import is_counterexample

        return WitnessReplay.of(is_counterexample(record, run))

    def on_networks(self, options: QueryOptions, networks: Sequence[Path]) -> QueryOptions | None:
        """One network, by whatever name the query calls it."""
        return replace(options, network=(str(networks[0]),)) if len(networks) == 1 else None

    # ---- what they add up to ---------------------------------------------------------------------------------------

    def document(self, records: Sequence[AnswerRecord], run: Run[QueryOptions]) -> Document:
        """The answer as the standard prescribes it; or counts and median times by answer."""
        from absint.analyses.query.documents import document_of_list, document_of_one

        if isinstance(run.problem, Listing):
            return document_of_list(records, run)
        if not records:     # an interrupt came first
            return Document(lead=f"{UNKNOWN}\n", values={"answer": UNKNOWN, "reason": Reason.INTERRUPTED.value})
        return document_of_one(records[0], run)

    def finish(self, records: Sequence[AnswerRecord], document: Document, run: Run[QueryOptions]) -> Sequence[str]:
        """The counterexample as tensors and files, where they are asked for."""
        if not records or records[0].found is None:
            return ()
        from absint.analyses.query.assignment import serialise, witness_files

        found, options = records[0].found, run.options
        if found.result.witness is not None and options.serialise_assignments is not None:
            serialise(found.asked, found.result.witness, Path(options.serialise_assignments))
        return () if options.witness is None else witness_files(Path(options.witness), found)

    def value(self, records: Sequence[AnswerRecord], document: Document, run: Run[QueryOptions]) -> Any:
        """Of a single query its `QueryResult`."""
        return super().value(records, document, run) if isinstance(run.problem, Listing) else records[0].found.result


def network_of(options: QueryOptions) -> Network:
    """'N=net.onnx', 'net.onnx' (a file of that very name comes first), or an object. Raises UsageError, UnsupportedError."""
    stated = options.network
    several = stated if isinstance(stated, (list, tuple)) else (stated,)
    if len(several) > 1:
        raise UnsupportedError("E-VNNLIB-NETWORKS", f"{len(several)} networks", where="--network",
                               hint="absint answers queries about one network")
    if not several or several[0] is None:
        raise UsageError("E-NETWORK", "which network is the query about?", where="--network", hint="add --network net.onnx")
    match = _NAMED.fullmatch(several[0]) if isinstance(several[0], str) else None
    return Network(None, several[0]) if match is None or _exists(several[0]) else Network(match[1], match[2])


def _exists(name: str) -> bool:
    try:
        return Path(name).exists()
    except (OSError, ValueError):    # no name of a file
        return False


