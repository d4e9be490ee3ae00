"""A method of training: what a batch costs. One file each; a stranger's joins by the entry points `absint.training`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from typing import Any, ClassVar, TypeVar

from torch import Tensor

from absint.analyses.train.step import Step
from absint.engine.domain_options import summary_of
from absint.errors import AbsintError, PluginError, UsageError, shown
from absint.numeric.backend import is_out_of_memory
from absint.registry import Registry

M = TypeVar("M", bound="type[TrainingMethod]")


class TrainingMethod(ABC):
    """A frozen dataclass whose fields are its options; its docstring says what it does and where it comes from.

    width_weight: of the sum of squared widths of the layers' bounds that is added to its loss; --width-weight overrides it.
    """

    width_weight: ClassVar[float] = 0.0

    @abstractmethod
    def loss(self, step: Step) -> Tensor | Iterator[Tensor]:
        """What is minimised, a scalar with a gradient to the parameters of the step.

        Or terms that add up to it, yielded one by one: the gradient of each is taken before the next is asked for, and what it kept is
        freed. Terms of which two rest on the same bounds, or the same logits, are one term.
        """


def terms_of(method: TrainingMethod, step: Step) -> Iterator[Tensor]:
    """What a batch costs, term by term: scalars with a gradient. Raises PluginError E-METHOD-RAISED, E-METHOD-LOSS: a stranger's method."""
    name = type(method).__name__
    try:
        loss = method.loss(step)
        for term in (loss,) if isinstance(loss, Tensor) or not isinstance(loss, Iterator) else loss:
            yield _checked(term, name)
    except AbsintError:
        raise
    except Exception as error:
        if type(method).__module__.startswith("absint.") or is_out_of_memory(error):
            raise
        raise PluginError("E-METHOD-RAISED", f"the training method raised {type(error).__name__}: {error}", where=name,
                          hint="--debug shows the traceback") from error


def _checked(loss: object, name: str) -> Tensor:
    if not isinstance(loss, Tensor) or loss.dim() or not loss.requires_grad:
        what = f"a tensor of shape {tuple(loss.shape)}" if isinstance(loss, Tensor) and loss.dim() else (
            "a number without a gradient" if isinstance(loss, (Tensor, float)) else type(loss).__name__)
        raise PluginError("E-METHOD-LOSS", f"the loss is {what}", where=name,
                          hint="return a scalar tensor that depends on step.graph, such as step.clean or step.worst")
    return loss


METHODS: Registry[Callable[..., TrainingMethod]] = Registry("training method", "absint.training")


def register_training(name: str) -> Callable[[M], M]:
    """Class decorator: make the method known under `name` (plug-in files; packages use entry points)."""

    def enter(cls: M) -> M:
        METHODS.add(name, cls)
        return cls

    return enter


def method_of(text: str) -> TrainingMethod:
    """'ibp', or 'pgd:steps=10,rate=0.1': the method with options. Raises UsageError E-TRAIN-METHOD, PluginError E-PLUGIN-CONTRACT."""
    name, _, rest = text.partition(":")
    if name not in METHODS:
        raise UsageError("E-TRAIN-METHOD", f"no training method is called {shown(name)}", where="--method",
                         hint=f"known: {', '.join(METHODS.names())}; --plugin FILE adds one")
    kind: Any = METHODS.get(name)
    known = {one.name: one for one in fields(kind) if one.init} if is_dataclass(kind) else {}
    values: dict[str, Any] = {}
    for part in filter(None, rest.split(",")):
        key, equals, value = part.partition("=")
        if key not in known or not equals:
            raise UsageError("E-TRAIN-METHOD", f"'{name}' has no option {shown(key)}", where="--method",
                             hint=f"known: {', '.join(known) or 'none'}; {name}:OPTION=VALUE")
        values[key] = _read(value, type(known[key].default), part)
    try:
        made = kind(**values)
    except (TypeError, ValueError) as error:
        raise UsageError("E-TRAIN-METHOD", str(error), where=f"--method {text}") from error
    if not isinstance(made, TrainingMethod):
        raise PluginError("E-PLUGIN-CONTRACT", f"'{name}' is no TrainingMethod", where=name, hint="see docs/extending.md")
    return made


def _read(text: str, kind: type, part: str) -> Any:
    try:
        return text in ("true", "1") if kind is bool else kind(text)
    except (TypeError, ValueError) as error:
        raise UsageError("E-TRAIN-METHOD", f"not a value: {shown(part)}", where="--method", hint=f"it takes {kind.__name__}") from error


def described() -> list[tuple[str, str]]:
    """Name and first line of every method."""
    return [(name, summary_of(METHODS.get(name))) for name in METHODS.names()]  # type: ignore[arg-type]
