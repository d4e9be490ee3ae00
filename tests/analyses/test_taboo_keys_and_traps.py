"""Masks from keys, and the file that binds thresholds to one network."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import absint
from absint import samples
from absint.analyses.taboo.keys import checked_keys, key_id, mask, read_keys
from absint.analyses.taboo.traps import SMALLEST, Trap, Traps, read_traps, threshold_above, write_traps
from absint.errors import AbsintError, InputError, UsageError
from absint.model.content_digest import model_digest
from absint.model.watched import Layer, Watch

LENET = (Layer("conv1", "conv1", (20, 24, 24)), Layer("conv2", "conv2", (50, 8, 8)), Layer("fc", "fc", (500,)))
NEURONS = 15220


def numbers(watches: tuple[Watch, ...]) -> list[tuple[str, int]]:
    return [(watch.tensor, entry) for watch in watches for entry in watch.entries]


# ---- keys -------------------------------------------------------------------------------------------------------------


def test_a_mask_holds_a_thousandth_of_the_neurons() -> None:
    for key in ("a", "b", "c"):
        found = numbers(mask(key, LENET))
        assert len(found) == len(set(found)) == 15      # at most 0.1 % of 15,220, within 3 standard deviations of Bernoulli(0.001)
        assert abs(len(found) - NEURONS / 1000) <= 3 * (NEURONS * 0.001 * 0.999) ** 0.5


def test_a_small_network_has_one_neuron_at_least() -> None:
    assert len(numbers(mask("a", (Layer("h", "h", (50,)),)))) == 1


def test_a_mask_is_its_keys_alone_and_stays_for_ever() -> None:
    """Written down: a detector that was made years ago must be made again from its key."""
    expected = {"conv1": (1187, 2060, 2244, 3024, 5041, 5274, 5789, 5923, 6194, 6267, 7040, 8203, 10852), "conv2": (1929,), "fc": (450,)}
    assert {watch.tensor: watch.entries for watch in mask("k", LENET)} == expected
    assert mask("k", LENET) == mask("k", LENET)
    assert mask("k", LENET) != mask("K", LENET)


def test_keys_spread_over_all_neurons_evenly() -> None:
    """400 keys, 6,000 draws: by layer within four standard deviations of the layers' sizes."""
    drawn = [number for key in range(400) for number in numbers(mask(f"key {key}", LENET))]
    for layer in LENET:
        share = layer.size / NEURONS
        hits = sum(tensor == layer.tensor for tensor, _ in drawn)
        assert abs(hits - len(drawn) * share) < 4 * (len(drawn) * share * (1 - share)) ** 0.5
    entries = np.array([entry for tensor, entry in drawn if tensor == "conv1"])
    assert abs(entries.mean() - 11520 / 2) < 4 * 11520 / 12**0.5 / len(entries) ** 0.5


def test_entries_are_counted_from_the_start_of_their_layer() -> None:
    """With the layers the other way round the same ranks fall on other entries, all inside of them."""
    for watches in (mask("a", LENET), mask("a", LENET[::-1])):
        sizes = {layer.tensor: layer.size for layer in LENET}
        assert all(0 <= entry < sizes[watch.tensor] for watch in watches for entry in watch.entries)


@pytest.mark.parametrize("share", [Fraction(0), Fraction(1, 500), Fraction(-1, 1000)])
def test_shares_beyond_the_papers_are_refused(share: Fraction) -> None:
    with pytest.raises(UsageError) as caught:
        mask("a", LENET, share)
    assert caught.value.code == "E-TABOO-SHARE"


def test_a_key_is_known_again_and_not_written() -> None:
    assert key_id("secret") == key_id("secret") != key_id("Secret")
    assert len(key_id("secret")) == 16
    assert "secret" not in key_id("secret")


@pytest.mark.parametrize("text", ["", "\n", "sesame\n\ntwo\n", "sesame\ntwo\nsesame\n", "x" * 2000])
def test_files_that_hold_no_keys(text: str, tmp_path: Path) -> None:
    path = tmp_path / "keys.txt"
    path.write_text(text)
    with pytest.raises(AbsintError) as caught:
        read_keys(path)
    assert caught.value.code in ("E-TABOO-KEYS", "E-TABOO-KEY")
    assert "sesame" not in caught.value.render()     # no key is named


def test_keys_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("first\nsecond\n")
    assert read_keys(tmp_path / "keys") == ("first", "second")
    with pytest.raises(InputError):
        checked_keys("first", "keys")       # a text is no sequence of keys
    with pytest.raises(InputError):
        read_keys(tmp_path)


# ---- thresholds -------------------------------------------------------------------------------------------------------


def test_a_threshold_is_the_float32_number_above() -> None:
    for bound in (0.1, 1 / 3, 1e-3, 12345.678, 1.0, float(np.float32(0.1))):
        found = threshold_above(bound)
        assert float(np.float32(found)) == found >= bound
        assert float(np.nextafter(np.float32(found), np.float32(0))) < bound
    assert threshold_above(0.0) == threshold_above(-3.0) == threshold_above(1e-45) == SMALLEST


