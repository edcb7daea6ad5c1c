"""Segments, scores and the upsampler that composes them: exact values, passes counted, nothing changed."""

import numpy as np
import pytest
import torch
from torch import nn

from captum_ext.exceptions import ArgumentError, NonFiniteError
from captum_ext.images import Blur
from captum_ext.segmentation import Segmenter
from captum_ext.upsampling import USU, CoalitionScorer, InterpolationUpsampler, Refinement, USUUpsampler, redistribute
from captum_ext.upsampling.scoring import GradientScorer, unit_scores

# Two images of two halves; the model weighs pixels by their column.
LABELS = torch.tensor([[0, 0, 1, 1], [0, 0, 2, 2]])
IMAGES = torch.tensor([[[[1.0, 2, 3, 4], [5, 6, 7, 8]]], [[[8.0, 7, 6, 5], [4, 3, 2, 1]]]])


class Counting(nn.Module):
    def __init__(self, weight):
        super().__init__()
        self.weight = nn.Parameter(weight)
        self.rows, self.grads = [], []

    def forward(self, x):
        self.rows.append(len(x))
        self.grads.append(torch.is_grad_enabled())
        score = (x * self.weight).sum((1, 2, 3))
        return torch.stack([score, -score], 1)


@pytest.fixture
def model():
    return Counting(torch.tensor([1.0, 0, 2, -1]))


def sums(images, fill=0.0):
    """Weighted sum over each segment of image minus fill: what deletion and insertion both measure here."""
    weighted = (images - fill) * torch.tensor([1.0, 0, 2, -1])
    return [torch.stack([one[0][k == LABELS].sum() for k in range(3)]) for one in weighted]


@pytest.mark.parametrize(("scorer", "passes"), [("deletion", 6), ("insertion", 6), ("deletion+insertion", 12)])
def test_masking_a_linear_model_scores_segments_by_their_own_part(model, scorer, passes):
    usu = USUUpsampler(segmenter=LABELS, scorer=scorer, fill=0.0, internal_batch_size=5)
    shown = usu.score_map(IMAGES, model, target=0)
    expected = torch.stack([one[LABELS] for one in unit_scores(sums(IMAGES))])
    torch.testing.assert_close(shown[:, 0], expected)
    assert sum(model.rows) == passes
    assert max(model.rows) <= 5
    assert not any(model.grads)


@pytest.mark.parametrize("n_passes", [32, 64, 96])
def test_coalitions_cost_their_budget_and_find_the_parts_of_a_linear_model(model, n_passes):
    usu = USUUpsampler(segmenter=LABELS, scorer=CoalitionScorer(n_passes), fill=0.0)
    shown = usu.score_map(IMAGES, model, target=0)
    assert sum(model.rows) == 2 * n_passes
    for row, expected in enumerate(sums(IMAGES)):
        scores = torch.stack([shown[row, 0][k == LABELS][0] for k in range(3)])
        torch.testing.assert_close(scores, unit_scores([expected])[0], rtol=0, atol=0.1)


@pytest.mark.parametrize("n_steps", [1, 4])
def test_gradient_scores_of_a_linear_model_are_exact(model, n_steps):
    usu = USUUpsampler(segmenter=LABELS, scorer=GradientScorer(n_steps), fill=0.0)
    expected = torch.stack([one[LABELS] for one in unit_scores(sums(IMAGES))])
    torch.testing.assert_close(usu.score_map(IMAGES, model, target=0)[:, 0], expected)
    assert sum(model.rows) == 2 * n_steps


def test_constant_scores_give_one_half_and_random_ones_repeat_with_their_seed(model):
    assert USU(segmenter=LABELS, scorer="constant").score_map(IMAGES, model, 0).unique().tolist() == [0.5]
    first, second = (USU(segmenter=LABELS, scorer="random").score_map(IMAGES, model, 0) for _ in range(2))
    assert torch.equal(first, second)
    assert model.rows == []


