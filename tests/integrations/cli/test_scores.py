"""Several methods compared: tables with and without tests, and mistakes before the first run."""

import numpy as np
import pandas as pd
import pytest
import torch

from captum_ext_integrations.cli import tables
from captum_ext_integrations.cli.methods import METHODS, Entry
from tests.integrations.cli.calls import FEW_STEPS, TINY, call, fail, succeed

BOTH = ["--method", "ig", "--method", "saliency"]


class Constant:
    """Maps without any order, which no metric can score."""

    def __init__(self, loaded, _):
        self.forward_func = loaded.model

    def __call__(self, inputs, target):
        return torch.ones(len(inputs), *inputs.shape[-2:])


class Failing(Constant):
    """Maps that give no row."""

    def __call__(self, inputs, target):
        return super().__call__(inputs, target) / 0


def test_one_image_has_means_without_interval_and_test(here):
    output = succeed("evaluate", "photos", *FEW_STEPS, *BOTH, "--metric", "deletion", "--limit", 1, "--out", "scores")
    assert "two images have a deletion score with every method (images: ig 1, saliency 1)" in output
    table = pd.read_csv("scores/scores.csv")
    assert table["n"].tolist() == [1, 1]
    assert table["mean"].notna().all()
    assert table[["ci_low", "ci_high", "p", "p_holm"]].isna().all(None)
    assert (here / "scores/scores.png").exists()


def test_a_method_that_no_metric_can_score_does_not_take_the_table_away(here, monkeypatch):
    monkeypatch.setitem(METHODS, "saliency", Entry(Constant, "", ()))
    output = succeed("evaluate", "photos", *FEW_STEPS, *BOTH, "--metric", "diff_id", "--out", "scores")
    assert "two images have a diff_id score with every method (images: ig 4, saliency 0)" in output
    table = pd.read_csv("scores/scores.csv").set_index("method")
    assert table["n"].to_dict() == {"ig": 4, "saliency": 0}
    assert table["excluded"].to_dict() == {"ig": 0, "saliency": 4}
    assert table["mean"].notna().to_dict() == {"ig": True, "saliency": False}


def test_a_method_without_any_row_does_not_take_the_table_away_and_the_exit_code_says_so(here, monkeypatch):
    monkeypatch.setitem(METHODS, "saliency", Entry(Failing, "", ()))
    result = call("evaluate", "photos", *FEW_STEPS, *BOTH, "--metric", "diff_id", "--out", "scores")
    assert result.exit_code == 1, result.output
    assert "0 of 4 images in scores/saliency" in result.output
    assert pd.read_csv("scores/scores.csv")["n"].tolist() == [4, 0]


def test_a_metric_without_enough_scores_stands_beside_one_that_is_tested(capsys):
    index = pd.Index([0, 1, 2], name="index")
    scores = {
        "a": pd.DataFrame({"insertion": [1.0, 2.0, 3.0], "diff_id": [1.0, 3.0, np.nan]}, index=index),
        "b": pd.DataFrame({"insertion": [2.0, 3.0, 5.0], "diff_id": [np.nan, np.nan, 4.0]}, index=index),
    }
    table = tables.compared(scores, ["insertion", "diff_id"], control="a")
    assert table["metric"].tolist() == ["insertion", "insertion", "diff_id", "diff_id"]
    assert table["method"].tolist() == ["a", "b", "a", "b"]
    assert table["n"].tolist() == [3, 3, 2, 1]
    assert table["mean"].round(4).tolist() == [2.0, 3.3333, 2.0, 4.0]
    assert table["better_on"].fillna(-1).tolist() == [-1, 3, -1, -1]
    assert table["p"].isna().tolist() == [True, False, True, True]
    assert "(images: a 2, b 1)" in capsys.readouterr().err
    tables.show(table, "a")
    assert capsys.readouterr().out.splitlines()[-1].split() == ["diff_id", "b", "1", "4", "none"]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--method", "gradcam", "--layer", "9"], "--layer to be one of 0, 1, 2, 3"),
        (["--method", "eg", "--references", "none"], "none is not a file"),
        (["--method", "lpi"], "given for lpi (--references FOLDER or FILE)"),
    ],
)
def test_a_mistake_in_the_last_method_is_told_before_the_first_has_run(more, message, here):
    assert message in fail("evaluate", "photos", *TINY, "--method", "ig", *more, "--out", "scores")
    assert not (here / "scores").exists()
