"""From the bytes of an ONNX file to a session: on the processor, or on one GPU."""

import contextlib
import gc
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import fx

from autosinian.engine.device_session import DeviceSession, batch_sizes
from autosinian.engine.processor import usable_cores
from autosinian.engine.torch_gpu_lane import GpuLane
from autosinian.engine.torch_graph import TorchNetwork, torch_network
from autosinian.engine.torch_lane import Batches, CpuLane, Layout, Network, use_threads
from autosinian.errors import InputError, TrialFailure

# A batch that waits beside each running one: its samples are copied meanwhile.
_LANES_A_STREAM = 2

GATHERING_THREADS = 4

# Samples that are converted at once, so that little memory is needed beside them.
_CHUNK = 256

_TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
# CUDA graphs are captured here, not by torch.compile.
_COMPILE_MODES = {"default": "default", "max-autotune": "max-autotune-no-cudagraphs"}


def prove(
    content: bytes, told: str, precision: str, batch_size: int, options: Mapping[str, Any]
) -> TorchNetwork:
    """Run one batch of zeros. Raises `TrialFailure("build", ...)` where that cannot be."""
    network = torch_network(content, told)
    layout = _layout(network, precision, options)
    device = _device(options)
    _settle(options, streams=1)
    with told_failure(f"{told} cannot run at batch {batch_size}", "build", batch_size):
        run = _networks(network, layout, device, (batch_size,), options)[batch_size]
        rows = torch.zeros(batch_size, layout.row, dtype=layout.dtype, device=device)
        with torch.inference_mode():
            logits = run(layout.images(rows)).float().cpu()
    if tuple(logits.shape) != (batch_size, network.classes):
        raise TrialFailure(
            "build",
            f"{told} must give {batch_size} x {network.classes} logits at batch {batch_size}, but "
            f"gives {' x '.join(map(str, logits.shape))}: is its batch size fixed?",
        )
    return network


def rehearse(
    content: bytes, told: str, precision: str, batch_size: int, options: Mapping[str, Any]
) -> None:
    """`prove`, and leave the GPU's memory to others."""
    prove(content, told, precision, batch_size, options)
    torch.cuda.empty_cache()


def open_session(
    content: bytes, told: str, precision: str, batch_size: int, options: Mapping[str, Any]
) -> DeviceSession:
    """A session on the first GPU where `options` has `graphs`, else on the processor."""
    network = torch_network(content, told)
    layout = _layout(network, precision, options)
    device = _device(options)
    streams = int(options["streams"])
    threads = _settle(options, streams)
    sizes = batch_sizes(batch_size, options["partial_batch"])
    with told_failure(f"{told} cannot be opened with {streams} streams", "performance", batch_size):
        networks = _networks(network, layout, device, sizes, options)
        batches = Batches(networks, layout, network.classes)
    return serve(lambda: batches, device, batch_size, threads, options)


def serve(
    of_a_stream: Callable[[], Batches],
    device: torch.device,
    batch_size: int,
    threads: int,
    options: Mapping[str, Any],
) -> DeviceSession:
    """A session over networks that are ready on `device`, whatever they are made of.

    `of_a_stream` gives the batches of one stream more, all over the same placed samples; where
    networks keep nothing between calls they may be the same for all. `threads` of the processor
    compute one stream's batches. `options` has `streams`, and for a GPU `copy_streams`, `graphs`
    and `samples`, as `TorchEngine` declares them. Samples may come as int8 where the layout has a
    `step`. Raises `TrialFailure` where memory does not suffice.
    """
    streams = int(options["streams"])
    what = f"{streams} streams at batch {batch_size} cannot be opened"
    lanes: list[Sequence[CpuLane | GpuLane]]
    own: CpuLane | GpuLane
    with told_failure(what, "performance", batch_size):
        batches = of_a_stream()
        if device.type == "cpu":
            lanes = [
                [CpuLane(batches, threads) for _ in range(_LANES_A_STREAM)] for _ in range(streams)
            ]
            own = CpuLane(batches, threads)
        else:
            lanes, own = _gpu_lanes(batches, of_a_stream, device, streams, options)
    every = [lane for of_stream in lanes for lane in of_stream] + [own]
    return DeviceSession(
        lanes,
        own,
        batch_size=batch_size,
        input_shape=batches.layout.input_shape,
        classes=batches.classes,
        takes_int8=batches.layout.step is not None,
        place=_placer(batches, every, device, resident=options.get("samples") == "device"),
        release=_releaser(batches, every, device),
    )


def warm(*, on_gpu: bool) -> None:
    """Make the GPU's context and load cuDNN and cuBLAS, which takes seconds once a process."""
    if not on_gpu or not torch.cuda.is_available():
        return
    images = torch.zeros(1, 8, 8, 8, device="cuda", dtype=torch.float16)
    with torch.inference_mode():
        torch.nn.functional.conv2d(images, torch.zeros_like(images))
        torch.mm(images[0, 0], images[0, 0])
    torch.cuda.synchronize()


def _device(options: Mapping[str, Any]) -> torch.device:
    if "graphs" not in options:
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise InputError(
            "torch must be built for the GPU that is there, but it finds none "
            f"(torch {torch.__version__}); install torch for this driver, or hide the GPU with "
            "CUDA_VISIBLE_DEVICES="
        )
    return torch.device("cuda", 0)


def _layout(network: TorchNetwork, precision: str, options: Mapping[str, Any]) -> Layout:
    return Layout(network.input_shape, _TYPES[precision], bool(options["channels_last"]))


