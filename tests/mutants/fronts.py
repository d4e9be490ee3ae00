"""Front ends that read another network than the one in the file: other outputs, other inputs, other units, other signs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from absint.frontends import nnet_reader, onnx_file
from absint.frontends.nnet_file import read_nnet
from absint.frontends.onnx_inputs import Joined
from absint.frontends.onnx_outputs import choose_output
from absint.model.op import OPS
from absint.model.ops.affine import Affine
from absint.model.ops.assemble import steps
from absint.model.ops.scikit_learn import classifier_from_onnx
from absint.model.reference import ModelRuntime
from mutants.planting import into

FRONT_MUTANTS = {}
mutant = into(FRONT_MUTANTS)


@mutant("check_raw_network")
def output_normalisation_dropped(patch):
    def read(text, path):
        net = read_nnet(text, path)
        return replace(net, mean=np.append(net.mean[:-1], 0.0), span=np.append(net.span[:-1], 1.0))

    patch(nnet_reader, "read_nnet", read)


@mutant("check_raw_network")
def inputs_not_clipped(patch):
    def read(text, path):
        net = read_nnet(text, path)
        return replace(net, low=net.low - 100, high=net.high + 100)

    patch(nnet_reader, "read_nnet", read)


@mutant("fed_by_name")
def two_inputs_swapped(patch):
    """In the graph and in what the reference is fed with: nothing of ours differs from anything of ours."""
    whole = Joined.of.__func__

    def swapped(cls, file, *, batched):
        return whole(cls, replace(file, inputs=file.inputs[::-1]), batched=batched)

    patch(Joined, "of", classmethod(swapped))


@mutant("fed_by_name")
def two_inputs_swapped_in_the_graph(patch):
    """The check of the whole network finds it."""
    parted = Joined.parted
    patch(Joined, "parted", lambda self, builder: parted(replace(self, parts=self.parts[::-1]), builder))


@mutant("fed_by_name")
def two_inputs_swapped_in_the_reference(patch):
    """So does it the other way round."""
    feeds = ModelRuntime.feeds

    def swapped(self, x):
        given = feeds(replace(self, inputs=self.inputs[::-1]), x)
        return {one.name: given[one.name] for one in self.inputs}

    patch(ModelRuntime, "feeds", swapped)


@mutant("the_chosen_one")
def wrong_output_taken(patch):
    other = {"first": "second", "second": "first"}
    patch(onnx_file, "choose_output", lambda proto, wanted, path: choose_output(proto, other.get(wanted, wanted), path))


@mutant("binary_scores")
def sign_of_one_row_turned(patch):
    import torch

    def turned(node):
        return steps(Affine(scale=-torch.ones((), dtype=torch.float64)), classifier_from_onnx(node))

    entries = {**OPS._entries, "ai.onnx.ml.LinearClassifier": turned}
    patch(OPS, "_entries", entries)
