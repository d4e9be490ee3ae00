"""Random crops and flips of images, a batch at a time.

Source: Gowal et al. 2018, arXiv:1810.12715, appendix A.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

AUGMENTED = ("auto", "none", "crop-flip")
_MARGIN = 4


def crop_flip(images: Tensor, generator: torch.Generator) -> Tensor:
    """Each image padded by 4 zeros on all sides, cut back to its size at a random place, and turned left to right or not.

    images: (n, channels, rows, columns).  generator: on the CPU, whatever the device.
    """
    count, _, rows, columns = images.shape
    down, right = (torch.randint(0, 2 * _MARGIN + 1, (count,), generator=generator).to(images.device) for _ in range(2))
    flipped = torch.randint(0, 2, (count,), generator=generator).bool().to(images.device)
    across = torch.arange(columns, device=images.device).expand(count, -1)
    across = torch.where(flipped[:, None], columns - 1 - across, across) + right[:, None]
    along = torch.arange(rows, device=images.device) + down[:, None]
    padded = functional.pad(images, [_MARGIN] * 4)
    each = torch.arange(count, device=images.device)[:, None, None]
    return padded.permute(0, 2, 3, 1)[each, along[:, :, None], across[:, None, :]].permute(0, 3, 1, 2).contiguous()
