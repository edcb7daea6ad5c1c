"""The points of curves in a run, beside their areas."""

from functools import partial

import numpy as np
import pytest
import torch

from captum_ext.dataset import RunOptions, attribute_dataset
from captum_ext.exceptions import ArgumentError
from captum_ext.metrics import deletion, insertion
from tests.dataset.toy import Bent, Images, linear

QUIET = RunOptions(batch_size=4, show_progress=False)
IMAGES = Images(6)
FINE = partial(insertion, n_steps=4, baselines=0)


def mass(model, images, maps, target):
    return maps.flatten(1).sum(1)


def run(out, fields=("map", "deletion", "curves"), metrics=None, images=IMAGES):
    made = {"fields": fields, "metrics": metrics, "run": QUIET, "forward_func": Bent()}
    return attribute_dataset(linear(), images, out, target="label", **made)


def points(found, name):
    return np.stack([np.reshape(one, (2, -1)) for one in found.table([name])[name].to_pylist()])


def test_points_are_those_of_the_metrics_whatever_their_number(tmp_path):
    found = run(tmp_path / "run", metrics={"fine": FINE, "mass": mass})
    images = torch.stack([Images(6)[k][0] for k in range(6)])
    target = torch.tensor([0, 1] * 3)
    maps = linear().attribute(images, target=target)
    for name, metric in (("deletion", deletion), ("fine", FINE)):
        curve = metric(Bent(), images, maps, target)
        written = points(found, f"{name}_curve")
        np.testing.assert_allclose(written[:, 0], curve.fractions.double().expand(6, -1).numpy())
        np.testing.assert_allclose(written[:, 1], curve.scores.detach().double().numpy(), rtol=1e-5)
        np.testing.assert_allclose(found.table([name])[name].to_numpy(), curve.auc.detach().double().numpy(), rtol=1e-5)
    assert found.table().column_names == ["index", "target", "map_scale", "deletion", "fine", "mass"]
    assert "deletion_curve" not in run(tmp_path / "without", fields=("map", "deletion")).table().column_names


def test_a_run_that_goes_on_has_the_same_points(tmp_path):
    whole = run(tmp_path / "whole")
    with pytest.warns(UserWarning, match="1 of 6 samples have no row"):
        part = run(tmp_path / "part", images=Images(6, broken=(5,)))
    assert len(part) == 5
    again = run(tmp_path / "part")
    assert again.complete
    np.testing.assert_array_equal(points(again, "deletion_curve"), points(whole, "deletion_curve"))


def test_a_curve_that_does_not_count_has_no_scores(tmp_path):
    found = run(tmp_path / "run", metrics={"fine": partial(FINE, normalize="input")}, fields=("map", "curves"))
    areas = found.table(["fine"])["fine"].to_pylist()
    written = points(found, "fine_curve")
    assert np.isnan(written[:, 1]).all(1).tolist() == [area is None for area in areas]


@pytest.mark.parametrize(
    ("fields", "metrics", "message"),
    [
        (("map", "curves"), None, '`fields` to be a metric of a curve beside "curves"'),
        (("deletion", "curves"), {"deletion_curve": FINE}, "`metrics` to be without 'deletion_curve'"),
    ],
)
def test_curves_of_no_metric_and_names_that_are_taken_are_refused(tmp_path, fields, metrics, message):
    with pytest.raises(ArgumentError, match=message):
        run(tmp_path, fields=fields, metrics=metrics)
