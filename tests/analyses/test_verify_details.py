"""What `verify` says where there is room: exact intervals, classes, margins, times, counterexamples, and what the verdicts mean."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
import torch
from bundled import mnist
from onnx_models import dense_model, stored
from scipy.stats import binomtest

import absint
from absint import samples
from absint.analyses.verify.details import details
from absint.contract.document import Facts, Figure, Section, Strip, Table
from absint.verdict import Assurance, InstanceResult, Verdict


@lru_cache
def answered():
    """Four digits at a radius at which an attack finds a counterexample to most."""
    data = samples.data("mnist").shaped_for(mnist().input.shape)
    return absint.verify(mnist(), data.inputs[5:9], data.labels[5:9], "0.2", domain="box", timeout=20)


def results(*verdicts: Verdict) -> list[InstanceResult]:
    return [InstanceResult(k, verdict, label=k % 2, predicted=0, margin=float(k), time_s=0.5 + k, assurance=Assurance.SOUND)
            for k, verdict in enumerate(verdicts)]


def said(records, asked: int | None = None) -> tuple[Section, ...]:
    return details(records, replace(answered().run, asked=tuple(range(len(records) if asked is None else asked))))


def parts(sections, kind) -> list:
    return [part for section in sections for part in section.parts if isinstance(part, kind)]


def tables(sections) -> dict[str, list[dict]]:
    return {table.name: [dict(zip(table.columns, row, strict=True)) for row in table.rows] for table in parts(sections, Table)}


SEEN = (Verdict.VERIFIED,) * 7 + (Verdict.UNKNOWN, Verdict.FALSIFIED, Verdict.MISCLASSIFIED)


def test_intervals_are_exact_and_rounded_outward() -> None:
    found = {row["verdict"]: row for row in tables(said(results(*SEEN)))["verdicts"]}
    assert list(found) == ["verified", "falsified", "unknown", "misclassified", "verified, of those classified correctly"]
    for row in found.values():
        exact = binomtest(row["instances"], row["of"]).proportion_ci(0.95, "exact")
        assert row["lower"] <= 100 * exact.low <= row["lower"] + 0.011
        assert row["upper"] - 0.011 <= 100 * exact.high <= row["upper"]
    assert (found["verified, of those classified correctly"]["instances"], found["verified, of those classified correctly"]["of"]) == (7, 9)


def test_what_is_decided_first_is_no_sample() -> None:
    sections = said(results(*SEEN), asked=11)
    rows = [row for table in ("verdicts", "by_class") for row in tables(sections)[table]]
    assert rows
    assert {(row["lower"], row["upper"]) for row in rows} == {(None, None)}
    assert not [one.title for one in sections if "95 %" in one.title]


def test_a_share_that_is_not_all_is_not_shown_as_all() -> None:
    many = results(*(Verdict.VERIFIED,) * 29_999, Verdict.UNKNOWN)
    assert [row["percent"] for row in tables(said(many))["verdicts"]] == [99.997, 0.003]


def test_each_class_has_a_row() -> None:
    rows = tables(said(results(*SEEN)))["by_class"]
    assert [(row["class"], row["instances"], row["verified"], row["falsified"], row["unknown"], row["misclassified"]) for row in rows] == [
        (0, 5, 4, 1, 0, 0), (1, 5, 3, 0, 1, 1)]
    assert rows[1]["percent verified of the correct"] == 75.0


def test_without_labels_classes_are_those_of_the_network() -> None:
    records = [replace(one, label=None, predicted=one.index % 3) for one in results(*SEEN)]
    assert [row["class"] for row in tables(said(records))["by_class"]] == [0, 1, 2]
    assert "by_class" not in tables(said([replace(one, label=None, predicted=None) for one in records]))


def test_margins_and_times_are_drawn() -> None:
    figures = {figure.name: figure for figure in parts(said(results(*SEEN)), Figure)}
    bars = figures["margins"].panels[0].series
    assert {one.label: sum(one.y) for one in bars} == {"verified": 7, "unknown": 1, "falsified": 1, "misclassified": 1}
    line = next(one for one in figures["times"].panels[0].series if one.label == "verified")
    assert (line.x, line.y) == (tuple(map(float, range(1, 8))), tuple(0.5 + k for k in range(7)))


def test_long_runs_are_drawn_with_few_points() -> None:
    line = parts(said(results(*(Verdict.VERIFIED,) * 5000)), Figure)[-1].panels[0].series[0]
    assert len(line.x) <= 500
    assert (line.x[-1], line.y[-1]) == (5000.0, 5000 - 0.5)


def test_only_the_verdicts_that_are_there_are_explained() -> None:
    meaning = said(results(Verdict.VERIFIED))[-1]
    names = [name for part in meaning.parts if isinstance(part, Facts) for name, _ in part.items]
    assert names[:2] == ["verified", "rests on"]
    assert sum(name in ("rests on", "") for name in names) == len(answered().run.header["assumptions"])


def test_all_of_it_is_detail() -> None:
    assert all(section.detail for section in said(results(*SEEN)))
    assert said([]) == ()


def test_counterexamples_of_images_are_three_pictures() -> None:
    found = [one for one in answered() if one.verdict is Verdict.FALSIFIED]
    strips = parts(said(answered()), Strip)
    assert found
    assert len(parts(answered().document.sections, Strip)) == len(found)
    assert len(strips) == len(found)
    original, point = answered().run.inputs.inputs[found[0].index].reshape(-1), np.array(found[0].witness)
    pixels = [np.frombuffer(one.pixels, np.uint8).astype(float) / 255 for one in strips[0].pictures]
    assert [one.size for one in strips[0].pictures] == [(28, 28)] * 3
    for shown, real in zip(pixels, (original, point, 0.5 + (point - original) / (2 * np.abs(point - original).max())), strict=True):
        assert np.abs(shown - real).max() <= 0.5 / 255 + 1e-9
    assert f"label {found[0].label}, the largest output there is" in strips[0].title
    assert "moved by 0.2 at most" in strips[0].title


def test_few_of_many_counterexamples_are_shown() -> None:
    one = next(one for one in answered() if one.verdict is Verdict.FALSIFIED)
    sections = said([replace(one, index=k) for k in range(40)])
    shown = next(section for section in sections if section.title.startswith("Counterexamples"))
    assert shown.title == "Counterexamples: 12 of 40"
    assert "28 others" in shown.parts[-1].items[0][1]


@pytest.mark.parametrize("boxed", [False, True])
def test_counterexamples_of_features_are_a_table(tmp_path, boxed: bool) -> None:
    graph = absint.load(stored(tmp_path, dense_model()))
    inputs = np.zeros((1, 3))
    label = int(graph(torch.from_numpy(inputs)).argmax())
    if boxed:
        result = absint.verify(graph, box=(inputs[0] - 9, inputs[0] + 9), output_range="-0.01,0.01")
    else:
        result = absint.verify(graph, inputs, [label], "9", clip=None)
    assert result[0].verdict is Verdict.FALSIFIED
    (table,) = [one for one in parts(result.document.sections, Table) if "feature" in one.columns]
    assert table.columns == (("feature", "counterexample") if boxed else ("feature", "input", "counterexample", "difference"))
    moved = {row[0]: row[-1] for row in table.rows}
    assert moved == {f"x[{k}]": value for k, value in enumerate(result[0].witness)}
    if not boxed:
        sizes = [abs(row[-1]) for row in table.rows]
        assert sizes == sorted(sizes, reverse=True)

