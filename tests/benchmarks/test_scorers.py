"""What judges the scorers of USU: the rival of the benchmark, and its tables from rows."""

import pandas as pd
import pytest
import torch

from captum_ext.upsampling import USU
from examples.benchmarks.measurements.scorers import (
    DEFAULT,
    KernelShap,
    interval,
    standardised,
    table_of,
    table_of_agreement,
)

LABELS = torch.arange(12).reshape(2, 6) // 2
IMAGE = torch.rand(1, 1, 2, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("scorer", [KernelShap(24), standardised])
def test_scores_of_a_sum_are_its_parts(scorer):
    model = lambda x: x.sum((1, 2, 3))  # noqa: E731
    found = USU(segmenter=LABELS, scorer=scorer, fill=0.0).score_map(IMAGE, model)
    torch.testing.assert_close(found, USU(segmenter=LABELS, fill=0.0).score_map(IMAGE, model), rtol=0, atol=1e-3)


def rows():
    shared = {"segments": 3, "gradients": 0.0, "D1": 0.0}
    return pd.DataFrame(
        [
            {"sample": sample, "method": name, "scores": scores, "forwards": passes, "ROAD, Lite0": road, **shared}
            for sample in range(3)
            for name, scores, passes, road in (
                (DEFAULT, [0.0, 0.5, 1.0], 6.0, 0.5 + sample),
                ("reversed", [1.0, 0.5, 0.0], 3.0, 0.25 + sample),
            )
        ]
    )


def test_the_table_of_agreement_has_passes_and_rank_correlations():
    assert table_of_agreement(rows())[1] == [[DEFAULT, 2.0, 1.0, 1.0, 0.0], ["reversed", 1.0, -1.0, -1.0, 0.0]]


def test_the_table_of_a_metric_has_paired_differences_in_its_direction():
    (own, other) = table_of(rows(), "ROAD, Lite0")[1]
    assert own == [DEFAULT, 1.5, "", ""]
    assert other == ["reversed", 1.25, "-0.250 (-0.250 to -0.250)", "3/3"]
    low, high = interval(torch.tensor([0.0, 1.0, 2.0, float("nan")], dtype=torch.float64))
    assert 0 <= low < 1 < high <= 2
