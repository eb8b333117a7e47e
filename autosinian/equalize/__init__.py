"""Rewrites of a `torch.fx` graph that keep a network's function and make it easier to quantize:
batch-norm fold, cross-layer scaling, high-bias fold. May import errors."""
