"""Whatever is wrong with options or files: one coded message, the right exit code, no traceback, no verdict."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from absint import samples

CONV = str(samples.network_path("mnist_conv_small"))
IMAGES = np.zeros((4, 28, 28))
LABELS = np.array([0, 1, 2, 3])


@pytest.mark.parametrize(("options", "code", "error"), [
    (["--eps", "-0.1"], 2, "E-EPS"),
    (["--eps", "nan"], 2, "E-EPS"),
    (["--eps", "inf"], 2, "E-EPS"),
    (["--eps", "small"], 2, "E-EPS"),
    (["--eps", "1/0"], 2, "E-EPS"),
    (["--index", "a"], 2, "E-INDEX"),
    (["--index", "5:5"], 2, "E-INDEX"),
    (["--index", "-1"], 2, "E-INDEX"),
    (["--index", "1,,2"], 2, "E-INDEX"),
    (["--index", "1,0:3"], 2, "E-INDEX"),
    (["--index", "100"], 3, "E-DATA-INDEX"),
    (["--index", "0:999999999999"], 3, "E-DATA-INDEX"),
    (["--memory", "lots"], 2, "E-MEMORY"),
    (["--memory", "1"], 2, "E-MEMORY"),
    (["--clip", "1,0"], 2, "E-CLIP"),
    (["--clip", "0"], 2, "E-CLIP"),
    (["--clip", "0,nan"], 2, "E-CLIP"),
    (["--mean", "a,b"], 2, "E-NUMBERS"),
    (["--std", "inf"], 2, "E-NUMBERS"),
    (["--std", "0"], 2, "E-NORMALISE"),
    (["--mean", "0.1,0.2"], 2, "E-NORMALISE"),
    (["--layout", "cwh"], 2, "E-DATA-LAYOUT"),
    (["--dtype", "float16"], 2, "E-DTYPE"),
    (["--semantics", "complex"], 2, "E-SEMANTICS"),
    (["--batch", "0"], 2, "E-BATCH"),
    (["--threads", "0"], 2, "E-THREADS"),
    (["--timeout", "0"], 2, "E-TIMEOUT"),
    (["--total-timeout", "nan"], 2, "E-TIMEOUT"),
    (["--format", "xml"], 2, "E-FORMAT-UNKNOWN"),
    (["--attack", "pdg"], 2, "E-ATTACK-UNKNOWN"),
    (["--domain", "zonotop"], 2, "E-DOMAIN-UNKNOWN"),
    (["--domain", "zonotope:colour=red"], 2, "E-DOMAIN-OPTION"),
    (["--domain", "zonotope:max_generators=-1"], 2, "E-DOMAIN-OPTION"),
    (["--domain", "box", "--max-generators", "5"], 2, "E-DOMAIN-OPTION"),
    (["--max-generators", "-5"], 2, "E-DOMAIN-OPTION"),
    (["--label", "10"], 3, "E-LABEL"),
    (["--target", "-1"], 3, "E-LABEL"),
    (["--target", "7"], 3, "E-LABEL"),
    (["--labels", "x"], 2, "E-USAGE"),
    (["--resume"], 2, "E-USAGE"),
    (["--device", "abacus"], 2, "E-DEVICE"),
    (["--device", "meta"], 4, "E-DEVICE"),
    (["--data", "nowhere.npz"], 3, "E-DATA-MISSING"),
    (["--out", "/nowhere/at/all"], 3, "E-OUT"),
    (["--out", "/dev/full"], 5, "E-OUT-WRITE"),
    (["--journal", "/nowhere/at/all"], 3, "E-JOURNAL-PATH"),
    (["--plugin", "nowhere.py"], 4, "E-PLUGIN-LOAD"),
])
def test_option(verify, options, code, error):
    index = [] if "--index" in options else ["--index", "0:2"]
    shape = [] if "--format" in options else ["--format", "json"]
    verify(*index, *shape, *options).fails(code, f"{error}]")


def test_an_unknown_domain_is_corrected(verify):
    assert "did you mean 'zonotope'?" in verify("--domain", "zonotop").err


@pytest.mark.parametrize("content", [None, b"", b"hello", "half"])
@pytest.mark.parametrize("format_", ["text", "json", "jsonl", "csv"])
def test_model_file(cli, tmp_path, content, format_):
    path = tmp_path / "net.onnx"
    if content is not None:
        raw = Path(CONV).read_bytes()
        path.write_bytes(raw[: len(raw) // 2] if content == "half" else content)
    cli("verify", path, "--format", format_).fails(3, "E-MODEL-")


def test_unsupported_operators(cli, unsupported_net):
    assert "Det" in cli("verify", unsupported_net, "--quiet").fails(4, "E-").err


def test_no_sample_fits(cli, small_net):
    assert "--data" in cli("verify", small_net, "--quiet").fails(3, "E-DATA-NONE]").err


@pytest.mark.parametrize(("arrays", "error", "hint"), [
    ({"images": IMAGES + 255, "labels": LABELS}, "E-DATA-RANGE", "divide by 255"),
    ({"images": IMAGES - 0.5, "labels": LABELS}, "E-DATA-RANGE", "normalised already"),
    ({"images": IMAGES * np.nan, "labels": LABELS}, "E-DATA-NAN", "remove or repair"),
    ({"images": IMAGES, "labels": LABELS + 7}, "E-DATA-LABEL", "10 outputs"),
    ({"images": IMAGES, "labels": LABELS - 1}, "E-DATA-LABEL", "count from 0"),
    ({"images": IMAGES}, "E-DATA-UNLABELLED", "--label"),
    ({"images": IMAGES[:, :27], "labels": LABELS}, "E-DATA-SHAPE", "the right data"),
    ({"images": IMAGES[:0], "labels": LABELS[:0]}, "E-DATA-EMPTY", ""),
])
def test_data(verify, data_file, arrays, error, hint):
    assert hint in verify("--data", data_file(**arrays)).fails(3, f"{error}]").err


def test_only_the_chosen_inputs_must_be_right(verify, data_file):
    images = IMAGES.copy()
    images[3] = 7
    assert verify("--data", data_file(images=images, labels=LABELS), "--index", "0:3").code == 1


def test_no_clip_accepts_any_finite_value(verify, data_file):
    data = data_file(images=IMAGES + 3, labels=LABELS)
    assert verify("--data", data, "--clip", "none").code == 1
    verify("--data", data_file(images=IMAGES - np.inf, labels=LABELS), "--clip", "none").fails(3, "E-DATA-NAN]")


def test_the_result_never_overwrites_an_input(verify, tmp_path):
    net = tmp_path / "net.onnx"
    net.write_bytes(Path(CONV).read_bytes())
    verify("--out", net, net=net).fails(2, "E-OUT]")
    verify("--journal", net, net=net).fails(2, "E-OUT]")
    assert net.read_bytes() == Path(CONV).read_bytes()


def test_an_internal_error_shows_its_traceback_only_when_asked(verify, monkeypatch):
    def broken(*args, **kwargs):
        raise ValueError("a bug")

    monkeypatch.setattr("absint.runs.inputs.stated_graph", broken)
    assert "--debug" in verify().fails(70, "E-INTERNAL]").err
    shown = verify("--debug")
    assert shown.code == 70
    assert "Traceback" in shown.err
    assert "error[E-INTERNAL] ValueError: a bug" in shown.err


def test_cuda_is_asked_for_where_there_is_none(verify, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    verify("--device", "cuda").fails(5, "E-DEVICE]")
