"""Trainings that take a moment: tiny data of three classes, tiny networks, and the words of their commands."""

from __future__ import annotations

from math import inf
from pathlib import Path

import numpy as np
import torch
from torch import nn

from absint.analyses.train.options import TrainOptions
from absint.analyses.train.step import Step
from absint.analyses.train.task import TrainTask, task_of
from absint.analyses.train.trainer import Trainer
from absint.model.chains import with_numbers
from absint.model.frontend import load_model

SHAPE, CLASSES = (1, 5, 5), 3
BUILD = '''"""A convolution, a hidden layer."""

from torch import nn


def build(shape, classes):
    return nn.Sequential(nn.Conv2d(shape[0], 2, 2), nn.ReLU(), nn.Flatten(), nn.Linear(32, 6), nn.ReLU(), nn.Linear(6, classes))
'''


def build(shape, classes):
    """The same network."""
    return nn.Sequential(nn.Conv2d(shape[0], 2, 2), nn.ReLU(), nn.Flatten(), nn.Linear(32, 6), nn.ReLU(), nn.Linear(6, classes))


def arrays(n, *, classes=CLASSES, shape=SHAPE, seed=0):
    """Inputs in [0, 1], a bright row, or entry, for each class, and their labels."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    values = 0.4 * rng.random((n, *shape))
    if shape == SHAPE:
        values[np.arange(n), 0, labels] += 0.5
    else:
        values.reshape(n, -1)[np.arange(n), labels] += 0.5
    return values.clip(0, 1).astype(np.float32), labels.astype(np.int64)


def data_file(folder, *, train=24, test=12, classes=CLASSES, shape=SHAPE):
    """An npz file with both parts."""
    path = Path(folder) / f"data-{train}-{test}-{classes}.npz"
    if not path.exists():
        (x, y), (u, v) = (arrays(n, classes=classes, shape=shape, seed=seed) for n, seed in ((train, 0), (test, 1)))
        np.savez(path, x_train=x, y_train=y, x_test=u, y_test=v)
    return path


def options_in(folder, **more) -> TrainOptions:
    """Two epochs of three steps in folder/out."""
    given = {"model": build, "data": data_file(folder), "save": Path(folder) / "out", "epochs": 2, "batch_size": 8, "warm_up": "1",
             "ramp": "2", "rate": 0.01, "attacked": 6, "attack_steps": 4, "restarts": 1, **more}
    return TrainOptions(**given)


def trainer_in(folder, *, end=inf, resume=False, **more) -> Trainer:
    """Before its first step; the folder is there."""
    options = options_in(folder, **more)
    Path(options.save).mkdir(exist_ok=True)
    return Trainer(task_of(options), lambda text: None, end, lambda text: None, resume=resume)


def words_in(folder, *more) -> list[str]:
    """The same as a command, without progress; later words win."""
    model = Path(folder) / "net.py"
    model.write_text(BUILD)
    words = ["train", "--quiet"]
    defaults = {"--model": f"{model}:build", "--data": str(data_file(folder)), "--save": str(Path(folder) / "out"),
                "--epochs": "2", "--batch-size": "8", "--warm-up": "1", "--ramp": "2", "--rate": "0.01", "--attacked": "6",
                "--attack-steps": "4", "--restarts": "1"}
    given = [str(word) for word in more]
    return [*words, *(part for word, value in defaults.items() if word not in given for part in (word, value)), *given]


def step_of(task: TrainTask, parameters, inputs, labels, *, eps, kappa=0.5, elided=True, seed=0) -> Step:
    """One step of the task on these inputs, over these parameters."""
    return Step(task.network.graph, parameters, inputs, labels, eps, kappa, task.clip, task.domain, elided,
                torch.Generator().manual_seed(seed))


def batch_of(task: TrainTask, n=12):
    """Test inputs and their labels."""
    return task.data.test.inputs(slice(0, n)), task.data.test.targets(slice(0, n))


def trained_graph(trainer: Trainer, *, fold=False):
    """The graph of the file that these parameters make, read afresh."""
    return load_model("net.onnx", content=with_numbers(trainer.task.network.model, trainer.parameters, ""), fold=fold)
