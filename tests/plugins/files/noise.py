"""How often the predicted class survives random noise: a measurement, no proof. One file: `absint noise NET --plugin noise.py`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from absint.contract.analysis import Analysis, Item, facts, register_analysis
from absint.contract.common_options import DataOptions
from absint.contract.document import Document
from absint.contract.options import METHOD, PROPERTY, option
from absint.contract.record import column
from absint.contract.run import Run
from absint.errors import UsageError

ABSINT_CONTRACT = 1


@dataclass(frozen=True)
class NoiseOptions(DataOptions):
    sigma: float = option(0.1, "Standard deviation of the noise, in raw input units.", group=PROPERTY, common=True)
    draws: int = option(50, "Noisy copies of each input.", group=METHOD, common=True)
    seed: int = option(0, "Of the noise.", group=METHOD)


@dataclass(frozen=True)
class NoiseRecord:
    index: int = column(width=5)
    predicted: int = column()
    kept: float = column(unit="share")


@register_analysis("noise")
class Noise(Analysis[NoiseOptions, NoiseRecord]):
    """Measure how often the predicted class survives random noise. No proof of anything."""

    Options, Record = NoiseOptions, NoiseRecord

    def check(self, options: NoiseOptions) -> None:
        if not options.sigma >= 0 or options.draws < 1:
            raise UsageError("E-NOISE", f"sigma {options.sigma}, {options.draws} draws", hint="sigma >= 0 and at least one draw")

    def decide(self, items: Sequence[Item], run: Run[NoiseOptions]) -> Iterator[NoiseRecord]:
        options, graph = run.options, run.network
        for item in items:
            point = torch.from_numpy(run.inputs.at([item.index]).inputs)
            generator = torch.Generator().manual_seed(options.seed + item.index)
            noise = torch.randn(options.draws, *graph.input.shape, generator=generator, dtype=torch.float64)
            predicted = int(graph(point).argmax())
            kept = (graph(point + options.sigma * noise).flatten(1).argmax(1) == predicted).double().mean()
            yield NoiseRecord(item.index, predicted, float(kept))

    def document(self, records: Sequence[NoiseRecord], run: Run[NoiseOptions]) -> Document:
        mean = sum(record.kept for record in records) / max(1, len(records))
        return Document({"kept": mean}, (facts(("kept", f"{mean:.1%} of {run.options.draws} noisy copies of {len(records)} inputs")),))
