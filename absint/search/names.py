"""Domains and strategies as people name them: 'zonotope', 'exact', or 'zonotope:max_generators=500,product=false'."""

from __future__ import annotations

import difflib
import re
from dataclasses import Field, fields, is_dataclass
from math import isnan
from typing import Any

from absint.engine.domain import DOMAINS, Domain
from absint.errors import AbsintError, PluginError, UsageError
from absint.registry import Registry
from absint.search.strategies.alone import Alone
from absint.search.strategy import STRATEGIES, Strategy

Method = Domain[Any] | Strategy


def method_names() -> list[str]:
    """Every name that `--domain` takes, sorted; loads nothing."""
    return sorted({*DOMAINS, *STRATEGIES})


def class_of(name: str) -> type[Method]:
    """The class of that name.

    Raises UsageError E-DOMAIN-UNKNOWN with near names; PluginError E-PLUGIN-DUPLICATE where both a domain and a strategy have
    the name, E-PLUGIN-CONTRACT where what has it is neither.
    """
    registries = [registry for registry in (DOMAINS, STRATEGIES) if name in registry]
    if not registries:
        raise UsageError("E-DOMAIN-UNKNOWN", f"there is no domain '{name}'", hint=_name_hint(name))
    if len(registries) > 1:
        raise PluginError("E-PLUGIN-DUPLICATE", f"'{name}' is the name of a domain and of a strategy", where=name,
                          hint="leave the plug-in away that brings one of them, or rename it")
    registry, base = registries[0], Domain if registries[0] is DOMAINS else Strategy
    cls: Any = registry.get(name)
    if not (isinstance(cls, type) and issubclass(cls, base)):
        raise PluginError("E-PLUGIN-CONTRACT", f"what is registered as {registry.noun} '{name}' is no subclass of {base.__name__}",
                          where=name)
    return cls


def _name_hint(name: str) -> str:
    """What was probably meant: what others call so, several side by side, or a name that is close."""
    names, plain = method_names(), re.sub(r"[\s_]+", "-", name.strip().lower())
    parts = [part.strip() for part in name.split(",")]
    if len(parts) > 1 and set(parts) <= set(names):
        return f"several are compared by a sweep: absint sweep net.onnx --domain {','.join(parts)}"
    synonyms = {word: other for other in names for word in _synonyms(other)}
    near = [synonyms[plain]] if plain in synonyms else difflib.get_close_matches(plain, names, n=2, cutoff=0.6)
    return f"did you mean {' or '.join(repr(n) for n in near)}?" if near else f"known: {', '.join(names)}"


def _synonyms(name: str) -> tuple[str, ...]:
    """What others call the domain or strategy of that name; a plug-in that cannot be loaded is no matter here."""
    try:
        return tuple(vars(class_of(name)).get("synonyms", ()))
    except AbsintError:
        return ()


def domain_of(choice: object) -> Method:
    """A domain or a strategy from its name, with options after a colon, or the instance given.

    Raises UsageError E-DOMAIN-UNKNOWN (with near names) or E-DOMAIN-OPTION, PluginError where the class cannot be used.
    """
    if isinstance(choice, (Domain, Strategy)):
        return choice
    if not isinstance(choice, str):
        raise UsageError("E-DOMAIN-UNKNOWN", f"an object of type {type(choice).__name__} is no domain", where="domain",
                         hint="the name of a domain such as 'zonotope' (absint domains lists them), or an instance of a Domain")
    name, _, rest = choice.partition(":")
    cls = class_of(name)
    known: dict[str, Field[Any]] = {f.name: f for f in fields(cls) if f.init} if is_dataclass(cls) else {}
    values: dict[str, Any] = {}
    for item in filter(None, rest.split(",")):
        key, _, value = item.partition("=")
        if key not in known:
            raise UsageError("E-DOMAIN-OPTION", f"domain '{name}' has no option '{key}'", hint=f"known: {', '.join(known) or 'none'}")
        values[key] = _option(name, key, value, known[key].default)
    try:
        return cls(**values)
    except AbsintError:
        raise
    except Exception as error:  # a stranger's code, or a class that leaves a method abstract
        raise PluginError("E-PLUGIN-RAISED", f"the domain could not be made: {type(error).__name__}: {error}", where=name,
                          hint="--debug shows the traceback; absint.testing.kit.check_domain tests a domain") from error


def domains_of(choice: Any) -> dict[str, Method]:
    """Several domains and strategies by name, as 'box,zonotope:max_generators=9' or a sequence names them; an object by the name of
    its class, counted where it is taken. Raises what `domain_of` does, and UsageError E-DOMAIN-UNKNOWN for none.
    """
    parts = split_domains(choice) if isinstance(choice, str) else choice if isinstance(choice, (list, tuple)) else (choice,)
    if not parts:
        raise UsageError("E-DOMAIN-UNKNOWN", "no domain is named", where="domain", hint="such as 'zonotope'; absint domains lists them")
    found: dict[str, Method] = {}
    for part in parts:
        domain = domain_of(part)
        label = part if isinstance(part, str) else type(domain).__name__.lower()
        if not isinstance(part, str):
            label = next(name for name in (label, *(f"{label}{k}" for k in range(2, len(parts) + 2))) if name not in found)
        found[label] = domain
    return found


def split_domains(text: str) -> tuple[str, ...]:
    """'box,zonotope:product=false,max_generators=9' -> two domains: what holds a '=' but no ':' is one more option."""
    found: list[str] = []
    for part in text.split(","):
        if found and "=" in part and ":" not in part:
            found[-1] += f",{part}"
        else:
            found.append(part.strip())
    return tuple(dict.fromkeys(found))


def source_of(method: Method) -> str:
    """Its citation; empty where it states none."""
    return method.source if isinstance(method, Strategy) else method.traits.source


def called(method: Method) -> str:
    """The name by which its class is known, or else that of the class."""
    registry: Registry[Any] = STRATEGIES if isinstance(method, Strategy) else DOMAINS
    return registry.name_of(type(method)) or type(method).__name__


def strategy_of(choice: object) -> Strategy:
    """What `domain_of` gives, a domain as the strategy that is this domain alone."""
    method = domain_of(choice)
    return method if isinstance(method, Strategy) else Alone(method)


def searches(method: Method) -> bool:
    """Whether it goes on beyond the bounds of a domain, so that one instance may take long."""
    return any(stage.beyond is not None or stage.exhaustive or stage.one_by_one for stage in strategy_of(method).stages())


def walker_of(choice: object) -> Domain[Any]:
    """What `domain_of` gives, a strategy as the domain that stands for it."""
    method = domain_of(choice)
    return method.walker if isinstance(method, Strategy) else method


def _option(domain: str, key: str, value: str, default: object) -> Any:
    """The text of an option in the type of its default."""
    try:
        if isinstance(default, bool):
            return {"true": True, "on": True, "1": True, "false": False, "off": False, "0": False}[value.lower()]
        if isinstance(default, int):
            number = int(value)
            if number < 0:
                raise ValueError
            return number
        if isinstance(default, float) and isnan(float(value)):
            raise ValueError
        return float(value) if isinstance(default, float) else value
    except (KeyError, ValueError) as error:
        raise UsageError("E-DOMAIN-OPTION", f"'{value}' is no value for option '{key}' of domain '{domain}'",
                         hint=f"the default is {default!r}") from error