def test_a_given_score_map_costs_no_pass(model):
    scores, coarse = torch.rand(1, 1, 2, 4), torch.rand(2, 1, 2)
    fine = USUUpsampler(scorer=scores, temperature=0.2)(coarse, IMAGES, model, 0)
    torch.testing.assert_close(fine, redistribute(coarse, scores, temperature=0.2))
    assert model.rows == []
    with pytest.raises(ArgumentError, match="`scorer` to be of one row or 2 rows like the inputs"):
        USUUpsampler(scorer=torch.rand(3, 1, 2, 4))(coarse, IMAGES, model, 0)


def test_the_mean_fill_is_each_images_own_channel_mean(model):
    usu = USUUpsampler(segmenter=LABELS, scorer="deletion", fill="mean")
    expected = torch.stack([one[LABELS] for one in unit_scores(sums(IMAGES, IMAGES.mean((2, 3), keepdim=True)))])
    torch.testing.assert_close(usu.score_map(IMAGES, model, target=0)[:, 0], expected)


@pytest.mark.parametrize("fill", ["blur", "rise", Blur(2), "zero", 0.5, torch.ones(1, 1, 2, 4)])
def test_every_fill_works(model, fill):
    assert USUUpsampler(segmenter=LABELS, fill=fill).score_map(IMAGES, model, target=0).shape == (2, 1, 2, 4)


def test_probabilities_can_be_scored_instead_of_logits(model):
    logit = USUUpsampler(segmenter=LABELS, fill=0.0).score_map(IMAGES * 0.1, model, target=0)
    probability = USUUpsampler(segmenter=LABELS, fill=0.0, output="probability").score_map(
        IMAGES * 0.1, model, target=0
    )
    assert not torch.equal(logit, probability)


def test_the_upsampler_redistributes_by_its_own_score_map(model):
    coarse, usu = torch.rand(2, 1, 2), USUUpsampler(segmenter=LABELS, fill=0.0, temperature=0.2)
    fine = usu(coarse, IMAGES, model, target=0)
    expected = redistribute(coarse, usu.score_map(IMAGES, model, target=0), temperature=0.2)
    torch.testing.assert_close(fine, expected)
    torch.testing.assert_close(fine.sum((1, 2, 3)), (coarse * 4).sum((1, 2)))
    assert usu(coarse, IMAGES, model, target=0, size=(4, 8)).shape == (2, 1, 4, 8)


def test_a_rows_scores_do_not_depend_on_its_batch_nor_its_chunks(model):
    targets = [0, 1]
    together = USUUpsampler(segmenter="grid").score_map(IMAGES, model, targets)
    for row in range(2):
        one = slice(row, row + 1)
        alone = USUUpsampler(segmenter="grid", internal_batch_size=1).score_map(IMAGES[one], model, targets[one])
        torch.testing.assert_close(alone, together[one])


def test_without_a_target_the_largest_output_is_explained(model):
    usu = USUUpsampler(segmenter=LABELS, fill=0.0)
    with torch.no_grad():
        target = model(IMAGES).argmax(1)
    torch.testing.assert_close(usu.score_map(IMAGES, model), usu.score_map(IMAGES, model, target))
    single = lambda x: model(x)[:, 0]  # noqa: E731
    torch.testing.assert_close(usu.score_map(IMAGES, single), usu.score_map(IMAGES, single, None))


def test_the_presets_have_the_papers_settings():
    paper, fixed, iwmr = USU.paper(), USU.fixed(), USU.iwmr()
    for preset in (paper, fixed, iwmr):
        assert (preset.temperature, preset.potential, preset.scorer.kind) == (0.1, "tensor", "deletion")
    assert [preset.redistribution for preset in (paper, fixed, iwmr)] == ["local", "local", "global-area"]
    assert paper.refinement == iwmr.refinement == Refinement(kernel="diagonal")
    assert fixed.refinement is None
    assert iwmr.importance_temperature is None
    assert USU is USUUpsampler


