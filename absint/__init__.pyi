"""Made by `python docs/make_stub.py`; a test compares it with the code."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor
from torch.nn import Module

from absint.analyses.bounds.record import BoundsRecord
from absint.analyses.bounds.result import BoundsByTensor
from absint.analyses.clever.record import CleverScore
from absint.analyses.errors.record import ImageErrors
from absint.analyses.global_robustness.correctness_record import CorrectnessBlock
from absint.analyses.global_robustness.robustness_record import LatentRobustness
from absint.analyses.inspect.record import Inspection
from absint.analyses.query.answering import QueryResult
from absint.analyses.query.record import AnswerRecord
from absint.analyses.radius.record import RadiusResult
from absint.analyses.sweep.record import SweepLine
from absint.analyses.sweep.result import SweepResults
from absint.analyses.taboo.calibrate_record import ThresholdBlock
from absint.analyses.taboo.certificate import TabooCertificate
from absint.analyses.taboo.detection import Detection
from absint.analyses.taboo.detector import TabooDetector as TabooDetector
from absint.analyses.taboo.evaluation_record import PerturbedRow
from absint.analyses.taboo.traps import Traps
from absint.analyses.train.record import EpochRecord
from absint.analyses.train.result import Trained
from absint.analyses.validate.record import Category, Decision
from absint.analyses.validate.validator import RadiusValidator as RadiusValidator
from absint.analyses.verify.options import VerifyOptions as VerifyOptions
from absint.api import load as load, stream as stream
from absint.contract.analysis import register_analysis as register_analysis
from absint.contract.results import Results as Results
from absint.engine.domain import Domain
from absint.errors import AbsintError as AbsintError
from absint.model.graph import Graph as Graph
from absint.problem.dataset import Dataset
from absint.problem.query import Query, read_query as read_query
from absint.problem.regions.region import Region as Region
from absint.problem.spec import Spec as Spec
from absint.registry import load_plugin as load_plugin
from absint.reports.interface import register_format as register_format
from absint.runs.executors import register_executor as register_executor
from absint.search.strategy import Strategy
from absint.verdict import InstanceResult as InstanceResult, Verdict as Verdict

ABSINT_CONTRACT: int
__version__: str
ArrayLike = Tensor | np.ndarray[Any, Any] | Sequence[Any]

def bounds(
    graph: Graph | Module | str | Path = ...,
    inputs: ArrayLike | Mapping[str, ArrayLike] | Region | Dataset | str | Path | None = ...,
    eps: float | str | Fraction | ArrayLike | None = ..., *, plugin: Sequence[str | Path] = ..., total_timeout: float | None = ...,
    device: str = ..., memory: int | str | None = ..., threads: int | None = ..., executor: str = ..., processes: int | None = ...,
    address: str | None = ..., journal: str | Path | None = ..., resume: bool = ..., output: str | None = ...,
    normalisation: bool = ..., compose: Sequence[Graph | Module | str | Path] | Graph | Module | str | Path = ...,
    rescale: bool = ..., as_is: bool = ..., classifier_range: tuple[float, float] | str | None = ...,
    mean: str | Sequence[float] | None = ..., std: str | Sequence[float] | None = ..., layout: str = ...,
    labels: ArrayLike | str | Path | None = ..., index: str | None = ..., sample: int | None = ..., seed: int = ...,
    key: str | None = ..., label_column: str | int | None = ..., scale: float | str | Fraction | None = ...,
    clip: tuple[float, float] | str | None = ..., batch: int | None = ..., tensors: str | Sequence[str] | None = ...,
    domain: str | Domain[Any] | Strategy | Sequence[str | Domain[Any] | Strategy] = ..., norm: str | float = ...,
    brightness: str | None = ..., contrast: str | None = ..., box: tuple[ArrayLike, ArrayLike] | Region | str | Path | None = ...,
    dtype: str = ..., rounding: bool = ..., timeout: float | str | None = ..., differentiable: bool = ..., affine: bool = ...,
    on_record: Callable[[Any], None] | None = ..., progress: bool = ...,
) -> BoundsByTensor:
    """Bound tensors of the network over all inputs within eps of the given ones."""

def clever(
    graph: Graph | Module | str | Path = ...,
    inputs: ArrayLike | Mapping[str, ArrayLike] | Region | Dataset | str | Path | None = ..., *, plugin: Sequence[str | Path] = ...,
    total_timeout: float | None = ..., device: str = ..., memory: int | str | None = ..., threads: int | None = ...,
    executor: str = ..., processes: int | None = ..., address: str | None = ..., journal: str | Path | None = ..., resume: bool = ...,
    output: str | None = ..., normalisation: bool = ...,
    compose: Sequence[Graph | Module | str | Path] | Graph | Module | str | Path = ..., rescale: bool = ..., as_is: bool = ...,
    classifier_range: tuple[float, float] | str | None = ..., mean: str | Sequence[float] | None = ...,
    std: str | Sequence[float] | None = ..., layout: str = ..., labels: ArrayLike | str | Path | None = ..., index: str | None = ...,
    sample: int | None = ..., seed: int = ..., key: str | None = ..., label_column: str | int | None = ...,
    scale: float | str | Fraction | None = ..., clip: tuple[float, float] | str | None = ..., batch: int | None = ...,
    order: int = ..., norm: str | float = ..., radius: float | None = ..., targets: str = ..., batches: int = ..., samples: int = ...,
    transform: str | None = ..., curvature: str = ..., scores: str | None = ..., level: float = ..., dtype: str | None = ...,
    certify: str | Domain[Any] | Strategy | None = ..., tolerance: float | str | Fraction | None = ..., attack: str | None = ...,
    timeout: float | str | None = ..., on_record: Callable[[Any], None] | None = ..., progress: bool = ...,
) -> Results[CleverScore]:
    """Estimate how far each input is from the nearest one of another class: CLEVER scores, per target. No certificate."""

def error_rates(
    graph: Graph | Module | str | Path = ...,
    inputs: ArrayLike | Mapping[str, ArrayLike] | Region | Dataset | str | Path | None = ...,
    labels: ArrayLike | str | Path | None = ..., eps: float | str | Fraction = ..., *, plugin: Sequence[str | Path] = ...,
    total_timeout: float | None = ..., device: str = ..., memory: int | str | None = ..., threads: int | None = ...,
    executor: str = ..., processes: int | None = ..., address: str | None = ..., journal: str | Path | None = ..., resume: bool = ...,
    output: str | None = ..., normalisation: bool = ...,
    compose: Sequence[Graph | Module | str | Path] | Graph | Module | str | Path = ..., rescale: bool = ..., as_is: bool = ...,
    classifier_range: tuple[float, float] | str | None = ..., mean: str | Sequence[float] | None = ...,
    std: str | Sequence[float] | None = ..., layout: str = ..., index: str | None = ..., sample: int | None = ..., seed: int = ...,
    key: str | None = ..., label_column: str | int | None = ..., scale: float | str | Fraction | None = ...,
    clip: tuple[float, float] | str | None = ..., batch: int | None = ...,
    domains: str | Domain[Any] | Strategy | Sequence[str | Domain[Any] | Strategy] = ..., only_open: bool = ..., dtype: str = ...,
    attack_steps: int = ..., restarts: int = ..., rate: float | None = ..., timeout: float | str | None = ...,
    on_record: Callable[[Any], None] | None = ..., progress: bool = ...,
) -> Results[ImageErrors]:
    """Errors of a classifier: clean, under attack, and verified by each domain, side by side."""

def global_correctness(
    classifier: Sequence[Graph | Module | str | Path] | Graph | Module | str | Path = ...,
    generator: Mapping[int, Graph | Module | str | Path] | Sequence[str] | str = ..., *, plugin: Sequence[str | Path] = ...,
    total_timeout: float | None = ..., device: str = ..., memory: int | str | None = ..., threads: int | None = ...,
    executor: str = ..., processes: int | None = ..., address: str | None = ..., journal: str | Path | None = ..., resume: bool = ...,
    conditional: Graph | Module | str | Path | None = ..., one_hot: str = ..., classes: str | None = ..., rescale: bool = ...,
    as_is: bool = ..., classifier_range: tuple[float, float] | str | None = ..., mean: str | Sequence[float] | None = ...,
    std: str | Sequence[float] | None = ..., layout: str = ..., latent: str = ..., seed: int = ...,
    level: float | str | Fraction = ..., simultaneous: bool = ..., sequential: bool = ...,
    stop_width: float | str | Fraction | None = ..., batch: int | None = ..., grid: str | Path | None = ..., draws: int = ...,
    block: int = ..., on_record: Callable[[Any], None] | None = ..., progress: bool = ...,
) -> Results[CorrectnessBlock]:
    """How often a classifier is right on everything that a generator can draw, class by class, with exact intervals."""

def global_robustness(
    classifier: Sequence[Graph | Module | str | Path] | Graph | Module | str | Path = ...,
    generator: Mapping[int, Graph | Module | str | Path] | Sequence[str] | str = ...,
    eps: float | str | Fraction | Sequence[float | str | Fraction] = ..., *, plugin: Sequence[str | Path] = ...,
    total_timeout: float | None = ..., device: str = ..., memory: int | str | None = ..., threads: int | None = ...,
    executor: str = ..., processes: int | None = ..., address: str | None = ..., journal: str | Path | None = ..., resume: bool = ...,
    domain: str | Domain[Any] | Strategy = ..., dtype: str = ..., conditional: Graph | Module | str | Path | None = ...,
    one_hot: str = ..., classes: str | None = ..., rescale: bool = ..., as_is: bool = ...,
    classifier_range: tuple[float, float] | str | None = ..., mean: str | Sequence[float] | None = ...,
    std: str | Sequence[float] | None = ..., layout: str = ..., latent: str = ..., seed: int = ...,
    level: float | str | Fraction = ..., simultaneous: bool = ..., sequential: bool = ...,
    stop_width: float | str | Fraction | None = ..., batch: int | None = ..., grid: str | Path | None = ..., draws: int = ...,
    timeout: float | str | None = ..., attack: str | None = ..., on_record: Callable[[Any], None] | None = ..., progress: bool = ...,
) -> Results[LatentRobustness]:
    """How often a classifier is right everywhere within a radius of what a generator draws, class by class, with exact intervals."""

def inspect(
    graph: Graph | Module | str | Path = ..., *, plugin: Sequence[str | Path] = ..., total_timeout: float | None = ...,
    device: str = ..., memory: int | str | None = ..., threads: int | None = ..., executor: str = ..., processes: int | None = ...,
    address: str | None = ..., journal: str | Path | None = ..., resume: bool = ..., output: str | None = ...,
    normalisation: bool = ..., compose: Sequence[Graph | Module | str | Path] | Graph | Module | str | Path = ...,
    rescale: bool = ..., as_is: bool = ..., classifier_range: tuple[float, float] | str | None = ...,
    on_record: Callable[[Any], None] | None = ..., progress: bool = ...,
) -> Inspection:
    """Show every node: operator, shapes, treatment, parameters, neurons, names; and every problem at once."""

def radius(
    graph: Graph | Module | str | Path = ...,
    inputs: ArrayLike | Mapping[str, ArrayLike] | Region | Dataset | str | Path | None = ..., *, plugin: Sequence[str | Path] = ...,
    total_timeout: float | None = ..., device: str = ..., memory: int | str | None = ..., threads: int | None = ...,
    executor: str = ..., processes: int | None = ..., address: str | None = ..., journal: str | Path | None = ..., resume: bool = ...,
    domain: str | Domain[Any] | Strategy | None = ..., dtype: str = ..., timeout: float | str | None = ..., semantics: str = ...,
    attack: str | None = ..., max_generators: int | None = ..., base: str | None = ..., solver: str | None = ...,
    neurons: int | None = ..., timeout_lp: float | None = ..., timeout_milp: float | None = ..., output: str | None = ...,
    normalisation: bool = ..., compose: Sequence[Graph | Module | str | Path] | Graph | Module | str | Path = ...,
    rescale: bool = ..., as_is: bool = ..., classifier_range: tuple[float, float] | str | None = ...,
    mean: str | Sequence[float] | None = ..., std: str | Sequence[float] | None = ..., layout: str = ...,
    labels: ArrayLike | str | Path | None = ..., index: str | None = ..., sample: int | None = ..., seed: int = ...,
    key: str | None = ..., label_column: str | int | None = ..., scale: float | str | Fraction | None = ...,
    clip: tuple[float, float] | str | None = ..., batch: int | None = ..., exact: bool = ..., upper: float | str | Fraction = ...,
    tolerance: float | str | Fraction = ..., norm: str | float = ..., fan: int | None = ..., accept_solver: bool = ...,
    on_record: Callable[[Any], None] | None = ..., progress: bool = ...,
) -> Results[RadiusResult]:
    """Bracket each input's robustness radius: proved up to the one, a counterexample from the other on."""

