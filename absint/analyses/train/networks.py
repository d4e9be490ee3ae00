"""What is trained: the architectures of the papers, a builder of the user's own, and how weights begin.

Sources: Gowal et al. 2018, arXiv:1810.12715, table 5 (small, medium, large); LeCun et al. 1998 (LeNet-5, with ReLU);
the LeNet-5 of the Mayo toolkit, which the Taboo Trap papers train (Shumailov et al. 2018, arXiv:1811.07375).
"""

from __future__ import annotations

import importlib.util
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from absint.errors import InputError, PluginError, UnsupportedError, UsageError, shown
from absint.model.chains import ChannelScaling, chain_onnx
from absint.model.frontend import load_model
from absint.model.graph import Graph
from absint.model.op import Shape

INITIAL = ("default", "orthogonal")
Build = Callable[[Shape, int], nn.Module]


def _chain(shape: Shape, classes: int, convolutions: list[tuple[int, int, int, int]], dense: list[int], *,
           pool: int = 1) -> nn.Sequential:
    """convolutions: (channels, kernel, stride, padding) each.  dense: sizes between them and the logits.  pool: maxima of pool x pool
    pixels after each convolution."""
    if len(shape) != 3:
        raise UsageError("E-TRAIN-MODEL", f"a convolutional network takes images (channels, rows, columns), not inputs of shape {shape}",
                         where="--model", hint="give a builder of your own, FILE.py:build")
    layers: list[nn.Module] = []
    channels, size = shape[0], list(shape[1:])
    for out, kernel, stride, padding in convolutions:
        layers += [nn.Conv2d(channels, out, kernel, stride, padding), nn.ReLU()]
        channels, size = out, [(n + 2 * padding - kernel) // stride + 1 for n in size]
        if pool > 1:
            layers.append(nn.MaxPool2d(pool))
            size = [n // pool for n in size]
        if min(size) < 1:
            raise UsageError("E-TRAIN-MODEL", f"images of {shape[1]} x {shape[2]} pixels are too small for this network", where="--model",
                             hint="give a builder of your own, FILE.py:build")
    layers.append(nn.Flatten())
    width = channels * math.prod(size)
    for out in dense:
        layers += [nn.Linear(width, out), nn.ReLU()]
        width = out
    return nn.Sequential(*layers, nn.Linear(width, classes))


def small(shape: Shape, classes: int) -> nn.Module:
    """Two convolutions and one hidden layer of 100: 329,606 parameters on MNIST."""
    return _chain(shape, classes, [(16, 4, 2, 0), (32, 4, 1, 0)], [100])


def medium(shape: Shape, classes: int) -> nn.Module:
    """Four convolutions and two hidden layers of 512."""
    return _chain(shape, classes, [(32, 3, 1, 0), (32, 4, 2, 0), (64, 3, 1, 0), (64, 4, 2, 0)], [512, 512])


def large(shape: Shape, classes: int) -> nn.Module:
    """Five convolutions with padding and one hidden layer of 200."""
    return _chain(shape, classes, [(64, 3, 1, 1), (64, 3, 1, 1), (128, 3, 2, 1), (128, 3, 1, 1), (128, 3, 1, 1)], [200])


def lenet5(shape: Shape, classes: int) -> nn.Module:
    """Two convolutions with strides in place of pooling and two hidden layers, 120 and 84."""
    return _chain(shape, classes, [(6, 5, 2, 2), (16, 5, 2, 0)], [120, 84])


def lenet5_pool(shape: Shape, classes: int) -> nn.Module:
    """Two convolutions with max pooling and one hidden layer of 500: 15,220 ReLU neurons on MNIST.

    Mayo's network also halves features by dropout in training; here the network that runs is the network that is trained.
    """
    return _chain(shape, classes, [(20, 5, 1, 0), (50, 5, 1, 0)], [500], pool=2)


ARCHITECTURES: dict[str, Build] = {"small": small, "medium": medium, "large": large, "lenet5": lenet5, "lenet5-pool": lenet5_pool}


@dataclass(frozen=True, eq=False)
class Untrained:
    """A network before its first step.

    model: the ONNX file, bytes.  graph: read from it without rewrites.  parameters: what is trained, by name, float32.  name: for messages.
    """

    model: bytes
    graph: Graph
    parameters: dict[str, Tensor]
    name: str

    @property
    def count(self) -> int:
        """Numbers that are trained."""
        return sum(value.numel() for value in self.parameters.values())


def untrained(model: object, shape: Shape, classes: int, *, mean: Tensor | None, std: Tensor | None, initial: str, seed: int) -> Untrained:
    """The network that `model` names, with its first weights.

    model: a name, FILE.py:FUNCTION, a function (shape, classes) -> Module, or a Module, whose weights are taken as they are.
    mean, std: by channel, a first layer inside the network; None for none.  initial: `default` (torch's) or `orthogonal` with zero biases.
    Raises UsageError E-TRAIN-MODEL, InputError E-TRAIN-MODEL for a builder that fails, UnsupportedError E-TRAIN-PARAMETER for
    parameters that no operator is made of, and what the import of a network raises.
    """
    name, build = _builder(model)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = build(shape, classes)
        if not isinstance(module, nn.Module):
            raise InputError("E-TRAIN-MODEL", f"the builder returned {type(module).__name__}", where=name, hint="return a torch.nn.Module")
        if initial == "orthogonal" and not isinstance(model, nn.Module):
            _orthogonal(module)
    if mean is not None and std is not None:
        module = nn.Sequential(ChannelScaling(mean, std), *(module if isinstance(module, nn.Sequential) else (module,)))
    return _imported(module.eval(), shape, classes, name)


def _imported(module: nn.Module, shape: Shape, classes: int, name: str) -> Untrained:
    content = chain_onnx(module, shape, classes)
    if content is None:
        graph = load_model(module, example_input=torch.zeros(1, *shape), fold=False)
    else:
        graph = load_model(f"{name}.onnx", content=content, fold=False)
    if graph.output.shape != (classes,):
        raise InputError("E-TRAIN-MODEL", f"the network's output has shape {graph.output.shape}, the data {classes} classes", where=name,
                         hint="build it with one output a class")
    wanted = {key: value.detach().float().clone() for key, value in module.named_parameters() if value.requires_grad}
    missing = [key for key in wanted if key not in graph.parameters]
    if missing or not wanted:
        what = f"{len(missing)} parameters of the module are no operator's own constants" if missing else "the module has no parameters"
        raise UnsupportedError("E-TRAIN-PARAMETER", what, where=name, details=missing[:8],
                               hint="use layers that export as they are: Linear, Conv, BatchNorm in eval mode")
    _check_gradients(graph, wanted, name)
    model = graph.source.model
    assert model is not None, "a front end keeps the model"
    return Untrained(model, graph, wanted, name)


def _check_gradients(graph: Graph, parameters: dict[str, Tensor], name: str) -> None:
    """Raise UnsupportedError E-TRAIN-PARAMETER for parameters that no gradient would reach: they would silently stay as they are."""
    asked = {key: value.clone().requires_grad_() for key, value in parameters.items()}
    x = torch.rand(2, *graph.input.shape, generator=torch.Generator().manual_seed(0))
    found = torch.autograd.grad(graph.with_parameters(asked)(x).sum(), tuple(asked.values()), allow_unused=True)
    unused = [key for key, gradient in zip(asked, found, strict=True) if gradient is None]
    if unused:
        raise UnsupportedError("E-TRAIN-PARAMETER", f"no gradient reaches {len(unused)} parameters of the module", where=name,
                               details=unused[:8], hint="freeze them: requires_grad_(False)")


def _builder(model: object) -> tuple[str, Build]:
    """What messages call it, and how it is made."""
    if isinstance(model, nn.Module):
        return type(model).__name__, lambda shape, classes: model
    if callable(model):
        return getattr(model, "__name__", type(model).__name__), _guarded(model, str(model))
    text = str(model)
    if text in ARCHITECTURES:
        return text, ARCHITECTURES[text]
    file, colon, function = text.rpartition(":")
    if not colon or not file.endswith(".py"):
        raise UsageError("E-TRAIN-MODEL", f"no network is called {shown(text)}", where="--model",
                         hint=f"{', '.join(ARCHITECTURES)}, or FILE.py:build, a function (shape, classes) -> torch.nn.Module")
    return f"{Path(file).stem}:{function}", _guarded(_function(Path(file), function), text)


def _function(path: Path, name: str) -> Any:
    if not path.is_file():
        raise InputError("E-TRAIN-MODEL", "there is no such file", where=str(path), hint="--model FILE.py:build")
    spec = importlib.util.spec_from_file_location(f"absint_model_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module: ModuleType = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise PluginError("E-PLUGIN-RAISED", f"the file could not be run: {type(error).__name__}: {error}", where=str(path),
                          hint="--debug shows the traceback") from error
    found = getattr(module, name, None)
    if not callable(found):
        raise UsageError("E-TRAIN-MODEL", f"the file has no function '{name}'", where=str(path), hint="--model FILE.py:build")
    return found


def _guarded(build: Any, name: str) -> Build:
    def made(shape: Shape, classes: int) -> nn.Module:
        try:
            module: nn.Module = build(shape, classes)
        except Exception as error:
            raise PluginError("E-PLUGIN-RAISED", f"the builder raised {type(error).__name__}: {error}", where=name,
                              hint="it is called as build(shape, classes), shape without the batch axis") from error
        return module

    return made


def _orthogonal(module: nn.Module) -> None:
    """Orthogonal weights and zero biases of linear layers and convolutions (the authors' program of Gowal et al.)."""
    for layer in module.modules():
        if isinstance(layer, (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)):
            nn.init.orthogonal_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
