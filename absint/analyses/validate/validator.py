"""Input validation at run time: an input is accepted where the network's answer is robust enough around it.

Valid inputs have larger certified radii than misclassified and adversarial ones. `RadiusValidator` learns from valid inputs
which radius to ask for, and then either asks for it (mode threshold: one robustness call an input) or finds each radius
and watches how radii are distributed (mode distribution). The class that must stay is the predicted one: no label is needed.
Source: Liu et al., Input Validation for Neural Networks via Local Robustness Verification.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from fractions import Fraction
from math import ceil, inf
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from absint.analyses.radius.bisection import BisectionSettings, RadiusResult, radii
from absint.analyses.validate.calibration import (
    Calibration,
    check_binding,
    least_inputs,
    parse_rate,
    read_calibration,
    window_of,
    write_calibration,
)
from absint.analyses.validate.record import Basis, Decision
from absint.analyses.validate.window import SlidingWindow, WindowRule, filled, order_statistic
from absint.analyses.verify import decided
from absint.analyses.verify.settings import ProofSettings
from absint.errors import InputError, UsageError
from absint.model.content_digest import model_digest
from absint.model.graph import Graph
from absint.model.input_axes import axes_of
from absint.numeric.backend import numeric_mode
from absint.numeric.decimal import float_below, parse_eps
from absint.problem.dataset import Dataset
from absint.problem.problem import check_classes, robustness
from absint.problem.regions import ball
from absint.registry import own_version
from absint.search.names import Method, domain_of
from absint.verdict import Verdict

MODES = ("threshold", "distribution")
Inputs = Dataset | Tensor | npt.NDArray[Any] | Sequence[Any]
Radius = float | str | Fraction

# Share of valid inputs below sigma0 where none is given: as on the network that the paper chose its .014 for.
_SIGMA0_RATE = Fraction(13, 100)


@dataclass(frozen=True)
class ValidatorOptions:
    """How to validate. Radii in raw input units; numbers are the decimals they print as.

    domain: a name, or an instance; domain_text: what a file calls it.  rate: the false-alarm rate tolerated on valid inputs.
    mode: threshold or distribution.  upper, tolerance: range and resolution of radii.  norm: linf, l2 or l1.  clip: the data
    range or None.  window, sigma0, sigma1, guard: of the mode distribution; sigma0 None: the radius that 87 of 100
    calibration inputs reach.  dtype, device, batch, memory, timeout: as in ProofSettings; an input whose time is over is
    rejected.
    Raises UsageError E-MODE, E-RATE, E-EPS, E-RADIUS, and whatever ProofSettings raises.
    """

    domain: str | Method
    domain_text: str = ""
    rate: Radius = "0.03"
    mode: str = "threshold"
    upper: Radius = "0.256"
    tolerance: Radius = "0.001"
    norm: str = "linf"
    clip: tuple[float, float] | None = (0.0, 1.0)
    window: int = 50
    sigma0: Radius | None = None
    sigma1: float = 0.001
    guard: float = 0.05
    dtype: str = ProofSettings.dtype
    device: str = "cpu"
    batch: int | None = None
    memory: int | None = None
    timeout: float = inf
    search: BisectionSettings = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise UsageError("E-MODE", f"there is no mode '{self.mode}'", where="--mode", hint=" or ".join(MODES))
        parse_rate(self.rate)
        # No search for witnesses: an input that is not proved robust is rejected either way.
        engine = ProofSettings(self.domain, dtype=self.dtype, device=self.device, batch=self.batch, memory=self.memory,
                               attack=None, timeout=self.timeout)
        object.__setattr__(self, "search", BisectionSettings(
            parse_eps(self.upper, "--upper"), parse_eps(self.tolerance, "--tolerance"), engine, self.norm, self.clip))
        self.rule(0, 0)

    def rule(self, threshold: int, sigma0: int) -> WindowRule:
        """The parameters of Algorithm 2, radii in steps of the grid."""
        return WindowRule(self.search.step, threshold, sigma0, self.sigma1, self.guard, self.window)

    def binding(self, graph: Graph) -> dict[str, Any]:
        """JSON-ready: all that radii, and so a calibration, depend on."""
        domain = domain_of(self.search.verify.domain)
        values: dict[str, Any] = {f.name: getattr(domain, f.name) for f in fields(domain)} if is_dataclass(domain) else {}
        name = self.domain_text or (self.domain if isinstance(self.domain, str) else type(domain).__name__.lower())
        return {
            "absint": own_version(), "model_sha256": model_digest(graph), "domain": name,
            "domain_class": f"{type(domain).__module__}.{type(domain).__qualname__}",
            "domain_options": {key: v if isinstance(v, (bool, int, float, str)) else repr(v) for key, v in values.items()},
            "norm": self.norm, "clip": None if self.clip is None else [float(end) for end in self.clip],
            "upper": str(self.search.upper), "tolerance": str(self.search.tolerance), "dtype": self.dtype,
        }


class RadiusValidator:
    """Learn from valid inputs, then accept or reject: `fit`, `score` and `accept` in the manner of scikit-learn.

    graph: the network.  domain, options: fields of ValidatorOptions.  Mutable: `calibration` (None before `fit`), and in mode
    distribution the `window`, which every accepted input moves.
    Sound where it says so: an accepted input in mode threshold is proved to keep its class on its whole ball. That it is
    valid is a statistical statement, and depends on calibration inputs like those to come.
    """

    def __init__(self, graph: Graph, domain: str | Method, **options: Any) -> None:
        known = [f.name for f in fields(ValidatorOptions) if f.init and f.name != "domain"]
        unknown = sorted(set(options) - set(known))
        if unknown:
            raise UsageError("E-OPTION", f"the validator has no option {', '.join(map(repr, unknown))}", hint=f"known: {', '.join(known)}")
        check_classes(graph)
        self.graph = graph
        self.options = ValidatorOptions(domain, **options)
        self.calibration: Calibration | None = None
        self.window: SlidingWindow | None = None

    # ---- learning ----------------------------------------------------------------------------------------------

    def fit(self, inputs: Inputs, labels: Any = None) -> RadiusValidator:
        """Calibrate on valid inputs; where labels are given, on the correctly classified ones. Returns self.

        inputs: (batch, *shape) in raw units, or a Dataset.  labels: (batch,).
        Raises InputError E-DATA-*, and E-CALIBRATION-FEW for fewer inputs than the rate needs, E-CALIBRATION-ZERO where the
        domain proves nothing about more of them than the rate allows.
        """
        valid, wrong = self.valid_of(inputs, labels)
        return self.learn(self.calibrated(valid, self.steps(self.radii(valid)), wrong))

    def learn(self, calibration: Calibration) -> RadiusValidator:
        """Go by this calibration from now on. Returns self."""
        self.window = None if calibration.window is None else window_of(calibration)
        self.calibration = calibration
        return self

    def valid_of(self, inputs: Inputs, labels: Any = None) -> tuple[Dataset, int | None]:
        """The inputs to calibrate on, without misclassified ones, and the number of these; None without labels.

        Raises InputError E-DATA-*, E-CALIBRATION-FEW.
        """
        data, wrong = self._checked(inputs, labels), None
        if data.labels is not None:
            right = (self.predict(torch.from_numpy(data.inputs))[0] == torch.from_numpy(data.labels)).numpy()
            wrong, data = int((~right).sum()), data.select(np.flatnonzero(right))
        self.check_enough(len(data), wrong)
        return data, wrong

    def calibrated(self, valid: Dataset, steps: Sequence[int], wrong: int | None) -> Calibration:
        """What the radii of valid inputs, in steps of the grid, lead to. Raises InputError E-CALIBRATION-ZERO."""
        threshold, rejected = self._threshold(torch.from_numpy(valid.inputs), list(steps))
        options = self.options
        rule = self.rule(steps, threshold)
        window = filled(rule, steps)
        return Calibration(options.binding(self.graph), parse_rate(options.rate), rule, tuple(steps), rejected, wrong,
                           None if window is None else window.steps)

    def rule(self, steps: Sequence[int], threshold: int) -> WindowRule:
        """The parameters of Algorithm 2 that go with a threshold on inputs of these radii."""
        options = self.options
        sigma0 = order_statistic(steps, int(_SIGMA0_RATE * len(steps))) if options.sigma0 is None else ceil(
            parse_eps(options.sigma0, "--sigma0") / options.search.step)
        return options.rule(threshold, sigma0)

    def check_enough(self, count: int, wrong: int | None = None) -> None:
        """Raise InputError E-CALIBRATION-FEW where so many inputs are too few. wrong: those left out."""
        needed = least_inputs(parse_rate(self.options.rate))
        if self.options.mode == "distribution":
            needed = max(needed, self.options.window)
        if count < needed:
            left = f" ({wrong} misclassified ones left out)" if wrong else ""
            raise InputError("E-CALIBRATION-FEW", f"{count} inputs{left} are too few for a false-alarm rate of {self.options.rate}",
                             where="calibration", hint=f"give {needed} correctly classified inputs at least, or tolerate a larger rate")

    def _threshold(self, center: Tensor, steps: list[int]) -> tuple[int, int]:
        """The largest grid radius that rejects no more of the inputs than the rate, and how many it rejects.

        It is confirmed by the very call that `accept` makes: a domain's answers need not be monotone in the radius.
        """
        allowed = int(parse_rate(self.options.rate) * len(steps))
        chosen = order_statistic(steps, allowed)
        while chosen > 0:
            rejected = len(steps) - self._proved(center, chosen * self.options.search.step)
            if rejected <= allowed:
                return chosen, rejected
            chosen = max((k for k in steps if k < chosen), default=0)
        zero = sum(k == 0 for k in steps)
        raise InputError(
            "E-CALIBRATION-ZERO", f"no radius is certified for {zero} of {len(steps)} inputs, and {allowed} false alarms are allowed",
            where="calibration", hint="use a more precise domain, a smaller tolerance, or tolerate a larger rate")

    # ---- use ---------------------------------------------------------------------------------------------------

    def score(self, inputs: Inputs) -> npt.NDArray[np.float64]:
        """(batch,) certified radii in raw units, rounded down. Needs no calibration. Raises InputError E-DATA-*."""
        return np.array([float_below(found.certified) for found in self.radii(inputs)], dtype=np.float64)

    def radii(self, inputs: Inputs) -> list[RadiusResult]:
        """The same, exact, with all that is known of each input."""
        return list(self.in_order(self._checked(inputs, None)))

    def in_order(self, data: Dataset, limit: float = inf) -> Iterator[RadiusResult]:
        """The radii of inputs in the network's shape, each as soon as it and all before it are known. limit: seconds for all."""
        found: dict[int, RadiusResult] = {}
        following = 0
        for result in self.searched(replace(data, index=np.arange(len(data))), limit):
            found[result.index] = result
            while following in found:
                yield replace(found.pop(following), index=int(data.index[following]))
                following += 1

    def searched(self, data: Dataset, limit: float = inf) -> Iterator[RadiusResult]:
        """The same, each the moment it is known."""
        search = self.options.search
        search = replace(search, verify=replace(search.verify, total_timeout=limit))
        labels = None if data.labels is None else torch.from_numpy(data.labels)
        yield from radii(self.graph, torch.from_numpy(data.inputs), search, labels=labels, index=data.index.tolist())

    def accept(self, inputs: Inputs) -> npt.NDArray[np.bool_]:
        """(batch,) whether each input is accepted; see `decide`."""
        return np.array([decision.accepted for decision in self.decide(inputs)], dtype=bool)

    def decide(self, inputs: Inputs) -> list[Decision]:
        """One decision per input, in order; mode distribution slides the window along with each accepted one.

        The answers do not depend on how a sequence of inputs is cut into calls.
        Raises UsageError E-NOT-CALIBRATED before `fit` or `load_state`, InputError E-DATA-*: then nothing has changed.
        """
        self._fitted()
        data = self._checked(inputs, None)
        if self.options.mode == "threshold":
            found = {decision.index: decision for decision in self.asked(replace(data, index=np.arange(len(data))))}
            return [replace(found[k], index=index) for k, index in enumerate(data.index.tolist())]
        window, decisions = self.start(), []
        for decision, after in self.watched(data, window):
            decisions.append(decision)
            window = after
        self.window = window
        return decisions

    def start(self) -> SlidingWindow:
        """The window as it is. Raises UsageError E-NOT-CALIBRATED, E-CALIBRATION-FEW."""
        return window_of(self._fitted()) if self.window is None else self.window

    def asked(self, data: Dataset, limit: float = inf) -> Iterator[Decision]:
        """Mode threshold: one robustness call per input, each decision the moment it is known; none for what the limit cut short.

        data: in the network's shape, each index once.  limit: seconds for all.
        """
        center, threshold = torch.from_numpy(data.inputs), self._fitted().threshold
        for slot, proved, answer, time_s in self._proofs(center, threshold, limit):
            yield Decision(int(data.index[slot]), proved, answer, Basis.PROOF, None, time_s)

    def watched(self, data: Dataset, window: SlidingWindow, limit: float = inf) -> Iterator[tuple[Decision, SlidingWindow]]:
        """Mode distribution: each decision in the order of the inputs, and the window after it; it ends where the limit cuts one short."""
        for result in self.in_order(data, limit):
            if result.cut and limit < inf:      # those behind it rest on a window that is not known
                return
            accepted, basis, after = window.decide(*self.steps([result]))
            accepted = accepted and result.predicted is not None
            window = after if accepted else window
            yield Decision(result.index, accepted, result.predicted, basis, result.certified, result.time_s), window

    def _proofs(self, center: Tensor, at: Fraction, limit: float = inf) -> Iterator[tuple[int, bool, int | None, float]]:
        """(slot, whether the predicted class is proved on the ball, the prediction or None, seconds), each the moment it is known.

        What the limit of the whole call cut short is left out.
        """
        predicted, clear = self.predict(center)
        options = self.options
        region = ball(options.norm, center, at, options.clip)
        settings = replace(options.search.verify, total_timeout=limit)
        for result in decided(robustness(self.graph, region, predicted, eps=str(at)), settings):
            if not (result.cut and limit < inf):
                known, slot = bool(clear[result.index]), result.index
                proved = known and result.verdict is Verdict.VERIFIED
                yield slot, proved, int(predicted[slot]) if known else None, result.time_s

    def _proved(self, center: Tensor, at: Fraction) -> int:
        """How many inputs keep their class on the ball."""
        return sum(proved for _, proved, _, _ in self._proofs(center, at))

    def predict(self, center: Tensor) -> tuple[Tensor, Tensor]:
        """(batch,) classes of inputs (batch, *shape), and whether each is the only largest one of finite outputs."""
        with numeric_mode(), torch.no_grad():
            parts = [self.graph(part).flatten(1).double() for part in center.split(256)]
        outputs = torch.cat(parts) if parts else center.new_zeros(0, self.graph.output.size)
        single = (outputs == outputs.amax(1, keepdim=True)).sum(1) == 1 if len(outputs) else torch.zeros(0, dtype=torch.bool)
        return outputs.argmax(1), single & outputs.isfinite().all(1)

    def steps(self, results: Sequence[RadiusResult]) -> list[int]:
        """Certified radii in whole steps of the grid."""
        return [int(result.certified / self.options.search.step) for result in results]

    def _checked(self, inputs: Inputs, labels: Any) -> Dataset:
        """The inputs in the network's shape, finite and in the data range."""
        if isinstance(inputs, Dataset):
            data = inputs if labels is None else replace(inputs, labels=np.asarray(labels))
        else:
            array = inputs.detach().cpu().numpy() if isinstance(inputs, Tensor) else np.asarray(inputs)
            given = labels.detach().cpu().numpy() if isinstance(labels, Tensor) else labels
            data = Dataset(array.astype(np.float64), None if given is None else np.asarray(given), "inputs", "")
        data = data.shaped_for(self.graph.input.shape, network=axes_of(self.graph))
        data.check_range(*(self.options.clip or (-inf, inf)))
        data.check_labels(self.graph.output.size)
        return data

    def _fitted(self) -> Calibration:
        if self.calibration is None:
            raise UsageError("E-NOT-CALIBRATED", "the validator is not calibrated", hint="call fit, or load_state with a saved file")
        return self.calibration

    # ---- state -------------------------------------------------------------------------------------------------

    def save_state(self, path: str | Path) -> None:
        """Write calibration and window; `load_state` continues from there. Raises UsageError E-NOT-CALIBRATED, InputError E-OUT."""
        calibration = self._fitted()
        window = calibration.window if self.window is None else self.window.steps
        write_calibration(replace(calibration, window=window).as_dict(), path)

    def load_state(self, path: str | Path) -> RadiusValidator:
        """Read what `save_state` or `absint validate calibrate` wrote; the window's parameters and the rate come from it. Returns self.

        Raises InputError E-CALIBRATION-FILE, -FORMAT, -CHECKSUM, -MODEL or -SETTINGS; then nothing has changed.
        """
        calibration = read_calibration(path)
        check_binding(calibration.binding, self.options.binding(self.graph), str(path))
        if self.options.mode == "distribution":
            window_of(calibration)
        return self.learn(calibration)
