"""The one notion of a hash: SHA-256 of all the bytes that something was read from. Standard library alone."""

from __future__ import annotations

import hashlib


def digest(content: bytes, *more: bytes) -> str:
    """Of one file: its SHA-256, as `sha256sum` prints it. With parts of other files: that of the SHA-256s of all, in order.

    No two lists of parts have one digest, unless SHA-256 itself is broken.
    """
    first = hashlib.sha256(content)
    if not more:
        return first.hexdigest()
    return hashlib.sha256(b"".join([b"absint parts\n", first.digest(), *(hashlib.sha256(part).digest() for part in more)])).hexdigest()
