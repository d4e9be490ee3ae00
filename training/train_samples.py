"""Trains the two bundled sample networks and packs the bundled images, reproducibly, on one CPU thread.

    python training/train_samples.py --data FOLDER --out absint/samples [--data-only]

FOLDER holds `mnist/` and `fashion_mnist/`, each with the four IDX files (gzipped or not).  Written to --out:
mnist_relu_3x50.onnx (trained on FGSM examples), mnist_conv_small.onnx (trained with interval bounds), mnist.npz,
fashion_mnist.npz, mnist_train.npz (images to train on) and provenance.json.  With --data-only the networks and
their entries stay.  Every figure in provenance.json is measured on the written ONNX files.
"""

from __future__ import annotations

import argparse
import itertools
import json
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from sample_data import BUNDLED, Split, idx_path, pack_images, raw_sha256, read_split, sha256
from sample_onnx import DEVIATION, Normalise, run_onnx, write_onnx
from torch import Tensor, nn
from torch.nn import functional

SEED = 20240117
BUNDLED_TRAIN, BUNDLED_TEST = 6000, 1000    # mnist_train.npz
BATCH = 128
PROVENANCE = "provenance.json"
COMMAND = "python training/train_samples.py --data FOLDER --out absint/samples"
SOURCES = {
    "mnist": "MNIST (LeCun, Cortes, Burges), the original IDX files",
    "fashion_mnist": "Fashion-MNIST (Zalando SE, MIT licence), https://github.com/zalandoresearch/fashion-mnist",
}
INTERVAL_METHOD = (
    "interval bounds in float64 without outward rounding, the ball cut to [0, 1], "
    "the last layer merged with the differences of logits; all 10,000 test images"
)


@dataclass(frozen=True)
class Recipe:
    """How one network is trained: `loss(model, x, y, progress)` with progress running from 0 to 1."""

    name: str
    what: str
    build: Callable[[], nn.Sequential]
    loss: Callable[[nn.Sequential, Tensor, Tensor, float], Tensor]
    epochs: int
    learning_rate: float
    weight_decay: float


# --- networks and their interval bounds -----------------------------------------------------------------------------


