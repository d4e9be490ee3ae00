"""Parts of a page that are no text: pictures as PNG, figures as SVG, and mappings cut to what a reader looks at."""

from __future__ import annotations

import io
import re
import zlib
from base64 import b64encode
from collections.abc import Mapping
from importlib.util import find_spec
from struct import pack
from typing import Any

from absint.contract.document import Figure, Picture
from absint.reports.figures import draw
from absint.reports.rows import dumps

_INK = "#010203"        # stands for the colour of the text around, which a page chooses
_INKS = ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color", "xtick.labelcolor", "ytick.labelcolor",
         "grid.color", "legend.labelcolor", "axes.titlecolor")
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_MOST_ENTRIES, _DEEPEST = 60, 6
_LETTERS = 2000


def png_of(picture: Picture) -> bytes:
    """A PNG file. Source: PNG specification, 3rd ed., sections 5 and 11.2.1: signature, IHDR, IDAT, IEND; filter 0 before each row."""
    width, height = picture.size
    channels = len(picture.pixels) // (width * height)
    step = width * channels
    rows = b"".join(b"\0" + picture.pixels[start : start + step] for start in range(0, step * height, step))
    colours = 2 if channels == 3 else 0
    chunks = ((b"IHDR", pack(">IIBBBBB", width, height, 8, colours, 0, 0, 0)), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b""))
    return _SIGNATURE + b"".join(pack(">I", len(data)) + kind + data + pack(">I", zlib.crc32(kind + data)) for kind, data in chunks)


def data_uri(picture: Picture) -> str:
    """A picture as an address that is the picture itself."""
    return f"data:image/png;base64,{b64encode(png_of(picture)).decode('ascii')}"


def can_draw() -> bool:
    """Whether figures can be drawn: matplotlib is an extra."""
    return find_spec("matplotlib") is not None


def svg_of(figure: Figure) -> str:
    """A figure as an SVG element for a page of HTML: text as text, the page's own ink, no background, nothing from elsewhere."""
    from matplotlib import rc_context

    stream = io.BytesIO()
    settings: Any = {"svg.fonttype": "none", "savefig.transparent": True, **dict.fromkeys(_INKS, _INK)}
    with rc_context(settings):
        draw(figure, stream, ".svg")
    return _embedded(stream.getvalue().decode("utf-8"))


def _embedded(file: str) -> str:
    """Without prologue, metadata, styles for all the page, namespaces (HTML knows them) and names that figures share."""
    element = file[file.index("<svg") :]
    element = re.sub(r"<metadata>.*?</metadata>|<style[^>]*>.*?</style>|<!--.*?-->", "", element, flags=re.DOTALL)
    element = re.sub(r' xmlns(:\w+)?="[^"]*"', "", element, count=2)
    element = re.sub(r'<g id="[^"]*">', "<g>", element)
    return element.replace(_INK, "currentColor").replace("#000000", "currentColor").strip()


def trimmed(value: Any, depth: int = 0) -> Any:
    """A JSON-ready value with its long lists, deep mappings and long texts cut, saying so."""
    if isinstance(value, Mapping):
        if depth == _DEEPEST:
            return _cut(dumps(value))
        return {str(name): trimmed(item, depth + 1) for name, item in _few(list(value.items()), ("...", ""))}
    if isinstance(value, (list, tuple)):
        if all(item is None or isinstance(item, (bool, int, float)) for item in value):
            return _cut(", ".join(_word(item) for item in _few(list(value), "..."))) or _word(None)
        listed = _few(list(value), f"... {len(value)} in all")
        return [trimmed(item, depth + 1) for item in listed] if depth < _DEEPEST else _cut(dumps(value))
    return _cut(value) if isinstance(value, str) else _word(value)


def _few(entries: list[Any], last: Any) -> list[Any]:
    return entries if len(entries) <= _MOST_ENTRIES else [*entries[:_MOST_ENTRIES], last]


def _word(value: Any) -> str:
    return value if isinstance(value, str) else dumps(value) if value is not None else "none"


def _cut(text: str) -> str:
    return text if len(text) <= _LETTERS else f"{text[:_LETTERS]} ..."
