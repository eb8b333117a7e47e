"""Float64 matrix products give the integers of the processor, the published weights' included."""

import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch

from autosinian.int4.cpu_executor import CpuExecutor
from autosinian.int4.finetune.emulation import emulated_logits
from autosinian.int4.finetune.integer_model import integer_model
from autosinian.int4.model_reader import read_model
from autosinian.int4.network import Network
from tests.int4.finetune.small_network import RESOLUTION, images, ofa_like, quantized, resnet

PUBLISHED = Path(__file__).resolve().parents[4] / "shared/data/nvidia_int4_resnet50.tar.xz"


def reference(network: Network, inputs: np.ndarray) -> np.ndarray:
    executor = CpuExecutor(network)
    try:
        return executor.logits(inputs)
    finally:
        executor.close()


@pytest.mark.shared_data
@pytest.mark.skipif(not PUBLISHED.exists(), reason="shared data is absent")
def test_the_published_network_is_emulated_exactly(tmp_path: Path) -> None:
    with tarfile.open(PUBLISHED) as archive:
        archive.extractall(tmp_path, filter="data")
    network = read_model(tmp_path / "model")
    inputs = np.random.default_rng(0).integers(-127, 128, (2, 3, 224, 224)).astype(np.int8)
    expected = reference(network, inputs)
    assert np.ptp(expected) > 1000
    found = emulated_logits(network, inputs, torch.device("cpu"))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.gpu
def test_training_and_emulation_on_a_gpu_equal_the_processor() -> None:
    device = torch.device("cuda")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    for network in (resnet(), ofa_like()):
        net = quantized(network)
        written = integer_model(net, RESOLUTION)
        inputs = images(16).numpy().astype(np.int8)
        expected = reference(written, inputs)
        np.testing.assert_array_equal(emulated_logits(written, inputs, device), expected)
        on_gpu = net.to(device)
        own = reference(integer_model(on_gpu, RESOLUTION), inputs)
        with torch.no_grad():
            real = on_gpu(images(16).to(device)).double().cpu().numpy()
        np.testing.assert_array_equal(np.rint(real * written.out_scale), own)
