"""A small network trained so that most bundled digits are proved, then verified from its ONNX file by a stronger domain.

    python examples/train_certified.py [epochs] [folder]
"""

from __future__ import annotations

import sys
from pathlib import Path

import absint
from absint import samples


def main() -> None:
    """Trains with interval bounds in the loss, prints an epoch a line, and proves images of the network that is kept."""
    epochs = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    folder = Path(sys.argv[2] if len(sys.argv) > 2 else "absint-train")
    trained = absint.train(method="ibp", eps="0.1", epochs=epochs, save=folder, attack_steps=50, restarts=2)
    for one in trained:
        print(f"epoch {one.epoch} {one.phase.value}: clean {one.clean_error:.1%}, attacked {one.pgd_error:.1%} of {one.pgd_n}, "
              f"not proved {one.verified_error:.1%} of {one.verified_n}")
    data = samples.data("mnist").shaped_for(trained.graph.input.shape)
    for domain in ("box", "deeppoly"):
        rows = absint.verify(trained.path, data.inputs[:20], data.labels[:20], "0.1", domain=domain)
        print(f"{domain}: {sum(row.verdict.value == 'verified' for row in rows)} of 20 verified")


if __name__ == "__main__":
    main()
