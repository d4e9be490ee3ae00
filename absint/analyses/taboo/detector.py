"""The taboo trap for programs: learn thresholds from training inputs, then raise the alarm, in the manner of scikit-learn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from absint.analyses.taboo.calibrating import ThresholdSettings, TrapCalibration
from absint.analyses.taboo.keys import PUBLIC, checked_keys
from absint.analyses.taboo.observing import Observer, Seen
from absint.analyses.taboo.traps import Traps, read_traps, write_traps
from absint.errors import UsageError
from absint.model.graph import Graph
from absint.model.input_axes import axes_of
from absint.numeric import backend
from absint.problem.dataset import Dataset

Inputs = Dataset | Tensor | npt.NDArray[Any] | Sequence[Any]
_BLOCK = 500


class TabooDetector:
    """Neurons that a key makes taboo, and an alarm where one of them fires: `fit`, then `detect`, at no cost beside the forward pass.

    graph: the network, loaded with fold=False.  keys: secret texts, one a trap; without any a public one, which anybody can guess.
    options: fields of `ThresholdSettings`: rule, eps, percentile, share, policy, budget, clip, domain; device, batch, memory.
    Mutable: `traps`, None before `fit` or `load`. Files and pickles of it hold no key, but the mask itself, which is as secret.
    What an alarm proves is `detector.traps.meaning`; no alarm proves nothing (docs/taboo.md).
    Source: Shumailov et al., Towards Certifiable Adversarial Sample Detection, 2020.
    """

    def __init__(self, graph: Graph, keys: Sequence[str] | None = None, **options: Any) -> None:
        self.graph = graph
        self.settings = ThresholdSettings(**{**options, "device": backend.device(options.get("device", "cpu"))})
        self._keys = (PUBLIC,) if keys is None else checked_keys(keys, "keys")
        self.traps: Traps | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Without the keys: what was fitted still detects, and is not fitted again."""
        return {**self.__dict__, "_keys": ()}

    def __repr__(self) -> str:
        state = "not fitted" if self.traps is None else f"{len(self.traps)} traps of {len(self.traps.union)} neurons"
        return f"<TabooDetector: rule {self.settings.rule}, {state}>"      # without the keys

    # ---- learning ----------------------------------------------------------------------------------------------

    def fit(self, inputs: Inputs, held_out: Inputs | None = None) -> TabooDetector:
        """Thresholds from training inputs (batch, *shape), raw units. Returns self.

        held_out: other inputs; policy `calibrated` drops neurons that fire on too many of them.
        Raises UnsupportedError E-TABOO-NO-RELU, E-SEMANTICS, InputError E-DATA-*, E-TABOO-*; then nothing has changed.
        """
        checked_keys(self._keys, "keys; a pickle holds none")
        data = self._checked(inputs)
        held = None if held_out is None else torch.from_numpy(self._checked(held_out).inputs)
        making = TrapCalibration.of(self.graph, self._keys, torch.from_numpy(data.inputs), self.settings, data.index.tolist())
        making.check_held(None if held is None else len(held))
        thresholds = making.thresholds(list(making.blocks(_BLOCK)))
        self.traps = making.traps(thresholds, making.dropped(thresholds, held))
        return self

    # ---- use ---------------------------------------------------------------------------------------------------

    def detect(self, inputs: Inputs) -> npt.NDArray[np.bool_]:
        """(batch,) whether any trap alarms, in a float32 evaluation. Raises UsageError E-TABOO-UNFITTED, InputError E-DATA-*."""
        return self._seen(inputs).alarms.any.numpy()

    def alarms(self, inputs: Inputs) -> npt.NDArray[np.bool_]:
        """(batch, keys) whether each trap alarms."""
        return self._seen(inputs).alarms.by_trap.numpy()

    def score(self, inputs: Inputs) -> npt.NDArray[np.float64]:
        """(batch,) how far the neuron that is furthest above its threshold is above it, or below (negative); positive: an alarm."""
        return self._seen(inputs).alarms.scores.numpy()

    def predict(self, inputs: Inputs) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """(batch,) classes and (batch,) alarms, of one forward pass."""
        seen = self._seen(inputs)
        return seen.predicted.numpy(), seen.alarms.any.numpy()

    # ---- files -------------------------------------------------------------------------------------------------

    def save(self, path: str | Path) -> None:
        """Write the file that `load` and `--detector` read. Raises UsageError E-TABOO-UNFITTED, ResourceError E-OUT-WRITE."""
        write_traps(self._fitted(), path)

    def load(self, path: str | Path) -> TabooDetector:
        """Read what `save` or `absint taboo calibrate` wrote. Returns self. Raises InputError E-TABOO-FILE, -FORMAT, -CHECKSUM, -MODEL."""
        traps = read_traps(path)
        traps.check(self.graph, str(path))
        self.traps = traps
        return self

    def export(self, path: str | Path) -> tuple[str, ...]:
        """Write the network's own ONNX file with `alarm` as one more output; returns what should be known of it.

        Raises UsageError E-TABOO-UNFITTED, and what `export_detector` raises.
        """
        from absint.analyses.taboo.exported import export_detector

        return tuple(export_detector(self.graph, self._fitted(), Path(path)))

    # ---- inside ------------------------------------------------------------------------------------------------

    def _fitted(self) -> Traps:
        if self.traps is None:
            raise UsageError("E-TABOO-UNFITTED", "the detector has no thresholds yet", hint="call fit, or load with a file")
        return self.traps

    def _seen(self, inputs: Inputs) -> Seen:
        settings = self.settings
        observer = Observer(self.graph, self._fitted(), settings.device, settings.memory, settings.batch)
        return observer.seen(torch.from_numpy(self._checked(inputs, ranged=False).inputs))

    def _checked(self, inputs: Inputs, *, ranged: bool = True) -> Dataset:
        """In the network's shape, finite; ranged: within the data range, too."""
        if isinstance(inputs, Dataset):
            data = inputs
        else:
            array = inputs.detach().cpu().numpy() if isinstance(inputs, Tensor) else np.asarray(inputs)
            data = Dataset(array.astype(np.float64), None, "inputs", "")
        data = data.shaped_for(self.graph.input.shape, network=axes_of(self.graph))
        data.check_range(*((self.settings.clip or (-inf, inf)) if ranged else (-inf, inf)))
        return replace(data, inputs=np.ascontiguousarray(data.inputs))
