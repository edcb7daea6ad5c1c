"""Target layers that a network calls more than once: the map of the first call, said where an upsampler is used."""

import warnings

import numpy as np
import pytest
import torch

from captum_ext.upsampling import InterpolationUpsampler
from tests.integrations.cli import tiny

host = pytest.importorskip("pytorch_grad_cam")
ours = pytest.importorskip("captum_ext_integrations.grad_cam")
TARGETS = [host.utils.model_targets.ClassifierOutputTarget(1)]
NEAREST = {"upsampler": InterpolationUpsampler("nearest"), "normalize": False, "as_tensor": True}


@pytest.fixture
def images():
    return torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def of_first_call(model, images):
    """GradCAM of the pooling's first call by hand."""
    kept = []
    handle = model.pool.register_forward_hook(lambda _, __, output: kept.append(output))
    score = model(images)[0, 1]
    handle.remove()
    (gradients,) = torch.autograd.grad(score, kept[0])
    return (gradients.mean((2, 3), keepdim=True) * kept[0]).sum(1).clamp(min=0).detach()


def test_with_an_upsampler_the_first_call_is_explained_with_a_warning(images):
    model = tiny.tutorial()
    cam = ours.GradCAM(model, [model.pool], **NEAREST)
    message = r"target layer, MaxPool2d\(.*\), is called 2 times in a pass, and its map is that of the first call. Give"
    with pytest.warns(UserWarning, match=message):
        maps = cam(images, TARGETS)
    expected = of_first_call(model, images).repeat_interleave(2, 1).repeat_interleave(2, 2)
    torch.testing.assert_close(maps, expected)


def test_of_several_layers_the_others_may_be_of_other_calls_which_the_warning_says(images):
    model = tiny.tutorial()
    cam = ours.GradCAM(model, [model.pool, model.conv2], **NEAREST)
    with pytest.warns(UserWarning, match="Maps of the other layers may be of other calls, too"):
        cam(images, TARGETS)


def test_layers_that_are_called_once_give_no_warning_also_in_the_second_pass(images):
    model = tiny.tutorial()
    cam = ours.GradCAM(model, [model.conv1, model.conv2, model.conv2], **NEAREST)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(cam(images, TARGETS), cam(images, TARGETS))


def test_without_an_upsampler_the_map_is_the_hosts_and_nothing_is_said(images):
    model = tiny.tutorial()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        maps = [library.GradCAM(model, [model.pool])(images, TARGETS) for library in (host, ours)]
    assert np.array_equal(*maps)


def test_full_grad_has_no_terms_of_layers_that_are_called_more_than_once(images):
    class Again(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.fc = torch.nn.Conv2d(3, 3, 3, padding=1), torch.nn.Linear(3, 2)

        def forward(self, inputs):
            return self.fc(self.conv(self.conv(inputs)).mean((2, 3)))

    cam = ours.FullGrad(Again(), [], **NEAREST)
    with (
        pytest.warns(UserWarning, match="is called 2 times"),
        pytest.raises(NotImplementedError, match="FullGrad with an upsampler is for layers that are called once"),
    ):
        cam(images, TARGETS)
