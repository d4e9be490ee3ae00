"""The networks that are meant where none are named."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

from absint.analyses.global_robustness.options import GlobalOptions

O = TypeVar("O", bound=GlobalOptions)  # noqa: E741


def with_bundled(options: O) -> O:
    """With bundled networks where none are named; images of bundled generators are mapped to the classifier's range."""
    from absint import samples

    nets = options.net if isinstance(options.net, tuple) else (options.net,)
    made = replace(options, net=tuple(net for net in nets if net is not None) or (samples.classifier_path(),))
    if options.generator or options.conditional is not None:
        return made
    return replace(made, generator=tuple(f"{digit}={samples.generator_path(digit)}" for digit in samples.digits()),
                   rescale=options.rescale or not options.as_is)
