"""A whole network on one GPU: buffers, launches in order, and the CUDA graph of them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import triton
from numpy.typing import NDArray

from autosinian.engine.torch_lane import as_tensor
from autosinian.int4.configurations import Configuration
from autosinian.int4.executor import check_images
from autosinian.int4.gpu.compiling import CompileTask
from autosinian.int4.gpu.device import Device
from autosinian.int4.gpu.image import arrange_images
from autosinian.int4.gpu.launch import INTEGER_CORES_CAPABILITY, compile_task, launch, settle_keys
from autosinian.int4.gpu.plan import IMAGE, POOLED, Layer, Plan
from autosinian.int4.gpu.pool import average_pool, linear, max_pool
from autosinian.int4.gpu.prepared import PreparedLayer, on_device, prepare
from autosinian.int4.known_kernels import known_configuration
from autosinian.int4.promising import default_configuration

_SLACK_BYTES = 1024
_ELEMENTS = 1024
_PIXELS = 256
_POOLED_PIXELS, _POOLED_CHANNELS = 64, 128
_IMAGES, _CLASSES, _STEP = 32, 64, 128

settle_keys((arrange_images, max_pool, average_pool, linear))


class PreparedNetwork:
    """A plan's weights on a device, shared by executors of any batch and stream."""

    def __init__(self, plan: Plan, device: Device) -> None:
        self.plan = plan
        self.device = device
        self.layers: dict[str, PreparedLayer] = {
            layer.name: prepare(layer, plan.arranged, device.torch_device)
            for layer in plan.convolutions()
        }
        place = device.torch_device
        self.linear_weight = on_device(plan.network.linear.weight, place)
        self.linear_bias = on_device(plan.network.linear.bias, place)