def sweep(
    graphs: Graph | Module | str | Path | Sequence[Graph | Module | str | Path] = ...,
    inputs: ArrayLike | Mapping[str, ArrayLike] | Region | Dataset | str | Path | None = ...,
    labels: ArrayLike | str | Path | None = ..., eps: float | str | Fraction | Sequence[float | str | Fraction] = ..., *,
    plugin: Sequence[str | Path] = ..., total_timeout: float | None = ..., device: str = ..., memory: int | str | None = ...,
    threads: int | None = ..., executor: str = ..., processes: int | None = ..., address: str | None = ...,
    journal: str | Path | None = ..., resume: bool = ..., output: str | None = ..., normalisation: bool = ...,
    compose: Sequence[Graph | Module | str | Path] | Graph | Module | str | Path = ..., rescale: bool = ..., as_is: bool = ...,
    classifier_range: tuple[float, float] | str | None = ..., mean: str | Sequence[float] | None = ...,
    std: str | Sequence[float] | None = ..., layout: str = ..., index: str | None = ..., sample: int | None = ...,
    seeds: int | Sequence[int] = ..., key: str | None = ..., label_column: str | int | None = ...,
    scale: float | str | Fraction | None = ..., clip: tuple[float, float] | str | None = ..., batch: int | None = ...,
    norms: str | float | Sequence[str | float] = ...,
    domains: str | Domain[Any] | Strategy | Sequence[str | Domain[Any] | Strategy] = ...,
    output_range: tuple[ArrayLike, ArrayLike] | str | Path | None = ..., target: int | None = ..., dtype: str = ...,
    semantics: str = ..., attack: str | None = ..., accept_solver: bool = ..., timeout: float | str | None = ...,
    on_record: Callable[[Any], None] | None = ..., progress: bool = ...,
) -> SweepResults:
    """Verify at several radii, by several domains, of several networks: curves, and who proves what others do not."""

