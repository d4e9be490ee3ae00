"""A stranger's package: two domains and one operator, really installed by pip, used from a fresh interpreter."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from places import ROOT

from absint import samples
from absint.frontends.onnx_reader import OnnxFrontEnd

PACKAGE = ROOT / "tests" / "plugins" / "absint_example_plugin"
FILES = PACKAGE / "absint_example_plugin"
DOMAINS = ("box", "zonotope", "deeppoly", "fastlin", "centred")
CHECK = f"""
import json, sys
import numpy as np
import torch
import absint
from absint import samples
for file in sys.argv[2:]:
    absint.load_plugin(file)
graph = absint.load(sys.argv[1])
data = samples.data("mnist").shaped_for(graph.input.shape)
inputs, labels = data.inputs[:40], data.labels[:40]
out = {{"operators": [type(node.op).__name__ for node in graph.nodes]}}
rng = np.random.default_rng(0)
points = np.clip(inputs[:, None] + rng.uniform(-0.01, 0.01, (40, 20, *graph.input.shape)), 0, 1)
points[:, :10] = np.clip(inputs[:, None] + 0.01 * rng.choice([-1, 1], (40, 10, *graph.input.shape)), 0, 1)
values = graph(torch.tensor(points.reshape(-1, *graph.input.shape))).reshape(40, 20, 10).numpy()
for domain in {DOMAINS!r}:
    results = absint.verify(graph, inputs, labels, "0.01", domain=domain, attack=None)
    bounds = absint.bounds(graph, inputs, "0.01", domain=domain)[graph.output.name]
    inside = (values >= bounds.lower[:, None]) & (values <= bounds.upper[:, None])
    out[domain] = {{"verified": sum(r.verdict.value == "verified" for r in results), "inside": bool(inside.all()),
                   "width": float((bounds.upper - bounds.lower).mean())}}
print(json.dumps(out))
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scores of the nearest class mean, shrunk by Shrink, mixed once more: a net on an operator of which absint has no entry."""
    data = samples.data("mnist")
    images, labels = data.inputs.reshape(len(data.inputs), -1), data.labels
    assert labels is not None
    means = np.stack([images[labels == k].mean(0) for k in range(10)])
    first = (means / 4).astype(np.float32)
    bias = (-(means**2).sum(1) / 8 - (images @ (means / 4).T - (means**2).sum(1) / 8).mean()).astype(np.float32)
    second = (4 * np.eye(10) - 0.1).astype(np.float32)
    weights = {"W1": first, "b1": bias, "W2": second, "b2": np.zeros(10, np.float32)}
    nodes = [
        helper.make_node("Flatten", ["x"], ["flat"]), helper.make_node("Gemm", ["flat", "W1", "b1"], ["scores"], transB=1),
        helper.make_node("Shrink", ["scores"], ["squashed"], lambd=0.0625, bias=0.0625),
        helper.make_node("Gemm", ["squashed", "W2", "b2"], ["y"], transB=1),
    ]
    graph = helper.make_graph(
        nodes, "shrink", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1, 28, 28])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 10])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    path = tmp_path_factory.mktemp("model") / "shrink.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that pip installed the package into, from a copy, so that the sources stay clean; without network."""
    folder = tmp_path_factory.mktemp("plugin")
    source = shutil.copytree(PACKAGE, folder / "source", ignore=shutil.ignore_patterns("__pycache__", "build", "*.egg-info"))
    target = folder / "site"
    _run([sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index", "--no-deps",
          "--no-build-isolation", "--target", str(target), str(source)])
    return target


def _run(command: list[str], *, path: Path | None = None, expect: tuple[int, ...] = (0,)) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    if path is not None:
        env["PYTHONPATH"] = str(path)
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode in expect, f"{command}\n{done.stdout}\n{done.stderr}"
    return done


