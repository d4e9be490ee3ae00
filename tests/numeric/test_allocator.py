"""Freed pages serve the next layer while bounds are computed, and the C library goes its own way before and after."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from absint.numeric import allocator
from absint.numeric.allocator import give_back, kept_pages, resident
from absint.numeric.backend import numeric_mode

GLIBC = pytest.mark.skipif(allocator._glibc() is None, reason="the C library is not glibc: nothing is changed")

FAULTS = """
import resource, sys
import torch
from absint.numeric.allocator import kept_pages
torch.set_num_threads(1)

def faults():
    begin = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(12):
        torch.ones(16 << 20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - begin

plain = faults()
with kept_pages():
    first, kept = faults(), faults()
print(plain, kept)
"""


def told(script, **environment):
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=os.environ | environment)
    return [int(word) for word in found.stdout.split()]


@GLIBC
def test_pages_are_faulted_in_once():
    plain, kept = told(FAULTS)
    assert kept < plain / 10


@GLIBC
def test_what_the_environment_asks_for_is_left_alone():
    plain, kept = told(FAULTS, MALLOC_MMAP_THRESHOLD_="1000000")
    assert kept > plain / 2


class Library:
    """In the place of glibc."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, int]] = []

    def mallopt(self, what: int, value: int) -> None:
        self.calls.append((what, value))

    def malloc_trim(self, pad: int) -> None:
        self.calls.append((0, pad))


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Library:
    made = Library()
    monkeypatch.setattr(allocator, "_glibc", lambda: made)
    monkeypatch.setattr(allocator, "_asked_otherwise", lambda: False)
    return made


def test_the_last_one_restores(library):
    with kept_pages():
        first = list(library.calls)
        with numeric_mode():
            assert library.calls == first
        assert library.calls == first
    assert [what for what, _ in first] == [allocator._MMAP_MAX, allocator._TRIM_THRESHOLD]
    assert (allocator._MMAP_MAX, allocator._DEFAULT_MMAP_MAX) in library.calls[len(first):]


def test_an_error_restores_too(library):
    with pytest.raises(KeyError), kept_pages():
        raise KeyError
    assert allocator._Keeping.depth == 0
    assert (allocator._MMAP_MAX, allocator._DEFAULT_MMAP_MAX) in library.calls


def test_numeric_mode_keeps_pages(library):
    with numeric_mode():
        assert library.calls
    give_back()
    assert library.calls[-1] == (0, 0)


def test_elsewhere_nothing_happens(monkeypatch):
    monkeypatch.setattr(allocator, "_glibc", lambda: None)
    with kept_pages():
        assert allocator._Keeping.depth == 0
    give_back()


def test_resident_is_what_the_system_says():
    found = resident()
    assert found is None or found > 1 << 20
