"""The domain that the options ask for: its name, and options of its own that have words on the command line."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from math import isnan
from typing import Any

from absint.contract.common_options import DomainChoice
from absint.errors import AbsintError, UsageError
from absint.search.names import Method, class_of, method_names
from absint.search.names import domain_of as domain_from

# Fields of domains that have a word on the command line: field -> what it is. Which domains have it, their classes say.
_OPTIONS = {
    "max_generators": "bound on generators", "base": "base", "solver": "solver", "neurons": "number of neurons to refine",
    "timeout_lp": "time limit of an LP", "timeout_milp": "time limit of a MILP",
}


def domain_of(options: DomainChoice) -> Method:
    """The domain or strategy with its options; what is given by its word comes before what `--domain name:option=value` says.

    Raises UsageError E-DOMAIN-UNKNOWN or -OPTION, E-SOLVER-UNKNOWN, SolverError where the solver cannot be used, PluginError
    where the domain cannot be made.
    """
    text = options.domain
    given = {name: value for name in _OPTIONS if (value := getattr(options, name, None)) is not None}
    if not given:
        return domain_from(text)
    if not isinstance(text, str):
        raise UsageError("E-DOMAIN-OPTION", "a domain that is an object has its options already", where=_word(next(iter(given))),
                         hint="make it with them, or give its name")
    base = domain_from(text)
    known: set[str] = {f.name for f in fields(base) if f.init} if is_dataclass(base) else set()
    for name, value in given.items():
        if name not in known:
            raise UsageError("E-DOMAIN-OPTION", f"domain '{text}' has no {_OPTIONS[name]}", where=_word(name), hint=_hint(name))
        _check(name, value)
    more = ",".join(f"{name}={value}" for name, value in given.items())
    return domain_from(f"{text},{more}" if ":" in text else f"{text}:{more}")


def _check(name: str, value: str | float) -> None:
    if isinstance(value, str) and (not value or "," in value):
        raise UsageError("E-DOMAIN-OPTION", f"no name: '{value}'", where=_word(name), hint="options of it cannot be given here")
    if not isinstance(value, str) and (isnan(value) or value < 0):
        raise UsageError("E-DOMAIN-OPTION", f"the {_OPTIONS[name]} cannot be {value}", where=_word(name))


def _word(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _hint(name: str) -> str:
    """Which domains have such an option; those of plug-ins that do not load are left out."""
    return f"domains that have one: {', '.join(one for one in method_names() if name in _known(one))}"


def _known(domain: str) -> set[str]:
    try:
        cls: Any = class_of(domain)
    except AbsintError:
        return set()
    return {f.name for f in fields(cls) if f.init} if is_dataclass(cls) else set()
