from collections.abc import Callable

import pytest

from autosinian.engine.gpu import (
    Gpu,
    all_gpus,
    among,
    chosen,
    cuda_environment,
    require_gpu,
    select_gpus,
    visible_gpus,
)
from autosinian.errors import InputError

GPUS = tuple(
    Gpu(index, f"GPU-{start}-1111-2222-3333-444444444444", "NVIDIA H200", (9, 0), 1, "580", "13.0")
    for index, start in enumerate(("aaaa0000", "aaaa1111", "bbbb2222"))
)
NO_GPU = pytest.mark.skipif(bool(all_gpus()), reason="this machine has an NVIDIA GPU")


@NO_GPU
def test_a_machine_without_a_driver_has_no_gpu() -> None:
    assert all_gpus() == ()
    assert visible_gpus() == ()


@NO_GPU
@pytest.mark.parametrize("ask", [require_gpu, lambda: select_gpus([0])])
def test_a_gpu_that_is_needed_and_missing_is_told_in_one_line(ask: Callable[[], object]) -> None:
    with pytest.raises(InputError, match=r"^an NVIDIA GPU must be there, but .*; .*$") as raised:
        ask()
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("visible", "indices"),
    [
        (None, [0, 1, 2]),
        ("", []),
        ("-1", []),
        ("0", [0]),
        ("2,0", [2, 0]),
        (" 1 , 2 ", [1, 2]),
        ("0,2,-1,1", [0, 2]),
        ("0,3,1", [0]),
        ("0,x,1", [0]),
        ("1,1", [1]),
        ("GPU-bbbb2222-1111-2222-3333-444444444444", [2]),
        ("GPU-bbbb", [2]),
        ("GPU-aaaa", []),
        ("GPU-aaaa1,0", [1, 0]),
        ("bbbb2222", []),
        ("MIG-bbbb2222-1111-2222-3333-444444444444", []),
    ],
)
def test_visible_gpus_are_those_that_cuda_would_number(
    visible: str | None, indices: list[int]
) -> None:
    assert [gpu.index for gpu in among(GPUS, visible)] == indices


def test_gpus_are_chosen_by_index_in_the_order_given() -> None:
    assert chosen(GPUS, (2, 0)) == (GPUS[2], GPUS[0])
    assert chosen(GPUS[1:], ()) == (GPUS[1],)


def test_an_index_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(InputError, match=r"^a device index must be one of 0, 1, 2, but got 3$"):
        chosen(GPUS, (0, 3))
    with pytest.raises(InputError, match="must be one of 1, 2, but got 0"):
        chosen(GPUS[1:], (0,))


def test_an_index_given_twice_is_refused() -> None:
    with pytest.raises(InputError, match="must be given once, but got 1 twice"):
        chosen(GPUS, (1, 0, 1))


def test_a_process_is_told_its_gpus_in_nvmls_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_MODULE_LOADING", raising=False)
    expected = {
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "CUDA_VISIBLE_DEVICES": "2,0",
        "CUDA_MODULE_LOADING": "LAZY",
    }
    assert cuda_environment((2, 0)) == expected
    monkeypatch.setenv("CUDA_MODULE_LOADING", "EAGER")
    assert cuda_environment((2, 0)) == expected | {"CUDA_MODULE_LOADING": "EAGER"}
