"""What `absint query` and `absint.verify_query` can be told."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from absint.contract.common_options import MODEL_TYPES, ProofChoice
from absint.contract.options import LIMITS, METHOD, MODEL, OUTPUT, option

QUERY = "VNN-LIB"
ALONE, LISTED = "local", "processes"    # where one query is decided, and where those of a list are


@dataclass(frozen=True)
class QueryOptions(ProofChoice):
    """See `QueryAnalysis`."""

    query: Any = option(None, "The query, VNN-LIB 1.0 or 2.0.", group=MODEL, argument=True, metavar="[QUERY.vnnlib]", common=True,
                        kind=Path, accepts="Query | str | Path | None", binds=False)
    network: Any = option(None, "The network of the query: net.onnx, or NAME=net.onnx.", group=QUERY, common=True, kind=str, many=True,
                          keyword="graph", accepts=f"{MODEL_TYPES} | None", binds=False,
                          file=re.compile(r"(?:[A-Za-z_][\w.-]*=)?(.+)", re.DOTALL))
    output: str | None = option(None, "Which of several outputs of the network Y is, or a tensor inside, where the network then ends.",
                                group=MODEL)
    normalisation: bool = option(True, "Leave out the normalisation that the network's file states (.nnet).", group=MODEL,
                                 word="--no-normalisation")
    instances: Path | None = option(None, "CSV of network, query, timeout: answer all, each in a process of its own.", group=QUERY,
                                    common=True, binds=False)
    serialise_assignments: Path | None = option(None, "Folder for the assignment as ONNX tensors, instead of stdout.", group=QUERY,
                                                binds=False, writes="result")
    timeout: float | str | None = option(60.0, "Seconds, from the start of the process; of a list, at most so many a line; or none.",
                                         group=LIMITS, unit="s", shown="60; of a list, the lines' own", common=True, kind=str,
                                         accepts="float | str | None", binds=False)
    executor: str = option("", "Where it is answered: local; processes: one a query, killed at its limit; ray: a cluster.", group=LIMITS,
                           shown=f"{ALONE}; {LISTED} for a list", binds=False)
    batch: int | None = option(None, "Boxes analysed together.", group=LIMITS, shown="by memory", binds=False)
    rounding: bool = option(True, "Ignore rounding errors; proves nothing.", group=METHOD, word="--no-rounding")
    accept_solver: bool = option(False, "Count what rests on a solver's word alone as verified.", group=METHOD)
    evidence: bool = option(False, "Keep what the answer rests on: slopes, multipliers, divisions, as `evidence` of its `results`.",
                            group=METHOD, command=False, binds=False)
    witness: Path | None = option(None, "Folder for the counterexample found.", group=OUTPUT, common=True, binds=False,
                                 writes="result")
