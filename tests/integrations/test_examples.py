"""What the examples load from a user's files: a vision transformer's weights, without unpickling code."""

import pytest
import torch

pytest.importorskip("pytorch_grad_cam")
torchvision = pytest.importorskip("torchvision")


def test_a_vision_transformers_tokens_become_a_grid_of_the_image():
    vit = pytest.importorskip("examples.vit_grad_cam")
    tokens = torch.arange(1 + 14 * 14, dtype=torch.float32)[None, :, None].expand(1, -1, 3)
    grid = vit.tokens_to_grid(tokens)
    assert grid.shape == (1, 3, 14, 14)
    assert grid[0, 0, 0, :3].tolist() == [1, 2, 3]
    assert float(grid[0, 0, 1, 0]) == 15
