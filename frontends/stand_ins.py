"""Small files that stand for others: what a repository or a web server leaves in the place of the file that is meant."""

from __future__ import annotations

_LOOKED_AT = 1024
_REFUSED = (
    ("a pointer of Git LFS, not the file it stands for", "fetch the file: git lfs pull"),
    ("a pointer of git-annex, not the file it stands for", "fetch the file: git annex get"),
    ("a web page, not the file it is about", "fetch the file itself, by the link of its raw or download button"),
)
_STARTS = ((b"version https://git-lfs",), (b"/annex/objects/",), (b"<!doctype html", b"<html"))


def stand_in(data: bytes) -> tuple[str, str] | None:
    """What the bytes are instead of the file that is meant, and what to do; None for anything else."""
    start = data[:_LOOKED_AT].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    return next((refused for refused, starts in zip(_REFUSED, _STARTS, strict=True) if start.startswith(starts)), None)
