"""`absint bounds`: sound bounds by ONNX name, statistics, every format, plots."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys

import numpy as np
import pytest
import torch

import absint
from absint import samples
from absint.analyses.bounds.record import TensorBounds
from absint.analyses.bounds.widths import layer_widths
from absint.numeric.decimal import outward_text
from absint.search.names import split_domains

RELU = str(samples.network_path("mnist_relu_3x50"))


@pytest.fixture
def bounds(cli):
    def run(*arguments, net=RELU):
        return cli("bounds", net, "--quiet", *arguments)

    return run


@pytest.fixture(scope="session")
def folding_net(tmp_path_factory):
    """x -> x W -> + b -> Relu: the pass that folds the bias removes the tensor 'before'."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    nodes = [helper.make_node("MatMul", ["x", "w"], ["before"]), helper.make_node("Add", ["before", "b"], ["after"]),
             helper.make_node("Relu", ["after"], ["y"])]
    constants = [numpy_helper.from_array(np.float32([[1, 0], [0, -1], [1, 1]]), "w"), numpy_helper.from_array(np.float32([1, 0]), "b")]
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])], constants)
    path = tmp_path_factory.mktemp("nets") / "folding.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.fixture
def three(data_file):
    return data_file(images=np.array([[0.5, 0.5, 0.5], [0.25, 0.75, 0.5]]))


def rows_of(done):
    assert done.code == 0, done.err
    return [json.loads(line) for line in done.out.splitlines()]


@pytest.mark.parametrize("domain", ["box", "zonotope", "deeppoly"])
def test_bounds_hold_on_samples_and_equal_the_api(bounds, domain):
    names = ["gemm_3", "relu_6", "logits"]
    done = bounds("--domain", domain, "--index", "2,0", "--eps", "0.02", "--format", "jsonl", *(w for n in names for w in ("--tensor", n)))
    rows = rows_of(done)
    assert [(row["input"], row["tensor"]) for row in rows] == [(i, n) for i in (2, 0) for n in names]
    graph = absint.load(RELU)
    centre = torch.as_tensor(samples.data("mnist").shaped_for(graph.input.shape).inputs[[2, 0]])
    low, high = (centre - 0.02).clamp(0, 1), (centre + 0.02).clamp(0, 1)
    share = torch.rand((50, *centre.shape), dtype=torch.float64, generator=torch.Generator().manual_seed(0)).round(decimals=0)
    for k in range(50):
        values = graph.evaluate(low + share[k] * (high - low), names)
        for row in rows:
            value = values[row["tensor"]][[2, 0].index(row["input"])].numpy().reshape(-1)
            assert (np.array(row["lower"]) <= value).all()
            assert (value <= np.array(row["upper"])).all()
    same = absint.bounds(graph, centre, "0.02", tensors=["logits"], domain=domain)["logits"]
    assert np.allclose(same.lower[0], rows[2]["lower"], rtol=0, atol=1e-9)


def test_exact_bounds_of_a_small_net(bounds, folding_net, three):
    (first, second) = rows_of(bounds("--data", three, "--index", "0,1", "--eps", "0.25", "--format", "jsonl", net=folding_net))
    assert first["lower"] == pytest.approx([1.5, 0.0])
    assert first["upper"] == pytest.approx([2.5, 0.5])
    assert second["tensor"] == "y"


def test_a_name_that_a_pass_removed_is_served(cli, folding_net, three):
    done = cli("bounds", folding_net, "--data", three, "--eps", "0", "--tensor", "before", "--tensor", "y", "--format", "jsonl")
    assert "without its rewrites, which remove 'before'" in done.err
    rows = {row["tensor"]: row for row in rows_of(done)}
    assert rows["before"]["lower"] == pytest.approx([1.0, 0.0])
    assert rows["y"]["upper"] == pytest.approx([2.0, 0.0])


