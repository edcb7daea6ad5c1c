"""Ready-made targets: exact values, equality with a model that returns the same number, and what is refused."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from captum_ext import USU
from captum_ext.attr import ExpectedGradients, IntegratedGradients, LocalPathIntegration, SalientManipulationPath
from captum_ext.core.fingerprints import Fingerprints
from captum_ext.exceptions import ArgumentError, ArgumentTypeError, NonFiniteError
from captum_ext.metrics import deletion, infidelity, insertion
from captum_ext.models.targets import ClassTarget, DetectionTarget, OutputTarget, RegionTarget, SimilarityTarget

IMAGES = torch.sin(1.7 * torch.arange(3 * 2 * 8 * 8, dtype=torch.float64)).reshape(3, 2, 8, 8)
BASELINE = torch.full((1, 2, 8, 8), 0.1, dtype=torch.float64)
LEFT = torch.zeros(8, 8, dtype=torch.bool)
LEFT[:, :4] = True


def body(n_channels=4, **options):
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, n_channels, 3, padding=1, **options), nn.Tanh()).double()


class Segmenter(nn.Module):
    """Maps (N, 3, 4, 4) of images of twice the size, as torchvision returns them."""

    def __init__(self):
        super().__init__()
        self.body, self.head = body(stride=2), nn.Conv2d(4, 3, 1).double()

    def forward(self, x):
        return {"out": self.head(self.body(x)), "aux": self.head(x.new_ones(1, 4, 2, 2))}


class Detector(nn.Module):
    """A list of dicts: a box in each half of an image, as high as the image is bright, of those that are sure."""

    def __init__(self):
        super().__init__()
        self.body = body()

    def forward(self, x):
        return [self.found(one) for one in self.body(x)]

    def found(self, features):
        halves = torch.stack([features[..., :4].mean((1, 2)), features[..., 4:].mean((1, 2))])
        scores = (40 * (halves.sum(1) - 0.66)).sigmoid()
        low = torch.stack([scores * 0, scores * 0 + 4], 1)[[0, 1], [0, 1]]
        boxes = torch.stack([low, scores * 0, low + 4, 6 + 2 * scores], 1)
        sure = scores > 0.5
        return {"boxes": boxes[sure], "labels": torch.tensor([1, 2])[sure], "scores": scores[sure]}


class Queries(nn.Module):
    """Logits (N, 5, 4) and boxes (N, 5, 4) of five queries, as DETR of transformers."""

    def __init__(self):
        super().__init__()
        self.body, self.head = body(), nn.Linear(4, 5 * 8).double()

    def forward(self, x):
        both = self.head(self.body(x).mean((2, 3))).reshape(-1, 5, 8)
        return {"logits": both[..., :4], "pred_boxes": both[..., 4:].sigmoid(), "loss": None}


class Tower(nn.Module):
    """Embeddings (N, 6), as CLIP's of images."""

    def __init__(self):
        super().__init__()
        self.body, self.head = body(), nn.Linear(4, 6).double()

    def forward(self, x):
        embeds = self.head(self.body(x).mean((2, 3)))
        return {"image_embeds": embeds, "logits_per_text": embeds[:, :2].T}


class Regressor(nn.Module):
    """A tuple: one number a row, and a dict of two."""

    def __init__(self):
        super().__init__()
        self.body, self.head = body(), nn.Linear(4, 3).double()

    def forward(self, x):
        numbers = self.head(self.body(x).mean((2, 3)))
        return numbers[:, :1], {"depth": numbers[:, 1:]}


class OneByOne(nn.Module):
    """The same score as a model of its own: each image alone, its output taken apart by hand."""

    def __init__(self, model, target):
        super().__init__()
        self.model, self.target = model, target

    def forward(self, x):
        return torch.stack([self.target(alone(self.model(one[None]))).reshape(()) for one in x])[:, None]


def alone(output):
    if isinstance(output, list | torch.Tensor):
        return output[0]
    if isinstance(output, tuple):
        return tuple(alone(entry) for entry in output)
    return {name: value if value is None else value[0] for name, value in output.items()}


class Classifier(nn.Module):
    """A dict of logits (N, 3), as a `ModelOutput` of transformers."""

    def __init__(self):
        super().__init__()
        self.body, self.head = body(), nn.Linear(4, 3).double()

    def forward(self, x):
        return {"loss": None, "logits": self.head(self.body(x).mean((2, 3)))}


