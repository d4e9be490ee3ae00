"""Files of the counterexamples a run has found: NPZ, JSON, the text of VNN-COMP, and for images a picture. pillow is an extra."""

from __future__ import annotations

import io
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from absint.attacks.panels import panels_of
from absint.errors import InputError, ResourceError, UsageError
from absint.model.graph import Graph
from absint.model.input_axes import axes_of
from absint.model.layout import Known, agreed
from absint.model.reference import runtime
from absint.verdict import InstanceResult, Verdict

SCHEMA = "absint-witness/1"
_LEAST_SIDE = 140        # pixels of a picture's panel, at least
_GAP = 4
_NO_IMAGES = "no pictures: the inputs are not images of 1 or 3 channels"

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class WitnessInfo:
    """What the files say beside the results.

    originals: instance -> the unperturbed input (*input shape), where there is one.  provenance: JSON-ready, what the
    run was about (data, radius, hashes); a file whose own provenance differs is never replaced.  margin: instance and
    output (flat) -> the smallest margin of the property there, None for the label's lead over the other classes.
    axes: what is told of the channels of an input, where the operators do not tell.
    """

    originals: Mapping[int, FloatArray] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    margin: Callable[[int, FloatArray], float] | None = None
    axes: Known = None


@dataclass(frozen=True)
class Saved:
    """files: everything written.  notes: what was left out and why, one sentence each."""

    files: tuple[Path, ...]
    notes: tuple[str, ...]


def check_folder(directory: Path, option: str = "--witness") -> None:
    """Make the folder and try it, before a run spends time. Raises InputError E-WITNESS where nothing can be written there."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=directory, prefix=".absint-"):
            pass
    except OSError as error:
        raise InputError("E-WITNESS", f"counterexamples cannot be written there: {error.strerror}", where=str(directory),
                         hint=f"give {option} a folder you may write") from error


def save_witnesses(directory: Path, graph: Graph, results: Iterable[InstanceResult], info: WitnessInfo | None = None) -> Saved:
    """For every FALSIFIED result: `witness_<index>` .npz, .json, .txt and, for images of 1 or 3 channels, .png.

    The NPZ holds input (float64, *shape), output (flat float64: of onnxruntime at the nearest input of the model's
    format, or of the graph itself where it has no model), their shapes and the index; its input is the proved point
    itself, bit for bit. Where a query's set holds no float64 number, it is one beside the exact number, which the text file
    has. Files appear whole or not at all.
    Raises InputError E-WITNESS (folder), UsageError E-WITNESS-EXISTS naming every file of another run before anything is
    written, ResourceError E-WITNESS-WRITE (full disk).
    """
    info = info or WitnessInfo()
    check_folder(directory)
    found = sorted((r for r in results if r.verdict is Verdict.FALSIFIED and r.witness is not None), key=lambda r: r.index)
    records = [_Record.of(graph, result, info) for result in found]
    _refuse_foreign(directory, records)
    files: list[Path] = []
    notes: dict[str, None] = {}
    for record in records:
        for suffix, content in record.contents(notes).items():
            files.append(_written(directory / f"{record.stem}{suffix}", content))
    return Saved(tuple(files), tuple(notes))


@dataclass(frozen=True, eq=False)
class _Record:
    """One counterexample with all that its files need."""

    result: InstanceResult
    point: FloatArray
    output: FloatArray
    original: FloatArray | None
    facts: Mapping[str, Any]
    axes: Known

    @staticmethod
    def of(graph: Graph, result: InstanceResult, info: WitnessInfo) -> _Record:
        point = np.asarray(result.witness, dtype=np.float64).reshape(graph.input.shape)
        output, fed = _evaluated(graph, point)
        original = info.originals.get(result.index)
        shape = list(graph.output.shape) if output.size == graph.output.size else [output.size]
        facts = {
            "schema": SCHEMA, "index": result.index, "label": result.label, "predicted": int(output.argmax()) if output.size > 1 else None,
            "margin": _margin(result, output, info), "float_distance": float(np.abs(fed - point).max(initial=0.0)),
            "moved": None if original is None else _moved(point - original), "eps": result.eps, "domain": result.domain,
            "assurance": result.assurance.value, "replayed": graph.source.runs,
            "model": {"path": graph.source.path, "sha256": graph.source.sha256, **graph.source.files},
            "input_shape": list(graph.input.shape), "output_shape": shape, "provenance": dict(info.provenance),
        }
        return _Record(result, point, output, original, facts, agreed(graph.input.shape, axes_of(graph), info.axes))

    @property
    def stem(self) -> str:
        return f"witness_{self.result.index:05d}"

    def contents(self, notes: dict[str, None]) -> dict[str, bytes]:
        """Suffix -> bytes; why a picture is missing goes to `notes`. The JSON comes first: by it a repeated run knows its own."""
        facts = (json.dumps(self.facts, indent=2, allow_nan=False) + "\n").encode()
        out = {".json": facts, ".npz": self._npz(), ".txt": counterexample_text(self.point, self.output).encode()}
        try:
            panels, missing = panels_of(self.point, self.original, self.axes), _NO_IMAGES
        except UsageError as error:    # E-LAYOUT: nothing is drawn that may show rows as colours
            panels, missing = None, f"no pictures: {error.what}; {error.hint}"
        if panels is None:
            notes[missing] = None
        elif find_spec("PIL") is None:
            notes["no pictures: they need pillow (pip install 'absint[images]')"] = None
        else:
            out[".png"] = _png(panels)
        return out

    def _npz(self) -> bytes:
        buffer = io.BytesIO()
        np.savez_compressed(
            buffer, input=self.point, output=self.output, input_shape=np.array(self.point.shape, dtype=np.int64),
            output_shape=np.array(self.facts["output_shape"], dtype=np.int64), index=np.array(self.result.index),
        )
        return buffer.getvalue()


def _evaluated(graph: Graph, point: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The output (flat) and the point that was fed."""
    if not graph.source.runs:
        import torch

        with torch.no_grad():
            return graph(torch.from_numpy(point)[None]).double().flatten().numpy(), point
    reference = runtime(graph.source)
    return reference.run(point[None])[0].reshape(-1), point if reference.prefix else reference.round(point)