class Executor:
    """Runs batches of exactly `images` images with one configuration a layer.

    `input` (int8 `images x C x H x W`) is read and `output` (int32 `images x classes`) written by
    `run`, on the current stream, or by `replay` of the graph that `capture` made. With `rows`
    (int64, `images`) `input` has any number of images, and those of these numbers are read. Layers
    without an entry in `choices` run with what is known to be fast on this GPU, or with a rule's
    default.
    """

    def __init__(
        self,
        prepared: PreparedNetwork,
        images: int,
        choices: Mapping[str, Configuration] | None = None,
    ) -> None:
        plan, device = prepared.plan, prepared.device
        self.prepared = prepared
        self.images = images
        self.choices = {
            layer.name: (choices or {}).get(layer.name)
            or known_configuration(layer.shape, images, device.name, device.shared_bytes)
            or default_configuration(layer.shape, images, device.shared_bytes)
            for layer in plan.convolutions()
        }
        self._graph: Any = None
        self.input_shape = plan.network.input_shape
        self.classes = plan.network.classes
        self.input = self._tensor((images, *plan.network.input_shape), torch.int8)
        self.rows: torch.Tensor | None = None
        self.output = self._tensor((images, plan.network.classes), torch.int32)
        self._arranged = self._tensor((images * plan.arranged.image_bytes() + _SLACK_BYTES,))
        self._outputs = _share(self, plan)
        last = plan.layers[-1].shape
        self._means = self._tensor((images, last.out_channels), torch.int8)

    def _tensor(self, shape: Sequence[int], dtype: torch.dtype = torch.uint8) -> torch.Tensor:
        return torch.zeros(tuple(shape), dtype=dtype, device=self.prepared.device.torch_device)

    def source(self, index: int, stem: bool) -> torch.Tensor:
        """The tensor that a layer reads whose `reads` or `adds` is `index`."""
        plan = self.prepared.plan
        if index == POOLED:
            return self._outputs["pooled"]
        if index == IMAGE:
            return self._arranged
        return self._outputs[(plan.stem if stem else plan.layers)[index].name]

    def run_layer(self, layer: Layer, configuration: Configuration | None = None) -> None:
        """Launch one convolution."""
        stem = layer.name.startswith("stem")
        choice = configuration or self.choices[layer.name]
        after = self.prepared.plan.follower(layer) if choice.chained else None
        launch(
            self.prepared.layers[layer.name],
            choice,
            self.source(layer.reads, stem),
            None if layer.adds is None else self.source(layer.adds, stem),
            self._outputs[layer.name],
            self.images,
            self.prepared.device,
            None
            if after is None
            else (self.prepared.layers[after.name], self._outputs[after.name]),
        )

    def launched(self) -> tuple[Layer, ...]:
        """Layers behind the stem that have a launch of their own."""
        plan = self.prepared.plan
        chained = {
            after.name
            for layer in plan.layers
            if self.choices[layer.name].chained and (after := plan.follower(layer)) is not None
        }
        return tuple(layer for layer in plan.layers if layer.name not in chained)

    def compile_tasks(self) -> list[CompileTask]:
        """What `run` needs compiled of its convolutions."""
        plan, device = self.prepared.plan, self.prepared.device
        return [
            compile_task(layer, self.choices[layer.name], device, plan.follower(layer))
            for layer in (*plan.stem, *self.launched())
        ]

    def layer_output(self, layer: Layer) -> torch.Tensor:
        """Flat uint8 tensor that the layer writes; others may reuse it later in the same run."""
        size = self.images * layer.shape.out_pixels * layer.shape.out_channels
        return self._outputs[layer.name][: size * layer.shape.out_bits // 8]

    def activations(self, plan: Plan) -> list[tuple[torch.Tensor, int]]:
        """Every tensor of activations with its bits, each once; 8 where any layer has 8 there."""
        first = plan.stem[-1].shape.out_bits
        bits = {"pooled": first} | {
            layer.name: layer.shape.out_bits for layer in plan.convolutions()
        }
        found: dict[int, tuple[torch.Tensor, int]] = {}
        for name, tensor in self._outputs.items():
            known = found.get(tensor.data_ptr(), (tensor, 4))[1]
            found[tensor.data_ptr()] = (tensor, max(known, bits[name]))
        return list(found.values())

    def run_image(self) -> None:
        """Arrange the input for the first convolution."""
        arranged = self.prepared.plan.arranged
        pixels = self.images * arranged.rows * arranged.columns
        images = self.input.view(torch.int16) if arranged.factor == 2 else self.input
        arrange_images[(triton.cdiv(pixels, _PIXELS),)](
            images,
            images if self.rows is None else self.rows,
            self._arranged.view(torch.int32),
            pixels,
            CHANNELS=arranged.channels,
            HEIGHT=arranged.height,
            WIDTH=arranged.width,
            FACTOR=arranged.factor,
            BY_ROW=self.rows is not None,
            BEFORE_Y=arranged.before_y,
            BEFORE_X=arranged.before_x,
            ROWS=arranged.rows,
            COLUMNS=arranged.columns,
            BLOCK=_PIXELS,
            **self.prepared.device.overlap(),
        )

    def run_max_pool(self) -> None:
        """The max-pool behind the stem."""
        plan = self.prepared.plan
        shape, pool = plan.stem[-1].shape, plan.network.max_pool
        pixel_words = shape.out_channels * shape.out_bits // 32
        words = self.images * plan.pooled[0] * plan.pooled[1] * pixel_words
        max_pool[(triton.cdiv(words, _ELEMENTS),)](
            self._outputs[plan.stem[-1].name].view(torch.int32),
            self._outputs["pooled"].view(torch.int32),
            words,
            HEIGHT=shape.out_height,
            WIDTH=shape.out_width,
            PIXEL_WORDS=pixel_words,
            OUT_HEIGHT=plan.pooled[0],
            OUT_WIDTH=plan.pooled[1],
            KERNEL=pool.kernel_size,
            STRIDE=pool.stride,
            PAD=pool.padding,
            BITS=shape.out_bits,
            HALVES=self.prepared.device.clamps_halves(),
            BLOCK=_ELEMENTS,
            **self.prepared.device.overlap(),
        )

    def run_head(self) -> None:
        """Average pool and fully connected layer."""
        plan = self.prepared.plan
        last = plan.layers[-1].shape
        average_pool[(self.images, triton.cdiv(last.out_channels, _POOLED_CHANNELS))](
            self._outputs[plan.layers[-1].name].view(torch.int8),
            self._means,
            CHANNELS=last.out_channels,
            PIXELS=last.out_pixels,
            PIXELS_BLOCK=_POOLED_PIXELS,
            BLOCK=_POOLED_CHANNELS,
            **self.prepared.device.overlap(),
        )
        classes, channels = plan.network.linear.weight.shape
        linear[(triton.cdiv(self.images, _IMAGES), triton.cdiv(classes, _CLASSES))](
            self._means,
            self.prepared.linear_weight,
            self.prepared.linear_bias,
            self.output,
            self.images,
            X_CHANNELS=last.out_channels,
            CHANNELS=channels,
            CLASSES=classes,
            IMAGES_BLOCK=_IMAGES,
            CLASSES_BLOCK=_CLASSES,
            STEP=_STEP,
            **self.prepared.device.overlap(),
            INTEGER_CORES=self.prepared.device.capability[0] >= INTEGER_CORES_CAPABILITY,
        )

    def run(self) -> None:
        """All launches of the network in order, on the current stream."""
        plan = self.prepared.plan
        self.run_image()
        for layer in plan.stem:
            self.run_layer(layer)
        self.run_max_pool()
        for layer in self.launched():
            self.run_layer(layer)
        self.run_head()

    def capture(self) -> None:
        """Make one CUDA graph of `run`, after running it once to compile what is missing."""
        device = self.prepared.device.torch_device
        stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        with torch.cuda.stream(stream):
            self.run()
            stream.synchronize()
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph, stream=stream):
                self.run()
        stream.synchronize()

    def replay(self) -> None:
        """Launch the captured graph on the current stream."""
        if self._graph is None:
            self.capture()
        self._graph.replay()

    def logits(self, images: NDArray[np.int8]) -> NDArray[np.int32]:
        """int8 `n x C x H x W` (any n) to int32 `n x classes`, batch after batch.

        Raises `InputError` for images of another size or type.
        """
        check_images(images, self.input_shape)
        results = np.empty((len(images), self.classes), np.int32)
        for first in range(0, len(images), self.images):
            part = as_tensor(images[first : first + self.images])
            self.input[: len(part)].copy_(part)
            if self.prepared.device.interpreted:
                self.run()
            else:
                self.replay()
            results[first : first + len(part)] = self.output[: len(part)].cpu().numpy()
        return results


