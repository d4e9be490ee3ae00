"""Input validation at run time: an input is accepted where the network's answer is robust enough around it.

Valid inputs have larger certified radii than misclassified and adversarial ones. `RadiusValidator` learns from valid inputs
which radius to ask for, and then either asks for it (mode threshold: one robustness call an input) or finds each radius
and watches how radii are distributed (mode distribution). The class that must stay is the predicted one: no label is needed.
Source: Liu et al., Input Validation for Neural Networks via Local Robustness Verification.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from fractions import Fraction
from math import ceil, inf
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from absint.analyses.radius.bisection import RadiusOptions, RadiusResult, radius
from absint.analyses.validate.calibration import (
    Calibration,
    check_binding,
    least_inputs,
    model_digest,
    parse_rate,
    read_calibration,
    window_of,
    write_calibration,
)
from absint.analyses.validate.window import Basis, SlidingWindow, WindowRule, filled, order_statistic
from absint.analyses.verify import verify
from absint.analyses.verify.options import VerifyOptions
from absint.engine.domain import Domain, chosen_domain
from absint.errors import InputError, UsageError
from absint.model.graph import Graph
from absint.model.input_axes import axes_of
from absint.numeric.backend import numeric_mode
from absint.numeric.decimal import float_above, parse_eps
from absint.problem.dataset import Dataset
from absint.problem.problem import check_classes, robustness
from absint.problem.regions import ball
from absint.registry import own_version
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
    calibration inputs reach.  dtype, device, batch, memory, timeout: as in VerifyOptions; an input whose time is over is
    rejected.
    Raises UsageError E-MODE, E-RATE, E-EPS, E-RADIUS, and whatever VerifyOptions raises.
    """

    domain: str | Domain[Any]
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
    dtype: str = VerifyOptions.dtype
    device: str = "cpu"
    batch: int | None = None
    memory: int | None = None
    timeout: float = inf
    search: RadiusOptions = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise UsageError("E-MODE", f"there is no mode '{self.mode}'", where="--mode", hint=" or ".join(MODES))
        parse_rate(self.rate)
        # No search for witnesses: an input that is not proved robust is rejected either way.
        engine = VerifyOptions(self.domain, dtype=self.dtype, device=self.device, batch=self.batch, memory=self.memory,
                               attack=None, timeout=self.timeout)
        object.__setattr__(self, "search", RadiusOptions(
            parse_eps(self.upper, "--upper"), parse_eps(self.tolerance, "--tolerance"), engine, self.norm, self.clip))
        self.rule(0, 0)

    def rule(self, threshold: int, sigma0: int) -> WindowRule:
        """The parameters of Algorithm 2, radii in steps of the grid."""
        return WindowRule(self.search.step, threshold, sigma0, self.sigma1, self.guard, self.window)

    def binding(self, graph: Graph) -> dict[str, Any]:
        """JSON-ready: all that radii, and so a calibration, depend on."""
        domain = chosen_domain(self.search.verify.domain)
        values: dict[str, Any] = {f.name: getattr(domain, f.name) for f in fields(domain)} if is_dataclass(domain) else {}
        name = self.domain_text or (self.domain if isinstance(self.domain, str) else type(domain).__name__.lower())
        return {
            "absint": own_version(), "model_sha256": model_digest(graph), "domain": name,
            "domain_class": f"{type(domain).__module__}.{type(domain).__qualname__}",
            "domain_options": {key: v if isinstance(v, (bool, int, float, str)) else repr(v) for key, v in values.items()},
            "norm": self.norm, "clip": None if self.clip is None else [float(end) for end in self.clip],
            "upper": str(self.search.upper), "tolerance": str(self.search.tolerance), "dtype": self.dtype,
        }


@dataclass(frozen=True)
class Decision:
    """About one input. radius: certified, exact; None in mode threshold, which does not look for it.

    predicted: the network's answer; None where there is none (a tie, or outputs that are not finite): such an input is rejected.
    """

    index: int
    accepted: bool
    predicted: int | None
    basis: Basis
    radius: Fraction | None
    time_s: float