def taboo_calibrate(
    graph: Graph | Module | str | Path = ...,
    inputs: ArrayLike | Mapping[str, ArrayLike] | Region | Dataset | str | Path | None = ...,
    labels: ArrayLike | str | Path | None = ..., *, plugin: Sequence[str | Path] = ..., total_timeout: float | None = ...,
    device: str = ..., memory: int | str | None = ..., threads: int | None = ..., executor: str = ..., processes: int | None = ...,
    address: str | None = ..., journal: str | Path | None = ..., resume: bool = ..., output: str | None = ...,
    normalisation: bool = ..., compose: Sequence[Graph | Module | str | Path] | Graph | Module | str | Path = ...,
    rescale: bool = ..., as_is: bool = ..., classifier_range: tuple[float, float] | str | None = ...,
    mean: str | Sequence[float] | None = ..., std: str | Sequence[float] | None = ..., layout: str = ..., index: str | None = ...,
    sample: int | None = ..., seed: int = ..., key: str | None = ..., label_column: str | int | None = ...,
    scale: float | str | Fraction | None = ..., clip: tuple[float, float] | str | None = ..., batch: int | None = ...,
    held_out: ArrayLike | Mapping[str, ArrayLike] | Region | Dataset | str | Path | None = ...,
    held_labels: ArrayLike | str | Path | None = ..., hold_out: int | None = ..., keys: Sequence[str] | str | Path | None = ...,
    show_keys: bool = ..., share: float | str | Fraction = ..., policy: str = ..., budget: float | str | Fraction | None = ...,
    rule: str = ..., percentile: float | str | Fraction | None = ..., eps: float | str | Fraction | None = ...,
    exchangeable: bool = ..., domain: str | Domain[Any] | Strategy = ..., block: int = ..., timeout: float | str | None = ...,
    detector: str | Path = ..., onnx: str | Path | None = ..., on_record: Callable[[Any], None] | None = ..., progress: bool = ...,
) -> Results[ThresholdBlock]:
    """Make neurons taboo by secret keys, find their thresholds on training inputs, and write the detector file."""