EMBEDDING = torch.tensor([1.0, -2.0, 0.5, 0.0, 3.0, 1.0])
CASES = {
    "class": (Classifier, ClassTarget("dog", names=["cat", "dog", "fox"])),
    "place": (Regressor, OutputTarget(1, "depth", 1)),
    "region": (Segmenter, RegionTarget(LEFT, 2)),
    "region mean": (Segmenter, RegionTarget(LEFT.numpy(), 0, reduce="mean")),
    "detection": (Detector, DetectionTarget((0, 0, 4, 7), label=1)),
    "queries": (Queries, DetectionTarget((0, 0, 6, 6), label=2, min_iou=0.1, size=(8, 8))),
    "queries, sigmoid": (Queries, DetectionTarget((0, 0, 6, 6), 0, 0.1, size=(8, 8), probability="sigmoid")),
    "similarity": (Tower, SimilarityTarget(EMBEDDING, scale=10.0, bias=-2.0)),
}
EXPLAINERS = {
    "IG": lambda model: IntegratedGradients(model),
    "EG": lambda model: ExpectedGradients(model, references=IMAGES.flip(3)),
    "LPI": lambda model: LocalPathIntegration(model, references=IMAGES.flip(3)),
    "SAMP": lambda model: SalientManipulationPath(model, insertion_baselines=0),
}


@pytest.mark.parametrize("explainer", EXPLAINERS)
@pytest.mark.parametrize("case", CASES)
def test_methods_explain_a_target_as_a_model_that_returns_its_number(case, explainer):
    kind, target = CASES[case]
    model, make = kind().eval(), EXPLAINERS[explainer]
    options = {"n_steps": 4, "return_convergence_delta": True}
    if explainer in ("EG", "LPI"):
        options["method"] = "riemann_middle"
    expected = make(OneByOne(model, target)).attribute(IMAGES, target=0, **options)
    for limit in (None, 1, 3):
        actual = make(model).attribute(IMAGES, target=target, internal_batch_size=limit, **options)
        torch.testing.assert_close(actual, expected, rtol=1e-7, atol=1e-9)
    assert bool(expected[0].any())


