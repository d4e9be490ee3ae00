"""Small modules of the kinds that people train: what `zoo.py` exports, loads and bounds. Random weights, a few hundred numbers each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True)
class Kind:
    """A module, and the shape of one of its inputs without the batch axis."""

    name: str
    build: Callable[[], nn.Module]
    shape: tuple[int, ...]


class Fn(nn.Module):
    """Modules and a function of them and the input."""

    def __init__(self, parts: dict[str, nn.Module], run: Callable[..., Tensor]) -> None:
        super().__init__()
        self.parts, self.run = nn.ModuleDict(parts), run

    def forward(self, x: Tensor) -> Tensor:
        """The function's value."""
        return self.run(self.parts, x)


def mlp(*sizes: int, unit: Callable[[], nn.Module] = nn.ReLU) -> nn.Sequential:
    """Linear layers with a unit between two."""
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes):
        layers += [nn.Linear(before, after), unit()]
    return nn.Sequential(*layers[:-1])


def cnn(norm: Callable[[int], nn.Module], unit: Callable[[], nn.Module] = nn.ReLU) -> nn.Sequential:
    """Two convolutions with a normalisation and a unit each, pooled to three classes."""
    return nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), norm(4), unit(), nn.Conv2d(4, 4, 3, stride=2), norm(4), unit(),
                         nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))


def residual() -> nn.Module:
    """Two residual blocks, the second with a strided shortcut, as in ResNet."""
    parts = {"stem": nn.Conv2d(2, 4, 3, padding=1, bias=False), "bn0": nn.BatchNorm2d(4),
             "a": nn.Conv2d(4, 4, 3, padding=1, bias=False), "bn1": nn.BatchNorm2d(4),
             "b": nn.Conv2d(4, 6, 3, stride=2, padding=1, bias=False), "bn2": nn.BatchNorm2d(6),
             "short": nn.Conv2d(4, 6, 1, stride=2), "head": nn.Linear(6, 3)}

    def run(p: nn.ModuleDict, x: Tensor) -> Tensor:
        x = functional.relu(p["bn0"](p["stem"](x)))
        x = functional.relu(p["bn1"](p["a"](x)) + x)
        x = functional.relu(p["bn2"](p["b"](x)) + p["short"](x))
        return p["head"](x.mean((2, 3)))
    return Fn(parts, run)


def unet() -> nn.Module:
    """Down, up, and a connection across, as in U-Net: an image comes out."""
    parts = {"down": nn.Conv2d(2, 4, 3, padding=1), "deep": nn.Conv2d(4, 4, 3, padding=1), "up": nn.ConvTranspose2d(4, 4, 2, stride=2),
             "out": nn.Conv2d(8, 1, 1)}

    def run(p: nn.ModuleDict, x: Tensor) -> Tensor:
        high = functional.relu(p["down"](x))
        low = functional.relu(p["deep"](functional.max_pool2d(high, 2)))
        return p["out"](torch.cat([high, functional.relu(p["up"](low))], 1)).flatten(1)
    return Fn(parts, run)


def resized() -> nn.Module:
    """Down and up again by interpolation."""
    parts = {"a": nn.Conv2d(2, 3, 3, padding=1), "b": nn.Conv2d(3, 1, 3, padding=1)}
    return Fn(parts, lambda p, x: p["b"](functional.interpolate(functional.avg_pool2d(torch.relu(p["a"](x)), 2), scale_factor=2.0,
                                                                mode="bilinear")).flatten(1))


def mixer() -> nn.Module:
    """One block of MLP-Mixer: patches mixed, then channels."""
    parts = {"patch": nn.Conv2d(2, 6, 4, stride=4), "n1": nn.LayerNorm(6), "tokens": mlp(4, 5, 4, unit=nn.GELU), "n2": nn.LayerNorm(6),
             "channels": mlp(6, 7, 6, unit=nn.GELU), "head": nn.Linear(6, 3)}

    def run(p: nn.ModuleDict, x: Tensor) -> Tensor:
        x = p["patch"](x).flatten(2).transpose(1, 2)
        x = x + p["tokens"](p["n1"](x).transpose(1, 2)).transpose(1, 2)
        x = x + p["channels"](p["n2"](x))
        return p["head"](x.mean(1))
    return Fn(parts, run)


