"""The program that runs PuLP in a process of its own: reads model.npz, writes answer.npz, both in the working directory.

Started as a script with two arguments, the solver's name as PuLP knows it and the time limit. It imports nothing of absint.
Once its standard input ends, its parent has died: it kills its own process group, the solver's program included.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
from typing import Any

import numpy as np


def watch() -> None:
    """Wait for the parent's death; it can no longer remove the working directory then."""
    while os.read(0, 1):
        pass
    shutil.rmtree(os.getcwd(), ignore_errors=True)
    if hasattr(os, "killpg"):
        os.killpg(os.getpgid(0), signal.SIGKILL)
    os._exit(1)


def problem(pulp: Any, data: Any) -> tuple[Any, list[Any], list[tuple[Any, int]]]:
    """The model in PuLP's objects, its variables, and its constraints with their rows (a row with two sides has two)."""
    made = pulp.LpProblem("absint", pulp.LpMinimize)
    kinds = [pulp.LpInteger if whole else pulp.LpContinuous for whole in data["integer"]]
    columns = [pulp.LpVariable(f"x{k}", _side(low), _side(high), kind)
               for k, (low, high, kind) in enumerate(zip(data["lower"], data["upper"], kinds, strict=True))]
    made.setObjective(pulp.LpAffineExpression([(x, float(c)) for x, c in zip(columns, data["cost"], strict=True) if c]))
    start, index, value = data["start"], data["index"], data["value"]
    constraints = []
    for row, (low, high) in enumerate(zip(data["row_lower"], data["row_upper"], strict=True)):
        part = slice(start[row], start[row + 1])
        terms = [(columns[k], float(v)) for k, v in zip(index[part], value[part], strict=True)]
        if not terms:
            continue  # CBC's file format has no empty rows; absint's own bound needs none
        sides = [(pulp.LpConstraintEQ, low)] if low == high else [(pulp.LpConstraintGE, low), (pulp.LpConstraintLE, high)]
        for sense, side in sides:
            if np.isfinite(side):
                constraint = pulp.LpConstraint(pulp.LpAffineExpression(terms), sense, f"r{row}_{sense + 1}", float(side))
                made.addConstraint(constraint)
                constraints.append((constraint, row))
    return made, columns, constraints


def _side(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def number(value: Any) -> float:
    """PuLP's None is NaN here."""
    return float("nan") if value is None else float(value)


def main(name: str, seconds: float) -> None:
    """Solve and write the answer."""
    # The solver's files lie beside the answer and go with it, also after a kill.
    os.environ.update(dict.fromkeys(("TMPDIR", "TEMP", "TMP"), os.getcwd()))
    import pulp

    data = np.load("model.npz", allow_pickle=False)
    made, columns, constraints = problem(pulp, data)
    chosen = pulp.getSolver(name, msg=False, timeLimit=seconds)
    made.solve(chosen)
    multipliers = np.zeros(len(data["row_lower"]))
    for constraint, row in constraints:
        multipliers[row] += number(constraint.pi)
    np.savez("partial.npz", status=made.status, sol_status=made.sol_status, multipliers=multipliers,
             point=np.array([number(x.varValue) for x in columns]))
    os.replace("partial.npz", "answer.npz")


if __name__ == "__main__":
    threading.Thread(target=watch, daemon=True).start()
    main(sys.argv[1], float(sys.argv[2]))
