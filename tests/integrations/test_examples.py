"""What the examples load from a user's files: a vision transformer's weights, without unpickling code."""

import pytest
import torch

pytest.importorskip("pytorch_grad_cam")
torchvision = pytest.importorskip("torchvision")


def test_a_vision_transformers_tokens_become_a_map_of_the_image():
    vit = pytest.importorskip("examples.vit_grad_cam")
    sizes = {"num_layers": 2, "num_heads": 2, "hidden_dim": 16, "mlp_dim": 32, "num_classes": 3}
    with torch.random.fork_rng():
        torch.manual_seed(1)
        network = torchvision.models.VisionTransformer(image_size=32, patch_size=8, **sizes).eval()
        torch.nn.init.normal_(network.heads.head.weight)
    adapted = vit.adapt(network, mean=0.5, std=0.5)
    image = torch.linspace(-1, 1, 32).reshape(1, 1, 1, 32).expand(1, 3, 32, 32)
    shown = vit.redistributed(adapted, image)
    assert shown.shape == (1, 32, 32)
    assert float(shown.max()) == 1


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
