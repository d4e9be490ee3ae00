"""Taboo traps on the device: thresholds of every rule, and the alarms of a detector."""

from __future__ import annotations

from typing import Any

from taboo_nets import convolutional, training_digits

from absint.analyses.taboo.calibrating import ThresholdSettings
from absint.analyses.taboo.detector import TabooDetector
from device.compared import NARROW, both, scenario

RULES: dict[str, dict[str, Any]] = {
    "lite": {}, "certified": {"rule": "certified", "eps": "0.02"}, "percentile": {"rule": "percentile", "percentile": "90"},
    "literal": {"rule": "literal"}}


@scenario("runs")
def taboo(device: object) -> None:
    x = training_digits(40)
    for name, settings in RULES.items():
        assert ThresholdSettings(**settings).rule == name

        def run(there: str, settings: dict[str, Any] = settings) -> object:
            detector = TabooDetector(convolutional(), ("a", "b", "c"), device=there, **settings).fit(x[:30], x[30:])
            assert detector.traps is not None
            return [trap.thresholds for trap in detector.traps.traps], detector.score(x[30:]).tolist()

        both(run, name, NARROW)
