"""`bounds` as an analysis: what it makes of its options, and what its bounds add up to. The mathematics is in `widths`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from absint.analyses.bounds.options import BoundsOptions
from absint.analyses.bounds.record import BoundsRecord, BoundsRow, WidthsRow
from absint.contract.analysis import TIMED_OUT, Analysis, Failure, Item, facts
from absint.contract.document import Document, Figure, Json, Section
from absint.contract.run import Run
from absint.verdict import Reason

if TYPE_CHECKING:
    from absint.analyses.bounds.asked import Asked
    from absint.analyses.bounds.result import BoundsByTensor
    from absint.model.graph import Graph


class BoundsAnalysis(Analysis[BoundsOptions, BoundsRecord]):
    """Bound tensors of the network over all inputs within eps of the given ones.

    A tensor that a rewrite removed is served from the network without that rewrite.

    Exit code 0: the bounds were found. 1: the limit of some inputs passed; their bounds are infinite.
    2 usage, 3 bad input, 4 unsupported, 5 resource, 70 internal error, 130 interrupted.
    """

    Options = BoundsOptions
    Record = BoundsRecord
    records: ClassVar[str] = "bounds"
    positional: ClassVar[tuple[str, ...]] = ("net", "data", "eps")
    returns: ClassVar[str] = "absint.analyses.bounds.result:BoundsByTensor"

    def check(self, options: BoundsOptions) -> None:
        """Domains, number format and regions are known words."""
        from absint.analyses.bounds.asked import check_words
        from absint.analyses.bounds.forms import check_forms

        check_words(options)
        check_forms(options)

    def resolved(self, options: BoundsOptions) -> BoundsOptions:
        """With the input and the radius that are meant."""
        from absint.analyses.bounds.asked import completed

        return completed(options)

    def labelled(self, options: BoundsOptions) -> bool:
        """Bounds are of no class; labels are looked at where they are stated."""
        return options.labels is not None

    def graph(self, options: BoundsOptions) -> Graph:
        """With every tensor that is named."""
        from absint.analyses.bounds.asked import graph_for

        return graph_for(options)

    def prepare(self, run: Run[BoundsOptions]) -> Asked:
        """Regions, tensors and domains."""
        from absint.analyses.bounds.asked import Asked, asked_names, domains, stated
        from absint.problem.asked_region import asked_region
        from absint.problem.boxes import box_text
        from absint.problem.plane import plane_of

        region = asked_region(run.network, stated(run.options), run.data, run.region)
        if run.options.box is not None:
            region = replace(region, text=box_text(region.region))
        if run.options.plane is not None:
            plane_of(run.options.plane, region.region)
        places = tuple(map(int, run.data.index)) if run.data is not None else tuple(range(region.region.batch))
        return Asked(region, asked_names(run.options, run.network), domains(run.options), places)

    def items(self, run: Run[BoundsOptions]) -> Sequence[Item]:
        """One a domain and input, the inputs of a domain together. payload: the domain, the slot of the input, its place."""
        asked: Asked = run.problem
        if run.options.differentiable:      # no records: they hold numbers
            return []
        pairs = [(domain, slot) for domain in asked.domains for slot in range(len(asked.places))]
        return [Item(k, f"{domain}, input {asked.places[slot]}", payload=(domain, slot, asked.places[slot]))
                for k, (domain, slot) in enumerate(pairs)]

    def about(self, run: Run[BoundsOptions]) -> Mapping[str, Json]:
        """The regions, the domains, and what a bound means."""
        from absint.search.names import source_of

        asked: Asked = run.problem
        domains = {label: {"class": _class(one.domain), "options": _options(one.domain), "source": source_of(one.domain)}
                   for label, one in asked.domains.items()}
        region = {"text": asked.region.text, **asked.region.property, "mean": _text(run.options.mean), "std": _text(run.options.std)}
        return {"region": region, "domains": domains,
                "assurance": "every real input of the region keeps to the bounds, in exact real arithmetic" if run.options.rounding
                else "none: rounding errors are ignored (--no-rounding)"}

    def binding(self, run: Run[BoundsOptions]) -> Mapping[str, Json]:
        """Inputs are numbered by domain and place, tensors by name."""
        asked: Asked = run.problem
        return {"domains": {label: [_class(one.domain), _options(one.domain)] for label, one in asked.domains.items()},
                "tensors": dict(asked.names), "inputs": list(asked.places)}

    def opening(self, run: Run[BoundsOptions], count: int) -> str:
        """What is bounded, and whether it is the network as rewritten."""
        from absint.analyses.bounds.asked import UNFOLDED

        asked: Asked = run.problem
        tensors = len(set(asked.names.values()))
        removed = "".join(f"; the network is {note}" for note in run.network.source.notes if note.startswith(UNFOLDED))
        return f"bounding {_count(tensors, 'tensor')} over {_inputs(run)} with {', '.join(asked.domains)}{removed}"

    def decide(self, items: Sequence[Item], run: Run[BoundsOptions]) -> Iterator[BoundsRecord]:
        """One domain after the other."""
        import torch

        from absint.analyses.bounds.widths import compared

        asked: Asked = run.problem
        slots = sorted({item.payload[1] for item in items})
        compared(run.network, asked.region.region.take(torch.tensor(slots)), run.end)
        for domain in dict.fromkeys(item.payload[0] for item in items):
            run.stage(domain)
            yield from self._bounded(domain, [item for item in items if item.payload[0] == domain], run)

    def _bounded(self, domain: str, items: Sequence[Item], run: Run[BoundsOptions]) -> Iterator[BoundsRecord]:
        from absint.analyses.bounds.widths import batches, groups_of

        asked: Asked = run.problem
        settings = replace(asked.domains[domain], seconds=run.left, timeout=run.timeout)
        nodes, region = list(dict.fromkeys(asked.names.values())), asked.region.region
        mine = {item.payload[1]: item for item in items}
        # A resumed run bounds them in the same company as one that was never interrupted: the last bits depend on it.
        known = {record.index % len(asked.places) for record in run.done.values() if record.domain == domain}
        groups = [[slot for slot in group if slot in mine or slot in known]
                  for group in groups_of(run.network, nodes, settings, len(asked.places)) if mine.keys() & set(group)]
        for batch in batches(run.network, region, nodes, settings, groups):
            found = batch.found
            for place, slot in enumerate(batch.places):
                if slot in mine:
                    tensors = {} if found is None else {label: found[node].at(place) for label, node in asked.names.items()}
                    yield BoundsRecord(mine[slot].index, domain, asked.places[slot], tensors, Reason.TIMEOUT if found is None else None,
                                       batch.seconds / len(batch.places))

    def word(self, record: BoundsRecord) -> str:
        """Whether its bounds were found in time."""
        return "bounded" if record.reason is None else record.reason.value

    def tone(self, record: BoundsRecord) -> str:
        """An input whose limit passed is open."""
        return "" if record.reason is None else "open"

    def row_kind(self, options: BoundsOptions) -> type[Any]:
        """Bounds, or their widths."""
        from absint.analyses.bounds.asked import widths_wanted

        return WidthsRow if widths_wanted(options) else BoundsRow

    def rows(self, record: BoundsRecord, run: Run[BoundsOptions]) -> Sequence[Any]:
        """One a tensor."""
        from absint.analyses.bounds.widths import layer_widths, nothing_known

        asked: Asked = run.problem
        reason = None if record.reason is None else record.reason.value
        found = {label: record.tensors.get(label) or nothing_known(run.network, node) for label, node in asked.names.items()}
        start = (record.index, record.domain, record.input)
        if self.row_kind(run.options) is BoundsRow:
            return [BoundsRow(*start, label, one, reason) for label, one in found.items()]
        return [WidthsRow(*start, layer_widths(run.network, asked.names[label], one, label).as_dict(), reason)
                for label, one in found.items()]

    def failed(self, item: Item, failure: Failure) -> BoundsRecord | None:
        """Killed at its limit."""
        domain, _, place = item.payload
        return BoundsRecord(item.index, domain, place, {}, Reason.TIMEOUT, failure.time_s) if failure.code == TIMED_OUT else None

    def document(self, records: Sequence[BoundsRecord], run: Run[BoundsOptions]) -> Document:
        """Bounds as arrays; where they are asked for, the widths of all inputs together."""
        from absint.analyses.bounds.summary import arrays, rows_of, table, widths_by_layer
        from absint.search.names import source_of

        asked: Asked = run.problem
        short = sum(record.reason is not None for record in records)
        seconds = {domain: round(sum(r.time_s for r in records if r.domain == domain), 3) for domain in asked.domains}
        wanted = self.row_kind(run.options) is WidthsRow
        widths = widths_by_layer(run.network, asked.names, records) if wanted else {}
        sections = (Section("", (table(widths),)),) if widths else ()
        clip = run.header["region"].get("clip")
        limits = "" if run.region is not None else ", no data range" if clip is None else f", data range [{clip[0]:g}, {clip[1]:g}]"
        lines = [("region", f"{asked.region.text}{limits}"), ("inputs", _inputs(run)),
                 *(("domain", f"{label} ({source_of(one.domain) or 'no source given'})") for label, one in asked.domains.items()),
                 ("seconds", ", ".join(f"{domain} {spent:.2f}" for domain, spent in seconds.items()))]
        late = f"the limit of {run.timeout:g} s passed for {short} of {len(run.asked)} inputs; their bounds are infinite"
        title = f"{Path(run.header['model']['path']).name}: {_inputs(run)}, {asked.region.text}"
        return Document(
            {"tensors": len(asked.names), "inputs": len(asked.places), "timeout": short},
            (*sections, facts(*lines)), self._figures(widths, title, run),
            {"seconds": seconds, **({"widths": rows_of(widths)} if wanted else {})},
            arrays(run.network, asked.names, tuple(asked.domains), asked.places, records),
            warnings=(late,) if short else (), exit_code=1 if short else 0)

    def _figures(self, widths: Any, title: str, run: Run[BoundsOptions]) -> tuple[Figure, ...]:
        """Widths by layer, or the plane that is asked for."""
        from absint.analyses.bounds.planes import pictures
        from absint.analyses.bounds.summary import figure

        return pictures(run) if run.options.plane is not None else (figure(widths, title),) if widths else ()

    def value(self, records: Sequence[BoundsRecord], document: Document, run: Run[BoundsOptions]) -> BoundsByTensor:
        """Name -> bounds of all inputs, (batch, *shape)."""
        from absint.analyses.bounds.result import Bounds as Found
        from absint.analyses.bounds.result import BoundsByTensor

        found: dict[str, Found]
        if run.options.differentiable:
            from absint.analyses.bounds.forms import with_gradients

            found = with_gradients(run)
        else:
            ends = document.arrays
            keys = [key.removesuffix(".lower") for key in ends if key.endswith(".lower")]
            found = {key: Found(ends[f"{key}.lower"], ends[f"{key}.upper"]) for key in keys}
        if run.options.affine:
            from absint.analyses.bounds.forms import with_coefficients

            found = with_coefficients(run, found)
        return BoundsByTensor(found, document, run)


def _class(domain: Any) -> str:
    return f"{type(domain).__module__}.{type(domain).__qualname__}"


def _options(domain: Any) -> dict[str, Json]:
    from dataclasses import fields, is_dataclass

    values = {f.name: getattr(domain, f.name) for f in fields(domain) if f.init} if is_dataclass(domain) else {}
    return {name: value if isinstance(value, (bool, int, float, str)) else repr(value) for name, value in values.items()}


def _text(value: Any) -> Json:
    return value if value is None or isinstance(value, str) else str(value)


def _inputs(run: Run[BoundsOptions]) -> str:
    count = _count(len(run.problem.places), "input" if run.region is None else "region")
    return count if run.region is not None else f"{count} of {run.data_name}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