def _share(executor: Executor, plan: Plan) -> dict[str, torch.Tensor]:
    """Output tensors by layer name (and `pooled`): two for blocks' outputs in turn, two within a
    block, so that what was just written is what is read next and still in the cache.
    """
    images = executor.images

    def size(layer: Layer) -> int:
        shape = layer.shape
        return images * shape.out_pixels * shape.out_channels * shape.out_bits // 8

    first = plan.stem[-1].shape
    pooled = images * plan.pooled[0] * plan.pooled[1] * first.out_channels * first.out_bits // 8
    slots: dict[str, str] = {"pooled": "block0"}
    sizes: dict[str, int] = {"block0": pooled}
    turn = 0
    for index, layer in enumerate(plan.stem):
        slots[layer.name] = f"stem{index % 2}"
    for layer in plan.layers:
        if layer.name.endswith("_conv3"):
            turn = 1 - turn
            slots[layer.name] = f"block{turn}"
        else:
            slots[layer.name] = layer.name.rsplit("_", 1)[1]
    for layer in plan.convolutions():
        slot = slots[layer.name]
        sizes[slot] = max(sizes.get(slot, 0), size(layer))
    tensors = {slot: executor._tensor((count + _SLACK_BYTES,)) for slot, count in sizes.items()}
    return {name: tensors[slot] for name, slot in slots.items()}
