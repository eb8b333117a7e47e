"""Auto-tuner for the fastest neural network that is accurate enough on the hardware at hand."""

__version__ = "0.1.0"
