"""Pixel flipping, IROF and ROAD: exact values, imputation against a dense solution, undefined maps."""

import numpy as np
import pytest
import torch

from captum_ext.exceptions import ArgumentError
from captum_ext.metrics import deletion, irof, pixel_flipping, road
from captum_ext.metrics.removal import impute
from captum_ext.segmentation import Segmenter


def total(x):
    return x.flatten(1).sum(1)


@pytest.fixture
def images():
    return torch.rand(3, 2, 4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 0.1


def test_pixel_flipping_is_the_deletion_curve_with_whole_pixels(images):
    curve = pixel_flipping(total, images, images, pixels_in_step=3)
    torch.testing.assert_close(curve.scores, deletion(total, images, images, n_steps=8).scores)
    assert not curve.higher_is_better
    with pytest.raises(ArgumentError, match="`pixels_in_step` to be a divisor of 24, the pixels, but got 5"):
        pixel_flipping(total, images, images, pixels_in_step=5)


def test_irof_is_the_area_over_the_curve_of_removed_segments(images):
    labels = torch.tensor([[0, 0, 1, 1, 2, 2]]).expand(4, 6)
    found = irof(total, images, images, baselines=0, segments=labels)
    for row in range(3):
        sums = [float(images[row][:, labels == k].sum()) for k in range(3)]
        order = sorted(range(3), key=lambda k: -sums[k])  # segments of one size: means and sums have one order
        left = [sum(sums[k] for k in order[n:]) / sum(sums) for n in range(4)]
        area = sum((left[n] + left[n + 1]) / 2 / 3 for n in range(3))
        assert float(found[row]) == pytest.approx(1 - area)


def test_irof_takes_images_with_different_numbers_of_segments_and_fills_with_their_own_mean(images):
    pixels = torch.arange(24).reshape(4, 6)
    labels = torch.stack([torch.zeros_like(pixels), pixels, pixels // 12])
    seen = []

    def recorded(x):
        seen.append(x.clone())
        return total(x)

    found = irof(recorded, images, images, segments=labels)
    assert found.isnan().tolist() == [True, False, False]  # one segment has no order
    assert sum(map(len, seen)) == 2 + 25 + 3
    torch.testing.assert_close(torch.cat(seen)[3], images[0].mean((1, 2), keepdim=True).expand(2, 4, 6))
    alone = irof(total, images[1:2], images[1:2], segments=labels[1:2])
    torch.testing.assert_close(found[1:2], alone)


def test_irof_segments_rgb_images_with_maps_of_one_channel():
    halves = torch.zeros(1, 3, 32, 32)
    halves[:, 0, :, :16], halves[:, 2, :, 16:] = 0.9, 0.8
    found = irof(total, halves, halves.sum(1), segments=Segmenter(n_segments=8))
    assert bool(found.isfinite().all())


def test_irof_takes_a_segmenter_that_undoes_the_normalisation_a_method_or_a_function(images):
    seen = []

    def halves(image):
        seen.append(image)
        return np.arange(24).reshape(4, 6) // 12

    mean, std = [0.2, 0.4], [0.5, 0.25]
    normalised = (images.clamp(0, 1) - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]
    labels = torch.arange(24).reshape(4, 6) // 12
    expected = irof(lambda x: total(x) + 99, normalised, images, segments=labels)
    segmenter = Segmenter(halves, mean=mean, std=std)
    torch.testing.assert_close(irof(lambda x: total(x) + 99, normalised, images, segments=segmenter), expected)
    np.testing.assert_allclose(np.stack(seen), images.clamp(0, 1).permute(0, 2, 3, 1).numpy(), atol=1e-6)
    torch.testing.assert_close(irof(lambda x: total(x) + 99, normalised, images, segments=halves), expected)
    assert np.stack(seen[3:]).max((1, 2, 3)).tolist() == [1, 1, 1]  # each image scaled by itself
    grid = irof(total, images, images, segments="grid")
    torch.testing.assert_close(grid, irof(total, images, images, segments=Segmenter("grid")(images)))


def dense_imputation(image, kept):
    """Every removed pixel is the weighted mean of its neighbours, as one dense system."""
    height, width = kept.shape
    weights = {(0, 1): 2, (1, 0): 2, (0, -1): 2, (-1, 0): 2, (1, 1): 1, (1, -1): 1, (-1, 1): 1, (-1, -1): 1}
    system, right = np.zeros((height * width,) * 2), np.zeros(height * width)
    for i in range(height):
        for j in range(width):
            here = i * width + j
            if kept[i, j]:
                system[here, here], right[here] = 1, image[i, j]
                continue
            for (down, across), weight in weights.items():
                if 0 <= i + down < height and 0 <= j + across < width:
                    system[here, here] += weight
                    system[here, (i + down) * width + j + across] -= weight
    return np.linalg.solve(system, right).reshape(height, width)


@pytest.mark.parametrize("seed", range(4))
def test_removed_pixels_are_weighted_means_of_their_neighbours(seed):
    generator = np.random.default_rng(seed)
    image, kept = generator.random((2, 5, 6)), generator.random((5, 6)) < 0.4
    kept[0, 0] = True
    actual = impute(image, kept)
    for channel in range(2):
        np.testing.assert_allclose(actual[channel], dense_imputation(image[channel], kept), atol=1e-12)
    assert np.array_equal(impute(image, np.ones((5, 6), dtype=bool)), image)


def test_road_removes_the_most_or_least_important_pixels(images):
    seen = []

    def recorded(x):
        seen.append(x.clone())
        return x.flatten(1)[:, :3]

    curve = road(recorded, images, images, target=1, fractions=(0.25, 0.5), noise=0, internal_batch_size=100)
    perturbed = seen[0].reshape(2, 3, 2, 4, 6).transpose(0, 1)
    order = images.sum(1).flatten(1).argsort(1, descending=True)
    for row in range(3):
        for k, count in enumerate((6, 12)):
            kept = torch.ones(24, dtype=torch.bool)
            kept[order[row, :count]] = False
            expected = dense_imputation(images[row, 1].numpy(), kept.reshape(4, 6).numpy())
            np.testing.assert_allclose(perturbed[row, k, 1].numpy(), expected, atol=1e-12)
    torch.testing.assert_close(curve.auc, curve.scores.mean(1))
    assert curve.correct.shape == (3, 2)
    assert not curve.higher_is_better
    assert road(recorded, images, images, target=1, order="least").higher_is_better


def test_the_noise_of_road_is_small_repeatable_and_the_same_in_any_batch(images):
    def values(x):
        return x.flatten(1)

    noisy = [road(values, images, images, target=7, noise=0.1).scores for _ in range(2)]
    assert torch.equal(*noisy)
    clean = road(values, images, images, target=7, noise=0).scores
    assert 0 < float((noisy[0] - clean).abs().max()) < 1
    alone = road(values, images[2:], images[2:], target=7, noise=0.1).scores
    torch.testing.assert_close(alone[0], noisy[0][2])


@pytest.mark.parametrize("metric", [irof, road])
def test_inputs_that_are_not_images_are_refused(metric):
    rows = torch.rand(2, 5)
    with pytest.raises(ArgumentError, match=r"`inputs` to be one tensor of images \(N, C, H, W\).* for (irof|road)"):
        metric(total, rows, rows)


def test_other_arguments_are_checked(images):
    with pytest.raises(ArgumentError, match='`order` to be one of "most", "least"'):
        road(total, images, images, order="random")
    with pytest.raises(ArgumentError, match="`noise` to be a finite standard deviation of at least 0"):
        road(total, images, images, noise=-1)
    with pytest.raises(ArgumentError, match="`segments` to be of shape"):
        irof(total, images, images, segments=torch.zeros(3, 3).long())
