from importlib.resources import files
from pathlib import Path

import pytest

from autosinian.engine.gather import DEVICE_BLOCKS, HOST_BLOCKS, grid

PTX = (files("autosinian.engine") / "gather.ptx").read_text()


def test_the_shipped_ptx_is_that_of_the_source() -> None:
    nvrtc = pytest.importorskip("cuda.bindings.nvrtc", reason="needs cuda-bindings")
    try:
        nvrtc.nvrtcVersion()
    except (ImportError, OSError, RuntimeError) as error:
        pytest.skip(f"needs nvidia-cuda-nvrtc: {error}")
    from scripts.build_gather_ptx import compiled, maker

    if not PTX.startswith(maker()):
        pytest.skip(f"needs the compiler of the text: {PTX.splitlines()[0]}")
    assert compiled() == PTX


@pytest.mark.parametrize("architecture", ["sm_75", "sm_80", "sm_86", "sm_89", "sm_90", "sm_120"])
def test_the_shipped_ptx_compiles_for_every_generation(architecture: str) -> None:
    nvjitlink = pytest.importorskip("cuda.bindings.nvjitlink", reason="needs cuda-bindings")
    try:
        linker = nvjitlink.create(1, [f"-arch={architecture}"])
    except (ImportError, OSError, RuntimeError) as error:
        pytest.skip(f"needs nvidia-nvjitlink: {error}")
    text = PTX.encode()
    nvjitlink.add_data(linker, nvjitlink.InputType.PTX, text, len(text), "gather")
    nvjitlink.complete(linker)
    assert nvjitlink.get_linked_cubin_size(linker) > 0
    nvjitlink.destroy(linker)


def test_old_drivers_take_the_ptx() -> None:
    assert ".version 6.5" in PTX.splitlines()
    assert ".target sm_75" in PTX.splitlines()


@pytest.mark.parametrize("sample_bytes", [1, 75, 16384, 16385, 150528, 602112])
@pytest.mark.parametrize("rows", [1, 2, 7, 24, 25, 1000])
@pytest.mark.parametrize("blocks", [HOST_BLOCKS, DEVICE_BLOCKS])
def test_the_grid_has_work_for_each_block_and_no_more_than_asked(
    sample_bytes: int, rows: int, blocks: int
) -> None:
    along_bytes, along_rows = grid(sample_bytes, rows, blocks)
    assert 1 <= along_rows <= rows
    assert 1 <= along_bytes <= max(1, -(-sample_bytes // 16384))
    assert along_bytes * along_rows <= blocks


def test_the_kernel_is_shipped_with_the_package() -> None:
    pyproject = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    assert '"engine/gather.ptx"' in pyproject
