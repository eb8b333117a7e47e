"""Batch-norm statistics of one subnet at one resolution."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from autosinian.supernet.heap import kept_heap

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray


def recalibrate_batch_norm(
    module: "torch.nn.Module", images: "NDArray[np.float32]", batch_size: int = 200
) -> None:
    """Set the running statistics of every batch norm of `module` from `images`, in place.

    `images` is `N x 3 x r x r` float32, normalised as for inference. Statistics are the batch
    means and biased batch variances averaged with the batch sizes as weights, each layer fed by
    layers that normalise with the statistics of the same batch: once-for-all's
    `set_running_statistics`. Batches are drawn in a fixed shuffled order, and the same images
    give the same statistics.
    """
    import numpy as np
    import torch

    # Images sorted by class would make batches of one class, whose variance is too small.
    order = np.random.default_rng(0).permutation(len(images))

    device = next(module.parameters()).device

    def batches() -> "Iterator[torch.Tensor]":
        for start in range(0, len(images), batch_size):
            batch = torch.from_numpy(images[order[start : start + batch_size]]).to(device)
            # Two to eight times faster on CPUs, which are slow at depthwise layers in NCHW.
            yield batch.contiguous(memory_format=torch.channels_last)

    with kept_heap():
        recalibrate_from_batches(module, batches())


def recalibrate_from_batches(module: "torch.nn.Module", batches: "Iterator[torch.Tensor]") -> None:
    """As `recalibrate_batch_norm`, from an iterator over `n x 3 x r x r` tensors."""
    import torch

    sums: dict[torch.nn.BatchNorm2d, tuple[Any, Any]] = {}
    count = 0

    def collect(layer: torch.nn.BatchNorm2d) -> Callable[[Any, tuple[torch.Tensor], Any], None]:
        def hook(_: Any, inputs: tuple[torch.Tensor], __: Any) -> None:
            assert layer.running_mean is not None and layer.running_var is not None
            n, values = len(inputs[0]), inputs[0].numel() // inputs[0].shape[1]
            biased = layer.running_var * ((values - 1) / values)
            mean, variance = sums.get(layer, (0.0, 0.0))
            sums[layer] = (mean + layer.running_mean * n, variance + biased * n)

        return hook

    layers = [m for m in module.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    was_training = module.training
    momenta = [layer.momentum for layer in layers]
    handles = [layer.register_forward_hook(collect(layer)) for layer in layers]
    try:
        module.eval()
        for layer in layers:
            # Training mode normalises with the batch's own statistics; momentum 1 leaves just
            # these in the running ones (the variance unbiased), where the hook reads them.
            layer.train()
            layer.momentum = 1.0
        with torch.no_grad():
            for batch in batches:
                module(batch)
                count += len(batch)
    finally:
        for handle in handles:
            handle.remove()
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
        module.train(was_training)
    for layer, (mean, variance) in sums.items():
        assert layer.running_mean is not None and layer.running_var is not None
        layer.running_mean.copy_(mean / count)
        layer.running_var.copy_(variance / count)