@pytest.mark.parametrize("case", CASES)
def test_metrics_and_usu_score_a_target_as_a_model_that_returns_its_number(case):
    kind, target = CASES[case]
    model, maps = kind().eval(), IMAGES.abs().sum(1)
    same = OneByOne(model, target)
    for metric in (insertion, deletion):
        actual = metric(model, IMAGES, maps, target=target, n_steps=5)
        torch.testing.assert_close(actual.scores, metric(same, IMAGES, maps, target=0, n_steps=5).scores)
        assert actual.correct is None
    actual = infidelity(model, IMAGES, maps, target=target, n_samples=5)
    torch.testing.assert_close(actual.raw, infidelity(same, IMAGES, maps, target=0, n_samples=5).raw)
    usu = USU(segmenter=torch.arange(64).reshape(8, 8) // 16)
    actual = usu(torch.ones(3, 2, 2), IMAGES, model, target=target)
    torch.testing.assert_close(actual, usu(torch.ones(3, 2, 2), IMAGES, same, target=0))


def test_every_image_has_its_own_target():
    model = Segmenter().eval()
    targets = [RegionTarget(LEFT, 2), RegionTarget(~LEFT, 0), lambda output: output["out"][1].mean()]
    expected = torch.cat(
        [
            IntegratedGradients(OneByOne(model, target)).attribute(IMAGES[k : k + 1], target=0, n_steps=5)
            for k, target in enumerate(targets)
        ]
    )
    for limit in (None, 1, 2):
        actual = IntegratedGradients(model).attribute(IMAGES, target=targets, n_steps=5, internal_batch_size=limit)
        torch.testing.assert_close(actual, expected)


@pytest.mark.parametrize("case", ["region", "similarity", "place"])
def test_attributions_sum_to_the_difference_of_the_targets_scores(case):
    kind, target = CASES[case]
    model = kind().eval()
    attributions, delta = IntegratedGradients(model).attribute(
        IMAGES, BASELINE, target=target, n_steps=100, return_convergence_delta=True
    )
    with torch.no_grad():
        same = OneByOne(model, target)
        explained = (same(IMAGES) - same(BASELINE))[:, 0]
    torch.testing.assert_close(attributions.sum((1, 2, 3)), explained, rtol=1e-4, atol=1e-6)
    assert float(delta.abs().max()) < 1e-4


def test_a_linear_segmentation_is_explained_by_its_weights_in_the_region():
    weight = torch.tensor([[1.0, 2.0], [3.0, -1.0]], dtype=torch.float64)
    model = nn.Conv2d(2, 2, 1, bias=False).double()
    model.weight.data = weight[:, :, None, None]
    maps = IntegratedGradients(model).attribute(IMAGES, target=RegionTarget(LEFT, 1))
    torch.testing.assert_close(maps, IMAGES * weight[1][:, None, None] * LEFT)
    mean = IntegratedGradients(model).attribute(IMAGES, target=RegionTarget(LEFT, 1, reduce="mean"))
    torch.testing.assert_close(mean, maps / 32)


def test_a_mask_has_the_size_of_the_maps_or_is_resized_to_it():
    maps = torch.arange(8.0).reshape(2, 2, 2)
    assert float(RegionTarget(LEFT, 1)({"out": maps})) == 4 + 6
    assert float(RegionTarget(LEFT, 1)({"logits": maps})) == 4 + 6
    assert float(RegionTarget(LEFT[:4, :4] * 0.5, 1)(maps)) == (4 + 5 + 6 + 7) / 2
    assert float(RegionTarget(torch.ones(225, 225), 0)(torch.ones(1, 29, 29))) == 29 * 29
    assert float(RegionTarget(torch.ones(3, 4, 4), 0, reduce="mean")(torch.ones(2, 3, 4, 4))) == 1  # a volume
    with pytest.raises(
        ArgumentError, match=r"proportions of the model's maps, \(2, 2\), but got a mask of size \(8, 4\)"
    ):
        RegionTarget(torch.ones(8, 4), 1)(maps)
    dot = torch.zeros(8, 8)
    dot[0, 0] = 1
    with pytest.raises(ArgumentError, match="one that keeps a position in the model's maps"):
        RegionTarget(dot, 1)(maps)
    with pytest.raises(ArgumentError, match="a class from 0 to 1, the model's maps, but got 2"):
        RegionTarget(LEFT, 2)(maps)
    with pytest.raises(ArgumentError, match=r"maps of 2 dimensions a class, .* a row of shape \(2,\)"):
        RegionTarget(LEFT, 1)(maps[:, 0, 0])
    with pytest.raises(ArgumentError, match='a tensor, or one under "out", "logits"'):
        RegionTarget(LEFT, 1)({"masks": maps})
    assert float(RegionTarget(LEFT, 1, at="masks")({"masks": maps})) == 10


@pytest.mark.parametrize(
    ("mask", "error"),
    [
        (torch.zeros(4, 4), ArgumentError),
        (torch.full((4, 4), -1.0), ArgumentError),
        (torch.ones(0, 4), ArgumentError),
        (torch.ones(1, 1, 4, 4), ArgumentError),
        (torch.full((4, 4), torch.nan), NonFiniteError),
        ("left", ArgumentTypeError),
        (None, ArgumentTypeError),
    ],
)
def test_a_mask_that_is_none_is_refused(mask, error):
    with pytest.raises(error, match="argument `mask`"):
        RegionTarget(mask, 0)


def test_a_detections_score_is_its_own_times_its_overlap():
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 8], [0, 0, 10, 5]])
    found = {"boxes": boxes, "labels": torch.tensor([3, 7, 3]), "scores": torch.tensor([0.5, 0.9, 1.0])}
    assert float(DetectionTarget((0, 0, 10, 10), 3)(found)) == 0.5  # 1.0 x 0.5 of the third is no more
    assert float(DetectionTarget((0, 0, 10, 10), 7)(found)) == pytest.approx(0.9 * 0.8)
    assert float(DetectionTarget((0, 0, 10, 10), 7, min_iou=0.81)(found)) == 0
    assert float(DetectionTarget((0, 0, 10, 10))(found)) == pytest.approx(0.72)
    assert float(DetectionTarget((5, 0, 15, 10), 3, min_iou=0.1)(found)) == pytest.approx(1.0 * 25 / 125)  # not 0.5 / 3
    assert float(DetectionTarget((50, 50, 60, 60), 3)(found)) == 0
    nothing = {name: value[:0] for name, value in found.items()}
    assert float(DetectionTarget((0, 0, 10, 10), 3)(nothing)) == 0
    unclear = {**found, "boxes": boxes * torch.nan}
    assert bool(DetectionTarget((0, 0, 10, 10), 3)(unclear).isnan())


