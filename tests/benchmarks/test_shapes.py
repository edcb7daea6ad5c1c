"""Shapes and patterns with their ground truth, and what holds of upsampling them by construction."""

import numpy as np
import torch

from examples.benchmarks.engine.experiment import Options
from examples.benchmarks.engine.metric_columns import Cost
from examples.benchmarks.papers.usu.controlled import Controlled, Scored, fine_maps, upsamplers
from examples.benchmarks.papers.usu.shape_networks import cnn, mlp
from examples.benchmarks.papers.usu.shapes import PATTERNS, SHAPES, coarse_map, draw_patterns, draw_shapes


def test_an_image_depends_on_its_index_and_the_seed_alone():
    many, few = draw_shapes(range(6), seed=1), draw_shapes(range(4, 6), seed=1)
    assert torch.equal(many.images[4:], few.images)
    assert torch.equal(many.masks[4:], few.masks)
    assert not torch.equal(draw_shapes(range(4, 6), seed=2).images, few.images)


def test_shapes_and_patterns_come_in_turn():
    assert draw_shapes(range(3, 9)).labels.tolist() == [0, 1, 2] * 2
    assert draw_patterns(range(10)).labels.tolist() == [0, 1, 2, 3, 4] * 2
    assert (len(SHAPES), len(PATTERNS)) == (3, 5)


def test_shapes_are_centred_brighter_than_the_ground_and_have_the_areas_of_their_kind():
    drawn = draw_shapes(range(30))
    assert drawn.images.shape == (30, 1, 224, 224)
    assert 0 <= float(drawn.images.min()) <= float(drawn.images.max()) <= 1
    for image, mask, label in zip(drawn.images, drawn.masks, drawn.labels, strict=True):
        assert float(image[mask].mean()) > float(image[~mask].mean()) + 0.2
        rows, columns = np.nonzero(mask[0].numpy())
        height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
        assert abs(columns.mean() - 111.5) < 1
        assert abs(rows.mean() - 111.5) < 2
        filled = {0: np.pi / 4, 1: 1 / 2, 2: 1.0}[int(label)]  # of the bounding box
        np.testing.assert_allclose(len(rows) / (height * width), filled, rtol=0.05)


def test_patterns_repeat_over_the_whole_image():
    drawn = draw_patterns(range(10))
    for mask in drawn.masks:
        quarters = mask[0].float().unfold(0, 112, 112).unfold(1, 112, 112).mean((2, 3))
        assert float(quarters.min()) > 0.15
        assert float(quarters.max()) < 0.75


def test_a_coarse_map_has_the_mean_of_every_cell():
    fine = torch.arange(64.0).reshape(1, 1, 8, 8)
    expected = [[float(fine[0, 0, 4 * i : 4 * i + 4, 4 * j : 4 * j + 4].mean()) for j in (0, 1)] for i in (0, 1)]
    assert coarse_map(fine, 2)[0].tolist() == expected


def test_the_networks_have_the_layers_of_the_paper():
    assert cnn(3)(torch.zeros(2, 1, 224, 224)).shape == (2, 3)
    widths = [layer.out_channels for layer in cnn(3) if hasattr(layer, "out_channels")]
    assert widths == [16, 32, 64]
    assert [layer.out_features for layer in mlp(3) if hasattr(layer, "out_features")] == [256, 64, 3]
    assert mlp(3)[1].in_features == 50_176


def test_what_is_true_by_construction_is_found():
    """Oracle-IWMR ranks the ground truth first whatever the coarse map; equal masses stay in their cells otherwise."""
    from captum_ext.metrics import concentration, iou

    drawn = draw_shapes(range(6))
    oracle = Scored(drawn.masks.float(), Cost())
    ways = ("50 segments", "8 segments", "paper", "paper, fixed")
    scored = dict.fromkeys((*ways, *(f"{way}, random" for way in ways), "oracle"), oracle)
    coarse = torch.rand(6, 7, 7, generator=torch.Generator().manual_seed(0))
    maps = {name: upsample(coarse) for name, (_, upsample) in upsamplers(drawn, scored).items()}
    assert iou(maps["Oracle-IWMR"], drawn.masks).tolist() == [1.0] * 6
    for name in ("USU", "USU, paper", "Oracle-USU", "nearest"):
        torch.testing.assert_close(coarse_map(maps[name].double(), 7).float(), coarse)
    inside = {name: concentration(one, drawn.masks) for name, one in maps.items()}
    assert bool((inside["Oracle-USU"] > inside["nearest"]).all())
    assert bool((inside["Oracle-IWMR"] > 0.99).all())


def test_fine_maps_are_the_labels_gradient_its_product_and_the_truth():
    drawn = draw_shapes(range(2))
    weight = torch.randn(3, 224 * 224, generator=torch.Generator().manual_seed(0))
    maps = fine_maps(lambda x: x.flatten(1) @ weight.T, drawn)
    expected = weight[drawn.labels].reshape(2, 1, 224, 224).abs()
    torch.testing.assert_close(maps["gradient"], expected)
    torch.testing.assert_close(maps["gradient x input"], expected * drawn.images)
    assert torch.equal(maps["ground truth"], drawn.masks.float())


def test_test_images_are_never_trained_on(tmp_path):
    for images, n in (("shapes", 80), ("patterns", 20)):
        for task in Controlled(images, Options(tmp_path)).tasks:
            training, validation, test = task.splits
            assert set(training).isdisjoint(test)
            assert set(validation).isdisjoint(test)
            assert len(training) + len(validation) + len(test) == task.n
        experiment = Controlled(images, Options(tmp_path))
        assert experiment.settings["tests"] == n
        assert len(experiment.parts()) == n // 10
