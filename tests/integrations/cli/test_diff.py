"""`captum-ext diff`: tables, the sentence, files, and the exit codes that CI reads."""

import csv

import pytest

from tests.integrations.cli.calls import FEW_STEPS, call, fail, more_photographs, succeed


@pytest.fixture
def runs(here):
    more_photographs(here)
    for folder, method, steps in (("before", "ig", "4"), ("after", "saliency", "4"), ("repeat", "ig", "5")):
        options = FEW_STEPS if method == "ig" else FEW_STEPS[:-2]
        more = ["--n-steps", steps] if method == "ig" else []
        succeed("run", "photos", *options, "--method", method, *more, "--out", folder)
    return here


def test_a_run_and_itself_are_alike_and_files_say_so(runs):
    output = succeed("diff", "before", "before", "--noise", "repeat", "--fail-on-difference", "--out", "difference")
    assert "No difference beyond noise was found. On 6 images" in output
    with (runs / "difference" / "images.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["name"] for row in rows} == {f"{place}.jpg" for place in range(6)}
    assert [float(row["correlation"]) for row in rows] == [1.0] * 6
    with (runs / "difference" / "summary.csv").open() as file:
        assert [row["measure"] for row in csv.DictReader(file)] == ["correlation", "overlap", "moved"]


def test_what_is_beyond_a_limit_has_exit_code_one_and_names_the_images(runs):
    result = call("diff", "before", "after", "--least-correlation", "0.99", "--most-moved", "2", "--most", "3")
    assert result.exit_code == 1
    assert "Beyond their limits: correlation." in result.output
    shown = result.output[result.output.index("Changed most:") :]
    assert sum(f"{place}.jpg" in shown for place in range(6)) == 3
    result = call("diff", "before", "after", "--noise", "repeat", "--fail-on-difference")
    assert result.exit_code == 1
    assert "The explanations differ by more than noise does" in result.output
    assert "The runs have other settings:" in result.output
    assert call("diff", "before", "after", "--least-correlation", "-1").exit_code == 0


def test_runs_that_cannot_be_compared_have_exit_code_two(runs):
    output = fail("diff", "before", "nothing")
    assert "nothing" in output
    succeed("run", "photos", *FEW_STEPS, "--method", "ig", "--limit", "3", "--out", "few")
    assert "over the same images" in fail("diff", "before", "few") or "at least 5 images" in fail(
        "diff", "before", "few"
    )
