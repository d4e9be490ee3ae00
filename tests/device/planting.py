"""Plants faults of devices one after the other, in a process with the fake device: `python -m device.planting` prints JSON.

{"why_not": reason or null, "noticed": {fault: [what each of its scenarios said, "" for nothing]},
"waits": {legal fault: [without it, with it]}}.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator

import fake_device
import pytest

REASON = fake_device.why_not()     # before anything else of torch is used


def said(error: BaseException) -> str:
    """What shows that two devices met, or that the results differ; anything else is a fault that is merely broken."""
    for one in _causes(error):
        refused = isinstance(one, fake_device.MixError) or "device type tensor to numpy" in str(one)
        if refused or isinstance(one, AssertionError) or fake_device.NAME in str(one):
            return f"{type(one).__name__}: {one}"
    raise error


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def noticed(faults: dict, device: fake_device.FakeDevice) -> dict[str, list[str]]:
    """Of each fault, what its scenarios say of it."""
    from mutants.planting import plant

    from device.scenarios import SCENARIOS

    found: dict[str, list[str]] = {}
    for name, (function, killers) in faults.items():
        found[name] = []
        for killer in killers:
            with pytest.MonkeyPatch.context() as patch:
                plant(function, patch)
                try:
                    SCENARIOS[killer].run(device)
                    found[name].append("")
                except Exception as error:
                    found[name].append(said(error))
    return found


def waits(function: object | None, scenarios: tuple[str, ...], device: fake_device.FakeDevice) -> int:
    """Synchronisations of the scenarios, with a fault or without."""
    from mutants.planting import plant

    from device.scenarios import SCENARIOS

    with pytest.MonkeyPatch.context() as patch, device.stage("waits") as count:
        before = count.syncs
        if function is not None:
            plant(function, patch)
        for name in scenarios:
            SCENARIOS[name].run(device)
        return count.syncs - before


def main() -> None:
    """All of them."""
    told: dict[str, object] = {"why_not": REASON}
    if REASON is None:
        from mutants.device import LEGAL, MUTANTS

        with fake_device.FakeDevice() as device:
            told["noticed"] = noticed(MUTANTS, device)
            told["waits"] = {name: [waits(one, where, device) for one in (None, function)] for name, (function, where) in LEGAL.items()}
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main()
