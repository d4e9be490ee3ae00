"""From Python, a card that is lost and memory that ends are coded errors, too, with torch's own as their cause."""

from __future__ import annotations

import pytest
import torch

import absint
from absint import samples
from absint.analyses.verify.portfolio import Portfolio
from absint.errors import ResourceError

NET = samples.network_path("mnist_relu_3x50")


@pytest.mark.parametrize(("error", "code"), [
    (RuntimeError("CUDA error: unspecified launch failure"), "E-DEVICE-LOST"),
    (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), "E-MEMORY-OUT"),
    (torch.cuda.OutOfMemoryError("CUDA out of memory"), "E-MEMORY-OUT")])
def test_it_has_a_code_and_what_was_told_before_was_told(monkeypatch, error, code):
    real, seen = Portfolio._batch, []

    def batch(self, todo):
        seen.append(todo)
        if len(seen) == 3:
            raise error
        yield from real(self, todo)

    monkeypatch.setattr(Portfolio, "_batch", batch)
    told = []
    with pytest.raises(ResourceError) as caught:
        told.extend(row.index for row in absint.stream("verify", NET, torch.zeros(4, 784), None, 0.001, domain="box", batch=1))
    assert caught.value.code == code
    assert caught.value.__cause__ is error
    assert told == [0, 1]
