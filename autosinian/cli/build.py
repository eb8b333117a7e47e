"""`autosinian build BUNDLE`: the engine files that a run will take."""

import argparse
import json
import sys

from autosinian.cli.serving_options import add_serving_options, serving_request

EPILOG = """\
An engine that was built before for the same network, precision, batch size, settings and versions
is used as it is, the bundle's own first; `--force-build` builds it again. `autosinian run` does the
same, so a build beforehand only takes the time off the run.

examples:
  autosinian build best --scenario Server
  autosinian build best --batch-size 391
  autosinian build best --config-ver default,high_accuracy --force-build
"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "build",
        help="build a bundle's engine for a system, scenario and batch size",
        description="Build the engine files that `autosinian run` will take.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_serving_options(parser, scenario="Offline")
    parser.add_argument("--json", action="store_true", help="print the files as JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Build what is not there; the files go to stdout."""
    from autosinian.mlperf.harness import build_for
    from autosinian.mlperf.request import settle
    from autosinian.mlperf.source import open_source

    def tell(text: str) -> None:
        print(text, file=sys.stderr)

    request = serving_request(arguments)
    source = open_source(arguments.bundle)
    made = []
    for serving in settle(source, request, tell):
        built = build_for(source, request, serving, tell)
        made.append({"config_ver": serving.version, "path": str(built.path), "state": built.state})
    if arguments.json:
        print(json.dumps(made))
    else:
        states = {"bundle": "the bundle's own", "known": "built before", "built": "built"}
        for entry in made:
            print(f"{entry['path']} ({states[entry['state']]})")
    return 0
