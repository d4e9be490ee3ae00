"""The forms besides arrays in which Python can ask for bounds: tensors that carry gradients, and affine coefficients."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from absint.analyses.bounds.options import BoundsOptions
from absint.analyses.bounds.result import Bounds
from absint.analyses.bounds.tensors import affine_bounds, tensor_intervals
from absint.contract.run import Run
from absint.errors import UsageError
from absint.problem.live import inputs_of, region_of
from absint.problem.regions.region import Region

if TYPE_CHECKING:
    from absint.analyses.bounds.asked import Asked


def check_forms(options: BoundsOptions) -> None:
    """Raise UsageError E-USAGE where gradients have nothing to flow to."""
    if options.differentiable and options.journal is not None:
        raise UsageError("E-USAGE", "a journal keeps numbers, and differentiable bounds carry gradients", where="journal",
                         hint="leave one of them away")


def with_gradients(run: Run[BoundsOptions]) -> dict[str, Bounds]:
    """Name -> bounds as tensors, with gradients with respect to inputs, radii and the parameters of the graph that ask for them."""
    region = _live_region(run)
    return {_key(run, domain, name): Bounds(found.lower, found.upper)
            for domain, settings in _settings(run).items()
            for name, found in tensor_intervals(run.network, region, list(run.problem.names), settings).items()}


def with_coefficients(run: Run[BoundsOptions], found: Mapping[str, Bounds]) -> dict[str, Bounds]:
    """The same bounds with their affine coefficients."""
    region: Region = run.problem.region.region
    forms = {_key(run, domain, name): one for domain, settings in _settings(run).items()
             for name, one in affine_bounds(run.network, region, list(run.problem.names), settings).items()}
    return {key: replace(one, affine=forms[key]) for key, one in found.items()}


def _settings(run: Run[BoundsOptions]) -> dict[str, Any]:
    asked: Asked = run.problem
    return {domain: replace(one, seconds=run.left) for domain, one in asked.domains.items()}


def _key(run: Run[BoundsOptions], domain: str, name: str) -> str:
    return f"{domain}/{name}" if len(run.problem.domains) > 1 else name


def _live_region(run: Run[BoundsOptions]) -> Region:
    """With the history of the tensors that were given; what comes from a file has none."""
    options, asked = run.options, run.problem
    if not isinstance(options.data, torch.Tensor) and not isinstance(options.eps, torch.Tensor):
        region: Region = asked.region.region
        return region
    data = torch.from_numpy(run.inputs.inputs)
    if isinstance(options.data, torch.Tensor):      # all of them: the chosen ones, in the order of their choice
        data = inputs_of(run.network, options.data, differentiable=True)[torch.tensor(asked.places)]
    axes = None if run.whole is None else run.whole.axes
    region, _ = region_of(run.network, data, options.eps, options.norm, options.clip, axes, differentiable=True)
    return region
