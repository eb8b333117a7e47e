"""Opens a serialized TensorRT engine as a `DeviceSession`."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from autosinian.engine import cuda
from autosinian.engine.device_session import DeviceSession, batch_sizes
from autosinian.engine.gather import DEVICE_BLOCKS, HOST_BLOCKS, Gather
from autosinian.engine.network_input import NetworkInput
from autosinian.engine.processor import usable_cores
from autosinian.engine.tensorrt_lane import Network, Placed, TensorRtLane
from autosinian.engine.tensorrt_log import fresh_log, last_words, out_of_memory
from autosinian.engine.tensorrt_versions import Library, context_memory_size, load
from autosinian.errors import InputError, TrialFailure

# One runs, one waits behind it; a third is gathered meanwhile where another stream does that.
_LANES_A_STREAM = 2


def open_session(
    serialized: bytes,
    engine_file: Path,
    network_input: NetworkInput,
    library: Library,
    *,
    batch_size: int,
    classes: int,
    ladder: bool,
    options: Mapping[str, Any],
) -> DeviceSession:
    """A session on device 0.

    Raises `InputError` where TensorRT refuses the engine, `TrialFailure` where the GPU's memory
    does not do.
    """
    cuda.start()
    network = _network(serialized, engine_file, network_input, library, classes, ladder)
    parts: list[Any] = []

    def kept(part: Any) -> Any:
        parts.append(part)
        return part

    def release() -> None:
        while parts:
            parts.pop().close()

    try:
        on_device = options["samples"] == "device"
        placed = kept(Placed(network_input, on_device=on_device))
        gather = kept(Gather())
        sizes = batch_sizes(batch_size, "ladder" if ladder else "pad")
        streams, copies = options["streams"], options["copy_streams"]
        copy_streams = [kept(cuda.Stream()) for _ in range(copies)]
        # A core for each stream's waiting thread, one that submits and one that does the rest.
        # Where there are fewer, all waits are asleep; else those for long batches.
        spinning = None if usable_cores() >= streams + 2 else False

        def lanes(
            count: int, copy_of: Callable[[int], cuda.Stream | None], spin: bool | None
        ) -> Any:
            stream = kept(cuda.Stream())
            scratch = kept(cuda.DeviceBuffer(network.scratch))
            return [
                kept(
                    TensorRtLane(
                        network,
                        gather,
                        placed,
                        sizes,
                        stream,
                        scratch,
                        copy_of(number),
                        graphs=options["graphs"],
                        spinning=spin,
                        blocks=DEVICE_BLOCKS if on_device else HOST_BLOCKS,
                    )
                )
                for number in range(count)
            ]

        own = lanes(1, lambda _: None, True)[0]
        of_streams = []
        each = _LANES_A_STREAM + (1 if copies else 0)
        for stream in range(streams):

            def copy_of(number: int, stream: int = stream) -> cuda.Stream | None:
                return copy_streams[(stream * each + number) % copies] if copies else None

            of_streams.append(lanes(each, copy_of, spinning))
    except BaseException:
        release()
        raise
    return DeviceSession(
        of_streams,
        own,
        batch_size=batch_size,
        input_shape=network_input.shape,
        classes=classes,
        place=placed.place,
        release=release,
    )


def _network(
    serialized: bytes,
    engine_file: Path,
    network_input: NetworkInput,
    library: Library,
    classes: int,
    ladder: bool,
) -> Network:
    trt = load(library)
    log = fresh_log(trt)
    runtime = trt.Runtime(log)
    engine = runtime.deserialize_cuda_engine(serialized)
    if engine is None:
        if out_of_memory(log):
            raise TrialFailure("performance", f"GPU out of memory: {last_words(log)}")
        raise InputError(
            f"engine file {engine_file} is refused by {library.title} ({last_words(log)}); build "
            "it again here"
        )
    names = [engine.get_tensor_name(number) for number in range(engine.num_io_tensors)]
    is_input = [engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT for name in names]
    return Network(
        trt=trt,
        log=log,
        runtime=runtime,
        engine=engine,
        input=network_input,
        input_name=names[is_input.index(True)],
        output_name=names[is_input.index(False)],
        classes=classes,
        scratch=context_memory_size(engine),
        dynamic=ladder,
    )
