"""The GPU of this machine; without one the CPU, on which the tests of numbers show that they themselves work."""

import pytest
import torch


@pytest.fixture
def device():
    """The device under test, with float32 products in float32."""
    if not torch.cuda.is_available():
        yield torch.device("cpu")
        return
    matmul, convolution = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    yield torch.device("cuda")
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = matmul, convolution


@pytest.fixture
def gpu(device):
    """The GPU, for what only a GPU has."""
    if device.type != "cuda":
        pytest.skip("this machine has no GPU")
    return device
