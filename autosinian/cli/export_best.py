"""`autosinian export-best STUDY`: the best candidate, measured again, as a bundle."""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autosinian.cli.worker_options import add_worker_options, worker_choice

if TYPE_CHECKING:
    from autosinian.export.bundle import Bundle

EPILOG = """\
The best few of the study and the baseline run in turn, several rounds; the one whose samples/s (or
latency) is best at the cautious end of its confidence interval is chosen. Its accuracy is then
measured on samples that the search never saw. The bundle holds everything that `autosinian verify`
needs to measure it again, and a report to read: report.html.

examples:
  autosinian export-best fashion_mnist                     to studies/fashion_mnist/best
  autosinian export-best cifar10 --top 5 --rounds 10       more candidates, narrower intervals
  autosinian export-best cifar10 --out bundles/cifar10 --force
"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "export-best",
        help="measure the best few again and write the best as a bundle",
        description="Measure a study's best few again and write the best one as a bundle.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("study", metavar="STUDY", help="the study's name")
    parser.add_argument(
        "--storage", metavar="URL", help="SQLAlchemy URL (default: studies/STUDY.db)"
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="the bundle's folder (default: studies/STUDY/best)"
    )
    parser.add_argument(
        "--top", type=int, default=3, metavar="K", help="candidates measured again (default: 3)"
    )
    parser.add_argument(
        "--rounds", type=int, default=5, metavar="N", help="runs of each of them (default: 5)"
    )
    parser.add_argument(
        "--duration",
        type=float,
        default=2.0,
        metavar="S",
        help="seconds of each run; the winner's final run takes five times as long (default: 2)",
    )
    parser.add_argument(
        "--configs",
        type=Path,
        default=Path("configs"),
        metavar="DIR",
        help="this system's settings are put into DIR/<benchmark>/<Scenario>/config.json, where "
        "other systems stay as they are (default: configs)",
    )
    add_worker_options(parser)
    parser.add_argument("--force", action="store_true", help="replace a bundle that is there")
    parser.add_argument("--json", action="store_true", help="print result.json")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Export; the result goes to stdout."""
    from autosinian.export.bundle import check_target
    from autosinian.export.contender import pick
    from autosinian.export.exporter import Exporter, Plan
    from autosinian.export.statement import WIDE, Statement
    from autosinian.mlperf.config_merge import check_configs, write_configs
    from autosinian.search.outcome import read_outcome
    from autosinian.search.storage import load_study, storage_url, work_folder
    from autosinian.search.workbench import open_workbench

    choice = worker_choice(arguments)
    plan = Plan(arguments.top, arguments.rounds, arguments.duration, 5 * arguments.duration)
    outcome = read_outcome(load_study(arguments.study, arguments.storage))
    folder = arguments.out or work_folder(arguments.study) / "best"
    # Before the network is opened: what is wrong is told soonest.
    check_target(folder, force=arguments.force)
    check_configs(arguments.configs, outcome.document.scenarios)
    pick(outcome, plan.top)
    url = storage_url(arguments.study, arguments.storage)
    bench = open_workbench(outcome.document, arguments.study, url, choice)
    exporter = Exporter(outcome, bench, plan, lambda text: print(text, file=sys.stderr))
    bundle = exporter.export(folder, force=arguments.force)
    for constraint in bundle.result["constraints"]:
        if not constraint["holds"]:
            print(
                f"note: on the final figures `{constraint['constraint']}` does not hold: "
                f"{constraint['value']:.4g} against {constraint['bound']:.4g}",
                file=sys.stderr,
            )
    for statement in map(Statement.from_dict, bundle.result["stated"]):
        if statement.width > WIDE:
            print(
                f"note: {statement.metric} is stated only within {100 * statement.width:.0f} %: "
                "this machine was busy or is noisy; more `--rounds` narrow it",
                file=sys.stderr,
            )
    print(json.dumps(bundle.result) if arguments.json else describe(bundle))
    for path in write_configs(bundle, arguments.configs):
        print(f"settings of this system: {path}", file=sys.stderr)
    print(f"next:  autosinian verify {folder}", file=sys.stderr)
    return 0


def describe(bundle: "Bundle") -> str:
    """The bundle's figures for people, several lines."""
    from autosinian.export.details import latency_words

    result = bundle.result
    scenario = result["scenario"]
    interval: dict[str, Any] = result["intervals"][f"{scenario}.samples_per_second"]
    ratio = result["samples_per_second"] / result["baseline_samples_per_second"]
    points = 100 * (result["accuracy"] - result["baseline_accuracy"])
    lines = [
        f"exported trial {result['trial']} of `{result['study']}` to `{bundle.folder}`",
        f"{scenario}: {result['samples_per_second']:,.1f} samples/s "
        f"({interval['low']:,.1f} to {interval['high']:,.1f} at {100 * interval['level']:g} %), "
        f"{ratio:.2f}x the baseline's {result['baseline_samples_per_second']:,.1f}",
        f"accuracy: {100 * result['accuracy']:.2f} % on {result['data']['samples']} samples the "
        f"search never saw, {points:+.2f} points from the baseline's "
        f"{100 * result['baseline_accuracy']:.2f} %",
    ]
    for name, figures in result["scenarios"].items():
        if name != "Offline" and figures["latency_ns"]:
            lines.append(f"{name} latency: {latency_words(figures['latency_ns'])}")
    lines.append(f"report: {bundle.folder / 'report.html'}")
    return "\n".join(lines)
