"""`model-card.json`: what a trained network is, how it was made, what was measured of it, and what repeats it.

The schema is these dataclasses, field by field; docs/training_output.md shows it. A reader refuses other versions.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import combinations
from pathlib import Path
from typing import Any

from absint.analyses.train.record import EpochRecord
from absint.contract.record import record_of, row_of
from absint.contract.whole_files import write_whole
from absint.errors import InputError

VERSION = 1
_KEY = "absint_model_card"      # the version stands there
_LARGEST = 16 * 2**20           # bytes of a card
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SLACK = 0.01                   # of an image: a share may have been rounded to float32
_HINT = "give the model-card.json that a training wrote"


@dataclass(frozen=True)
class CardFile:
    """A file beside the card. name: without its folder.  bytes: its size."""

    name: str
    sha256: str
    bytes: int

    @staticmethod
    def of(path: Path) -> CardFile:
        """Of a file that is there."""
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return CardFile(path.name, digest, path.stat().st_size)


@dataclass(frozen=True)
class CardNetwork:
    """architecture: a name of ours, or the user's file and function.  sha256: of that file.  parameters: numbers trained."""

    architecture: str
    sha256: str | None
    parameters: int
    input_shape: tuple[int, ...]
    outputs: int
    initialisation: str


@dataclass(frozen=True)
class CardData:
    """sha256: of the training and test data.  mean, std: of the normalisation inside the network, empty for none.

    augmentation: of training images only, such as 'pad 4, crop 32, flip'; empty for none.
    """

    name: str
    train_sha256: str
    test_sha256: str
    train_n: int
    test_n: int
    classes: int
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    augmentation: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class CardMethod:
    """name: of `--method`.  options: of the method, such as weight and layers of the width term, or whether the last layer is elided."""

    name: str
    options: Mapping[str, Any]


@dataclass(frozen=True)
class CardSchedule:
    """warm_up, ramp: in steps.  curve: of the ramp.  eps: trained with at its end, in raw input units.  kappa: at its beginning and end.

    drops: (step, factor) of the learning rate.
    """

    epochs: int
    steps: int
    batch: int
    warm_up: int
    ramp: int
    curve: str
    eps: float
    kappa: tuple[float, float]
    optimiser: str
    rate: float
    drops: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True)
class CardRun:
    """What repeats it. command: as given to a shell; empty in Python.  seeds, versions: by what they are of.  seconds: all epochs."""

    command: str
    seeds: Mapping[str, int]
    threads: int
    device: str
    versions: Mapping[str, str]
    seconds: float


@dataclass(frozen=True)
class CardErrors:
    """Errors of one epoch's network on test images: shares of the first *_n, None where not measured."""

    epoch: int
    clean_error: float | None
    clean_n: int
    pgd_error: float | None
    pgd_n: int
    verified_error: float | None
    verified_n: int
    width: float | None = None

    @staticmethod
    def of(record: EpochRecord) -> CardErrors:
        """The errors of a record."""
        return CardErrors(**{one.name: getattr(record, one.name) for one in fields(CardErrors)})


@dataclass(frozen=True)
class CardClosing:
    """The closing evaluation of the network kept, at eps in raw input units.

    pgd: on the images that are classified correctly and not verified; all others are known, and count.  pgd_tried: how many these are.
    domain: that verified.  outward: bounds were rounded outward; a card without that is refused.
    """

    errors: CardErrors
    eps: float
    pgd_steps: int
    pgd_restarts: int
    pgd_tried: int
    domain: str
    outward: bool


@dataclass(frozen=True)
class ModelCard:
    """All of it. best: the epoch kept, by verified error.  closing: None where training was stopped before.  files: beside the card."""

    network: CardNetwork
    data: CardData
    method: CardMethod
    schedule: CardSchedule
    run: CardRun
    best: CardErrors | None
    last: CardErrors | None
    closing: CardClosing | None
    files: tuple[CardFile, ...] = ()
    notes: tuple[str, ...] = ()


def write_card(path: Path, card: ModelCard) -> None:
    """As JSON, whole or not at all. Raises InputError E-CARD-FORMAT for one that could not be read back, ResourceError E-OUT-WRITE."""
    _refuse(path, list(faults(card)))
    text = json.dumps({_KEY: VERSION, **row_of(card)}, indent=2, allow_nan=False, ensure_ascii=False)
    write_whole(path, f"{text}\n".encode())


