"""Pythons, the oldest and the newest dependencies, each extra alone and all but one. Hours; `make matrix` is all of it.

    make matrix FLAGS="--list"
    make matrix FLAGS="-s suite-3.13 oldest-3.10"
    make matrix FLAGS="-s extra -k view"

A Python that is neither here nor can be downloaded is skipped and named. With uv, which the extra `matrix` brings,
files are shared between environments: the second one with torch takes seconds.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import nox

nox.needs_version = ">=2024.10.9"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.error_on_missing_interpreters = False

PYPROJECT = nox.project.load_toml("pyproject.toml")
PYTHONS = nox.project.python_versions(PYPROJECT)
WITH_OLD_WHEELS = [python for python in PYTHONS if python in ("3.10", "3.11", "3.12")]
HERE = f"{sys.version_info.major}.{sys.version_info.minor}"
FOR_DEVELOPERS = {"test", "browser", "coverage", "dev", "docs", "matrix", "release", "workflows"}
OPTIONAL = PYPROJECT["project"]["optional-dependencies"]
EXTRAS = [name for name in OPTIONAL if name not in FOR_DEVELOPERS]
# Captum brings what `plot` does, open_clip what `timm` does.
MISSING = [name for name in EXTRAS if name not in ("plot", "timm", "demo", "benchmark")]
TRIALS = Path("tests", "extras", "trials.py").absolute()
RUNNER = ("pytest>=8", "hypothesis>=6.100")
# What is of the checkout and needs more than the package's extras.
OF_THE_CHECKOUT = [f"--ignore=tests/{folder}" for folder in ("benchmarks", "compatibility", "docs", "fuzz")]
DOCTESTS = ("captum_ext", "integrations", "--doctest-ignore-import-errors")
_EXPLAIN = "captum_ext_integrations/quantus_explain"
# By extra what of the doctests uses a host that the extra brings, as no message can say. Of a module that cannot be
# imported pytest leaves half behind in sys.modules.
OF_HOSTS = {
    "quantus": [f"--deselect=integrations/{_EXPLAIN}.py::{_EXPLAIN.replace('/', '.')}.quantus_methods"],
    "grad-cam": [
        "--ignore-glob=*grad_cam*",
        "--deselect=captum_ext/models/adapting.py::captum_ext.models.adapting.adapt",
    ],
}


def tested(session: nox.Session, *options: str) -> None:
    """The suite, or what FLAGS name behind `--`."""
    session.run("python", "-m", "pytest", "-q", *options, *session.posargs, env={"OMP_NUM_THREADS": "1"})


def tried(session: nox.Session, name: str) -> None:
    """A trial from a folder of its own, which Ray wants outside of an environment: it imports what was installed."""
    with tempfile.TemporaryDirectory() as folder, session.chdir(folder):
        session.run("python", str(TRIALS), name, env={"PYTHONPATH": "", "OMP_NUM_THREADS": "1"})


@nox.session(python=PYTHONS)
def suite(session: nox.Session) -> None:
    """The suite with the newest dependencies."""
    session.install(".[test]")
    tested(session)


@nox.session(python=WITH_OLD_WHEELS)
def oldest(session: nox.Session) -> None:
    """The suite with the oldest ones, for which wheels of these Pythons exist."""
    session.install(".[test]", "--constraint", "tests/lowest.txt")
    tested(session)


@nox.session(python=PYTHONS)
def plain(session: nox.Session) -> None:
    """The wheel alone: it works, and what needs an extra names it."""
    session.install(".")
    tried(session, "plain")


@nox.session(python=HERE)
@nox.parametrize("extra", EXTRAS)
def extra(session: nox.Session, extra: str) -> None:
    """The wheel with one extra does what the extra is for."""
    session.install(f".[{extra}]")
    tried(session, extra)


def brought_by(extra: str) -> set[str]:
    """The extra and those of this package that it brings, and these bring."""
    named = [
        line.removeprefix("captum-ext[").removesuffix("]") for line in OPTIONAL[extra] if line.startswith("captum-ext[")
    ]
    return {extra}.union(*(brought_by(one) for names in named for one in names.split(",")))


@nox.session(python=HERE)
@nox.parametrize("missing", MISSING)
def without(session: nox.Session, missing: str) -> None:
    """The suite where one extra is not there, nor those that bring it: what needs it is skipped."""
    others = [name for name in (*MISSING, "timm") if missing not in brought_by(name)]
    session.env["CAPTUM_EXT_WITHOUT"] = ",".join(name for name in EXTRAS if missing in brought_by(name))
    session.install(f".[{','.join(others)}]", *RUNNER)
    lacking = [option for name, options in OF_HOSTS.items() if name not in others for option in options]
    tested(session, "-p", "tests.without", "tests", *OF_THE_CHECKOUT)
    tested(session, "-p", "tests.without", *DOCTESTS, *lacking)
