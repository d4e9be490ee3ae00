"""One registry class for every kind of plug-in: filled by a decorator, by entry points, or by `--plugin FILE`.

Built-in plug-ins arrive through the same entry points as a stranger's package, so the path users rely on is the one
that every run exercises. What was written for another version of the contract is refused, whichever way it comes:
a domain that was right under one contract may prove what is false under the next.
"""

from __future__ import annotations

import ast
import difflib
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from importlib.machinery import SourceFileLoader
from importlib.metadata import EntryPoint, distributions, entry_points, version
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import MappingProxyType
from typing import Any, Generic, TypeVar

from absint.errors import PluginError, UsageError

T = TypeVar("T")

CONTRACT = 1                        # raised whenever a plug-in that was right could become wrong, or could no longer run
DECLARATION = "ABSINT_CONTRACT"     # a plug-in's file, or the package around it, says which version it was written for
_UNDECLARED = 1                     # what says nothing is as old as the declaration, or older


def own_version() -> str:
    """The version of absint that is installed; pyproject.toml is the one place that states it."""
    return version("absint")


class Registry(Generic[T]):
    """Names of one kind (`noun`, e.g. "domain") to objects; entry points of `group` are loaded on first use.

    beside: a registry that is asked for the same names, so that neither takes one of the other's.
    """

    def __init__(self, noun: str, group: str, beside: Registry[Any] | None = None) -> None:
        self.noun = noun
        self.group = group
        self._entries: dict[str, T] = {}
        self._beside: list[Registry[Any]] = [] if beside is None else [beside]
        if beside is not None:
            beside._beside.append(self)

    def register(self, *names: str) -> Callable[[T], T]:
        """Decorator: enter the object under `names`. Raises PluginError where a name is taken by another object."""

        def enter(thing: T) -> T:
            for name in names:
                self.add(name, thing)
            return thing

        return enter

    def add(self, name: str, thing: T) -> None:
        """Enter one object. The same definition loaded twice (a plug-in file run again) replaces itself silently.

        Raises PluginError E-PLUGIN-CONTRACT for another version of the contract, E-PLUGIN-DUPLICATE for a name that is taken.
        """
        _supported(_declared(_module(thing)), f"the {self.noun} plug-in '{name}'", _origin(thing))
        for other in self._beside:
            if name in other:
                raise PluginError("E-PLUGIN-DUPLICATE", f"the {self.noun} name '{name}' is that of a {other.noun}",
                                  where=_origin(thing), hint="choose another name")
        points = self._points()
        # An entry point names the object, or a method of the class that stands for it.
        promised = f"{points[name].value.replace(':', '.')}." if name in points and name not in self._entries else ""
        if promised and not promised.startswith(f"{_origin(thing)}."):
            raise PluginError(
                "E-PLUGIN-DUPLICATE", f"the {self.noun} name '{name}' is taken by {points[name].value}",
                where=_origin(thing), hint="choose another name",
            )
        present = self._entries.get(name)
        if present is not None and _origin(present) != _origin(thing):
            raise PluginError(
                "E-PLUGIN-DUPLICATE", f"the {self.noun} name '{name}' is taken by {_origin(present)}",
                where=_origin(thing), hint="choose another name",
            )
        self._entries[name] = thing

    def get(self, name: str) -> T:
        """The object of that name. Raises UsageError E-<NOUN>-UNKNOWN with the nearest names."""
        if name in self._entries:
            return self._entries[name]
        points = self._points()
        if name in points:
            self.add(name, load_entry(points[name], self.noun))
            return self._entries[name]
        names = self.names()
        near = difflib.get_close_matches(name.lower(), names, n=2, cutoff=0.5)
        hint = f"did you mean {' or '.join(repr(n) for n in near)}?" if near else f"known: {', '.join(names)}"
        code = f"E-{self.noun.upper().replace(' ', '-')}-UNKNOWN"
        raise UsageError(code, f"there is no {self.noun} '{name}'", hint=hint)

    def __contains__(self, name: str) -> bool:
        return name in self._entries or name in self._points()

    def names(self) -> list[str]:
        """Every known name, sorted; loads nothing."""
        return sorted({*self._entries, *self._points()})

    def name_of(self, kind: type) -> str | None:
        """The first name by which the class, or a method that stands for it, is known; None where it is not. Loads nothing."""
        whole = f"{kind.__module__}.{kind.__qualname__}"
        known = {name: _origin(thing) for name, thing in self._entries.items()}
        promised = {name: point.value.replace(":", ".") for name, point in self._points().items()}
        return min((name for name, origin in (promised | known).items() if f"{origin}.".startswith(f"{whole}.")), default=None)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def load_all(self) -> None:
        """Load every entry point of the group (operators register themselves while their module loads)."""
        for point in self._points().values():
            if point.name not in self._entries:
                loaded = load_entry(point, self.noun)
                self._entries.setdefault(point.name, loaded)

    def _points(self) -> Mapping[str, EntryPoint]:
        return _installed(self.group, tuple(sys.path))