def taboo_certify(
    graph: Graph | Module | str | Path = ...,
    inputs: ArrayLike | Mapping[str, ArrayLike] | Region | Dataset | str | Path | None = ..., *, plugin: Sequence[str | Path] = ...,
    total_timeout: float | None = ..., device: str = ..., memory: int | str | None = ..., threads: int | None = ...,
    executor: str = ..., processes: int | None = ..., address: str | None = ..., journal: str | Path | None = ..., resume: bool = ...,
    domain: str | Domain[Any] | Strategy = ..., dtype: str = ..., timeout: float | str | None = ..., semantics: str = ...,
    attack: str | None = ..., max_generators: int | None = ..., base: str | None = ..., solver: str | None = ...,
    neurons: int | None = ..., timeout_lp: float | None = ..., timeout_milp: float | None = ..., output: str | None = ...,
    normalisation: bool = ..., compose: Sequence[Graph | Module | str | Path] | Graph | Module | str | Path = ...,
    rescale: bool = ..., as_is: bool = ..., classifier_range: tuple[float, float] | str | None = ...,
    mean: str | Sequence[float] | None = ..., std: str | Sequence[float] | None = ..., layout: str = ...,
    labels: ArrayLike | str | Path | None = ..., index: str | None = ..., sample: int | None = ..., seed: int = ...,
    key: str | None = ..., label_column: str | int | None = ..., scale: float | str | Fraction | None = ...,
    clip: tuple[float, float] | str | None = ..., batch: int | None = ..., detector: Traps | str | Path | None = ...,
    trap: int | str | None = ..., eps: float | str | Fraction = ..., radius: bool = ..., alarms: bool = ...,
    upper: float | str | Fraction = ..., tolerance: float | str | Fraction = ..., on_record: Callable[[Any], None] | None = ...,
    progress: bool = ...,
) -> Results[TabooCertificate]:
    """Prove that a taboo trap stays quiet on all of a ball around each input, and so what an alarm proves."""

