"""What an alarm costs in onnxruntime: a network's file with it beside the file without it; and whether executions agree on alarms.

    python benchmarks/taboo_latency.py [--net FILE] [--data FOLDER] [--keys 1] [--images 2000]
                                       [--batch 1,64] [--rounds 60] [--out FILE]

Both files take turns in one process and one thread, optimisations on; a ratio is the median over rounds of CPU seconds with the alarm over
CPU seconds without, and compares within this run only. Beside it the same file against itself: what the measurement adds on its own.
Thresholds are those of `absint taboo calibrate` on the first images of the data (bundled ones, or an MNIST folder of IDX files).
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import measure
import numpy as np
import torch

import absint
from absint import TabooDetector, samples
from absint.analyses.taboo.deployed import Equality, equality
from absint.analyses.taboo.exported import alarm_file
from absint.model.graph import Graph
from absint.model.reference import one_session

LOOP = 0.01      # seconds of a turn, about
FITTED = 0.5     # of the images, to make thresholds of; the others are looked at


def turns(works: Sequence[Callable[[], object]], rounds: int) -> np.ndarray:
    """(rounds, works) CPU seconds of one call each: in turns, in an order that changes from round to round."""
    loops = []
    for work in works:
        work()
        begin = time.process_time()
        work()
        loops.append(max(1, int(LOOP / max(1e-6, time.process_time() - begin))))
    order, found = np.random.default_rng(0), np.zeros((rounds, len(works)))
    for row in found:
        for k in order.permutation(len(works)):
            begin = time.process_time()
            for _ in range(loops[k]):
                works[k]()
            row[k] = (time.process_time() - begin) / loops[k]
    return found


def runner(content: bytes, x: np.ndarray) -> Callable[[], object]:
    """One call of a file: all of its outputs."""
    session = one_session(content, optimised=True)
    feed = {session.get_inputs()[0].name: x}
    return lambda: session.run(None, feed)


def costs(graph: Graph, detector: bytes, images: np.ndarray, batches: Sequence[int], rounds: int) -> Iterator[dict[str, Any]]:
    """A row for each batch size that the file takes."""
    model = graph.source.whole.model
    assert model is not None
    for batch in batches:
        x = np.resize(images, (batch, *images.shape[1:])).astype(np.float32)
        x = x if graph.source.batched else x[0]
        seconds = turns([runner(model, x), runner(detector, x), runner(model, x)], rounds)
        plain, alarm, again = seconds.T
        yield {"batch": batch, "plain_us": round(1e6 * median(plain), 2), "alarm_us": round(1e6 * median(alarm), 2),
               "ratio": round(median(alarm / plain), 4), "ratio_of_itself": round(median(again / plain), 4)}


def images_of(graph: Graph, folder: Path | None, count: int) -> torch.Tensor:
    """(n, *shape) float64."""
    if folder is not None:
        return measure.mnist(folder, count)[0].reshape(-1, *graph.input.shape)
    bundled = samples.for_shape(graph.input.shape)
    if bundled is None:
        raise SystemExit("no bundled images fit the network: --data FOLDER")
    return torch.from_numpy(bundled.shaped_for(graph.input.shape).inputs.copy())


def report(graph: Graph, rows: Sequence[dict[str, Any]], held: Equality) -> Iterator[str]:
    """Lines in Markdown."""
    yield f"{measure.machine()}; network {Path(graph.source.path).name}"
    yield ""
    yield "| batch | plain, us | with the alarm, us | ratio | plain over itself |"
    yield "|---|---|---|---|---|"
    for row in rows:
        yield f"| {row['batch']} | {row['plain_us']:.1f} | {row['alarm_us']:.1f} | {row['ratio']:.3f} | {row['ratio_of_itself']:.3f} |"
    yield ""
    yield (f"{held.inputs} inputs, of which {held.undecided} lie within the rounding bound of a threshold. `differ`: from the first row; "
           "`outside`: not as every float32 execution is proved to answer; `outputs`: first outputs that are not "
           "the network's own to the bit.")
    yield ""
    yield "| execution | alarms | differ | outside | outputs | classes |"
    yield "|---|---|---|---|---|---|"
    for one in held.executions:
        yield f"| {one.name} | {one.alarms} | {one.differ} | {one.outside} | {'' if one.outputs is None else one.outputs} | {one.classes} |"


def main() -> None:
    """Print both tables; --out has them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--net", type=Path, default=samples.network_path("mnist_conv_small"))
    parser.add_argument("--data", type=Path)
    parser.add_argument("--keys", type=int, default=1)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--batch", default="1,64")
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    graph = absint.load(given.net, fold=False)
    images = images_of(graph, given.data, given.images)
    detector = TabooDetector(graph, [f"benchmark {k}" for k in range(given.keys)], clip=None).fit(images[: int(FITTED * len(images))])
    assert detector.traps is not None
    found = alarm_file(graph, detector.traps)
    batches = [int(size) for size in given.batch.split(",")] if graph.source.batched else [1]
    rows = list(costs(graph, found.content, images.numpy(), batches, given.rounds))
    held = equality(graph, detector.traps, images, found)
    print("\n".join([f"{len(detector.traps.union)} neurons of {given.keys} keys", *report(graph, rows, held)]))
    if given.out is not None:
        given.out.write_text(json.dumps({"machine": measure.machine(), "costs": rows, "inputs": held.inputs, "undecided": held.undecided,
                                         "executions": [vars(one) for one in held.executions]}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
