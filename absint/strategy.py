"""For those who write a strategy. A public face of `absint.search`."""

from absint.engine.domain import Context
from absint.numeric.backend import Budget
from absint.problem.spec import Refutation, Spec
from absint.search.bounders.programs import Programs
from absint.search.branchers.boxes import Splitting
from absint.search.branching import Tactic
from absint.search.names import strategy_of, walker_of
from absint.search.search import Beyond, ProofSearch
from absint.search.strategy import STRATEGIES, Falsification, Stage, Strategy, register_strategy
from absint.solvers.choice import solvers_of

__all__ = [
    "STRATEGIES",
    "Beyond",
    "Budget",
    "Context",
    "Falsification",
    "Programs",
    "ProofSearch",
    "Refutation",
    "Spec",
    "Splitting",
    "Stage",
    "Strategy",
    "Tactic",
    "register_strategy",
    "solvers_of",
    "strategy_of",
    "walker_of",
]
