"""One registry class for every kind of plug-in: filled by a decorator, by entry points, or by `--plugin FILE`.

Built-in plug-ins arrive through the same entry points as a stranger's package, so the path users rely on is the one
that every run exercises.
"""

from __future__ import annotations

import difflib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Generic, TypeVar

from absint.errors import PluginError, UsageError

T = TypeVar("T")


class Registry(Generic[T]):
    """Names of one kind (`noun`, e.g. "domain") to objects; entry points of `group` are loaded on first use."""

    def __init__(self, noun: str, group: str) -> None:
        self.noun = noun
        self.group = group
        self._entries: dict[str, T] = {}

    def register(self, *names: str) -> Callable[[T], T]:
        """Decorator: enter the object under `names`. Raises PluginError where a name is taken by another object."""

        def enter(thing: T) -> T:
            for name in names:
                self.add(name, thing)
            return thing

        return enter

    def add(self, name: str, thing: T) -> None:
        """Enter one object. The same definition loaded twice (a plug-in file run again) replaces itself silently."""
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
            self.add(name, _load(points[name], self.noun))
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

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def load_all(self) -> None:
        """Load every entry point of the group (operators register themselves while their module loads)."""
        for point in self._points().values():
            if point.name not in self._entries:
                loaded = _load(point, self.noun)
                self._entries.setdefault(point.name, loaded)

    def _points(self) -> dict[str, EntryPoint]:
        return {point.name: point for point in entry_points(group=self.group)}


def _origin(thing: object) -> str:
    owner = getattr(thing, "__self__", None)
    if isinstance(owner, type):  # a class method stands for its class, also where it is inherited
        thing = owner
    kind = thing if isinstance(thing, type) else type(thing)
    return f"{getattr(thing, '__module__', kind.__module__)}.{getattr(thing, '__qualname__', kind.__qualname__)}"


def _load(point: EntryPoint, noun: str) -> Any:
    try:
        return point.load()
    except Exception as error:  # a stranger's code: whatever it raises becomes one coded message
        raise PluginError(
            "E-PLUGIN-LOAD", f"the {noun} plug-in '{point.name}' could not be loaded: {type(error).__name__}: {error}",
            where=point.value, hint="reinstall or remove the package that provides it",
        ) from error


def load_plugin(path: str | Path) -> None:
    """Run one Python file so that its decorators register what it defines (`--plugin FILE`).

    Raises PluginError E-PLUGIN-LOAD where the file is missing or raises.
    """
    file = Path(path)
    if not file.is_file():
        raise PluginError("E-PLUGIN-LOAD", "no such plug-in file", where=str(path), hint="check the path after --plugin")
    name = f"absint_plugin_{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise PluginError("E-PLUGIN-LOAD", "not a Python file", where=str(path), hint="give a file that ends in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except PluginError:
        raise
    except Exception as error:  # a stranger's code: whatever it raises becomes one coded message
        sys.modules.pop(name, None)
        raise PluginError(
            "E-PLUGIN-LOAD", f"the plug-in raised {type(error).__name__}: {error}", where=str(path),
            hint="run it with python to see the traceback, or use --debug",
        ) from error
