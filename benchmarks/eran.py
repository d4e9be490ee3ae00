"""absint beside ERAN on the same networks, images and radii: verdict counts, every disagreement, seconds and their ratio.

Against stored verdicts (no ERAN needed), for every known network found in the folders:

    python benchmarks/eran.py --nets FOLDER [FOLDER ...] --data MNIST_FOLDER [--cifar FILE.npz] [--only 256x2,colt]

Live, by ERAN's own command line (PATH is its repository, with tf_verify/ and data/; the images are ERAN's own):

    python benchmarks/eran.py --eran PATH --nets FOLDER [--count 10] [--eran-python PYTHON]
    python benchmarks/eran.py --eran PATH --net NET.onnx --dataset mnist --eps 0.01 0.02 [--mean 0.1307 --std 0.3081]

ERAN's deepzono stands beside `zonotope`, its deeppoly beside `deeppoly`. absint's soundness is on; ERAN rounds outward, too.
"""

from __future__ import annotations

import argparse
import csv
import os
import re
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import measure
import torch
from tables import table

import absint
from absint.model.graph import Graph
from absint.problem.data_frontend import read_data
from absint.problem.dataset import Dataset

PEERS = Path(__file__).parent / "peers"
PAIRS = {"deepzono": "zonotope", "deeppoly": "deeppoly"}
OVAL = ((0.485, 0.456, 0.406), (0.225, 0.225, 0.225))


@dataclass(frozen=True)
class Net:
    """A network: its file name, and how its images are normalised before it (mean, std), if not by itself."""

    name: str
    file: str
    dataset: str = "mnist"
    eps: tuple[str, ...] = ("0.01", "0.02", "0.03")
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None


NETS = (
    *(Net(f"mnist-net_256x{k}", f"mnist-net_256x{k}.onnx") for k in (2, 4, 6)),
    Net("mnist_relu_9_200", "mnist_relu_9_200.onnx", eps=("0.005", "0.01", "0.015")),
    Net("ffnnSIGMOID_6x200", "ffnnSIGMOID__Point_6x200.onnx", eps=("0.005", "0.012")),
    Net("colt_mnist_0.1", "colt_mnist_0.1.onnx", eps=("0.05", "0.1"), mean=(0.1307,), std=(0.3081,)),
    Net("cifar_base_kw", "cifar_base_kw.onnx", "cifar10", ("0.00784314", "0.0156863"), *OVAL),
)


@dataclass
class Run:
    """What ERAN said of one network, domain and radius.

    verdicts: image -> "verified", "failed", "unsafe" or "misclassified".  seconds: kind of clock -> per image.
    finished: whether it came to its end (it exits with 0 also where it did not).  tail: its last line.
    """

    verdicts: dict[int, str] = field(default_factory=dict)
    seconds: dict[str, dict[int, float]] = field(default_factory=lambda: defaultdict(dict))
    finished: bool = True
    tail: str = ""


# --- what ERAN prints -----------------------------------------------------------------------------------------------

_VERDICT = re.compile(r"^img\s+(\d+)\s+(verified unsafe|verified|failed|not considered)\b", re.IGNORECASE)
_PROGRESS = re.compile(r"^progress: .*\btime: ([0-9.]+)")
_SECONDS = re.compile(r"^([0-9.]+) seconds\s*$")
_END = re.compile(r"^analysis precision\s+(\d+)\s*/\s*(\d+)")
_WORDS = {"verified unsafe": "unsafe", "verified": "verified", "failed": "failed", "not considered": "misclassified"}


def parse(text: str) -> Run:
    """The verdicts and wall seconds in ERAN's standard output. An image it broke off at has no verdict."""
    run, image = Run(finished=False), None
    for line in text.splitlines():
        verdict, clock = _VERDICT.match(line), _PROGRESS.match(line) or _SECONDS.match(line)
        if verdict:
            image = int(verdict[1])
            run.verdicts[image] = _WORDS[verdict[2].lower()]
        elif clock and image is not None:
            if run.verdicts[image] != "misclassified":
                run.seconds["wall"][image] = float(clock[1])
        elif _END.match(line):
            run.finished = True
        run.tail = line.strip() or run.tail
    return run


