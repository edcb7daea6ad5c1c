"""CAM: its mean is the logit without its bias, GradCAM is its multiple, and other networks are refused."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from captum_ext.exceptions import ArgumentError, ArgumentTypeError

host = pytest.importorskip("pytorch_grad_cam")
ours = pytest.importorskip("captum_ext_integrations.grad_cam")
quantus_explain = pytest.importorskip("captum_ext_integrations.quantus_explain")

TARGET = host.utils.model_targets.ClassifierOutputTarget
BETWEEN = {
    "nothing": lambda x: x,
    "ReLU": torch.relu,
    "ReLU6": functional.relu6,
    "SiLU": functional.silu,
    "GELU": functional.gelu,
    "Hardswish": functional.hardswish,
}
RAW = {"upsampler": "nearest", "normalize": False}


class Averaging(nn.Module):
    """A network that CAM is defined for: convolutions, an average over positions, a linear layer."""

    def __init__(self, between=torch.relu, positive=False):
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 6, 3, stride=2, padding=1), nn.Conv2d(6, 8, 3, stride=2, padding=1)
        self.drop, self.fc, self.between = nn.Dropout(), nn.Linear(8, 5), between
        for k, parameter in enumerate(self.parameters()):
            grid = torch.arange(parameter.numel(), dtype=torch.float32).reshape(parameter.shape)
            parameter.data = torch.sin(1.3 * grid + k)
        if positive:  # maps without a negative number, in which the host's max(map, 0) changes nothing
            self.fc.weight.data.abs_()

    def forward(self, x):
        maps = self.between(self.last(torch.relu(self.first(x))))
        return self.fc(self.drop(maps.mean((2, 3))))


@pytest.fixture
def images():
    return torch.rand(2, 3, 16, 24, generator=torch.Generator().manual_seed(1))


def by_loop(model, maps, classes):
    """The paper's sum over maps, one number after the other (N, h, w)."""
    weights = model.fc.weight.detach().numpy()
    expected = np.zeros((len(maps), *maps.shape[2:]))
    for n, index in enumerate(classes):
        for y, x in np.ndindex(*maps.shape[2:]):
            expected[n, y, x] = sum(weights[index, k] * maps[n, k, y, x] for k in range(maps.shape[1]))
    return expected


@given(between=st.sampled_from(sorted(BETWEEN)), classes=st.lists(st.integers(0, 4), min_size=2, max_size=2))
def test_the_map_is_that_of_the_papers_loop(between, classes):
    images = torch.rand(2, 3, 16, 24, generator=torch.Generator().manual_seed(1))
    model = Averaging(BETWEEN[between]).eval()
    maps = BETWEEN[between](model.last(torch.relu(model.first(images)))).detach().numpy()
    fine = ours.CAM(model, [model.last], **RAW)(images, [TARGET(index) for index in classes])
    np.testing.assert_allclose(fine[:, ::4, ::4], by_loop(model, maps, classes).clip(min=0), rtol=1e-4, atol=1e-5)


def test_its_mean_over_positions_and_the_bias_are_the_logit(images):
    model = Averaging(positive=True).eval()
    fine = ours.CAM(model, [model.last], **RAW)(images, [TARGET(1), TARGET(3)])
    logits = model(images).detach()[[0, 1], [1, 3]]
    np.testing.assert_allclose(fine.mean((1, 2)), logits - model.fc.bias.detach()[[1, 3]], rtol=1e-5)


def test_grad_cam_times_the_number_of_positions_is_cam(images):
    model = nn.Sequential(Averaging(nn.ReLU()).eval())
    layer = model[0].between
    cam, grad_cam = (kind(model, [layer], **RAW)(images, [TARGET(1), TARGET(3)]) for kind in (ours.CAM, ours.GradCAM))
    np.testing.assert_allclose(cam, grad_cam * 24, rtol=1e-4, atol=1e-5)
    assert cam.max() > 0


def test_without_an_upsampler_it_is_scaled_as_the_host_scales_its_maps(images):
    model = Averaging(nn.ReLU()).eval()
    scaled = [
        cam(images, [TARGET(1), TARGET(3)], aug_smooth=smooth, eigen_smooth=eigen)
        for smooth, eigen in ((False, False), (True, False), (False, True))
        for cam in (ours.CAM(model, [model.between]), host.GradCAM(model, [model.between]))
    ]
    for cam, grad_cam in zip(scaled[::2], scaled[1::2], strict=True):
        np.testing.assert_allclose(cam, grad_cam, atol=1e-5)
        assert cam.shape == (2, 16, 24)


