"""GuidedIG, BlurIG and XRAI against `saliency`, the package of their authors, where it is installed.

It is no dependency, since it needs an older NumPy: `pip install --no-deps saliency==0.2.1`. The measurement
`examples.benchmarks.measurements.saliency_agreement` does the same on a large network.
"""

import numpy as np
import pytest
import torch
from skimage import data
from torch import nn

from captum_ext.attr import XRAI, BlurIG, GuidedIG
from captum_ext.segmentation import MultiScaleSegmenter

saliency = pytest.importorskip("saliency.core")
SIDE = 96


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 8, 5, stride=2), nn.ReLU(), nn.Conv2d(8, 8, 3, stride=2), nn.Tanh(), nn.Flatten()]
    features = nn.Sequential(*layers)
    width = features(torch.zeros(1, 3, SIDE, SIDE)).shape[1]
    return nn.Sequential(features, nn.Linear(width, 5)).double().eval().requires_grad_(False)


@pytest.fixture(scope="module")
def image():
    pixels = torch.from_numpy(data.chelsea().copy()).permute(2, 0, 1)[None].double() / 127.5 - 1
    return nn.functional.interpolate(pixels, size=SIDE, mode="area")


@pytest.fixture
def theirs(model, image, monkeypatch):
    quantile = np.quantile
    monkeypatch.setattr(np, "quantile", lambda *given, interpolation="linear": quantile(*given, method=interpolation))

    def call(points, call_model_args=None, expected_keys=None):
        leaf = torch.from_numpy(np.asarray(points)).permute(0, 3, 1, 2).contiguous().requires_grad_()
        gradients = torch.autograd.grad(model(leaf)[:, 1].sum(), leaf)[0]
        return {saliency.INPUT_OUTPUT_GRADIENTS: gradients.permute(0, 2, 3, 1).numpy()}

    def make(name, **settings):
        return getattr(saliency, name)().GetMask(image[0].permute(1, 2, 0).numpy(), call, **settings)

    return make


def test_guided_ig_is_theirs(model, image, theirs):
    ours = GuidedIG(model).attribute(image, target=1, n_steps=200)[0].permute(1, 2, 0)
    np.testing.assert_allclose(ours, theirs("GuidedIG", x_steps=200), rtol=1e-5, atol=1e-9)


def test_blur_ig_with_their_border_and_derivative_is_theirs(model, image, theirs):
    expected = theirs("BlurIG", steps=100)
    method = BlurIG(model, border="zero", derivative_step=0.01)
    ours = method.attribute(image, target=1, n_steps=100)[0].permute(1, 2, 0)
    np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("algorithm", ["full", "fast"])
def test_xrai_with_their_sizes_is_theirs(algorithm, model, image, theirs):
    extra = saliency.XRAIParameters(steps=100, algorithm=algorithm)
    expected = theirs("XRAI", extra_parameters=extra, batch_size=10)
    method = XRAI(model, segmenter=MultiScaleSegmenter(dilation=5), algorithm=algorithm, min_pixels=50)
    ours = method.attribute(image, target=1, n_steps=100, method="linspace")[0].sum(0)
    np.testing.assert_allclose(ours, expected, rtol=1e-3, atol=1e-7)  # they sum in float32


def test_their_segments_are_ours(image):
    from saliency.core import xrai

    masks = xrai._get_segments_felzenszwalb(image[0].permute(1, 2, 0).numpy())
    [ours] = MultiScaleSegmenter(dilation=5)(image)
    assert np.array_equal(ours.numpy(), np.stack(masks))
