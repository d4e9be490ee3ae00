"""Trains generators of one class and classifiers to measure on them: one CPU thread or a card, resumable, the same for the same seed.

    python training/train_generators.py --data FOLDER --work FOLDER --out FOLDER [--only G8,C-small] [--seed 1] [--device cuda]
    python training/train_generators.py --data FOLDER --work FOLDER --out absint/samples --bundled

--data: holds mnist/ and fashion_mnist/.  --work: checkpoints; a run that was killed goes on from there and ends with the same weights.
Written to --out: NAME.onnx of each, and its entry in provenance.json, whose figures are measured on the written file.
A generator takes latents (batch, 10), N(0, 1), and draws images (batch, 1, 28, 28) in [-1, 1]; classifiers take [0, 1].
One that draws too little variety, or images that an independent classifier does not recognise, is refused and not written.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from generator_data import Images, chosen, images
from generator_gate import SAMPLES, check, quality
from generator_nets import IMAGE, exported
from generator_recipes import BUNDLED, JUDGES, RECIPES, Classifier, Gan, judge_of
from resumable import Training, draw_seed
from torch import Tensor, nn

from absint.contract.whole_files import write_whole
from absint.errors import AbsintError, InputError, UsageError
from absint.model.chains import chain_onnx, with_numbers
from absint.problem.training_data import training_data

PROVENANCE = "provenance.json"
EVERY = 250          # steps between lines of losses
CLOSE = 1e-4         # by how much onnxruntime may differ from torch
_BATCH = 1000


@dataclass(eq=False)
class Visit:
    """What a run is given, and the data that it has read. Mutable."""

    data: Path
    work: Path
    seed: int
    device: torch.device = torch.device("cpu")
    _read: dict[tuple[str, str], Images] = field(default_factory=dict)

    def images(self, data: str, part: str = "train") -> Images:
        """part: train or test. Raises InputError E-DATA-... for what is not there or damaged."""
        if (data, part) not in self._read:
            both = training_data(self.data / data)
            self._read |= {(data, "train"): images(both.train), (data, "test"): images(both.test)}
        return self._read[data, part]

    def trained(self, name: str, recipe: Gan | Classifier) -> tuple[nn.Sequential, float]:
        """The network to write, in evaluation mode, and the CPU seconds of its training, which goes on where it was."""
        training: Training = recipe.training(name, self.images(recipe.data), self.seed, self.device)
        seconds = training.run(self.work / f"{name}.pt", EVERY, lambda line: print(line, flush=True))
        return exported(training.nets["net"].cpu()).eval(), seconds


def document(net: nn.Sequential, recipe: Gan | Classifier, doc: str) -> bytes:
    """The network as ONNX: latents to images, or images to logits."""
    shape, outputs, name = ((recipe.sizes[0],), IMAGE, "images") if isinstance(recipe, Gan) else (IMAGE, 10, "logits")
    content = chain_onnx(net, shape, outputs, name)
    assert content is not None, "recipes build chains of known layers"
    return with_numbers(content, {}, doc)


def outputs(content: bytes, inputs: Tensor) -> Tensor:
    """What onnxruntime computes, a thousand at a time."""
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    parts = [session.run(None, {"input": part.numpy()})[0] for part in inputs.split(_BATCH)]
    return torch.from_numpy(np.concatenate(parts))


@torch.no_grad()
def check_written(content: bytes, net: nn.Sequential, inputs: Tensor, name: str) -> None:
    """Raise InputError E-GENERATOR-WRITTEN unless the document computes what the network does."""
    apart = float((outputs(content, inputs) - net(inputs)).abs().max())
    if not apart <= CLOSE:
        raise InputError("E-GENERATOR-WRITTEN", f"onnxruntime differs from torch by {apart:g}", where=name, hint="are all numbers finite?")


def generator_figures(visit: Visit, name: str, recipe: Gan, net: nn.Sequential, content: bytes) -> dict[str, Any]:
    """Measured on images that the document draws; raises what the gate does."""
    latents = torch.randn(SAMPLES, recipe.sizes[0], generator=torch.Generator().manual_seed(draw_seed(visit.seed, name, "gate")))
    check_written(content, net, latents, name)
    judge_name, judge = judge_of(recipe)
    drawn = (outputs(content, latents) + 1) / 2
    real = chosen(visit.images(recipe.data), recipe.label, recipe.part, draw_seed(visit.seed, name, "images"))
    found = quality(drawn, real.unit(slice(None)), visit.trained(judge_name, judge)[0], recipe.label)
    print(f"{name}: {found}", flush=True)
    check(found, recipe.label, name)
    return {"class": recipe.label, "part": recipe.part, "recognised": round(found.recognised, 4), "variance": round(found.variance, 4),
            "gate": f"{SAMPLES} images; recognised by {judge_name}; variance of pixels by that of the {len(real)} real images"}


def classifier_figures(visit: Visit, name: str, recipe: Classifier, net: nn.Sequential, content: bytes) -> dict[str, Any]:
    """Accuracy of the document on the test images, of all classes."""
    test = visit.images(recipe.data, "test")
    pixels = test.unit(slice(None))
    check_written(content, net, pixels[:100], name)
    right = outputs(content, pixels).argmax(1) == test.labels
    by_class = {str(label): round(float(right[test.labels == label].double().mean()), 4) for label in range(10)}
    return {"augmented": recipe.augmented, "test_accuracy": round(float(right.double().mean()), 4), "test_accuracy_by_class": by_class}


def make(visit: Visit, name: str, recipe: Gan | Classifier, out: Path) -> dict[str, Any]:
    """Train, measure and write one network; its entry in provenance.json."""
    net, seconds = visit.trained(name, recipe)
    bare = document(net, recipe, "")
    if isinstance(recipe, Gan):
        figures = generator_figures(visit, name, recipe, net, bare)
    else:
        figures = classifier_figures(visit, name, recipe, net, bare)
    content = document(net, recipe, f"{recipe.what}; seed {visit.seed}; {recipe.epochs} epochs of {recipe.data}")
    write_whole(out / f"{name}.onnx", content)
    return {
        "what": recipe.what, "data": recipe.data, "seed": visit.seed, "epochs": recipe.epochs, "batch": recipe.batch,
        "learning_rate": recipe.rate, "training_device": visit.device.type, "training_cpu_s": round(seconds),
        "parameters": sum(prod(value.shape) for value in net.parameters()), **figures, "sha256": hashlib.sha256(content).hexdigest(),
    }


def entered(out: Path, entries: Mapping[str, Any], command: str) -> None:
    """The entries beside those that are there, in provenance.json of the folder."""
    path = out / PROVENANCE
    said = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"networks": {}}
    said["networks"] = {**said["networks"], **entries}
    said["generators"] = {
        "command": command, "versions": {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__,
                                         "onnx": onnx.__version__, "onnxruntime": onnxruntime.__version__},
    }
    write_whole(path, (json.dumps(said, indent=2) + "\n").encode())


def wanted(only: str, recipes: Mapping[str, Gan | Classifier]) -> list[str]:
    """Names out of --only, all without it. Raises UsageError E-GENERATOR-NAME."""
    names = [name.strip() for name in only.split(",") if name.strip()] or [name for name in recipes if name not in JUDGES]
    unknown = [name for name in names if name not in recipes]
    if unknown:
        raise UsageError("E-GENERATOR-NAME", f"there is no {', '.join(unknown)}", where="--only", hint=f"known: {', '.join(recipes)}")
    return names


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line, make what it names; 0, or the exit code of the first error, after the others were made."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds mnist/ and fashion_mnist/")
    parser.add_argument("--work", type=Path, required=True, help="folder of checkpoints")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    parser.add_argument("--only", default="", metavar="NAMES", help=f"of {', '.join(RECIPES)}; with commas between")
    parser.add_argument("--bundled", action="store_true", help=f"the small ones that absint brings: {', '.join(BUNDLED)}")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--device", default="cpu", help="cpu or cuda, whose weights are others than those of the CPU")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    recipes = BUNDLED if options.bundled else RECIPES
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")     # what torch asks of deterministic sums on a card
    visit = Visit(options.data, options.work, options.seed, torch.device(options.device))
    command = f"python training/train_generators.py --data FOLDER --work FOLDER --out FOLDER{' --bundled' * options.bundled}"
    code = 0
    try:
        for folder in (options.work, options.out):
            folder.mkdir(parents=True, exist_ok=True)
        for name in wanted(options.only, recipes):
            try:
                entered(options.out, {f"{name}.onnx": make(visit, name, recipes[name], options.out)}, command)
            except InputError as error:
                print(error.render(), file=sys.stderr, flush=True)
                code = code or error.exit_code
    except AbsintError as error:
        print(error.render(), file=sys.stderr)
        return error.exit_code
    return code


if __name__ == "__main__":
    sys.exit(main())
