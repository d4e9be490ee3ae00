"""Every query beside this checkout (all VNN-COMP categories) is read, and fits its network."""

from __future__ import annotations

import csv

import pytest
from places import SHARED

from absint.model.frontend import load_model
from absint.problem.query import read_query

FOLDER = SHARED / "vnncomp"
LISTS = sorted(FOLDER.glob("*/instances.csv"))
ROWS = [(path.parent, row[0], row[1]) for path in LISTS for row in csv.reader(path.read_text().splitlines())]


@pytest.mark.skipif(not LISTS, reason="the VNN-COMP instances are not beside this checkout")
def test_the_collection_is_complete():
    assert (len(LISTS), len(ROWS)) == (14, 205)


@pytest.mark.parametrize("folder", sorted({folder for folder, _, _ in ROWS}), ids=lambda folder: folder.name)
def test_every_query_fits_its_network(folder):
    sizes, queries = {}, {}
    for _, net, name in (row for row in ROWS if row[0] == folder):
        if net not in sizes:
            graph = load_model(folder / net, check=False)
            sizes[net] = (graph.input.shape, graph.output.shape)
        query = queries[name] = queries.get(name) or read_query(folder / name)
        query.check(sizes[net])
        assert query.cells == (2 if name.endswith("prop_6.vnnlib.gz") else 1)
        assert query.vacuous == ()
        assert sum(len(group.cell) for group in query.groups()) == query.cells
