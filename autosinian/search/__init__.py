"""The Optuna study: warm start, sampling, constraints, resume; may import every room but cli."""

from autosinian.search.strategy.joint import JointSampler

__all__ = ["JointSampler"]
