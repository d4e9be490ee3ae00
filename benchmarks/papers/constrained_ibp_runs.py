"""The trainings of `constrained_ibp.py`: what each one is, in the order of the queue, and the papers' figures.

Sources: Morawiecki et al. 2019, arXiv:1906.00628, table 1 and figures 3 to 7; the schedules are those of Gowal et al. 2018,
arXiv:1810.12715, section 4 and appendix A.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product

# Per cent of test images: clean, PGD, verified errors of Morawiecki et al., by data and network; the radius.
PAPER = {
    ("cifar10", "small"): ("8/255", {"nominal": (20.06, 95.76, 100), "ibp": (39.33, 52.22, 63.58), "constrained": (47.22, 56.14, 60.12)}),
    ("cifar10", "medium"): ("8/255", {"nominal": (13.97, 89.59, 100), "ibp": (18.88, 48.32, 100), "constrained": (49.29, 57.69, 61.81)}),
    ("cifar10", "large"): ("8/255", {"nominal": (12.95, 50.24, 100), "ibp": (40.55, 56.65, 65.89), "constrained": (52.04, 59.89, 63.89)}),
    ("mnist", "small"): ("0.4", {"nominal": (.65, 99.63, 100), "ibp": (2.62, 14.14, 20.74), "constrained": (7.24, 17.24, 21.31)}),
    ("mnist", "medium"): ("0.4", {"nominal": (1.06, 99.64, 100), "ibp": (1.66, 12.16, 17.5), "constrained": (1.91, 9.7, 16.53)}),
    ("mnist", "large"): ("0.4", {"nominal": (.65, 99.64, 100), "ibp": (1.66, 10.34, 15.01), "constrained": (1.62, 8.32, 15.58)}),
    ("svhn", "small"): ("8/255", {"nominal": (9.05, 82.05, 100), "ibp": (26.60, 48.50, 60.87), "constrained": (36.10, 49.31, 53.97)}),
    ("svhn", "medium"): ("8/255", {"nominal": (5.84, 65.60, 100), "ibp": (36.58, 48.79, 55.95), "constrained": (21.55, 39.23, 54.32)}),
    ("svhn", "large"): ("8/255", {"nominal": (5.78, 77.25, 100), "ibp": (20.00, 37.06, 52.37), "constrained": (42.62, 53.90, 59.16)}),
}
WEIGHTS = ("0.01", "0.05", "0.2", "1")
SEEDS, INITS = (0, 1, 2), ("default", "orthogonal")
TABLE, FAST = "table", "fast"       # groups: rows of the papers' table; the ramp that is 2.5 times shorter

# The published schedules, in the words of `absint train`.
MNIST = {"epochs": 100, "every": 2, "batch-size": 100, "warm-up": 2000, "ramp": 10000, "drops": "15000,25000"}
CIFAR = {"epochs": 350, "batch-size": 50, "warm-up": 5000, "ramp": 150000, "drops": "200000,250000,300000"}
FIFTH = {"epochs": 70, "every": 2, "batch-size": 50, "warm-up": 1000, "ramp": 30000, "drops": "40000,50000,60000"}
CLEAN = {"epochs": 10, "batch-size": 100, "warm-up": "10ep", "ramp": 0, "drops": "8ep"}
ATTACKED = {"epochs": 10, "batch-size": 100, "warm-up": "1ep", "ramp": "3ep", "drops": "8ep"}
STRESS = {"steps": 8000, "every": 2, "batch-size": 100, "warm-up": 2000, "ramp": 10000, "ramp-speed": 2.5, "drops": "none"}
# 200 steps and ten restarts on every image left open would take longer than these trainings.
QUICK = {"attack-steps": 20, "restarts": 1}
CLOSING = {"attack-steps": 200, "restarts": 10}


@dataclass(frozen=True)
class Run:
    """One training.

    name: unique.  group: TABLE or FAST.  data: mnist, cifar10 or svhn.  method: nominal, pgd, ibp or constrained.
    schedule: options of `absint train` by name.  weight: of the widths, None for the method's.
    elided: worst cases through the last layer, as the code of Gowal et al. has it, or of each logit, as Morawiecki et al. write it.
    needs: 'time' or 'card' for what runs only when `--only` names it; empty for the queue.
    """

    name: str
    group: str
    data: str
    model: str
    method: str
    eps: str
    schedule: dict[str, object] = field(hash=False)
    weight: str | None = None
    init: str = "default"
    seed: int = 0
    elided: bool = True
    needs: str = ""

    @property
    def words(self) -> list[str]:
        """Arguments of `absint train`, without the folders."""
        given = {"model": self.model, "method": {"constrained": "constrained-ibp"}.get(self.method, self.method), "eps": self.eps,
                 "init": self.init, "seed": self.seed, **self.schedule}
        if self.weight is not None:
            given |= {"width-weight": self.weight, "width-layers": "hidden"}
        return [*(word for name, value in given.items() for word in (f"--{name}", str(value))), *([] if self.elided else ["--no-elide"])]


def row(data: str, model: str, method: str, schedule: dict[str, object], needs: str = "") -> Run:
    """A cell of the papers' table."""
    weight = "1" if method == "constrained" else None
    return Run(f"{data}-{model}-{method}", TABLE, data, model, method, PAPER[data, model][0], {**schedule, **CLOSING}, weight, needs=needs)


def stress(seed: int, init: str) -> list[Run]:
    """The short ramp, with each weight and without."""
    def run(name: str, weight: str | None) -> Run:
        return Run(f"fast-{init}-{seed}-{name}", FAST, "mnist", "small", "constrained" if weight else "ibp", "0.4", {**STRESS, **QUICK},
                   weight, init, seed, elided=False)

    return [run("ibp", None), run("w1", "1"), *(run(f"w{weight}", weight) for weight in WEIGHTS[:-1])]


BOTH = ("ibp", "constrained")
RUNS: tuple[Run, ...] = (
    *(row("mnist", "small", method, MNIST) for method in BOTH),
    row("mnist", "small", "nominal", CLEAN),
    row("mnist", "small", "pgd", ATTACKED),
    *(run for seed, init in product(SEEDS, INITS) for run in stress(seed, init)),      # one seed of everything before the next
    *(row("cifar10", "small", method, FIFTH) for method in BOTH),
    *(row("mnist", "medium", method, MNIST, "time") for method in BOTH),
    *(row("mnist", "large", method, MNIST, "card") for method in BOTH),
    *(row("cifar10", model, method, CIFAR, "card") for model in ("medium", "large") for method in BOTH),
    *(row("svhn", model, method, CIFAR, "card") for model in ("small", "medium", "large") for method in BOTH),
)
