"""The options of `absint validate`, as they were written; parsed in `validating.py`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from absint.cli.settings import InputSettings


@dataclass(frozen=True)
class ValidateSettings(InputSettings):
    """calibration: the file read by `run`; `calibrate` writes it to `out`.  adversarial, plots: folders."""

    domain: str = "zonotope"
    rate: str = "0.03"
    mode: str = "threshold"
    upper: str = "0.256"
    tolerance: str = "0.001"
    norm: str = "linf"
    dtype: str = "auto"
    window: int = 50
    sigma0: str | None = None
    sigma1: float = 0.001
    timeout: float | None = None
    calibration: Path | None = None
    state: Path | None = None
    count: int = 100
    calibrate: int = 100
    attacks: tuple[str, ...] = ()
    thresholds: str | None = None
    seed: int = 0
    adversarial: Path | None = None
    plots: Path | None = None
    plot_format: str = "png"
