"""`absint doctor`: whether this installation can do its work soundly, and what mends it where not."""

from __future__ import annotations

import hashlib
import json
import platform
import re
import shlex
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, entry_points, requires, version
from pathlib import Path
from typing import Annotated

import typer

from absint.cli.domains import check_format
from absint.cli.solver_checks import found_solvers
from absint.errors import PluginError, UsageError
from absint.registry import load_entry

_CONSTRAINTS = Path(__file__).resolve().parents[2] / "constraints.txt"
_GROUPS = ("domains", "strategies", "frontends", "queries", "data", "data_formats", "ops", "attacks", "reports", "solvers", "analyses",
           "executors", "transforms", "data_layouts", "training_data")
_NEEDED_PYTHON = (3, 11)
_NEEDED_MEMORY = 1 << 30
_REINSTALL = "pip install --force-reinstall --no-deps absint"


@dataclass(frozen=True)
class Finding:
    """One line. mend: the command that repairs it, where it is not ok, or that may be wanted, where it is only a note."""

    name: str
    ok: bool
    found: str
    mend: str | None = None
    note: bool = False

    @property
    def mark(self) -> str:
        """What the line begins with."""
        return "FAIL" if not self.ok else "note" if self.note else "ok  "


def doctor(
    format_: Annotated[str, typer.Option("--format", help="text or json.")] = "text",
    device: Annotated[str, typer.Option(help="The device whose kernels are tested.")] = "cpu",
    kernels: Annotated[str, typer.Option(help="quick or full: whether long products and large batches are tested, too.")] = "quick",
    constraints: Annotated[Path | None, typer.Option(help="Tested versions to compare with.", show_default="the repository's")] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> Callable[[], int]:
    """Check versions, devices, memory, samples, plug-ins, solvers, and that this machine's kernels keep the rounding bounds.

    Exit code 0: all is fine, notes aside; 5: something is not, and its line says what mends it.
    """
    return lambda: _execute(format_, device, kernels, constraints)


def _execute(format_: str, device: str, kernels: str, constraints: Path | None) -> int:
    from absint.errors import InputError

    check_format(format_)
    if kernels not in ("quick", "full"):
        raise UsageError("E-USAGE", f"no such check: '{kernels}'", where="--kernels", hint="quick or full")
    if constraints is not None and not constraints.is_file():
        raise InputError("E-CONSTRAINTS", "no such file", where=str(constraints), hint="give the constraints.txt of absint's repository")
    checks = [*all_checks(device, full=kernels == "full"), *_constrained(constraints or _CONSTRAINTS), *solver_checks()]
    if format_ == "json":
        sys.stdout.write(json.dumps({"ok": all(c.ok for c in checks), "checks": [asdict(c) for c in checks]}, indent=2) + "\n")
    else:
        for check in checks:
            sys.stdout.write(f"{check.mark}  {check.name}: {check.found}\n")
            if check.mend and (check.note or not check.ok):
                sys.stdout.write(f"      {'mend' if not check.ok else 'wanted? then'}: {check.mend}\n")
    return 0 if all(check.ok for check in checks) else 5


def all_checks(device: str, *, full: bool = False) -> Iterator[Finding]:
    """Every check; one that itself fails is a failing line, never a crash. full: the kernels' long cases, too."""
    for checks in (_python, _packages, lambda: _devices(device), _memory, _samples, _plugins, lambda: _kernels(device, full=full)):
        try:
            yield from checks()
        except Exception as error:
            name = getattr(checks, "__name__", "").strip("_<>").replace("lambda", "device")
            yield Finding(name, False, f"{type(error).__name__}: {error}".splitlines()[0], _REINSTALL)


def _python() -> Iterator[Finding]:
    wanted = ".".join(map(str, _NEEDED_PYTHON))
    yield Finding("python", sys.version_info >= _NEEDED_PYTHON, f"{platform.python_version()}, needed {wanted} or newer",
                f"install Python {wanted} and absint with it")


def _packages() -> Iterator[Finding]:
    """Every dependency that the package declares, extras aside, is installed and imports."""
    for requirement in requires("absint") or []:
        if "extra ==" in requirement:
            continue
        name = re.split(r"[\s<>=!~;\[(]", requirement, maxsplit=1)[0]
        try:
            found = version(name)
            import_module(name.replace("-", "_"))
        except PackageNotFoundError:
            yield Finding(name, False, f"not installed, needed: {requirement}", f"pip install '{requirement}'")
        except Exception as error:  # a broken binary raises whatever it likes
            yield Finding(name, False, f"does not import: {error}".splitlines()[0], f"pip install --force-reinstall '{requirement}'")
        else:
            yield Finding(name, True, found)


def _constrained(file: Path) -> Iterator[Finding]:
    """Installed packages against the versions absint was tested with; another version is a note, not a failure."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return  # installed without the repository
    pins = [line.partition("==") for line in lines if "==" in line and not line.startswith("#")]
    different = []
    for name, _, wanted in pins:
        try:
            found = version(name)
        except PackageNotFoundError:
            continue
        if found.partition("+")[0] != wanted.strip().partition("+")[0]:
            different.append(f"{name} {found} (tested: {wanted.strip()})")
    found = ", ".join(different) if different else f"every installed one of {len(pins)} packages has its tested version"
    yield Finding("versions", True, found, f"pip install -c {shlex.quote(str(file))} absint", note=bool(different))


def _devices(wanted: str) -> Iterator[Finding]:
    import torch

    from absint.errors import AbsintError
    from absint.numeric import backend

    yield Finding("device cpu", True, f"{torch.get_num_threads()} threads, {platform.machine()}")
    for k in range(torch.cuda.device_count()):
        properties, free = torch.cuda.get_device_properties(k), torch.cuda.mem_get_info(k)[0]
        size = f"{properties.total_memory / (1 << 30):.0f} GiB, {free / (1 << 30):.1f} free now"
        yield Finding(f"device cuda:{k}", True, f"{properties.name}, {size}")
    try:
        backend.device(wanted)
    except AbsintError as error:
        yield Finding(f"device {wanted}", False, "; ".join((error.what, *error.details)), "absint doctor --device cpu")


def _memory() -> Iterator[Finding]:
    from absint.numeric import backend

    budget = backend.default_memory()
    free = _available()
    shown = "" if free is None else f", {free / (1 << 30):.1f} GiB free now"
    enough = free is None or free >= _NEEDED_MEMORY
    yield Finding("memory", enough, f"budget {budget / (1 << 30):.1f} GiB{shown}", "absint verify NET.onnx --memory 500M --batch 1")


def _available() -> int | None:
    """Bytes that Linux says a new program may use; None elsewhere."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            lines = dict(line.split(":", 1) for line in file)
        return int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return None


def _samples() -> Iterator[Finding]:
    """The bundled files are there and are those of provenance.json."""
    from absint import samples

    folder = samples.default_network().parent
    provenance = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))
    for kind in ("networks", "data"):
        for name, entry in provenance[kind].items():
            file = folder / name
            digest = hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else None
            found = "missing" if digest is None else "present" if digest == entry["sha256"] else "altered"
            yield Finding(f"sample {name}", found == "present", found, _REINSTALL)


