"""What the records of all inputs add up to: widths by layer, their table and picture, arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf, nan
from typing import Any

import numpy as np

from absint.analyses.bounds.record import BoundsRecord, TensorBounds
from absint.analyses.bounds.widths import LayerWidths, layer_widths
from absint.contract.document import Figure, Panel, Series, Table
from absint.model.graph import Graph
from absint.numeric.percent import percent_text

Widths = Mapping[str, Sequence[LayerWidths]]     # domain -> layers in the order asked for, the same for all


def widths_by_layer(graph: Graph, names: Mapping[str, str], records: Sequence[BoundsRecord]) -> dict[str, list[LayerWidths]]:
    """Over the inputs of each domain whose bounds were found in time."""
    found: dict[str, list[LayerWidths]] = {}
    for domain in dict.fromkeys(record.domain for record in records):
        mine = [record for record in records if record.domain == domain and record.reason is None]
        if mine:
            found[domain] = [layer_widths(graph, node, stacked([record.tensors[label] for record in mine]), label)
                             for label, node in names.items()]
    return found


def stacked(parts: Sequence[TensorBounds]) -> TensorBounds:
    """Bounds of one node, each of one instance, as those of all of them."""
    marked = [part.undecided for part in parts if part.undecided is not None]
    return TensorBounds(np.stack([part.lower for part in parts]), np.stack([part.upper for part in parts]),
                        np.stack(marked) if marked else None)


def rows_of(widths: Widths) -> list[dict[str, Any]]:
    """JSON-ready, one a domain and tensor."""
    return [{"domain": domain, **layer.as_dict()} for domain, layers in widths.items() for layer in layers]


def table(widths: Widths, kind: str = "domain", name: str = "") -> Table:
    """For people: one row per tensor and domain, the domains of a tensor together. kind: of what there are several, if not of domains.

    name: the key in machine formats, empty for none.
    """
    rows = [
        (layer.tensor, layer.op, "x".join(map(str, layer.shape)) or "scalar", domain, layer.mean, layer.median, layer.greatest,
         _share(layer.unbounded or None), _share(layer.undecided))
        for layers in zip(*widths.values(), strict=True) for domain, layer in zip(widths, layers, strict=True)
    ]
    return Table(("tensor", "operator", "shape", kind, "mean", "median", "max", "unbounded", "undecided"), tuple(rows), name)


def _share(value: float | None) -> str:
    return "" if value is None else f"{percent_text(value)} %"


def figure(widths: Widths, title: str) -> Figure:
    """Mean (solid) and greatest (dashed) width on a logarithmic axis; below, the share of undecided entries."""
    above: list[Series] = []
    below: list[Series] = []
    for colour, (domain, layers) in enumerate(widths.items()):
        places = tuple(map(float, range(len(layers))))
        mean, most = (tuple(nan if value is None else value for value in values)
                      for values in ([w.mean for w in layers], [w.greatest for w in layers]))
        above += [Series(domain, places, mean, marked=True, colour=colour), Series("", places, most, dashed=True, colour=colour)]
        shares = [(place, 100 * w.undecided) for place, w in zip(places, layers, strict=True) if w.undecided is not None]
        below.append(Series("", tuple(place for place, _ in shares), tuple(share for _, share in shares), marked=True, colour=colour))
    layers = next(iter(widths.values()))
    names = tuple(f"{layer.tensor} ({layer.op})" for layer in layers)
    panels = (Panel(tuple(above), y_label="width: mean (solid), greatest (dashed)", logarithmic=True, legend=True, height=3.0),
              Panel(tuple(below), x_label="tensor (operator)", y_label="undecided, %", y_limits=(0.0, inf), names=names))
    return Figure("widths", title, panels, (min(24.0, 3.5 + 0.42 * max(10, len(layers))), 6.2))


def arrays(graph: Graph, names: Mapping[str, str], domains: Sequence[str], places: Sequence[int], records: Sequence[BoundsRecord]
           ) -> dict[str, Any]:
    """`index`, the places of the inputs in the data; `NAME.lower` and `NAME.upper` (inputs, *shape), prefixed with `DOMAIN/` where
    there are several domains. What is not decided is infinite.
    """
    found: dict[str, Any] = {"index": np.array(places, np.int64)}
    known = {record.index: record for record in records}
    for k, domain in enumerate(domains):
        mine = [known.get(k * len(places) + slot) for slot in range(len(places))]
        for label, node in names.items():
            prefix = f"{domain}/{label}" if len(domains) > 1 else label
            for side, nothing in (("lower", -inf), ("upper", inf)):
                known_of = [None if one is None else one.tensors.get(label) for one in mine]
                rows = [np.full(graph[node].shape, nothing) if one is None else getattr(one, side) for one in known_of]
                found[f"{prefix}.{side}"] = np.stack(rows) if rows else np.empty((0, *graph[node].shape))
    return found