def taboo_detect(
    graph: Graph | Module | str | Path = ...,
    inputs: ArrayLike | Mapping[str, ArrayLike] | Region | Dataset | str | Path | None = ..., *, plugin: Sequence[str | Path] = ...,
    total_timeout: float | None = ..., device: str = ..., memory: int | str | None = ..., threads: int | None = ...,
    executor: str = ..., processes: int | None = ..., address: str | None = ..., journal: str | Path | None = ..., resume: bool = ...,
    output: str | None = ..., normalisation: bool = ...,
    compose: Sequence[Graph | Module | str | Path] | Graph | Module | str | Path = ..., rescale: bool = ..., as_is: bool = ...,
    classifier_range: tuple[float, float] | str | None = ..., mean: str | Sequence[float] | None = ...,
    std: str | Sequence[float] | None = ..., layout: str = ..., labels: ArrayLike | str | Path | None = ..., index: str | None = ...,
    sample: int | None = ..., seed: int = ..., key: str | None = ..., label_column: str | int | None = ...,
    scale: float | str | Fraction | None = ..., clip: tuple[float, float] | str | None = ..., batch: int | None = ...,
    detector: Traps | str | Path | None = ..., on_record: Callable[[Any], None] | None = ..., progress: bool = ...,
) -> Results[Detection]:
    """Raise the alarm on inputs that make a taboo neuron fire: one forward pass each, in float32."""