def test_where_nothing_is_detected_the_score_and_its_gradient_are_zero():
    model = Detector().eval()
    target = DetectionTarget((0, 0, 1, 1), label=1)
    attributions, delta = IntegratedGradients(model).attribute(IMAGES, target=target, return_convergence_delta=True)
    assert not attributions.any()
    assert not delta.any()
    assert not insertion(model, IMAGES, IMAGES, target=target, n_steps=3).scores.any()


def test_queries_are_read_as_detr_and_its_followers_write_them():
    logits = torch.tensor([[0.0, 0, 0], [2, 0, 0]]).log_softmax(1)
    found = {"logits": logits, "pred_boxes": torch.tensor([[0.5, 0.5, 1, 1], [0.25, 0.5, 0.5, 1]])}
    softmax = DetectionTarget((0, 0, 20, 10), label=1, size=(10, 20))
    assert float(softmax(found)) == pytest.approx(1 / 3)
    second = DetectionTarget((0, 0, 10, 10), label=0, size=(10, 20))
    assert float(second(found)) == pytest.approx(float(logits[1, 0].exp()))
    sigmoid = replace(second, probability="sigmoid", label=2)
    assert float(sigmoid(found)) == pytest.approx(1 / 8)  # of the first: sigmoid(log 1/3) = 1/4, and half an overlap
    with pytest.raises(ArgumentError, match="`size` to be .* boxes are shares of it"):
        replace(second, size=None)(found)
    with pytest.raises(ArgumentError, match="a class from 0 to 1, the detector's, but got 2"):
        replace(second, label=2)(found)  # the last is no object


def test_other_detectors_are_read_by_a_function():
    heads = torch.tensor([[0.0, 0, 10, 10, 0.2, 0.6], [0, 0, 10, 6, 0.9, 0.1]])
    of_classes = DetectionTarget((0, 0, 10, 10), label=1, read=lambda row: (row[:, :4], row[:, 4:]))
    assert float(of_classes(heads)) == pytest.approx(0.6)
    assert float(replace(of_classes, label=None)(heads)) == pytest.approx(0.6)
    labelled = replace(of_classes, read=lambda row: (row[:, :4], row[:, 4], torch.tensor([1, 0])))
    assert float(labelled(heads)) == pytest.approx(0.2)
    one_class = replace(of_classes, label=None, read=lambda row: (row[:, :4], row[:, 4]))
    assert float(one_class(heads)) == pytest.approx(0.9 * 0.6)
    with pytest.raises(ArgumentError, match="None, as this detector gives no labels"):
        replace(one_class, label=1)(heads)
    with pytest.raises(ArgumentError, match=r"a function that returns \(boxes, scores\)"):
        replace(of_classes, read=lambda row: row)(heads)
    with pytest.raises(ArgumentError, match=r"of boxes \(M, 4\) and scores"):
        replace(of_classes, read=lambda row: (row, row))(heads)
    with pytest.raises(ArgumentError, match=r"as many scores, \(M,\) or \(M, K\), as boxes"):
        replace(of_classes, read=lambda row: (row[:, :4], row[:1, 4]))(heads)
    with pytest.raises(ArgumentError, match="of a detector that returns boxes, labels and scores"):
        DetectionTarget((0, 0, 10, 10), label=1)({"scores": heads})


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"box": (0, 0, 0, 5)}, ArgumentError, "argument `box`"),
        ({"box": (5, 0, 1, 5)}, ArgumentError, "argument `box`"),
        ({"box": (-5, 0, -1, 5)}, ArgumentError, "argument `box`"),
        ({"box": (0, 0, 5)}, ArgumentError, "argument `box`"),
        ({"box": (0, 0, 5, np.nan)}, ArgumentError, "argument `box`"),
        ({"box": "abcd"}, ArgumentTypeError, "argument `box`"),
        ({"box": None}, ArgumentTypeError, "argument `box`"),
        ({"box": (20, 0, 30, 10), "size": (10, 20)}, ArgumentError, "within the image, 20 wide and 10 high"),
        ({"size": (10, 0)}, ArgumentError, "argument `size`"),
        ({"size": 10}, ArgumentError, "argument `size`"),
        ({"label": -1}, ArgumentError, "argument `label`"),
        ({"label": "cat"}, ArgumentTypeError, "argument `label`"),
        ({"min_iou": 0}, ArgumentError, "argument `min_iou`"),
        ({"min_iou": 1.5}, ArgumentError, "argument `min_iou`"),
        ({"probability": "logit"}, ArgumentError, "argument `probability`"),
        ({"read": 3}, ArgumentTypeError, "argument `read`"),
    ],
)
def test_a_detection_that_cannot_be_meant_is_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        DetectionTarget(**{"box": (0, 0, 10, 10), **arguments})


