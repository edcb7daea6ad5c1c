"""Maps beside their standard errors."""

import pytest
import torch

from captum_ext.exceptions import ArgumentError
from captum_ext.visualize import show_errors

pytest.importorskip("matplotlib")


def test_maps_errors_and_what_is_beyond_them_stand_beside_each_other():
    maps = torch.tensor([[[[1.0, 2.0], [0.1, -3.0]], [[1.0, 2.0], [0.1, -3.0]]]])
    figure = show_errors(maps, torch.ones(1, 1, 2, 2), torch.rand(1, 3, 2, 2))
    drawn = [axis.images[0].get_array() for axis in figure.axes[1:4]]
    assert [axis.get_title() for axis in figure.axes[1:4]] == [
        "attribution",
        "its standard error",
        "beyond 1.96 standard errors",
    ]
    assert len(drawn) == 3
    text = " ".join(one.get_text() for one in figure.texts)
    assert "75 % of the pixels are more than 1.96 standard errors from zero" in text.replace("\n", " ").replace(
        "\u00a0", " "
    )


@pytest.mark.parametrize(
    ("errors", "message"),
    [
        (torch.ones(1, 2, 2, 2), "`errors`.*one number for each location.*2 channels"),
        (torch.ones(1, 1, 3, 3), "`errors`.*for maps"),
        (-torch.ones(1, 1, 2, 2), "`errors`.*negative"),
    ],
)
def test_errors_that_are_not_those_of_the_locations_are_refused(errors, message):
    with pytest.raises(ArgumentError, match=message):
        show_errors(torch.ones(1, 2, 2, 2), errors)
