"""`autosinian search SPACE.yaml`."""

import argparse
import json
import re
import sys
from pathlib import Path

from autosinian.cli.worker_options import add_worker_options, worker_choice
from autosinian.errors import InputError

EPILOG = """\
examples:
  autosinian search search_spaces/fashion_mnist.yaml
  autosinian search search_spaces/cifar10.yaml --trials 200 --time 2h
  autosinian search search_spaces/efficientnet_lite0.yaml                    one fixed network
  autosinian search space.yaml --storage postgresql+psycopg://user@host/db   several machines
  autosinian search mine.yaml --seed-from cifar10                            begin with its best
  autosinian search space.yaml --devices 0,1                                 two GPUs serve
  autosinian search space.yaml --worker-python /opt/trt/bin/python3.11       TensorRT lives there

A space names a `supernet` to choose subnets of, or one fixed `network`, an ONNX file or a torch
module, of which precision and serving are chosen:

  network: {source: model.onnx}                                     resolution read from the file
  network: {source: "torchvision.models:resnet50", resolution: 224}   or "file.py:function"

with its input, where it is not ImageNet's usual one: `mean`, `std`, `pixel_range` (1 or 255),
`resize` (short side before the centre crop, or `direct`), `interpolation`.

PostgreSQL needs the extra: pip install "autosinian[postgresql]".

The same command again resumes: what was measured stays, an interrupted trial is repeated. The same
command in a second terminal shares the work. `--trials` and `--time` may change from run to run.
Changed constraints need `--new-constraints`: stored figures are judged anew, not measured again.

exit codes: 0 done, 1 failed or no candidate met the constraints, 2 bad input, or a disk or database
that did not come back; 130 interrupted. In every case the same command goes on from there.
"""

GIVE_UP_AFTER = 60

_TIME = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s?)?")


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "search",
        help="search a space of networks and engine settings on this machine",
        description="Measure candidates of a search space on this machine and keep what was found.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("space", type=Path, metavar="SPACE.yaml", help="the search space file")
    parser.add_argument("--trials", type=int, help="trials in the study (default: the file's)")
    parser.add_argument("--time", metavar="T", help="stop after this long: 90s, 10m, 1h30m")
    parser.add_argument(
        "--storage", metavar="URL", help="SQLAlchemy URL (default: studies/NAME.db)"
    )
    parser.add_argument("--study", metavar="NAME", help="study's name (default: the file's name)")
    parser.add_argument(
        "--data",
        type=Path,
        metavar="PATH",
        help="the data set's folder or archive, in place of the file's `data: path`",
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of all random draws (default: 0)")
    parser.add_argument(
        "--sampler",
        choices=("joint", "tpe", "nsga2", "gp", "random"),
        default="joint",
        help="how candidates are proposed: jointly by predictors of every figure, or by one of "
        "Optuna's own samplers (default: joint)",
    )
    parser.add_argument(
        "--seed-from",
        metavar="STUDY",
        help="measure the best of another study first (in the same storage, or studies/STUDY.db)",
    )
    parser.add_argument(
        "--new-constraints",
        action="store_true",
        help="go on under the file's changed constraints; what was measured is judged anew",
    )
    parser.add_argument(
        "--give-up-after",
        type=int,
        default=GIVE_UP_AFTER,
        metavar="N",
        help="end after N trials of which none met the constraints, and show the nearest "
        f"(default: {GIVE_UP_AFTER})",
    )
    parser.add_argument(
        "--patience",
        metavar="T",
        default="10m",
        help="how long a full disk or a lost database is waited for before the search ends "
        "(default: 10m)",
    )
    add_worker_options(parser)
    parser.add_argument("--json", action="store_true", help="print the summary as JSON, last line")
    parser.set_defaults(run=run)


def parse_time(text: str) -> float:
    """Seconds of `90`, `90s`, `10m` or `1h30m`. Raises `InputError` for anything else."""
    match = _TIME.fullmatch(text.strip())
    if not match or not any(match.groups()):
        raise InputError(f"a time must look like 90s, 10m or 1h30m, but got `{text}`")
    hours, minutes, seconds = (float(group or 0) for group in match.groups())
    total = hours * 3600 + minutes * 60 + seconds
    if total <= 0:
        raise InputError(f"a time must be above zero, but got `{text}`")
    return total


def study_name(space: Path, given: str | None) -> str:
    """The study's name: letters, digits, `.`, `_` and `-`, because files carry it."""
    name = given if given is not None else space.stem
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}", name):
        raise InputError(
            "a study's name must be letters, digits, `.`, `_` or `-` (at most 100), but got "
            f"`{name}`; choose one with `--study`"
        )
    return name


def run(arguments: argparse.Namespace) -> int:
    """Run the search; the summary goes to stdout."""
    time_s = parse_time(arguments.time) if arguments.time is not None else None
    name = study_name(arguments.space, arguments.study)
    if arguments.trials is not None and arguments.trials < 1:
        raise InputError(f"`--trials` must be at least 1, but got {arguments.trials}")
    if arguments.give_up_after < 1:
        raise InputError(f"`--give-up-after` must be at least 1, but got {arguments.give_up_after}")
    patience_s = parse_time(arguments.patience)
    choice = worker_choice(arguments)

    from autosinian.search.space_file import read_space

    document = read_space(arguments.space, arguments.data)

    from autosinian.report.live import LiveView
    from autosinian.report.words import describe_outcome

    with LiveView(name) as view:
        view.message("opening the network, the data and the engine")
        from autosinian.search.earlier import read_all_earlier
        from autosinian.search.run import Beginning, Limits, Search
        from autosinian.search.storage import open_storage, storage_failures_told, storage_url
        from autosinian.search.workbench import open_workbench
        from autosinian.store.patience import Patience

        url = storage_url(name, arguments.storage)
        open_storage(url)
        patience = Patience(patience_s, view.message)
        with storage_failures_told(url):
            bench = open_workbench(document, name, url, choice, patience)
            earlier = read_all_earlier(
                url,
                bench.network.sha256,
                but=name,
                seed_from=arguments.seed_from,
                patience=patience,
            )
            beginning = Beginning(
                arguments.seed, arguments.sampler, earlier, arguments.new_constraints
            )
            search = Search(bench, name, url, view, beginning, patience)
            limits = Limits(arguments.trials or document.trials, time_s, arguments.give_up_after)
            outcome = search.run(limits)
    if arguments.json:
        print(json.dumps(outcome.summary() | {"storage": url, "folder": str(bench.folder)}))
    else:
        print(describe_outcome(outcome))
        print(f"look inside:  autosinian dashboard {name}", file=sys.stderr)
        print(f"next:         autosinian export-best {name}", file=sys.stderr)
    return 130 if search.interrupted else 1 if search.hopeless else 0