def command(python: str, net: Path, given: Net, domain: str, eps: str, count: int) -> list[str]:
    """ERAN's own command line, run in its folder tf_verify."""
    words = [python, ".", "--netname", str(net.resolve()), "--epsilon", eps, "--domain", domain, "--dataset", given.dataset,
             "--num_tests", str(count)]
    for name, values in (("--mean", given.mean), ("--std", given.std)):
        words += [name, *map(str, values)] if values else []
    return words


def live(root: Path, words: list[str], timeout: float) -> Run:
    """One process of ERAN with one thread. What it wrote before a timeout counts."""
    one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    try:
        done = subprocess.run(words, cwd=root / "tf_verify", env={**os.environ, **one}, capture_output=True, text=True,
                              timeout=timeout, check=False)
        text, errors = done.stdout, done.stderr
    except subprocess.TimeoutExpired as late:
        text, errors = (t.decode(errors="replace") if isinstance(t, bytes) else t or "" for t in (late.stdout, late.stderr))
    run = parse(text)
    if not run.finished:
        run.tail = next((line.strip() for line in reversed(errors.splitlines()) if line.strip()), run.tail)
    return run


def stored() -> dict[tuple[str, str, str], Run]:
    """(net, domain, eps) -> the stored single-thread runs of the plain domains; CPU seconds by allocator."""
    runs: dict[tuple[str, str, str], Run] = defaultdict(Run)
    with (PEERS / "eran_verdicts.csv").open() as file:
        for row in csv.DictReader(file):
            if row["domain"] in PAIRS and not row["variant"] and row["threads"] == "1":
                run = runs[row["net"], row["domain"], row["eps"]]
                run.verdicts[int(row["img"])] = row["verdict"]
                run.seconds[row["alloc"]][int(row["img"])] = float(row["cpu_seconds"])
    return dict(sorted(runs.items(), key=lambda item: (item[0][0], item[0][1], float(item[0][2]))))


# --- what absint says -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ours:
    """absint on the same images. seconds: CPU per image of the proofs alone, all images of the row in one batch."""

    verdicts: dict[int, str]
    seconds: float


def ours(graph: Graph, data: Dataset, images: list[int], domain: str, eps: str) -> Ours:
    """Proofs first, timed; then a search for counterexamples on what was not proved, not timed."""
    chosen = data.select(images).shaped_for(graph.input.shape, "hwc:chw" if "hwc" in data.notes else "auto")
    begin = time.process_time()
    rows = absint.verify(graph, chosen.inputs, chosen.labels, eps, domain=domain, attack=None, timeout="none")
    seconds = (time.process_time() - begin) / max(1, len(images))
    found = {image: row.verdict.value for image, row in zip(images, rows, strict=True)}
    open_ = [k for k, image in enumerate(images) if found[image] == "unknown"]
    if open_:
        again = absint.verify(graph, chosen.inputs[open_], chosen.labels[open_], eps, domain=domain, timeout="none")
        found.update((images[k], row.verdict.value) for k, row in zip(open_, again, strict=True))
    return Ours(found, seconds)


# --- side by side ---------------------------------------------------------------------------------------------------

HEAD = ("net", "ERAN / absint", "eps", "images", "verified", "falsified by absint", "only ERAN", "only absint", "contradictions",
        "ERAN s/image", "absint s/image", "ratio")


