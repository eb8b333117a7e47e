"""`autosinian doctor`: what on this machine changes a measurement."""

import argparse
import json

EPILOG = """\
Reads the processor's governor, turbo, limits and load, transparent huge pages, memory, disk, the
GPUs' persistence mode, clocks, throttling, power limit and other users, and versions. It changes
nothing: what an administrator may do stands beside each line that is not `ok`.

examples:
  autosinian doctor
  autosinian doctor --json > machine.json      keep it beside the results
"""

_MARKS = {"ok": "ok     ", "note": "note   ", "warning": "WARNING", "unknown": "unknown"}


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "doctor",
        help="tell what on this machine changes a measurement",
        description="Tell what on this machine changes a measurement, and what may be done.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Examine and print; always 0, as a finding is no failure."""
    from dataclasses import asdict

    from autosinian.doctor.examine import examine

    findings = examine()
    if arguments.json:
        print(json.dumps([asdict(finding) for finding in findings]))
        return 0
    area = ""
    for finding in findings:
        if finding.area != area:
            area = finding.area
            print(f"{area}:")
        print(f"  {_MARKS[finding.status]} {finding.name}: {finding.value}")
        if finding.effect:
            print(f"            {finding.effect}")
        if finding.advice:
            print(f"            may be done: {finding.advice}")
    warnings = sum(finding.status == "warning" for finding in findings)
    print(f"{warnings} warnings" if warnings != 1 else "1 warning")
    return 0