def taboo_evaluate(
    graph: Graph | Module | str | Path = ...,
    inputs: ArrayLike | Mapping[str, ArrayLike] | Region | Dataset | str | Path | None = ...,
    labels: ArrayLike | str | Path | None = ..., *, plugin: Sequence[str | Path] = ..., total_timeout: float | None = ...,
    device: str = ..., memory: int | str | None = ..., threads: int | None = ..., executor: str = ..., processes: int | None = ...,
    address: str | None = ..., journal: str | Path | None = ..., resume: bool = ..., output: str | None = ...,
    normalisation: bool = ..., compose: Sequence[Graph | Module | str | Path] | Graph | Module | str | Path = ...,
    rescale: bool = ..., as_is: bool = ..., classifier_range: tuple[float, float] | str | None = ...,
    mean: str | Sequence[float] | None = ..., std: str | Sequence[float] | None = ..., layout: str = ..., index: str | None = ...,
    sample: int | None = ..., seed: int = ..., key: str | None = ..., label_column: str | int | None = ...,
    scale: float | str | Fraction | None = ..., clip: tuple[float, float] | str | None = ..., batch: int | None = ...,
    detector: Traps | str | Path | None = ..., attack: Sequence[str] = ..., region: str = ..., background: float = ...,
    timeout: float | str | None = ..., adversarial: str | Path | None = ..., on_record: Callable[[Any], None] | None = ...,
    progress: bool = ...,
) -> Results[PerturbedRow]:
    """Count alarms on perturbed inputs beside false alarms on clean ones: accuracy, detection, distances, ROC curves, keys against keys."""

def train(
    model: Module | Callable[[tuple[int, ...], int], Module] | str = ..., data: str | Path | None = ..., *,
    plugin: Sequence[str | Path] = ..., total_timeout: float | None = ..., device: str = ..., memory: int | str | None = ...,
    threads: int | None = ..., executor: str = ..., processes: int | None = ..., address: str | None = ...,
    journal: str | Path | None = ..., resume: bool = ..., test: str | Path | None = ..., labels: str | Path | None = ...,
    test_labels: str | Path | None = ..., layout: str = ..., divide: float | None = ..., extra: bool = ...,
    hold_out: int | None = ..., method: str = ..., eps: float | str | Fraction = ..., eps_train: float | str | Fraction | None = ...,
    clip: tuple[float, float] | str | None = ..., epochs: int = ..., steps: int | None = ..., batch_size: int = ...,
    warm_up: str | None = ..., ramp: str | None = ..., ramp_speed: float = ..., curve: str = ..., kappa: float = ...,
    rate: float = ..., drops: str | None = ..., drop_factor: float = ..., elide: bool = ..., width_weight: float | None = ...,
    width_layers: str = ..., domain: str = ..., init: str = ..., augment: str = ..., mean: str | Sequence[float] | None = ...,
    std: str | Sequence[float] | None = ..., seed: int = ..., every: int = ..., attacked: int = ..., attack_steps: int | None = ...,
    restarts: int | None = ..., certify: str = ..., save: str | Path = ..., plots: str | Path | None = ..., plot_format: str = ...,
    tensorboard: bool = ..., checkpoint: float = ..., on_record: Callable[[Any], None] | None = ..., progress: bool = ...,
) -> Trained:
    """Train a network whose bounds are part of the loss, and write it as ONNX: nominal, PGD, IBP, constrained IBP."""

