"""Hashes of values by their content, where there is no file whose bytes could be hashed."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from absint.model.graph import Graph


def model_digest(graph: Graph) -> str:
    """SHA-256 of the user's files, with what was put before each and the output chosen; of the operators, where no file says all.

    A part of a graph has the hash of a file in its source and is not what that file says.
    """
    source = graph.source
    whole = source.sha256 and source.runs
    before: Any = tuple(part.prefix for part in source.parts) if source.parts else source.prefix
    chosen = tuple(part.chosen for part in source.networks)
    before = (before, chosen) if any(chosen) else before
    parts: Sequence[Any] = before if whole else [(n.name, n.op, n.inputs) for n in graph.nodes]
    digest = hashlib.sha256(source.sha256.encode())
    _feed(digest, tuple(parts))
    return digest.hexdigest()


def graph_digest(graph: Graph) -> str:
    """The SHA-256 of the user's file where the graph is that file's, nothing before it and nothing left out; else `model_digest`."""
    source = graph.source
    alone = source.runs and not source.prefix and not source.parts and not source.chosen
    return source.sha256 if source.sha256 and alone else model_digest(graph)


def content_digest(value: Any) -> str:
    """SHA-256 of a value: tensors and arrays by their bytes, dataclasses field by field, anything else by its repr."""
    digest = hashlib.sha256()
    _feed(digest, value)
    return digest.hexdigest()


def _feed(digest: Any, value: Any) -> None:
    if isinstance(value, (Tensor, np.ndarray)):
        array = np.ascontiguousarray(_plain(value) if isinstance(value, Tensor) else value)
        if array.dtype.hasobject:   # its bytes are addresses
            _feed(digest, (str(array.shape), array.reshape(-1).tolist()))
            return
        digest.update(f"{array.dtype}{array.shape}".encode() + array.tobytes())
    elif is_dataclass(value) and not isinstance(value, type):
        digest.update(type(value).__qualname__.encode())
        for item in fields(value):
            _feed(digest, getattr(value, item.name))
    elif isinstance(value, (tuple, list)):
        digest.update(f"[{len(value)}".encode())
        for item in value:
            _feed(digest, item)
    else:
        digest.update(repr(value).encode())


def _plain(value: Tensor) -> Any:
    """As numpy has it; formats that numpy lacks as float64, which holds them."""
    dense = value.detach().cpu()
    dense = dense.dequantize() if dense.is_quantized else dense if dense.layout is torch.strided else dense.to_dense()
    dense = dense.resolve_conj().resolve_neg()
    try:
        return dense.numpy()
    except TypeError:
        return dense.double().numpy()
