"""npz archives that hold both parts: x_train, y_train, x_test, y_test and whatever else says the same in other words."""

from __future__ import annotations

import re
from pathlib import Path
from typing import ClassVar

from absint.errors import InputError
from absint.frontends.data import check_values, opened, whole_labels
from absint.frontends.data_source import AnyArray, Content, DataSource, Splits, register_layout
from absint.frontends.numpy_files import npz_arrays, npz_keys
from absint.model.digest import digest

_PARTS = {"train": "train", "training": "train", "tr": "train", "test": "test", "testing": "test", "te": "test", "t10k": "test",
          "val": "val", "valid": "val", "validation": "val"}
_KINDS = {**dict.fromkeys(("x", "image", "images", "input", "inputs", "data", "features"), "images"),
          **dict.fromkeys(("y", "label", "labels", "target", "targets", "classes"), "labels")}
_WRITE = "write it with numpy.savez(path, x_train=..., y_train=..., x_test=..., y_test=...)"

Slot = tuple[str, str]
"""A part ("train", "test", "val") and a kind ("images", "labels")."""


@register_layout("npz")
class NpzArchive:
    """Keras' mnist.npz (x_train, y_train, ...), train_images and train_labels, or images and labels alone, which are trained on."""

    wanted: ClassVar[str] = "an .npz file with x_train, y_train, x_test, y_test, or train_images, ..., or images, labels"

    def matches(self, place: Path) -> bool:
        """Whether it is a file of that suffix."""
        return place.is_file() and place.suffix.lower() == ".npz"

    def read(self, place: Path, extra: bool) -> Splits:
        """The parts that the names tell; arrays of other names are left out, and a note says so."""
        source, raw = opened(place)
        slots, others = _slots(npz_keys(source), source)
        if ("train", "images") not in slots:
            found = ", ".join([*slots.values(), *others]) or "nothing"
            raise source.fail("E-DATA-FORMAT", f"no array is named as training inputs; found: {found}", _WRITE)
        arrays = npz_arrays(source, tuple(slots.values()))
        notes = [f"arrays not used: {', '.join(others)}"] if others else []
        test = "test" if ("test", "images") in slots else "val"
        if test == "val" and ("val", "images") in slots:
            notes.append(f"the test part is '{slots['val', 'images']}'")
        sha256 = digest(raw)
        parts = {part: _content(part, slots, arrays, source, sha256) for part in ("train", test) if (part, "images") in slots}
        return Splits(parts["train"], parts.get(test), notes=tuple(notes))


def _slots(keys: tuple[str, ...], source: DataSource) -> tuple[dict[Slot, str], list[str]]:
    """Which array holds what, and the arrays whose names say nothing. Raises E-DATA-AMBIGUOUS where two names say the same."""
    slots: dict[Slot, str] = {}
    others: list[str] = []
    for key in keys:
        slot = _slot(key)
        if slot is None:
            others.append(key)
        elif slot in slots:
            raise InputError("E-DATA-AMBIGUOUS", f"arrays '{slots[slot]}' and '{key}' both are {slot[1]} of the {slot[0]} part",
                             where=str(source.path), hint=_WRITE)
        else:
            slots[slot] = key
    return slots, others


def _slot(key: str) -> Slot | None:
    """X_train, trainX -> ("train", "images"); a name without a part is of the training part."""
    words = [word for word in re.split(r"[^a-z0-9]+", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", key).lower()) if word]
    kinds = [_KINDS[word] for word in words if word in _KINDS]
    parts = [_PARTS[word] for word in words if word in _PARTS]
    if len(kinds) != 1 or len(parts) > 1 or len(words) != len(kinds) + len(parts):
        return None
    return (parts[0] if parts else "train", kinds[0])


def _content(part: str, slots: dict[Slot, str], arrays: dict[str, AnyArray], source: DataSource, sha256: str) -> Content:
    key, named = slots[part, "images"], slots.get((part, "labels"))
    check_values(arrays[key], source)
    labels = None if named is None else whole_labels(arrays[named], source)
    return Content(arrays[key], labels, sha256=sha256, name=f"{source.path}: {key}")