@pytest.mark.parametrize(("name", "hint"), [("befor", "'before'"), ("w", "constants have no bounds")])
def test_an_unknown_name_is_corrected(bounds, folding_net, three, name, hint):
    assert hint in bounds("--data", three, "--tensor", name, "--tensor", "q", net=folding_net).fails(2, "E-TENSOR]").err


def test_statistics(bounds):
    done = bounds("--domain", "box,zonotope", "--stats", "--format", "json", "--index", "0:3")
    document = json.loads(done.out)
    widths = {(row["domain"], row["tensor"]): row for row in document["widths"]}
    assert [row["tensor"] for row in document["widths"][:5]] == ["input", "gemm_3", "gemm_5", "gemm_7", "logits"]
    assert widths["box", "logits"]["mean_width"] > widths["zonotope", "logits"]["mean_width"] > 0
    assert widths["box", "logits"]["undecided"] is None
    assert 0 < widths["zonotope", "gemm_5"]["undecided"] <= widths["box", "gemm_5"]["undecided"] <= 1
    assert document["header"]["domains"].keys() == {"box", "zonotope"}
    assert document["header"]["command"].startswith("absint bounds")


def test_statistics_do_not_depend_on_the_batch(bounds):
    one, all_ = (rows_of(bounds("--stats", "--all", "--format", "jsonl", "--index", "0:4", "--batch", size)) for size in ("1", "4"))
    for a, b in zip(one, all_, strict=True):
        assert a["mean_width"] == pytest.approx(b["mean_width"])
    assert len(one) == 4 * 11


def test_widths_of_unbounded_and_huge_entries():
    graph = absint.load(RELU)
    lower = np.full((1, 10), -1e308)
    upper = np.full((1, 10), 0.7e308)
    upper[0, 0] = np.inf
    found = layer_widths(graph, "logits", TensorBounds(lower, upper, None))
    assert found.unbounded == pytest.approx(0.1)
    assert found.mean == pytest.approx(1.7e308)
    nothing = layer_widths(graph, "logits", TensorBounds(lower - np.inf, upper, None))
    assert (nothing.mean, nothing.unbounded) == (None, 1.0)


def test_csv_and_text(bounds):
    rows = list(csv.DictReader(io.StringIO(bounds("--format", "csv").out)))
    assert len(rows) == 10
    assert float(rows[7]["lower"]) < float(rows[7]["upper"])
    assert bounds("--format", "csv", "--stats").out.startswith("index,domain,input,tensor,op,shape")
    assert [int(row["entry"]) for row in rows] == list(range(10))
    shown = bounds("--tensor", "relu_4")
    assert "... 30 more" in shown.out
    assert "outward rounding" in shown.out
    assert "NO ROUNDING" in bounds("--no-rounding").out


def test_npz(bounds, tmp_path):
    path = tmp_path / "b.npz"
    done = bounds("--out", path, "--tensor", "logits", "--tensor", "relu_4", "--index", "4,1", "--domain", "box,zonotope")
    assert done.code == 0
    assert "box" in done.out    # arrays come beside the text
    with np.load(path, allow_pickle=False) as archive:
        assert archive["index"].tolist() == [4, 1]
        assert archive["box/relu_4.lower"].shape == (2, 50)
        assert (archive["zonotope/logits.lower"] <= archive["zonotope/logits.upper"]).all()
        assert json.loads(str(archive["header"]))["region"]["eps"] == "0.01"


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_plot(bounds, tmp_path, suffix):
    pytest.importorskip("matplotlib")
    path = tmp_path / f"widths{suffix}"
    done = bounds("--domain", "box,zonotope", "--plot", path)
    assert done.code == 0, done.err
    assert "logits" in done.out
    assert path.read_bytes()[:5] in (b"\x89PNG\r", b"<?xml")


def test_plot_without_matplotlib(bounds, tmp_path, monkeypatch):
    monkeypatch.setattr("absint.reports.figures.find_spec", lambda name: None)
    assert "pip install 'absint[plots]'" in bounds("--plot", tmp_path / "p.png").fails(4, "E-PLOT-MISSING]").err


