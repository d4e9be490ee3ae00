"""Certified training: networks whose bounds are part of the loss, and that end as verified ONNX files."""
