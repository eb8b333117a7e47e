"""Sessions of the INT4 engine: batches of int8 images on the processor or on one GPU, in torch."""

from collections.abc import Callable, Mapping
from typing import Any

import torch

from autosinian.engine.device_session import DeviceSession, batch_sizes
from autosinian.engine.processor import usable_cores
from autosinian.engine.torch_lane import Batches, Layout, Network, Placed, as_tensor, use_threads
from autosinian.engine.torch_session import GATHERING_THREADS, serve, told_failure
from autosinian.int4.cpu_executor import CpuExecutor
from autosinian.int4.images import STEP
from autosinian.int4.model import Model
from autosinian.int4.predict import scaled


def open_session(model: Model, batch_size: int, options: Mapping[str, Any]) -> DeviceSession:
    """A session on the first GPU where `options` has `graphs`, else on the processor.

    Samples are int8 in the network's steps, or float32 that are divided by `STEP`; logits are
    scaled. Raises `InputError` for an autoconfig that does not fit, `TrialFailure` for too little
    memory.
    """
    sizes = batch_sizes(batch_size, options["partial_batch"])
    layout = Layout(model.network.input_shape, torch.int8, channels_last=False, step=STEP)
    classes = model.network.classes
    if "graphs" not in options:
        networks = _on_processor(model, sizes, int(options["threads"]))
        batches = Batches(networks, layout, classes)
        return serve(lambda: batches, torch.device("cpu"), batch_size, 1, options)
    # The processor only gathers samples.
    use_threads(min(usable_cores(), GATHERING_THREADS))
    with told_failure("the model cannot be opened", "performance", batch_size):
        device, make = networks_on_gpu(model, sizes)
    placed = Placed()

    def of_a_stream() -> Batches:
        # Buffers of a network are its own, so each stream has one; weights are shared.
        return Batches(make(), layout, classes, placed)

    return serve(of_a_stream, device, batch_size, 1, options)


def prove(model: Model, batch_size: int, *, gpu: bool) -> None:
    """Run a batch of zeros once, of one image on the processor. Raises as `open_session`."""
    size, device = (batch_size, torch.device("cuda", 0)) if gpu else (1, torch.device("cpu"))
    with told_failure(f"the model cannot run at batch {size}", "build", size):
        if gpu:
            device, make = networks_on_gpu(model, (size,))
            run = make()[size]
        else:
            run = _on_processor(model, (size,), 1)[size]
        images = torch.zeros((size, *model.network.input_shape), dtype=torch.int8, device=device)
        with torch.inference_mode():
            run(images).cpu()


def _on_processor(model: Model, sizes: tuple[int, ...], threads: int) -> dict[int, Network]:
    network = model.network
    executor = CpuExecutor(network, threads)

    def run(images: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(scaled(network, executor.logits(images.numpy())))

    return dict.fromkeys(sizes, run)


def networks_on_gpu(
    model: Model, sizes: tuple[int, ...]
) -> tuple[torch.device, Callable[[], dict[int, Network]]]:
    """The device, and what makes networks with buffers of their own."""
    from autosinian.int4.gpu.chosen import chosen
    from autosinian.int4.gpu.device import open_device
    from autosinian.int4.gpu.executor import Executor, PreparedNetwork
    from autosinian.int4.gpu.plan import plan
    from autosinian.int4.gpu.served import ServedNetwork

    device, planned = open_device(), plan(model.network)
    choices = chosen(planned, model.autoconfig, device.shared_bytes)
    prepared = PreparedNetwork(planned, device)
    scale = as_tensor(model.network.out_scale).to(device.torch_device)

    def network_for(size: int) -> Network:
        return ServedNetwork(Executor(prepared, size, choices), scale)

    return device.torch_device, lambda: {size: network_for(size) for size in sizes}