class Vit(nn.Module):
    """A vision transformer of one block: class token, positions, fused query-key-value as in timm."""

    def __init__(self, token: bool) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.randn(1, 1, 8)) if token else None
        self.patch, self.place = nn.Conv2d(2, 8, 4, stride=4), nn.Parameter(torch.randn(1, 5 if token else 4, 8) * 0.1)
        self.n1, self.n2, self.qkv, self.out = nn.LayerNorm(8), nn.LayerNorm(8), nn.Linear(8, 24), nn.Linear(8, 8)
        self.mlp, self.head = mlp(8, 12, 8, unit=nn.GELU), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Scores of three classes."""
        x = self.patch(x).flatten(2).transpose(1, 2)
        if self.token is not None:
            x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], dim=1)
        x = x + self.place
        batch, tokens, width = x.shape
        q, k, v = self.qkv(self.n1(x)).reshape(batch, tokens, 3, 2, width // 2).permute(2, 0, 3, 1, 4).unbind(0)
        attention = (q * 0.5 @ k.transpose(-2, -1)).softmax(dim=-1)
        x = x + self.out((attention @ v).transpose(1, 2).reshape(batch, tokens, width))
        x = x + self.mlp(self.n2(x))
        return self.head(x[:, 0] if self.token is not None else x.mean(1))


class Recurrent(nn.Module):
    """The last step of a recurrent layer."""

    def __init__(self, layer: nn.RNNBase, width: int) -> None:
        super().__init__()
        self.layer, self.head = layer, nn.Linear(width, 2)

    def forward(self, x: Tensor) -> Tensor:
        """Two scores."""
        steps, _ = self.layer(x)
        return self.head(steps[:, -1])


class Cells(nn.Module):
    """A recurrent cell in a loop of fixed length."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.head = nn.LSTMCell(3, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        """Two scores."""
        hidden = cell = torch.zeros(x.shape[0], 4)
        for step in range(x.shape[1]):
            hidden, cell = self.cell(x[:, step], (hidden, cell))
        return self.head(hidden)


class Attention(nn.Module):
    """nn.MultiheadAttention of a sequence with itself, sequence first or batch first."""

    def __init__(self, batch_first: bool) -> None:
        super().__init__()
        self.first, self.attention, self.head = batch_first, nn.MultiheadAttention(4, 2, batch_first=batch_first), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        """Two scores."""
        x = x if self.first else x.transpose(0, 1)
        y, _ = self.attention(x, x, x, need_weights=False)
        return self.head(y.mean(1 if self.first else 0))


class Quantised(nn.Module):
    """Linear layers between fake quantisers: what quantisation-aware training leaves."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(6, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Three scores."""
        x = torch.fake_quantize_per_tensor_affine(x, 1 / 64, 0, -128, 127)
        weight = torch.fake_quantize_per_tensor_affine(self.a.weight, 1 / 128, 0, -128, 127)
        x = torch.relu(functional.linear(x, weight, self.a.bias))
        return self.b(torch.fake_quantize_per_tensor_affine(x, 1 / 32, 0, 0, 255))


class WeightNorm(nn.Module):
    """Weights computed from weights at every call."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(5, 6)), nn.Tanh(),
                                 nn.utils.parametrizations.spectral_norm(nn.Linear(6, 3)))

    def forward(self, x: Tensor) -> Tensor:
        """Three scores."""
        return self.net(x)


class Policy(nn.Module):
    """A Gaussian policy's mean, squashed and scaled to the range of its actions."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.mean = mlp(4, 8, 8, unit=nn.Tanh), nn.Linear(8, 2)
        self.register_buffer("scale", torch.tensor([2.0, 0.5]))

    def forward(self, x: Tensor) -> Tensor:
        """Two actions."""
        return torch.tanh(self.mean(torch.tanh(self.body(x)))) * self.scale


