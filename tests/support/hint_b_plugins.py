"""More calls and commands of `tests/project/test_hints.py`: plug-ins that break their contract, methods of training, networks to train."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import redirect_stderr
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hint_calls import rows
from hint_commands import rows as commands
from hint_training import _both, _net, _trained, small
from torch import nn

import absint
import absint.cli.main as command_line
from absint.analyses.train.method import TrainingMethod, terms_of
from absint.domains.box import Box
from absint.engine.domain import DOMAINS
from absint.registry import CONTRACT, DECLARATION, load_entry
from absint.search.names import class_of, domain_of
from absint.search.search import begin
from absint.search.strategy import STRATEGIES

Call = Callable[[dict[str, str]], Any]


def debugged(bad: Call) -> Call:
    """That --debug shows the traceback of what is raised there, and of what caused it."""
    def call(words: dict[str, str]) -> None:
        said = StringIO()
        with pytest.MonkeyPatch.context() as patch, redirect_stderr(said):
            patch.setattr(command_line, "_dispatch", lambda arguments, begin: bad(words))
            command_line.main(["verify", "--debug"])
        assert "Traceback" in said.getvalue()
        assert "oops" in said.getvalue()

    return call


# ---- domains and strategies --------------------------------------------------------------------------------------------------


class Raising(Box):
    """Cannot be made."""

    def __init__(self) -> None:
        raise ValueError("oops")


class Fine(Box):
    """Can be."""


def _raising(words: dict[str, str]) -> None:
    DOMAINS.add("hint-b-raising", Raising)
    domain_of("hint-b-raising")


def _twice(words: dict[str, str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(STRATEGIES._entries, "box", class_of("auto"))
        class_of("box")


def _promised(place: str) -> Call:
    return lambda words: load_entry(EntryPoint("hint-b", place, "absint.domains"), "domain")


PLUGINS = [
    *rows("E-PLUGIN-CONTRACT",
          ("a ProofSearch, a Refutation, or None (docs/extending.md)", lambda words: begin(lambda *asked: [1.0], None, None, None),
           lambda words: begin(lambda *asked: None, None, None, None)),
          ("what is true of it is one value, stated = Traits(...); what it schedules is a Strategy",
           lambda words: type("Old", (Box,), {"alone": True}), lambda words: type("New", (Box,), {"stated": Box.stated}))),
    *rows("E-PLUGIN-DUPLICATE",
          ("choose another name", lambda words: DOMAINS.add("zonotope", Fine), lambda words: DOMAINS.add("hint-b-fine", Fine)),
          ("leave the plug-in away that brings one of them, or rename it", _twice, lambda words: class_of("box"))),
    *rows("E-PLUGIN-LOAD", ("reinstall or remove the package that provides it", _promised("hint_b_nowhere:thing"),
                            _promised("absint.domains.box:Box"))),
    *rows("E-PLUGIN-RAISED", ("--debug shows the traceback; absint.testing.kit.check_domain tests a domain", _raising, debugged(_raising))),
]


# ---- trainings ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Lossy(TrainingMethod):
    """Gives what it is told to; raises where that is nothing."""

    of: str = ""

    def loss(self, step: Any) -> Any:
        if not self.of:
            raise ValueError("oops")
        return getattr(step, self.of)


def _loss(of: str) -> Call:
    step: Any = SimpleNamespace(clean=torch.zeros((), requires_grad=True).exp(), index=3)
    return lambda words: list(terms_of(Lossy(of), step))


def _diverging(words: dict[str, str]) -> None:
    absint.train(model=small, data=_both(words), save=Path(words["NET"]).with_name("diverged"), epochs=9, batch_size=6, rate=1e38,
                 attacked=1, attack_steps=1, restarts=1, warm_up="0", ramp="1")


class Stepped(nn.Module):
    """Whose first layer counts only as larger or not: no gradient reaches it."""

    def __init__(self, *, frozen: bool) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(25, 4).requires_grad_(not frozen), nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(torch.where(self.first(x.flatten(1)) > 0, 1.0, -1.0))


def _stepped(*, frozen: bool) -> Call:
    return _net(lambda shape, classes: Stepped(frozen=frozen))


def _file_that_raises(words: dict[str, str]) -> Any:
    path = Path(words["NET"]).with_name("raising_model.py")
    path.write_text("raise ValueError('oops')\n")
    return _net(f"{path}:build")(words)


TRAINED = [
    *rows("E-METHOD-LOSS", ("return a scalar tensor that depends on step.graph, such as step.clean or step.worst", _loss("index"),
                            _loss("clean"))),
    *rows("E-METHOD-RAISED", ("--debug shows the traceback", _loss(""), debugged(_loss("")))),
    *rows("E-PLUGIN-RAISED", ("--debug shows the traceback", _file_that_raises, debugged(_file_that_raises))),
    *rows("E-TRAIN-NAN", ("a smaller --rate, a longer --ramp or a smaller --width-weight", _diverging,
                          lambda words: _trained(words["NET"]))),
    *rows("E-TRAIN-PARAMETER", ("freeze them: requires_grad_(False)", _stepped(frozen=False), _stepped(frozen=True))),
]


# ---- files of plug-ins -------------------------------------------------------------------------------------------------------

_ANALYSIS = f'''
from dataclasses import dataclass
from absint.contract.analysis import Analysis, register_analysis
from absint.contract.common_options import DataOptions
from absint.contract.document import Document
from absint.contract.options import METHOD, option

{DECLARATION} = {CONTRACT}

@dataclass(frozen=True)
class Options(DataOptions):
    mine: int = option(1, "Mine.", group=METHOD, word="WORD")

@dataclass(frozen=True)
class Record:
    index: int

@register_analysis("NAME")
class Mine(Analysis[Options, Record]):
    """Nothing."""
    Options, Record = Options, Record

    def decide(self, items, run):
        for item in items:
            yield from [Record(item.index)] * TIMES

    def document(self, records, run):
        return Document()
'''
_EXECUTOR = f'''
from absint.runs.executors import Executor, Failure, register_executor

{DECLARATION} = {CONTRACT}

@register_executor("hint-b-NAME")
class Mine(Executor):
    """Every item in this process."""

    def records(self, analysis, run, items):
        yield from analysis.decide(items, run)
        yield from [Failure(99, "nobody's", "E-MINE", "is none")] * TIMES
'''


def plugin_files(folder: Path) -> dict[str, Path]:
    """Word -> path."""
    texts = {
        "CLASHES": _ANALYSIS.replace("WORD", "--journal").replace("NAME", "hintclash").replace("TIMES", "1"),
        "ONCE": _ANALYSIS.replace("WORD", "--mine").replace("NAME", "hintonce").replace("TIMES", "1"),
        "TWICE": _ANALYSIS.replace("WORD", "--mine").replace("NAME", "hinttwice").replace("TIMES", "2"),
        "WILD": _EXECUTOR.replace("NAME", "wild").replace("TIMES", "1"), "TAME": _EXECUTOR.replace("NAME", "tame").replace("TIMES", "0"),
    }
    paths = {word: folder / f"hint_b_{word.lower()}.py" for word in texts}
    for word, path in paths.items():
        path.write_text(texts[word])
    return paths


_MINE, _V = "NET --data DATA --quiet --plugin", "verify NET --data DATA --domain box --attack none"

PLUGGED = commands(
    "E-PLUGIN-CONTRACT",
    ("give each option a `word` and a `keyword` of its own", f"hintclash {_MINE} CLASHES", f"hintonce {_MINE} ONCE"),
    ("an analysis yields one record for each item it is given", f"hinttwice {_MINE} TWICE", f"hintonce {_MINE} ONCE"),
    ("an executor yields one record or failure for each item it is given", f"{_V} --plugin WILD --executor hint-b-wild",
     f"{_V} --plugin TAME --executor hint-b-tame"),
)
