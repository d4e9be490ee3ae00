"""A stranger's file: registered, used, and blamed by one coded message where it fails."""

from __future__ import annotations

import json

import pytest

HEAD = """
    from dataclasses import dataclass, replace
    import torch
    from absint.engine.domain import Domain, Interval, Traits, register_domain
    from absint.domains.box import Box
    from absint.reports.interface import Format, register_format
"""


def domain(name, body, base="Box"):
    return f"{HEAD}\n    @register_domain('{name}')\n    @dataclass(frozen=True)\n    class P_{name}({base}):\n{body}"


def test_a_domain_from_a_file(verify, plugin):
    done = verify("--index", "0:2", "--plugin", plugin("fine", domain("fine", "        depth: int = 3\n")), "--domain", "fine:depth=4",
                  "--format", "json")
    assert done.code == 0
    document = json.loads(done.out)
    assert document["header"]["domain"]["options"] == {"depth": 4}
    assert {row["domain"] for row in document["instances"]} == {"fine:depth=4"}


@pytest.mark.parametrize(("text", "error"), [
    ("raise ValueError('no')\n", "E-PLUGIN-LOAD"),
    ("this is not python\n", "E-PLUGIN-LOAD"),
    ("import a_module_that_is_nowhere\n", "E-PLUGIN-LOAD"),
    ("from absint.domain import DOMAINS\nDOMAINS.add('zonotope', int)\n" * 2 + "DOMAINS.add('zonotope', str)\n", "E-PLUGIN-DUPLICATE"),
])
def test_a_file_that_does_not_load(verify, plugin, text, error):
    verify("--index", "0", "--plugin", plugin("bad_file", text)).fails(4, f"{error}]")


@pytest.mark.parametrize(("name", "body", "base", "error"), [
    ("raising", "        def linear(self, node, args, ctx):\n            raise ValueError('oops')\n", "Box", "E-DOMAIN-RAISED"),
    ("init", "        def __post_init__(self):\n            raise ValueError('oops')\n", "Box", "E-PLUGIN-RAISED"),
    ("abstract", "        pass\n", "Domain", "E-PLUGIN-RAISED"),
    ("foreign", "        pass\n", "", "E-PLUGIN-CONTRACT"),
    ("greedy", """
        def bounds(self, element, rows, ctx, sense):
            found = super().bounds(element, rows, ctx, sense)
            return Interval(found.lower + 1000, found.upper + 1000)
     """, "Box", "E-CONTRADICTION"),
    ("shapeless", """
        def bounds(self, element, rows, ctx, sense):
            found = super().bounds(element, rows, ctx, sense)
            return Interval(found.lower[:1], found.upper[:1])
     """, "Box", "E-"),
    ("nothing", "        def bounds(self, element, rows, ctx, sense):\n            return None\n", "Box", "E-"),
])
@pytest.mark.parametrize("format_", ["json", "jsonl"])
def test_a_domain_that_breaks(verify, plugin, name, body, base, error, format_):
    file = plugin(name, domain(name, body, base))
    done = verify("--index", "0:3", "--plugin", file, "--domain", name, "--format", format_).fails(4, error)
    assert "E-INTERNAL" not in done.err


def test_a_domain_whose_bounds_are_nan_proves_nothing(verify, plugin):
    body = """
        stated = Traits(mixed=False, alone=True)    # else the engine's own box proves these

        def bounds(self, element, rows, ctx, sense):
            found = super().bounds(element, rows, ctx, sense)
            return Interval(found.lower * float("nan"), found.upper)
    """
    done = verify("--index", "0:2", "--plugin", plugin("nan", domain("nan", body)), "--domain", "nan", "--format", "jsonl")
    assert done.code == 1
    assert {json.loads(row)["verdict"] for row in done.out.splitlines()} == {"unknown"}


MEMORY = """
        def start(self, node, ctx):
            if ctx.batch > {limit}:
                raise {error}
            return super().start(node, ctx)
"""


@pytest.mark.parametrize("error", ["MemoryError()", "RuntimeError('DefaultCPUAllocator: not enough memory')"])
def test_a_smaller_batch_where_memory_runs_out(verify, plugin, error):
    file = plugin("large", domain("large", MEMORY.format(limit=2, error=error)))
    done = verify("--index", "0:7", "--plugin", file, "--domain", "large", "--format", "jsonl")
    assert done.code == 0
    assert sorted(json.loads(row)["index"] for row in done.out.splitlines()) == list(range(7))


def test_out_of_memory_is_unknown(verify, plugin):
    file = plugin("huge", domain("huge", MEMORY.format(limit=0, error="MemoryError()")))
    done = verify("--index", "0:3", "--plugin", file, "--domain", "huge", "--format", "jsonl", "--attack", "none")
    assert done.code == 1
    assert {json.loads(row)["reason"] for row in done.out.splitlines()} == {"memory"}


def test_memory_that_runs_out_elsewhere_is_a_resource_error(verify, monkeypatch):
    def full(*args, **more):
        raise MemoryError

    monkeypatch.setattr("absint.runs.inputs.stated_graph", full)
    verify().fails(5, "E-MEMORY-OUT]")


REPORT = """
    @register_format("{name}")
    class R_{name}(Format):
        def begin(self, heading):
            self.stream.write(heading.header["data"]["name"] + "\\n")
        def row(self, row):
            {row}
        def end(self, document):
            self.stream.write(f"{{document.summary['counts']['verified']}}\\n")
"""


def test_a_format_from_a_file(verify, plugin):
    file = plugin("short", HEAD + REPORT.format(name="short", row="pass"))
    assert verify("--index", "0:2", "--plugin", file, "--format", "short").out == "mnist\n2\n"


def test_a_format_that_breaks(verify, plugin):
    text = REPORT.format(name="broken", row="raise ValueError('oops')")
    file = plugin("broken", HEAD + text.replace('self.stream.write(heading.header["data"]["name"] + "\\n")', "pass"))
    assert "oops" in verify("--index", "0:2", "--plugin", file, "--format", "broken").fails(4, "E-PLUGIN-RAISED]").err