@pytest.mark.parametrize("preset", [USU.paper, USU.fixed, USU.iwmr])
def test_a_preset_takes_what_belongs_to_the_model_and_the_images(preset):
    settings = {"segmenter": "grid", "fill": 0.5, "mean": 0.5, "std": 0.25, "internal_batch_size": 3}
    made = preset(scorer="insertion", **settings)
    assert (made.segmenter.method, made.scorer.kind, made.fill) == ("grid", "insertion", 0.5)
    assert (made.mean, made.std, made.internal_batch_size) == ((0.5,), (0.25,), 3)


def test_presets_without_refinement_take_labels_and_are_the_constructors_upsampler(model):
    coarse = torch.rand(2, 1, 2)
    plain = USU(temperature=0.1, scorer="deletion", segmenter=LABELS)(coarse, IMAGES, model, 0)
    torch.testing.assert_close(USU.fixed(segmenter=LABELS)(coarse, IMAGES, model, 0), plain)
    torch.testing.assert_close(USU.paper(segmenter=LABELS, refinement=None)(coarse, IMAGES, model, 0), plain)
    options = {"temperature": 0.1, "redistribution": "global-area", "importance_temperature": 0.3}
    shared = redistribute(coarse, USU.fixed(segmenter=LABELS).score_map(IMAGES, model, 0), **options)
    iwmr = USU.iwmr(segmenter=LABELS, refinement=None, importance_temperature=0.3)
    torch.testing.assert_close(iwmr(coarse, IMAGES, model, 0), shared)


def test_the_papers_method_is_local_to_each_cell_and_its_global_one_is_not():
    images = torch.rand(2, 3, 24, 32, generator=torch.Generator().manual_seed(0))
    weight = torch.linspace(-1, 1, 24 * 32).reshape(24, 32)
    coarse = torch.rand(2, 3, 4, generator=torch.Generator().manual_seed(1))
    other = coarse.clone()
    other[:, 1:] += 1

    def changed_in_the_first_row(preset):
        fine, again = (
            preset(one, images, lambda x: (x.mean(1) * weight).sum((1, 2)).tanh()) for one in (coarse, other)
        )
        return not torch.equal(fine[..., :8, :], again[..., :8, :])

    refinement = Refinement(kernel="diagonal", threshold=0.05)
    assert not changed_in_the_first_row(USU.paper(segmenter="grid", refinement=refinement))
    assert changed_in_the_first_row(USU.iwmr(segmenter="grid", refinement=refinement))


def test_nothing_is_changed_and_progress_is_shown_on_request(model, capsys):
    images, state = IMAGES.clone().requires_grad_(), torch.get_rng_state()
    model.train()
    USUUpsampler(segmenter=LABELS, show_progress=True).score_map(images, model, 0)
    assert "12/12" in capsys.readouterr().err
    assert model.training
    assert model.weight.requires_grad
    assert images.grad is None
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    "method", ["slic", "felzenszwalb", "watershed", "grid", lambda image: (image[..., 0] > 0.5) * 7]
)
def test_every_segmentation_labels_from_zero_without_gaps(method):
    y, x = torch.meshgrid(torch.linspace(0, 1, 40), torch.linspace(0, 1, 30), indexing="ij")
    images = torch.stack([torch.stack([x, y, (x > 0.4).float()]), torch.stack([y, (y > 0.7).float(), x * 0.5])])
    labels = Segmenter(method, n_segments=12)(images)
    assert labels.shape == (2, 40, 30)
    for one in labels:
        used = one.unique().tolist()
        assert used == list(range(len(used)))
        assert len(used) > 1


