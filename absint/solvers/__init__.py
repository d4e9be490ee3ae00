"""LP and MILP solvers: plug-ins that claim, one function that proves, and the encodings of graphs as models."""

from absint.solvers.interface import SOLVERS, Engine, Presence, Solver, register_solver, solver
from absint.solvers.model import Claim, Limits, Model, SolverAnswer, SolverError, Status, Trouble
from absint.solvers.reproved_bounds import SafeBounds
from absint.solvers.session import Session

__all__ = [
    "SOLVERS",
    "Claim",
    "Engine",
    "Limits",
    "Model",
    "Presence",
    "SafeBounds",
    "Session",
    "Solver",
    "SolverAnswer",
    "SolverError",
    "Status",
    "Trouble",
    "register_solver",
    "solver",
]
