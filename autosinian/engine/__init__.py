"""Engines that compile and run ONNX networks; may import space, errors, content and quantize's
rewrites of ONNX graphs, never torch except in the PyTorch engine."""

from autosinian.engine.protocol import Engine, OnDone, Session, Tunable
from autosinian.engine.registry import engine_names, get_engine

__all__ = ["Engine", "OnDone", "Session", "Tunable", "engine_names", "get_engine"]
