"""Input validation by robustness radius: trains networks of the paper's Table I and repeats its experiments.

    python benchmarks/papers/input_validation.py --mnist FOLDER --cifar FOLDER --out FOLDER [--only 3x30-relu,cnn6-16-relu]

FOLDER of --mnist: the four IDX files.  FOLDER of --cifar: train_images_00.webp .. 24 (sheets of 40 x 50 tiles), train_labels.u8
and test_first1000.npz; without it the CIFAR-10 row is left out.  --out keeps every trained network and every result: a second
run continues, network by network and domain by domain.  `--tables` only prints what is there.
Source: Liu et al., Input Validation for Neural Networks via Local Robustness Verification, Tables I and II, section 4.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from absint import load
from absint.analyses.validate.evaluation import Evaluation, EvaluationPlan, evaluate, summary, window_counts
from absint.analyses.validate.validator import RadiusValidator
from absint.analyses.validate.window import filled
from absint.attacks.foolbox_attacks import parse_attack
from absint.problem.data_frontend import read_data
from absint.problem.dataset import Dataset

SEED = 1
ATTACKS = ("fgsm:eps=0.1", "fgsm:eps=0.05", "cw", "hopskipjump:steps=20,max_gradient_eval_steps=1000")
SHORT = ("valid", "mis", "F.1", "F.05", "CW", "HOP")
THRESHOLDS = tuple(Fraction(k, 500) for k in range(1, 9))
DOMAINS = ("zonotope", "deeppoly", "auto")
ACTIVATIONS = {"relu": (nn.ReLU, "Relu"), "sigmoid": (nn.Sigmoid, "Sigmoid"), "tanh": (nn.Tanh, "Tanh")}


@dataclass(frozen=True)
class Row:
    """A network of Table I: what it is, how long it trains, and the paper's accuracy, mean radii x 1e4 (first 10), p, seconds a call."""

    data: str
    kind: str
    activation: str
    epochs: int
    accuracy: float
    radii: tuple[int, ...]
    p: str
    seconds: float


ROWS = {
    "3x30-relu": Row("mnist", "3x30", "relu", 6, 95.82, (227, 56, 91, 66, 20, 9), ".033", .242),
    "cnn6-16-relu": Row("mnist", "cnn6-16", "relu", 4, 98.62, (175, 64, 55, 32, 21, 11), ".828", .232),
    "3x30-sigmoid": Row("mnist", "3x30", "sigmoid", 8, 95.26, (145, 71, 74, 50, 20, 11), "<.001", .251),
    "3x30-tanh": Row("mnist", "3x30", "tanh", 6, 96.25, (81, 46, 30, 20, 16, 8), "<.001", .255),
    "5x100-relu": Row("mnist", "5x100", "relu", 6, 97.61, (127, 57, 47, 43, 13, 11), ".082", .517),
    "cnn6-16-tanh": Row("mnist", "cnn6-16", "tanh", 4, 98.73, (39, 13, 22, 15, 6, 6), ".188", .369),
    "lenet-relu": Row("cifar", "lenet", "relu", 12, 73.66, (17, 9, 17, 16, 3, 2), ".005", 1.680),
}
# The paper's grid is too coarse for CIFAR-10, where more than 3 % of the radii would be 0.
GRIDS = {"mnist": {"upper": "0.256", "tolerance": "0.001"}, "cifar": {"upper": "0.064", "tolerance": "0.0001"}}
TABLE_II = {".002": (0, 14, 17, 27, 48, 91), ".004": (0, 28, 42, 57, 77, 100), ".006": (0, 49, 62, 87, 89, 100),
            ".008": (2, 66, 88, 100, 96, 100), ".010": (3, 75, 95, 100, 100, 100), ".012": (8, 89, 99, 100, 100, 100),
            ".014": (13, 97, 100, 100, 100, 100), ".016": (24, 100, 100, 100, 100, 100)}


# ---- networks -------------------------------------------------------------------------------------------------------


