"""Work on many points, so many at a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from math import inf

from absint.numeric.backend import DeadlineError, is_out_of_memory


def in_parts(count: int, size: int, work: Callable[[slice], None], end: float = inf) -> int:
    """`work` on the first `size` of `count`, the next ones, and so on; fewer where memory runs out, until time is up. How many are done.

    end: a `time.monotonic()` instant; a DeadlineError ends it, too. Raises whatever else the work raises.
    """
    done = 0
    while done < count and time.monotonic() < end:
        part = slice(done, min(done + size, count))
        try:
            work(part)
        except DeadlineError:
            break
        except Exception as error:
            if not is_out_of_memory(error) or size == 1:
                raise
            size = max(1, (part.stop - part.start) // 2)
            continue
        done = part.stop
    return done
