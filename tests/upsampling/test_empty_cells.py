"""Segments in cells without mass are not scored: the others' scores are those of a loop, and no mass is lost."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from captum_ext.exceptions import ArgumentError
from captum_ext.upsampling import USU, Refinement, redistribute, upsample_maps

SETTINGS = {"fill": 0.25}


class Network(nn.Module):
    """A score that pixels do not add to by themselves; `rows` counts what it was given."""

    def __init__(self, size):
        super().__init__()
        drawn = torch.rand(size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        self.weight, self.rows = drawn - 0.4, 0

    def forward(self, x):
        self.rows += len(x)
        return torch.tanh((x * self.weight).flatten(1).sum(1, keepdim=True)).repeat(1, 2) * torch.tensor([1.0, -1])


def slow_scores(model, image, labels, coarse):
    """Scores of segments with mass, scaled by themselves, 0 for the others; and how many have mass."""
    height, width = labels.shape
    having = set()
    for i in range(height):
        for j in range(width):
            for one in coarse:
                if one[i * len(one) // height, j * len(one[0]) // width] != 0:
                    having.add(int(labels[i, j]))
    raw = {}
    for k in having:
        inside = labels == k
        alone, without = (torch.where(kept, image, torch.tensor(0.25).double()) for kept in (inside, ~inside))
        raw[k] = float(model(alone[None])[0, 0] - model(without[None])[0, 0])
    shown = torch.zeros(labels.shape, dtype=torch.float64)
    for k, one in raw.items():
        low, high = min(raw.values()), max(raw.values())
        shown[labels == k] = (one - low) / (high - low) if high > low else 0.5
    return shown, len(having)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10_000), st.integers(1, 3), st.floats(0, 1), st.sampled_from([(6, 8), (7, 9)]))
@pytest.mark.filterwarnings("ignore:The segments of")
def test_scores_are_those_of_the_segments_with_mass_alone(seed, n_maps, share, size):
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(2, 1, *size, generator=generator, dtype=torch.float64)
    labels = torch.randint(5, (2, *size), generator=generator)
    labels[:, : size[0] // 2] = labels[:, :1, :1]  # a large segment, and small ones elsewhere
    labels = torch.stack([torch.unique(one, return_inverse=True)[1] for one in labels])
    maps = [torch.rand(2, 2 + k, 3, generator=generator) for k in range(n_maps)]
    maps = [one * (torch.rand(one.shape, generator=generator) < share) for one in maps]
    model = Network(size)
    usu = USU(segmenter=labels, skip_empty=True, **SETTINGS)
    found = usu.score_map(images, model, 0, maps=maps)
    passes = model.rows
    expected, counts = [], 0
    for row in range(2):
        shown, having = slow_scores(Network(size), images[row], labels[row], [one[row] for one in maps])
        counts += 2 * (having + int(having <= int(labels[row].max())))
        expected.append(shown)
    torch.testing.assert_close(found[:, 0], torch.stack(expected), rtol=0, atol=1e-9)
    assert passes == counts
    for one, fine in zip(maps, upsample_maps(usu, maps, images, model, 0), strict=True):
        torch.testing.assert_close(fine, redistribute(one, found, temperature=0.3))
        nearest = torch.nn.functional.interpolate(one[:, None], size)
        torch.testing.assert_close(fine.sum((1, 2, 3)), nearest.sum((1, 2, 3)), rtol=1e-5, atol=1e-6)


IMAGE = torch.rand(1, 1, 4, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
LABELS = torch.arange(8).div(2, rounding_mode="floor").expand(4, 8)


def test_where_all_cells_have_mass_nothing_changes():
    model, coarse = Network((4, 8)), torch.rand(1, 2, 4) + 0.1
    plain = USU(segmenter=LABELS, **SETTINGS)(coarse, IMAGE, model, 0)
    passes, model.rows = model.rows, 0
    assert torch.equal(USU(segmenter=LABELS, skip_empty=True, **SETTINGS)(coarse, IMAGE, model, 0), plain)
    assert model.rows == passes == 8


def test_one_cell_with_mass_costs_its_own_segments_and_one_for_the_others():
    model, coarse = Network((4, 8)), torch.zeros(1, 1, 2)
    coarse[..., 0] = 3
    fine = USU(segmenter=LABELS, skip_empty=True, **SETTINGS)(coarse, IMAGE, model, 0)
    assert model.rows == 2 * 3
    assert fine[..., 4:].abs().max() == 0
    assert float(fine.sum()) == pytest.approx(3 * 16)


def test_without_maps_or_at_another_size_all_segments_are_scored():
    model, coarse = Network((4, 8)), torch.eye(2)[None, :1]
    usu, plain = USU(segmenter=LABELS, skip_empty=True, **SETTINGS), USU(segmenter=LABELS, **SETTINGS)
    assert torch.equal(usu.score_map(IMAGE, model, 0), plain.score_map(IMAGE, model, 0))
    model.rows = 0
    for size in ((8, 16), (5, 9)):
        assert torch.equal(usu(coarse, IMAGE, model, 0, size=size), plain(coarse, IMAGE, model, 0, size=size))
        (fine,) = upsample_maps(usu, [coarse], IMAGE, model, 0, size=size)
        assert torch.equal(fine, plain(coarse, IMAGE, model, 0, size=size))
    assert model.rows == 8 * 8


def test_a_map_without_mass_stays_without():
    model = Network((4, 8))
    fine = USU(segmenter=LABELS, skip_empty=True, **SETTINGS)(torch.zeros(1, 2, 2), IMAGE, model, 0)
    assert fine.abs().max() == 0


@pytest.mark.parametrize("options", [{"redistribution": "global-area"}, {"refinement": Refinement()}])
def test_settings_that_need_all_segments_refuse_it(options):
    with pytest.raises(ArgumentError, match="`skip_empty` to be False where segments are refined, or with"):
        USU(skip_empty=True, **options)
