"""The options of the subcommands that read a network and data, apart from the commands so that nothing imports in a circle."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class InputSettings:
    """The options that such subcommands share, as they were written; parsed in `inputs.py`."""

    net: Path
    eps: str = "0.01"
    data: Path | None = None
    labels: Path | None = None
    index: str | None = None
    mean: str | None = None
    std: str | None = None
    clip: str = "0,1"
    layout: str = "auto"
    device: str = "cpu"
    batch: int | None = None
    memory: str | None = None
    rounding: bool = True
    format: str = "text"
    out: Path | None = None
    plugin: tuple[Path, ...] = ()
    threads: int | None = None
    quiet: bool = False
    debug: bool = False
    command: str = ""


@dataclass(frozen=True)
class EngineSettings(InputSettings):
    """The domain, and those of its options that have words of their own; None leaves the domain's default. Read by `choosing.py`."""

    domain: str = "auto"
    max_generators: int | None = None
    base: str | None = None
    solver: str | None = None
    neurons: int | None = None
    timeout_lp: float | None = None
    timeout_milp: float | None = None


@dataclass(frozen=True)
class VerifySettings(EngineSettings):
    """The options of `absint verify`; parsed in `session.prepare`, `query.prepare` and `instances.prepare`.

    begin: when the command began, on the monotonic clock.
    """

    norm: str = "linf"
    patch: str | None = None
    brightness: str | None = None
    contrast: str | None = None
    label: int | None = None
    target: int | None = None
    timeout: float | None = None
    total_timeout: float | None = None
    dtype: str = "auto"
    accept_solver: bool = False
    attack: str = "pgd"
    semantics: str = "real"
    journal: Path | None = None
    resume: bool = False
    witness: Path | None = None
    networks: tuple[str, ...] = ()
    serialise_assignments: Path | None = None
    instances: Path | None = None
    processes: int = 1
    begin: float = 0.0


@dataclass(frozen=True)
class BoundsSettings(InputSettings):
    """The options of `absint bounds`; parsed in `bounding.prepare`."""

    norm: str = "linf"
    brightness: str | None = None
    contrast: str | None = None
    domains: tuple[str, ...] = ("zonotope",)
    tensors: tuple[str, ...] = ()
    every: bool = False
    stats: bool = False
    plot: Path | None = None
    dtype: str = "float64"
    total_timeout: float | None = None


@dataclass(frozen=True)
class RadiusSettings(EngineSettings):
    """The options of `absint radius`; parsed in `bisecting.prepare`."""

    upper: str = "0.256"
    tolerance: str = "0.001"
    norm: str = "linf"
    domain: str = "zonotope"
    attack: str = "none"
    dtype: str = "auto"
    semantics: str = "real"
    fan: int | None = None
    timeout: float | None = None
    total_timeout: float | None = None
    journal: Path | None = None
    resume: bool = False
