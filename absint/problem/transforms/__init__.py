"""What may stand before a network although it has no derivative: bit depth, JPEG, or a plug-in's. By name, applied to batches."""

from absint.problem.transforms.applied import Applied, transform_of
from absint.problem.transforms.interface import TRANSFORMS, Frame, Transform, register_transform

__all__ = ["TRANSFORMS", "Applied", "Frame", "Transform", "register_transform", "transform_of"]
