"""The page of verdicts in the docs says what the kept rows say."""

import re
from importlib.metadata import version
from pathlib import Path

import pytest

from examples.benchmarks.engine.kept_rows import digest, kept
from examples.benchmarks.engine.summary import fact_lines, verdict_lines
from examples.benchmarks.report import verdicts

ROOT = Path(__file__).parents[2]
# scipy 1.12, the oldest that is tested, has other p values of signed ranks with ties: these verdicts are at the border.
TURNED = [
    ("Tables 1, 5", "USU, paper > bilinear", "shapes, RRR-CNN, gradient, 7", "pointing game"),
    ("(our settings)", "USU > bilinear", "shapes, RRR-MLP, gradient, 7", "pointing game"),
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
    judged = [found for found in verdicts(rows).values() if found]
    lines = [line for found in judged for line in [*fact_lines(found), *verdict_lines(found)]]
    heads = {line for line in lines if line.startswith("| where ")}
    written, inside = [], False
    for line in page.splitlines():
        inside = line in heads or (inside and bool(line))
        written += [line] * inside
    same = all(version(name) == about["versions"][name] for name in ("scipy", "numpy", "pandas"))

    def shown(line):  # without the numbers, whose last digits belong to the versions
        cells = tuple(re.split(r" \| ", line.removeprefix("| ").removesuffix(" |")))
        return (*cells[:2], *cells[3:]) if len(cells) == 5 else (*cells[:5], *cells[-2:])

    assert len(lines) == len(written) > 100
    if same:
        assert lines == written
    pairs = zip(map(shown, lines), map(shown, written), strict=True)
    differing = [pair[0][:4] for pair in pairs if pair[0] != pair[1]]
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