def compare(name: str, domain: str, eps: str, theirs: Run, mine: Ours) -> tuple[list[object], list[str]]:
    """A row of the table, and a line for each image on which the two do not say the same."""
    both = sorted(set(theirs.verdicts) & set(mine.verdicts))
    proved = {image for image in both if theirs.verdicts[image] == "verified"}
    ours_proved = {image for image in both if mine.verdicts[image] == "verified"}
    refuted = {image for image in both if mine.verdicts[image] == "falsified"}
    unsafe = {image for image in both if theirs.verdicts[image] == "unsafe"}
    aside = {image for image in both if "misclassified" in (theirs.verdicts[image], mine.verdicts[image])}
    wrong = (proved & refuted) | (unsafe & ours_proved) | {i for i in aside if theirs.verdicts[i] != mine.verdicts[i]}
    lines = [f"{name} {domain} eps {eps}, image {image}: ERAN {theirs.verdicts[image]}, absint {mine.verdicts[image]}"
             f"{'  <-- CONTRADICTION' if image in wrong else ''}"
             for image in sorted(wrong | (proved ^ ours_proved))]
    if not theirs.finished:
        lines.append(f"{name} {domain} eps {eps}: ERAN broke off after {len(theirs.verdicts)} images: {theirs.tail[:120]}")
    clocks = {kind: median(values.values()) for kind, values in theirs.seconds.items() if values}
    row = [name, f"{domain} / {PAIRS[domain]}", eps, len(both), f"{len(proved)} / {len(ours_proved)}", len(refuted),
           len(proved - ours_proved), len(ours_proved - proved), len(wrong),
           ", ".join(f"{seconds:.2f} ({kind})" for kind, seconds in sorted(clocks.items())) or "-", f"{mine.seconds:.4f}",
           ", ".join(f"{seconds / mine.seconds:.0f}x" for _, seconds in sorted(clocks.items())) or "-"]
    return row, lines


def summary(rows: list[list[object]]) -> str:
    """One line for all rows of a domain pair."""
    parts = []
    for pair in dict.fromkeys(str(row[1]) for row in rows):
        mine = [row for row in rows if row[1] == pair]
        theirs, ourselves = (sum(int(str(row[4]).split(" / ")[k]) for row in mine) for k in (0, 1))
        images, only_eran, only_absint, wrong = (sum(int(str(row[k])) for row in mine) for k in (3, 6, 7, 8))
        parts.append(f"{pair}: {images} instances, verified {theirs} by ERAN, {ourselves} by absint; only ERAN {only_eran}, "
                     f"only absint {only_absint}; contradictions {wrong}.")
    return "\n".join(parts)


def report(results: Iterable[tuple[list[object], list[str]]], title: str) -> str:
    """The whole printed text: table, summary, disagreements."""
    rows, lines = [], []
    for row, found in results:
        print(*row, file=sys.stderr, flush=True)
        rows.append(row)
        lines += found
    text = "\n".join(f"- {line}" for line in lines) or "none"
    return (f"{table(title, HEAD, rows)}\nverified: ERAN / absint. Ratio: ERAN's seconds, one image "
            f"at a time, over absint's CPU seconds in one batch; against stored seconds, of another day, an order of magnitude.\n\n"
            f"{summary(rows)}\n\nDisagreements:\n\n{text}\n")


# --- command line ---------------------------------------------------------------------------------------------------


def found_nets(folders: Iterable[Path], only: list[str]) -> Iterator[tuple[Net, Path]]:
    """Known networks in the folders, by file name, each once."""
    files: dict[str, Path] = {}
    for folder in folders:
        for path in sorted(folder.rglob("*.onnx")):
            files.setdefault(path.name, path)
    for net in NETS:
        if net.file in files and (not only or any(part in net.name for part in only)):
            yield net, files[net.file]


def own_images(path: Path | None, cifar: Path | None) -> Mapping[str, Dataset]:
    """Test images by data set: a folder of IDX files or any data file."""
    data = {}
    if path is not None:
        data["mnist"] = read_data(next(iter(sorted(path.glob("t10k-images*")))) if path.is_dir() else path)
    if cifar is not None:
        data["cifar10"] = read_data(cifar)
    return data


def eran_images(root: Path, dataset: str) -> Dataset:
    """ERAN's own test file; its CIFAR rows are height, width, channels."""
    files = [root / "data" / f"{dataset}_test{end}.csv" for end in ("_full", "")]
    data = read_data(next((file for file in files if file.is_file()), files[-1]))
    return Dataset(data.inputs, data.labels, data.name, data.sha256, ("hwc",)) if dataset == "cifar10" else data


