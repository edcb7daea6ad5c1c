"""Fixtures and settings shared by all tests."""

import os
from importlib.util import find_spec

# Tiny models: threads only cost, and those of several processes on the same cores wait for each other. Before what
# counts its threads when it is loaded; a program that a test starts inherits it.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch
from hypothesis import settings

OF_RUNS = ["dataset", "integrations/cli", "integrations/viewer", "scale", "selection"]  # the extra `dataset`
collect_ignore = [] if find_spec("pyarrow") else OF_RUNS

torch.set_num_threads(1)

settings.register_profile("suite", deadline=None, max_examples=25)
settings.load_profile("suite")


@pytest.fixture
def weights():
    """A linear model with exact attributions: outputs x @ weights."""
    return torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])


@pytest.fixture
def compiler():
    """`torch.compile` with nothing in its caches, where this version has it for this Python."""
    try:
        torch.compile(torch.nn.Identity(), backend="eager")
    except RuntimeError as error:  # torch 2.3 on Python 3.12
        pytest.skip(str(error))
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()
