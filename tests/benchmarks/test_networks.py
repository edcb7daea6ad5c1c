"""Networks: weights from local files, and small ones that are trained on the spot."""

import pickle

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision.models import resnet18

from examples.benchmarks.engine.captum_methods import captum_methods, why_not
from examples.benchmarks.engine.explanations import Asked, Setting
from examples.benchmarks.engine.networks import GREY, Network, five_layers, load_network, load_weights
from examples.benchmarks.engine.training import accuracy, fit_classifier, trained

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def state():
    torch.manual_seed(0)
    return resnet18(weights=None, num_classes=5).state_dict()


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_torchvision_networks_take_their_weights_from_a_file(tmp_path, state, suffix):
    path = tmp_path / f"weights.{suffix}"
    if suffix == "pth":
        torch.save(state, path)
    else:
        save_file(state, path)
    network = load_network("torchvision:resnet18", tmp_path, path, n_classes=5)
    assert all(torch.equal(value, state[name]) for name, value in network.model.state_dict().items())
    assert network.layer is network.model.layer4[-1]
    assert not network.model.training
    assert network.model(torch.zeros(1, 3, 64, 64)).shape == (1, 5)


def test_weights_of_another_architecture_are_refused_with_what_differs(tmp_path, state):
    path = tmp_path / "weights.pth"
    torch.save(state, path)
    with pytest.raises(ValueError, match="another architecture: 2 of another shape, such as fc.weight"):
        load_network("torchvision:resnet18", tmp_path, path, n_classes=6)
    with pytest.raises(ValueError, match=r"Expected the \d+ tensors of vgg11 .*another architecture: 22 missing"):
        load_network("torchvision:vgg11", tmp_path, path, n_classes=5)


class Malicious:
    def __reduce__(self):
        return (print, ("code ran",))


def test_weights_never_run_code_and_damaged_files_are_named(tmp_path, capsys):
    evil, text, array = (tmp_path / name for name in ("evil.pth", "text.safetensors", "list.pth"))
    evil.write_bytes(pickle.dumps(Malicious(), protocol=2))
    text.write_text("not weights")
    torch.save([1, 2], array)
    model = nn.Linear(2, 2)
    for path in (evil, text, tmp_path / "missing.pth"):
        with pytest.raises(ValueError, match=r"Expected weights of small \(safetensors or a state dict\), but got"):
            load_weights(model, path, "small")
    with pytest.raises(ValueError, match=r"Expected a state dict of small in .*list.pth, but got list"):
        load_weights(model, array, "small")
    assert "code ran" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("resnet50", "efficientnet-lite2, five-layers or torchvision:NAME, but got 'resnet50'"),
        ("torchvision:resnet51", "Expected one of torchvision's .*resnet50.*, but got 'resnet51'"),
        ("torchvision:alexnet", "Expected one of torchvision's .*vgg16.*, but got 'alexnet'"),
        ("torchvision:resnet50", "torchvision:resnet50 needs its weights from a local file"),
    ],
)
def test_unknown_networks_and_missing_weights_are_named(tmp_path, spec, message):
    with pytest.raises(ValueError, match=message):
        load_network(spec, tmp_path)


def linear_task(model):
    x = torch.randn(64, 2, generator=torch.Generator().manual_seed(1))
    y = (x[:, 0] > 0).long()
    fit_classifier(model, x, y, epochs=20, learning_rate=0.1)
    return {"accuracy": accuracy(model, x, y)}


def test_training_is_repeatable_cached_and_leaves_the_global_random_state(tmp_path):
    settings = {"seed": 3, "epochs": 20}
    torch.manual_seed(9)
    expected = torch.rand(2)
    torch.manual_seed(9)
    models, reports = zip(
        *(trained(tmp_path / name, lambda: nn.Linear(2, 2), linear_task, settings) for name in "ab"), strict=True
    )
    assert torch.equal(torch.rand(2), expected)
    assert reports[0] == reports[1]
    assert reports[0]["accuracy"] > 0.9
    assert all(
        torch.equal(one, other) for one, other in zip(models[0].parameters(), models[1].parameters(), strict=True)
    )

    def refuse(model):
        raise AssertionError("trained again")

    again, report = trained(tmp_path / "a", lambda: nn.Linear(2, 2), refuse, settings)
    assert report == reports[0]
    assert torch.equal(again.weight, models[0].weight)
    for other, path in (({"seed": 4, "epochs": 20}, "a"), (settings, "b")):
        if path == "b":
            (tmp_path / "b").write_bytes(b"damaged")
        with pytest.raises(AssertionError, match="trained again"):
            trained(tmp_path / path, lambda: nn.Linear(2, 2), refuse, other)


def test_the_constrained_loss_is_that_of_the_paper():
    """One step of Adam moves every weight by the learning rate against the sign of the gradient of the whole loss."""
    torch.manual_seed(0)
    x, y = torch.randn(4, 1, 2, 2), torch.tensor([0, 1, 1, 0])
    masks = torch.tensor([[1, 0], [0, 1]]).expand(4, 1, 2, 2)
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2)).double()
    before = [parameter.detach().clone() for parameter in model.parameters()]
    loss = nn.functional.cross_entropy(model(x.double()), y)
    for image, label, mask in zip(x.double(), y, masks, strict=True):
        image = image.clone().requires_grad_()
        own = model(image[None])[0, label]
        gradient = torch.autograd.grad(own, image, create_graph=True)[0]
        for i in range(2):
            for j in range(2):
                if not mask[0, i, j]:
                    loss = loss + 0.7 * gradient[0, i, j] ** 2 / 4
    expected = torch.autograd.grad(loss, list(model.parameters()))
    fit_classifier(model, x.double(), y, epochs=1, batch=4, learning_rate=1e-3, masks=masks, penalty=0.7)
    for old, new, gradient in zip(before, model.parameters(), expected, strict=True):
        torch.testing.assert_close(new.detach() - old, -1e-3 * gradient.sign(), atol=1e-6, rtol=0)


def test_captums_methods_run_on_the_five_layers_and_repeat_themselves():
    torch.manual_seed(0)
    model = five_layers().eval()
    setting = Setting(Network("five-layers", model, GREY, model[9], 10), torch.rand(8, 1, 28, 28), budget=4)
    assert why_not(model) == {}
    asked = Asked(torch.rand(2, 1, 28, 28), [3, 7], seeds=[1, 2])
    for name, explain in captum_methods(setting).items():
        state, numpys = torch.random.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
        maps = explain(asked).maps
        assert maps.shape == (2, 1, 28, 28), name
        assert torch.equal(maps, explain(asked).maps), name
        alone = explain(Asked(asked.images[1:], [7], seeds=[2])).maps
        torch.testing.assert_close(maps[1:], alone, msg=lambda text, name=name: f"{name}: {text}")
        assert torch.equal(state, torch.random.get_rng_state()), name
        assert (numpys == np.random.get_state()[1]).all(), name  # noqa: NPY002


def test_layers_without_rules_are_named():
    model = nn.Sequential(nn.Conv2d(1, 1, 1), nn.ReLU6(), nn.Flatten(), nn.GELU())
    reason = "Captum has no rule for GELU, ReLU6"
    assert why_not(model) == dict.fromkeys(("LRP", "DeepLift (zero)", "DeepSHAP"), reason)
