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


def test_a_word_gets_the_sum_over_its_embedding_and_sentences_are_real_prose():
    example = pytest.importorskip("examples.text_classifier")
    assert example.words_of("Return the array's shape, as-is (a tuple).") == [
        "return",
        "the",
        "array's",
        "shape",
        "as",
        "is",
        "a",
        "tuple",
    ]
    assert list(example.documentation(pytest))
    model = example.Classifier(30).eval()
    training = torch.randint(30, (1200, example.LONGEST), generator=torch.Generator().manual_seed(0))
    for explain in example.methods(model, training).values():
        maps, delta = explain(training[:2] * 3 % 30, torch.tensor([0, 4]))
        assert maps.shape == (2, example.LONGEST)
        assert delta.shape == (2,)
