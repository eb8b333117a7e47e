"""`autosinian calibrate BUNDLE`: new INT8 ranges from any calibration images."""

import argparse
import json
import sys
from pathlib import Path

EPILOG = """\
Runs calibration images through the network in fp32 and writes one scale for each quantized tensor,
as TensorRT's calibrator.cache. `build` and `run` take it with `--calibrator-cache`.

examples:
  autosinian calibrate best                              the data set's own calibration images
  autosinian calibrate best --data IMAGES --cal-map IMAGES/cal_map.txt
  autosinian calibrate best --algorithm percentile --percentile 99.99
  autosinian run best --calibrator-cache build/calibration/NAME/calibrator.cache

A map has one `name` or `name<TAB>label` a line; of a map that is named every line is used.
"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "calibrate",
        help="collect a bundle's INT8 ranges again, on images of your own",
        description="Collect the ranges of a bundle's INT8 network on calibration images.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "bundle",
        type=Path,
        metavar="BUNDLE",
        help="a folder made by export-best, or one with net.config and init",
    )
    parser.add_argument("--data", type=Path, metavar="PATH", help="the images' folder or archive")
    parser.add_argument(
        "--cal-map", type=Path, metavar="FILE", help="calibrate on every image of this map"
    )
    parser.add_argument(
        "--algorithm",
        default="entropy",
        metavar="NAME",
        help="min-max, entropy (default) or percentile",
    )
    parser.add_argument(
        "--percentile", type=float, metavar="P", help="share in percent (default: 99.999)"
    )
    parser.add_argument("--limit", type=int, metavar="N", help="at most so many images")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="default: build/calibration/NAME/calibrator.cache",
    )
    parser.add_argument("--build-dir", type=Path, default=Path("build"), metavar="DIR")
    parser.add_argument("--json", action="store_true", help="print what was made as JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Calibrate; the file's place goes to stdout."""
    from autosinian.mlperf.calibration import algorithm_named, calibrate, default_file
    from autosinian.mlperf.source import open_source

    algorithm_named(arguments.algorithm)
    source = open_source(arguments.bundle)
    found = calibrate(
        source,
        arguments.out or default_file(source, arguments.build_dir),
        arguments.build_dir,
        algorithm=arguments.algorithm,
        percentile=arguments.percentile,
        data=arguments.data,
        cal_map=arguments.cal_map,
        limit=arguments.limit,
    )
    if arguments.json:
        print(json.dumps(found.to_dict()))
    else:
        print(
            f"{found.file}: {found.tensors} tensors, {found.algorithm}, from {found.images} images"
        )
    print(
        f"next:  autosinian run {arguments.bundle} --calibrator-cache {found.file}",
        file=sys.stderr,
    )
    return 0
