"""The page of verdicts in the docs says what the kept rows say."""

import re
from importlib.metadata import version
from pathlib import Path

import pytest

from examples.benchmarks.engine.kept_rows import digest, kept
from examples.benchmarks.engine.summary import fact_lines, verdict_lines
from examples.benchmarks.report import verdicts

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[2]
SIZES = {
    "paths-digits": 200,
    "usu-shapes": 80,
    "usu-axioms": 1,
    **dict.fromkeys(
        [
            "usu-patterns",
            "paths-mnist20",
            "usu-faithfulness-cifar10-20",
            "evidence-imagenet20",
            *(f"{kind}-imagenet20{end}" for kind in ("paths", "usu-faithfulness") for end in ("", "-lite1", "-lite2")),
        ],
        20,
    ),
}


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
        return (*cells[:2], *cells[3:]) if len(cells) == 5 else (*cells[:6], cells[-1])

    assert len(lines) == len(written) > 100
    if same:
        assert lines == written
    pairs = zip(map(shown, lines), map(shown, written), strict=True)
    assert [pair[0][:4] for pair in pairs if pair[0] != pair[1]] == []


def test_the_run_has_the_sizes_that_were_promised(results):
    rows, _ = results
    assert {name: table["sample"].nunique() for name, table in rows.items()} == SIZES
    for name, table in rows.items():
        if name not in ("usu-axioms", "evidence-imagenet20"):
            assert {"gradients", "forwards", "seconds"} <= set(table.columns)
    shapes = rows["usu-shapes"]
    assert float(shapes[shapes["method"] == "Oracle-IWMR"]["iou"].min()) > 0.995


def test_the_rows_have_what_an_audit_with_code_of_its_own_found(results):
    digits = results[0]["paths-digits"]
    diff_id = digits.groupby("method")["diff_id"].mean()
    behind = [diff_id[f"LPI, {n} n."] - diff_id["EG"] for n in (2, 3, 4, 5, 7)]
    assert behind == pytest.approx([-0.028, -0.082, -0.134, -0.175, -0.275], abs=0.01)
    gaps = digits.groupby("method")["relative_gap"].median()
    assert gaps["SAMP++, 14 groups"] == pytest.approx(0.97, abs=0.05)
    # 0.69 there, settings not said: a momentum of 0.9 gives 0.64 for the gradient and 1.0 for the velocity
    assert gaps["SAMP++, 14 groups, velocity"] < 0.2
