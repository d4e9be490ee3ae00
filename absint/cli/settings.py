"""The options of `absint verify`, apart from the command so that nothing imports in a circle."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class VerifySettings:
    """The options of `absint verify` as they were written; parsed in `session.prepare`."""

    net: Path
    domain: str = "zonotope"
    eps: str = "0.01"
    data: Path | None = None
    labels: Path | None = None
    index: str | None = None
    mean: str | None = None
    std: str | None = None
    label: int | None = None
    target: int | None = None
    clip: str = "0,1"
    layout: str = "auto"
    timeout: float | None = None
    total_timeout: float | None = None
    device: str = "cpu"
    dtype: str = "auto"
    batch: int | None = None
    memory: str | None = None
    max_generators: int | None = None
    attack: str = "pgd"
    rounding: bool = True
    semantics: str = "real"
    format: str = "text"
    out: Path | None = None
    journal: Path | None = None
    resume: bool = False
    plugin: tuple[Path, ...] = ()
    threads: int | None = None
    quiet: bool = False
    debug: bool = False
    command: str = ""
