from pathlib import Path

import numpy as np
import pytest

from autosinian.errors import InputError
from autosinian.quantize.ranges import Ranges, read_ranges, write_ranges

SCALES = {"images": np.float32(0.0208), "/a b/Relu:0": np.float32(1e-9)}


@pytest.mark.parametrize(
    ("ranges", "header"),
    [
        (Ranges("minmax", SCALES), "TRT-8601-MinMaxCalibration"),
        (Ranges("entropy", SCALES), "TRT-8601-EntropyCalibration2"),
        (Ranges("percentile", SCALES, 99.999), "0 3ff0000000000000 3fefffeb074a771c"),
    ],
)
def test_ranges_come_back_from_their_file(tmp_path: Path, ranges: Ranges, header: str) -> None:
    path = tmp_path / "calibrator.cache"
    write_ranges(path, ranges)
    found = read_ranges(path)
    assert (found.method, found.scales) == (ranges.method, ranges.scales)
    assert list(found.scales) == list(SCALES)
    assert found.percentile == (pytest.approx(ranges.percentile) if ranges.percentile else None)
    assert path.read_text().splitlines()[0] == header


@pytest.mark.parametrize("digits", ["00000000", "7fc00000", "7f800000", "bf800000"])
def test_a_scale_that_is_not_positive_is_refused(tmp_path: Path, digits: str) -> None:
    path = tmp_path / "calibrator.cache"
    path.write_text(f"TRT-8601-MinMaxCalibration\nx: {digits}\n")
    with pytest.raises(InputError, match="`x` must be above 0"):
        read_ranges(path)
