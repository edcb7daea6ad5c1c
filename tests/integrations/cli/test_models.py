"""Models by name: of torchvision, of timm, of the caller."""

import re

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision import models

from captum_ext.exceptions import ModelLoadError
from captum_ext_integrations.cli.models import ModelSpec, Preparation, load_model, load_weights

timm = pytest.importorskip("timm")


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
    with pytest.raises(ModelLoadError, match=r"pip install 'captum-ext\[cli,timm\]'"):
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


@pytest.fixture
def downloads(monkeypatch):
    """What torchvision's builders download, made here."""
    made = {}

    def load(url, **options):
        assert options["weights_only"]
        return made["weights"]

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", load)
    return made


def test_pretrained_weights_are_loaded_with_what_torchvision_sets_for_them(downloads):
    built = models.inception_v3(init_weights=False)
    downloads["weights"] = built.state_dict()
    loaded = load_model(ModelSpec("torchvision:inception_v3"))
    assert loaded.model.transform_input  # these weights want another normalisation
    assert loaded.preparation.crop == 299


def test_densenet_files_with_names_of_old_are_read(downloads):
    weights = models.densenet121().state_dict()
    old = {re.sub(r"(denselayer\d+\.(?:norm|conv))(\d\.)", r"\1.\2", key): value for key, value in weights.items()}
    assert set(old) != set(weights)
    downloads["weights"] = old
    loaded = load_model(ModelSpec("torchvision:densenet121"))
    assert torch.equal(loaded.model.state_dict()["features.norm5.weight"], weights["features.norm5.weight"])
    assert torch.equal(
        loaded.model.features.denseblock1.denselayer1.conv1.weight,
        weights["features.denseblock1.denselayer1.conv1.weight"],
    )


def test_models_that_change_older_weights_themselves_read_safetensors(tmp_path):
    save_file(models.mnasnet0_5().state_dict(), tmp_path / "weights.safetensors")
    assert load_model(ModelSpec("torchvision:mnasnet0_5", tmp_path / "weights.safetensors")).n_classes == 1000


def test_googlenet_files_with_auxiliary_heads_are_read(tmp_path):
    torch.save(models.googlenet(init_weights=False, aux_logits=True).state_dict(), tmp_path / "weights.pth")
    assert load_model(ModelSpec("torchvision:googlenet", tmp_path / "weights.pth")).model.transform_input


def test_the_tokens_of_a_transformer_are_the_default_layer_of_cams(tmp_path):
    from captum_ext_integrations.cli.cams import Cam, default_layer

    save_file(timm.create_model("vit_tiny_patch16_224").state_dict(), tmp_path / "vit.safetensors")
    loaded = load_model(ModelSpec("timm:vit_tiny_patch16_224", tmp_path / "vit.safetensors"))
    assert default_layer(loaded) == "blocks.11.norm1"
    assert Cam(loaded, upsampler_name="nearest")(torch.rand(1, 3, 224, 224), None).shape == (1, 224, 224)
    torch.save(models.resnet18().state_dict(), tmp_path / "resnet.pth")
    assert default_layer(load_model(ModelSpec("torchvision:resnet18", tmp_path / "resnet.pth"))) == "layer4"


@pytest.mark.parametrize(
    ("mode", "value", "shown"), [("I;16", 32896, 128), ("L", 128, 128), ("CMYK", (0, 0, 0, 127), 128)]
)
def test_photographs_of_all_modes_become_rgb(tmp_path, mode, value, shown):
    from PIL import Image

    from captum_ext.images import open_image

    path = tmp_path / ("x.tiff" if mode == "CMYK" else "x.png")
    Image.new(mode, (4, 4), value).save(path)
    assert open_image(path).getpixel((0, 0)) == (shown,) * 3
