"""A stranger's method is one file: it trains, resumes, takes the width term, and is blamed where it fails."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from trainings import batch_of, step_of, trainer_in, words_in

from absint.analyses.train.method import method_of
from absint.registry import load_plugin

TRADES = Path(__file__).parents[1] / "plugins" / "files" / "trades.py"
HEAD = "from dataclasses import dataclass\nimport torch\nfrom absint.training import TrainingMethod, register_training\n\n"
WIDE = HEAD + '''
@register_training("l1-widths")
@dataclass(frozen=True)
class Wide(TrainingMethod):
    """Interval bounds whose mean widths, not squares, are added."""

    weight: float = 0.1

    def loss(self, step):
        ends = step.walked.ctx.known.values()
        return step.worst + self.weight * torch.stack([(one.upper - one.lower).mean() for one in ends]).sum()
'''


def test_the_file_of_the_documentation_trains(cli, tmp_path):
    words = words_in(tmp_path, "--plugin", TRADES, "--method", "trades:beta=2,steps=2", "--width-weight", "0.1")
    done = cli(*words, "--format", "json")
    assert done.code == 0, done.err
    document = json.loads(done.out)
    assert document["header"]["training"]["method"] == "trades:beta=2,steps=2"
    card = json.loads((tmp_path / "out" / "model-card.json").read_text())
    assert card["method"]["options"]["beta"] == 2.0
    assert cli(*words, "--resume").code == 0
    other = cli(*words_in(tmp_path, "--plugin", TRADES, "--method", "trades:beta=3,steps=2", "--width-weight", "0.1", "--resume"))
    assert other.code == 3, "another option of a stranger's method is another training"


def test_its_second_term_is_what_answers_move(tmp_path):
    """At weight 0 it is the clean loss; the points it finds move answers further than random ones."""
    load_plugin(TRADES)
    trainer = trainer_in(tmp_path)
    inputs, labels = batch_of(trainer.task)
    step = step_of(trainer.task, trainer.parameters, inputs, labels, eps=0.1)
    none, some = method_of("trades:beta=0").loss(step), method_of("trades:beta=6").loss(step)
    assert float(none.detach()) == pytest.approx(float(step.clean.detach()))
    assert float((some - none).detach()) > 0
    (slope,) = torch.autograd.grad(some, trainer.parameters["0.weight"])
    assert slope.abs().max() > 0


def test_a_method_may_use_the_bounds_of_every_layer(cli, tmp_path):
    file = tmp_path / "wide.py"
    file.write_text(WIDE)
    done = cli(*words_in(tmp_path, "--plugin", file, "--method", "l1-widths:weight=0.2"))
    assert done.code == 0, done.err


@pytest.mark.parametrize(("body", "said"), [
    ("raise ValueError('no idea')", "no idea"), ("return None", "NoneType"), ("return step.logits", "shape (8, 3)"),
    ("return step.clean.detach()", "without a gradient"), ("return 1.0", "without a gradient"), ("return step.nothing", "nothing"),
])
def test_a_method_that_fails_is_blamed(cli, tmp_path, body, said):
    file = tmp_path / "broken.py"
    file.write_text(f"{HEAD}\n@register_training('broken')\n@dataclass(frozen=True)\nclass Broken(TrainingMethod):\n    'Nothing.'\n\n"
                    f"    def loss(self, step):\n        {body}\n")
    done = cli(*words_in(tmp_path, "--plugin", file, "--method", "broken")).fails(4, "E-METHOD-")
    assert "Broken" in done.err
    assert said in done.err


def test_what_is_no_method_is_refused(cli, tmp_path):
    file = tmp_path / "foreign.py"
    file.write_text("from absint.training import METHODS\nMETHODS.add('foreign', dict)\n")
    cli(*words_in(tmp_path, "--plugin", file, "--method", "foreign")).fails(4, "E-PLUGIN-CONTRACT")