def module_of(row: Row) -> nn.Sequential:
    """The untrained network; input of raw pixels in [0, 1]."""
    act = ACTIVATIONS[row.activation][0]
    if row.kind == "lenet":
        return nn.Sequential(nn.Conv2d(3, 6, 5), act(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), act(), nn.MaxPool2d(2), nn.Flatten(),
                             nn.Linear(400, 120), act(), nn.Linear(120, 84), act(), nn.Linear(84, 10))
    if row.kind.startswith("cnn"):
        one, two = map(int, row.kind[3:].split("-"))
        return nn.Sequential(nn.Conv2d(1, one, 3), act(), nn.MaxPool2d(2), nn.Conv2d(one, two, 3), act(), nn.MaxPool2d(2), nn.Flatten(),
                             nn.Linear(two * 25, 128), act(), nn.Linear(128, 10))
    depth, width = map(int, row.kind.split("x"))
    layers: list[nn.Module] = [nn.Flatten()]
    for k in range(depth):
        layers += [nn.Linear(width if k else 784, width), act()]
    return nn.Sequential(*layers, nn.Linear(width, 10))


def train(row: Row, images: torch.Tensor, labels: torch.Tensor) -> nn.Sequential:
    """Adam, 1e-3 falling to zero by a cosine, batches of 100, cross-entropy."""
    torch.manual_seed(SEED)
    module = module_of(row)
    optimiser = torch.optim.Adam(module.parameters(), lr=1e-3)
    batches = len(images) // 100
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, row.epochs * batches)
    for _ in range(row.epochs):
        for part in torch.randperm(len(images)).split(100)[:batches]:
            optimiser.zero_grad()
            nn.functional.cross_entropy(module(images[part]), labels[part]).backward()
            optimiser.step()
            schedule.step()
    return module.eval()


