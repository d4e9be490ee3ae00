"""The reference semantics: the user's own model in onnxruntime, for the import check and for replaying witnesses."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import torch

from absint.errors import InternalError
from absint.graph import Source

_FORMATS = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(float16)": np.float16}


class Runtime:
    """The serialized model of a `Source`, run one input at a time with graph optimisations off."""

    def __init__(self, source: Source) -> None:
        if source.model is None:
            raise InternalError("E-REPLAY", "this graph has no reference model", where=source.path or None)
        self.source = source
        self.session = _session(source.model)
        entry = next(i for i in self.session.get_inputs() if i.name == source.input_tensor)
        self.dtype = _FORMATS.get(entry.type, np.float32)

    def run(self, points: np.ndarray) -> np.ndarray:
        """points: (N, *input shape) float64 in the user's units -> outputs (N, *output shape) as float64.

        Prefix operators (normalisation given on the command line) are applied in float64, then the input is rounded to
        the model's format.
        """
        outputs = []
        for point in points:
            x = torch.from_numpy(np.ascontiguousarray(point, dtype=np.float64))[None]
            for op in self.source.prefix:
                x = op.forward(x)
            feed = x.numpy().reshape(self.source.full_input_shape).astype(self.dtype)
            result = self.session.run([self.session.get_outputs()[0].name], {self.source.input_tensor: feed})[0]
            value = np.asarray(result, dtype=np.float64)
            outputs.append(value[0] if self.source.batched and value.ndim > 0 else value)
        return np.stack(outputs)


@lru_cache(maxsize=4)
def _session(model: bytes) -> Any:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
