"""Small torch modules in which an axis of size 1, the batch's or another, is moved, merged, dropped or broadcast; exported once each."""

from __future__ import annotations

import io
import warnings
from contextlib import redirect_stderr, redirect_stdout
from functools import cache

import torch
from modules import seeded
from torch import nn

from absint.frontends.onnx_reader import OnnxFrontEnd


class Written(nn.Module):
    """forward is `function(module, x)`."""

    def __init__(self, function, **parts):
        super().__init__()
        self.function = function
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x):
        return self.function(self, x)


def encoder(first):
    """Patches behind a convolution, a class token, and torch's encoder layer; batch_first or not."""
    def forward(module, x):
        tokens = module.patch(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([module.token.expand(x.shape[0], -1, -1), tokens], 1)
        if first:
            return module.head(module.layer(tokens)[:, 0])
        return module.head(module.layer(tokens.permute(1, 0, 2))[0])

    return Written(forward, patch=nn.Conv2d(2, 16, 4, 4), token=nn.Parameter(torch.zeros(1, 1, 16)), head=nn.Linear(16, 3),
                   layer=nn.TransformerEncoderLayer(16, 1, 8, batch_first=first)), (2, 8, 4)


def fused():
    """timm's attention: one projection, split along an axis that a permutation has moved to the front."""
    def forward(module, x):
        b, n, c = x.shape
        q, k, v = module.qkv(module.norm(x)).reshape(b, n, 3, 2, c // 2).permute(2, 0, 3, 1, 4).unbind(0)
        x = x + ((q * 0.5 @ k.transpose(-2, -1)).softmax(-1) @ v).transpose(1, 2).reshape(b, n, c)
        return module.head(x.mean(1))

    return Written(forward, norm=nn.LayerNorm(4), qkv=nn.Linear(4, 12), head=nn.Linear(4, 2)), (3, 4)


def windows():
    """Attention within windows, which are merged with the batch axis."""
    def forward(module, x):
        b, c, h, w = x.shape
        y = x.permute(0, 2, 3, 1).view(b, h // 2, 2, w // 2, 2, c).permute(0, 1, 3, 2, 4, 5).contiguous().view(-1, 4, c)
        y = (module.query(y) @ y.transpose(1, 2)).softmax(-1) @ y
        y = y.view(b, h // 2, w // 2, 2, 2, c).permute(0, 1, 3, 2, 4, 5).contiguous().view(b, h, w, c)
        return module.head(torch.relu(y).mean((1, 2)))

    return Written(forward, query=nn.Linear(3, 3), head=nn.Linear(3, 2)), (3, 4, 4)


def mixer():
    def forward(module, x):
        x = x + module.tokens(x.transpose(1, 2)).transpose(1, 2)
        return module.head((x + module.channels(x)).mean(1))

    parts = {name: nn.Sequential(nn.Linear(n, 3), nn.ReLU(), nn.Linear(3, n)) for name, n in (("tokens", 4), ("channels", 5))}
    return Written(forward, head=nn.Linear(5, 2), **parts), (4, 5)


def plain(function, shape, **parts):
    return lambda: (Written(function, **parts), shape)


# name -> module and the shape of its input without the batch axis, which None in front says it does not have
MODULES = {
    "encoder": lambda: encoder(True),
    "encoder of sequences first": lambda: encoder(False),
    "fused projections": fused,
    "windows": windows,
    "mixer": mixer,
    "channels last": plain(lambda m, x: m.head(torch.relu(m.conv(x.permute(0, 3, 1, 2))).reshape(-1)), (4, 4, 3),
                           conv=nn.Conv2d(3, 2, 3), head=nn.Linear(8, 2)),
    "flatten from 0": plain(lambda m, x: m.head(torch.relu(x).flatten(0)), (2, 3), head=nn.Linear(6, 2)),
    "squeeze": plain(lambda m, x: m.head(torch.relu(m.conv(x)).squeeze()), (1, 3, 3), conv=nn.Conv2d(1, 4, 3), head=nn.Linear(4, 2)),
    "the first of the batch": plain(lambda m, x: m.head(torch.relu(m.conv(x[0])).flatten()), (1, 3, 3),
                                    conv=nn.Conv2d(1, 4, 3), head=nn.Linear(4, 2)),
    "one number": plain(lambda m, x: m.head(torch.relu(x)).sum(), (4,), head=nn.Linear(4, 3)),
    "one number a row": plain(lambda m, x: torch.sigmoid(m.head(torch.relu(x)).squeeze(-1)), (4,), head=nn.Linear(4, 1)),
    "mean over the batch": plain(lambda m, x: m.head(x) - torch.relu(m.head(x)).mean(0, keepdim=True), (4,), head=nn.Linear(4, 3)),
    "softmax over the batch": plain(lambda m, x: torch.softmax(m.head(x), 0) * m.head(x), (4,), head=nn.Linear(4, 3)),
    "normalised rows": plain(lambda m, x: m.head(torch.relu(m.norm(x.flatten(0, 1)).reshape(x.shape[0], -1))), (3, 4),
                             norm=nn.BatchNorm1d(4), head=nn.Linear(12, 2)),
    "a dot product of vectors": plain(lambda m, x: m.head(x[0]) @ torch.relu(m.head(x[0])), (4,), head=nn.Linear(4, 3)),
    "frames": plain(lambda m, x: m.head(torch.relu(m.conv(x.flatten(0, 1))).flatten(1)).mean(0), (3, 1, 3, 3),
                    conv=nn.Conv2d(1, 2, 2), head=nn.Linear(8, 2)),
    "numbers": plain(lambda m, x: torch.stack([x[0] * x[1] + x[2], torch.relu(x[1] - x[0]), torch.max(x[0], x[2])]), (None, 3)),
    "a picture": plain(lambda m, x: m.head(torch.relu(m.conv(x.unsqueeze(0))).flatten(1)).squeeze(0), (None, 3, 4, 4),
                       conv=nn.Conv2d(3, 2, 3), head=nn.Linear(8, 2)),
    "a picture, channels last": plain(lambda m, x: m.head(torch.relu(m.conv(x.permute(2, 0, 1)[None])).flatten(1)), (None, 4, 4, 3),
                                      conv=nn.Conv2d(3, 2, 3), head=nn.Linear(8, 2)),
}


@cache
def module_of(name):
    """The module, its weights drawn, and an example of one instance with its batch axis, if any."""
    module, shape = MODULES[name]()
    example = torch.zeros(shape[1:]) if shape[0] is None else torch.zeros(1, *shape)
    return seeded(module, 5), example


@cache
def exported(name, *, free=False):
    """The bytes of the TorchScript exporter. free: with an open batch size."""
    module, example = module_of(name)
    fast, buffer = torch.backends.mha.get_fastpath_enabled(), io.BytesIO()
    torch.backends.mha.set_fastpath_enabled(False)  # the exporter does not know the fused layer
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            torch.onnx.export(module, (example,), buffer, dynamo=False, opset_version=17, input_names=["x"], output_names=["y"],
                              dynamic_axes={"x": {0: "n"}} if free else None)
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    return buffer.getvalue()


@cache
def graph_of(name, *, free=False):
    """Imported, and so compared with onnxruntime node by node and as a whole."""
    return OnnxFrontEnd().read(f"{name}.onnx", content=exported(name, free=free))
