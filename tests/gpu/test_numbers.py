"""Every method, metric, upsampler and adapter gives on a GPU the numbers of the CPU."""

import pytest
import torch

from captum_ext.attr import ExpectedGradients, IntegratedGradients
from captum_ext.metrics import deletion, diff_id, insertion
from captum_ext.upsampling import USUUpsampler
from tests.core.device_entries import ENTRIES, IMAGES, MAPS, REFERENCES, WEIGHTS, model_with
from tests.core.entries import UPSAMPLERS, over_a_folder, tensors_of
from tests.gpu.networks import Convolutions, images

pytestmark = pytest.mark.gpu

ALL = {**ENTRIES, **UPSAMPLERS}
# Pillow has bytes and float32, scikit-image's segments are those of float32 images
AS_FLOAT32 = ("lanczos",)
PRECISION = {torch.float32: 1e-3, torch.float64: 1e-9}


# Scores over their range, which is 10,000 times smaller than they are: a rounding in float32 is 1e-3 of it.
CONDITION = {"insertion of ranges": 10}


def assert_equal(actual, expected, relative, scale=None):
    """Equal up to a share of the scale, the largest value unless given; NaN where NaN is."""
    assert actual.shape == expected.shape
    actual, expected = actual.cpu().double(), expected.double()
    assert bool((actual.isnan() == expected.isnan()).all())
    scale = largest([expected]) if scale is None else scale
    assert largest([actual - expected]) <= relative * scale + 1e-12


def largest(tensors):
    """The largest absolute value of several tensors."""
    return max(float(one.double().nan_to_num(0).abs().max()) if one.numel() else 0.0 for one in tensors)


@pytest.mark.parametrize("dtype", PRECISION, ids=str)
@pytest.mark.parametrize("name", ALL)
def test_every_entry_has_the_numbers_of_the_cpu(device, name, dtype):
    given = [one.to(dtype) for one in (IMAGES, REFERENCES, MAPS)]
    expected = tensors_of(ALL[name](model_with(WEIGHTS.to(dtype)), *given))
    actual = tensors_of(ALL[name](model_with(WEIGHTS.to(device, dtype)), *(one.to(device) for one in given)))
    relative = PRECISION[torch.float32 if name in AS_FLOAT32 else dtype] * CONDITION.get(name, 1)
    for one, other in zip(actual, expected, strict=True):  # a delta is a difference of numbers as large as the maps
        assert_equal(one, other, relative, scale=largest(expected))


def test_a_run_over_a_data_set_has_the_rows_of_the_cpu(device, tmp_path):
    model = Convolutions().eval()
    given = images(4, 8), images(3, 8, seed=1), images(4, 8, seed=2)
    expected = over_a_folder(tmp_path / "cpu")(model, *given)
    moved = Convolutions().eval().to(device)
    actual = over_a_folder(tmp_path / "gpu")(moved, given[0], given[1].to(device), given[2])
    for one, other in zip(actual, expected, strict=True):
        assert_equal(one, other, 1e-3)


@pytest.mark.parametrize("where", ["inputs", "cpu"])
def test_references_and_targets_may_be_on_either_device(device, where):
    model, x, references, target = Convolutions().eval(), images(3, 16), images(4, 16, seed=1), torch.tensor([0, 3, 1])

    def explained(model, x, references, target):
        return ExpectedGradients(model, references=references).attribute(
            x, target=target, n_steps=12, generator=torch.Generator().manual_seed(0), return_convergence_delta=True
        )

    expected = explained(model, x, references, target)
    there = device if where == "inputs" else torch.device("cpu")
    actual = explained(model.to(device), x.to(device), references.to(there), target.to(there))
    for one, other in zip(actual, expected, strict=True):
        assert_equal(one, other, 1e-3)


@pytest.mark.parametrize("metric", [insertion, deletion, diff_id])
def test_metrics_rank_and_remove_the_same_pixels(device, metric):
    model, x, maps = Convolutions().eval(), images(3, 32), images(3, 32, seed=1)
    expected = metric(model, x, maps, target=1)
    actual = metric(model.to(device), x.to(device), maps.to(device), target=1)
    assert_equal(actual.scores, expected.scores, 1e-3)
    assert_equal(actual.auc, expected.auc, 1e-3)


@pytest.mark.parametrize("name", ["GradCAM", "LayerCAM", "FinerCAM"])
def test_cams_have_the_maps_of_the_cpu(device, name):
    pytest.importorskip("pytorch_grad_cam")
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    from captum_ext_integrations import grad_cam

    def explained(device):
        model = Convolutions().eval().to(device)
        cam = getattr(grad_cam, name)(
            model, [model.features[6]], upsampler=USUUpsampler(segmenter="grid"), normalize=False
        )
        return cam(images(2, 32).to(device), targets=[ClassifierOutputTarget(1)] * 2)

    assert_equal(torch.as_tensor(explained(device)), torch.as_tensor(explained("cpu")), 1e-3)


def test_quantus_scores_are_those_of_the_cpu(device):
    pytest.importorskip("quantus")
    from captum_ext_integrations.quantus_metrics import Deletion, DiffID, Insertion

    def scored(device):
        model = Convolutions().eval().to(device)
        given = {"x_batch": images(2, 16).numpy(), "y_batch": torch.tensor([1, 2]).numpy()}
        maps = images(2, 16, seed=1)[:, :1].numpy()
        return [
            torch.tensor(metric()(model=model, a_batch=maps, device=str(device), **given))
            for metric in (Insertion, Deletion, DiffID)
        ]

    for one, other in zip(scored(device), scored("cpu"), strict=True):
        assert_equal(one, other, 1e-3)


@pytest.mark.parametrize("layout", [None, True, False])
def test_channels_last_and_autocast_change_digits_alone(device, layout):
    x = images(2, 32)
    expected = IntegratedGradients(Convolutions().eval()).attribute(x, target=1, n_steps=20)
    method = IntegratedGradients(Convolutions().eval().to(device))
    method.channels_last = layout
    assert_equal(method.attribute(x.to(device), target=1, n_steps=20), expected, 1e-3)
    with torch.autocast(device.type, torch.bfloat16):
        half = method.attribute(x.to(device), target=1, n_steps=20)
    assert half.dtype == torch.float32
    assert_equal(half, expected, 0.1)
