"""From a run of `taboo calibrate` to what is computed, and the files at its end."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from absint.analyses.taboo.calibrate_data import check_fit, parted
from absint.analyses.taboo.calibrate_task import TabooTask
from absint.analyses.taboo.calibrating import ThresholdSettings, TrapCalibration
from absint.analyses.taboo.keys import PUBLIC, checked_keys, read_keys
from absint.analyses.taboo.options import TabooCalibrateOptions
from absint.analyses.taboo.traps import Traps, write_traps
from absint.contract.document import Document
from absint.contract.run import Run
from absint.errors import UsageError
from absint.numeric import backend
from absint.problem.parsing import parse_clip


def check_options(options: TabooCalibrateOptions) -> None:
    """Raise UsageError, InputError for what is wrong whatever the network."""
    _settings(options)
    if options.block < 1:
        raise UsageError("E-BATCH", f"a block holds at least 1 input, not {options.block}", where="--block", hint="for example 500")
    if options.hold_out is not None and (options.hold_out < 1 or options.held_out is not None):
        what = "inputs are held out already by --held-out" if options.held_out is not None else f"{options.hold_out} inputs held out"
        raise UsageError("E-TABOO-HELD-OUT", what, where="--hold-out", hint="a number above 0, or a file with --held-out")
    if options.held_labels is not None and options.held_out is None:
        raise UsageError("E-USAGE", "labels without the inputs they belong to", where="--held-labels", hint="add --held-out FILE")
    keys_of(options)


def keys_of(options: TabooCalibrateOptions) -> tuple[str, ...]:
    """The keys; the public one where none are given. Raises InputError E-TABOO-KEYS, UsageError E-TABOO-KEY."""
    given = options.keys
    if given is None:
        return (PUBLIC,)
    return read_keys(Path(given)) if isinstance(given, (str, Path)) else checked_keys(given, "keys")


def asked_of(run: Run[TabooCalibrateOptions]) -> TabooTask:
    """Raises UsageError, InputError, UnsupportedError as `TrapCalibration.of` and `parted` do; E-TABOO-FEW for too fine a budget."""
    options = run.options
    if run.data is None:
        raise UsageError("E-USAGE", "a region is no input that thresholds could be made of", where="inputs", hint="give arrays")
    check_fit(options, run.network, bundled=run.stated is not None and run.stated.data is None)
    settings = _settings(options)
    training, held = parted(run)
    making = TrapCalibration.of(run.network, keys_of(options), torch.from_numpy(np.ascontiguousarray(training.inputs)), settings,
                            training.index.tolist(), run.stage)
    making.check_held(None if held is None else len(held))
    if options.onnx is not None:
        from absint.analyses.taboo.exported import check_export

        check_export(run.network, making.union)
    return TabooTask(making, training, held, options.keys is None)


def write(document: Document, run: Run[TabooCalibrateOptions]) -> Sequence[str]:
    """Both files, each in one step; none where thresholds are missing. Returns what is said of it."""
    options = run.options
    paths = [path for path in (options.detector, options.onnx) if path is not None]
    if "detector" not in document.values:
        resume = ", --resume goes on" if options.journal else ""
        return (f"not written: {', '.join(map(str, paths))}; thresholds need every block{resume}",)
    traps, said = Traps.from_dict(document.values["detector"]), tuple[str, ...]()
    write_traps(traps, options.detector)
    if options.onnx is not None:
        from absint.analyses.taboo.exported import export_detector

        said = export_detector(run.network, traps, options.onnx)
    return (*(f"written: {path}" for path in paths), *said)


def _settings(options: TabooCalibrateOptions) -> ThresholdSettings:
    memory: Any = options.memory if isinstance(options.memory, int) else None
    return ThresholdSettings(options.share, options.rule, options.percentile, options.eps, options.policy, options.budget,
                             parse_clip(options.clip), options.domain, backend.device(options.device), options.batch, memory)