def build_relu() -> nn.Sequential:
    """784-50-50-50-10, ReLU."""
    sizes = (784, 50, 50, 50)
    hidden = [layer for a, b in itertools.pairwise(sizes) for layer in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(Normalise(), nn.Flatten(), *hidden, nn.Linear(50, 10))


def build_conv() -> nn.Sequential:
    """Conv 8@4x4 stride 2, Conv 16@4x4 stride 2, 50, 10, ReLU."""
    return nn.Sequential(
        Normalise(), nn.Conv2d(1, 8, 4, stride=2), nn.ReLU(), nn.Conv2d(8, 16, 4, stride=2), nn.ReLU(),
        nn.Flatten(), nn.Linear(400, 50), nn.ReLU(), nn.Linear(50, 10),
    )


def interval_layer(layer: nn.Module, center: Tensor, radius: Tensor) -> tuple[Tensor, Tensor]:
    """The box around one layer's image of the box center +- radius, both (batch, *shape)."""
    if isinstance(layer, nn.Linear):
        return layer(center), functional.linear(radius, layer.weight.abs())
    if isinstance(layer, nn.Conv2d):
        return layer(center), functional.conv2d(radius, layer.weight.abs(), stride=layer.stride)
    if isinstance(layer, nn.Flatten):
        return layer(center), layer(radius)
    if isinstance(layer, Normalise):
        return layer(center), radius / DEVIATION
    if isinstance(layer, nn.ReLU):
        low, high = (center - radius).relu(), (center + radius).relu()
        return (high + low) / 2, (high - low) / 2
    raise TypeError(f"no interval rule for {type(layer).__name__}")


def worst_margins(model: nn.Sequential, x: Tensor, y: Tensor, eps: float) -> Tensor:
    """Lower bounds (batch, 10) of logit[y] - logit[k] over the eps-ball cut to [0, 1]; 0 at k = y.

    Source: Gowal et al. 2018, arXiv:1810.12715, sections 3 and 4 (the last layer is merged with the property).
    """
    low, high = (x - eps).clamp(0, 1), (x + eps).clamp(0, 1)
    center, radius = (high + low) / 2, (high - low) / 2
    *body, last = model.children()
    for layer in body:
        center, radius = interval_layer(layer, center, radius)
    assert isinstance(last, nn.Linear)
    weight = last.weight[y][:, None] - last.weight[None]  # (batch, 10, features)
    bias = last.bias[y][:, None] - last.bias[None]
    return (weight @ center[..., None] - weight.abs() @ radius[..., None]).squeeze(-1) + bias


# --- training -------------------------------------------------------------------------------------------------------


def adversarial_loss(model: nn.Sequential, x: Tensor, y: Tensor, progress: float, eps: float = 0.06) -> Tensor:
    """Cross entropy at one random-start gradient-sign step, radius rising to eps over the first third.

    Source: Wong, Rice, Kolter 2020, arXiv:2001.03994, algorithm 3.
    """
    radius = eps * min(1.0, 3 * progress)
    shift = torch.empty_like(x).uniform_(-radius, radius).requires_grad_()
    (slope,) = torch.autograd.grad(functional.cross_entropy(model((x + shift).clamp(0, 1)), y), shift)
    shift = (shift.detach() + 1.25 * radius * slope.sign()).clamp(-radius, radius)
    return functional.cross_entropy(model((x + shift).clamp(0, 1)), y)


def interval_loss(model: nn.Sequential, x: Tensor, y: Tensor, progress: float, eps: float = 0.1) -> Tensor:
    """kappa * clean + (1 - kappa) * worst case; the radius rises to eps over 5..60 % of the run, kappa falls to 1/2.

    Source: Gowal et al. 2018, arXiv:1810.12715, section 4.
    """
    ramp = min(1.0, max(0.0, (progress - 0.05) / 0.55))
    clean = functional.cross_entropy(model(x), y)
    if ramp == 0.0:
        return clean
    worst = functional.cross_entropy(-worst_margins(model, x, y, eps * ramp), y)
    kappa = 1 - ramp / 2
    return kappa * clean + (1 - kappa) * worst


RECIPES = (
    Recipe("mnist_relu_3x50", "784-50-50-50-10 ReLU, trained on FGSM examples of radius 0.06", build_relu,
           adversarial_loss, epochs=30, learning_rate=2e-3, weight_decay=1e-4),
    Recipe("mnist_conv_small", "Conv 8@4x4/2, Conv 16@4x4/2, 50, 10, ReLU, trained with interval bounds of radius 0.1",
           build_conv, interval_loss, epochs=30, learning_rate=2e-3, weight_decay=0.0),
)


def batches(x: Tensor, y: Tensor, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    """Shuffled full batches of one epoch."""
    order = torch.randperm(len(x), generator=generator)
    for start in range(0, len(x) - BATCH + 1, BATCH):
        chosen = order[start : start + BATCH]
        yield x[chosen], y[chosen]


def train(recipe: Recipe, split: Split) -> nn.Sequential:
    """The trained network, in evaluation mode; the learning rate falls along half a cosine."""
    torch.manual_seed(SEED)
    generator = torch.Generator().manual_seed(SEED)
    model, (x, y) = recipe.build(), split.tensors()
    optimiser = torch.optim.Adam(model.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay)
    steps, step = recipe.epochs * (len(x) // BATCH), 0
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for epoch in range(recipe.epochs):
        total = 0.0
        for inputs, labels in batches(x, y, generator):
            loss = recipe.loss(model, inputs, labels, step / steps)
            optimiser.zero_grad()
            torch.autograd.backward(loss)
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimiser.step()
            schedule.step()
            step, total = step + 1, total + loss.item()
        mean = total / (len(x) // BATCH)
        print(f"{recipe.name}: epoch {epoch + 1}/{recipe.epochs}, mean loss {mean:.4f}", flush=True)
    return model.eval()


# --- measuring ------------------------------------------------------------------------------------------------------


@torch.no_grad()
def verified_accuracy(model: nn.Sequential, split: Split, eps: float) -> float:
    """Share of the split whose label is proved over the whole eps-ball; see INTERVAL_METHOD."""
    x = torch.from_numpy(split.images[:, None].astype(np.float64) / 255.0)
    y, exact = torch.from_numpy(split.labels), model.double()
    proved = 0
    for start in range(0, len(x), 1000):
        labels = y[start : start + 1000]
        margins = worst_margins(exact, x[start : start + 1000], labels, eps)
        others = functional.one_hot(labels, 10) == 0
        proved += int(((margins > 0) | ~others).all(dim=1).sum())
    model.float()
    return proved / len(x)


def checked_accuracy(model: nn.Sequential, path: Path, split: Split) -> float:
    """Clean accuracy of the written file by onnxruntime, after comparing its logits with torch's."""
    x, y = split.tensors()
    written = run_onnx(path, x)
    with torch.no_grad():
        gap = float(np.abs(written - model(x).numpy()).max())
    alone = float(np.abs(run_onnx(path, x[:1]) - written[:1]).max())
    if max(gap, alone) > 1e-4:
        raise SystemExit(f"{path.name}: onnxruntime differs from torch by {gap:g}, from itself at batch 1 by {alone:g}")
    return float((written.argmax(axis=1) == y.numpy()).mean())


def make_network(recipe: Recipe, train_split: Split, test_split: Split, out: Path) -> dict[str, Any]:
    """Train, write, check and measure one network; its entry of provenance.json."""
    started = time.perf_counter()
    model = train(recipe, train_split)
    seconds = time.perf_counter() - started
    path = out / f"{recipe.name}.onnx"
    write_onnx(model, recipe.name, recipe.what, path)
    accuracy = checked_accuracy(model, path, test_split)
    verified = {f"{eps}": verified_accuracy(model, test_split, eps) for eps in (0.01, 0.05, 0.1)}
    doc = f"{recipe.what}; seed {SEED}; accuracy {accuracy:.4f} on the 10,000 MNIST test images"
    write_onnx(model, recipe.name, doc, path)  # once more, now that the accuracy is known
    if checked_accuracy(model, path, test_split) != accuracy:
        raise SystemExit(f"{path.name}: the accuracy changed on rewriting")
    print(f"{recipe.name}: accuracy {accuracy:.4f}, verified {verified}, {seconds:.0f} s", flush=True)
    return {
        "what": recipe.what, "seed": SEED, "epochs": recipe.epochs, "batch": BATCH,
        "learning_rate": recipe.learning_rate, "weight_decay": recipe.weight_decay,
        "training_seconds": round(seconds), "clean_test_accuracy": accuracy, "interval_verified_accuracy": verified,
        "sha256": sha256(path),
    }


def make_data(folder: Path, name: str, out: Path) -> dict[str, Any]:
    """Pack one data set's first test images; its entry of provenance.json."""
    path = out / f"{name}.npz"
    pack_images(read_split(folder / name, "t10k"), path)
    stems = [f"{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")]
    return {
        "what": f"the first {BUNDLED} test images and labels, uint8", "source": SOURCES[name], "sha256": sha256(path),
        "idx_sha256_unzipped": {stem: raw_sha256(idx_path(folder / name, stem)) for stem in stems},
    }


def make_training_data(folder: Path, out: Path) -> dict[str, Any]:
    """Pack images of MNIST to train on, and test images that are none of the first BUNDLED; the entry of provenance.json."""
    path = out / "mnist_train.npz"
    train, test = (read_split(folder / "mnist", prefix) for prefix in ("train", "t10k"))
    first, last = BUNDLED, BUNDLED + BUNDLED_TEST
    np.savez_compressed(
        path, x_train=train.images[:BUNDLED_TRAIN], y_train=train.labels[:BUNDLED_TRAIN].astype(np.uint8),
        x_test=test.images[first:last], y_test=test.labels[first:last].astype(np.uint8),
    )
    return {
        "what": f"the first {BUNDLED_TRAIN} training images, the test images {first} to {last - 1}, and their labels, uint8",
        "source": SOURCES["mnist"], "sha256": sha256(path), "idx_sha256_unzipped": "as of mnist.npz",
    }


def main() -> None:
    """Read the command line, make everything, write provenance.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds mnist/ and fashion_mnist/")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    parser.add_argument("--data-only", action="store_true", help="leave the networks and their entries in provenance.json as they are")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    data = {f"{name}.npz": make_data(options.data, name, options.out) for name in SOURCES}
    data["mnist_train.npz"] = make_training_data(options.data, options.out)
    if options.data_only:
        write_provenance(options.out, json.loads((options.out / PROVENANCE).read_text(encoding="utf-8")) | {"data": data})
        return
    train_split, test_split = (read_split(options.data / "mnist", prefix) for prefix in ("train", "t10k"))
    networks = {
        f"{recipe.name}.onnx": make_network(recipe, train_split, test_split, options.out) for recipe in RECIPES
    }
    provenance = {
        "command": COMMAND, "interval_method": INTERVAL_METHOD, "networks": networks, "data": data,
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__,
                     "onnx": onnx.__version__, "onnxruntime": onnxruntime.__version__},
    }
    write_provenance(options.out, provenance)


def write_provenance(out: Path, provenance: dict[str, Any]) -> None:
    """How everything in `out` was made; what other programmes said there stays."""
    path = out / PROVENANCE
    said = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    networks = {**said.get("networks", {}), **provenance["networks"]}
    path.write_text(json.dumps({**said, **provenance, "networks": networks}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
