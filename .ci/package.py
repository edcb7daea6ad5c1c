"""Build wheel and sdist and look at them as whoever installs them would.

    python .ci/package.py FOLDER

Both are built twice and have to be the same bit for bit; the wheel is built from the sdist. `twine check` reads what
PyPI would show, `check-wheel-contents` what is in the wheel; a tag has to be the version's. The wheel is installed
alone, out of the checkout's reach, and tests/consumer/uses_it.py is checked against its types by mypy and pyright.
Beside them an SBOM (CycloneDX) and the licences of what is installed are written.
"""

from __future__ import annotations

import filecmp
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import venv
from collections.abc import Mapping
from importlib.metadata import distributions
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CONSUMER = ROOT / "tests" / "consumer" / "uses_it.py"
BIN = Path(sys.executable).parent
IMPORTS = (
    "import pathlib, sys, captum_ext, captum_ext.attr, captum_ext.metrics, captum_ext.upsampling, captum_ext.dataset, "
    "captum_ext_integrations.viewer.html as html; "
    "here = pathlib.Path(captum_ext.__file__); assert here.is_relative_to(sys.argv[1]), here; "
    "assert html.static('page.js'); print('captum-ext', captum_ext.__version__, 'works from its wheel')"
)


def call(*command: str | Path, **environment: str) -> None:
    print("$", *command, flush=True)
    subprocess.run([str(part) for part in command], check=True, cwd=ROOT, env={**os.environ, **environment})


def tool(name: str) -> Path:
    return BIN / name


def built(folder: Path) -> list[Path]:
    """An sdist, and a wheel from it; times in archives are those of the commit."""
    found = subprocess.run(["git", "log", "-1", "--format=%ct"], cwd=ROOT, capture_output=True, text=True)
    call(sys.executable, "-m", "build", "--outdir", folder, ROOT, SOURCE_DATE_EPOCH=found.stdout.strip() or "315532800")
    return sorted(folder.iterdir())


def same_twice(out: Path) -> list[Path]:
    """Build twice; keep the first of two that are equal."""
    with tempfile.TemporaryDirectory() as other:
        first, second = built(out), built(Path(other))
        differ = [one.name for one, two in zip(first, second, strict=True) if not filecmp.cmp(one, two, shallow=False)]
    if differ:
        raise SystemExit(f"not the same twice: {differ}")
    return first


def installed_alone(wheel: Path) -> None:
    """Import it, and check the types that a project sees, in an environment of its own with what is installed here."""
    with tempfile.TemporaryDirectory() as folder:
        place, project = Path(folder) / "environment", Path(folder) / "project"
        venv.create(place, symlinks=True)
        python = place / "bin" / "python"
        site = Path(read(python, "import sysconfig; print(sysconfig.get_path('purelib'))"))
        # dependencies only: a folder that a .pth names has no .pth of its own, as an editable installation would be
        (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
        call(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", site, wheel)
        project.mkdir()
        shutil.copy(CONSUMER, project)
        settings = {"typeCheckingMode": "standard", "pythonVersion": "3.11"}
        (project / "pyrightconfig.json").write_text(json.dumps(settings))
        for command in (
            [python, "-c", IMPORTS, site],
            [tool("mypy"), "--strict", "--config-file=", "--python-executable", python, CONSUMER.name],
            [tool("basedpyright"), "--pythonpath", python, "--project", project],
        ):
            subprocess.run([str(part) for part in command], check=True, cwd=project)


def read(python: Path, program: str) -> str:
    return subprocess.run([str(python), "-c", program], check=True, capture_output=True, text=True).stdout.strip()


def tag_is_of(version: str, environment: Mapping[str, str]) -> None:
    """Where a workflow runs for a tag, it names this version, and the changelog has an entry of it."""
    if environment.get("GITHUB_REF_TYPE") != "tag":
        return
    if environment.get("GITHUB_REF_NAME") != f"v{version}":
        raise SystemExit(f"the tag {environment.get('GITHUB_REF_NAME')} is not v{version}, which this commit has")
    if f"## [{version}]" not in (ROOT / "CHANGELOG.md").read_text():
        raise SystemExit(f"CHANGELOG.md has no entry of {version}: make release VERSION={version}")


def licences(path: Path) -> None:
    """Name, version and licence of everything that is installed, a line each."""
    lines = set()
    for one in distributions():
        said = one.metadata
        licence = said["License-Expression"] or said["License"] or ""
        classifiers = [
            text.rpartition(" :: ")[2] for text in said.get_all("Classifier", []) if text.startswith("License")
        ]
        lines.add(f"{said['Name']} {one.version}: {(licence.splitlines() or [''])[0][:80] or ', '.join(classifiers)}")
    path.write_text("\n".join(sorted(lines, key=str.lower)) + "\n")


def main(out: Path) -> None:
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    sdist, wheel = sorted(same_twice(out), key=lambda path: path.suffix == ".whl")
    tag_is_of(wheel.name.split("-")[1], os.environ)
    call(sys.executable, "-m", "twine", "check", "--strict", sdist, wheel)
    call(tool("check-wheel-contents"), wheel)
    installed_alone(wheel)
    beside = out.parent / "sbom"
    beside.mkdir(exist_ok=True)
    call(tool("cyclonedx-py"), "environment", "--output-file", beside / "sbom.json", BIN / "python")
    licences(beside / "licences.txt")
    print("built, checked and described:", sdist.name, wheel.name, beside)


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute())
