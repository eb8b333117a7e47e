import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from autosinian.data import Preprocessing, open_dataset
from autosinian.errors import InputError, Unavailable

LIMITED = """
import resource, sys
from pathlib import Path
from autosinian.data import open_dataset
from autosinian.errors import InputError
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
try:
    open_dataset("fashion_mnist").arrays("search", 32, Path(sys.argv[1]))
except InputError as error:
    sys.exit(str(error))
"""

MEMORY = """
import resource, sys
from pathlib import Path
from autosinian.data import open_dataset
dataset = open_dataset("fashion_mnist")
dataset.arrays("batch_norm", 32, Path(sys.argv[1]), limit=10)
peak = lambda: 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before = peak()
arrays = dataset.arrays("batch_norm", 224, Path(sys.argv[1]), limit=500)
print(arrays.inputs.stat().st_size, peak() - before)
"""

ONE = """
import sys
from pathlib import Path
from autosinian.data import open_dataset
print(open_dataset("fashion_mnist").arrays("search", 64, Path(sys.argv[1])).inputs.stat().st_ino)
"""


def start(program: str, cache: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", program, str(cache)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_arrays_hold_the_images_normalised_in_order(tmp_path: Path) -> None:
    dataset = open_dataset("fashion_mnist")
    arrays = dataset.arrays("calibration", 28, tmp_path)
    images, labels = dataset.images("calibration")
    inputs = arrays.open_inputs()
    assert isinstance(inputs, np.memmap)
    assert (inputs.shape, inputs.dtype) == ((500, 3, 28, 28), np.float32)
    mean, std = np.float32(dataset.mean[0]), np.float32(dataset.std[0])
    expected = (images.astype(np.float32) / np.float32(255) - mean) / std
    assert np.array_equal(inputs, expected.transpose(0, 3, 1, 2))
    assert np.array_equal(arrays.read_labels(), labels)
    assert arrays.samples == 500


def test_the_rule_and_the_source_are_recorded_beside_the_arrays(tmp_path: Path) -> None:
    dataset = open_dataset("fashion_mnist")
    arrays = dataset.arrays("calibration", 28, tmp_path)
    record = json.loads((arrays.inputs.parent / "rule.json").read_text())
    assert Preprocessing.from_rule(record["rule"]) == dataset.preprocessing(28)
    assert (record["dataset"], record["role"], record["samples"]) == (
        "fashion_mnist",
        "calibration",
        500,
    )
    assert record["key"] == arrays.key == arrays.inputs.parent.name


def test_unchanged_inputs_are_not_processed_again(tmp_path: Path) -> None:
    first = open_dataset("fashion_mnist").arrays("calibration", 28, tmp_path)
    inode = first.inputs.stat().st_ino
    again = open_dataset("fashion_mnist").arrays("calibration", 28, tmp_path)
    assert again == first
    assert again.inputs.stat().st_ino == inode


def test_every_part_of_the_rule_and_the_limit_change_the_key() -> None:
    dataset = open_dataset("fashion_mnist")
    rule = dataset.preprocessing(28)
    int8 = replace(rule, dtype="int8", scale=0.02)
    variants = [
        rule,
        replace(rule, resolution=29),
        replace(rule, resize=30),
        replace(rule, interpolation="bicubic"),
        replace(rule, mean=(0.5, 0.5, 0.5)),
        int8,
        replace(int8, scale=0.03),
        replace(int8, layout="chw4"),
    ]
    keys = {dataset.key("search", variant) for variant in variants}
    keys |= {dataset.key("validation", rule), dataset.key("search", rule, 100)}
    assert len(keys) == len(variants) + 2


def test_a_limit_is_a_prefix_of_a_larger_one_and_spread_over_the_classes(tmp_path: Path) -> None:
    dataset = open_dataset("fashion_mnist")
    small = dataset.arrays("search", 8, tmp_path, limit=100)
    large = dataset.arrays("search", 8, tmp_path, limit=200)
    assert np.array_equal(small.open_inputs(), large.open_inputs()[:100])
    assert np.array_equal(small.read_labels(), large.read_labels()[:100])
    assert set(large.read_labels().tolist()) == set(range(10))
    whole = dataset.arrays("calibration", 8, tmp_path, limit=10_000)
    assert np.array_equal(whole.read_labels(), dataset.images("calibration")[1])


def test_a_limit_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at least 1 sample, but got 0 for calibration"):
        open_dataset("fashion_mnist").arrays("calibration", 28, tmp_path, limit=0)


def test_damaged_arrays_are_made_again(tmp_path: Path) -> None:
    dataset = open_dataset("fashion_mnist")
    arrays = dataset.arrays("calibration", 28, tmp_path)
    whole = arrays.inputs.read_bytes()
    arrays.inputs.write_bytes(whole[:1000])
    assert dataset.arrays("calibration", 28, tmp_path).inputs.read_bytes() == whole
    (arrays.inputs.parent / "rule.json").write_text("{")
    assert dataset.arrays("calibration", 28, tmp_path).inputs.read_bytes() == whole


def test_another_rule_replaces_arrays_in_a_named_folder_but_nothing_else(tmp_path: Path) -> None:
    dataset, folder = open_dataset("fashion_mnist"), tmp_path / "calibration"
    dataset.arrays_in(folder, "calibration", 28)
    assert dataset.arrays_in(folder, "calibration", 32).open_inputs().shape[2:] == (32, 32)
    other = tmp_path / "mine"
    other.mkdir()
    (other / "thesis.txt").write_text("kept")
    with pytest.raises(InputError, match="must be absent or made by preprocessing"):
        dataset.arrays_in(other, "calibration", 28)
    assert (other / "thesis.txt").read_text() == "kept"


def test_a_disk_that_takes_no_more_leaves_nothing_half_written(tmp_path: Path) -> None:
    process = start(LIMITED, tmp_path)
    _, message = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "preprocessing fashion_mnist search at 32 px must be written to" in message
    assert "File too large; free space or choose another folder" in message
    assert message.count("\n") == 1
    assert [file for file in tmp_path.iterdir() if file.is_dir()] == []


def test_arrays_larger_than_the_free_space_are_refused_before_work_starts(tmp_path: Path) -> None:
    dataset = open_dataset("fashion_mnist")
    needed = 5000 * 3 * 4096 * 4096 * 4
    if shutil.disk_usage(tmp_path).free >= needed:
        pytest.skip(f"{needed:,} bytes are free here")
    started = time.monotonic()
    # A search that meets it waits for room.
    with pytest.raises(Unavailable, match=r"\([0-9,]+ bytes\), but: [0-9,]+ bytes are free there"):
        dataset.arrays("validation", 4096, tmp_path)
    assert time.monotonic() - started < 10


def test_a_cache_that_is_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("")
    with pytest.raises(InputError, match="choose another folder"):
        open_dataset("fashion_mnist").arrays("calibration", 28, tmp_path / "cache")


def test_memory_does_not_grow_with_the_arrays(tmp_path: Path) -> None:
    output, errors = start(MEMORY, tmp_path).communicate(timeout=60)
    assert errors == ""
    size, grown = map(int, output.split())
    assert size > 300_000_000
    assert grown < 150_000_000


def test_two_processes_that_want_the_same_share_one_result(tmp_path: Path) -> None:
    processes = [start(ONE, tmp_path) for _ in range(3)]
    outputs = [process.communicate(timeout=60) for process in processes]
    assert {errors for _, errors in outputs} == {""}
    assert len({inode for inode, _ in outputs}) == 1
    assert len([file for file in tmp_path.iterdir() if file.is_dir()]) == 1


def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path: Path) -> None:
    program = ONE.replace("64", "128")
    process = start(program, tmp_path)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if any(file.is_dir() for file in tmp_path.iterdir()):
            break
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    left = [file.name for file in tmp_path.iterdir() if file.is_dir()]
    assert [name[0] for name in left] == ["."], "the half-written folder has its final name"
    output, errors = start(program, tmp_path).communicate(timeout=60)
    assert (output != "", errors) == (True, "")
    assert all(not file.name.startswith(".") for file in tmp_path.iterdir() if file.is_dir())
