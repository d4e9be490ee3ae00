"""Trees of boxes as evidence: where boxes were halved and clipped, and what bound each of them that is closed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from absint.engine.evidence import CLIP, Leaf
from absint.engine.evidence_records import Chosen, RowSlopes
from absint.engine.growth import Growth
from absint.engine.recorder import Recorder
from absint.problem.regions.region import Region
from absint.search.branchers.clipping import RowCuts
from absint.search.frontier import Nodes

PLACE = "place"     # the column of a box's node in the tree


class BoxEvidence:
    """The trees of a batch. Mutable. recorder: of the batch as a whole.  name: of the input node."""

    def __init__(self, recorder: Recorder, trees: int, name: str) -> None:
        self.stage, self.name, self.growth = recorder.stage, name, Growth(trees)

    def over(self, region: Region) -> Recorder:
        """For one batch of boxes."""
        recorder = Recorder.of(region)
        recorder.begin(self.stage)
        return recorder

    def halved(self, boxes: Nodes, axis: Tensor) -> Nodes:
        """Boxes with places of their own.

        boxes: those that stay whole, then the lower halves, then the upper ones.  axis: of the halved.
        """
        place, count = boxes.columns[PLACE].clone(), len(axis)
        whole = len(boxes) - 2 * count
        lower = slice(whole, whole + count)
        cut = boxes.columns["upper"].flatten(1)[lower].gather(1, axis[:, None])[:, 0]
        pairs = [self.growth.cut(node, self.name, entry, at)
                 for node, entry, at in zip(place[lower].tolist(), axis.tolist(), cut.tolist(), strict=True)]
        place[whole:] = torch.tensor([below for below, _ in pairs] + [above for _, above in pairs]).to(place)
        return replace(boxes, columns={**boxes.columns, PLACE: place})

    def closed(self, boxes: Nodes, done: Tensor, recorder: Recorder, strict: Tensor) -> None:
        """Boxes in the mask that one attempt proved, and what it proved of neurons of all; `recorder` was told of it."""
        recorder.commit()
        place, slots, stricts = boxes.columns[PLACE].tolist(), done.nonzero().flatten().tolist(), strict.cpu().numpy()
        for slot, leaf in zip(slots, recorder.best_rows(stricts, slots) if slots else (), strict=True):
            self.growth.close(place[slot], leaf)
        if recorder.knows_neurons:
            for slot, node in enumerate(place):
                self.growth.holds(node, tuple(recorder.proof(slot, np.zeros(len(stricts), dtype=np.int64), stricts)[1]))

    def clipped(self, place: Tensor, cuts: Sequence[RowCuts], start: Mapping[str, tuple[Tensor, Tensor]]) -> Tensor:
        """(N,) the places of what is left of boxes at `place` (N,). start: free slopes of their relaxations, see `start_slopes`."""
        every = torch.arange(len(place), device=place.device)
        shares = np.eye(cuts[0].of)
        chosen = {name: Chosen.of_instances(mask, values, every) for name, (mask, values) in start.items()}

        def leaf(bound: float, box: int, row: RowCuts) -> Leaf:
            return Leaf(bound, CLIP, (), shares[row.row], RowSlopes(chosen, box), stage=self.stage)

        here = place.tolist()
        for row in cuts:
            boxes, entries = row.cut.nonzero(as_tuple=True)
            whole = row.void.nonzero().flatten()
            for box, bound in zip(whole.tolist(), row.whole[whole].tolist(), strict=True):
                self.growth.close(here[box], leaf(bound, box, row))
            numbers = (v.tolist() for v in (boxes, entries, row.at[row.cut], row.positive[row.cut], row.piece[row.cut]))
            for box, entry, at, rising, bound in zip(*numbers, strict=True):
                below, above = self.growth.cut(here[box], self.name, entry, at)
                gone, here[box] = (above, below) if rising else (below, above)
                self.growth.close(gone, leaf(bound, box, row))
        return torch.tensor(here, dtype=torch.int64).to(place)
