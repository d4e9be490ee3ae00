"""How data sets lie on disk: IDX files as MNIST's, npz archives with both parts, class folders, and pairs of files named train and test."""

from __future__ import annotations

import re
from pathlib import Path
from typing import ClassVar

from absint.errors import InputError
from absint.frontends.data import read_content
from absint.frontends.data_source import READERS, Splits, register_layout
from absint.frontends.images import SUFFIXES

_IDX = re.compile(r"(?P<prefix>.*?)(?P<part>train|t10k|test)-images[-.]idx[34]-ubyte(?P<zipped>\.gz)?", re.DOTALL)


def files_of(folder: Path) -> list[Path]:
    """The folder's own files, sorted, hidden ones left out; none of anything that is no folder."""
    try:
        return sorted(file for file in folder.iterdir() if file.is_file() and not file.name.startswith(".")) if folder.is_dir() else []
    except OSError:
        return []


@register_layout("idx")
class IdxFolder:
    """MNIST, Fashion-MNIST, EMNIST: train-images-idx3-ubyte and t10k-images-idx3-ubyte, each with its labels."""

    wanted: ClassVar[str] = "train-images-idx3-ubyte[.gz], t10k-images-idx3-ubyte[.gz] and their -labels-idx1-ubyte[.gz] (MNIST)"

    def matches(self, place: Path) -> bool:
        """Whether training images are there."""
        return any(part == "train" for _, part in self._found(place))

    def read(self, place: Path, extra: bool) -> Splits:
        """The two parts; the test part is absent where its images are."""
        found = self._found(place)
        prefixes = sorted({prefix for prefix, part in found if part == "train"})
        if len(prefixes) > 1:
            raise InputError("E-DATA-AMBIGUOUS", "more than one data set is there", where=str(place),
                             details=[found[prefix, "train"].name for prefix in prefixes],
                             hint="keep each in a folder of its own, and give the path of one of them")
        test = found.get((prefixes[0], "test"))
        return Splits(read_content(found[prefixes[0], "train"]), None if test is None else read_content(test))

    @staticmethod
    def _found(place: Path) -> dict[tuple[str, str], Path]:
        """(prefix, "train" or "test") -> file of images; of a file and its gzip the plain one."""
        found: dict[tuple[str, str], Path] = {}
        for file in files_of(place):    # sorted: the plain file comes before its .gz
            match = _IDX.fullmatch(file.name)
            if match:
                found.setdefault((match["prefix"], "train" if match["part"] == "train" else "test"), file)
        return found


# --- parts by their names ---------------------------------------------------------------------------------------------

_TRAIN = ("train", "training")
_TEST = ("test", "testing", "val", "valid", "validation")    # the first that is there; validation data only where nothing is called test


def _part(named: dict[str, Path], words: tuple[str, ...]) -> Path | None:
    return next((named[word] for word in words if word in named), None)


def _validation(test: Path | None, name: str) -> tuple[str, ...]:
    return () if test is None or name in _TEST[:2] else (f"the test part is '{test.name}'",)


@register_layout("pair")
class Pair:
    """Two files of one format, called train and test: train.csv and test.csv, train.npz and test.npz."""

    wanted: ClassVar[str] = "train and test as files of one known format, such as train.csv and test.csv"

    def matches(self, place: Path) -> bool:
        """Whether a training file of a known format is there; .bin files are CIFAR's own."""
        return _part(self._named(place), _TRAIN) is not None

    def read(self, place: Path, extra: bool) -> Splits:
        """The two files."""
        named = self._named(place)
        train, test = _part(named, _TRAIN), _part(named, _TEST)
        assert train is not None
        notes = () if test is None else _validation(test, _stem(test))
        return Splits(read_content(train), None if test is None else read_content(test), notes=notes)

    @staticmethod
    def _named(place: Path) -> dict[str, Path]:
        """Stem -> file. Raises E-DATA-AMBIGUOUS where two files of a stem could be meant."""
        named: dict[str, Path] = {}
        for file in files_of(place):
            stem, suffix = _stem(file), file.name[len(_stem(file)):].lower().removesuffix(".gz")
            if stem not in (*_TRAIN, *_TEST) or suffix not in READERS or suffix == ".bin":
                continue
            if stem in named:
                raise InputError("E-DATA-AMBIGUOUS", f"{named[stem].name} and {file.name} are there", where=str(place),
                                 hint="keep one, or give both parts: DATA and --test FILE")
            named[stem] = file
        return named


def _stem(file: Path) -> str:
    return file.name.partition(".")[0]


@register_layout("classes")
class ClassFolders:
    """Pictures in a folder a class: train/CLASS/*.png and test/CLASS/*.png, or CLASS/*.png alone, which are trained on."""

    wanted: ClassVar[str] = "train/CLASS/*.png and test/CLASS/*.png, or CLASS/*.png, or labels.csv beside pictures (also .jpg)"

    def matches(self, place: Path) -> bool:
        """Whether there are class folders in a folder called train, or in this one, or a labels.csv."""
        train = _part(folders_of(place), _TRAIN)
        return _holds_classes(train) if train is not None else _holds_classes(place)

    def read(self, place: Path, extra: bool) -> Splits:
        """Both parts."""
        folders = folders_of(place)
        train, test = _part(folders, _TRAIN), _part(folders, _TEST)
        if train is None:
            return Splits(read_content(place))
        notes = () if test is None else _validation(test, test.name)
        return Splits(read_content(train), None if test is None else read_content(test), notes=notes)


def folders_of(place: Path) -> dict[str, Path]:
    """The visible folders in a folder by name, sorted."""
    try:
        inside = sorted(place.iterdir()) if place.is_dir() else []
        return {part.name: part for part in inside if part.is_dir() and not part.name.startswith(".")}
    except OSError:
        return {}


def _holds_classes(place: Path) -> bool:
    """A labels.csv, or pictures in two folders at least, and nothing else in any: anything less may be something else."""
    if (place / "labels.csv").is_file():
        return True
    parts = folders_of(place).values()
    full = [part for part in parts if any(file.suffix.lower() in SUFFIXES for file in files_of(part))]
    return len(full) > 1 and all(part in full or not (files_of(part) or folders_of(part)) for part in parts)
