"""Metrics with a mask of each sample, in a run over a data set."""

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from captum_ext.attr import IntegratedGradients
from captum_ext.dataset import OnMasks, RunOptions, attribute_dataset
from captum_ext.exceptions import ArgumentError, ArgumentTypeError, RunFolderError
from captum_ext.metrics import concentration, iou, pointing_game

QUIET = RunOptions(show_progress=False, batch_size=2)
IMAGES = torch.tensor([[3.0, 1.0], [1.0, 3.0], [2.0, 2.0]]).reshape(3, 1, 1, 2)
MASKS = torch.tensor([[1, 0], [1, 0], [0, 1]]).reshape(3, 1, 2)


class Sum(nn.Module):
    """One score, the sum of an image: a map is the image itself."""

    def forward(self, images):
        return images.sum((1, 2, 3))


def run(folder, metrics, **options):
    method = IntegratedGradients(Sum())
    return attribute_dataset(
        method, TensorDataset(IMAGES), folder, target=None, metrics=metrics, run=options.get("run", QUIET)
    )


def test_each_sample_is_compared_with_its_own_mask(tmp_path):
    metrics = {
        "on_object": OnMasks(concentration, MASKS),
        "hit": OnMasks(pointing_game, MASKS),
        "iou": OnMasks(iou, MASKS),
    }
    found = run(tmp_path, metrics).table(["on_object", "hit", "iou"]).to_pydict()
    assert found["on_object"] == pytest.approx([3 / 4, 1 / 4, 2 / 4])
    assert found["hit"][:2] == [1, 0]
    assert found["iou"][:2] == [1, 0]


@pytest.mark.parametrize("masks", [list(MASKS.bool()), list(MASKS.numpy()), MASKS[:, None].float()])
def test_masks_are_a_tensor_or_a_sequence_of_tensors_or_arrays(tmp_path, masks):
    found = run(tmp_path, {"on_object": OnMasks(concentration, masks)}).table(["on_object"]).to_pydict()
    assert found["on_object"] == pytest.approx([3 / 4, 1 / 4, 2 / 4])


def test_a_sample_without_a_mask_has_no_number(tmp_path):
    masks = [None, MASKS[1], None]
    found = run(tmp_path, {"on_object": OnMasks(concentration, masks)}).table(["on_object"]).column(0).to_numpy()
    assert str(found.tolist()) == "[nan, 0.25, nan]"


def test_masks_are_asked_for_by_the_index_in_the_data_set(tmp_path):
    asked = []

    class Read:
        def __len__(self):
            return 3

        def __getitem__(self, index):
            asked.append(index)
            return MASKS[index]

        def settings(self):
            return {}

    run(tmp_path, {"on_object": OnMasks(concentration, Read())})
    assert asked == [0, 1, 2]


def test_a_run_does_not_go_on_with_other_masks(tmp_path):
    run(tmp_path, {"on_object": OnMasks(concentration, MASKS)})
    with pytest.raises(RunFolderError, match="metrics"):
        run(tmp_path, {"on_object": OnMasks(concentration, 1 - MASKS)})


def test_a_function_without_a_model_has_metrics_of_masks(tmp_path):
    found = attribute_dataset(
        lambda inputs, target: inputs,
        TensorDataset(IMAGES),
        tmp_path,
        target=None,
        fields=("map",),
        metrics={"on_object": OnMasks(concentration, MASKS)},
        run=QUIET,
    )
    assert found.table(["on_object"]).to_pydict()["on_object"] == pytest.approx([3 / 4, 1 / 4, 2 / 4])


@pytest.mark.parametrize(
    ("metric", "masks", "kind", "said"),
    [
        (concentration, MASKS[:2], ArgumentError, "one for each of the 3 samples.*2"),
        (concentration, MASKS[..., :1], ArgumentError, "as the attributions"),
        (concentration, 255 * MASKS, ArgumentError, "boolean, or 0 and 1"),
        (concentration, [MASKS[0], MASKS[1, :, :1], MASKS[2]], ArgumentError, "of one shape in a batch"),
        (lambda maps, masks: maps, MASKS, ArgumentError, "one number for each of 2 rows"),
        (concentration, torch.tensor(3), ArgumentTypeError, "a tensor or a sequence of masks by index"),
        (concentration, {0: MASKS[0]}, ArgumentTypeError, "a tensor or a sequence of masks by index"),
        (concentration, [["object"]] * 3, ArgumentTypeError, "tensors or arrays, boolean or of 0 and 1"),
        (concentration, 3, ArgumentTypeError, "a tensor or a sequence of masks by index"),
        (concentration, "masks", ArgumentTypeError, "a tensor or a sequence of masks by index"),
        ("concentration", MASKS, ArgumentTypeError, "a function of attributions and masks"),
        (int, MASKS, ArgumentTypeError, "a function of attributions and masks"),
    ],
)
def test_masks_that_cannot_be_used_are_refused(tmp_path, metric, masks, kind, said):
    with pytest.raises(kind, match=said):
        run(tmp_path, {"on_object": OnMasks(metric, masks)})


def test_a_sequence_that_is_shorter_than_it_says_is_refused():
    class Short(list):
        def __len__(self):
            return 3

    with pytest.raises(ArgumentError, match="none for sample 2"):
        OnMasks(concentration, Short(MASKS[:2])).of_rows(IMAGES[:, 0], [2])
