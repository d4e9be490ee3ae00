"""One file with @register_op: the operator works in every registered domain, and in the search for counterexamples."""

from __future__ import annotations

import json
import sys

import numpy as np
import onnx_models as models
import pytest
import warm
from places import ROOT

SHRINK = ROOT / "tests" / "plugins" / "absint_example_plugin" / "absint_example_plugin" / "shrink.py"
# In a process of its own: the operator must not be known to the tests that run beside this one.
PROGRAM = """
import json, sys
import numpy as np
import torch
import absint
from absint.attacks import ATTACKS, Search, falsify
from absint.numeric.backend import numeric_mode
from absint.search.names import method_names
from absint.region import LinfBall, parse_eps
from absint.problem.spec import Spec
absint.load_plugin(sys.argv[2])
graph = absint.load(sys.argv[1])
generator = torch.Generator().manual_seed(0)
center = torch.rand(3, *graph.input.shape, generator=generator, dtype=torch.float64)
labels = graph(center).flatten(1).argmax(1)
out = {"operators": [type(node.op).__name__ for node in graph.nodes], "domains": {}}
share = torch.rand(3, 400, *graph.input.shape, generator=generator, dtype=torch.float64)
share[:, ::2] = share[:, ::2].round()
points = (center[:, None] + 0.3 * (2 * share - 1)).clamp(0, 1)
values = graph(points.flatten(0, 1)).reshape(3, 400, -1).numpy()
for name in method_names():
    try:
        bounds = absint.bounds(graph, center.numpy(), "0.3", domain=name)[graph.output.name]
    except absint.AbsintError as error:
        out["domains"][name] = error.code
        continue
    lower, upper = (side.reshape(3, 1, -1) for side in (bounds.lower, bounds.upper))
    verdicts = {eps: [r.verdict.value for r in absint.verify(graph, center.numpy(), labels.numpy(), eps, domain=name)]
                for eps in ("0.0001", "0.5")}
    out["domains"][name] = {"inside": bool(((values >= lower) & (values <= upper)).all()), **verdicts,
                            "finite": bool(np.isfinite(bounds.lower).all() and np.isfinite(bounds.upper).all())}
with numeric_mode():
    spec = Spec.robust(labels, graph.output.size)
    for attack in ATTACKS.names():
        found = falsify(graph, LinfBall(center, parse_eps("0.5")), spec, ATTACKS.get(attack)(), Search(torch.device("cpu")))
        out[attack] = {str(k): [list(w.point), list(w.output)] for k, w in found.witnesses.items()}
out["labels"] = labels.tolist()
print(json.dumps(out))
"""


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    folder = tmp_path_factory.mktemp("shrink")
    rng = np.random.default_rng(5)
    constants = {"w": rng.standard_normal((8, 4)).astype(np.float32), "b": np.zeros(4, np.float32),
                 "v": rng.standard_normal((4, 3)).astype(np.float32), "c": np.zeros(3, np.float32)}
    nodes = [models.node("Gemm", "x w b", "h"), models.node("Shrink", "h", "s", lambd=0.75, bias=0.75), models.node("Gemm", "s v c", "y")]
    path = models.stored(folder, models.build(nodes, [1, 8], constants, opset=17))
    done = warm.run([sys.executable, "-c", PROGRAM, str(path), str(SHRINK)], capture_output=True, text=True,
                          timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


def test_every_domain_bounds_and_verifies_a_strangers_operator(outcome: dict[str, object]) -> None:
    assert "Shrink" in outcome["operators"]  # type: ignore[operator]
    domains: dict[str, dict[str, object]] = outcome["domains"]  # type: ignore[assignment]
    assert {"box", "zonotope", "deeppoly"} <= domains.keys()
    for name, seen in domains.items():
        assert isinstance(seen, dict), f"{name}: {seen}"
        assert seen["inside"], name
        assert seen["finite"], name
        assert "verified" in seen["0.0001"], name  # type: ignore[operator]
        assert "falsified" in seen["0.5"], name  # type: ignore[operator]


def test_every_attack_finds_counterexamples_behind_it(outcome: dict[str, object]) -> None:
    labels: list[int] = outcome["labels"]  # type: ignore[assignment]
    found: dict[str, list[list[float]]] = outcome["pgd"]  # type: ignore[assignment]
    assert found
    for k, (_, output) in found.items():
        assert max(output[j] for j in range(3) if j != labels[int(k)]) >= output[labels[int(k)]]
