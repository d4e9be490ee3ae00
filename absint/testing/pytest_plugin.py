"""A pytest plug-in: the fixture `absint_verified`, by which a test asserts that a network is proved robust.

pytest loads this file in every run, so that nothing but the fixture's name may cost anything here: no torch before it is called.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import pytest

if TYPE_CHECKING:
    from absint.contract.results import Results
    from absint.verdict import InstanceResult

_ROWS = 20                          # of the instances that a message shows
_UNKNOWN = ("fail", "skip")


class Verified(Protocol):
    """What the fixture `absint_verified` is."""

    def __call__(self, net: Any, data: Any = None, labels: Any = None, *, eps: Any, unknown: str = "fail", allow_unknown: float = 0.0,
                 **options: Any) -> Results[InstanceResult]:
        """See `verified`."""


@pytest.fixture(scope="session")
def absint_verified() -> Verified:
    """Assert that a network keeps its class around inputs: `absint_verified(net, inputs, labels, eps="2/255")`."""
    return verified


def verified(net: Any, data: Any = None, labels: Any = None, *, eps: Any, unknown: str = "fail", allow_unknown: float = 0.0,
             **options: Any) -> Results[InstanceResult]:
    """Prove that every correctly classified input keeps its class within eps; the results of `absint.verify`, where it is so.

    net, data, labels, eps, options: as of `absint.verify`; eps in raw input units.
    unknown: what becomes of the test where instances are neither proved nor refuted: "fail" or "skip".
    allow_unknown: the share, 0 to 1, of the correctly classified instances that may be so.
    Fails the test, with a table, where an instance is falsified, or none is classified correctly, whatever is allowed. A misclassified
    input counts neither for nor against, as in the exit code of `absint verify`. What rests on a solver's word alone or on bounds
    without rounding is unknown here.
    Raises UsageError E-TEST-OPTION, and what `absint.verify` raises.
    """
    __tracebackhide__ = True
    from absint.api import function
    from absint.errors import AbsintError

    _check(unknown, allow_unknown)
    try:
        results: Results[InstanceResult] = function("verify")(net, data, labels, eps, **options)
    except AbsintError as error:
        raise error.with_traceback(None) from None     # its message says what to do; where it was raised says nothing to a test's author
    _judge(results, unknown, allow_unknown)
    return results


def _check(unknown: object, allow_unknown: object) -> None:
    from absint.errors import UsageError, shown

    if unknown not in _UNKNOWN:
        raise UsageError("E-TEST-OPTION", f"unknown={shown(unknown)}", where="absint_verified", hint='unknown="fail" or unknown="skip"')
    if isinstance(allow_unknown, bool) or not isinstance(allow_unknown, (int, float)) or not 0 <= allow_unknown <= 1:
        raise UsageError("E-TEST-OPTION", f"allow_unknown={shown(allow_unknown)}", where="absint_verified",
                         hint="a share from 0 to 1, such as allow_unknown=0.05")


def _judge(results: Results[InstanceResult], unknown: str, allow_unknown: float) -> None:
    """Nothing where all is well; ends the test elsewhere."""
    __tracebackhide__ = True
    from absint.verdict import Assurance, Verdict

    falsified = [one for one in results if one.verdict is Verdict.FALSIFIED]
    open_ = [one for one in results if one.verdict not in (Verdict.VERIFIED, Verdict.FALSIFIED, Verdict.MISCLASSIFIED)
             or (one.verdict is Verdict.VERIFIED and one.assurance is not Assurance.SOUND)]
    judged = sum(one.verdict is not Verdict.MISCLASSIFIED for one in results)
    missing = len(results.run.asked or results) - len(results)     # a total limit may leave instances out; they are unknown, too
    if falsified:
        more = f", {len(open_)} unknown" if open_ else ""
        pytest.fail(_message("E-TEST-FALSIFIED", f"{len(falsified)} of {judged} instances falsified{more}", [*falsified, *open_], results),
                    pytrace=False)
    if not judged:
        pytest.fail(_message("E-TEST-NOTHING", "no instance is classified correctly: nothing is proved", list(results), results),
                    pytrace=False)
    share = (len(open_) + missing) / (judged + missing)
    if share > allow_unknown:
        allowed = f", {allow_unknown:.4g} of them allowed" if allow_unknown else ""
        text = _message("E-TEST-UNKNOWN", f"{len(open_) + missing} of {judged + missing} instances unknown{allowed}", open_, results)
        if unknown == "skip":
            pytest.skip(text.splitlines()[0])
        pytest.fail(text, pytrace=False)


def _message(code: str, what: str, shown: Sequence[InstanceResult], results: Results[InstanceResult]) -> str:
    """A headline with why, then a table of instances."""
    from collections import Counter
    from io import StringIO

    from absint.contract.record import cells_of
    from absint.reports.terminal import print_table
    from absint.verdict import InstanceResult

    reasons = Counter(one.reason.value for one in shown if one.reason is not None)
    why = f" ({', '.join(f'{name} {count}' for name, count in reasons.most_common())})" if reasons else ""
    columns = [*InstanceResult.SHOWN, "detail"]
    rows = [[cells.get(name, "") for name in columns] for cells in map(cells_of, shown[:_ROWS])]
    kept = [place for place in range(len(columns)) if any(row[place] for row in rows)]
    table = StringIO()
    if rows:
        print_table(table, [columns[place] for place in kept], [[row[place] for place in kept] for row in rows], plain=True)
    left = f"\n{len(shown) - _ROWS} more" if len(shown) > _ROWS else ""
    path = (results.run.header.get("model") or {}).get("path") or "the network"
    claim = results.run.header.get("property") or {}
    return f"absint[{code}] {path}, eps {claim.get('eps')}: {what}{why}\n{table.getvalue().rstrip()}{left}"