def validate_calibrate(
    graph: Graph | Module | str | Path = ...,
    inputs: ArrayLike | Mapping[str, ArrayLike] | Region | Dataset | str | Path | None = ...,
    labels: ArrayLike | str | Path | None = ..., *, plugin: Sequence[str | Path] = ..., total_timeout: float | None = ...,
    device: str = ..., memory: int | str | None = ..., threads: int | None = ..., executor: str = ..., processes: int | None = ...,
    address: str | None = ..., journal: str | Path | None = ..., resume: bool = ..., domain: str | Domain[Any] | Strategy = ...,
    dtype: str = ..., output: str | None = ..., normalisation: bool = ...,
    compose: Sequence[Graph | Module | str | Path] | Graph | Module | str | Path = ..., rescale: bool = ..., as_is: bool = ...,
    classifier_range: tuple[float, float] | str | None = ..., mean: str | Sequence[float] | None = ...,
    std: str | Sequence[float] | None = ..., layout: str = ..., index: str | None = ..., sample: int | None = ..., seed: int = ...,
    key: str | None = ..., label_column: str | int | None = ..., scale: float | str | Fraction | None = ...,
    clip: tuple[float, float] | str | None = ..., batch: int | None = ..., timeout: float | str | None = ...,
    upper: float | str | Fraction = ..., tolerance: float | str | Fraction = ..., norm: str | float = ...,
    rate: float | str | Fraction = ..., window: int = ..., sigma0: float | str | Fraction | None = ..., sigma1: float = ...,
    calibration: str | Path = ..., on_record: Callable[[Any], None] | None = ..., progress: bool = ...,
) -> Results[RadiusResult]:
    """Find the threshold that rejects no more valid inputs than a tolerated rate, and write it to a file."""

def validate_evaluate(
    graph: Graph | Module | str | Path = ...,
    inputs: ArrayLike | Mapping[str, ArrayLike] | Region | Dataset | str | Path | None = ...,
    labels: ArrayLike | str | Path | None = ..., *, plugin: Sequence[str | Path] = ..., total_timeout: float | None = ...,
    device: str = ..., memory: int | str | None = ..., threads: int | None = ..., executor: str = ..., processes: int | None = ...,
    address: str | None = ..., journal: str | Path | None = ..., resume: bool = ..., domain: str | Domain[Any] | Strategy = ...,
    dtype: str = ..., output: str | None = ..., normalisation: bool = ...,
    compose: Sequence[Graph | Module | str | Path] | Graph | Module | str | Path = ..., rescale: bool = ..., as_is: bool = ...,
    classifier_range: tuple[float, float] | str | None = ..., mean: str | Sequence[float] | None = ...,
    std: str | Sequence[float] | None = ..., layout: str = ..., index: str | None = ..., sample: int | None = ..., seed: int = ...,
    key: str | None = ..., label_column: str | int | None = ..., scale: float | str | Fraction | None = ...,
    clip: tuple[float, float] | str | None = ..., batch: int | None = ..., timeout: float | str | None = ...,
    upper: float | str | Fraction = ..., tolerance: float | str | Fraction = ..., norm: str | float = ...,
    rate: float | str | Fraction = ..., window: int = ..., sigma0: float | str | Fraction | None = ..., sigma1: float = ...,
    count: int = ..., calibrate: int = ..., attack: Sequence[str] = ..., thresholds: str | Sequence[float] | None = ...,
    adversarial: str | Path | None = ..., on_record: Callable[[Any], None] | None = ..., progress: bool = ...,
) -> Results[Category]:
    """Measure how well radii tell valid inputs from misclassified and adversarial ones: tables, ROC curves, histograms."""

def validate_run(
    graph: Graph | Module | str | Path = ...,
    inputs: ArrayLike | Mapping[str, ArrayLike] | Region | Dataset | str | Path | None = ..., *, plugin: Sequence[str | Path] = ...,
    total_timeout: float | None = ..., device: str = ..., memory: int | str | None = ..., threads: int | None = ...,
    executor: str = ..., processes: int | None = ..., address: str | None = ..., journal: str | Path | None = ..., resume: bool = ...,
    output: str | None = ..., normalisation: bool = ...,
    compose: Sequence[Graph | Module | str | Path] | Graph | Module | str | Path = ..., rescale: bool = ..., as_is: bool = ...,
    classifier_range: tuple[float, float] | str | None = ..., mean: str | Sequence[float] | None = ...,
    std: str | Sequence[float] | None = ..., layout: str = ..., index: str | None = ..., sample: int | None = ..., seed: int = ...,
    key: str | None = ..., label_column: str | int | None = ..., scale: float | str | Fraction | None = ..., batch: int | None = ...,
    timeout: float | str | None = ..., calibration: str | Path | None = ..., mode: str = ..., state: str | Path | None = ...,
    on_record: Callable[[Any], None] | None = ..., progress: bool = ...,
) -> Results[Decision]:
    """Accept or reject each input. Labels are neither needed nor read: the class that has to stay is the predicted one."""

