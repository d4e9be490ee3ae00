"""A counterexample as pictures: the input, what it became, and the difference."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from absint.model.layout import Known, picture_in

FloatArray = npt.NDArray[np.float64]


def panels_of(point: FloatArray, original: FloatArray | None, known: Known) -> list[FloatArray] | None:
    """Original, witness and difference as (H, W, channels) in [0, 1]; only the witness without an original; None: no image.

    Raises UsageError E-LAYOUT where the channels may be the first axis as well as the last.
    """
    axes = picture_in(point.shape, known, None, "picture")
    if axes is None or axes.count not in (1, 3) or min(axes.spatial) <= 3:
        return None
    shown = [np.moveaxis(x.reshape(axes.view), axes.channels, 2) for x in ((point,) if original is None else (original, point))]
    least, most = min(x.min() for x in shown), max(x.max() for x in shown)
    low, high = (0.0, 1.0) if least >= 0 and most <= 1 else (least, most)
    scaled = [(x - low) / (high - low or 1.0) for x in shown]
    if len(shown) == 2:
        moved = shown[1] - shown[0]
        # Grey is no change; the greatest change is black or white.
        scaled.append(0.5 + moved / (2 * (np.abs(moved).max() or 1.0)))
    return scaled