def export(module: nn.Sequential, shape: tuple[int, ...], path: Path) -> None:
    """As ONNX, layer by layer."""
    names = dict(ACTIVATIONS.values())
    nodes, constants, last = [], [], "input"
    for k, layer in enumerate(module):
        inputs, out = [last], f"t{k}"
        if isinstance(layer, (nn.Linear, nn.Conv2d)):
            for name in ("weight", "bias"):
                constants.append(numpy_helper.from_array(getattr(layer, name).detach().numpy(), f"{name}{k}"))
                inputs.append(f"{name}{k}")
        kind, options = {
            nn.Linear: ("Gemm", {"transB": 1}), nn.Conv2d: ("Conv", {}), nn.Flatten: ("Flatten", {}),
            nn.MaxPool2d: ("MaxPool", {"kernel_shape": [2, 2], "strides": [2, 2]}), **{c: (n, {}) for c, n in names.items()},
        }[type(layer)]
        nodes.append(helper.make_node(kind, inputs, [out], **options))
        last = out
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, dims) for name, dims in (("input", ["n", *shape]), (last, ["n", 10]))]
    graph = helper.make_graph(nodes, "net", ends[:1], ends[1:], constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


# ---- data -----------------------------------------------------------------------------------------------------------


def mnist(folder: Path) -> tuple[Dataset, Dataset]:
    """Training and test images, (n, 1, 28, 28) in [0, 1]."""
    def found(stem: str) -> Path:
        return next(p for p in (folder / f"{stem}.gz", folder / stem) if p.exists())

    pairs = [(f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte") for part in ("train", "t10k")]
    one, two = (read_data(found(images), found(labels)).shaped_for((1, 28, 28)) for images, labels in pairs)
    return one, two


def cifar(folder: Path) -> tuple[Dataset, Dataset]:
    """Training images, and the first 1,000 test images, (n, 3, 32, 32) in [0, 1]."""
    from PIL import Image

    sheets = [np.asarray(Image.open(folder / f"train_images_{k:02d}.webp").convert("RGB")) for k in range(25)]
    tiles = np.concatenate([s.reshape(50, 32, 40, 32, 3).transpose(0, 2, 1, 3, 4).reshape(2000, 32, 32, 3) for s in sheets])
    labels = np.fromfile(folder / "train_labels.u8", np.uint8).astype(np.int64)
    with np.load(folder / "test_first1000.npz") as archive:
        test = archive["images"], archive["labels"].astype(np.int64)
    one, two = (Dataset(np.ascontiguousarray(x.transpose(0, 3, 1, 2)) / 255.0, y, name, "")
                for (x, y), name in (((tiles, labels), "cifar10 train"), (test, "cifar10 test, first 1000")))
    return one, two


# ---- measuring ------------------------------------------------------------------------------------------------------


def serving(validator: RadiusValidator, inputs: np.ndarray) -> dict[str, float]:
    """Inputs per second of CPU, in mode threshold: one by one, and all at once."""
    rates = {}
    for name, parts in (("single", [inputs[k : k + 1] for k in range(min(40, len(inputs)))]), ("batch", [inputs])):
        validator.accept(parts[0])
        begin = time.process_time()
        for part in parts:
            validator.accept(part)
        rates[name] = sum(map(len, parts)) / (time.process_time() - begin)
    return rates


def windows(found: Evaluation, radii: tuple[int, ...]) -> dict[str, list[dict[str, object]]]:
    """Algorithm 2 as calibrated, with the paper's sigma0, and as published: with that and without the guard."""
    paper = replace(found.rule, sigma0=int(Fraction("0.014") / found.step))
    rules = {"calibrated": found.rule, "sigma0 .014": paper, "as published": replace(paper, guard=0.0)}
    out = {}
    for name, rule in rules.items():
        window = filled(rule, radii)
        counts = [] if window is None else window_counts(window, found.categories, SEED)
        out[name] = [{"order": c.order, "rejected": list(c.rejected.values()), "fallbacks": c.fallbacks} for c in counts]
    return out


def measure(path: Path, data: Dataset, domains: list[str], count: int) -> None:
    """Everything about one network, kept domain by domain; the same adversarial inputs (their seeds are fixed) for every domain."""
    graph, kept, made = load(path), path.with_suffix(".json"), {}
    shaped = data.shaped_for(graph.input.shape)
    right = RadiusValidator(graph, domains[0]).predict(torch.from_numpy(shaped.inputs))[0].numpy() == shaped.labels
    result = {"name": path.stem, "accuracy": float(right.mean()), "of": len(shaped), "count": count, "domains": {}}
    result = json.loads(kept.read_text()) if kept.exists() else result
    for domain in domains:
        validator = RadiusValidator(graph, domain, rate="0.03", **GRIDS[ROWS[path.stem].data])
        plan = EvaluationPlan(tuple(map(parse_attack, ATTACKS)), count, max(50, 2 * count), SEED, THRESHOLDS)
        begin = time.process_time()
        found = evaluate(validator, shaped, plan, made=made)
        made = dict(found.adversarials)
        assert validator.calibration is not None
        seconds = time.process_time() - begin
        result["domains"][domain] = {**summary(found), "algorithm2": windows(found, validator.calibration.radii), "cpu_s": seconds,
                                     "serving": serving(validator, shaped.select(np.array(found.valid.originals)).inputs)}
        kept.write_text(json.dumps(result, indent=1))
        print(f"{path.stem} {domain}: {seconds:.0f} s CPU", flush=True)


def missing(path: Path, domains: list[str]) -> list[str]:
    """The domains that an earlier run has not measured."""
    done = json.loads(path.read_text())["domains"] if path.exists() else {}
    return [domain for domain in domains if domain not in done]


# ---- tables ---------------------------------------------------------------------------------------------------------


def print_tables(results: list[dict]) -> None:
    """Markdown: ours beside the paper's."""
    print("\n| network | who | acc % | " + " | ".join(SHORT) + " | p | s/call |\n|---|---|---|" + "---|" * 8)
    for result in results:
        row, found = ROWS[result["name"]], _first(result)["categories"]
        print(f"| {result['name']} | paper | {row.accuracy} | {' | '.join(map(str, row.radii))} | {row.p} | {row.seconds} |")
        for key, who in (("mean_radius_first10", "ours, first 10"), ("mean_radius", f"ours, {result['count']}")):
            cells = " | ".join("-" if c[key] is None else f"{1e4 * c[key]:.0f}" for c in found)
            call = sum(c["seconds"] for c in found) / sum(c["calls"] for c in found)
            print(f"| {result['name']} | {who} | {100 * result['accuracy']:.2f} | {cells} | {found[0]['normality_p']:.3f} | {call:.4f} |")
    for result in results:
        _rejections(result)
    print("\n| network | domain | mean valid | Th (3 %) | held-out alarms | AUC mis | F.1 | F.05 | CW | HOP "
          "| CPU s | single /s | batch /s |")
    print("|" + "---|" * 13)
    for result in results:
        for domain, one in result["domains"].items():
            auc = " | ".join("-" if c["auc"] is None else f"{c['auc']:.3f}" for c in one["categories"][1:])
            print(f"| {result['name']} | {domain} | {one['categories'][0]['mean_radius']:.4f} | {one['threshold']:g} | "
                  f"{one['held_out']['false_alarms']:.0%} | {auc} | {one['cpu_s']:.0f} | {one['serving']['single']:.0f} | "
                  f"{one['serving']['batch']:.0f} |")


def _first(result: dict) -> dict:
    """The domain that the paper's tables are about: zonotope where it was measured."""
    return result["domains"].get("zonotope") or next(iter(result["domains"].values()))


def _rejections(result: dict) -> None:
    one = _first(result)
    print(f"\n{result['name']}: inputs {[c['inputs'] for c in one['categories']]}, "
          f"tried {[c['tried'] for c in one['categories']]}, "
          f"mean linf {[c['mean_linf'] and round(c['mean_linf'], 3) for c in one['categories'][2:]]}, "
          f"l2 {[c['mean_l2'] and round(c['mean_l2'], 2) for c in one['categories'][2:]]}\n")
    print("| rejected, % | " + " | ".join(SHORT) + (" | paper |" if result["name"] == "cnn6-16-relu" else " |"))
    print("|---|" + "---|" * (6 + (result["name"] == "cnn6-16-relu")))
    for row in one["rejection"]:
        shares = [100 * v / max(1, c["inputs"]) for c, v in zip(one["categories"], list(row.values())[1:], strict=True)]
        paper = TABLE_II.get(f"{row['threshold']:.3f}"[1:]) if result["name"] == "cnn6-16-relu" else None
        tail = "" if result["name"] != "cnn6-16-relu" else f" {'' if paper is None else ' '.join(map(str, paper))} |"
        print(f"| {row['threshold']:g} | {' | '.join(f'{s:.0f}' for s in shares)} |{tail}")
    for variant, counts in one["algorithm2"].items():
        shuffled = np.array([c["rejected"] for c in counts[1:]]).mean(0)
        print(f"\nAlgorithm 2, {variant}: in sequence {counts[0]['rejected']} rejected ({counts[0]['fallbacks']} by the threshold), "
              f"shuffled on average {shuffled.round(1).tolist()}")


def main() -> None:
    """Train, measure and print what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mnist", type=Path)
    parser.add_argument("--cifar", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", default=",".join(ROWS))
    parser.add_argument("--domains", default=",".join(DOMAINS))
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--tables", action="store_true")
    given = parser.parse_args()
    unknown = sorted(set(given.only.split(",")) - set(ROWS))
    if unknown:
        parser.error(f"--only: no rows {', '.join(unknown)}; there are {', '.join(ROWS)}")
    given.out.mkdir(parents=True, exist_ok=True)
    readers, kept = {"mnist": (mnist, given.mnist), "cifar": (cifar, given.cifar)}, {}
    for name in given.only.split(","):
        row, result = ROWS[name], given.out / f"{name}.json"
        reader, folder = readers[row.data]
        todo = missing(result, given.domains.split(","))
        if given.tables or not todo or folder is None:
            continue
        kept[row.data] = kept.get(row.data) or reader(folder)
        images, test = kept[row.data]
        path = given.out / f"{name}.onnx"
        if not path.exists():
            begin = time.process_time()
            export(train(row, torch.from_numpy(images.inputs).float(), torch.from_numpy(images.labels)), images.shape, path)
            print(f"{name}: trained in {time.process_time() - begin:.0f} s CPU", flush=True)
        measure(path, test, todo, given.count)
    print_tables([json.loads(p.read_text()) for p in (given.out / f"{name}.json" for name in given.only.split(",")) if p.exists()])


if __name__ == "__main__":
    main()
