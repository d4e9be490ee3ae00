"""Tests run in any order, on any machine, beside anything: read from their own source, and from what a test leaves behind.

No test may draw from a generator that another one draws from too, nor assert how long something took.
"""

from __future__ import annotations

import ast
import time
from collections.abc import Iterator

import pytest
import torch
from counting import until, work
from places import ROOT

from absint.domains.box import Box
from absint.engine.domain import DOMAINS, register_domain
from absint.numeric.backend import Budget, DeadlineError

FOLDER = ROOT / "tests"
FILES = sorted(file for file in FOLDER.rglob("*.py") if "plugins" not in file.parts)
MAKERS = {"default_rng", "Random", "Generator", "RandomState", "SystemRandom", "manual_seed"}
TORCH = {"rand", "randn", "randint", "randperm", "normal", "multinomial", "bernoulli"}
CLOCKS = {"monotonic", "perf_counter", "process_time", "thread_time", "time", "time_ns", "monotonic_ns", "perf_counter_ns"}


def dotted(node: ast.expr) -> str:
    """'numpy.random.rand' of an attribute chain; '' where it hangs on something else than a name."""
    if isinstance(node, ast.Attribute):
        owner = dotted(node.value)
        return f"{owner}.{node.attr}" if owner else ""
    return node.id if isinstance(node, ast.Name) else ""


def calls(tree: ast.AST) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def outside_functions(tree: ast.Module | ast.ClassDef) -> Iterator[ast.stmt]:
    """The statements that run on import."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            yield from outside_functions(node)
        elif not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node


def shared_generators(tree: ast.Module) -> Iterator[str]:
    """Names outside functions that hold a generator: whoever draws first takes the numbers of the next."""
    for node in outside_functions(tree):
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and isinstance(node.value, ast.Call):
            made = node.value.func
            if (made.attr if isinstance(made, ast.Attribute) else dotted(made)) in MAKERS:
                yield f"line {node.lineno}: {ast.unparse(node)}"


def global_draws(tree: ast.Module) -> Iterator[str]:
    """Numbers from the generators that Python, numpy and torch keep for everybody."""
    for call in calls(tree):
        owner, _, name = dotted(call.func).rpartition(".")
        python = owner == "random" and name not in MAKERS and any(
            isinstance(n, ast.Import) and any(a.name == "random" and a.asname is None for a in n.names) for n in ast.walk(tree))
        numpy = owner in ("np.random", "numpy.random") and name not in MAKERS
        generator = any(keyword.arg == "generator" for keyword in call.keywords)
        if python or numpy or (owner == "torch" and name in TORCH and not generator) or dotted(call.func) == "torch.manual_seed":
            yield f"line {call.lineno}: {ast.unparse(call)}"


def timed_assertions(tree: ast.Module) -> Iterator[str]:
    """Asserts on a clock, or on a name that holds one's reading."""
    for function in (node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))):
        read = {target.id for node in ast.walk(function) if isinstance(node, ast.Assign) and reads_clock(node.value)
                for target in ast.walk(ast.Tuple(node.targets)) if isinstance(target, ast.Name)}
        for node in ast.walk(function):
            if isinstance(node, ast.Assert) and (
                    reads_clock(node.test) or any(isinstance(n, ast.Name) and n.id in read for n in ast.walk(node.test))):
                yield f"line {node.lineno}: {ast.unparse(node)}"


def reads_clock(tree: ast.AST) -> bool:
    return any(owner == "time" and name in CLOCKS for owner, _, name in (dotted(call.func).rpartition(".") for call in calls(tree)))


READERS = (shared_generators, global_draws, timed_assertions)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(FOLDER)))
def test_what_a_test_says_hangs_on_no_other_and_on_no_clock(file):
    if file.name == "conftest.py" and file.parent == FOLDER:
        pytest.skip("seeds torch for everybody")
    tree = ast.parse(file.read_text(encoding="utf-8"))
    assert [line for reader in READERS for line in reader(tree)] == []


@pytest.mark.parametrize(("reader", "source"), [
    (shared_generators, "import numpy as np\nRNG = np.random.default_rng(7)\n"),
    (shared_generators, "import random\nclass Test:\n    draw: random.Random = random.Random(0)\n"),
    (shared_generators, "import torch\nG = torch.Generator().manual_seed(1)\n"),
    (global_draws, "import random\ndef test():\n    assert random.random() < 2\n"),
    (global_draws, "import numpy as np\nX = np.random.normal(size=3)\n"),
    (global_draws, "import torch\ndef test():\n    torch.manual_seed(0)\n"),
    (global_draws, "import torch\ndef test():\n    assert torch.rand(3).max() < 2\n"),
    (timed_assertions, "import time\ndef test():\n    begin = time.monotonic()\n    assert time.monotonic() - begin < 5\n"),
    (timed_assertions, "import time\ndef test():\n    begin = time.time()\n    took = time.time() - begin\n    assert took < 5\n"),
])
def test_each_slip_is_seen(reader, source):
    assert len(list(reader(ast.parse(source)))) == 1


@pytest.mark.parametrize("source", [
    "import numpy as np\nIMAGES = np.random.default_rng(0).integers(0, 9, 5)\n",
    "import random\ndef cases():\n    draw = random.Random(0)\n    return draw.random()\n",
    "import torch\ndef test():\n    assert torch.rand(3, generator=torch.Generator()).max() < 2\n",
    "def test(clock):\n    begin = clock.now\n    assert clock.now - begin < 5\n",
    "import time\ndef test():\n    end = time.monotonic() + 9\n    while time.monotonic() < end:\n        pass\n",
])
def test_what_is_one_tests_own_passes(source):
    assert [line for reader in READERS for line in reader(ast.parse(source))] == []


@pytest.mark.parametrize("turn", ["first", "second"])
def test_a_plug_in_and_a_seed_go_with_their_test(turn):
    """Whichever of the two runs first, the other one finds nothing of it."""
    assert "left behind" not in DOMAINS
    assert torch.get_num_threads() == 1
    assert torch.initial_seed() == 0
    torch.set_num_threads(2)
    torch.random.manual_seed(5)

    @register_domain("left behind")
    class Left(Box):
        pass

    assert "left behind" in DOMAINS


def test_work_counts_calls_and_waiting_ends():
    assert work(lambda: [len("") for _ in range(200)]) - work(lambda: [len("") for _ in range(100)]) == 100
    assert until(iter([0, 0, 3]).__next__) == 3
    with pytest.raises(pytest.fail.Exception, match="in vain"):
        until(lambda: False, patience=0.05)


def test_the_clock_is_turned_by_hand(clock):
    budget = Budget(deadline=clock.now + 99)
    budget.check()
    clock.tick = 30.0                       # at every reading
    budget.check()
    time.sleep(40.0)                        # takes no time at all
    with pytest.raises(DeadlineError):
        budget.check()
