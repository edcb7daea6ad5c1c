"""The page of verdicts in the docs says what the kept rows say."""

import re
from importlib.metadata import version
from pathlib import Path

import pytest

from examples.benchmarks.engine.kept_rows import digest, kept
from examples.benchmarks.engine.summary import verdict_lines
from examples.benchmarks.report import verdicts

ROOT = Path(__file__).parents[2]
# scipy 1.12, the oldest that is tested, has other p values of signed ranks with ties: these verdicts are at the border.
TURNED = [
    ("Tables 1, 5", "USU, paper > bilinear", "shapes, RRR-CNN, gradient, 7, pointing game"),
    ("(our settings)", "USU > bilinear", "shapes, RRR-MLP, gradient, 7, pointing game"),
]


@pytest.fixture(scope="module")
def results():
    return kept(ROOT / "examples" / "benchmarks" / "results")


def test_the_rows_are_those_of_the_run_that_the_page_names(results):
    rows, about = results
    page = (ROOT / "docs" / "results.md").read_text()
    assert digest(rows) == about["digest"]
    assert about["digest"] in page
    assert about["size"] == "full"
    assert about["failures"] == []


def test_every_verdict_of_the_page_follows_from_the_rows(results):
    rows, about = results
    page = (ROOT / "docs" / "results.md").read_text()
    lines = [line for found in verdicts(rows).values() for line in verdict_lines(found)[2:]]
    same = all(version(name) == about["versions"][name] for name in ("scipy", "numpy", "pandas"))

    def shown(line):  # without the numbers, whose last digits belong to the versions
        where, claim, data, _, n, verdict = re.split(r" \| ", line.strip("| "))
        return where, claim, data, n, verdict

    written = [line for line in page.splitlines() if line.endswith("** |")]
    assert len(lines) == len(written) > 100
    if same:
        assert lines == written
    pairs = zip(map(shown, lines), map(shown, written), strict=True)
    differing = [pair[0][:3] for pair in pairs if pair[0] != pair[1]]
    assert differing == (TURNED if version("scipy").startswith("1.12.") else [])


def test_the_run_has_the_sizes_that_were_promised(results):
    rows, _ = results
    assert rows["paths-imagenet20"]["sample"].nunique() == 20
    assert rows["usu-faithfulness-imagenet20"]["sample"].nunique() == 20
    assert rows["paths-digits"]["sample"].nunique() == 200
    for name, table in rows.items():
        if name != "usu-axioms":
            assert {"gradients", "forwards", "seconds"} <= set(table.columns)
    shapes = rows["usu-shapes"]
    assert float(shapes[shapes["method"] == "Oracle-IWMR"]["iou"].min()) > 0.995
