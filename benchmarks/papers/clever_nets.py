"""The networks and images of `clever.py`. Networks are trained when they are absent, and kept.

    python benchmarks/papers/clever_nets.py --data FOLDER --nets FOLDER [--device cuda] [--only cifar-cnn] [--seconds 120]

--data: mnist/ with the four IDX files; cifar10/ with train_images_00.webp and as many more sheets as there are, train_labels.u8 and
test_first1000.npz, or with one .npz of train_images, train_labels, test_images, test_labels.
--nets: NAME.pt (a state dict), NAME.onnx (the same network, to use elsewhere) and NAME.json (how it was trained, its accuracy).
What lies there is used as it is: another folder trains anew.
Source: Weng et al., ICLR 2018 and GlobalSIP 2018, and the training of their program; Papernot et al., Distillation as a Defense,
S&P 2016; Goodfellow, Gradient Masking Causes CLEVER to Overestimate Adversarial Perturbation Size, arXiv:1804.07870.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from clever_data import SHAPES, AbsentError, Data, Images
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

SEED = 1


# ---- modules ------------------------------------------------------------------------------------------------------------


class Centred(nn.Module):
    """[0, 1] to [-0.5, 0.5], the range of the papers' networks: distances stay the same."""

    def forward(self, x: Tensor) -> Tensor:
        return x - 0.5


class Stairs(nn.Module):
    """Steps of height (1 - slope) / levels, each with a slope: x on the whole, while the gradient tells of `slope` alone."""

    def __init__(self, levels: int, slope: float) -> None:
        super().__init__()
        self.levels, self.slope = levels, slope

    def forward(self, x: Tensor) -> Tensor:
        steps = torch.floor(x * self.levels + 0.5) * ((1 - self.slope) / self.levels)
        return steps + x * self.slope if self.slope else steps


def mlp(act: type[nn.Module] = nn.Tanh) -> nn.Sequential:
    """784-100-100-10."""
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 100), act(), nn.Linear(100, 100), act(), nn.Linear(100, 10))


