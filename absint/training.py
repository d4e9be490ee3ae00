"""For those who write a training method. A public face of `absint.analyses.train`."""

from absint.analyses.train.method import METHODS, TrainingMethod, method_of, register_training
from absint.analyses.train.step import Step, ball, layer_widths

__all__ = ["METHODS", "Step", "TrainingMethod", "ball", "layer_widths", "method_of", "register_training"]