@pytest.mark.parametrize(
    "after", [nn.Softmax(-1), nn.LogSoftmax(-1), nn.Sigmoid()], ids=["softmax", "log-softmax", "sigmoid"]
)
def test_what_keeps_classes_apart_may_come_after_the_classifier(after, images):
    model = Averaging().eval()
    plain = ours.CAM(model, [model.last], **RAW)(images, None)
    np.testing.assert_allclose(ours.CAM(nn.Sequential(model, after), [model.last], **RAW)(images, None), plain)


@pytest.mark.parametrize(
    "activation", [nn.ReLU(), nn.ReLU(inplace=True), nn.ReLU6(), functional.relu], ids=["layer", "in place", "6", "own"]
)
@pytest.mark.parametrize("upsampler", [None, "nearest", "usu"])
def test_the_layer_may_be_given_with_its_activation_or_without_it(activation, upsampler, images):
    model = Averaging(activation).eval()
    maps = [
        ours.CAM(model, [layer], upsampler=upsampler)(images, [TARGET(1), TARGET(3)])
        for layer in (model.last, model.between)
        if isinstance(layer, nn.Module)
    ]
    assert all(np.array_equal(one, maps[0]) for one in maps)
    assert maps[0].std() > 0


def test_tokens_are_averaged_over_the_grid_of_reshape_transform(images):
    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.norm, self.head = nn.Conv2d(3, 8, 8, stride=8), nn.LayerNorm(8), nn.Linear(8, 5)

        def forward(self, x):
            return self.head(self.norm(self.embed(x).flatten(2).transpose(1, 2)).mean(1))

    model = Tokens().eval()
    grid = lambda tokens: tokens.transpose(1, 2).reshape(len(tokens), 8, 2, 3)  # noqa: E731
    fine = ours.CAM(model, [model.norm], grid, **RAW)(images, [TARGET(1), TARGET(3)])
    tokens = model.norm(model.embed(images).flatten(2).transpose(1, 2)) @ model.head.weight[[1, 3]].T
    expected = torch.stack([tokens[0, :, 0], tokens[1, :, 1]]).reshape(2, 2, 3).clamp(min=0)
    np.testing.assert_allclose(fine[:, ::8, ::8], expected.detach(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float16, 0.01), (torch.bfloat16, 0.05)])
def test_half_precision_has_the_map_of_single_precision(dtype, tolerance, images):
    maps = []
    for precision in (torch.float32, dtype):
        model = Averaging().eval().to(precision)
        maps.append(ours.CAM(model, [model.last], upsampler="nearest")(images.to(precision), [TARGET(1), TARGET(3)]))
    np.testing.assert_allclose(maps[1], maps[0], atol=tolerance)


def test_volumes_have_maps_too():
    model = nn.Sequential(nn.Conv3d(1, 2, 3), nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(2, 3))
    volumes = torch.rand(1, 1, 6, 6, 6, generator=torch.Generator().manual_seed(0))
    cam, grad_cam = (kind(model, [model[1]])(volumes, [TARGET(1)]) for kind in (ours.CAM, host.GradCAM))
    assert cam.shape == (1, 6, 6, 6)
    np.testing.assert_allclose(cam, grad_cam, atol=1e-5)


def test_of_several_heads_the_one_that_gives_the_outputs_classifies(images):
    class TwoHeads(Averaging):
        def __init__(self, chosen):
            super().__init__()
            self.other, self.chosen = nn.Linear(8, 5), chosen

        def forward(self, x):
            pooled = torch.relu(self.last(torch.relu(self.first(x)))).mean((2, 3))
            return (self.fc(pooled), self.other(pooled))[self.chosen]

    maps = []
    for chosen in (0, 1):
        model = TwoHeads(chosen).eval()
        model.other.weight.data = model.fc.weight.data.flip(0)
        maps.append(ours.CAM(model, [model.last], **RAW)(images, [TARGET((1, 3)[chosen])] * 2))
    np.testing.assert_allclose(maps[0], maps[1])
    model.other.load_state_dict(model.fc.state_dict())
    with pytest.raises(ArgumentError, match="`classifier` to be given, as several .* averages, but got 'fc', 'other'"):
        ours.CAM(model, [model.last])(images, None)
    given = ours.CAM(model, [model.last], classifier=model.fc, **RAW)(images, [TARGET(1)] * 2)
    np.testing.assert_allclose(given, maps[0])