def test_segmentation_sees_the_image_as_it_is_displayed():
    seen = []

    def halves(image):
        seen.append(image)
        return np.arange(image.shape[1])[None].repeat(image.shape[0], 0) // 2

    images = torch.rand(1, 3, 2, 4)
    mean, std = [0.5, 0.4, 0.3], [0.2, 0.2, 0.1]
    normalized = (images - torch.tensor(mean).reshape(3, 1, 1)) / torch.tensor(std).reshape(3, 1, 1)
    weighted = lambda x: x[:, 0].sum((1, 2))  # noqa: E731
    USUUpsampler(segmenter=halves, mean=mean, std=std).score_map(normalized, weighted)
    np.testing.assert_allclose(seen[0], images[0].permute(1, 2, 0), atol=1e-6)
    USUUpsampler(segmenter=halves).score_map(normalized, weighted)
    assert (seen[1].min(), seen[1].max()) == (0, 1)
    with pytest.raises(ArgumentError, match=r"`inputs` to be in \[0, 1\] after mean and std are undone"):
        USUUpsampler(segmenter=halves, mean=mean, std=std).score_map(normalized * 5, weighted)


class WithBatchNorm(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(1)

    def forward(self, x):
        return self.norm(x).sum((1, 2, 3))


BAD = [
    ({"segmenter": torch.zeros(2, 3, dtype=torch.int64)}, ArgumentError, r"`segmenter` to be of shape \(2, 4\)"),
    ({"scorer": lambda m: [torch.full((3,), float("nan"))] * 2}, NonFiniteError, "`scores of image 0` to be finite"),
]


@pytest.mark.parametrize(
    ("options", "error", "message"), BAD, ids=[next(iter(o)) + str(i) for i, (o, _, _) in enumerate(BAD)]
)
def test_options_that_do_not_fit_the_images_are_named(model, options, error, message):
    with pytest.raises(error, match=message):
        USUUpsampler(**{"segmenter": LABELS, **options}).score_map(IMAGES, model, 0)


def test_bad_calls_are_named(model):
    usu = USUUpsampler(segmenter=LABELS)
    with pytest.raises(ArgumentError, match="`coarse` to be of 2 rows like the inputs"):
        usu(torch.ones(3, 1, 2), IMAGES, model, 0)
    with pytest.raises(NonFiniteError, match="`coarse` to be finite"):
        usu(torch.full((2, 1, 2), float("nan")), IMAGES, model, 0)
    with pytest.raises(ArgumentError, match="`target` to be an index from 0 to 1"):
        usu(torch.ones(2, 1, 2), IMAGES, model, 7)
    with pytest.raises(
        ArgumentError, match="batch norm that mixes the rows of a batch: BatchNorm2d '.*' is in training mode"
    ):
        usu(torch.ones(2, 1, 2), IMAGES, WithBatchNorm().train())


@pytest.mark.parametrize("mode", ["nearest", "bilinear", "bicubic", "lanczos"])
def test_interpolation_has_the_call_of_usu(mode):
    coarse = torch.rand(2, 3, 3)
    fine = InterpolationUpsampler(mode)(coarse, torch.zeros(2, 3, 12, 9))
    assert fine.shape == (2, 1, 12, 9)
    constant = InterpolationUpsampler(mode)(torch.full((1, 3, 3), 0.7), torch.zeros(1, 3, 12, 9), None, 0, None, (6, 6))
    torch.testing.assert_close(constant, torch.full((1, 1, 6, 6), 0.7))
    if mode == "bilinear":
        expected = nn.functional.interpolate(coarse[:, None], size=(12, 9), mode="bilinear", align_corners=False)
        assert torch.equal(fine, expected)


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_superpixels_follow_the_edges_of_images_of_any_number_of_channels(channels):
    image = torch.zeros(1, channels, 60, 60)
    image[..., 23:, :] = 1.0
    labels = Segmenter("slic", n_segments=9)(image)[0]
    above, below = labels[:23].unique(), labels[23:].unique()
    assert not set(above.tolist()) & set(below.tolist())
