"""Whether the LP and MILP solvers that are installed solve a small problem, and under which licence."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

_LIMIT = 2000          # rows and columns that Gurobi's free licence allows
_SIZE_LIMITED = 10010  # Gurobi's error code for a model above that


@dataclass(frozen=True)
class Solver:
    """What was found of one solver. limited: it works, but its licence restricts it."""

    name: str
    ok: bool
    found: str
    mend: str
    present: bool = True
    limited: bool = False


def found_solvers() -> Iterator[Solver]:
    """One entry per solver that absint knows of."""
    kinds: tuple[tuple[str, str, str, Callable[[str], Solver]], ...] = (
        ("highspy", "highspy", "pip install highspy", _highs),
        ("CBC (PuLP)", "pulp", "pip install pulp", _cbc),
        ("gurobipy", "gurobipy", "pip install gurobipy", _gurobi),
    )
    for name, module, install, probe in kinds:
        if find_spec(module) is None:
            yield Solver(name, True, "not installed; optional", install, present=False)
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of interfaces that their next version drops
                yield probe(name)
        except Exception as error:  # a broken binary raises whatever it likes
            text = (str(error).splitlines() or [""])[0]
            mend = install.replace("install", "install --force-reinstall")
            yield Solver(name, False, f"does not work: {type(error).__name__}: {text}", mend)


def _right(name: str, value: float, version: str, mend: str, licence: str) -> Solver:
    """minimise x + y where x + 2 y >= 2, x, y >= 0: the minimum is 1."""
    if abs(value - 1) > 1e-6:
        return Solver(name, False, f"{version} finds {value:g} as the minimum of a small LP, which is 1", mend)
    return Solver(name, True, f"{version}, solves a small LP, {licence}", mend)


def _highs(name: str) -> Solver:
    highspy: Any = import_module("highspy")
    solver = highspy.Highs()
    solver.setOptionValue("output_flag", False)
    for _ in range(2):
        solver.addVar(0.0, highspy.kHighsInf)
    for column in range(2):
        solver.changeColCost(column, 1.0)
    solver.addRow(2.0, highspy.kHighsInf, 2, [0, 1], [1.0, 2.0])
    solver.run()
    return _right(name, solver.getInfo().objective_function_value, solver.version(), "pip install --force-reinstall highspy", "MIT licence")


def _cbc(name: str) -> Solver:
    pulp: Any = import_module("pulp")
    command = pulp.PULP_CBC_CMD(msg=False)
    if not command.available():
        return Solver(name, False, f"PuLP {pulp.__version__} has no CBC program for this machine", "pip install --force-reinstall pulp")
    problem = pulp.LpProblem("doctor", pulp.LpMinimize)
    x, y = (pulp.LpVariable(letter, lowBound=0) for letter in "xy")
    problem += x + y
    problem += x + 2 * y >= 2
    problem.solve(command)
    version = f"PuLP {pulp.__version__}"
    return _right(name, float(pulp.value(problem.objective)), version, "pip install --force-reinstall pulp", "EPL licence")


def _gurobi(name: str) -> Solver:
    gurobi: Any = import_module("gurobipy")
    version = ".".join(map(str, gurobi.gurobi.version()))
    mend = "grbgetkey KEY, with a key from gurobi.com (free for academic use)"
    try:
        env = gurobi.Env(empty=True)
        env.setParam("OutputFlag", 0)
        env.start()
    except gurobi.GurobiError as error:
        return Solver(name, True, f"{version}, but no licence: {error}", mend, limited=True)
    with env, gurobi.Model(env=env) as model:
        x, y = model.addVar(), model.addVar()
        model.setObjective(x + y)
        model.addConstr(x + 2 * y >= 2)
        model.optimize()
        found = _right(name, model.ObjVal, version, mend, "")
        limited = _is_limited(gurobi, env)
    kind = f"licence limited to {_LIMIT} rows and columns, non-production" if limited else "full licence"
    return Solver(name, found.ok, found.found.rstrip(", ") + (f", {kind}" if found.ok else ""), mend, limited=limited)


def _is_limited(gurobi: Any, env: Any) -> bool:
    with gurobi.Model(env=env) as model:
        model.addVars(_LIMIT + 1)
        try:
            model.optimize()
        except gurobi.GurobiError as error:
            return bool(error.errno == _SIZE_LIMITED)
    return False
