"""Domains as people name them: 'zonotope', or 'zonotope:max_generators=500,product=false'."""

from __future__ import annotations

from dataclasses import Field, fields, is_dataclass
from math import isnan
from typing import Any

from absint.engine.domain import DOMAINS, Domain
from absint.errors import AbsintError, PluginError, UsageError


def domain_of(choice: object) -> Domain[Any]:
    """A domain from its name, with options after a colon, or the instance given.

    Raises UsageError E-DOMAIN-UNKNOWN (with near names) or E-DOMAIN-OPTION, PluginError where the class cannot be used.
    """
    if isinstance(choice, Domain):
        return choice
    if not isinstance(choice, str):
        raise UsageError("E-DOMAIN-UNKNOWN", f"an object of type {type(choice).__name__} is no domain", where="domain",
                         hint="the name of a domain such as 'zonotope' (absint domains lists them), or an instance of a Domain")
    name, _, rest = choice.partition(":")
    cls = DOMAINS.get(name)
    if not (isinstance(cls, type) and issubclass(cls, Domain)):
        raise PluginError("E-PLUGIN-CONTRACT", f"what is registered as domain '{name}' is no subclass of Domain", where=name)
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
