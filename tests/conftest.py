"""Fixtures and settings shared by all tests."""

import pytest
import torch
from hypothesis import settings

torch.set_num_threads(1)  # tiny models: threads only cost; the suite runs in several processes

settings.register_profile("suite", deadline=None, max_examples=25)
settings.load_profile("suite")


@pytest.fixture
def weights():
    """A linear model with exact attributions: outputs x @ weights."""
    return torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
