"""From a secret key to a mask: which post-ReLU neurons are watched.

Source: Shumailov et al., Towards Certifiable Adversarial Sample Detection, 2020, Algorithm 1 (RandomMaskGen) and appendix E: at most
0.1 % of the neurons. The paper draws each neuron by itself; here their number is fixed, so that no mask is empty and none exceeds
the share.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np

from absint.errors import InputError, UsageError
from absint.model.watched import Layer, Watch

MOST = Fraction(1, 1000)
PUBLIC = "absint"       # for demonstrations: a key that everybody knows keeps nothing secret
_MASK, _ID = b"absint taboo mask 1\n", b"absint taboo key id 1"
_LONGEST = 1024


def mask(key: str, layers: Sequence[Layer], share: Fraction = MOST) -> tuple[Watch, ...]:
    """max(1, floor(share N)) of the N neurons of all layers, by the key alone; a watch for each layer that has one.

    Neurons are ranked by numbers that SHAKE-256 makes of the key, so that a mask stays the same on every machine and in every
    version. Raises UsageError E-TABOO-SHARE for a share that is not in (0, 0.001], E-TABOO-KEY for an empty key.
    """
    if not 0 < share <= MOST:
        raise UsageError("E-TABOO-SHARE", f"a share of {float(share):g} of the neurons", where="--share",
                         hint="above 0, at most 0.001: more neurons raise more false alarms, and cost the network more when it is tuned")
    _check_key(key, "key")
    sizes = [layer.size for layer in layers]
    ranks = _numbers(key, sum(sizes))
    chosen = np.sort(np.argsort(ranks, kind="stable")[: max(1, int(share * sum(sizes)))])
    ends = np.cumsum([0, *sizes])
    cuts = np.searchsorted(chosen, ends)
    return tuple(Watch(layer.tensor, tuple(int(place - start) for place in chosen[low:high]))
                 for layer, start, (low, high) in zip(layers, ends, pairwise(cuts), strict=False) if high > low)


def key_id(key: str) -> str:
    """16 hexadecimal digits by which the same key is known again, slow to compute so that guessing keys by it is, too."""
    _check_key(key, "key")
    return hashlib.scrypt(key.encode(), salt=_ID, n=2**14, r=8, p=1, dklen=8).hex()


def read_keys(path: Path) -> tuple[str, ...]:
    """One key a line. Raises InputError E-TABOO-KEYS for a file without keys, empty lines between them, and one key twice."""
    if path.exists() and not path.is_file():    # a pipe can be read once, and a run that is resolved elsewhere reads again
        raise InputError("E-TABOO-KEYS", "no regular file", where=str(path), hint="write the keys to a file that others may not read")
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        what = error.strerror if isinstance(error, OSError) else "not text in UTF-8"
        raise InputError("E-TABOO-KEYS", f"cannot be read: {what}", where=str(path), hint=_HINT) from error
    return checked_keys(lines, str(path))


_HINT = "one key a line; make one: python -c 'import secrets; print(secrets.token_hex(16))'"


def checked_keys(keys: Sequence[str], where: str) -> tuple[str, ...]:
    """The same keys. Never named in a message: only their places are. Raises InputError E-TABOO-KEYS."""
    if not isinstance(keys, (list, tuple)) or not keys:
        what = "no key" if isinstance(keys, (list, tuple)) else f"no list of keys: a {type(keys).__name__}"
        raise InputError("E-TABOO-KEYS", what, where=where, hint=_HINT)
    bad = [f"line {k + 1}: empty" for k, key in enumerate(keys) if not isinstance(key, str) or not key.strip()]
    first: dict[str, int] = {}
    for k, key in enumerate(keys):
        if isinstance(key, str) and key.strip() and first.setdefault(key, k) != k:
            bad.append(f"line {k + 1}: the key of line {first[key] + 1}")
    if bad:
        raise InputError("E-TABOO-KEYS", f"{len(bad)} of {len(keys)} lines are no key of their own", where=where, details=bad[:5],
                         hint=_HINT)
    for k, key in enumerate(keys):
        _check_key(key, f"{where}, line {k + 1}")
    return tuple(keys)


def _check_key(key: str, where: str) -> None:
    try:
        key.encode()
    except UnicodeEncodeError as error:
        raise UsageError("E-TABOO-KEY", "a key with characters that UTF-8 has not", where=where, hint="letters and digits do") from error
    if not key.strip() or len(key) > _LONGEST:
        raise UsageError("E-TABOO-KEY", f"a key of {len(key)} characters", where=where, hint=f"1 to {_LONGEST} characters, not all blank")


def _numbers(key: str, count: int) -> np.ndarray:
    """(count,) uint64, as good as random to whoever does not know the key."""
    stream = hashlib.shake_256(_MASK + key.encode()).digest(8 * count)
    return np.frombuffer(stream, dtype="<u8")
