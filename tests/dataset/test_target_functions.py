"""Runs over data sets whose target is a function of what the model returns."""

import pytest
import torch
from torch import nn

from captum_ext.attr import IntegratedGradients
from captum_ext.dataset import RunOptions, attribute_dataset
from captum_ext.exceptions import ArgumentError, ArgumentTypeError, RunFolderError
from captum_ext.models.targets import OutputTarget, RegionTarget

IMAGES = torch.sin(torch.arange(5 * 2 * 4 * 4.0)).reshape(5, 2, 4, 4)
MASK = torch.eye(4, dtype=torch.bool)
QUIET = RunOptions(batch_size=2, show_progress=False)


class Segmenter(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.head = nn.Conv2d(2, 3, 1)

    def forward(self, x):
        return {"out": self.head(x)}


def test_a_run_explains_a_function_and_goes_on_only_with_its_like(tmp_path):
    model, data = Segmenter().eval(), torch.utils.data.TensorDataset(IMAGES)
    target = RegionTarget(MASK, 1)

    def run(chosen):
        return attribute_dataset(
            IntegratedGradients(model), data, tmp_path, target=chosen, fields=["score", "map", "insertion"], run=QUIET
        )

    done = run(target)
    table = done.table(["index", "score"]).to_pydict()
    expected = (model(IMAGES)["out"][:, 1] * MASK).sum((1, 2))
    torch.testing.assert_close(torch.tensor(table["score"]), expected.detach())
    maps = IntegratedGradients(model).attribute(IMAGES, target=target).sum(1)
    torch.testing.assert_close(done.maps().float(), maps.float(), rtol=1e-2, atol=1e-2)
    assert "target" not in done.table().column_names
    assert len(run(RegionTarget(MASK.clone(), 1)).table(["index"])) == 5  # the same, made again
    with pytest.raises(RunFolderError, match="target"):
        run(RegionTarget(MASK, 2))


def test_a_function_has_no_prediction_and_is_no_class(tmp_path):
    method, data = IntegratedGradients(Segmenter().eval()), torch.utils.data.TensorDataset(IMAGES)
    done = attribute_dataset(method, data, tmp_path / "a", target=OutputTarget("out", 0, 1, 1), run=QUIET)
    assert "prediction" not in done.table().column_names
    with pytest.raises(ArgumentError, match='without "prediction" for a model without classes'):
        attribute_dataset(
            method, data, tmp_path / "b", target=OutputTarget("out", 0, 1, 1), fields=["prediction"], run=QUIET
        )
    with pytest.raises(ArgumentTypeError, match="the class itself"):
        attribute_dataset(method, data, tmp_path / "c", target=OutputTarget, run=QUIET)
    with pytest.raises(ArgumentTypeError, match='an int, "predicted", "label", a function or None'):
        attribute_dataset(method, data, tmp_path / "d", target=[OutputTarget(0)], run=QUIET)
