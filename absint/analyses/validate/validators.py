"""What the three analyses of input validation share: from a run to its validator, and what reports say of it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from absint.contract.document import Json
from absint.contract.run import Run
from absint.errors import UsageError
from absint.numeric.decimal import exact_text

if TYPE_CHECKING:
    from absint.analyses.validate.validator import RadiusValidator
    from absint.problem.dataset import Dataset

_ALSO = ("scipy", "foolbox")    # what the numbers are made with besides
_RULE = ("rate", "window", "sigma0", "sigma1")


def validator_of(run: Run[Any], **given: Any) -> RadiusValidator:
    """The validator that the options ask for. given: fields of its options, in place of those of the run.

    Raises UsageError E-USAGE for a region in place of inputs, and whatever `RadiusValidator` raises.
    """
    from absint.analyses.validate.validator import RadiusValidator
    from absint.problem.live import norm_of

    options = run.options
    if run.data is None:
        raise UsageError("E-USAGE", "a region is no input that could be accepted or rejected", where="inputs", hint="give arrays")
    if not given:
        given = {name: getattr(options, name) for name in (*_RULE, "upper", "tolerance", "dtype")} | {"norm": norm_of(options.norm)}
    assert run.domain is not None
    text = options.domain if isinstance(options.domain, str) else ""
    return RadiusValidator(run.network, run.domain, domain_text=text, clip=options.clip, device=options.device, batch=options.batch,
                           memory=options.memory, timeout=run.timeout, **given)


def shown(validator: RadiusValidator) -> dict[str, Json]:
    """For the header: the radii looked for, and the versions of what is used here alone."""
    options = validator.options
    search = options.search
    return {
        "search": {"norm": options.norm, "upper": exact_text(search.upper), "tolerance": exact_text(search.tolerance),
                   "step": exact_text(search.step), "clip": options.clip and list(options.clip)},
        "versions": {name: _version(name) for name in _ALSO},
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "missing"


def order_digest(data: Dataset) -> Mapping[str, Json]:
    """Which inputs, in which order: for a journal whose records rest on more than their own input."""
    return {"inputs_sha256": hashlib.sha256(data.index.astype("<i8").tobytes()).hexdigest()}