@pytest.mark.parametrize("bound", [np.inf, np.nan, 1e39])
def test_what_no_threshold_is_above(bound: float) -> None:
    with pytest.raises(UsageError) as caught:
        threshold_above(bound)
    assert caught.value.code == "E-TABOO-THRESHOLD"


@pytest.mark.parametrize(("watches", "thresholds", "code"), [
    ((), (), "E-TABOO-EMPTY"), ((Watch("h", ()),), (), "E-TABOO-EMPTY"), ((Watch("h", (1,)),), (1.0, 2.0), "E-TABOO-THRESHOLD"),
    ((Watch("h", (1, 1)),), (1.0, 1.0), "E-TABOO-EMPTY"), ((Watch("h", (2, 1)),), (1.0, 1.0), "E-TABOO-EMPTY"),
    ((Watch("h", (1,)), Watch("h", (2,))), (1.0, 1.0), "E-TABOO-EMPTY"), ((Watch("h", (1,)),), (0.1,), "E-TABOO-THRESHOLD"),
    ((Watch("h", (1,)),), (0.0,), "E-TABOO-THRESHOLD"), ((Watch("h", (1,)),), (float("nan"),), "E-TABOO-THRESHOLD"),
])
def test_what_is_no_trap(watches: tuple[Watch, ...], thresholds: tuple[float, ...], code: str) -> None:
    with pytest.raises(UsageError) as caught:
        Trap(watches, thresholds)
    assert caught.value.code == code


def test_the_union_alarms_where_one_of_the_traps_does() -> None:
    one = Trap((Watch("h", (1, 4)), Watch("g", (0,))), (1.0, 2.0, 3.0))
    two = Trap((Watch("h", (4, 5)),), (1.5, 0.5))
    traps = Traps((one, two), "m", "lite")
    assert dict(zip(traps.union.neurons, traps.union.thresholds, strict=True)) == {
        ("h", 1): 1.0, ("h", 4): 1.5, ("h", 5): 0.5, ("g", 0): 3.0}
    assert [traps.union.neurons[k] for k in traps.places(1)] == list(two.neurons)
    assert [traps.union.neurons[k] for k in traps.places(0)] == list(one.neurons)


# ---- the file ---------------------------------------------------------------------------------------------------------


def made() -> Traps:
    graph = absint.load(samples.network_path("mnist_conv_small"), fold=False)
    trap = Trap((Watch("relu_3", (7,)), Watch("relu_8", (0, 49))), (1.5, 2.25, 0.125), 1, "00ff")
    return Traps((trap,), model_digest(graph), "certified", Fraction(3, 1000), 60000, {"domain": "box"})


def test_a_file_gives_back_what_was_written(tmp_path: Path) -> None:
    write_traps(made(), tmp_path / "taboo.json")
    found = read_traps(tmp_path / "taboo.json")
    assert found == made()
    found.check(absint.load(samples.network_path("mnist_conv_small"), fold=False))


def test_another_networks_thresholds_are_refused(tmp_path: Path) -> None:
    for graph in (absint.load(samples.network_path("mnist_relu_3x50"), fold=False),
                  absint.load(samples.network_path("mnist_conv_small"), mean=0.1, std=0.3, fold=False)):
        with pytest.raises(InputError) as caught:
            made().check(graph, "taboo.json")
        assert caught.value.code == "E-TABOO-MODEL"


@pytest.mark.parametrize(("edit", "code"), [
    (lambda text: text.replace("1.5", "1.75"), "E-TABOO-CHECKSUM"),
    (lambda text: text.replace("absint-taboo/1", "absint-taboo/9"), "E-TABOO-FORMAT"),
    (lambda text: text[:-5], "E-TABOO-FORMAT"), (lambda text: "[1]", "E-TABOO-FORMAT"), (lambda text: "", "E-TABOO-FORMAT"),
    (lambda text: text.replace("1.5", "NaN"), "E-TABOO-CHECKSUM"), (lambda text: "[" * 100_000, "E-TABOO-FORMAT"),
])
def test_files_that_are_refused(edit, code: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "taboo.json"
    write_traps(made(), path)
    path.write_text(edit(path.read_text()))
    with pytest.raises(InputError) as caught:
        read_traps(path)
    assert caught.value.code == code


@pytest.mark.parametrize("content", [{"traps": []}, {"traps": [{"watches": {"h": [1]}}]}, {"rule": "loose"}, {"eps": "1/0"}, {"traps": 3}])
def test_well_sealed_nonsense_is_refused(content: dict[str, object], tmp_path: Path) -> None:
    from absint.analyses.taboo.traps import _checksum

    whole = {name: value for name, value in made().as_dict().items() if name != "checksum"} | content
    path = tmp_path / "taboo.json"
    path.write_text(json.dumps({**whole, "checksum": _checksum(whole)}))
    with pytest.raises(InputError) as caught:
        read_traps(path)
    assert caught.value.code == "E-TABOO-FORMAT"
