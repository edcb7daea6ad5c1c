"""Targets that are no class, in the CAM classes; and the host's targets in methods and metrics."""

import numpy as np
import pytest
import torch
from torch import nn

from captum_ext import USU
from captum_ext.attr import IntegratedGradients
from captum_ext.exceptions import ArgumentError, ModelOutputError
from captum_ext.metrics import insertion
from captum_ext.models.targets import ClassTarget, DetectionTarget, OutputTarget, RegionTarget, SimilarityTarget

pytest.importorskip("pytorch_grad_cam")
from pytorch_grad_cam.utils.model_targets import (
    ClassifierOutputSoftmaxTarget,
    ClassifierOutputTarget,
    FasterRCNNBoxScoreTarget,
    SemanticSegmentationTarget,
)

from captum_ext_integrations.grad_cam import AblationCAM, EigenCAM, GradCAM, ScoreCAM

IMAGES = torch.sin(1.7 * torch.arange(2 * 3 * 8 * 8)).reshape(2, 3, 8, 8)
LEFT = torch.zeros(8, 8, dtype=torch.bool)
LEFT[:, :4] = True


class Net(nn.Module):
    """Features, and of their mean everything that a network may return."""

    def __init__(self, kind):
        super().__init__()
        torch.manual_seed(0)
        self.features, self.kind = nn.Conv2d(3, 4, 3, padding=1), kind
        self.head = nn.Conv2d(4, 6, 1)

    def forward(self, x):
        maps = self.head(self.features(x).relu())
        numbers = maps.mean((2, 3))
        if self.kind == "detections":
            boxes = torch.tensor([[0.0, 0, 8, 8], [4, 0, 8, 8]])
            labels = torch.tensor([1, 2])
            return [{"boxes": boxes, "labels": labels, "scores": row[:2].sigmoid()} for row in numbers]
        return {"maps": {"out": maps}, "logits": {"logits": numbers}, "tuple": (maps, numbers)}[self.kind]


CASES = {
    "class": ("logits", ClassTarget(2), lambda found: found["logits"][0, 2]),
    "region": ("maps", RegionTarget(LEFT, 2), lambda found: found["out"][0, 2, :, :4].sum()),
    "place": ("tuple", OutputTarget(1, 3), lambda found: found[1][0, 3]),
    "detection": ("detections", DetectionTarget((0, 0, 8, 8), 1), lambda found: found[0]["scores"][0]),
    "similarity": (
        "logits",
        SimilarityTarget(torch.arange(6.0), at="logits"),
        lambda found: torch.cosine_similarity(found["logits"][0], torch.arange(6.0), dim=0),
    ),
}


class OneByOne(nn.Module):
    """The same number, of each image alone, read by hand."""

    def __init__(self, net, read):
        super().__init__()
        self.net, self.read = net, read

    def forward(self, x):
        return torch.stack([self.read(self.net(one[None])) for one in x])[:, None]


class Whole(OneByOne):
    """The same of the whole batch at once, so that the layer is called once."""

    def forward(self, x):
        outputs = self.net(x)
        return torch.stack([self.read(_alone(outputs, row)) for row in range(len(x))])[:, None]


def _alone(outputs, row):
    if isinstance(outputs, list):
        return outputs[row : row + 1]
    if isinstance(outputs, tuple):
        return tuple(one[row : row + 1] for one in outputs)
    return {name: one[row : row + 1] for name, one in outputs.items()}


def maps_of(kind, model, net, targets, upsampler=None):
    with kind(model, [net.features], upsampler=upsampler) as cam:
        return cam(IMAGES, targets)


