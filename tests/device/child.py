"""A process of its own for scenarios on the fake device: `python -m device.child GROUP-OR-SCENARIO...` prints JSON.

{"why_not": reason or null, "failed": {scenario: what went wrong}, "seconds": {scenario: CPU time}}.
"""

from __future__ import annotations

import json
import sys
import time
import traceback

import fake_device

REASON = fake_device.why_not()     # before anything else of torch is used


def main(words: list[str]) -> None:
    """Run what is named."""
    from device.scenarios import SCENARIOS

    unknown = [word for word in words if not any(word in (name, entry.group) for name, entry in SCENARIOS.items())]
    if unknown:
        raise SystemExit(f"no such scenario: {unknown}")
    failed, seconds = {}, {}
    if REASON is None:
        chosen = [name for name, entry in SCENARIOS.items() if name in words or (entry.group in words and not entry.slow)]
        with fake_device.FakeDevice() as device:
            for name in chosen:
                begin = time.process_time()
                try:
                    SCENARIOS[name].run(device)
                except Exception as error:
                    failed[name] = "".join(traceback.format_exception(error)[-4:])
                seconds[name] = round(time.process_time() - begin, 2)
    sys.stdout.write(json.dumps({"why_not": REASON, "failed": failed, "seconds": seconds}) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
