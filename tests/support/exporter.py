"""torch's exporter to ONNX, which reads the sources of its 500 functions again for every network: half of what a small one costs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import pytest


@contextmanager
def read_once() -> Iterator[None]:
    """The exporter keeps the list of its functions; where torch has it elsewhere, all is as ever."""
    with pytest.MonkeyPatch.context() as patch:
        try:
            from torch.onnx._internal.exporter import _registration

            patch.setattr(_registration.onnxscript_apis, "get_torchlib_ops", cache(_registration.onnxscript_apis.get_torchlib_ops))
        except (ImportError, AttributeError):
            pass
        yield