def _settle(options: Mapping[str, Any], streams: int) -> int:
    """Settings of the process; returns the threads of one stream."""
    torch.backends.cudnn.benchmark = bool(options.get("cudnn_benchmark", False))
    torch.backends.cudnn.deterministic = True
    # Else what is called fp32 has 10 bits of mantissa.
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    if "threads" not in options:
        # On a GPU the processor only gathers samples: threads for all of 32 cores, beside a
        # search that has as many, cost half of the samples/s.
        use_threads(min(usable_cores(), GATHERING_THREADS))
        return 1
    threads = max(1, int(options["threads"]) // streams)
    use_threads(threads)
    return threads


def _networks(
    network: TorchNetwork,
    layout: Layout,
    device: torch.device,
    sizes: Sequence[int],
    options: Mapping[str, Any],
) -> dict[int, Network]:
    """The network for each batch size; compiled ones have run once."""
    module = network.module.to(device=device, dtype=layout.dtype)
    if layout.channels_last:
        module = module.to(memory_format=torch.channels_last)
    mode = options["compile"]
    if mode == "none":
        return dict.fromkeys(sizes, module)
    networks: dict[int, Network] = {}
    for size in sizes:
        # A module of its own has code of its own: torch recompiles one code only so many times.
        alone = fx.GraphModule(module, module.graph)
        compiled = torch.compile(alone, fullgraph=True, dynamic=False, mode=_COMPILE_MODES[mode])
        rows = torch.zeros(size, layout.row, dtype=layout.dtype, device=device)
        with torch.inference_mode():
            compiled(layout.images(rows))
        networks[size] = compiled
    return networks


def _gpu_lanes(
    own_batches: Batches,
    of_a_stream: Callable[[], Batches],
    device: torch.device,
    streams: int,
    options: Mapping[str, Any],
) -> tuple[list[Sequence[CpuLane | GpuLane]], GpuLane]:
    gc.collect()  # what it destroys later would end up in a capture
    resident = options["samples"] == "device"
    copies = [_stream(device) for _ in range(int(options["copy_streams"]))]
    made = 0

    def lanes_of_a_stream(
        batches: Batches, count: int, *, spinning: bool = False
    ) -> list[CpuLane | GpuLane]:
        nonlocal made
        stream = _stream(device)
        pool = torch.cuda.graph_pool_handle() if options["graphs"] else None
        lanes: list[CpuLane | GpuLane] = []
        for _ in range(count):
            copy = copies[made % len(copies)] if copies else None
            lanes.append(
                GpuLane(batches, stream, copy, resident=resident, pool=pool, spinning=spinning)
            )
            made += 1
        return lanes

    lanes: list[Sequence[CpuLane | GpuLane]] = [
        lanes_of_a_stream(of_a_stream(), _LANES_A_STREAM) for _ in range(streams)
    ]
    (own,) = lanes_of_a_stream(own_batches, 1, spinning=True)
    assert isinstance(own, GpuLane)
    return lanes, own


def _stream(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


def _placer(
    batches: Batches, lanes: Sequence[CpuLane | GpuLane], device: torch.device, *, resident: bool
) -> Callable[[NDArray[np.float32]], None]:
    layout, placed = batches.layout, batches.placed
    where = device if resident else torch.device("cpu")

    @torch.inference_mode()
    def place(samples: NDArray[np.float32]) -> None:
        count = len(samples)
        with told_failure(f"{count} samples cannot be placed", "performance", batches.batch_size):
            fresh = placed.rows is None or len(placed.rows) < count
            if fresh:
                placed.rows = None
                placed.rows = torch.empty(count, layout.row, dtype=layout.dtype, device=where)
            assert placed.rows is not None
            converted = torch.empty(min(count, _CHUNK), layout.row, dtype=layout.dtype)
            for first in range(0, count, _CHUNK):
                chunk = np.ascontiguousarray(samples[first : first + _CHUNK])
                rows = converted[: len(chunk)]
                layout.fill(rows, chunk)
                placed.rows[first : first + len(chunk)].copy_(rows)
            if resident and fresh:
                torch.cuda.synchronize(device)
                for lane in lanes:
                    assert isinstance(lane, GpuLane)
                    lane.prepare(resident=True)

    return place


def _releaser(
    batches: Batches, lanes: Sequence[CpuLane | GpuLane], device: torch.device
) -> Callable[[], None]:
    def release() -> None:
        if device.type != "cpu":
            torch.cuda.synchronize(device)
        for lane in lanes:
            lane.release()
        batches.placed.rows = None
        batches.networks.clear()
        if device.type != "cpu":
            torch.cuda.empty_cache()

    return release


@contextlib.contextmanager
def told_failure(what: str, stage: str, batch_size: int) -> Iterator[None]:
    """Turns torch's errors into a failed stage, told in one line."""
    try:
        yield
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = lines[0] if lines else type(error).__name__
        if isinstance(error, torch.OutOfMemoryError) or "out of memory" in reason:
            reason = f"GPU out of memory at batch {batch_size} ({reason})"
            raise TrialFailure(stage, reason) from error
        raise TrialFailure(stage, f"{what}: {reason}") from error


def keep_compiled_beside(engine_file: Path) -> None:
    """Have torch.compile keep its kernels in a folder beside the engine files, for later runs.

    A folder that the environment names comes first, and one that cannot be written is left alone.
    """
    if os.access(engine_file.parent, os.W_OK):
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(engine_file.parent / "inductor"))
