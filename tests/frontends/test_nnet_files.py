"""Files of the NNet format: what they compute, from raw inputs to raw outputs, and every way in which one can be broken."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from onnx_models import stored
from several_inputs import acas, acas_by_hand

import absint
from absint.errors import AbsintError, InputError, UnsupportedError
from absint.frontends.nnet_file import Nnet
from absint.frontends.nnet_reader import NnetFrontEnd
from absint.model.content_digest import graph_digest
from absint.model.digest import digest
from absint.model.reference import runtime

POINTS = np.array([[0.0, 0.0], [1.0, -2.0], [-0.75, 1.5], [3.0, -5.0], [-9.0, 0.25], [0.1, 0.2]])    # some beyond [min, max]


def check_raw_network(folder):
    """The graph and its reference are the file's own reference, clipped where inputs lie beyond its range."""
    graph = NnetFrontEnd().read(stored(folder, acas().encode(), "a.nnet"))
    truth = np.array([acas_by_hand(x) for x in POINTS])
    np.testing.assert_allclose(graph(torch.as_tensor(POINTS)).numpy(), truth, rtol=1e-12)
    np.testing.assert_allclose(runtime(graph.source).run(POINTS), truth, rtol=1e-12)


def test_raw_inputs_to_raw_outputs(tmp_path):
    check_raw_network(tmp_path)


def test_the_network_between_the_normalisations(tmp_path):
    path = stored(tmp_path, acas().encode(), "a.nnet")
    graph, raw = absint.load(path, normalisation=False), absint.load(path)
    inner = (np.clip(POINTS, (-1, -2), (1, 2)) - (0.5, -1.0)) / (2.0, 4.0)
    truth = (np.array([acas_by_hand(x) for x in POINTS]) - 7.0) / 3.0
    np.testing.assert_allclose(graph(torch.as_tensor(inner)).numpy(), truth, rtol=1e-12)
    assert graph.source.sha256 == raw.source.sha256 == digest(acas().encode())
    assert graph_digest(graph) != graph_digest(raw)
    assert "raw units" in raw.source.notes[0]
    assert "without the file's own" in graph.source.notes[0]


def test_inspect_says_how_it_was_read(tmp_path):
    inspected = absint.inspect(stored(tmp_path, acas().encode(), "a.nnet"))
    assert inspected.problem is None
    assert {row.op for row in inspected.file_nodes} >= {"Max", "Min", "Gemm", "Relu", "Mul"}
    assert any("raw units" in note for note in inspected.analysed.notes)


def line(number, text):
    """The file with another line of that number."""
    lines = acas().splitlines()
    lines[number - 1 : number] = [] if text is None else [text]
    return "\n".join(lines)


BROKEN = {
    "cut in the middle": ("\n".join(acas().splitlines()[:12]), 13, "ends where"),
    "comments alone": ("// nothing\n", 1, "ends where"),
    "no numbers": ("a sentence, of some length\n", 1, "expected"),
    "a word for a size": (line(3, "2,2,x,3,"), 3, "no whole number"),
    "no layers": (line(3, "0,2,2,3,"), 3, "must be 1 or more"),
    "one size too few": (line(4, "2,3,"), 4, "2 numbers where 3"),
    "sizes of another network": (line(4, "3,3,2,"), 4, "layers of sizes"),
    "one mean too few": (line(8, "0.5,-1.0,"), 8, "2 numbers where 3"),
    "a range of zero": (line(9, "2.0,0.0,3.0"), 9, "divided by"),
    "a maximum below its minimum": (line(7, "1.0,-3.0"), 7, "below its minimum"),
    "a weight too many": (line(10, "0.5,-0.25,1.0,"), 10, "3 numbers where 2"),
    "a weight that is a word": (line(11, "1.5,heavy,"), 11, "no number"),
    "an infinite bias": (line(13, "inf,"), 13, "no finite number"),
    "a number beyond float64": (line(13, "1e999,"), 13, "no finite number"),
    "a line too many": (acas() + "1.0,\n", 20, "is left"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_file_is_refused_with_its_line(case, tmp_path):
    text, number, what = BROKEN[case]
    path = stored(tmp_path, text.encode(), "a.nnet")
    with pytest.raises(InputError) as caught:
        NnetFrontEnd().read(path)
    assert caught.value.code in ("E-MODEL-FORMAT", "E-MODEL-NONFINITE")
    assert caught.value.where == f"{path}:{number}"
    assert what in caught.value.what
    assert caught.value.hint


def test_what_is_no_text_and_what_is_not_there(tmp_path):
    for content, code in ((b"\x00\x93\xff", "E-MODEL-FORMAT"), (b"", "E-MODEL-EMPTY")):
        with pytest.raises(InputError) as caught:
            absint.load(stored(tmp_path, content, "b.nnet"))
        assert caught.value.code == code
    with pytest.raises(InputError) as caught:
        absint.load(tmp_path / "none.nnet")
    assert caught.value.code == "E-MODEL-MISSING"


def test_blank_lines_and_endings_of_other_systems(tmp_path):
    text = acas().replace("\n", "\r\n").replace("0,\r\n", "0,\r\n\r\n", 1)
    graph = NnetFrontEnd().read(stored(tmp_path, text.encode(), "a.nnet"))
    np.testing.assert_allclose(graph(torch.as_tensor(POINTS[:1])).numpy()[0], acas_by_hand(POINTS[0]), rtol=1e-12)


def test_a_flag_that_readers_ignore_is_said(tmp_path):
    graph = NnetFrontEnd().read(stored(tmp_path, line(5, "1,").encode(), "a.nnet"))
    assert any(caveat.startswith("E-MODEL-NNET") for caveat in graph.source.caveats)


def test_a_model_that_is_not_the_file_is_refused(tmp_path, monkeypatch):
    """Output normalisation dropped on the way to ONNX: the comparison with the file finds it."""
    whole = Nnet.onnx

    def dropped(self, *, normalisation=True):
        return whole(Nnet(self.low, self.high, np.append(self.mean[:-1], 0.0), np.append(self.span[:-1], 1.0), self.layers),
                     normalisation=normalisation)

    monkeypatch.setattr(Nnet, "onnx", dropped)
    with pytest.raises(UnsupportedError) as caught:
        NnetFrontEnd().read(stored(tmp_path, acas().encode(), "a.nnet"))
    assert caught.value.code == "E-IMPORT-MISMATCH"


def test_normalisation_is_an_option_of_such_files_alone(tmp_path):
    from onnx_models import dense_model

    for model in (stored(tmp_path, dense_model()), absint.load(stored(tmp_path, dense_model()))):
        with pytest.raises(AbsintError) as caught:
            absint.load(model, normalisation=False)
        assert caught.value.code == "E-OPTION"