def cnn(shape: tuple[int, ...], channels: tuple[int, int], widths: Sequence[int], act: type[nn.Module],
        dropout: float = 0.0) -> nn.Sequential:
    """Two 3x3 convolutions, a max-pool, two more, a max-pool, dense layers: the form of the papers' networks."""
    one, two = channels
    side = ((shape[1] - 4) // 2 - 4) // 2
    layers: list[nn.Module] = [Centred(), nn.Conv2d(shape[0], one, 3), act(), nn.Conv2d(one, one, 3), act(), nn.MaxPool2d(2),
                               nn.Conv2d(one, two, 3), act(), nn.Conv2d(two, two, 3), act(), nn.MaxPool2d(2), nn.Flatten()]
    inside = two * side * side
    for k, width in enumerate(widths):
        layers += [nn.Linear(inside, width), act(), *([nn.Dropout(dropout)] if k == 0 and dropout else [])]
        inside = width
    return nn.Sequential(*layers, nn.Linear(inside, 10))


class DenseLayer(nn.Module):
    """A bottleneck of 1x1 and a 3x3 convolution, whose `growth` channels join what came in."""

    def __init__(self, inside: int, growth: int) -> None:
        super().__init__()
        between = 4 * growth
        self.inner = nn.Sequential(nn.BatchNorm2d(inside), nn.ReLU(), nn.Conv2d(inside, between, 1, bias=False),
                                   nn.BatchNorm2d(between), nn.ReLU(), nn.Conv2d(between, growth, 3, padding=1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.inner(x)], 1)


def densenet(blocks: Sequence[int] = (6, 12, 24, 16), growth: int = 32, side: int = 7, classes: int = 1000) -> nn.Sequential:
    """The form of DenseNet-121 for images of 32 `side` x 32 `side`, with random weights of He's size.

    Source: Huang et al., Densely Connected Convolutional Networks, CVPR 2017, table 1.
    """
    torch.manual_seed(SEED)
    width = 2 * growth
    layers: list[nn.Module] = [nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
                               nn.MaxPool2d(3, stride=2, padding=1)]
    for k, depth in enumerate(blocks):
        for _ in range(depth):
            layers.append(DenseLayer(width, growth))
            width += growth
        if k < len(blocks) - 1:
            layers += [nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, width // 2, 1, bias=False), nn.AvgPool2d(2)]
            width //= 2
    net = nn.Sequential(*layers, nn.BatchNorm2d(width), nn.ReLU(), nn.AvgPool2d(side * 2 ** (4 - len(blocks))), nn.Flatten(),
                        nn.Linear(width, classes))
    for part in net.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight)
    return net.eval()


# ---- training -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Recipe:
    """data: of SHAPES.  build: the module, before training.  epochs: of `optimiser`, adam or sgd; 0 for no training.

    rate: of learning, the first one.  temperature: that divides the logits in training.  teacher: the network whose answers are learnt,
    at the same temperature.  base: the network that this one is made of, instead of being trained.
    """

    data: str
    build: Callable[[], nn.Sequential]
    epochs: int = 0
    optimiser: str = "adam"
    rate: float = 1e-3
    temperature: float = 1.0
    teacher: str = ""
    base: str = ""


FLAT, SHALLOW, STEEP = 0.0, 0.01, 0.3
_MNIST, _CIFAR = SHAPES["mnist"], SHAPES["cifar10"]
RECIPES = {
    "mnist-mlp": Recipe("mnist", mlp, 6),
    "mnist-cnn": Recipe("mnist", lambda: cnn(_MNIST, (8, 16), (64,), nn.ReLU), 3),
    "mnist-cnn7": Recipe("mnist", lambda: cnn(_MNIST, (32, 64), (200, 200), nn.ReLU, 0.5), 10),
    "cifar-cnn": Recipe("cifar10", lambda: cnn(_CIFAR, (64, 128), (256, 256), nn.Tanh, 0.5), 50, "sgd", 0.01),
    # Logits have to grow a hundred times as large, hence the rate.
    "teacher-t100": Recipe("mnist", lambda: mlp(nn.ReLU), 6, rate=1e-2, temperature=100.0),
    "distilled-t100": Recipe("mnist", lambda: mlp(nn.ReLU), 6, rate=1e-2, temperature=100.0, teacher="teacher-t100"),
    "stairs-flat": Recipe("mnist", lambda: nn.Sequential(Stairs(16, FLAT), *mlp()), base="mnist-mlp"),
    "stairs-shallow": Recipe("mnist", lambda: nn.Sequential(Stairs(16, SHALLOW), *mlp()), base="mnist-mlp"),
    "stairs-steep": Recipe("mnist", lambda: nn.Sequential(Stairs(16, STEEP), *mlp()), base="mnist-mlp"),
    "floor-cnn": Recipe("mnist", lambda: nn.Sequential(Stairs(8, FLAT), *cnn(_MNIST, (8, 16), (64,), nn.ReLU)), base="mnist-cnn"),
}


@dataclass(frozen=True)
class Training:
    """device: that trains.  seconds: after which no epoch is begun.  epochs, images: fewer than the recipe's, for rehearsals."""

    device: str = "cpu"
    seconds: float = inf
    epochs: int | None = None
    images: int | None = None


@dataclass(frozen=True, eq=False)
class Net:
    """module: in eval mode, float32, on the CPU.  made: how it was trained, and its accuracy on the test images that are there."""

    name: str
    module: nn.Sequential
    path: Path
    made: dict[str, Any]

    @cached_property
    def graph(self) -> Any:
        """As absint reads it."""
        import absint

        return absint.load(self.path)


def net(name: str, data: Data, nets: Path, training: Training = Training()) -> Net:
    """From its files, or trained. Raises AbsentError where it is not there and there are no images to train on."""
    recipe, path, kept = RECIPES[name], nets / f"{name}.onnx", nets / f"{name}.json"
    module = _frozen(recipe.build())
    if kept.exists():       # written last
        module.load_state_dict(torch.load(path.with_suffix(".pt"), weights_only=True, map_location="cpu"))
        return Net(name, module, path, json.loads(kept.read_text()))
    nets.mkdir(parents=True, exist_ok=True)
    begin, images = time.monotonic(), data[recipe.data]
    if recipe.base:
        base = net(recipe.base, data, nets, training)
        nn.Sequential(*list(module)[1:]).load_state_dict(base.module.state_dict())
        made: dict[str, Any] = {"base": recipe.base}
    else:
        teacher = net(recipe.teacher, data, nets, training).module if recipe.teacher else None
        module, made = _trained(recipe, images, teacher, training)
    made = {"name": name, **made, **tested(module, images.test, training.device), "seconds": round(time.monotonic() - begin, 1)}
    torch.save(module.state_dict(), path.with_suffix(".pt"))
    export(module, SHAPES[recipe.data], path)
    kept.write_text(json.dumps(made, indent=1) + "\n")
    return Net(name, module, path, made)


def _trained(recipe: Recipe, images: Images, teacher: nn.Module | None, training: Training) -> tuple[nn.Sequential, dict[str, Any]]:
    if not len(images.train[0]):
        raise AbsentError(f"--data has no training images of {recipe.data}")
    torch.manual_seed(SEED)
    module, device = recipe.build().to(training.device), training.device
    x, y = (part[:training.images].to(device) for part in images.train)
    answers = y
    if teacher is not None:
        answers = (answer(teacher.to(device), x) / recipe.temperature).softmax(1)
        teacher.cpu()
    epochs = recipe.epochs if training.epochs is None else training.epochs
    done = _fit(module.train(), x, answers, recipe, epochs, time.monotonic() + training.seconds)
    made = {"images": len(x), "epochs": done, "of": epochs, "trained on": device,
            "train accuracy": tested(module.eval(), (x, y), device)["accuracy"]}
    result = _frozen(recipe.build())
    result.load_state_dict(module.cpu().state_dict())
    return result, made


def _fit(module: nn.Module, x: Tensor, answers: Tensor, recipe: Recipe, epochs: int, end: float) -> int:
    """Cross-entropy; the epochs that were done. The order of the images is drawn on the CPU, the same on every device."""
    adam = recipe.optimiser == "adam"
    batch = 100 if adam else 256
    steps = epochs * -(-len(x) // batch)
    if adam:
        optimiser: torch.optim.Optimizer = torch.optim.Adam(module.parameters(), lr=recipe.rate)
        schedule: Any = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    else:       # as Keras's SGD(lr=0.01, decay=1e-5, momentum=0.9, nesterov=True), with its first weights
        for part in module.modules():
            if isinstance(part, (nn.Conv2d, nn.Linear)):
                nn.init.xavier_uniform_(part.weight)
                nn.init.zeros_(part.bias)
        optimiser = torch.optim.SGD(module.parameters(), lr=recipe.rate, momentum=0.9, nesterov=True)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 1 / (1 + 1e-5 * step))
    order = torch.Generator().manual_seed(SEED)
    for epoch in range(epochs):
        if time.monotonic() > end:
            return epoch
        for part in torch.randperm(len(x), generator=order).to(x.device).split(batch):
            optimiser.zero_grad()
            nn.functional.cross_entropy(module(x[part]) / recipe.temperature, answers[part]).backward()
            optimiser.step()
            schedule.step()
    return epochs


def _frozen(module: nn.Sequential) -> nn.Sequential:
    """For use: without dropout, whose place stays so that names of weights stay."""
    return nn.Sequential(*(nn.Identity() if isinstance(part, nn.Dropout) else part for part in module)).eval().requires_grad_(False)


def answer(module: nn.Module, x: Tensor) -> Tensor:
    """Logits, batch by batch."""
    with torch.no_grad():
        return torch.cat([module(part) for part in x.split(1000)])


def tested(module: nn.Module, images: tuple[Tensor, Tensor], device: str) -> dict[str, Any]:
    """The share of images that are classified as labelled."""
    found = answer(module.to(device), images[0].to(device)).argmax(1).cpu()
    module.cpu()
    return {"accuracy": round((found == images[1].cpu()).double().mean().item(), 4), "tested": len(found)}


# ---- ONNX ---------------------------------------------------------------------------------------------------------------


def export(module: nn.Sequential, shape: tuple[int, ...], path: Path) -> None:
    """Layer by layer, for any batch."""
    nodes: list[Any] = []
    constants: list[Any] = []
    last = "input"

    def add(kind: str, *inputs: str | np.ndarray, **options: Any) -> None:
        nonlocal last
        names = []
        for one in inputs:
            if not isinstance(one, str):
                constants.append(numpy_helper.from_array(np.asarray(one, np.float32), f"c{len(constants)}"))
            names.append(one if isinstance(one, str) else constants[-1].name)
        last = f"t{len(nodes)}"
        nodes.append(helper.make_node(kind, names, [last], **options))

    for layer in module:
        for kind, inputs, options in _nodes(layer):
            if kind == "Stairs":
                source = last
                _stairs(layer, source, add, lambda: last)
            else:
                add(kind, last, *inputs, **options)
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, dims) for name, dims in (("input", ["n", *shape]), (last, ["n", 10]))]
    graph = helper.make_graph(nodes, "net", ends[:1], ends[1:], constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def _nodes(layer: nn.Module) -> Iterator[tuple[str, tuple[np.ndarray, ...], dict[str, Any]]]:
    if isinstance(layer, (nn.Linear, nn.Conv2d)):
        weights = layer.weight.detach().numpy(), layer.bias.detach().numpy()
        yield ("Gemm", weights, {"transB": 1}) if isinstance(layer, nn.Linear) else ("Conv", weights, {})
    elif isinstance(layer, Centred):
        yield "Sub", (np.float32(0.5),), {}
    elif isinstance(layer, nn.MaxPool2d):
        yield "MaxPool", (), {"kernel_shape": [2, 2], "strides": [2, 2]}
    elif not isinstance(layer, nn.Identity):
        yield {nn.Tanh: "Tanh", nn.ReLU: "Relu", nn.Flatten: "Flatten", Stairs: "Stairs"}[type(layer)], (), {}


def _stairs(layer: Any, source: str, add: Callable[..., None], last: Callable[[], str]) -> None:
    add("Mul", source, np.float32(layer.levels))
    add("Add", last(), np.float32(0.5))
    add("Floor", last())
    add("Mul", last(), np.float32((1 - layer.slope) / layer.levels))
    if layer.slope:
        steps = last()
        add("Mul", source, np.float32(layer.slope))
        add("Add", steps, last())


def main() -> None:
    """Train what is absent, and say how good it is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--nets", type=Path, required=True)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--only", default="mnist-mlp,mnist-cnn,distilled-t100,stairs-flat,stairs-shallow,stairs-steep,floor-cnn")
    parser.add_argument("--seconds", type=float, default=inf, help="of one network, after which no epoch is begun")
    parser.add_argument("--epochs", type=int, help="instead of the recipe's")
    parser.add_argument("--images", type=int, help="training images, instead of all")
    given = parser.parse_args()
    names = list(RECIPES) if given.only == "all" else given.only.split(",")
    unknown = sorted(set(names) - set(RECIPES))
    if unknown:
        parser.error(f"--only: no networks {', '.join(unknown)}; there are {', '.join(RECIPES)}")
    data, training = Data(given.data), Training(given.device, given.seconds, given.epochs, given.images)
    for name in names:
        print(json.dumps(net(name, data, given.nets, training).made), flush=True)


if __name__ == "__main__":
    main()