def _plugins() -> Iterator[Finding]:
    """Every entry point of every kind loads."""
    for kind in _GROUPS:
        for point in sorted(entry_points(group=f"absint.{kind}"), key=lambda point: point.name):
            package = point.dist.name if point.dist else "the package that provides it"
            try:
                load_entry(point, kind)
            except PluginError as error:
                found = f"{error.code}: {error.what}".splitlines()[0]
                yield Finding(f"{kind} {point.name}", False, f"{found} ({point.value})", f"pip install --force-reinstall {package}")
            else:
                yield Finding(f"{kind} {point.name}", True, f"{point.value} of {package}")


def solver_checks() -> Iterator[Finding]:
    """LP and MILP solvers are optional: a missing one is a note, a broken one a failure."""
    for solver in found_solvers():
        yield Finding(f"solver {solver.name}", solver.ok, solver.found, solver.mend, note=not solver.present or solver.limited)


def _kernels(device: str, *, full: bool) -> Iterator[Finding]:
    """One line for each kernel that fails, or one for all of them. A device that failed its probe is looked at all the same."""
    from absint.errors import AbsintError
    from absint.numeric import backend
    from absint.numeric.kernels import check_kernels

    try:
        backend.device(device)
    except AbsintError as error:
        if error.code != "E-KERNELS":
            return  # said already
    reports = check_kernels(device, full=full)
    bad = [report for report in reports if not report.ok]
    mend = "pip install --force-reinstall torch" if device == "cpu" else "absint verify NET.onnx --device cpu"
    for report in bad:
        yield Finding(f"kernel {report.name}", False, f"{report.dtype}, {report.worst_ratio:.3g} times the bound", mend)
    if not bad:
        worst = max(report.worst_ratio for report in reports)
        yield Finding("kernels", True, f"{len(reports)} tests on {device} hold, at worst {worst:.2g} of the bound")
