"""The calls of `tests/project/test_hints.py`: what is wrong, the advice, and the call that follows it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.utils
import onnx.version_converter
import pytest
import torch

import absint
from absint.region import BoxRegion
from absint.testing.pytest_plugin import verified


@dataclass(frozen=True)
class LiveCase:
    """Calls on the files of `hint_files` by word."""

    code: str
    hints: tuple[str, ...]
    bad: Callable[[dict[str, str]], Any]
    good: Callable[[dict[str, str]], Any]


def rows(code: str, *given: tuple[str, Callable[[dict[str, str]], Any], Callable[[dict[str, str]], Any]]) -> list[LiveCase]:
    """(hint, bad, good) of one code."""
    return [LiveCase(code, (hint,), bad, good) for hint, bad, good in given]


class Net(torch.nn.Module):
    """Four numbers in, three scores out."""

    def __init__(self, other: bool = False) -> None:
        super().__init__()
        self.layer, self.other = torch.nn.Linear(4, 3), other

    def forward(self, x, z=None):
        return self.layer(x)


class Two(Net):
    """With a second tensor, which no region surrounds."""

    def forward(self, x, z):
        return self.layer(x) + z


X = torch.zeros(1, 4)
ROWS = np.full((2, 4), 0.5, "f4")


@cache
def _read():
    return absint.load(Net().eval(), example_input=X)


def imports(words):
    assert _read().output.shape == (3,)


def _verify(words, labels=(0, 1), **options):
    return absint.verify(words["NET"], ROWS, labels, options.pop("eps", 0.01), domain="box", attack="none", **options)


def _verifies(words):
    _verify(words)


def in_training(words):
    absint.load(Net(), example_input=X)


def without_example(words):
    absint.load(Net().eval())


def example_of_words(words):
    absint.load(Net().eval(), example_input="zeros")


def two_inputs(words):
    absint.load(Two().eval(), example_input=X)


def one_example_each(words):
    assert absint.load(Two().eval(), example_input=(X, torch.zeros(1, 3))).output.shape == (3,)


def scripted(words):
    absint.load(torch.jit.trace(Net().eval(), X), example_input=X)


def by_the_other_exporter(words):
    target = Path(words["NET"]).with_name("scripted.onnx")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(torch.jit.trace(Net().eval(), X), (X,), target, dynamo=False)
    assert absint.load(target).output.shape == (3,)


def saved_module(words):
    path = Path(words["NET"]).with_name("saved.pt")
    torch.save(Net().state_dict(), path)
    absint.load(path)


def saved_script(words):
    path = Path(words["NET"]).with_name("script.pt")
    torch.jit.save(torch.jit.trace(Net().eval(), X), path)
    absint.load(path)


def no_model(words):
    absint.load(3)


def strange_object(words):
    absint.load(object())


def embedding(words):
    absint.load(words["EMBEDDING"])


def _behind(source):
    def good(words):
        target = Path(words["NET"]).with_name(f"behind-{source.lower()}.onnx")
        onnx.utils.extract_model(words[source], target, ["e"], ["y"])
        assert absint.load(target).input.shape == (5, 4)

    return good


def two_outputs(words):
    absint.load(words["TWOOUT"])


def one_of_two(words):
    assert absint.load(words["TWOOUT"], output="h").output.shape == (4,)


def old_opset(words):
    absint.load(words["OLD"])


def converted(words):
    target = Path(words["NET"]).with_name("converted.onnx")
    onnx.save(onnx.version_converter.convert_version(onnx.load(words["OLD"]), 13), target)
    absint.load(target)


def labels_one_hot(words):
    _verify(words, np.eye(3)[[0, 1]])


def labels_in_a_column(words):
    _verify(words, np.array([[0], [1]]))


def labels_of_names(words):
    _verify(words, ["cat", "dog"])


def labels_of_halves(words):
    _verify(words, [0.5, 1])


def labels_too_large(words):
    _verify(words, [0, 3])


def labels_too_many(words):
    _verify(words, [0, 1, 2])


def inputs_of_another_size(words):
    absint.verify(words["NET"], np.zeros((2, 5), "f4"), [0, 1], 0.01)


def radius_of_words(words):
    _verify(words, eps="small")


def seeds_of_halves(words):
    return _sweep(words, ROWS, sample=1, seeds=[0.5])


def sweep_of_no_radius(words):
    return absint.sweep(words["NET"], ROWS, eps=np.zeros(0), domains="box", attack=None)


def sweep_of_a_region(words):
    return _sweep(words, BoxRegion(torch.zeros(1, 4), torch.ones(1, 4)))


def _sweep(words, inputs, **given):
    return absint.sweep(words["NET"], inputs, eps="0.1", domains="box", attack=None, **given)


def norm_of_three(words):
    _verify(words, norm="l3")


def no_inputs(words):
    absint.verify(words["NET"], "these", [0, 1], 0.01)


def _tested(words, **options):
    return verified(words["NET"], ROWS, (0, 1), eps=0.01, domain="box", attack="none", **options)


def _fixture_of_tests(words):
    with suppress(pytest.fail.Exception, pytest.skip.Exception):     # what the network is proved to be is another question
        _tested(words, unknown="skip", allow_unknown=0.05)


def unknown_as_a_word(words):
    _tested(words, unknown="ignore")


def more_than_all(words):
    _tested(words, allow_unknown=5)


LIVE = [
    LiveCase("E-MODEL-TRAINING", ("call module.eval() first: absint proves what the deployed network does, and changes no module",),
             in_training, imports),
    LiveCase("E-EXAMPLE-INPUT", ("absint.load(module, example_input=torch.zeros(1, 3, 32, 32)), with your shape",),
             without_example, imports),
    LiveCase("E-EXAMPLE-INPUT", ("one batch of inputs, such as torch.zeros(1, 3, 32, 32)",),
             example_of_words, imports),
    LiveCase("E-MODEL-INPUTS", ("example_input=(a, b, ...), one batch for each in this order; or wrap the module so that its "
          "forward takes one tensor",),
             two_inputs, one_example_each),
    LiveCase("E-MODEL-SCRIPTED", ("give the module that it was made of, or export it by torch.onnx.export(module, (x,), 'net.onnx', "
          "dynamo=False) and give net.onnx",),
             scripted, by_the_other_exporter),
    LiveCase("E-MODEL-PICKLE", ("load it where it was made: a torch module (weights in their module) goes into "
          "absint.load(module.eval(), example_input=x) or torch.onnx.export(module.eval(), (x,), 'net.onnx'), "
          "a scikit-learn model into skl2onnx.to_onnx",),
             saved_module, imports),
    LiveCase("E-MODEL-PICKLE", ("in Python: torch.onnx.export(torch.jit.load('{}').eval(), (x,), 'net.onnx', dynamo=False), then "
          "give net.onnx",),
             saved_script, by_the_other_exporter),
    LiveCase("E-MODEL-TYPE", ("give the path of a model file, a torch.nn.Module, or what absint.load returned",),
             no_model, _verifies),
    LiveCase("E-MODEL-TYPE", ("give the path of a model file, or a torch.nn.Module together with example_input",),
             strange_object, imports),
    LiveCase("E-MODEL-INPUTS", ("start at the embedding's output, and give embedded inputs: onnx.utils.extract_model(source, target, "
          "['{}'], ['{}'])",),
             embedding, _behind("EMBEDDING")),
    LiveCase("E-MODEL-OUTPUTS", ("choose one: --output NAME (output=NAME in Python); or the name of a tensor inside, where the network "
          "is then cut",),
             two_outputs, one_of_two),
    LiveCase("E-MODEL-OPSET", ("upgrade it with onnx.version_converter.convert_version(model, 13)",),
             old_opset, converted),
    LiveCase("E-LABEL", ("these are one-hot: give {}.argmax(1)",),
             labels_one_hot, lambda words: _verify(words, np.eye(3)[[0, 1]].argmax(1))),
    LiveCase("E-LABEL", ("these are a column: give {}.reshape(-1)",),
             labels_in_a_column, lambda words: _verify(words, np.array([[0], [1]]).reshape(-1))),
    LiveCase("E-LABEL", ("{}; of names: numpy.unique({}, return_inverse=True)[1], where the network counts its classes in "
          "their sorted order",),
             labels_of_names, lambda words: _verify(words, np.unique(["cat", "dog"], return_inverse=True)[1])),
    LiveCase("E-LABEL", ("class numbers 0, 1, 2, ..., one an input",),
             labels_of_halves, _verifies),
    LiveCase("E-LABEL", ("check the label column, or the network's number of outputs",),
             labels_too_large, _verifies),
    LiveCase("E-LABEL", ("class numbers 0, 1, 2, ..., one an input",),
             labels_too_many, _verifies),
    LiveCase("E-DATA-SHAPE", ("give one row per instance, axes in the network's order{}",),
             inputs_of_another_size, _verifies),
    LiveCase("E-EPS", ("a number >= 0 such as 0.01 or 2/255",),
             radius_of_words, _verifies),
    LiveCase("E-NORM", ("'linf', 'l2' or 'l1', or their orders inf, 2 and 1",),
             norm_of_three, _verifies),
    LiveCase("E-DATA-MISSING", ("check the path of the data file",),
             no_inputs, _verifies),
    LiveCase("E-OPTION", ("for example 0, or 0, 1 and 2 for a sample each",),
             seeds_of_halves, lambda words: _sweep(words, ROWS, sample=1, seeds=[0, 1, 2])),
    LiveCase("E-EPS", ("give one at least, such as 0.01",),
             sweep_of_no_radius, lambda words: _sweep(words, ROWS)),
    LiveCase("E-USAGE", ("give arrays, or a file of data",),
             sweep_of_a_region, lambda words: _sweep(words, ROWS)),
    LiveCase("E-TEST-OPTION", ('unknown="fail" or unknown="skip"',),
             unknown_as_a_word, _fixture_of_tests),
    LiveCase("E-TEST-OPTION", ("a share from 0 to 1, such as allow_unknown=0.05",),
             more_than_all, _fixture_of_tests),
]
