"""Options of domains that more than one command offers, as types of their parameters."""

from __future__ import annotations

from typing import Annotated, Any

import typer

_ENGINE = "Analysis"


def _option(text: str, shown: str) -> Any:
    return typer.Option(help=text, rich_help_panel=_ENGINE, show_default=shown)


Base = Annotated[str | None, _option("Domain that walks, for domains that refine another one.", "the domain's")]
Solver = Annotated[str | None, _option("auto, highs, scipy, gurobi, pulp or pulp:NAME, for domains that use one.", "auto")]
Neurons = Annotated[int | None, _option("Neurons of a layer to refine, for domains that do; 0 for all.", "all")]
TimeoutLp = Annotated[float | None, _option("Seconds of one LP, for domains that solve them.", "the domain's")]
TimeoutMilp = Annotated[float | None, _option("Seconds of one MILP, or of branching for one side of a neuron.", "the domain's")]
