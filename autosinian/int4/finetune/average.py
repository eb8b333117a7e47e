"""The moving average of a network's weights, kept by a few launches a step."""

import copy

import torch


class WeightAverage:
    """An exponential moving average of parameters and batch-norm statistics over `window` steps.

    The window is shorter at the start: after `n` steps it is at most `n / 4`, so that the first
    weights are soon forgotten. `module` is the average, in eval mode.
    """

    def __init__(self, module: torch.nn.Module, window: float) -> None:
        self.module = copy.deepcopy(module).eval()
        self._window = window
        self._steps = 0
        # Listed once: a state dict of a ResNet-50 takes the host milliseconds.
        own, new = self.module.state_dict(), module.state_dict()
        names = [name for name in own if own[name].is_floating_point()]
        self._own, self._new = [own[name] for name in names], [new[name] for name in names]

    def update(self) -> None:
        """Take the weights as they are now, after one more step."""
        self._steps += 1
        weight = max(1 / (1 + self._window), 1 / (1 + self._steps / 4))
        torch._foreach_lerp_(self._own, self._new, weight)