class Refused(Averaging):
    def __init__(self, head):
        super().__init__()
        self.hidden, self.head = nn.Linear(8, 8), head

    def forward(self, x):
        return self.head(self, torch.relu(self.last(torch.relu(self.first(x)))))


OTHER_NETWORKS = {
    "a hidden layer": lambda self, maps: self.fc(torch.relu(self.hidden(maps.mean((2, 3))))),
    "a maximum instead of an average": lambda self, maps: self.fc(maps.amax((2, 3))),
    "a normalisation of the averages": lambda self, maps: self.fc(functional.layer_norm(maps.mean((2, 3)), (8,))),
    "part of the positions": lambda self, maps: self.fc(maps[:, :, :2].mean((2, 3))),
    "no linear layer": lambda self, maps: maps.mean((2, 3)),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("head", OTHER_NETWORKS)
def test_a_network_that_it_is_not_defined_for_is_refused(head, images):
    model = Refused(OTHER_NETWORKS[head]).eval()
    message = "`target_layers` to be the last layer before an average over positions .* but got 'last', whose averages"
    if head == "a hidden layer":
        message = (
            "`model` to be one whose outputs are those of its linear layer, .* but got other outputs after 'hidden'"
        )
    with pytest.raises(ArgumentError, match=message):
        ours.CAM(model, [model.last])(images, None)
    assert all(not module._forward_hooks or module is model.last for module in model.modules())


def test_layers_before_the_last_are_refused_and_name_what_took_other_numbers(images):
    model = Averaging().eval()
    with pytest.raises(ArgumentError, match="but got 'first', whose averages are not what is taken by 'fc'"):
        ours.CAM(model, [model.first])(images, None)
    with pytest.raises(ArgumentError, match="`target_layers` to be layers that the model calls, but got Conv2d"):
        ours.CAM(model, [nn.Conv2d(1, 1, 1)])(images, None)
    small = nn.functional.interpolate(images, size=(4, 4))
    with pytest.raises(ArgumentError, match="layers with several positions, but got Conv2d .* where a map locates"):
        ours.CAM(model, [model.last])(small, None)


def test_what_cannot_be_the_classifier_or_a_class_is_named(images):
    model = Averaging().eval()
    with pytest.raises(ArgumentTypeError, match="`classifier` to be a linear layer .* of the model, but got Conv2d"):
        ours.CAM(model, [model.last], classifier=model.last)
    with pytest.raises(ArgumentError, match="`classifier` to be a linear layer of the model, but got Linear.* not in"):
        ours.CAM(model, [model.last], classifier=nn.Linear(8, 5))
    with (
        pytest.raises(ArgumentError, match="`targets` to be of the 5 classes, but got 7"),
        ours.CAM(model, [model.last]) as cam,
    ):
        cam(images, [TARGET(0), TARGET(7)])
    with pytest.raises(ArgumentTypeError, match="`targets` to be ClassifierOutputTarget objects"):
        ours.CAM(model, [model.last])(images, [lambda output: output[0]] * 2)


def test_nothing_of_the_model_is_changed(images):
    model = Averaging().eval()
    before, state = [one.clone() for one in model.parameters()], torch.get_rng_state()
    with ours.CAM(model, [model.last], upsampler="usu") as cam:
        cam(images, None)
        cam(images, None, aug_smooth=True)
    assert all(torch.equal(*pair) for pair in zip(before, model.parameters(), strict=True))
    assert all(one.grad is None for one in model.parameters())
    assert all(not module._forward_hooks for module in model.modules())
    assert torch.equal(state, torch.get_rng_state())


def test_a_finer_cam_of_it_says_that_it_explains_classes_only(images):
    model = Averaging().eval()
    with pytest.raises(ArgumentTypeError, match="CAM is the map of a class"):
        ours.FinerCAM(model, [model.last], base_method=ours.CAM)(images, None)


def test_quantus_knows_it_by_name(images):
    pytest.importorskip("quantus")
    model = Averaging().eval()
    labels = np.array([1, 3])
    maps = quantus_explain.explain(model, images.numpy(), labels, method="CAM", target_layers="last", upsampler="usu")
    assert maps.shape == (2, 1, 16, 24)
    softmax = quantus_explain.explain(
        model, images.numpy(), labels, method="CAM", target_layers="last", upsampler="nearest", softmax=True
    )
    expected = ours.CAM(model, [model.last], upsampler="nearest")(images, [TARGET(1), TARGET(3)])
    np.testing.assert_allclose(softmax[:, 0], expected, rtol=1e-5)