@cache
def _installed(group: str, path: tuple[str, ...]) -> Mapping[str, EntryPoint]:
    """What the packages on the path promise: reading the records of all of them takes milliseconds, and names are asked for often."""
    return MappingProxyType({point.name: point for point in entry_points(group=group)})


def plugin_packages() -> dict[str, str]:
    """Name and version of every installed package besides absint that brings plug-ins by entry points, whatever uses them."""
    found: dict[str, str] = {}
    for package in distributions():     # the first one of a name is the one that is imported
        if any(point.group.startswith("absint.") for point in package.entry_points):
            found.setdefault(package.name, package.version)
    return {name: found[name] for name in sorted(found) if name != "absint"}


def load_entry(point: EntryPoint, noun: str) -> Any:
    """The object that an entry point names. Raises PluginError E-PLUGIN-LOAD or E-PLUGIN-CONTRACT."""
    plugin = f"the {noun} plug-in '{point.name}'"
    try:
        thing = point.load()
    except PluginError:
        raise
    except Exception as error:  # a stranger's code: whatever it raises becomes one coded message
        # Where the contract is another one, names that are not there are a consequence; the cause is what the user can mend.
        _supported(_written(point.module), plugin, point.value)
        raise PluginError(
            "E-PLUGIN-LOAD", f"{plugin} could not be loaded: {type(error).__name__}: {error}",
            where=point.value, hint="reinstall or remove the package that provides it",
        ) from error
    _supported(_declared(point.module), plugin, point.value)
    return thing


def _owner(thing: object) -> object:
    """What states where an object was defined: itself, the class of a class method (inherited ones, too), the type of a value."""
    owner = getattr(thing, "__self__", None)
    if isinstance(owner, type):
        return owner
    return thing if hasattr(thing, "__qualname__") else type(thing)


def _module(thing: object) -> str:
    owner = _owner(thing)
    return str(getattr(owner, "__module__", None) or type(owner).__module__)


def _origin(thing: object) -> str:
    return f"{_module(thing)}.{getattr(_owner(thing), '__qualname__', type(thing).__qualname__)}"


# ---- the contract's version ----------------------------------------------------------------------------------------------


def _declared(module: str) -> object:
    """What a loaded module says, or else the nearest package around it."""
    while module:
        said = getattr(sys.modules.get(module), "__dict__", {}).get(DECLARATION)
        if said is not None:
            return said
        module = module.rpartition(".")[0]
    return _UNDECLARED


def _written(module: str) -> object:
    """What the files of a module and of the packages around it say, none of which is run."""
    said: object = None
    path = None
    parts = module.split(".")
    for count in range(1, len(parts) + 1):
        name = ".".join(parts[:count])
        spec = next((found for finder in sys.meta_path if (found := finder.find_spec(name, path)) is not None), None)
        source = getattr(spec and spec.loader, "get_source", None)
        if spec is None or source is None:
            break
        try:
            text = source(name)
        except (ImportError, OSError):
            break
        nearer = _literal(text or "")
        said = said if nearer is None else nearer
        path = spec.submodule_search_locations
    return _UNDECLARED if said is None else said