def against_stored(args: argparse.Namespace) -> Iterator[tuple[list[object], list[str]]]:
    """Every stored run whose network and images are there."""
    runs, data = stored(), own_images(args.data, args.cifar)
    for net, path in found_nets(args.nets, args.only):
        if net.dataset not in data:
            print(f"{net.name}: no images given for {net.dataset}", file=sys.stderr)
            continue
        graph = absint.load(path, mean=net.mean, std=net.std)
        for (name, domain, eps), run in runs.items():
            if name == net.name and domain in args.domains:
                mine = ours(graph, data[net.dataset], sorted(run.verdicts), PAIRS[domain], eps)
                yield compare(name, domain, eps, run, mine)


def against_live(args: argparse.Namespace) -> Iterator[tuple[list[object], list[str]]]:
    """Every network, domain and radius through an ERAN process of its own."""
    chosen = [(Net(path.stem, path.name, args.dataset, (), args.mean, args.std), path) for path in args.net]
    for net, path in chosen or list(found_nets(args.nets, args.only)):
        graph = absint.load(path, mean=net.mean, std=net.std)
        data = eran_images(args.eran, net.dataset)
        for domain in args.domains:
            for eps in args.eps or net.eps:
                run = live(args.eran, command(args.eran_python, path, net, domain, eps, args.count), args.timeout)
                mine = ours(graph, data, sorted(run.verdicts), PAIRS[domain], eps) if run.verdicts else Ours({}, float("nan"))
                yield compare(net.name, domain, eps, run, mine)


def main() -> None:
    """Print the table; exit 1 where a contradiction was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--eran", type=Path, help="an ERAN repository with tf_verify/ and data/; without it: stored verdicts")
    parser.add_argument("--eran-python", default=sys.executable, help="the Python that ERAN runs under")
    parser.add_argument("--nets", type=Path, nargs="+", default=[], help="folders searched for the known networks")
    parser.add_argument("--net", type=Path, action="append", default=[], help="with --eran: any network")
    parser.add_argument("--only", type=lambda text: text.split(","), default=[], help="parts of network names")
    parser.add_argument("--data", type=Path, help="folder of MNIST's IDX files, or any labelled data file")
    parser.add_argument("--cifar", type=Path, help="CIFAR-10 test images, in the order of the test set")
    parser.add_argument("--domains", type=lambda text: text.split(","), default=list(PAIRS), help=", ".join(PAIRS))
    parser.add_argument("--dataset", default="mnist", help="with --net: mnist, fashion or cifar10")
    parser.add_argument("--eps", nargs="+", help="with --eran: radii")
    parser.add_argument("--count", type=int, default=10, help="with --eran: images")
    parser.add_argument("--mean", type=float, nargs="+")
    parser.add_argument("--std", type=float, nargs="+")
    parser.add_argument("--timeout", type=float, default=3600.0, help="seconds per ERAN process")
    args = parser.parse_args()
    unknown = [domain for domain in args.domains if domain not in PAIRS]
    if unknown or not (args.nets or args.net):
        parser.error(f"unknown domains {unknown}; known: {', '.join(PAIRS)}" if unknown else "give --nets FOLDER or --net FILE")
    if args.net and not (args.eran and args.eps):
        parser.error("--net needs --eran and --eps; stored verdicts exist for known networks only (--nets)")
    if args.eran and not (args.eran / "tf_verify" / "__main__.py").is_file():
        parser.error(f"{args.eran} is no ERAN repository: tf_verify/__main__.py is not there")
    torch.set_num_threads(1)
    title = f"absint beside ERAN ({'live' if args.eran else 'stored verdicts'})"
    text = report(against_live(args) if args.eran else against_stored(args), title)
    print(f"{measure.machine()}\n\n{text}")
    if "CONTRADICTION" in text:
        sys.exit(1)


if __name__ == "__main__":
    main()
