"""Engines that compile and run ONNX networks; may import space, errors and content, never torch
except in the PyTorch engine."""