class Dueling(nn.Module):
    """Value and advantages, as in a dueling Q network."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.value, self.advantage = nn.Sequential(nn.Linear(4, 8), nn.ReLU()), nn.Linear(8, 1), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Three action values."""
        x = self.body(x)
        a = self.advantage(x)
        return self.value(x) + a - a.mean(1, keepdim=True)


class Lyapunov(nn.Module):
    """x' P x with P = A A' + I/10, of a state and a network of it."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.root = mlp(2, 6, 2, unit=nn.Tanh), nn.Parameter(torch.randn(2, 2))

    def forward(self, x: Tensor) -> Tensor:
        """One number."""
        z = x + self.net(x)
        return ((z @ (self.root @ self.root.T + 0.1 * torch.eye(2))) * z).sum(1, keepdim=True)


def gated() -> nn.Module:
    """GLU, and halves by chunk."""
    parts = {"a": nn.Linear(5, 8), "b": nn.Linear(4, 6)}

    def run(p: nn.ModuleDict, x: Tensor) -> Tensor:
        left, right = p["b"](functional.glu(p["a"](x), dim=-1)).chunk(2, dim=1)
        return left * torch.sigmoid(right)
    return Fn(parts, run)


def depthwise() -> nn.Module:
    """An inverted residual of MobileNet, with squeeze and excitation."""
    parts = {"expand": nn.Conv2d(2, 6, 1), "deep": nn.Conv2d(6, 6, 3, padding=1, groups=6), "squeeze": nn.Conv2d(6, 2, 1),
             "excite": nn.Conv2d(2, 6, 1), "project": nn.Conv2d(6, 2, 1), "head": nn.Linear(2, 3)}

    def run(p: nn.ModuleDict, x: Tensor) -> Tensor:
        y = functional.hardswish(p["deep"](functional.hardswish(p["expand"](x))))
        gate = functional.hardsigmoid(p["excite"](functional.relu(p["squeeze"](functional.adaptive_avg_pool2d(y, 1)))))
        return p["head"]((x + p["project"](y * gate)).mean((2, 3)))
    return Fn(parts, run)


def encoder() -> nn.Module:
    """nn.TransformerEncoderLayer, then the mean."""
    parts = {"layer": nn.TransformerEncoderLayer(4, 2, dim_feedforward=6, batch_first=True, dropout=0.0), "head": nn.Linear(4, 2)}
    return Fn(parts, lambda p, x: p["head"](p["layer"](x).mean(1)))


def channels_last() -> nn.Module:
    """Images as Keras has them, height by width by channels."""
    parts = {"conv": nn.Conv2d(2, 4, 3), "head": nn.Linear(4 * 16, 3)}
    return Fn(parts, lambda p, x: p["head"](torch.relu(p["conv"](x.permute(0, 3, 1, 2))).flatten(1)))


IMAGE = (2, 6, 6)
ZOO = (
    Kind("mlp-relu", lambda: mlp(5, 8, 8, 3), (5,)),
    Kind("mlp-tanh", lambda: mlp(5, 8, 3, unit=nn.Tanh), (5,)),
    Kind("mlp-leaky", lambda: mlp(5, 8, 3, unit=lambda: nn.LeakyReLU(0.1)), (5,)),
    Kind("mlp-elu", lambda: mlp(5, 8, 3, unit=nn.ELU), (5,)),
    Kind("mlp-gelu", lambda: mlp(5, 8, 3, unit=nn.GELU), (5,)),
    Kind("mlp-silu", lambda: mlp(5, 8, 3, unit=nn.SiLU), (5,)),
    Kind("mlp-mish", lambda: mlp(5, 8, 3, unit=nn.Mish), (5,)),
    Kind("mlp-softplus", lambda: mlp(5, 8, 3, unit=lambda: nn.Softplus(2.0, 15.0)), (5,)),
    Kind("mlp-prelu", lambda: mlp(5, 8, 3, unit=nn.PReLU), (5,)),
    Kind("mlp-hardtanh-batchnorm", lambda: nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.Hardtanh(), nn.Dropout(), nn.Linear(8, 3)),
         (5,)),
    Kind("mlp-softmax", lambda: nn.Sequential(*mlp(5, 8, 3), nn.Softmax(1)), (5,)),
    Kind("mlp-logsoftmax", lambda: nn.Sequential(*mlp(5, 8, 3), nn.LogSoftmax(1)), (5,)),
    Kind("mlp-weight-norm", WeightNorm, (5,)),
    Kind("cnn-batchnorm", lambda: cnn(nn.BatchNorm2d), IMAGE),
    Kind("cnn-groupnorm", lambda: cnn(lambda c: nn.GroupNorm(2, c)), IMAGE),
    Kind("cnn-instancenorm", lambda: cnn(lambda c: nn.InstanceNorm2d(c, affine=True)), IMAGE),
    Kind("cnn-layernorm", lambda: nn.Sequential(nn.Conv2d(2, 3, 3), nn.LayerNorm([3, 4, 4]), nn.ReLU(), nn.Flatten(), nn.Linear(48, 3)),
         IMAGE),
    Kind("cnn-no-norm-relu6", lambda: cnn(lambda _: nn.Identity(), nn.ReLU6), IMAGE),
    Kind("cnn-maxpool-view", lambda: Fn({"c": nn.Conv2d(2, 3, 3), "l": nn.Linear(12, 3)},
                                        lambda p, x: p["l"](functional.max_pool2d(torch.relu(p["c"](x)), 2).view(x.size(0), -1))), IMAGE),
    Kind("cnn-1d", lambda: nn.Sequential(nn.Conv1d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(24, 3)), (2, 8)),
    Kind("cnn-3d", lambda: nn.Sequential(nn.Conv3d(1, 2, 2), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3)), (1, 3, 3, 3)),
    Kind("cnn-channels-last", channels_last, (6, 6, 2)),
    Kind("resnet", residual, IMAGE),
    Kind("mobilenet", depthwise, IMAGE),
    Kind("u-net", unet, IMAGE),
    Kind("resized", resized, (2, 4, 4)),
    Kind("mlp-mixer", mixer, (2, 8, 8)),
    Kind("vit-mean", lambda: Vit(False), (2, 8, 8)),
    Kind("vit-class-token", lambda: Vit(True), (2, 8, 8)),
    Kind("attention-batch-first", lambda: Attention(True), (3, 4)),
    Kind("attention-sequence-first", lambda: Attention(False), (3, 4)),
    Kind("transformer-encoder", encoder, (3, 4)),
    Kind("rnn", lambda: Recurrent(nn.RNN(3, 4, batch_first=True), 4), (4, 3)),
    Kind("lstm", lambda: Recurrent(nn.LSTM(3, 4, batch_first=True), 4), (4, 3)),
    Kind("gru-both-directions", lambda: Recurrent(nn.GRU(3, 4, batch_first=True, bidirectional=True), 8), (4, 3)),
    Kind("lstm-cells", Cells, (3, 3)),
    Kind("policy-gaussian", Policy, (4,)),
    Kind("policy-dueling", Dueling, (4,)),
    Kind("lyapunov", Lyapunov, (2,)),
    Kind("gated-chunk", gated, (5,)),
    Kind("quantised", Quantised, (6,)),
)


def built(kind: Kind) -> nn.Module:
    """The module with the weights of its name, in evaluation mode, with statistics that are not those of the start."""
    with torch.random.fork_rng():
        torch.manual_seed(sum(map(ord, kind.name)))
        module = kind.build()
        for part in module.modules():
            if isinstance(part, nn.modules.batchnorm._BatchNorm):
                part.running_mean.uniform_(-0.5, 0.5)  # type: ignore[union-attr]
                part.running_var.uniform_(0.5, 2.0)  # type: ignore[union-attr]
    return module.eval()
