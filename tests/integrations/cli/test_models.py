"""Models by name: torchvision, timm, and the user's own."""

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision import models

from captum_ext.exceptions import ModelLoadError
from captum_ext_integrations.cli.models import ModelSpec, Preparation, load_model, load_weights


def test_torchvision_models_come_with_their_preparation_and_class_names(tmp_path):
    torch.save(models.mobilenet_v3_small().state_dict(), tmp_path / "weights.pth")
    loaded = load_model(ModelSpec("torchvision:mobilenet_v3_small", tmp_path / "weights.pth"))
    assert not loaded.model.training
    assert loaded.preparation == Preparation(256, 224)
    assert loaded.class_name(285) == "Egyptian cat"
    assert loaded.class_name(5000) == "class 5000"


def test_another_number_of_classes_has_no_names(tmp_path):
    save_file(models.squeezenet1_1(num_classes=7).state_dict(), tmp_path / "weights.safetensors")
    loaded = load_model(ModelSpec("torchvision:squeezenet1_1", tmp_path / "weights.safetensors", n_classes=7))
    assert loaded.model(torch.zeros(1, 3, 64, 64)).shape == (1, 7)
    assert loaded.class_name(0) == "class 0"


def test_timm_models_come_with_their_preparation(tmp_path):
    save_file(timm.create_model("resnet10t").state_dict(), tmp_path / "weights.safetensors")
    loaded = load_model(ModelSpec("timm:resnet10t", tmp_path / "weights.safetensors", mean=(0.5,) * 3))
    config = timm.create_model("resnet10t").pretrained_cfg
    assert loaded.preparation.crop == config["input_size"][-1]
    assert loaded.preparation.mean == (0.5,) * 3
    with pytest.raises(ModelLoadError, match=r"no model timm:resnet10. Close matches: timm:resnet"):
        load_model(ModelSpec("timm:resnet10"))


def test_pretrained_weights_of_timm_that_cannot_be_downloaded_name_the_option(monkeypatch):
    def offline(name, pretrained, **_):
        raise ConnectionError("no route to the hub")

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(ModelLoadError, match=r"timm:resnet10t could not be downloaded \(no route .*--weights FILE"):
        load_model(ModelSpec("timm:resnet10t"))


def test_timm_that_is_not_installed_is_named(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ModelLoadError, match="pip install 'timm>=1.0'"):
        load_model(ModelSpec("timm:resnet10t"))


def test_a_file_that_holds_something_else_is_refused(tmp_path):
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(ModelLoadError, match="Expected a state dict of mine in .*, but got list"):
        load_weights(nn.Linear(2, 2), tmp_path / "list.pth", "mine")
    torch.save({"epoch": 3, "model": {}}, tmp_path / "checkpoint.pth")
    with pytest.raises(ModelLoadError, match="Expected a state dict of mine in .*, but got dict"):
        load_weights(nn.Linear(2, 2), tmp_path / "checkpoint.pth", "mine")


def test_a_preparation_and_its_inverse_show_the_same_photograph():
    from PIL import Image

    prepared = Preparation(32, 32)(Image.new("RGB", (64, 48), (255, 0, 51)))
    shown = Preparation(32, 32).displayable(prepared[None])
    torch.testing.assert_close(shown[0, 0, 0], torch.tensor([1.0, 0.0, 0.2]))
