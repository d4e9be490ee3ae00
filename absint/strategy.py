"""For those who write a strategy. A public face of `absint.search`."""

from absint.engine.attempts import Beyond
from absint.engine.domain import Context
from absint.problem.spec import Refutation, Spec
from absint.search.bounders.disjuncts import Tactic
from absint.search.bounders.programs import Programs
from absint.search.branchers.inputs import Splitting
from absint.search.names import strategy_of, walker_of
from absint.search.strategy import STRATEGIES, Stage, Strategy, register_strategy
from absint.solvers.choice import solvers_of

__all__ = [
    "STRATEGIES",
    "Beyond",
    "Context",
    "Programs",
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