def _literal(source: str | bytes) -> object:
    """The value written at the top level of a file; None where there is none, or no Python."""
    try:
        body = ast.parse(source).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    for node in body:
        if isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(target, ast.Name) and target.id == DECLARATION for target in targets):
                return node.value.value if isinstance(node.value, ast.Constant) else node
    return None


def _supported(said: object, plugin: str, where: str) -> None:
    """Nothing where the version is this absint's. Raises PluginError E-PLUGIN-CONTRACT."""
    if type(said) is int and said == CONTRACT:  # True is no version
        return
    if type(said) is not int:
        shown = repr(said)[:40] if isinstance(said, (str, float, bool)) else "an expression"
        raise PluginError("E-PLUGIN-CONTRACT", f"{plugin} declares {shown} as its version of the plug-in contract, no whole number",
                          where=where, hint=f"write {DECLARATION} = {CONTRACT} at the top level of its file")
    hint = (f"update absint, or install a release of the plug-in for version {CONTRACT}" if said > CONTRACT
            else f"update the plug-in; once it follows docs/extending.md, it declares {DECLARATION} = {CONTRACT}")
    raise PluginError("E-PLUGIN-CONTRACT", f"{plugin} was written for version {said} of the plug-in contract; "
                      f"this absint supports version {CONTRACT}", where=where, hint=hint)


# ---- files ---------------------------------------------------------------------------------------------------------------


class _Content(SourceFileLoader):
    """Runs the bytes that were read: no bytecode of another state of the file, and none left beside it."""

    def __init__(self, name: str, file: Path, content: bytes) -> None:
        super().__init__(name, str(file))
        self._content = content

    def get_data(self, path: str) -> bytes:
        """The bytes, whatever the file holds by now."""
        return self._content

    def path_stats(self, path: str) -> Mapping[str, Any]:
        """None: the cache of bytecode, which trusts a file's time and size, is passed over."""
        raise OSError


def load_plugin(path: str | Path) -> None:
    """Run one Python file so that its decorators register what it defines (`--plugin FILE`).

    Raises PluginError E-PLUGIN-LOAD where the file is missing or raises, E-PLUGIN-CONTRACT, before anything of it runs, where
    it was written for another version of the contract.
    """
    file = Path(path)
    if not file.is_file():
        raise PluginError("E-PLUGIN-LOAD", "no such plug-in file", where=str(path), hint="check the path after --plugin")
    if file.suffix != ".py":
        raise PluginError("E-PLUGIN-LOAD", "not a Python file", where=str(path), hint="give a file that ends in .py")
    try:
        content = file.read_bytes()
    except OSError as error:
        raise PluginError("E-PLUGIN-LOAD", f"cannot be read: {error.strerror}", where=str(path), hint="check its rights") from error
    said = _literal(content)
    _supported(_UNDECLARED if said is None else said, f"the plug-in '{file.stem}'", str(path))
    _run(f"absint_plugin_{file.stem}", file, content)


def plugin_content(path: str | Path) -> bytes | None:
    """The bytes of a plug-in file that were run, whatever it holds by now; None where this file was not."""
    loader = getattr(getattr(sys.modules.get(f"absint_plugin_{Path(path).stem}"), "__spec__", None), "loader", None)
    if isinstance(loader, _Content) and Path(loader.path).absolute() == Path(path).absolute():
        return loader.get_data(loader.path)
    return None


def _run(name: str, file: Path, content: bytes) -> None:
    loader = _Content(name, file, content)
    spec = spec_from_loader(name, loader)
    assert spec is not None
    module = module_from_spec(spec)
    sys.modules[name] = module
    try:
        loader.exec_module(module)
    except PluginError:
        raise
    except Exception as error:  # a stranger's code: whatever it raises becomes one coded message
        sys.modules.pop(name, None)
        raise PluginError(
            "E-PLUGIN-LOAD", f"the plug-in raised {type(error).__name__}: {error}", where=str(file),
            hint="run it with python to see the traceback, or use --debug",
        ) from error
