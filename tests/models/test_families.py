"""Networks of torchvision, timm, open_clip and transformers, tiny and with random weights: grid, layer and numbers."""

import numpy as np
import pytest
import torch
from PIL import Image

from captum_ext.exceptions import AdaptError
from captum_ext.models import adapt

cams = pytest.importorskip("pytorch_grad_cam")
timm = pytest.importorskip("timm")
models = pytest.importorskip("torchvision.models")

pytest.importorskip("transformers")
networks = pytest.importorskip("tests.compatibility.networks")
TINY = networks.TINY
GROUPS = (networks.of_torchvision, networks.of_timm, networks.of_transformers)
#: Of the table of docs/models.md, which has many more, those whose grids and layers are found in ways of their own.
CHOSEN = ("ViT", "DeiT", "DINOv2", "BEiT", "EVA", "CaiT", "Swin", "ConvNeXt", "PVT", "ResNet, one channel")
NETWORKS = {
    f"{one.library} {one.name}": one
    for group in GROUPS
    for one in group()
    if one.kind == "scores" and one.name.startswith(CHOSEN)
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_is_adapted_without_more_than_its_size_and_gradcam_needs_no_function(name):
    row = NETWORKS[name]
    net = row.build()
    adapted = adapt(net, size=row.size)
    images = torch.rand(2, adapted.channels, *adapted.size)
    with torch.no_grad():
        assert torch.equal(adapted(images), row.outputs(net, images))
    assert row.layer in (None, adapted.layer_name)
    features = []
    handle = adapted.layer.register_forward_hook(lambda _, __, output: features.append(output))
    adapted(images)
    handle.remove()
    assert adapted.to_grid(features[0]).shape[2:] == row.grid
    with cams.GradCAM(adapted, [adapted.layer], reshape_transform=adapted.to_grid) as cam:
        maps = cam(images, [cams.utils.model_targets.ClassifierOutputTarget(1)] * 2)
    assert maps.shape == (2, *adapted.size)
    assert np.isfinite(maps).all()


def test_gradcam_is_the_formula_of_the_gradients_at_the_patches():
    """Selvaraju et al. 2017, written out for a transformer with five tokens before its patches."""
    torch.manual_seed(0)
    net = timm.create_model("vit_small_patch14_reg4_dinov2", img_size=28, **TINY).eval()
    adapted = adapt(net)
    images = torch.rand(1, 3, 28, 28)
    kept = []
    handle = net.blocks[1].norm1.register_forward_hook(lambda _, __, output: kept.append(output))
    (gradient,) = torch.autograd.grad(net(images.requires_grad_())[0, 3], kept[0])
    handle.remove()
    features = kept[0].detach()
    coarse = torch.zeros(2, 2)
    for channel in range(24):
        weight = sum(float(gradient[0, 5 + k, channel]) for k in range(4)) / 4
        for i in range(2):
            for j in range(2):
                coarse[i, j] += weight * float(features[0, 5 + 2 * i + j, channel])
    captured = []
    cam = cams.GradCAM(adapted, [adapted.layer], reshape_transform=adapted.to_grid)
    cam.get_cam_image, original = lambda *given: captured.append(original(*given)) or captured[-1], cam.get_cam_image
    cam(images, [cams.utils.model_targets.ClassifierOutputTarget(3)])
    assert np.allclose(captured[0][0], coarse.numpy(), atol=1e-6)


def test_a_timm_model_brings_how_its_images_are_prepared():
    net = timm.create_model("resnet10t", num_classes=1000).eval()
    adapted = adapt(net)
    config = timm.data.resolve_model_data_config(net)
    assert adapted.mean == pytest.approx(config["mean"])
    assert (adapted.size, adapted.class_name(0)) == (config["input_size"][1:], "tench, Tinca tinca")
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 90, 3), np.uint8))
    assert torch.equal(adapted.prepare(image)[0], timm.data.create_transform(**config)(image))
    assert "timm's pretrained_cfg" in str(adapted)


def test_weights_of_torchvision_bring_images_and_names():
    weights = models.ResNet18_Weights.DEFAULT
    adapted = adapt(models.resnet18().eval(), weights)
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8))
    assert torch.equal(adapted.prepare(image)[0], weights.transforms()(image))
    assert adapted.class_name(282) == weights.meta["categories"][282]


def test_segmentation_and_detection_are_adapted_with_a_layer_of_their_backbone():
    torch.manual_seed(0)
    net = models.segmentation.lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=4).eval()
    adapted = adapt(net, size=64)
    assert (adapted.kind, adapted.n_outputs, adapted.layer_name) == ("maps", 4, "backbone.16")
    net = models.detection.ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=4).eval()
    adapted = adapt(net, size=96)
    assert adapted.kind == "detections"
    assert adapted.layer_name.startswith("backbone")


def test_the_images_of_open_clip_have_embeddings():
    open_clip = pytest.importorskip("open_clip")
    vision = {"image_size": 32, "layers": 2, "width": 16, "head_width": 8, "patch_size": 8}
    text = {"context_length": 8, "vocab_size": 100, "width": 16, "heads": 2, "layers": 2}
    net = open_clip.model.CLIP(16, vision, text).eval()
    adapted = adapt(net)
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(adapted(images), net.encode_image(images))
    assert (adapted.kind, adapted.layer_name) == ("embedding", "visual.transformer.resblocks.1.ln_1")


def test_a_processor_of_transformers_is_measured_and_fits_or_is_refused():
    t = pytest.importorskip("transformers")
    net = t.ViTForImageClassification(t.ViTConfig(**networks.VIT)).eval()
    adapted = adapt(net, t.ViTImageProcessor(size={"height": 32, "width": 32}))
    image = Image.fromarray(np.full((40, 50, 3), (10, 100, 200), np.uint8))
    assert torch.allclose(adapted.display(adapted.prepare(image)) * 255, torch.tensor([10.0, 100.0, 200.0]), atol=1e-3)
    with pytest.raises(AdaptError, match="as the processor makes them: pass a processor that fits the model"):
        adapt(net, t.ViTImageProcessor())


def test_a_text_classifier_of_transformers_has_its_word_embedding_as_layer():
    t = pytest.importorskip("transformers")
    tiny = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    net = t.BertForSequenceClassification(t.BertConfig(vocab_size=50, num_labels=3, **tiny)).eval()
    adapted = adapt(net)
    ids, mask = torch.randint(50, (2, 6)), torch.ones(2, 6, dtype=torch.long)
    assert adapted.layer is net.bert.embeddings.word_embeddings
    with torch.no_grad():
        assert torch.equal(adapted(ids, mask), net(ids, attention_mask=mask).logits)


def test_the_layer_of_a_detector_is_one_at_whose_patches_its_detections_have_gradients():
    """YOLOS detects by tokens of its own: after the last block patches change nothing but the features beside."""
    t = pytest.importorskip("transformers")
    tiny = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    torch.manual_seed(0)
    net = t.YolosForObjectDetection(t.YolosConfig(image_size=[32, 32], patch_size=8, num_detection_tokens=5, **tiny))
    adapted = adapt(net.eval())
    kept = []
    handle = adapted.layer.register_forward_hook(lambda _, __, output: kept.append(output))
    score = adapted(torch.rand(1, 3, 32, 32)).logits.sum()
    handle.remove()
    (gradient,) = torch.autograd.grad(score, kept[0])
    assert float(adapted.to_grid(gradient).abs().sum()) > 0