def test_a_similarity_is_the_cosine_with_an_embedding():
    target = SimilarityTarget(torch.tensor([[3.0, 4.0]]))
    assert float(target(torch.tensor([4.0, 3.0]))) == pytest.approx(24 / 25)
    assert float(target({"pooler_output": torch.tensor([-6.0, -8.0])})) == pytest.approx(-1)
    assert float(SimilarityTarget([3, 4], scale=100.0, bias=-10.0)(torch.tensor([4.0, 3.0]))) == pytest.approx(86)
    with pytest.raises(ArgumentError, match=r"embeddings of length 2, .* a row of shape \(3,\)"):
        target(torch.ones(3))
    for wrong in (torch.zeros(2), torch.ones(2, 2), torch.ones(2) * 1j):
        with pytest.raises(ArgumentError, match="an embedding .* that is not zero"):
            SimilarityTarget(wrong)
    with pytest.raises(NonFiniteError, match="embedding"):
        SimilarityTarget(torch.tensor([1.0, torch.inf]))
    with pytest.raises(ArgumentTypeError, match="embedding"):
        SimilarityTarget("a photo of a cat")
    with pytest.raises(ArgumentError, match="scale"):
        SimilarityTarget(torch.ones(2), scale=torch.inf)


def test_a_class_is_an_index_or_a_name():
    row = torch.tensor([1.0, 2.0])
    assert float(ClassTarget(1)(row)) == float(ClassTarget("dog", ["cat", "dog"])({"logits": row})) == 2
    assert ClassTarget("dog", ["cat", "dog"]) == ClassTarget(1, ("cat", "dog"))
    with pytest.raises(ArgumentError, match="a class from 0 to 1, the model's outputs, but got 2"):
        ClassTarget(2)(row)
    with pytest.raises(ArgumentError, match="one score a class"):
        ClassTarget(0)(torch.ones(2, 3))
    with pytest.raises(ArgumentError, match="'fox', which is 0 of 2 names"):
        ClassTarget("fox", ["cat", "dog"])
    with pytest.raises(ArgumentError, match="'cat', which is 2 of 2 names"):
        ClassTarget("cat", ["cat", "cat"])
    with pytest.raises(ArgumentError, match="index"):
        ClassTarget(-1)


def test_a_place_is_a_path_into_the_output():
    output = (torch.tensor([1.0, 2.0]), {"depth": torch.tensor([[3.0, 4.0]])})
    assert float(OutputTarget(0, 1)(output)) == 2
    assert float(OutputTarget(1, "depth", 0, -1)(output)) == 4
    assert float(OutputTarget()(torch.tensor([5.0]))) == 5
    with pytest.raises(ArgumentError, match="of one number"):
        OutputTarget(0)(output)
    with pytest.raises(ArgumentError, match="returns something at 'width' for each row"):
        OutputTarget(1, "width")(output)
    with pytest.raises(ArgumentError, match="returns something at 7"):
        OutputTarget(0, 7)(output)
    with pytest.raises(ArgumentError, match="one row at 'loss' for each row of inputs"):
        OutputTarget("loss")({"loss": None})
    with pytest.raises(ArgumentTypeError, match="names and indices"):
        OutputTarget(0.5)


