"""Files that only look like models: refused before anything reads them."""

from __future__ import annotations

import zipfile
from pathlib import Path

from absint.errors import InputError, UsageError
from absint.model.frontend import FRONTENDS

_TORCH_SUFFIXES = (".pt", ".pth", ".ckpt", ".pkl")
_ZIP = b"PK\x03\x04"                                         # torch.save's archive
_PICKLES = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
_LIVE = ("load it where it was made: a torch module (weights in their module) goes into absint.load(module.eval(), example_input=x) or "
         "torch.onnx.export(module.eval(), (x,), 'net.onnx'), a scikit-learn model into skl2onnx.to_onnx")
_SCRIPTED = "in Python: torch.onnx.export(torch.jit.load('{name}').eval(), (x,), 'net.onnx', dynamo=False), then give net.onnx"
_PROGRAM = "in Python: absint.load(torch.export.load('{name}'))"


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
        raise pickled(net)


def pickled(net: Path) -> InputError:
    """The refusal of a saved Python object: what it is by the names in its archive, and what to do with such a one."""
    names = _archived(net)
    if any("/code/" in name for name in names):
        hint = _SCRIPTED
    elif any("/models/" in name or name.endswith("archive_format") for name in names):
        hint = _PROGRAM
    else:
        hint = _LIVE
    return InputError("E-MODEL-PICKLE", "a saved Python object, which absint never loads: unpickling runs code", where=str(net),
                      hint=hint.replace("{name}", net.name))


def _archived(net: Path) -> list[str]:
    """The names in a zip archive; none of any other file."""
    try:
        if not net.is_file() or not zipfile.is_zipfile(net):
            return []
        with zipfile.ZipFile(net) as archive:
            return archive.namelist()
    except (OSError, zipfile.BadZipFile):
        return []


def _pickled(net: Path) -> bool:
    """By its first bytes and the names in its archive alone; a torch suffix on anything else counts, too."""
    if not net.is_file():  # a pipe can be read once only
        return False
    try:
        with net.open("rb") as file:
            start = file.read(4)
    except OSError:
        return False
    if start.startswith(_ZIP):
        return any(name.endswith("data.pkl") for name in _archived(net))
    return start.startswith(_PICKLES) or (bool(start) and net.suffix.lower() in _TORCH_SUFFIXES)


def _readable(net: Path) -> bool:
    """Whether a front end, perhaps a stranger's, asks for files of this kind that are pickled by nature."""
    suffix = net.suffix.lower()
    return suffix in _TORCH_SUFFIXES and any(suffix in FRONTENDS.get(name)().suffixes for name in FRONTENDS)