def _margin(result: InstanceResult, output: FloatArray, info: WitnessInfo) -> float | None:
    if info.margin is not None:
        value = info.margin(result.index, output)
    elif result.label is None or output.size < 2:
        return None
    else:
        value = float(output[result.label] - np.delete(output, result.label).max())
    return float(value) if np.isfinite(value) else None


def _moved(offset: FloatArray) -> dict[str, float]:
    """Distances from the unperturbed input, as computed in float64."""
    flat = np.abs(offset.reshape(-1))
    return {"linf": float(flat.max(initial=0.0)), "l2": float(np.sqrt((flat**2).sum())), "l1": float(flat.sum())}


def counterexample_text(point: FloatArray, output: FloatArray) -> str:
    """The format of VNN-COMP: ((X_0 v) ... (Y_0 v) ...), decimals that read back to the same float64."""
    named = [f"({letter}_{k} {float(value)!r})" for letter, values in (("X", point), ("Y", output))
             for k, value in enumerate(values.reshape(-1))]
    return "(" + "\n ".join(named) + ")\n"


# ---- files -------------------------------------------------------------------------------------------------------------


def _refuse_foreign(directory: Path, records: Iterable[_Record]) -> None:
    """Raise UsageError E-WITNESS-EXISTS where files of these names are there that the same question did not write."""
    foreign = [str(path.name) for record in records for path in sorted(directory.glob(f"{record.stem}.*"))
               if not _same_question(directory / f"{record.stem}.json", record.facts)]
    if foreign:
        raise UsageError("E-WITNESS-EXISTS", "files of another run would be overwritten", where=str(directory),
                         details=foreign[:10], hint="give another folder, or remove them")


def _same_question(path: Path, facts: Mapping[str, Any]) -> bool:
    try:
        there = json.loads(path.read_text())
    except (OSError, ValueError):
        return False
    keys = ("schema", "index", "label", "eps", "model", "provenance")
    mine = json.loads(json.dumps({key: facts[key] for key in keys}))
    return isinstance(there, dict) and {key: there.get(key) for key in keys} == mine


def _written(path: Path, content: bytes) -> Path:
    """Written beside its place, then renamed: a reader sees the whole file or none."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except OSError as error:
        Path(name).unlink(missing_ok=True)
        raise ResourceError("E-WITNESS-WRITE", f"cannot be written: {error.strerror}", where=str(path),
                            hint="free some space and run again") from error
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return path


# ---- pictures ----------------------------------------------------------------------------------------------------------


def _png(panels: list[FloatArray]) -> bytes:
    """Side by side with white gaps, enlarged by whole factors."""
    from PIL import Image

    height = panels[0].shape[0]
    factor = max(1, -(-_LEAST_SIDE // height))
    gap = np.ones((height * factor, _GAP, 3))
    row: list[FloatArray] = []
    for panel in panels:
        large = np.repeat(np.repeat(panel, factor, 0), factor, 1)
        row += [gap, np.broadcast_to(large, (*large.shape[:2], 3))]
    pixels = np.round(255 * np.clip(np.concatenate(row[1:], 1), 0, 1)).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels, "RGB").save(buffer, "PNG")
    return buffer.getvalue()
