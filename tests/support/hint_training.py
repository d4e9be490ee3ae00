"""More calls of `tests/project/test_hints.py`: data to train on, options of a training, networks, methods, its files."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from hint_calls import rows
from torch import nn

import absint
from absint.analyses.train.card import read_card
from absint.analyses.train.log import read_log
from absint.analyses.train.method import method_of, register_training
from absint.analyses.train.networks import untrained
from absint.analyses.train.options import TrainOptions
from absint.analyses.train.task import check_options, output_folder, task_of
from absint.analyses.train.trainer import Trainer
from absint.problem.training_data import training_data

IMAGES, FLAT, LABELS = np.full((6, 1, 5, 5), 0.5, "f4"), np.full((6, 4), 0.5, "f4"), np.array([0, 1, 2, 0, 1, 2])
IMAGES += np.linspace(0, 0.3, 6, dtype="f4")[:, None, None, None]


def small(shape: tuple[int, ...], classes: int) -> nn.Module:
    """Of one layer."""
    size = int(np.prod(shape))
    return nn.Sequential(nn.Flatten(), nn.Linear(size, classes))


def _npz(words: dict[str, str], **arrays: Any) -> Path:
    """A file of these arrays beside the others, called by what is in it."""
    name = "-".join(f"{key}{value.shape}{value.dtype}{float(value.max()):g}" for key, value in arrays.items())
    path = Path(words["NET"]).with_name(f"{name}.npz".replace(" ", ""))
    if not path.exists():
        np.savez(path, **arrays)
    return path


def _both(words: dict[str, str], **changes: Any) -> Path:
    return _npz(words, **{"x_train": IMAGES, "y_train": LABELS, "x_test": IMAGES[::-1] / 2, "y_test": LABELS, **changes})


def _read(**options: Any) -> Any:
    """Training data of a file: (words) -> data. arrays: changed ones of the whole file; alone: a training part alone."""
    alone, arrays = options.pop("alone", None), options.pop("arrays", {})

    def call(words: dict[str, str]) -> Any:
        more = {key: _both(words) if value is both else value for key, value in options.items()}
        path = _both(words, **arrays) if alone is None else _npz(words, **alone)
        return training_data(path, **more)

    return call


both = object()
_ALONE = {"x_train": IMAGES, "y_train": LABELS}


@cache
def _task(words_net: str, **options: Any) -> Any:
    given = {"model": small, "data": _both({"NET": words_net}), "epochs": 1, "batch_size": 6, **options}
    asked = TrainOptions(**given)
    check_options(asked)
    return task_of(asked)


def _train(**options: Any) -> Any:
    return lambda words: _task(words["NET"], **options)


def _net(build: Any, shape: tuple[int, ...] = (1, 5, 5)) -> Any:
    return lambda words: untrained(build, shape, 3, mean=None, std=None, initial="default", seed=0)


def _file(name: str, content: str | bytes) -> Any:
    def made(words: dict[str, str]) -> Path:
        path = Path(words["NET"]).with_name(name)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return made


def _built(text: str, function: str = "build", name: str = "built.py") -> Any:
    return lambda words: untrained(f"{_file(name, text)(words)}:{function}", (1, 5, 5), 3, mean=None, std=None, initial="default", seed=0)


_BUILD = "from torch import nn\n\ndef build(shape, classes):\n    return nn.Sequential(nn.Flatten(), nn.Linear(25, classes))\n"


def _number(words: dict[str, str]) -> Any:
    @register_training("of-a-number")
    class OfANumber:
        pass

    return method_of("of-a-number")


def _again(resume: bool, folder: str) -> Any:
    """A folder with a checkpoint in it, and one without."""
    def call(words: dict[str, str]) -> Trainer:
        taken = Path(words["NET"]).with_name("taken")
        taken.mkdir(exist_ok=True)
        (taken / "checkpoint.safetensors").write_bytes(b"")
        save = Path(words["NET"]).with_name(folder)
        save.mkdir(exist_ok=True)
        return Trainer(_task(words["NET"], save=save), lambda text: None, float("inf"), lambda text: None, resume=resume)

    return call


@cache
def _trained(words_net: str) -> Path:
    """The folder of a training of one step."""
    folder = Path(words_net).with_name("trained")
    absint.train(model=small, data=_both({"NET": words_net}), save=folder, epochs=1, batch_size=6, attacked=1, attack_steps=1, restarts=1,
                 warm_up="0", ramp="1")
    return folder


def _card(words: dict[str, str]) -> None:
    assert read_card(_trained(words["NET"]) / "model-card.json").files


def _log(words: dict[str, str]) -> None:
    assert len(read_log(_trained(words["NET"]) / "log.csv")) >= 1


def _another_version(words: dict[str, str]) -> None:
    text = (_trained(words["NET"]) / "model-card.json").read_text()
    read_card(_file("card.json", text.replace(": 1", ": 99", 1))(words))


def _log_of_words(words: dict[str, str]) -> None:
    text = (_trained(words["NET"]) / "log.csv").read_text()
    read_log(_file("log2.csv", text + text.splitlines()[1].replace("0", "x") + "\n")(words))


TRAINING = [
    *rows("E-DATA-TEST",
          ("leave out --test or --hold-out", _read(test=both, hold_out=1), _read(alone=_ALONE, hold_out=1)),
          ("give a whole number from 1 on", _read(alone=_ALONE, hold_out=0), _read(alone=_ALONE, hold_out=1)),
          ("give --test FILE, too", _read(alone=_ALONE, test_labels="y.npy"), _read(alone=_ALONE, test=both)),
          ("give one: --test FILE, or --hold-out N --seed S to keep N training inputs for the test", _read(alone=_ALONE),
           _read(alone=_ALONE, hold_out=2, seed=1)),
          ("give a number below {}", _read(alone=_ALONE, hold_out=6), _read(alone=_ALONE, hold_out=5))),
    *rows("E-DATA-OPTION",
          ("a whole number, 0 or more", _read(seed=-1), _read(seed=0)),
          ("a number above 0, such as 255", _read(divide=0.0), _read(divide=255.0)),
          ("give LOW,HIGH or none", _read(clip=(1.0, 0.0)), _read(clip=None))),
    *rows("E-DATA-FORMAT", ("store both parts alike", _read(arrays={"x_test": (IMAGES * 200).astype("u1")}), _read())),
    *rows("E-DATA-LABELS", ("give --labels FILE, a labels array or column, or a folder a class",
                            _read(alone={"x_train": IMAGES}, hold_out=1),
                            _read(alone=_ALONE, hold_out=1))),
    *rows("E-DATA-RANGE",
          ("{}; to take them as they are: --clip none, or --clip LOW,HIGH", _read(arrays={"x_train": IMAGES * 9, "x_test": IMAGES * 9 + 1}),
           _read(arrays={"x_train": IMAGES * 9, "x_test": IMAGES * 9 + 1}, clip=None)),
          ("scale the data", _read(arrays={"x_train": IMAGES.astype("f8") * 1e300, "x_test": IMAGES.astype("f8")}, clip=None), _read())),
    *rows("E-DATA-SHAPE",
          ("store rows (N, values) or pictures (N, channels, height, width)", _read(arrays={"x_train": IMAGES[:, None]}), _read()),
          ("are both parts of the same data set?", _read(arrays={"x_test": FLAT}), _read())),
    *rows("E-DATA-LABEL",
          ("labels are class numbers counted from 0", _read(arrays={"y_train": LABELS + 99999}), _read()),
          ("labels are class numbers counted from 0, the same in training and test data", _read(arrays={"y_test": LABELS + 3}), _read())),
    *rows("E-DATA-AMBIGUOUS",
          ("write it with numpy.savez(path, x_train=..., y_train=..., x_test=..., y_test=...)", _read(arrays={"train_images": IMAGES}),
           _read())),
    *rows("E-LAYOUT", ("say --layout hwc (channels last) or --layout chw", _read(arrays={"x_train": np.full((6, 3, 4, 3), 0.5, "f4"),
                                                                                        "x_test": np.full((6, 3, 4, 3), 0.25, "f4")}),
                       _read(arrays={"x_train": np.full((6, 3, 4, 3), 0.5, "f4"), "x_test": np.full((6, 3, 4, 3), 0.25, "f4")},
                             layout="hwc"))),
    *rows("E-DATA-CLASSES", ("labels are class numbers counted from 0; give data of two classes at least",
                             lambda words: _task(words["NET"], data=_both(words, y_train=LABELS * 0, y_test=LABELS * 0)), _train())),
    *rows("E-DATA-CONSTANT", ("--mean none --std none",
                              lambda words: _task(words["NET"], data=_both(words, x_train=np.full((6, 3, 5, 5), 0.5, "f4"),
                                                                           x_test=np.full((6, 3, 5, 5), 0.25, "f4"))),
                              lambda words: _task(words["NET"], data=_both(words, x_train=np.full((6, 3, 5, 5), 0.5, "f4"),
                                                                           x_test=np.full((6, 3, 5, 5), 0.25, "f4")), mean="none",
                                                  std="none"))),
    *rows("E-TRAIN-OPTION",
          ("a whole number, 1 or more", _train(batch_size=0), _train(batch_size=1)),
          ("for example 0.1", _train(rate=0.0), _train(rate=0.1)),
          ("for example 0.1", _train(drop_factor=1e9, drops=",".join(["1"] * 40)), _train(drop_factor=0.1, drops="1")),
          ("for example 0.5", _train(kappa=2.0), _train(kappa=0.5)),
          ("0 or more", _train(width_weight=-1.0), _train(width_weight=0.0)),
          ("2000, or 5ep for epochs", _train(ramp="soon"), _train(ramp="5ep")),
          ("give fewer; --total-timeout ends a training by the clock", _train(epochs=10**9), _train(epochs=10)),
          ("1 is the ramp as it is, 2.5 a steeper one", _train(ramp="5ep", ramp_speed=1e-320), _train(ramp="5ep", ramp_speed=2.5)),
          ("leave the augmentation away",
           lambda words: _task(words["NET"], data=_both(words, x_train=FLAT, x_test=FLAT / 2), augment="crop-flip"),
           lambda words: _task(words["NET"], data=_both(words, x_train=FLAT, x_test=FLAT / 2)))),
    *rows("E-EPS",
          ("give {}/255", _train(eps="8"), _train(eps="8/255")),
          ("radii are in raw input units, such as 8/255", _train(eps="0.7"), _train(eps="8/255")),
          ("radii are in raw input units, such as 8/255", _train(eps="1e40"), _train(eps="8/255"))),
    *rows("E-GRADIENT", ("leave it away", _train(domain="milp"), _train())),
    *rows("E-NUMBERS",
          ("for example --mean 0.1307 --std 0.3081", _train(mean="none", std="0.3081"), _train(mean="0.1307", std="0.3081")),
          ("such as 0.3081", _train(mean="0.1307", std="0"), _train(mean="0.1307", std="0.3081"))),
    *rows("E-TRAIN-METHOD",
          ("known: {}; --plugin FILE adds one", _train(method="magic"), _train(method="ibp")),
          ("known: {}; {}:OPTION=VALUE", _train(method="pgd:colour=1"), _train(method="pgd:steps=2")),
          ("it takes {}", _train(method="pgd:steps=x"), _train(method="pgd:steps=2"))),
    *rows("E-PLUGIN-CONTRACT", ("see docs/extending.md", _number, _train())),
    *rows("E-TRAIN-MODEL",
          ("give a builder of your own, FILE.py:build", _net("small", (16,)), _built(_BUILD)),
          ("return a torch.nn.Module", _net(lambda shape, classes: 3), _net(small)),
          ("build it with one output a class", _net(lambda shape, classes: small(shape, 7)), _net(small)),
          ("{}, or FILE.py:build, a function (shape, classes) -> torch.nn.Module", _net("tiny"), _net("small", (1, 28, 28))),
          ("--model FILE.py:build", _net("nowhere.py:build"), _built(_BUILD)),
          ("--model FILE.py:build", _built(_BUILD, "make"), _built(_BUILD))),
    *rows("E-PLUGIN-RAISED",
          ("it is called as build(shape, classes), shape without the batch axis", _net(lambda shape: small(shape, 3)), _net(small))),
    *rows("E-TRAIN-PARAMETER",
          ("use layers that export as they are: Linear, Conv, BatchNorm in eval mode",
           _net(lambda shape, classes: small(shape, classes).requires_grad_(False)), _net(small))),
    *rows("E-OUT", ("give --save another path", lambda words: output_folder(TrainOptions(save=Path(words["NET"]) / "x")),
                    lambda words: output_folder(TrainOptions(save=Path(words["NET"]).with_name("saved"))))),
    *rows("E-CARD-READ", ("give the model-card.json that a training wrote", lambda words: read_card(Path("nowhere.json")), _card)),
    *rows("E-CARD-FORMAT", ("give the model-card.json that a training wrote", lambda words: read_card(Path(words["QUERY"])), _card)),
    *rows("E-LOG-READ", ("give the log.csv of a run", lambda words: read_log(Path("nowhere.csv")), _log)),
    *rows("E-LOG-FORMAT",
          ("give the log.csv of a run", lambda words: read_log(_file("log1.csv", b"\xff\xfe")(words)), _log),
          ("give the log.csv of a run by this version", lambda words: read_log(Path(words["CSV"])), _log)),
    *rows("E-CARD-VERSION", ("read it with the version of absint that it names under run.versions", _another_version, _card)),
    *rows("E-LOG-FORMAT", ("a resumed run writes the log anew from its journal", _log_of_words, _log)),
    *rows("E-CHECKPOINT-EXISTS", ("add --resume to continue it, or give --save another folder", _again(False, "taken"),
                                  _again(False, "empty"))),
    *rows("E-CHECKPOINT-FORMAT", ("give --save another folder, or remove the file and begin again", _again(True, "taken"),
                                  _again(True, "empty"))),
]
