"""Several curves in one sweep: the numbers of single calls, from fewer passes."""

import warnings
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from captum_ext import on_nonfinite
from captum_ext.exceptions import ArgumentError, ArgumentTypeError, NonFiniteError
from captum_ext.images import Blur
from captum_ext.metrics import Ranking, curves, deletion, diff_id, infidelity, insertion, pixel_flipping, road

seeds = st.integers(0, 9999)
NUMBERS = ("fractions", "scores", "auc", "correct", "valid", "input_scores")
fills = st.sampled_from(["blur", "rise", "mean", "overall-mean", "corners", 0, 0.5, Blur(sigma=1.0)])
rankings = st.builds(Ranking, absolute=st.booleans(), seed=st.integers(0, 1))


class Counted(nn.Module):
    """A bent model with classes, which counts the rows that it is given and keeps their batches."""

    def __init__(self, n_features=48, seed=0):
        super().__init__()
        weight = torch.randn(n_features, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        self.register_buffer("weight", weight)
        self.sizes = []

    def forward(self, x):
        self.sizes.append(len(x))
        return 4 + torch.sin(x.flatten(1).double() @ self.weight)


def images(seed, *shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def one_by_one(metrics, *arguments, **options):
    return {name: metric(*arguments, **options) for name, metric in metrics.items()}


def check_same(found, expected, exactly):
    assert list(found) == list(expected)
    for name, curve in found.items():
        assert curve.higher_is_better == expected[name].higher_is_better
        for number in NUMBERS:
            ours, single = getattr(curve, number), getattr(expected[name], number)
            if exactly or single is None:
                assert (ours is single is None) or torch.equal(ours.nan_to_num(-7.0), single.nan_to_num(-7.0)), number
            else:
                torch.testing.assert_close(ours, single, rtol=1e-12, atol=1e-12, equal_nan=True)


@st.composite
def options_of(draw):
    """Insertion, deletion, DiffID and pixel flipping, each with options of its own."""
    own = {"baselines": draw(fills), "ranking": draw(rankings)}
    steps, shares = draw(st.integers(1, 7)), draw(st.sampled_from([(0.5,), (0.1, 0.25, 0.9), (0.3, 0.6)]))
    scale = draw(st.sampled_from(["none", "input", "range"]))
    return {
        "insertion": partial(insertion, n_steps=steps, normalize=scale, **own),
        "deletion": partial(deletion, n_steps=draw(st.integers(1, 7)), baselines=draw(fills), ranking=draw(rankings)),
        "diff_id": partial(diff_id, fractions=shares, baselines=draw(fills), ranking=draw(rankings)),
        "pixel_flipping": partial(pixel_flipping, pixels_in_step=draw(st.sampled_from([1, 4, 16])), **own),
    }


@pytest.mark.filterwarnings("ignore::UserWarning")
@given(metrics=options_of(), seed=seeds, limit=st.sampled_from([1, 3, None]), signed=st.booleans())
def test_any_mixture_of_curves_has_the_numbers_of_single_calls(metrics, seed, limit, signed):
    x, maps = images(seed, 3, 3, 4, 4), images(seed + 1, 3, 3, 4, 4).round(decimals=1) - 0.5 * signed
    model, options = Counted(), {"internal_batch_size": limit}
    found = curves(model, x, maps, [0, 2, 1], metrics=metrics, **options)
    shared = sum(model.sizes)
    expected = one_by_one(metrics, model, x, maps, [0, 2, 1], **options)
    assert shared < sum(model.sizes) - shared
    check_same(found, expected, exactly=limit is not None)  # then every pass has the same number of rows


@pytest.mark.parametrize(
    ("metrics", "options", "single", "together"),
    [
        (("insertion", "deletion", "diff_id"), {"baselines": "mean", "ranking": Ranking(absolute=True)}, 41, 20),
        (("insertion", "deletion"), {"baselines": "blur"}, 22, 20),
        (("insertion", "deletion", "diff_id"), {}, 41, 39),
        (("insertion", "deletion", "diff_id"), {"baselines": 0}, 41, 38),
    ],
    ids=["one fill and ranking", "two with one fill", "defaults", "one fill and two rankings"],
)
def test_passes_are_those_of_the_distinct_images(metrics, options, single, together):
    x, maps = images(0, 2, 3, 8, 10), images(1, 2, 3, 8, 10) - 0.5
    model = Counted(240)
    found = curves(model, x, maps, 1, metrics=metrics, **options)
    assert sum(model.sizes) == 2 * together
    model.sizes.clear()
    functions = {"insertion": insertion, "deletion": deletion, "diff_id": diff_id}
    expected = one_by_one({name: functions[name] for name in metrics}, model, x, maps, 1, **options)
    assert sum(model.sizes) == 2 * single
    check_same(found, expected, exactly=False)


def test_three_curves_with_one_fill_and_ranking_cost_less_than_70_percent():
    model, x = Counted(3 * 100), images(0, 1, 3, 10, 10)
    curves(model, x, x, 0, baselines="blur")  # no attribution is negative: one ranking
    shared = sum(model.sizes)
    model.sizes.clear()
    for metric in (insertion, deletion, diff_id):
        metric(model, x, x, 0, baselines="blur")
    assert shared / sum(model.sizes) == pytest.approx(20 / 41)


def test_no_image_is_given_to_the_model_twice():
    seen = []
    model = lambda x: (seen.extend(row.numpy().tobytes() for row in x), x.sum((1, 2, 3)) + 1)[1]  # noqa: E731
    x, maps = images(0, 1, 3, 8, 10), images(1, 1, 3, 8, 10) - 0.5
    for baselines in ("mean", "blur", 0):
        seen.clear()
        curves(model, x, maps, metrics=("insertion", "deletion", "diff_id", "pixel_flipping"), baselines=baselines)
        assert len(set(seen)) == len(seen)


def test_numbers_tensors_and_words_for_one_fill_are_one():
    model, x = Counted(), images(0, 2, 3, 4, 4)
    zero = torch.zeros(1, 3, 4, 4, dtype=torch.float64)
    metrics = {str(place): partial(deletion, n_steps=4, baselines=one) for place, one in enumerate([0, 0.0, zero])}
    curves(model, x, x, 0, metrics=metrics)
    assert sum(model.sizes) == 2 * 5
    model.sizes.clear()
    blurs = {"a": partial(insertion, n_steps=4), "b": partial(insertion, n_steps=4, baselines=Blur())}
    curves(model, x, x, 0, metrics=blurs)
    assert sum(model.sizes) == 2 * 5


def test_options_of_a_partial_win_and_others_are_those_of_the_call():
    x = torch.tensor([[3.0, 1.0]])
    found = curves(
        lambda x: x.sum(1), x, x, metrics={"a": partial(deletion, baselines=5, n_steps=2), "b": insertion}, baselines=7
    )
    assert found["a"].scores.tolist() == [[4, 6, 10]]
    assert found["b"].scores[0, 0] == 14


def test_one_pixel_leaves_nothing_to_ask_but_the_input():
    model, x = Counted(3), images(0, 2, 3, 1, 1)
    metrics = {"a": partial(insertion, baselines=0), "b": partial(diff_id, fractions=(0.1,), baselines=1)}
    found = curves(model, x, x, 0, metrics=metrics)
    assert sum(model.sizes) == 2 * 2  # a tenth of one pixel is none: both images of DiffID are the input
    assert found["b"].scores.tolist() == [[0.0], [0.0]]


def test_rows_that_are_not_finite_are_left_out_of_every_curve():
    x = images(0, 3, 3, 4, 4)
    x[1, 0, 0, 0] = torch.nan
    maps = images(1, 3, 3, 4, 4)
    maps[2, 0, 0, 0] = torch.inf
    with pytest.raises(NonFiniteError, match="`inputs` to be finite, but got NaN in row 1"):
        curves(Counted(), x, maps, 0)
    with on_nonfinite("nan"):
        found = curves(Counted(), x, maps, 0, internal_batch_size=3)
        functions = {"insertion": insertion, "deletion": deletion, "diff_id": diff_id}
        expected = one_by_one(functions, Counted(), x, maps, 0, internal_batch_size=3)
    check_same(found, expected, exactly=True)
    assert [curve.auc.isnan().tolist() for curve in found.values()] == [[False, True, True]] * 3


def test_a_tuple_of_inputs_and_forward_arguments_go_as_in_single_calls():
    given = images(0, 2, 5), images(1, 2, 3, 4, 4)
    maps = images(2, 2, 5) - 0.5, images(3, 2, 1, 4, 4) - 0.5
    scale = torch.tensor([1.0, 2.0], dtype=torch.float64)
    model = lambda a, b, s: (a.sum(1) + (b**2).sum((1, 2, 3))) * s + 1  # noqa: E731
    options = {"baselines": 0, "internal_batch_size": 2}
    found = curves(model, given, maps, None, scale, **options)
    functions = {"insertion": insertion, "deletion": deletion, "diff_id": diff_id}
    check_same(found, one_by_one(functions, model, given, maps, None, scale, **options), exactly=True)


def test_a_blur_that_shows_the_class_is_told_of_once_for_each_curve_that_has_it():
    x = torch.ones(1, 3, 8, 8)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        curves(lambda x: x.sum((1, 2, 3)), x, torch.rand(1, 1, 8, 8), metrics=("insertion", "deletion"))
    assert len([one for one in told if "blur" in str(one.message)]) == 1


@pytest.mark.parametrize(
    ("metrics", "error", "match"),
    [
        ("insertion", ArgumentTypeError, "`metrics` to be a sequence of names, or a mapping of names to metrics"),
        ((), ArgumentError, "`metrics` to be at least one"),
        (("insertion", "road"), ArgumentError, 'some of "insertion", "deletion", "diff_id", "pixel_flipping"'),
        ({"a": road}, ArgumentError, "insertion, deletion, diff_id, pixel_flipping or a functools.partial"),
        ({"a": infidelity}, ArgumentError, "or a functools.partial of one with options"),
        ({"a": partial(insertion, lambda x: x)}, ArgumentError, "or a functools.partial of one with options"),
        ({"a": partial(insertion, target=1)}, ArgumentError, "options of insertion .*, but got 'target'"),
        ({"a": partial(insertion, internal_batch_size=1)}, ArgumentError, "options of insertion .*'internal_batch_siz"),
        ({"a": partial(insertion, n_steps=0)}, ArgumentError, "`n_steps` to be an integer of at least 1, but got 0"),
        ({"a": partial(diff_id, normalize="range")}, ArgumentError, '`normalize` to be one of "none", "input"'),
        ({"a": partial(deletion, ranking="absolute")}, ArgumentTypeError, "`ranking` to be a Ranking"),
        ({1: insertion}, ArgumentError, "`metrics` to be names"),
    ],
)
def test_what_is_no_curve_or_no_option_is_refused(metrics, error, match):
    x = torch.rand(1, 3, 4, 4)
    with pytest.raises(error, match=match):
        curves(lambda x: x.sum((1, 2, 3)), x, x, metrics=metrics)
