"""Counterexamples to look at: input, counterexample and difference as pictures, or the features that moved most as a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from absint.analyses.verify.options import VerifyOptions
from absint.attacks.panels import panels_of
from absint.contract.document import Facts, Picture, Section, Strip, Table
from absint.contract.run import Run
from absint.errors import UsageError
from absint.model.input_axes import axes_of
from absint.model.layout import agreed
from absint.verdict import InstanceResult, Verdict

FloatArray = npt.NDArray[np.float64]

_MOST = 12              # counterexamples
_MOST_FEATURES = 12     # of one
_SIDE = 224             # pixels of a picture, at most
_BYTES = 1_200_000      # of all pictures
_TITLES = ("input", "counterexample", "difference, its largest black or white")


def counterexamples(records: Sequence[InstanceResult], run: Run[VerifyOptions]) -> Iterator[Section]:
    """The first ones by index; those of pictures as long as there is room for their pixels."""
    found = sorted((one for one in records if one.verdict is Verdict.FALSIFIED and one.witness is not None), key=lambda one: one.index)
    if not found or run.graph is None:     # a report of a run that did not end has no network: everything else is summed up
        return
    data = run.data
    inputs = {} if data is None else dict(zip(map(int, data.index), data.inputs, strict=True))
    parts: list[Strip | Table | Facts] = []
    room, count = _BYTES, 0
    for record in found[:_MOST]:
        made = _shown(record, inputs.get(record.index), run)
        room -= sum(len(one.pixels) for one in made[0].pictures) if isinstance(made[0], Strip) else 0
        if parts and room < 0:
            break
        parts += made
        count += 1
    if count < len(found):
        parts.append(Facts((("not shown", f"{len(found) - count} others; --witness DIR keeps all of them as files"),)))
    yield Section(f"Counterexamples: {count} of {len(found)}" if count < len(found) else "Counterexamples", tuple(parts), detail=True)


def _shown(record: InstanceResult, original: FloatArray | None, run: Run[VerifyOptions]) -> list[Strip | Table | Facts]:
    """One counterexample."""
    shape = run.network.input.shape
    point = np.asarray(record.witness, np.float64).reshape(shape)
    said = _said(record, point, original, run)
    panels = _panels(point, original, run)
    if panels is None:
        return [Facts((("counterexample", said),)), _features(point, original)]
    titles = _TITLES if len(panels) > 1 else _TITLES[1:2]
    return [Strip(said, tuple(_picture(title, panel) for title, panel in zip(titles, panels, strict=True)))]


def _panels(point: FloatArray, original: FloatArray | None, run: Run[VerifyOptions]) -> list[FloatArray] | None:
    try:
        return panels_of(point, original, agreed(point.shape, axes_of(run.network), run.problem.axes))
    except UsageError:      # E-LAYOUT: nothing is drawn that may show rows as colours
        return None


def _said(record: InstanceResult, point: FloatArray, original: FloatArray | None, run: Run[VerifyOptions]) -> str:
    """Of what it is one, what the network says there, and how far it is from the input."""
    import torch

    with torch.no_grad():
        output = run.network(torch.from_numpy(point)[None]).double().flatten()
    words = [f"input {record.index}"]
    if run.options.output_range is None:
        words += [f"label {record.label}"] if record.label is not None else []
        words.append(f"the largest output there is {int(output.argmax())}")
    elif output.numel() == 1:
        words.append(f"the output there is {float(output[0]):.6g}")
    if original is not None:
        words.append(f"moved by {float(np.abs(point - original.reshape(point.shape)).max(initial=0.0)):.4g} at most")
    return ", ".join(words)


def _picture(title: str, panel: FloatArray) -> Picture:
    """Bytes of one panel (H, W, channels) in [0, 1]; of a large one every second, third, ... pixel."""
    step = -(-max(panel.shape[:2]) // _SIDE)
    pixels = np.round(255 * np.clip(panel[::step, ::step], 0, 1)).astype(np.uint8)
    known = f"{title} (every {step}th pixel)" if step > 1 else title
    return Picture(known, (pixels.shape[1], pixels.shape[0]), pixels.tobytes())


def _features(point: FloatArray, original: FloatArray | None) -> Table:
    """The entries that moved most, with their places; without an input the first ones."""
    names = ["x[" + ",".join(map(str, place)) + "]" for place in np.ndindex(point.shape)] if point.size <= 10**5 else None
    flat = point.reshape(-1)
    moved = np.zeros_like(flat) if original is None else flat - original.reshape(-1)
    order = np.argsort(-np.abs(moved), kind="stable")[:_MOST_FEATURES].tolist()
    label = [names[place] if names is not None else f"x[{place}]" for place in order]
    if original is None:
        return Table(("feature", "counterexample"), tuple(zip(label, flat[order].tolist(), strict=True)))
    columns = (label, original.reshape(-1)[order].tolist(), flat[order].tolist(), moved[order].tolist())
    return Table(("feature", "input", "counterexample", "difference"), tuple(zip(*columns, strict=True)))
