"""`TabooDetector`: what scikit-learn's manners promise, and that it is the command's own detector."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

import absint
from absint import samples
from absint.errors import InputError, UsageError
from absint.model.graph import Graph
from absint.problem.training_data import training_data

KEYS = ("sesame", "open wide")


def graph() -> Graph:
    return absint.load(samples.network_path("mnist_conv_small"), fold=False)


def images(count: int = 200) -> np.ndarray:
    return training_data().train.inputs(slice(0, count)).double().numpy().reshape(-1, 1, 28, 28)


def test_it_fits_and_detects() -> None:
    detector = absint.TabooDetector(graph(), KEYS)
    x = images()
    assert detector.fit(x) is detector
    assert not detector.detect(x).any()
    loud = np.ones_like(x[:2])
    alarms, scores = detector.alarms(loud), detector.score(loud)
    assert alarms.shape == (2, len(KEYS))
    assert (alarms.any(1) == detector.detect(loud)).all()
    assert ((scores > 0) == alarms.any(1)).all()
    classes, again = detector.predict(x)
    assert classes.shape == again.shape == (200,)
    assert not again.any()


def test_keys_make_traps_and_nothing_else_of_them_is_kept() -> None:
    detector = absint.TabooDetector(graph(), KEYS).fit(images(20))
    assert detector.traps is not None
    assert len(detector.traps) == 2
    for text in (repr(detector), str(detector.traps.as_dict()), repr(detector.traps)):
        assert not any(key in text for key in KEYS)


def test_a_saved_detector_is_the_same(tmp_path: Path) -> None:
    detector, x = absint.TabooDetector(graph(), KEYS).fit(images(50)), np.random.default_rng(2).random((30, 1, 28, 28))
    detector.save(tmp_path / "taboo.json")
    again = absint.TabooDetector(graph()).load(tmp_path / "taboo.json")
    assert (again.score(x) == detector.score(x)).all()
    assert (again.alarms(x) == detector.alarms(x)).all()


def test_the_command_makes_the_same(tmp_path: Path) -> None:
    x = images(60)
    detector = absint.TabooDetector(graph(), KEYS, rule="certified", eps="0.01").fit(x)
    absint.taboo_calibrate(graph(), x, keys=KEYS, rule="certified", eps="0.01", detector=tmp_path / "taboo.json", block=7)
    made = absint.TabooDetector(graph()).load(tmp_path / "taboo.json").traps
    assert made is not None
    assert detector.traps is not None
    assert made.traps == detector.traps.traps


def test_certified_thresholds_are_not_below_those_of_the_inputs() -> None:
    x = images(60)
    lite = absint.TabooDetector(graph(), KEYS).fit(x).traps
    certified = absint.TabooDetector(graph(), KEYS, rule="certified", eps="0.01").fit(x).traps
    assert lite is not None
    assert certified is not None
    for one, two in zip(lite.traps, certified.traps, strict=True):
        assert all(high >= low for low, high in zip(one.thresholds, two.thresholds, strict=True))
    assert lite.traps != certified.traps


def test_what_it_refuses(tmp_path: Path) -> None:
    detector = absint.TabooDetector(graph(), KEYS)
    for use in (detector.detect, detector.score, detector.alarms, lambda x: detector.save(tmp_path / "t.json")):
        with pytest.raises(UsageError) as caught:
            use(images(1))
        assert caught.value.code == "E-TABOO-UNFITTED"
    with pytest.raises(UsageError) as caught:
        absint.TabooDetector(graph(), policy="calibrated").fit(images(5))
    assert caught.value.code == "E-TABOO-HELD-OUT"
    with pytest.raises(InputError) as wrong:
        detector.fit(np.full((1, 1, 28, 28), np.nan))
    assert wrong.value.code == "E-DATA-NAN"
    with pytest.raises(InputError):
        absint.TabooDetector(graph(), keys=())
    absint.TabooDetector(graph()).fit(images(5)).save(tmp_path / "t.json")
    with pytest.raises(InputError) as other:
        absint.TabooDetector(absint.load(samples.network_path("mnist_relu_3x50"), fold=False)).load(tmp_path / "t.json")
    assert other.value.code == "E-TABOO-MODEL"


@pytest.mark.parametrize("batch", [0, -1])
def test_a_batch_of_nothing_is_refused(batch: int) -> None:
    """It went on for ever, and took all memory."""
    with pytest.raises(UsageError) as caught:
        absint.TabooDetector(graph(), KEYS, batch=batch).fit(images(2))
    assert caught.value.code == "E-BATCH"
    for function in (absint.taboo_detect, absint.taboo_calibrate):
        with pytest.raises(UsageError) as caught:
            function(graph(), images(2), batch=batch)
        assert caught.value.code == "E-BATCH"


def test_a_pickle_holds_no_key_and_detects_what_was_fitted() -> None:
    x = np.random.default_rng(1).random((5, 1, 28, 28))
    detector = absint.TabooDetector(graph(), KEYS).fit(images(5))
    content = pickle.dumps(detector)
    assert not any(key.encode() in content for key in KEYS)
    again = pickle.loads(content)
    assert (again.score(x) == detector.score(x)).all()
    with pytest.raises(InputError) as caught:
        again.fit(images(5))
    assert caught.value.code == "E-TABOO-KEYS"


def test_a_failed_fit_changes_nothing() -> None:
    detector = absint.TabooDetector(graph(), KEYS).fit(images(5))
    before = detector.traps
    with pytest.raises(InputError):
        detector.fit(np.full((1, 1, 28, 28), np.nan))
    assert detector.traps is before
