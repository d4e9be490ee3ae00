"""Files that only look like models: refused before anything reads them."""

from __future__ import annotations

import zipfile
from pathlib import Path

from absint.errors import InputError, UsageError
from absint.model.frontend import FRONTENDS

_TORCH_SUFFIXES = (".pt", ".pth", ".ckpt", ".pkl")
_ZIP = b"PK\x03\x04"                                         # torch.save's archive
_PICKLES = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
_EXPORT = "export it where it was trained: torch.onnx.export(model.eval(), example_input, 'net.onnx')"


def check_model(net: Path) -> None:
    """Refuse what only looks like a model file, before anything reads it.

    Raises UsageError E-MODEL-STDIN for '-', InputError E-MODEL-PICKLE for files of torch.save: unpickling runs code.
    """
    if str(net) == "-":
        raise UsageError("E-MODEL-STDIN", "a model is read from a file, not from the standard input", where="NET",
                         hint="give the path of a file")
    if _readable(net):
        return
    if _pickled(net):
        raise InputError("E-MODEL-PICKLE", "a pickled torch file, which absint never loads: unpickling runs code", where=str(net),
                         hint=_EXPORT)


def _pickled(net: Path) -> bool:
    """By its first bytes and the names in its archive alone; a torch suffix on anything else counts, too."""
    if not net.is_file():  # a pipe can be read once only
        return False
    try:
        with net.open("rb") as file:
            start = file.read(4)
        if start.startswith(_ZIP) and zipfile.is_zipfile(net):
            with zipfile.ZipFile(net) as archive:
                return any(name.endswith("data.pkl") for name in archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return False
    return start.startswith(_PICKLES) or (bool(start) and net.suffix.lower() in _TORCH_SUFFIXES)


def _readable(net: Path) -> bool:
    """Whether a front end, perhaps a stranger's, asks for files of this kind that are pickled by nature."""
    suffix = net.suffix.lower()
    return suffix in _TORCH_SUFFIXES and any(suffix in FRONTENDS.get(name)().suffixes for name in FRONTENDS)