@pytest.mark.parametrize(("options", "code", "error"), [
    (["--plot", "p.bmp"], 2, "E-PLOT-FORMAT"),
    (["--tensor", "logits", "--all"], 2, "E-USAGE"),
    (["--format", "xml"], 2, "E-FORMAT-UNKNOWN"),
    (["--domain", "box,zonotop"], 2, "E-DOMAIN-UNKNOWN"),
    (["--domain", ""], 2, "E-DOMAIN-UNKNOWN"),
    (["--dtype", "auto"], 2, "E-DTYPE"),
    (["--batch", "0"], 2, "E-BATCH"),
    (["--eps", "x"], 2, "E-EPS"),
    (["--index", "100"], 3, "E-DATA-INDEX"),
    (["--total-timeout", "0"], 2, "E-TIMEOUT"),
    (["--total-timeout", "1e-9"], 5, "E-TIMEOUT"),
    (["--out", RELU], 2, "E-OUT"),
    (["--out", "/dev/full"], 5, "E-OUT-WRITE"),
    (["--out", "same.svg", "--plot", "same.svg"], 2, "E-OUT"),
])
def test_options(bounds, options, code, error, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("absint.reports.figures.find_spec", lambda name: True)
    bounds(*options).fails(code, f"{error}]")


def test_a_domain_that_raises_is_one_message(bounds, plugin):
    file = plugin("raising", "from absint.engine.domain import register_domain\nfrom absint.domains.box import Box\n"
                             "@register_domain('raising')\nclass Raising(Box):\n    def linear(self, *a):\n        raise KeyError('oh')\n")
    bounds("--plugin", file, "--domain", "raising").fails(4, "E-DOMAIN-RAISED]")


@pytest.mark.parametrize("command", ["bounds", "inspect"])
def test_help_loads_no_torch(command):
    program = ("import sys\nfrom absint.cli.main import main\ncode = main(sys.argv[1:])\n"
               "sys.exit(code or (9 if {'torch', 'numpy', 'onnx', 'matplotlib'} & set(sys.modules) else 0))")
    done = subprocess.run([sys.executable, "-c", program, command, "--help-all"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "--plugin" in done.stdout


def test_normalisation_is_in_raw_units(bounds, folding_net, three):
    (row,) = rows_of(bounds("--data", three, "--eps", "0.1", "--mean", "0.5", "--std", "0.1", "--format", "jsonl", net=folding_net))
    assert row["lower"] == pytest.approx([0.0, 0.0])    # relu(1 + 2 [-1, 1]), relu([-1, 1] - [-1, 1])
    assert row["upper"] == pytest.approx([3.0, 2.0])


@pytest.mark.parametrize(("options", "text", "widest"), [
    (["--eps", "0.02", "--norm", "l2"], "l2 eps 0.02", 0.04),
    (["--eps", "0.02", "--norm", "l1"], "l1 eps 0.02", 0.04),
    (["--brightness", "0.05"], "brightness", 0.1),
])
def test_other_regions(bounds, options, text, widest):
    document = json.loads(bounds(*options, "--stats", "--format", "json", "--domain", "zonotope").out)
    assert text in document["header"]["region"]["text"]
    assert 0 < document["widths"][0]["max_width"] <= widest * (1 + 1e-9)


def test_domains_with_options_are_told_apart():
    given = "box,zonotope:product=false,max_generators=9,deeppoly"
    assert split_domains(given) == ("box", "zonotope:product=false,max_generators=9", "deeppoly")
    assert split_domains("box,box") == ("box",)


@pytest.mark.parametrize("value", [0.1, -0.1, 1 / 3, -1e-300, 123456789.123, 5e-324, 0.0, -0.0, 1e308])
def test_digits_are_cut_outward(value):
    assert float(outward_text(value, -1)) <= value <= float(outward_text(value, 1))
