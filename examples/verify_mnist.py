"""Verify local robustness of a bundled MNIST network, look at single verdicts, and bound tensors inside the network.

    python examples/verify_mnist.py
"""

from __future__ import annotations

from collections import Counter

import absint
from absint import samples

EPS = 0.01


def main() -> None:
    """Compare the built-in domains on twenty digits, then print bounds of the logits of one."""
    graph = absint.load(samples.default_network())
    data = samples.data("mnist").shaped_for(graph.input.shape)
    inputs, labels = data.inputs[:20], data.labels[:20]

    for domain in ("box", "zonotope", "deeppoly"):
        results = absint.verify(graph, inputs, labels, EPS, domain=domain)
        counts = Counter(result.verdict.value for result in results)
        print(f"{domain:9s}", ", ".join(f"{count} {verdict}" for verdict, count in sorted(counts.items())))

    weakest = min((r for r in results if r.margin is not None), key=lambda result: result.margin)
    print(f"smallest margin: image {weakest.index}, {weakest.verdict.value}, {weakest.margin:.4f}")

    logits = absint.bounds(graph, inputs[:1], EPS, domain="zonotope")[graph.output.name]
    for digit, (lower, upper) in enumerate(zip(logits.lower[0], logits.upper[0], strict=True)):
        print(f"logit {digit}: [{lower:8.3f}, {upper:8.3f}]")


if __name__ == "__main__":
    main()
