"""Prepare the arrays that a search over a supernet will need, before the search is timed.

    python benchmarks/prepare_arrays.py search_spaces/cifar10_gpu.yaml

They are kept in `studies/arrays` below the current folder, as the search itself does.
"""

import argparse
import time
from pathlib import Path

from autosinian.data import open_dataset
from autosinian.evaluate.arrays import ArrayCache
from autosinian.search.space_file import read_space
from autosinian.search.storage import STUDIES
from autosinian.supernet import open_supernet


def main() -> None:
    """Prepare every role at every resolution of the space."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("space", type=Path, help="space file over a supernet")
    document = read_space(parser.parse_args().space)
    if document.supernet is None:
        raise SystemExit("the space must be one over a supernet")
    supernet = open_supernet(document.supernet)
    path = Path(document.data.path) if document.data.path else None
    dataset = open_dataset(document.data.name, path)
    cache = STUDIES.absolute() / "arrays"
    arrays = ArrayCache(dataset, supernet.preprocessing, document.measurement, cache)
    architecture = document.architecture
    chosen = getattr(architecture, "resolution", None) if architecture else None
    for resolution in chosen or supernet.resolutions:
        for role in ("batch_norm", "search", "calibration", "validation"):
            start = time.perf_counter()
            found = arrays.get(role, resolution)
            took = time.perf_counter() - start
            print(f"{role:12} {resolution} px {found.samples} samples {took:.1f} s", flush=True)


if __name__ == "__main__":
    main()