@pytest.mark.parametrize("kind", [GradCAM, ScoreCAM, AblationCAM], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("case", CASES)
def test_a_cam_of_a_target_is_that_of_a_model_that_returns_its_number(case, kind):
    returned, target, read = CASES[case]
    net = Net(returned).eval()
    expected = maps_of(kind, Whole(net, read), net, [ClassifierOutputTarget(0)] * 2)
    np.testing.assert_allclose(maps_of(kind, net, net, [target, target]), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_usu_in_a_cam_scores_segments_by_the_target(case):
    returned, target, read = CASES[case]
    net, usu = Net(returned).eval(), USU(segmenter=torch.arange(64).reshape(8, 8) // 16)
    expected = maps_of(GradCAM, Whole(net, read), net, [ClassifierOutputTarget(0)] * 2, usu)
    actual = maps_of(GradCAM, net, net, [target, target], usu)
    assert expected.any()
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)


def test_each_image_has_its_own_target():
    net = Net("maps").eval()
    both = maps_of(GradCAM, net, net, [RegionTarget(LEFT, 2), RegionTarget(~LEFT, 1)])
    np.testing.assert_allclose(both[0], maps_of(GradCAM, net, net, [RegionTarget(LEFT, 2)] * 2)[0], rtol=1e-5)
    np.testing.assert_allclose(both[1], maps_of(GradCAM, net, net, [RegionTarget(~LEFT, 1)] * 2)[1], rtol=1e-5)


def test_what_has_no_class_scores_needs_targets():
    net = Net("maps").eval()
    for kind in (GradCAM, EigenCAM):
        with pytest.raises(
            ModelOutputError, match=r"class scores where no targets are given, but got dict of out: \(2, 6"
        ):
            maps_of(kind, net, net, None)
    usu = USU(segmenter=torch.arange(64).reshape(8, 8) // 32, output="probability")
    with pytest.raises(
        ArgumentError, match='`upsampler` to be one with output="logit" where the model returns no tensor'
    ):
        maps_of(GradCAM, net, net, [RegionTarget(LEFT, 2)] * 2, usu)
    assert not net._forward_hooks
    assert not net._forward_pre_hooks


HOSTS = {
    "class": ("logits", lambda output: ClassifierOutputTarget(2)(output["logits"]), ClassTarget(2)),
    "softmax": (
        "logits",
        lambda output: ClassifierOutputSoftmaxTarget(2)(output["logits"]),
        lambda output: output["logits"].softmax(0)[2],
    ),
    "region": (
        "maps",
        lambda output: SemanticSegmentationTarget(2, LEFT.float().numpy())(output["out"]),
        RegionTarget(LEFT, 2),
    ),
    "detection": (
        "detections",
        FasterRCNNBoxScoreTarget([1], [torch.tensor([0.0, 0, 8, 8])]),
        lambda output: output["scores"][0] + 1,  # the host adds the overlap
    ),
}


@pytest.mark.parametrize("case", HOSTS)
def test_the_hosts_targets_serve_methods_and_metrics(case):
    returned, hosts, ours = HOSTS[case]
    net = Net(returned).eval()
    explained = [IntegratedGradients(net).attribute(IMAGES, target=target, n_steps=5) for target in (hosts, ours)]
    torch.testing.assert_close(*explained)
    scores = [insertion(net, IMAGES, IMAGES, target=[target] * 2, n_steps=3).scores for target in (hosts, ours)]
    torch.testing.assert_close(*scores)


def test_the_hosts_class_target_explains_a_plain_tensor_as_an_index_does():
    net = nn.Sequential(nn.Flatten(), nn.Linear(192, 3)).eval()
    targets = [ClassifierOutputTarget(2), ClassifierOutputTarget(0)]
    torch.testing.assert_close(
        IntegratedGradients(net).attribute(IMAGES, target=targets),
        IntegratedGradients(net).attribute(IMAGES, target=[2, 0]),
    )


def test_a_box_outside_of_the_image_is_refused():
    net = Net("detections").eval()
    targets = [DetectionTarget((0, 0, 8, 8), 1), DetectionTarget((0, 8, 8, 12), 1)]
    with pytest.raises(ArgumentError, match="`box` to be within the image, 8 wide and 8 high"):
        GradCAM(net, [net.features])(torch.rand(2, 3, 8, 8), targets)
