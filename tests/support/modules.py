"""Torch modules with weights of their own, whatever ran before."""

from __future__ import annotations

import torch


def seeded(module: torch.nn.Module, seed: int) -> torch.nn.Module:
    """The module in evaluation mode, its parameters drawn anew, about as large as torch draws them."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            scale = max(1, parameter[0].numel() if parameter.dim() > 1 else parameter.numel()) ** -0.5
            parameter.copy_((2 * torch.rand(parameter.shape, generator=generator) - 1) * scale)
    return module.eval()
