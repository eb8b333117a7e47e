"""The code of a submission: the program as it was used, and the bundles that it served."""

import shutil
from importlib.metadata import entry_points, requires
from pathlib import Path

import autosinian
from autosinian import __version__

_LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.pyc")


def copy_program(folder: Path) -> None:
    """Write the package's source to `folder`, so that `pip install folder` installs it."""
    package = Path(autosinian.__file__).parent
    shutil.copytree(package, folder / "autosinian", ignore=_LEFT_OUT)
    (folder / "pyproject.toml").write_text(_project(), encoding="utf-8")
    for name in ("LICENSE", "README.md"):
        # They lie beside the package in a working copy only.
        if (package.parent / name).is_file():
            shutil.copyfile(package.parent / name, folder / name)


def copy_bundle(source: Path, folder: Path) -> None:
    """Copy a bundle whole, so that its own hashes still hold."""
    shutil.copytree(source, folder)


def _project() -> str:
    needed = [line for line in requires("autosinian") or [] if "extra ==" not in line]
    dependencies = "".join(f'  "{line}",\n' for line in needed)
    engines = "".join(
        f'{point.name} = "{point.value}"\n'
        for point in entry_points(group="autosinian.engines")
        if point.value.startswith("autosinian.")
    )
    return f"""\
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "autosinian"
version = "{__version__}"
requires-python = ">=3.11"
dependencies = [
{dependencies}]

[project.scripts]
autosinian = "autosinian.cli.main:main"

[project.entry-points."autosinian.engines"]
{engines}
[tool.setuptools.packages.find]
include = ["autosinian*"]

[tool.setuptools.package-data]
autosinian = ["**/*"]
"""
