"""What workers of Ray do with images as Ray reads them; none of it needs Ray."""

import numpy as np
import pytest
import torch

from captum_ext.exceptions import ArgumentTypeError
from captum_ext.images import image_to_tensor
from captum_ext_integrations._ray_actors import Outputs, Source

PIXELS = np.random.default_rng(0).integers(0, 256, (3, 4, 5, 3), dtype=np.uint8)


def model():
    return torch.nn.Flatten()


def test_images_of_a_column_are_prepared_one_by_one():
    expected = torch.stack([image_to_tensor(pixels) for pixels in PIXELS])
    source = Source(prepare=image_to_tensor)
    assert torch.equal(source.inputs(PIXELS), expected)
    several = np.empty(3, dtype=object)
    several[:] = list(PIXELS)
    assert torch.equal(source.inputs(several), expected)
    rows = Outputs(model, source)({"image": PIXELS, "index": np.arange(3)})
    assert np.array_equal(rows["outputs"], expected.flatten(1).numpy())


def test_grey_networks_get_one_channel():
    def prepare(image):
        return image_to_tensor(image, channels=1)

    assert Source(prepare=prepare, channels=1).inputs(PIXELS).shape == (3, 1, 4, 5)


def test_what_prepares_no_image_is_named():
    with pytest.raises(ArgumentTypeError, match="`prepare` to be a function that returns a tensor"):
        Source(prepare=lambda _: None).inputs(PIXELS)