def _judge(out: dict[str, object]) -> None:
    assert "Shrink" in out["operators"]  # type: ignore[operator]
    found: dict[str, dict[str, float]] = {name: out[name] for name in DOMAINS}  # type: ignore[misc]
    assert all(found[name]["inside"] for name in DOMAINS)
    assert found["fastlin"]["verified"] > 0
    assert found["zonotope"]["verified"] >= found["box"]["verified"]
    # It keeps what the box keeps, and asks the engine's box for the rest.
    assert found["centred"]["verified"] == found["box"]["verified"]
    # Parallel planes on Shrink are the zonotope's band: the same relaxation, walked backward.
    assert found["fastlin"]["verified"] == found["zonotope"]["verified"]
    assert found["deeppoly"]["width"] < found["box"]["width"] * (1 + 1e-9)


def test_an_installed_package_brings_its_domain_and_operator(model: Path, site: Path) -> None:
    _judge(json.loads(_run([sys.executable, "-c", CHECK, str(model)], path=site).stdout))


def test_the_plugin_files_do_the_same_without_a_package(model: Path) -> None:
    files = [str(FILES / name) for name in ("fastlin.py", "centred.py", "shrink.py")]
    _judge(json.loads(_run([sys.executable, "-c", CHECK, str(model), *files]).stdout))


def test_without_the_package_the_operator_is_what_onnx_defines_it_by(model: Path) -> None:
    found = {type(node.op).__name__ for node in OnnxFrontEnd().read(model).nodes}
    assert "Shrink" not in found
    assert {"Compare", "Select"} <= found


# `absint` for one domain after another, as it is run by its script, but all in one process.
COMMANDS = f"""
import sys
from absint.cli.main import main
for domain in {DOMAINS!r}:
    assert main([word.replace("DOMAIN", domain) for word in sys.argv[1:]]) in (0, 1)
    print("---", flush=True)
"""


def _command(model: Path, domain: str) -> list[str]:
    return ["verify", str(model), "--domain", domain, "--eps", "0.003", "--index", "0:10", "--format", "json"]


def _each(model: Path, *plugins: str, path: Path | None = None) -> dict[str, str]:
    out = _run([sys.executable, "-c", COMMANDS, *_command(model, "DOMAIN"), *plugins], path=path).stdout
    return dict(zip(DOMAINS, out.split("---\n")[:-1], strict=True))


@pytest.fixture(scope="module")
def of_package(model: Path, site: Path) -> dict[str, str]:
    return _each(model, path=site)


@pytest.fixture(scope="module")
def of_files(model: Path) -> dict[str, str]:
    return _each(model, *(word for name in ("fastlin.py", "centred.py", "shrink.py") for word in ("--plugin", str(FILES / name))))


@pytest.mark.parametrize("domain", DOMAINS)
def test_the_command_line_uses_the_package(of_package: dict[str, str], domain: str) -> None:
    _judge_report(of_package[domain], domain)


@pytest.mark.parametrize("domain", DOMAINS)
def test_the_command_line_takes_plugin_files(of_files: dict[str, str], domain: str) -> None:
    _judge_report(of_files[domain], domain)


def test_the_script_uses_the_package(model: Path, site: Path) -> None:
    script = Path(sysconfig.get_path("scripts")) / "absint"
    _judge_report(_run([str(script), *_command(model, "fastlin")], path=site, expect=(0, 1)).stdout, "fastlin")


def _judge_report(text: str, domain: str) -> None:
    instances = json.loads(text)["instances"]
    assert [one["index"] for one in instances] == list(range(10))
    assert {one["domain"] for one in instances} == {domain}
    assert any(one["verdict"] == "verified" for one in instances)


@pytest.mark.skipif(find_spec("absint.testing.kit") is None, reason="the conformance kit is not installed")
def test_the_conformance_kit_accepts_them(site: Path) -> None:
    """The third one, centred, passes it in test_kit_mutants.py."""
    program = ("from fractions import Fraction\n"
               "from absint.testing.kit import check_domain, check_op\n"
               "from absint_example_plugin.fastlin import FastLin\n"
               "from absint_example_plugin.shrink import Shrink\n"
               "half = Fraction(1, 2)\ncheck_op(Shrink, reference=lambda x: max(x - half, 0) + min(x + half, 0))\n"
               "check_domain(FastLin)")
    done = _run([sys.executable, "-c", program], path=site)
    assert [line.partition(" passed: ")[0] for line in done.stdout.splitlines()] == [
        "operator 'Shrink'", "domain 'fastlin'"]
