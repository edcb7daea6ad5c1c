"""CAMs of models that return maps, embeddings or detections, adapted, with the targets that are for them."""

import numpy as np
import pytest
import torch
from torch import nn

from captum_ext.exceptions import ArgumentError, ModelOutputError
from captum_ext.models import adapt
from captum_ext.models.targets import ClassTarget, DetectionTarget, OutputTarget, RegionTarget, SimilarityTarget
from captum_ext.upsampling import USU

host = pytest.importorskip("pytorch_grad_cam")
ours = pytest.importorskip("captum_ext_integrations.grad_cam")

TARGET = host.utils.model_targets.ClassifierOutputTarget
SIZE, CELLS, CHANNELS = (8, 12), 2 * 3, 6
IMAGES = torch.rand(2, 3, *SIZE, generator=torch.Generator().manual_seed(1))
MASK = torch.zeros(2, 3)
MASK[0, :2] = 1
EMBEDDING = torch.tensor([1.0, -0.5, 2.0, 0.3, -1.0, 0.7])
BOX, IOU = (0, 0, 8, 8), 2 / 3
RAW = {"upsampler": "nearest", "normalize": False}
SINGLE = [
    name for name in ours.CAM_CLASSES if name not in ("CAM", "FinerCAM", "RefineCAM", "SESS", "FullGrad", "RandomCAM")
]


class Net(nn.Module):
    """Features (N, 6, 2, 3), and of them what a kind of model returns."""

    def __init__(self, kind):
        super().__init__()
        self.kind, self.features = kind, nn.Conv2d(3, CHANNELS, 4, stride=4)
        self.head, self.fc = nn.Conv2d(CHANNELS, 4, 1), nn.Linear(CHANNELS, 5)
        for k, parameter in enumerate(self.parameters()):
            grid = torch.arange(parameter.numel(), dtype=torch.float32).reshape(parameter.shape)
            parameter.data = torch.sin(1.3 * grid + k)

    def forward(self, x):
        features = self.features(x).exp()
        means = features.mean((2, 3))
        if self.kind == "maps":
            return self.head(features)
        if self.kind == "dict of maps":
            return {"out": self.head(features), "aux": x}
        if self.kind == "embedding":
            return {"image_embeds": means}
        if self.kind == "detections":
            box = torch.tensor([[0.0, 0.0, 8.0, 12.0]])
            score = lambda row: (self.fc(row)[2:3] / 40).sigmoid()  # noqa: E731
            return [{"boxes": box, "labels": torch.tensor([1]), "scores": score(row)} for row in means]
        return self.fc(means)


def adapted_of(kind):
    return adapt(Net(kind).eval(), size=SIZE, mean=0.5, std=0.5, layer="features")


def region(net, features):
    """Gradient of the sum of class 2's map in the mask: its weight at each position of the mask."""
    return net.head.weight[2].reshape(1, CHANNELS, 1, 1) * MASK * features.exp()


def similarity(_, features):
    """Gradient of the cosine of the mean z with e: (e / |e| - cos z / |z|) / |z| / positions."""
    z = features.exp().mean((2, 3))
    length, unit = z.norm(dim=1, keepdim=True), EMBEDDING / EMBEDDING.norm()
    cosine = (z / length) @ unit
    of_mean = (unit - cosine[:, None] * z / length) / length
    return of_mean[:, :, None, None] / CELLS * features.exp()


def detection(net, features):
    """Gradient of sigmoid((w z + b) / 40) times the overlap: s (1 - s) w / 40 / positions times the overlap."""
    score = (net.fc(features.exp().mean((2, 3)))[:, 2:3] / 40).sigmoid()
    of_mean = score * (1 - score) * net.fc.weight[2:3] / 40 * IOU
    return of_mean[:, :, None, None] / CELLS * features.exp()


def output(net, features):
    """Gradient of the fourth output."""
    return net.fc.weight[3].reshape(1, CHANNELS, 1, 1) / CELLS * features.exp()


CASES = {
    "maps": ("maps", RegionTarget(MASK, 2), region),
    "maps by a key": ("dict of maps", RegionTarget(MASK, 2), region),
    "embedding": ("embedding", SimilarityTarget(EMBEDDING), similarity),
    "detections": ("detections", DetectionTarget(BOX, 1), detection),
    "class": ("scores", ClassTarget(3), output),
    "place": ("scores", OutputTarget(3), output),
}


@pytest.mark.parametrize("case", CASES)
def test_grad_cam_is_mean_gradient_times_features_in_closed_form(case):
    kind, target, gradient = CASES[case]
    adapted = adapted_of(kind)
    with torch.no_grad():
        features = adapted.model.features(IMAGES)
        slope = gradient(adapted.model, features)
        expected = (slope.mean((2, 3), keepdim=True) * features).sum(1).clamp(min=0).numpy()
        by_position = (slope.clamp(min=0) * features).sum(1).clamp(min=0).numpy()
    assert expected.any((1, 2)).all()
    assert by_position.any((1, 2)).all()
    fine = ours.GradCAM(adapted, **RAW)(IMAGES, [target] * 2)
    np.testing.assert_allclose(fine[:, ::4, ::4], expected, rtol=1e-4, atol=1e-6 * expected.max())
    fine = ours.LayerCAM(adapted, **RAW)(IMAGES, [target] * 2)
    np.testing.assert_allclose(fine[:, ::4, ::4], by_position, rtol=1e-4, atol=1e-6 * by_position.max())


class Number(nn.Module):
    """The network with the number of a target as its only output, for the host."""

    def __init__(self, net, target):
        super().__init__()
        self.net, self.target = net, target

    def forward(self, x):
        outputs = self.net(x)
        rows = outputs if isinstance(outputs, list) else [alone(outputs, row) for row in range(len(x))]
        return torch.stack([self.target(row) for row in rows])[:, None]


