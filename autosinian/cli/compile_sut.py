"""`autosinian compile-sut`: LoadGen with systems under test in C++, for short latencies."""

import argparse
import sys
from pathlib import Path

EPILOG = """\
Optional: without it Python answers LoadGen, which costs some tens of microseconds a query. The
compiled part launches the CUDA graphs that an engine has captured, so it serves sessions with
`graphs`, samples in the device's memory (`samples: device` in the torch engine) and no copy
streams; every other session is answered by Python as before. A measurement's versions say which
(`sut`). It needs a C++ compiler, and downloads LoadGen's sources of the installed version.
A detector's boxes are chosen by compiled code then, whatever the session (`detections` tells).

examples:
  autosinian compile-sut                      once for each interpreter that runs workers
  autosinian compile-sut --source mlcommons_loadgen-6.0.17.tar.gz      without a network
  autosinian compile-sut --remove             answer in Python again
"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "compile-sut",
        help="compile LoadGen with systems under test in C++ (optional)",
        description="Compile LoadGen's sources together with systems under test in C++.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--source", type=Path, help="LoadGen's source archive (default: download)")
    parser.add_argument("--compiler", help="the C++ compiler (default: $CXX, or c++)")
    parser.add_argument("--remove", action="store_true", help="remove what was compiled")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Compile or remove; prints the paths of module and library."""
    from autosinian.native.compile import compile_detections, compile_sut
    from autosinian.native.detections import find_library
    from autosinian.native.loadgen import find_module

    if arguments.remove:
        found = [path for path in (find_module(), find_library()) if path is not None]
        for path in found:
            path.unlink()
        print("\n".join(f"removed {path}" for path in found) or "nothing was compiled")
        return 0
    print("compiling LoadGen with systems under test (about a minute)", file=sys.stderr)
    print(compile_sut(source=arguments.source, compiler=arguments.compiler))
    print(compile_detections(compiler=arguments.compiler))
    return 0
