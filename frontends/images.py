"""Reads PNG and JPEG images: one file, or a folder with a folder per class or a labels.csv. Needs the extra `images` (Pillow).

    folder/labels.csv     lines "file,label", with or without a header; the images in the order of the lines
    folder/0/a.png ...    a folder per class: all names are whole numbers (the labels), or the labels count the sorted names; the classes
                          take turns, so that the first images are some of every class
    folder/a.png ...      images without labels, sorted by name
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from absint.errors import InputError, UnsupportedError
from absint.frontends.data_source import Content, DataSource, register_reader
from absint.model.layout import Layout

Pixels = npt.NDArray[np.uint8]

SUFFIXES = (".png", ".jpg", ".jpeg")
_LABELS = "labels.csv"
_SHOWN = 8


@dataclass(frozen=True, eq=False)
class _Picture:
    """pixels: (height, width, channels). note: what was done to get them, or None."""

    name: str
    pixels: Pixels
    note: str | None = None


@register_reader(*SUFFIXES)
def read_image(source: DataSource) -> Content:
    """One image, without a label: (1, channels, height, width)."""
    return _content([_opened(_pillow(source), source.path.name, source.data)], None, source)


@register_reader("folder")
def read_folder(source: DataSource) -> Content:
    """All images of a folder, of one size and one colour mode: (N, channels, height, width).

    Raises InputError E-DATA-FORMAT, -SHAPE, -LABELS naming every file at fault, -EMPTY; UnsupportedError E-PACKAGE-MISSING.
    """
    files, labels, notes, classes = _listed(source)
    if not files:
        raise source.fail("E-DATA-EMPTY", "the folder holds no PNG or JPEG files",
                          f"put pictures into it, alone, in a folder a class, or beside a {_LABELS} of them")
    return _pictures_of([(file.relative_to(source.path).as_posix(), file) for file in files], labels, notes, classes, source)


def read_listed(source: DataSource, lines: Sequence[tuple[int, str, str | None]]) -> Content:
    """The pictures that a table names, in its order. lines: their number in the file, a path beside it, and a label where there are some.

    Raises InputError E-DATA-LABELS naming every line at fault, and what `read_folder` raises.
    """
    files: list[tuple[str, Path]] = []
    labels, faults = [], []
    for number, name, label in lines:
        file = source.path.parent / name
        if label is not None and not _is_label(label):
            faults.append(f"line {number}: '{label[:40]}' is no whole number")
        elif not file.is_file():
            faults.append(f"line {number}: there is no file '{name[:200]}'")
        else:
            files.append((name, file))
            labels += [] if label is None else [int(label)]
    if faults:
        raise InputError("E-DATA-LABELS", f"{_count(len(faults), 'line')} cannot be used", where=str(source.path), details=_some(faults),
                         hint="one picture a line: its path, relative to this file, and its class number")
    return _pictures_of(files, labels or None, (f"pictures read as {source.path.name} lists them",), None, source)


def _pictures_of(files: Sequence[tuple[str, Path]], labels: list[int] | None, notes: tuple[str, ...], classes: tuple[str, ...] | None,
                 source: DataSource) -> Content:
    """Every file by what messages call it, all faults in one message."""
    pillow = _pillow(source)
    digest, pictures, faults = hashlib.sha256(), [], []
    for name, file in files:
        try:
            data = file.read_bytes()
            pictures.append(_opened(pillow, name, data))
        except OSError as error:
            faults.append(f"{name}: cannot be read: {error.strerror}")
        except InputError as error:
            faults.append(f"{name}: {error.what}")
        else:
            digest.update(f"{name}\0{len(data)}\0".encode() + data)
    if faults:
        raise InputError("E-DATA-FORMAT", f"{_count(len(faults), 'image')} cannot be used", where=str(source.path),
                         details=_some(faults), hint="repair, convert to 8-bit RGB or grayscale PNG, or remove them")
    digest.update(repr(labels).encode())
    content = _content(pictures, labels, source)
    return Content(content.images, content.labels, (*notes, *content.notes), digest.hexdigest(), content.layout, classes=classes)


# --- which files, which labels --------------------------------------------------------------------------------------


def _listed(source: DataSource) -> tuple[list[Path], list[int] | None, tuple[str, ...], tuple[str, ...] | None]:
    """Files, their labels, notes, and the names that labels count, if any."""
    folder = source.path
    if (folder / _LABELS).is_file():
        return *_from_csv(source), None
    direct = _images(folder)
    classes = {part.name: _images(part) for part in sorted(folder.iterdir()) if part.is_dir() and not part.name.startswith(".")}
    classes = {name: files for name, files in classes.items() if files}
    if direct and classes:
        raise source.fail("E-DATA-FORMAT", f"images beside class folders ({', '.join(list(classes)[:_SHOWN])})",
                          f"move every image into a class folder, or write {_LABELS}")
    if not classes:
        return direct, None, ("images sorted by name, without labels",) if direct else (), None
    numbered = all(name.isascii() and name.isdigit() for name in classes)
    number = {name: int(name) if numbered else k for k, name in enumerate(classes)}
    if len(set(number.values())) < len(number):
        raise source.fail("E-DATA-LABELS", f"class folders of the same number: {', '.join(classes)}",
                          "name each by a number of its own")
    names = sorted(classes, key=number.__getitem__)
    how = "labels are the folders' numbers" if numbered else f"labels: {', '.join(f'{number[n]} = {n}' for n in names[:_SHOWN])}" + (
        f", ... and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
    turns = [(turn, number[n], file) for n in names for turn, file in enumerate(classes[n])]
    turns.sort(key=lambda one: one[:2])
    order = ("the classes take turns: every first image, then every second one, ...",) if len(names) > 1 else ()
    return [file for _, _, file in turns], [label for _, label, _ in turns], (how, *order), None if numbered else tuple(names)


def _images(folder: Path) -> list[Path]:
    return sorted(f for f in folder.iterdir() if f.suffix.lower() in SUFFIXES and not f.name.startswith(".") and f.is_file())


def _from_csv(source: DataSource) -> tuple[list[Path], list[int], tuple[str, ...]]:
    """The lines of labels.csv; every line at fault in one message."""
    rows = [(k, [c.strip() for c in cells]) for k, cells in enumerate(_csv_rows(source), start=1) if any(c.strip() for c in cells)]
    if rows and len(rows[0][1]) == 2 and Path(rows[0][1][0]).suffix.lower() not in SUFFIXES and not _is_label(rows[0][1][1]):
        rows = rows[1:]
    files: list[Path] = []
    labels, faults = [], []
    root = source.path.resolve()
    for number, cells in rows:
        file = source.path / cells[0]
        if len(cells) != 2 or not _is_label(cells[1]):
            faults.append(f"line {number}: '{','.join(cells)[:60]}' is not 'file,label' with a whole number as label")
        elif not file.resolve().is_relative_to(root):
            faults.append(f"line {number}: '{cells[0]}' lies outside the folder")
        elif not file.is_file():
            faults.append(f"line {number}: there is no file '{cells[0]}'")
        else:
            files.append(file)
            labels.append(int(cells[1]))
    if faults:
        raise InputError("E-DATA-LABELS", f"{_count(len(faults), 'line')} of {_LABELS} cannot be used", where=str(source.path / _LABELS),
                         details=_some(faults), hint="one image a line: path in this folder, comma, class number")
    unused = len({f.resolve() for f in _images(source.path)} - {f.resolve() for f in files})
    note = f"labels and order read from {_LABELS}"
    return files, labels, (note, f"{_count(unused, 'image')} not named in {_LABELS} left out") if unused else (note,)


def _csv_rows(source: DataSource) -> list[list[str]]:
    try:
        text = (source.path / _LABELS).read_bytes().decode("utf-8-sig")
        return list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise source.fail("E-DATA-FORMAT", f"{_LABELS} cannot be read: {error}",
                          "store it as UTF-8 text, a line an image: its path, comma, its class number") from error


def _is_label(text: str) -> bool:
    return text.removeprefix("-").isascii() and text.removeprefix("-").isdigit()


# --- pixels ---------------------------------------------------------------------------------------------------------


def _pillow(source: DataSource) -> Any:
    try:
        import PIL.Image
    except ImportError as error:
        raise UnsupportedError("E-PACKAGE-MISSING", "PNG and JPEG files need the package pillow", where=str(source.path),
                               hint="pip install pillow   (or: pip install 'absint[images]')") from error
    return PIL.Image


def _opened(pillow: Any, name: str, data: bytes) -> _Picture:
    """8-bit pixels, exactly as stored. Raises InputError for anything that has none."""
    def fail(what: str) -> InputError:
        return InputError("E-DATA-FORMAT", what, where=name, hint="convert it to an 8-bit RGB or grayscale PNG")

    if not data:
        raise fail("the file is empty")
    try:
        with pillow.open(io.BytesIO(data), formats=("PNG", "JPEG")) as image:
            frames = getattr(image, "n_frames", 1)
            mode, clear = str(image.mode), image.info.get("transparency") is not None
            image.load()
            palette = mode == "P" and not clear
            pixels = np.asarray(image.convert("RGB") if palette else image)
    except Exception as error:  # damaged bytes, or a decompression bomb: Pillow raises many types
        raise fail(f"damaged, or no PNG or JPEG: {type(error).__name__}") from error
    if frames > 1:
        raise fail(f"an animation of {frames} frames")
    if mode in ("RGBA", "LA") and bool((pixels[..., -1] == 255).all()):
        return _Picture(name, _deep(pixels[..., :-1]), "fully opaque alpha channel dropped")
    if clear or not (palette or mode in ("L", "RGB")):
        raise fail(f"colour mode {mode}{' with transparency' if clear else ''}, not 8-bit grayscale or RGB")
    return _Picture(name, _deep(pixels), "palette images decoded to RGB" if palette else None)


def _deep(pixels: npt.NDArray[Any]) -> Pixels:
    return np.ascontiguousarray(pixels if pixels.ndim == 3 else pixels[..., None], dtype=np.uint8)


def _content(pictures: list[_Picture], labels: list[int] | None, source: DataSource) -> Content:
    """Channels first; `Dataset.shaped_for` brings them into the network's order.

    Raises E-DATA-SHAPE where sizes or colour modes are mixed.
    """
    kinds: dict[tuple[int, ...], list[str]] = defaultdict(list)
    for picture in pictures:
        kinds[picture.pixels.shape].append(picture.name)
    if len(kinds) > 1:
        details = [f"{w}x{h} {'grayscale' if c == 1 else 'RGB'}: {_count(len(names), 'file')}, {_files(names)}"
                   for (h, w, c), names in sorted(kinds.items(), key=lambda item: -len(item[1]))]
        raise InputError("E-DATA-SHAPE", "the images differ in size or colour mode", where=str(source.path), details=_some(details),
                         hint="absint resizes and converts nothing: bring all images to one size and mode first")
    images = np.stack([picture.pixels.transpose(2, 0, 1) for picture in pictures])
    notes = tuple(dict.fromkeys(picture.note for picture in pictures if picture.note))
    order = "pixels reordered from height, width, channels to channels, height, width"
    return Content(images, None if labels is None else np.array(labels, dtype=np.int64), (*notes, order), layout=Layout.CHW)


def _files(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f", ... and {len(names) - 3} more" if len(names) > 3 else "")


def _some(lines: Iterable[str]) -> list[str]:
    listed = list(lines)
    return listed if len(listed) <= _SHOWN else [*listed[:_SHOWN], f"... and {len(listed) - _SHOWN} more"]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
