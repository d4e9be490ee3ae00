"""What torch exports, loaded: some forty small modules in both exporters, with a fixed and a free batch axis, and as modules.

    python benchmarks/zoo.py [--only NAME ...] [--domains box zonotope deeppoly] [--samples 1000]

A cell says `ok` where the network loads (which checks it against onnxruntime), the bounds of every domain hold on all samples, and the
verdicts of `auto` on three inputs are those of the module's first form; else what went wrong. One table; exit code 1 where a cell is not.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import logging
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from tables import table
from torch import nn
from zoo_modules import ZOO, Kind, built

import absint

FORMS = ("torchscript", "torchscript, free batch", "dynamo", "dynamo, free batch", "module")
RADIUS = 0.02


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=[kind.name for kind in ZOO])
    parser.add_argument("--forms", nargs="+", default=FORMS, choices=FORMS)
    parser.add_argument("--domains", nargs="+", default=["box", "zonotope", "deeppoly"])
    parser.add_argument("--samples", type=int, default=1000)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    rows, failed = [], 0
    for kind in (kind for kind in ZOO if kind.name in options.only):
        begin = time.process_time()
        cells = list(answers(kind, options))
        failed += sum(cell != "ok" for cell in cells)
        rows.append([kind.name, *cells, f"{time.process_time() - begin:.1f}"])
        print(*rows[-1], sep=" | ", file=sys.stderr, flush=True)
    print(table("Modules", ["module", *options.forms, "CPU s, all"], rows))
    print(f"\n{len(rows)} modules, {sum(len(row) - 2 for row in rows)} cells, {failed} not ok")
    return 1 if failed else 0


def answers(kind: Kind, options: argparse.Namespace) -> Iterator[str]:
    """One word, or one line, a form."""
    module, first = built(kind), None
    inputs = torch.rand(3, *kind.shape, generator=torch.Generator().manual_seed(len(kind.name)))
    with torch.no_grad():
        wanted = torch.cat([module(x[None]) for x in inputs]).numpy()
    for form in options.forms:
        try:
            graph = loaded(module, inputs[:1], form)
        except absint.AbsintError as error:
            yield " ".join(str(error).split())[:160].replace("|", "/")
            continue
        except Exception as error:  # torch's own exporter may fail: that is no fault of an import
            yield f"not exported: {type(error).__name__}"
            continue
        wrong = outside(graph, module, inputs, options)
        verdicts = verdicts_of(graph, inputs, wanted)
        first = verdicts if first is None else first
        yield wrong or ("ok" if verdicts == first else f"verdicts {verdicts}, not {first}")


def loaded(module: nn.Module, example: torch.Tensor, form: str) -> absint.Graph:
    """The module by way of this form."""
    if form == "module":
        with contextlib.redirect_stdout(io.StringIO()):
            return absint.load(module, example_input=example)
    modern, free = form.startswith("dynamo"), form.endswith("free batch")
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        path = str(Path(folder) / "net.onnx")
        if modern:
            shapes = ({0: torch.export.Dim("n", min=1, max=64)},) if free else None
            torch.onnx.export(module, (example.repeat(2, *[1] * (example.dim() - 1)) if free else example,), path, dynamo=True,
                              dynamic_shapes=shapes, verbose=False)
        else:
            torch.onnx.export(module, (example,), path, dynamo=False, input_names=["x"], output_names=["y"],
                              dynamic_axes={"x": {0: "n"}, "y": {0: "n"}} if free else None)
        return absint.load(path)


def outside(graph: absint.Graph, module: nn.Module, inputs: torch.Tensor, options: argparse.Namespace) -> str:
    """Where a sample leaves the bounds: the domain and by how much."""
    random = np.random.default_rng(0)
    for x in inputs[:1].numpy():
        steps = random.uniform(-1, 1, (options.samples, *x.shape)).astype(np.float32)
        steps[: options.samples // 2] = np.sign(steps[: options.samples // 2])
        points = (x + np.float32(RADIUS * 0.999) * steps).astype(np.float32)
        with torch.no_grad():
            values = torch.cat([module(torch.from_numpy(point)[None]) for point in points]).numpy().reshape(len(points), -1)
        for domain in options.domains:
            bounds = absint.bounds(graph, x[None], RADIUS, clip=None, domain=domain)
            [(lower, upper)] = [(np.ravel(one.lower), np.ravel(one.upper)) for one in bounds.values()]
            slack = 1e-4 * (1 + np.abs(values))      # the module's own float32 errors; bounds are of the exact network
            beyond = np.maximum(lower - values, values - upper) - slack
            if not np.isfinite(lower).all() or not np.isfinite(upper).all() or beyond.max() > 0:
                return f"{domain}: a sample outside by {beyond.max():.3g}"
    return ""


def verdicts_of(graph: absint.Graph, inputs: torch.Tensor, wanted: np.ndarray) -> list[str]:
    """The verdicts of `auto`; of a network with one output, none."""
    if wanted.shape[1:] == (1,):
        return []
    labels = wanted.reshape(len(wanted), -1).argmax(1)
    report = absint.verify(graph, inputs.numpy(), labels, RADIUS, clip=None)
    return [row.verdict.value for row in report]


if __name__ == "__main__":
    sys.exit(main())
