"""The examples of models run with tiny checkpoints that are made here, and return finite scores and a figure."""

import importlib
import json
import math

import pytest
import torch
from PIL import Image

pytest.importorskip("pytorch_grad_cam")
pytest.importorskip("matplotlib")
torchvision = pytest.importorskip("torchvision")


@pytest.fixture(autouse=True)
def weights_of_one_seed():
    """Every network has the weights that it has alone: with some, the example's paths are too short, and it warns."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def run(example, *arguments, output, **options):
    """What an example of this name returns, after its scores and its figure are checked."""
    torch.manual_seed(0)
    scores = importlib.import_module(f"examples.models.{example}").main(*arguments, output=output, **options)
    assert list(scores) == ["insertion", "deletion", "diff_id"]
    assert all(math.isfinite(score) for score in scores.values())
    picture = Image.open(output)
    assert len(picture.convert("L").getcolors()) > 100
    return scores


def saved(network, path):
    torch.save(network.state_dict(), path)
    return path


def test_a_classifier_of_transformers_from_a_folder(tmp_path, capsys):
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    config = transformers.Dinov2WithRegistersConfig(
        image_size=28, patch_size=7, num_register_tokens=4, id2label={0: "cat", 1: "cup", 2: "rocket"}, **sizes
    )
    transformers.Dinov2WithRegistersForImageClassification(config).save_pretrained(tmp_path)
    transformers.ViTImageProcessor(size={"height": 28, "width": 28}).save_pretrained(tmp_path)
    run("hf_classifier", tmp_path, output=tmp_path / "figure.png")
    printed = capsys.readouterr().out
    assert "patches of 7 x 7, 0 or 5 tokens before them" in printed
    assert "3: cat, cup, rocket" in printed


def test_a_classifier_of_timm_from_a_file(tmp_path, capsys):
    timm = pytest.importorskip("timm")
    path = saved(timm.create_model("test_resnet"), tmp_path / "weights.pth")
    run("timm_classifier", "test_resnet", path, output=tmp_path / "figure.png")
    assert "timm's pretrained_cfg" in capsys.readouterr().out


def test_texts_of_open_clip_from_a_file(tmp_path):
    open_clip = pytest.importorskip("open_clip")
    vision = {"image_size": 32, "layers": 2, "width": 16, "head_width": 8, "patch_size": 8}
    text = {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2}
    config = tmp_path / "tiny-clip.json"
    config.write_text(json.dumps({"embed_dim": 16, "vision_cfg": vision, "text_cfg": text}))
    open_clip.add_model_config(config)
    path = saved(open_clip.create_model("tiny-clip"), tmp_path / "weights.pt")
    run("clip_zero_shot", "tiny-clip", path, output=tmp_path / "figure.png")


@pytest.mark.long
def test_a_detector_of_torchvision_from_a_file(tmp_path):
    name = "ssdlite320_mobilenet_v3_large"
    network = torchvision.models.get_model(name, weights=None, weights_backbone=None)
    for layer in network.modules():
        if isinstance(layer, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(layer.weight)  # or else the scores would not change with the images
    scores = run("detector", name, saved(network, tmp_path / "weights.pth"), output=tmp_path / "figure.png")
    assert scores["insertion"] != scores["deletion"]


def test_a_region_of_a_segmentation_network_of_torchvision(tmp_path):
    name = "lraspp_mobilenet_v3_large"
    network = torchvision.models.get_model(name, weights=None, weights_backbone=None)
    run("segmentation", name, saved(network, tmp_path / "weights.pth"), output=tmp_path / "figure.png", size=64)


def test_a_clip_of_a_network_of_videos_of_torchvision(tmp_path):
    path = saved(torchvision.models.get_model("r3d_18", weights=None), tmp_path / "weights.pth")
    run("video", "r3d_18", path, output=tmp_path / "figure.png", n_frames=4, side=32)
