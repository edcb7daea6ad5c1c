"""RISE against the loop of the paper, and what its masks and maps are."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from captum_ext import on_nonfinite
from captum_ext.attr import RISE, rise
from captum_ext.attr.rise import Masks
from captum_ext.exceptions import ArgumentError, ArgumentTypeError, NonFiniteError
from tests.core.device_entries import model_with
from tests.core.entries import numbers
from tests.oracles import rise as oracle

IMAGES = numbers(2, 3, 6, 9)
MODEL = model_with(numbers(3, 3, 6, 9).flip(1))


@given(
    seed=st.integers(0, 100),
    grid=st.integers(1, 7),
    height=st.integers(1, 12),
    width=st.integers(1, 12),
    rows=st.integers(1, 3),
    batch=st.integers(1, 9),
)
def test_the_map_is_that_of_the_papers_loop(seed, grid, height, width, rows, batch):
    images, weights = numbers(rows, 2, height, width), numbers(3, 2, height, width).flip(1)
    method, target = RISE(model_with(weights), grid=grid, seed=seed, probability=0.4), [k % 3 for k in range(rows)]
    masks = Masks.drawn(method, 13, (height, width))
    expected = oracle(model_with(weights), images, target, masks.kept, masks.shift, 0.4)
    attributions = method.attribute(images, target=target, n_samples=13, internal_batch_size=batch)
    torch.testing.assert_close(attributions.sum(1), expected, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(attributions[:, :1].expand_as(attributions), attributions)


def test_a_constant_score_gives_every_pixel_the_mean_of_its_masks():
    method = RISE(lambda x: x.new_full((len(x),), 2.0), grid=3)
    attributions = method.attribute(IMAGES, n_samples=40)
    masks = Masks.drawn(method, 40, (6, 9)).at(torch.arange(40), IMAGES)
    expected = 2 * masks.double().mean(0) / 0.5
    torch.testing.assert_close(attributions.sum(1), expected.float().expand(2, 6, 9))


def test_masks_lie_between_zero_and_one_and_keep_their_share_of_cells():
    masks = Masks.drawn(RISE(MODEL, probability=0.3), 4000, (14, 21)).at(torch.arange(4000), IMAGES)
    assert masks.shape == (4000, 14, 21)
    assert 0 <= float(masks.min()) <= float(masks.max()) <= 1
    assert float(masks.mean()) == pytest.approx(0.3, abs=0.01)


def test_a_baseline_is_what_masked_pixels_fade_to():
    same = RISE(MODEL).attribute(IMAGES, baselines=IMAGES, target=1, n_samples=30)  # nothing is masked away
    masks = Masks.drawn(RISE(MODEL), 30, (6, 9)).at(torch.arange(30), IMAGES).mean(0) / 0.5
    torch.testing.assert_close(same.sum(1), MODEL(IMAGES)[:, 1, None, None] * masks)
    zero, none = (RISE(MODEL).attribute(IMAGES, baselines=given, target=1, n_samples=30) for given in (0, None))
    assert torch.equal(zero, none)


def test_the_map_is_the_same_for_a_seed_and_leaves_the_global_random_state_alone():
    state = torch.get_rng_state()
    first, again = (RISE(MODEL, seed=3).attribute(IMAGES, target=1, n_samples=9) for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, RISE(MODEL, seed=4).attribute(IMAGES, target=1, n_samples=9))
    assert torch.equal(state, torch.get_rng_state())


def test_half_precision_is_explained_in_float32():
    half = RISE(MODEL).attribute(IMAGES.bfloat16(), target=1, n_samples=50)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, RISE(MODEL).attribute(IMAGES, target=1, n_samples=50), rtol=0.05, atol=0.01)


def test_no_more_rows_are_in_flight_than_allowed_and_none_is_passed_twice():
    rows = []

    def model(x):
        rows.append(len(x))
        return MODEL(x)

    RISE(model).attribute(IMAGES, target=1, n_samples=25, internal_batch_size=6)
    assert max(rows) == 6
    assert sum(rows) == 2 * 25


def test_more_masks_than_memory_has_room_for_are_refused_before_they_are_drawn():
    message = "`n_samples` to be at most 4,096 with a grid of 256 x 256, but got 1,000,000 masks"
    with pytest.raises(ArgumentError, match=message):
        RISE(MODEL, grid=256).attribute(IMAGES, target=1, n_samples=1_000_000)


def test_cells_drawn_in_parts_are_those_drawn_at_once(monkeypatch):
    whole = Masks.drawn(RISE(MODEL), 50, (6, 9))
    monkeypatch.setattr(rise, "_AT_ONCE", 49 * 7)
    parts = Masks.drawn(RISE(MODEL), 50, (6, 9))
    assert torch.equal(whole.kept, parts.kept)
    assert torch.equal(whole.shift, parts.shift)


def test_a_row_of_nan_is_named_or_left_out():
    broken = torch.cat([IMAGES, IMAGES[:1] * float("nan")])
    with pytest.raises(NonFiniteError, match="`inputs` to be finite, but got NaN in row 2"):
        RISE(MODEL).attribute(broken, target=1, n_samples=5)
    with on_nonfinite("nan"):
        attributions = RISE(MODEL).attribute(broken, target=1, n_samples=5)
    assert bool(attributions[2].isnan().all())
    torch.testing.assert_close(attributions[:2], RISE(MODEL).attribute(IMAGES, target=1, n_samples=5))


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"grid": 0}, ArgumentError, "`grid` to be an integer of at least 1"),
        ({"grid": 257}, ArgumentError, "`grid` to be an integer from 1 to 256"),
        (
            {"probability": 1},
            ArgumentError,
            "`probability` to be a number from 1e-6 to 1, the latter excluded, but got int 1",
        ),
        ({"probability": 1e-320}, ArgumentError, "`probability` to be a number from 1e-6 to 1, the latter excluded"),
        ({"seed": -1}, ArgumentError, "`seed` to be an integer from 0"),
    ],
)
def test_settings_that_cannot_be_used_are_named(settings, error, message):
    with pytest.raises(error, match=message):
        RISE(MODEL, **settings)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"inputs": (IMAGES,)}, ArgumentTypeError, r"`inputs` to be a tensor of images \(N, C, H, W\), but got tuple"),
        (
            {"inputs": IMAGES[0]},
            ArgumentError,
            r"`inputs` to be a batch of images \(N, C, H, W\) or volumes .* with dims=1, but got a tensor of shape",
        ),
        ({"n_samples": 0}, ArgumentError, "`n_samples` to be an integer of at least 1"),
        ({"n_samples": 10**9}, ArgumentError, "`n_samples` to be an integer from 1 to 1,000,000"),
        ({"target": 3}, ArgumentError, "`target` to be an index from 0 to 2"),
        ({"baselines": IMAGES[..., :2]}, ArgumentError, "`baselines` to be of the input's shape"),
    ],
)
def test_arguments_that_cannot_be_used_are_named(given, error, message):
    with pytest.raises(error, match=message):
        RISE(MODEL).attribute(**{"inputs": IMAGES, "target": 1, "n_samples": 3, **given})