def read_card(path: Path) -> ModelCard:
    """The card. Raises InputError E-CARD-READ, E-CARD-VERSION, and E-CARD-FORMAT naming all that is wrong with it."""
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST)     # of more, the rest is missing: no JSON
    except OSError as error:
        raise InputError("E-CARD-READ", f"cannot be read: {error.strerror}", where=str(path), hint=_HINT) from error
    try:
        row = json.loads(content)
    except (ValueError, RecursionError):
        row = None
    if not isinstance(row, dict) or _KEY not in row:
        raise InputError("E-CARD-FORMAT", "is no model card", where=str(path), hint=_HINT)
    if type(row[_KEY]) is not int or row[_KEY] != VERSION:
        raise InputError("E-CARD-VERSION", f"is a card of version {row[_KEY]!r}, not {VERSION}", where=str(path),
                         hint="read it with the version of absint that it names under run.versions")
    found = list(_shape_faults(ModelCard, {name: value for name, value in row.items() if name != _KEY}))
    _refuse(path, found)
    try:
        card = record_of(ModelCard, row)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError("E-CARD-FORMAT", f"is no model card: {error}", where=str(path), hint=_HINT) from error
    _refuse(path, list(faults(card)))
    return card


def changed_files(card: ModelCard, folder: Path) -> list[str]:
    """Lines on the files of a card that are missing in a folder, or are not those that it was written for; empty where all are there."""
    found = []
    for one in card.files:
        try:
            same = CardFile.of(folder / one.name) == one
        except OSError as error:
            found.append(f"{one.name}: cannot be read: {error.strerror}")
            continue
        if not same:
            found.append(f"{one.name}: is not the file that the card was written for")
    return found


def faults(card: ModelCard) -> Iterator[str]:
    """What contradicts itself, a line each."""
    for name, errors in (("best", card.best), ("last", card.last), ("closing.errors", card.closing.errors if card.closing else None)):
        if errors is not None:
            yield from (f"{name}.{line}" for line in _error_faults(errors))
    for name, digest in (("network", card.network.sha256), ("data.train", card.data.train_sha256), ("data.test", card.data.test_sha256),
                         *((f"files {one.name}", one.sha256) for one in card.files)):
        if digest is not None and not _SHA256.fullmatch(digest):
            yield f"{name}: no sha256: {digest!r}"
    for one in card.files:
        if one.name in ("", ".", "..") or "/" in one.name or "\\" in one.name:
            yield f"files: a name with a folder: {one.name!r}"
    if card.closing is not None and not card.closing.outward:
        yield "closing.outward: errors by bounds that are not rounded outward prove nothing"


def _error_faults(errors: CardErrors) -> Iterator[str]:
    found: list[tuple[str, float, int]] = []
    for name in ("clean", "pgd", "verified"):
        share, n = getattr(errors, f"{name}_error"), getattr(errors, f"{name}_n")
        if share is None:
            continue
        if n <= 0 or not 0 <= share <= 1 or abs(share * n - round(share * n)) > _SLACK:
            yield f"{name}_error: {share} is no share of {n} images"
        else:
            found.append((name, share, n))
    for (low, smaller, n), (high, larger, m) in combinations(found, 2):
        if n == m and round(smaller * n) > round(larger * n):
            yield f"{low}_error: {smaller} is more than {high}_error {larger} on the same {n} images"


def _shape_faults(kind: type[Any], row: Any, at: str = "") -> Iterator[str]:
    """Fields that are missing, and those that nobody knows, in the card and one level below."""
    if not isinstance(row, Mapping):
        yield f"{at or 'the card'}: no object"
        return
    names = [one.name for one in fields(kind)]
    yield from (f"{at}{name}: is missing" for name in names if name not in row)
    yield from (f"{at}{name}: is not known" for name in row if name not in names)
    for name, inner in _PARTS.items() if kind is ModelCard else ():
        if name in row:
            yield from _shape_faults(inner, row[name], f"{name}.")


_PARTS: Mapping[str, type[Any]] = {"network": CardNetwork, "data": CardData, "method": CardMethod, "schedule": CardSchedule, "run": CardRun}


def _refuse(path: Path, lines: Sequence[str]) -> None:
    if lines:
        raise InputError("E-CARD-FORMAT", "is no model card that holds together", where=str(path), details=lines, hint=_HINT)