class RadiusValidator:
    """Learn from valid inputs, then accept or reject: `fit`, `score` and `accept` in the manner of scikit-learn.

    graph: the network.  domain, options: fields of ValidatorOptions.  Mutable: `calibration` (None before `fit`), and in mode
    distribution the `window`, which every accepted input moves.
    Sound where it says so: an accepted input in mode threshold is proved to keep its class on its whole ball. That it is
    valid is a statistical statement, and depends on calibration inputs like those to come.
    """

    def __init__(self, graph: Graph, domain: str | Domain[Any], **options: Any) -> None:
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
        data = self._checked(inputs, labels)
        center = torch.from_numpy(data.inputs)
        wrong = None
        if data.labels is not None:
            right = self.predict(center)[0] == torch.from_numpy(data.labels)
            wrong, center = int((~right).sum()), center[right]
        self._check_enough(len(center), wrong)
        steps = self.steps(radius(self.graph, center, self.options.search))
        threshold, rejected = self._threshold(center, steps)
        options = self.options
        sigma0 = order_statistic(steps, int(_SIGMA0_RATE * len(steps))) if options.sigma0 is None else ceil(
            parse_eps(options.sigma0, "--sigma0") / options.search.step)
        rule = options.rule(threshold, sigma0)
        self.window = filled(rule, steps)
        self.calibration = Calibration(options.binding(self.graph), parse_rate(options.rate), rule, tuple(steps), rejected, wrong,
                                       None if self.window is None else self.window.steps)
        return self

    def _check_enough(self, count: int, wrong: int | None) -> None:
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
            rejected = len(steps) - int(self._proved(center, chosen * self.options.search.step)[0].sum())
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
        return np.array([-float_above(-found.certified) for found in self.radii(inputs)], dtype=np.float64)

    def radii(self, inputs: Inputs) -> list[RadiusResult]:
        """The same, exact, with all that is known of each input."""
        data = self._checked(inputs, None)
        return radius(self.graph, torch.from_numpy(data.inputs), self.options.search, index=data.index.tolist())

    def accept(self, inputs: Inputs) -> npt.NDArray[np.bool_]:
        """(batch,) whether each input is accepted; see `decide`."""
        return np.array([decision.accepted for decision in self.decide(inputs)], dtype=bool)

    def decide(self, inputs: Inputs) -> list[Decision]:
        """One decision per input, in order; mode distribution slides the window along with each accepted one.

        The answers do not depend on how a sequence of inputs is cut into calls.
        Raises UsageError E-NOT-CALIBRATED before `fit` or `load_state`, InputError E-DATA-*: then nothing has changed.
        """
        calibration = self._fitted()
        data = self._checked(inputs, None)
        if self.options.mode == "threshold":
            return self._asked(data, calibration.threshold)
        window = window_of(calibration) if self.window is None else self.window
        found = radius(self.graph, torch.from_numpy(data.inputs), self.options.search, index=data.index.tolist())
        decisions = []
        for result, steps in zip(found, self.steps(found), strict=True):
            accepted, basis, after = window.decide(steps)
            accepted = accepted and result.predicted is not None
            window = after if accepted else window
            decisions.append(Decision(result.index, accepted, result.predicted, basis, result.certified, result.time_s))
        self.window = window
        return decisions

    def _asked(self, data: Dataset, threshold: Fraction) -> list[Decision]:
        """One robustness call per input at the threshold."""
        center = torch.from_numpy(data.inputs)
        proved, predicted, times = self._proved(center, threshold)
        return [Decision(index, ok, None if answer < 0 else answer, Basis.PROOF, None, time_s) for index, ok, answer, time_s in
                zip(data.index.tolist(), proved.tolist(), predicted.tolist(), times, strict=True)]

    def _proved(self, center: Tensor, at: Fraction) -> tuple[Tensor, Tensor, list[float]]:
        """(batch,) whether the predicted class is proved on the ball, the predictions (-1 for none), seconds."""
        predicted, clear = self.predict(center)
        options = self.options
        region = ball(options.norm, center, at, options.clip)
        results = verify(robustness(self.graph, region, predicted, eps=str(at)), options.search.verify)
        proved = torch.tensor([result.verdict is Verdict.VERIFIED for result in results], dtype=torch.bool)
        return proved & clear, torch.where(clear, predicted, -1), [result.time_s for result in results]

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
        write_calibration(replace(calibration, window=calibration.window if self.window is None else self.window.steps), path)

    def load_state(self, path: str | Path) -> RadiusValidator:
        """Read what `save_state` or `absint validate calibrate` wrote; the window's parameters and the rate come from it. Returns self.

        Raises InputError E-CALIBRATION-FILE, -FORMAT, -CHECKSUM, -MODEL or -SETTINGS; then nothing has changed.
        """
        calibration = read_calibration(path)
        check_binding(calibration.binding, self.options.binding(self.graph), str(path))
        window = None if calibration.window is None else window_of(calibration)
        if window is None and self.options.mode == "distribution":
            window = window_of(calibration)
        self.calibration, self.window = calibration, window
        return self
