"""How maps are stored: sizes keep the mass, float16 keeps the relative precision."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from captum_ext.dataset import MapFormat
from captum_ext.dataset.map_format import overlaps
from captum_ext.exceptions import ArgumentError, ArgumentTypeError, NonFiniteError

side = st.integers(1, 9)


@given(st.tuples(side, side), st.tuples(side, side), st.integers(0, 2**32))
def test_a_map_of_any_size_has_the_sum_of_the_whole_map(old, new, seed):
    maps = torch.randn(2, 3, *old, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    values, _ = MapFormat(size=new, dtype="float64").encode(maps)
    assert values.shape == (2, *new)
    np.testing.assert_allclose(values.sum((1, 2)), maps.sum((1, 2, 3)).numpy(), atol=1e-12)


def test_a_pixel_goes_to_the_cells_that_it_overlaps():
    assert overlaps(2, 3).tolist() == [[1.0, 0.5, 0.0], [0.0, 0.5, 1.0]]
    values, _ = MapFormat(size=(1, 2), dtype="float64").encode(torch.tensor([[[1.0, 2.0, 3.0]]]))
    assert values.tolist() == [[[2.0, 4.0]]]


def test_channels_are_summed_as_they_are_or_as_absolute_values_or_kept():
    maps = torch.tensor([1.0, -3.0]).reshape(1, 2, 1, 1)
    stored = {
        channels: MapFormat(None, "float32", channels).encode(maps)[0] for channels in ("sum", "absolute", "keep")
    }
    assert stored["sum"].tolist() == [[[-2.0]]]
    assert stored["absolute"].tolist() == [[[4.0]]]
    assert stored["keep"].shape == (1, 2, 1, 1)
    assert MapFormat(None, "float32", "absolute").encode(torch.tensor([[-2.0]]))[0].tolist() == [[2.0]]


@given(st.floats(1e-30, 1e30), st.integers(0, 2**32))
def test_float16_keeps_the_relative_precision_of_maps_of_any_magnitude(magnitude, seed):
    maps = torch.rand(2, 5, 5, generator=torch.Generator().manual_seed(seed)) * magnitude
    values, scale = MapFormat().encode(maps)
    assert values.dtype == np.float16
    np.testing.assert_allclose(
        values.astype(np.float64) * scale[:, None, None], maps, rtol=2**-11 * 1.01, atol=6e-5 * magnitude
    )


def test_an_empty_map_stays_empty():
    values, scale = MapFormat().encode(torch.zeros(1, 1, 2, 2))
    assert not values.any()
    assert scale.tolist() == [0.0]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"dtype": "int8"}, ArgumentError, '"float16", "float32", "float64", but got str \'int8\''),
        ({"channels": "mean"}, ArgumentError, '`channels` to be one of "sum", "absolute", "keep"'),
        ({"size": 7}, ArgumentTypeError, r"None or \(height, width\), but got int 7"),
        ({"size": (0, 2)}, ArgumentError, "`size` to be an integer of at least 1"),
    ],
)
def test_formats_that_cannot_be_used_say_so(arguments, error, message):
    with pytest.raises(error, match=message):
        MapFormat(**arguments)


def test_a_size_for_what_is_no_image_and_numbers_that_are_none_are_refused():
    with pytest.raises(ArgumentError, match="`size` to be None for inputs that are not images"):
        MapFormat(size=(2, 2)).encode(torch.ones(2, 3))
    with pytest.raises(NonFiniteError, match="`attributions` to be finite, but got NaN in row 1"):
        MapFormat().encode(torch.tensor([[1.0], [torch.nan]]))