def verify(
    graph: Graph | Module | str | Path = ...,
    inputs: ArrayLike | Mapping[str, ArrayLike] | Region | Dataset | str | Path | None = ...,
    labels: ArrayLike | str | Path | None = ..., eps: float | str | Fraction | ArrayLike | None = ..., *,
    plugin: Sequence[str | Path] = ..., total_timeout: float | None = ..., device: str = ..., memory: int | str | None = ...,
    threads: int | None = ..., executor: str = ..., processes: int | None = ..., address: str | None = ...,
    journal: str | Path | None = ..., resume: bool = ..., domain: str | Domain[Any] | Strategy = ..., dtype: str = ...,
    timeout: float | str | None = ..., semantics: str = ..., attack: str | None = ..., max_generators: int | None = ...,
    base: str | None = ..., solver: str | None = ..., neurons: int | None = ..., timeout_lp: float | None = ...,
    timeout_milp: float | None = ..., output: str | None = ..., normalisation: bool = ...,
    compose: Sequence[Graph | Module | str | Path] | Graph | Module | str | Path = ..., rescale: bool = ..., as_is: bool = ...,
    classifier_range: tuple[float, float] | str | None = ..., mean: str | Sequence[float] | None = ...,
    std: str | Sequence[float] | None = ..., layout: str = ..., index: str | None = ..., sample: int | None = ..., seed: int = ...,
    key: str | None = ..., label_column: str | int | None = ..., scale: float | str | Fraction | None = ...,
    clip: tuple[float, float] | str | None = ..., batch: int | None = ..., norm: str | float = ..., patch: str | None = ...,
    brightness: str | None = ..., contrast: str | None = ..., box: tuple[ArrayLike, ArrayLike] | Region | str | Path | None = ...,
    output_range: tuple[ArrayLike, ArrayLike] | str | Path | None = ..., targets: ArrayLike | int | None = ..., rounding: bool = ...,
    accept_solver: bool = ..., evidence: bool = ..., witness: str | Path | None = ..., on_record: Callable[[Any], None] | None = ...,
    progress: bool = ...,
) -> Results[InstanceResult]:
    """Prove that every input within eps of each given one (or under a patch, or a change of light, or in a box) keeps its class."""

def verify_query(
    graph: Graph | Module | str | Path | None = ..., query: Query | str | Path | None = ..., *, plugin: Sequence[str | Path] = ...,
    total_timeout: float | None = ..., device: str = ..., memory: int | str | None = ..., threads: int | None = ...,
    executor: str = ..., processes: int | None = ..., address: str | None = ..., journal: str | Path | None = ..., resume: bool = ...,
    domain: str | Domain[Any] | Strategy = ..., dtype: str = ..., timeout: float | str | None = ..., semantics: str = ...,
    attack: str | None = ..., max_generators: int | None = ..., base: str | None = ..., solver: str | None = ...,
    neurons: int | None = ..., timeout_lp: float | None = ..., timeout_milp: float | None = ..., output: str | None = ...,
    normalisation: bool = ..., instances: str | Path | None = ..., serialise_assignments: str | Path | None = ...,
    batch: int | None = ..., rounding: bool = ..., accept_solver: bool = ..., evidence: bool = ..., witness: str | Path | None = ...,
    on_record: Callable[[Any], None] | None = ..., progress: bool = ...,
) -> QueryResult:
    """Answer a VNN-LIB query about a network: the first line of stdout is sat, unsat, unknown or timed-out."""