def alone(outputs, row):
    return {name: one[row] for name, one in outputs.items()} if isinstance(outputs, dict) else outputs[row]


@pytest.mark.filterwarnings("ignore:.*:RuntimeWarning")
@pytest.mark.parametrize("name", SINGLE)
@pytest.mark.parametrize("case", ["maps", "maps by a key", "detections", "place"])
def test_every_class_has_the_hosts_map_of_the_targets_number(case, name):
    kind, target, _ = CASES[case]
    adapted = adapted_of(kind)
    number = Number(adapted.model, target)
    expected = getattr(host, name)(number, [adapted.layer])(IMAGES.clone(), [TARGET(0)] * 2)
    mine = getattr(ours, name)(adapted)(IMAGES.clone(), [target] * 2)
    np.testing.assert_allclose(mine, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", ["FinerCAM", "RefineCAM"])
def test_cams_made_of_cams_take_the_targets_too(case, name):
    kind, target, _ = CASES[case]
    adapted = adapted_of(kind)
    base = {"base_method": ours.GradCAM}
    expected = ours.GradCAM(adapted)(IMAGES, [target] * 2)
    np.testing.assert_allclose(getattr(ours, name)(adapted, **base)(IMAGES, [target] * 2), expected, atol=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_usu_scores_segments_by_the_target_and_each_cell_keeps_its_mass(case):
    kind, target, _ = CASES[case]
    adapted = adapted_of(kind)
    coarse = ours.GradCAM(adapted, **RAW)(IMAGES, [target] * 2)[:, ::4, ::4]
    fine = ours.GradCAM(adapted, upsampler=USU(segmenter="grid"), normalize=False)(IMAGES, [target] * 2)
    np.testing.assert_allclose(fine.reshape(2, 2, 4, 3, 4).sum((2, 4)), coarse * 16, rtol=1e-4, atol=1e-6)


MISSING = {
    "embedding": "the model returns embeddings, of which the largest number is no class: SimilarityTarget is for them",
    "detections": "the model returns detections: DetectionTarget is for them",
    "maps": r"class scores \(N, K\) where no targets are given, but got a tensor of shape \([12], 4, .*RegionTarget",
}


@pytest.mark.parametrize("kind", MISSING)
@pytest.mark.parametrize("upsampler", [None, "nearest"])
@pytest.mark.parametrize("name", ["GradCAM", "ScoreCAM", "AblationCAM", "CAM", "FinerCAM", "RefineCAM", "SESS"])
def test_without_targets_the_error_says_which(kind, upsampler, name):
    adapted = adapted_of(kind)
    for smooth in ({}, {"aug_smooth": True}) if name in ("GradCAM", "ScoreCAM") else ({},):
        with pytest.raises(ModelOutputError, match=MISSING[kind]):
            getattr(ours, name)(adapted, upsampler=upsampler)(IMAGES, None, **smooth)
    assert not adapted._forward_hooks


@pytest.mark.parametrize("name", ["EigenCAM", "FEM", "KPCA_CAM"])
def test_classes_that_read_no_targets_need_none_for_maps_unless_segments_are_scored(name):
    adapted = adapted_of("maps")
    expected = getattr(host, name)(adapted.model, [adapted.layer])(IMAGES, None)
    assert np.array_equal(getattr(ours, name)(adapted)(IMAGES), expected, equal_nan=True)
    with pytest.raises(ModelOutputError, match=MISSING["maps"]):
        getattr(ours, name)(adapted, upsampler=USU(segmenter="grid"))(IMAGES)
    for kind in ("embedding", "detections"):
        with pytest.raises(ModelOutputError, match=MISSING[kind]):
            getattr(ours, name)(adapted_of(kind))(IMAGES)


def test_a_class_of_maps_is_no_number():
    adapted = adapted_of("maps")
    for name in ("GradCAM", "ScoreCAM", "AblationCAM", "FinerCAM"):
        with pytest.raises(
            ModelOutputError, match=r"class scores \(N, K\) for ClassifierOutputTarget, but got a tensor of"
        ):
            getattr(ours, name)(adapted)(IMAGES, [TARGET(1)] * 2)


def test_what_explains_crops_or_classes_only_refuses_places():
    for kind, target in (("maps", RegionTarget(MASK, 2)), ("detections", DetectionTarget(BOX, 1))):
        adapted = adapted_of(kind)
        with pytest.raises(
            ArgumentError, match="`targets` to be targets of the whole image, as SESS explains crops of it"
        ):
            ours.SESS(adapted)(IMAGES, [target] * 2)
        with pytest.raises(ArgumentError, match="CAM is defined for no other network"):
            ours.CAM(adapted)(IMAGES, [target] * 2)


@pytest.mark.filterwarnings("ignore:.*:RuntimeWarning")
def test_a_box_where_nothing_is_found_is_said_and_refused_where_the_score_divides():
    adapted, targets = adapted_of("detections"), [DetectionTarget(BOX, 1), DetectionTarget((9, 0, 11, 8), 1)]
    with pytest.warns(UserWarning, match=r"scores of the images \[1\] have no gradient .* nothing is found there"):
        maps = ours.GradCAM(adapted)(IMAGES, targets)
    assert maps[0].any()
    assert not maps[1].any()
    with pytest.warns(UserWarning, match=r"scores of the images \[1\] are the same whatever is masked"):
        ours.ScoreCAM(adapted)(IMAGES, targets)
    with pytest.raises(
        ArgumentError, match=r"scores that are finite and not zero, .* but got others for the images \[1\]"
    ):
        ours.AblationCAM(adapted)(IMAGES, targets)