@pytest.mark.parametrize(
    "target", [target for _, target in CASES.values() if not callable(getattr(target, "__code__", None))]
)
def test_targets_can_be_kept_and_compared_by_their_settings(target):
    if "lambda" in repr(target):
        return
    copied = pickle.loads(pickle.dumps(target))
    assert Fingerprints().of(copied) == Fingerprints().of(target)


def test_a_detector_of_torchvision_is_explained():
    detection = pytest.importorskip("torchvision.models.detection")
    anchors = pytest.importorskip("torchvision.models.detection.rpn").AnchorGenerator(((16,),), ((1.0,),))
    torch.manual_seed(0)
    backbone = nn.Sequential(nn.Conv2d(3, 8, 3, stride=4, padding=1), nn.Tanh())
    backbone.out_channels = 8
    model = detection.FasterRCNN(
        backbone,
        rpn_anchor_generator=anchors,
        box_roi_pool=pytest.importorskip("torchvision.ops").MultiScaleRoIAlign(["0"], 3, 1),
        box_head=nn.Sequential(nn.Flatten(), nn.Linear(72, 16), nn.Tanh()),
        box_predictor=detection.faster_rcnn.FastRCNNPredictor(16, 3),
        min_size=32,
        max_size=32,
        box_score_thresh=0.0,
        rpn_post_nms_top_n_test=5,
    ).eval()
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        found = model(images)
    targets = [DetectionTarget(tuple(one["boxes"][0].tolist()), int(one["labels"][0])) for one in found]
    ig = IntegratedGradients(model)
    maps = ig.attribute(images, baselines=images * 0.99, target=targets, n_steps=3)
    alone = [
        IntegratedGradients(OneByOne(model, target)).attribute(image[None], image[None] * 0.99, target=0, n_steps=3)
        for image, target in zip(images, targets, strict=True)
    ]
    torch.testing.assert_close(maps, torch.cat(alone), rtol=1e-4, atol=1e-6)
    assert bool(maps.flatten(1).any(1).all())
    scores = insertion(model, images, maps, target=targets, n_steps=4).scores
    sure = torch.stack([one["scores"][0] for one in found])
    torch.testing.assert_close(scores[:, -1], sure, rtol=1e-4, atol=1e-6)


def a_detector(images):
    """The whole image as one detection, as torchvision returns it."""
    box = torch.tensor([[0.0, 0.0, images.shape[3], images.shape[2]]])
    return [{"boxes": box, "labels": torch.tensor([1]), "scores": image.mean()[None]} for image in images]


def test_a_box_outside_of_the_image_is_refused_wherever_the_image_is_known():
    images, outside = torch.rand(2, 3, 8, 10), DetectionTarget((10, 0, 15, 8), 1)
    inside = DetectionTarget((0, 0, 10, 8), 1)
    message = r"`box` to be within the image, 10 wide and 8 high \(or pass size=.*but got \(10.0, 0.0, 15.0, 8.0\)"
    for target in (outside, [inside, outside]):
        with pytest.raises(ArgumentError, match=message):
            IntegratedGradients(a_detector).attribute(images, target=target, n_steps=2)
        with pytest.raises(ArgumentError, match=message):
            insertion(a_detector, images, images, target=target, n_steps=2)
        with pytest.raises(ArgumentError, match=message):
            USU()(torch.rand(2, 1, 2, 2), images, a_detector, target=target)
    given = DetectionTarget((10, 0, 15, 8), 1, size=(16, 20))  # the detector's image is twice as large
    for target in (inside, given):
        IntegratedGradients(a_detector).attribute(images, target=target, n_steps=2)
    with pytest.warns(UserWarning, match="mostly outside of the image, 10 wide and 8 high"):
        IntegratedGradients(a_detector).attribute(images, target=DetectionTarget((0, 0, 30, 8), 1), n_steps=2)


def test_inputs_whose_place_is_not_known_are_not_measured():
    last = torch.rand(2, 8, 10, 3)
    target = DetectionTarget((5, 0, 10, 8), 1, min_iou=0.1)
    maps = IntegratedGradients(lambda x: a_detector(x.movedim(-1, 1))).attribute(last, target=target, n_steps=2)
    torch.testing.assert_close(maps, last / 240 * 0.5)
