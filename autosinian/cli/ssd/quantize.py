"""`autosinian ssd quantize`: INT8 of a detector after training, with encodings."""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

EPILOG = """\
Folds batch norm, equalizes channels across layers, collects ranges on the calibration images, and
writes to DIR/<date and time>/:

  PREFIX.onnx             fp32, its tensors called as in the encodings
  PREFIX.pth              the same weights: `ssd evaluate` simulates INT8 with the encodings beside
  PREFIX.encodings        AIMET's JSON, and the same as PREFIX.encodings.yaml
  PREFIX_openvino.onnx    explicit Q/DQ, uint8 and asymmetric where the encodings are; a layer with
                          asymmetric weights runs in float there
  PREFIX_tensorrt.onnx    explicit Q/DQ, int8 with zero point 0 alone: what is asymmetric is
                          encoded again symmetrically
  PREFIX_params.json      what the run was made with, for `ssd show-params`

CAL_ANNOTATIONS is a COCO file (name CAL_IMAGES too) or a Pascal VOC data set (name the split).
FILE of --exceptions is a JSON object of lists of module names: asymmetric_weights,
asymmetric_activations, higher_precision. --choose-on measures on other images which exceptions
help, and takes the shortest list that keeps TARGET of fp32's mAP there.

examples:
  autosinian ssd quantize resnet34-ssd1200.pth cal_annotations.json cal_images
  autosinian ssd quantize detector.pt bccd.tar --split train --choose-on bccd.tar --choose-split val
  autosinian ssd evaluate output/2026-01-31-12-00-00/ssd_resnet34.pth bccd.tar --split test
"""


def add_parser(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "quantize",
        help="INT8 after training: equalization, encodings, Q/DQ",
        description="Quantize a detector after training.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", type=Path, metavar="MODEL")
    parser.add_argument("annotations", type=Path, metavar="CAL_ANNOTATIONS")
    parser.add_argument("images", type=Path, nargs="?", metavar="CAL_IMAGES")
    parser.add_argument("--split", metavar="NAME", help="of a VOC data set (default: train)")
    parser.add_argument("--count", type=int, default=500, metavar="N", help="images at most (500)")
    parser.add_argument(
        "--method", default="minmax", help="minmax (default; AIMET's tf), percentile or entropy"
    )
    parser.add_argument(
        "--percentile", type=float, default=99.999, metavar="P", help="share in percent (99.999)"
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="AIMET's configuration, JSON")
    parser.add_argument(
        "--per-channel", action="store_true", help="one weight range per channel, without --config"
    )
    parser.add_argument("--exceptions", type=Path, metavar="FILE", help="lists of modules, JSON")
    parser.add_argument("--no-equalize", action="store_true", help="fold batch norm only")
    parser.add_argument("--no-high-bias", action="store_true", help="leave out the high-bias fold")
    parser.add_argument(
        "--across-padding",
        action="store_true",
        help="high-bias fold into padded layers too, as AIMET: it changes the outermost pixels",
    )
    parser.add_argument(
        "--choose-on",
        type=Path,
        nargs="+",
        metavar="VALIDATION",
        help="annotations, and the images of a COCO file, to choose exceptions on",
    )
    parser.add_argument("--choose-split", metavar="NAME", help="of a VOC data set (default: val)")
    parser.add_argument(
        "--target", type=float, default=0.995, help="share of fp32's mAP to keep there (0.995)"
    )
    parser.add_argument(
        "--image-size", type=int, metavar="PIXELS", help="of a published checkpoint"
    )
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--out", type=Path, default=Path("output"), metavar="DIR")
    parser.add_argument("--prefix", default="ssd_resnet34", help="of the files (ssd_resnet34)")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--json", action="store_true", help="print the parameters as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Quantize; prints the folder."""
    from autosinian.errors import InputError

    if args.batch_size < 1 or args.count < 1:
        raise InputError("--batch-size and --count must be at least 1")
    if not args.prefix or Path(args.prefix).name != args.prefix:
        raise InputError(f"--prefix must be a plain file name, but got `{args.prefix}`")
    if args.config is not None and args.per_channel:
        raise InputError("--per-channel is for runs without --config: set it in the file")
    if args.choose_on is not None and len(args.choose_on) > 2:
        raise InputError("--choose-on takes annotations and at most one folder of images")
    if not 0 < args.target <= 1:
        raise InputError(f"--target must be above 0 and at most 1, but got {args.target:g}")

    from autosinian.content import atomic_folder
    from autosinian.detection.checkpoint import load_detector
    from autosinian.detection.device import choose_device
    from autosinian.detection.quantization import (
        QuantizationOptions,
        choose_on,
        quantize_detector,
    )
    from autosinian.detection.quantization_parameters import parameters_of
    from autosinian.detection.quantized_files import write_parameters, write_quantized
    from autosinian.detection.source import open_annotated
    from autosinian.encodings.configuration import read_configuration, symmetric_configuration
    from autosinian.encodings.exceptions import Exceptions, read_exceptions
    from autosinian.encodings.qdq import asymmetric_layers

    started = time.time()
    device = choose_device(args.device)
    detector = load_detector(args.model, image_size=args.image_size)
    configuration = (
        symmetric_configuration(per_channel=args.per_channel)
        if args.config is None
        else read_configuration(args.config)
    )
    exceptions = Exceptions() if args.exceptions is None else read_exceptions(args.exceptions)
    names = detector.class_names or None
    if args.split is None and args.annotations.suffix.lower() != ".json":
        args.split = "train"
    calibration = open_annotated(args.annotations, args.images, split=args.split, class_names=names)
    validation = None
    if args.choose_on is not None:
        validation = open_annotated(*args.choose_on, split=args.choose_split, class_names=names)
    options = QuantizationOptions(
        configuration=configuration,
        method=args.method,
        percentile=args.percentile,
        equalize=not args.no_equalize,
        high_bias=not args.no_high_bias,
        across_padding=args.across_padding,
        images=args.count,
    )
    quantized = quantize_detector(
        detector, calibration, options, device=device, batch_size=args.batch_size
    )
    quantized.calibrated.placement(exceptions)
    chosen = None
    if validation is not None:
        chosen = choose_on(
            quantized,
            validation,
            target=args.target,
            start=exceptions,
            device=device,
            batch_size=args.batch_size,
        )
        exceptions = chosen.choice.exceptions
        if not chosen.choice.reached:
            print(
                f"no list of exceptions keeps {args.target:.1%} of fp32's mAP "
                f"{chosen.float_map:.2f}: the best has {chosen.choice.accuracy:.2f}",
                file=sys.stderr,
            )
    asymmetric = asymmetric_layers(quantized.encodings(exceptions))
    if asymmetric:
        print(
            f"asymmetric weights ({', '.join(asymmetric)}): OpenVINO computes such layers in "
            f"float, and in {args.prefix}_tensorrt.onnx, which takes no zero points, they are "
            "symmetric",
            file=sys.stderr,
        )
    folder = args.out / time.strftime("%Y-%m-%d-%H-%M-%S", time.localtime(started))
    with atomic_folder(folder) as temporary:
        files = write_quantized(temporary, args.prefix, quantized, exceptions)
        parameters = parameters_of(args, quantized, exceptions, options, chosen, started)
        write_parameters(temporary / f"{args.prefix}_params.json", parameters, files)
    print(json.dumps(parameters) if args.json else folder)
    print(
        f"next:  autosinian ssd evaluate {folder / args.prefix}.pth ANNOTATIONS IMAGES",
        file=sys.stderr,
    )
    return 0
