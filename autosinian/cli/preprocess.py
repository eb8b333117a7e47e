"""`autosinian preprocess`: a data set to arrays on disk."""

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from autosinian.data import Dataset, Preprocessing

EPILOG = """\
Each role gets a folder: DIR/batch_norm, DIR/calibration, DIR/search, DIR/validation, with
inputs.npy, labels.npy (where the source has labels) and rule.json, which says how they were made.
No sample is in two roles. What is there already and unchanged is not made again.

examples:
  autosinian preprocess fashion_mnist --out arrays --resolution 32
  autosinian preprocess imagenet --data IMAGES --out arrays --resolution 224
  autosinian preprocess imagenet --data IMAGES --val-map val_map.txt --cal-map cal_map.txt \\
      --out arrays --resolution 176 --dtype int8 --layout chw4 --scale 0.0207

  autosinian preprocess --bundle best --data IMAGES --val-map new_val_map.txt --val-only

A map has one `name<TAB or space>label` a line; labels in a calibration map may be left out.

With `--bundle` the data set and the rule are the bundle's; the arrays of `validation` and
`calibration` go to build/preprocessed_data, where `autosinian run` and `calibrate` find them; of
a map that is named every line is a sample.
"""


def add_parser(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "preprocess",
        help="turn images into arrays on disk",
        description="Resize, crop and normalise a data set's images into .npy files.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "dataset",
        nargs="?",
        metavar="DATASET",
        help="fashion_mnist (a part is shipped), cifar10, imagenet, or folder (any images with "
        "map files)",
    )
    parser.add_argument("--data", type=Path, metavar="PATH", help="the images' folder or archive")
    parser.add_argument(
        "--bundle", type=Path, metavar="BUNDLE", help="take data set and rule from this bundle"
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="where arrays go (with `--bundle`: build/preprocessed_data)",
    )
    parser.add_argument("--resolution", type=int, metavar="R", help="height and width in pixels")
    source = parser.add_argument_group("source")
    source.add_argument("--val-map", type=Path, metavar="FILE", help="default: PATH/val_map.txt")
    source.add_argument("--cal-map", type=Path, metavar="FILE", help="default: PATH/cal_map.txt")
    source.add_argument(
        "--train-map",
        type=Path,
        metavar="FILE",
        help="batch norm is recalibrated on images of this map (default: PATH/train_map.txt; "
        "without one, on half of the calibration map)",
    )
    source.add_argument(
        "--search-map",
        type=Path,
        metavar="FILE",
        help="searching measures accuracy on this map, and all of the validation map is kept for "
        "the final figure (default: PATH/search_map.txt; without one, a fifth of the validation "
        "map, at most 5,000 images)",
    )
    source.add_argument("--classes", type=int, metavar="N", help="default: 1000 for imagenet")
    only = source.add_mutually_exclusive_group()
    only.add_argument("--val-only", action="store_true", help="roles search and validation only")
    only.add_argument("--cal-only", action="store_true", help="roles calibration and batch_norm")
    source.add_argument("--limit", type=int, metavar="N", help="at most so many samples of a role")
    rule = parser.add_argument_group("rule")
    rule.add_argument(
        "--resize",
        metavar="N",
        help="short side in pixels before the centre crop, or `direct` for a resize to R x R "
        "(default: ceil(R / 0.875) for imagenet and folder, else direct)",
    )
    rule.add_argument(
        "--interpolation", metavar="NAME", help="bilinear (default), bicubic or lanczos"
    )
    rule.add_argument(
        "--mean", type=float, nargs=3, metavar="X", help="of R, G, B in 0..1 (default: data set's)"
    )
    rule.add_argument(
        "--std", type=float, nargs=3, metavar="X", help="of R, G, B in 0..1 (default: data set's)"
    )
    rule.add_argument("--dtype", default="float32", metavar="TYPE", help="float32 or int8")
    rule.add_argument(
        "--layout", default="NCHW", metavar="NAME", help="NCHW, or chw4 (N x R x R x 4, int8 only)"
    )
    rule.add_argument(
        "--scale", type=float, metavar="S", help="int8 is round(x / S), clipped to -127..127"
    )
    parser.add_argument("--json", action="store_true", help="print what was made as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Make the arrays of each role and print where they are."""
    from autosinian.data import MapFiles, Role, open_dataset
    from autosinian.data.arrays import find_arrays

    if args.bundle is not None:
        return _of_bundle(args)
    _check(args)
    dataset = open_dataset(
        args.dataset,
        args.data,
        maps=MapFiles(args.val_map, args.cal_map, args.train_map, args.search_map),
        classes=args.classes,
    )
    rule = _rule(args, dataset)
    roles: tuple[Role, ...] = ("batch_norm", "calibration", "search", "validation")
    if args.val_only:
        roles = ("search", "validation")
    elif args.cal_only:
        roles = ("batch_norm", "calibration")
    print(dataset.describe(), file=sys.stderr)
    made: dict[str, Any] = {}
    # Every role's sources are looked at before the first is made: bad input is told at once.
    keys = {role: dataset.key(role, rule, args.limit) for role in roles}
    for role in roles:
        folder = args.out / role
        unchanged = find_arrays(folder, keys[role]) is not None
        arrays = dataset.arrays_in(folder, role, rule, args.limit)
        made[role] = {
            "inputs": str(arrays.inputs),
            "labels": None if arrays.labels is None else str(arrays.labels),
            "key": arrays.key,
            "samples": arrays.samples,
            "shape": [arrays.samples, *rule.shape],
            "dtype": rule.dtype,
            "unchanged": unchanged,
        }
        if not args.json:
            shape = " x ".join(map(str, (arrays.samples, *rule.shape)))
            state = "unchanged, not made again" if unchanged else "made"
            print(f"{role}: {shape} {rule.dtype} in `{folder}` ({state})")
    if args.json:
        print(json.dumps({"dataset": dataset.name, "rule": rule.rule(), "roles": made}, indent=2))
    return 0


def _check(args: argparse.Namespace) -> None:
    from autosinian.errors import InputError

    given = {"DATASET": args.dataset, "`--out`": args.out, "`--resolution`": args.resolution}
    missing = [name for name, value in given.items() if value is None]
    if missing:
        raise InputError(f"{', '.join(missing)} must be given, or `--bundle` in their place")


def _of_bundle(args: argparse.Namespace) -> int:
    """Make the arrays of a bundle's roles and print where they are."""
    from autosinian.errors import InputError
    from autosinian.mlperf.preprocess import preprocess
    from autosinian.mlperf.source import open_source

    if args.dataset is not None or args.resolution is not None:
        raise InputError("DATASET and `--resolution` must be left out with `--bundle`")
    roles: tuple[str, ...] = ("validation", "calibration")
    if args.val_only or args.cal_only:
        roles = roles[:1] if args.val_only else roles[1:]
    source = open_source(args.bundle)
    made = preprocess(
        source,
        args.out or Path("build/preprocessed_data"),
        roles=roles,
        data=args.data,
        val_map=args.val_map,
        cal_map=args.cal_map,
        limit=args.limit,
    )
    rule = source.preprocessing
    told = {
        role: {
            "inputs": str(arrays.inputs),
            "labels": None if arrays.labels is None else str(arrays.labels),
            "key": arrays.key,
            "samples": arrays.samples,
            "shape": [arrays.samples, *rule.shape],
            "dtype": rule.dtype,
        }
        for role, arrays in made.items()
    }
    if args.json:
        print(json.dumps({"dataset": source.data["name"], "rule": rule.rule(), "roles": told}))
        return 0
    for role, arrays in made.items():
        shape = " x ".join(map(str, (arrays.samples, *rule.shape)))
        print(f"{role}: {shape} {rule.dtype} in `{arrays.inputs.parent}`")
    return 0


def _rule(args: argparse.Namespace, dataset: "Dataset") -> "Preprocessing":
    """The data set's usual rule, changed as told."""
    from autosinian.data import Preprocessing
    from autosinian.errors import InputError

    resize = dataset.short_side(args.resolution)
    if args.resize == "direct":
        resize = None
    elif args.resize is not None:
        if not args.resize.isdecimal():
            raise InputError(f"--resize must be pixels or `direct`, but got `{args.resize}`")
        resize = int(args.resize)
    rule = Preprocessing(
        args.resolution,
        tuple(args.mean) if args.mean else dataset.mean,
        tuple(args.std) if args.std else dataset.std,
        resize=resize,
        dtype=args.dtype,
        layout=args.layout,
        scale=args.scale,
    )
    return replace(rule, interpolation=args.interpolation) if args.interpolation else rule
