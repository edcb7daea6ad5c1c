"""A bar that is not shown is not made: it would wait for the lock of a process that was killed."""

import pytest
import torch

from captum_ext.attr import AGI, RISE, BlurIG
from captum_ext.core import progress
from captum_ext.references import ReferenceDistribution
from captum_ext.upsampling import USUUpsampler
from tests.core.entries import numbers

IMAGES = numbers(2, 3, 4, 4)


def model(x):
    return x.mean((2, 3)).tanh()


CALLS = {
    "RISE": lambda show: RISE(model).attribute(IMAGES, target=1, n_samples=3, show_progress=show),
    "AGI": lambda show: AGI(model).attribute(IMAGES, target=1, n_steps=3, show_progress=show),
    "BlurIG": lambda show: BlurIG(model).attribute(IMAGES, target=1, n_steps=3, show_progress=show),
    "fit": lambda show: ReferenceDistribution.fit(model, IMAGES, n_references=1, show_progress=show),
    "USU": lambda show: USUUpsampler(segmenter=torch.tensor([[0, 1] * 2] * 4), show_progress=show)(
        numbers(2, 2, 2).abs(), IMAGES, model, 1
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_bar_is_made_only_where_it_is_shown(name, monkeypatch):
    def no_bar(**given):
        raise ZeroDivisionError

    monkeypatch.setattr(progress, "tqdm", no_bar)
    CALLS[name](False)
    with pytest.raises(ZeroDivisionError):
        CALLS[name](True)
