"""Networks of torchvision, timm, open_clip and transformers, tiny and with random weights: grid, layer and numbers."""

import numpy as np
import pytest
import torch
from PIL import Image
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import nn

from captum_ext.exceptions import AdaptError
from captum_ext.models import adapt

timm = pytest.importorskip("timm")
models = pytest.importorskip("torchvision.models")

TINY = {"depth": 2, "embed_dim": 24, "num_heads": 2, "num_classes": 5}
WINDOWS = {"img_size": 64, "window_size": 4, "depths": (2, 2), "embed_dim": 16, "num_heads": (2, 2), "num_classes": 5}


def torchvision_vit():
    net = models.VisionTransformer(
        image_size=32, patch_size=8, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=32, num_classes=5
    )
    nn.init.normal_(net.heads.head.weight)
    return net


def torchvision_convnext():
    block = models.convnext.CNBlockConfig
    return models.ConvNeXt([block(8, 16, 1), block(16, None, 1)], num_classes=5)


NETWORKS = {
    "torchvision resnet": (lambda: models.resnet18(num_classes=5), 64, "layer4", (2, 2)),
    "torchvision vgg": (lambda: models.vgg11(num_classes=5), 64, "features", (2, 2)),
    "torchvision vit": (torchvision_vit, 32, "encoder.layers.encoder_layer_1.ln_1", (4, 4)),
    "torchvision swin": (
        lambda: models.SwinTransformer([4, 4], 16, [2, 2], [2, 2], [4, 4], num_classes=5),
        (32, 64),
        "norm",
        (4, 8),
    ),
    "torchvision convnext": (torchvision_convnext, 64, "features", (8, 8)),
    "torchvision mobilenet": (lambda: models.mobilenet_v3_small(num_classes=5), 64, "features", (2, 2)),
    "timm vit, not square": (
        lambda: timm.create_model("vit_tiny_patch16_224", img_size=(32, 48), patch_size=8, **TINY),
        None,
        "blocks.1.norm1",
        (4, 6),
    ),
    "timm vit, four registers": (
        lambda: timm.create_model("vit_small_patch14_reg4_dinov2", img_size=28, **TINY),
        None,
        "blocks.1.norm1",
        (2, 2),
    ),
    "timm deit, distilled": (
        lambda: timm.create_model("deit_tiny_distilled_patch16_224", img_size=32, patch_size=8, **TINY),
        None,
        "blocks.1.norm1",
        (4, 4),
    ),
    "timm vit, attention pooling": (
        lambda: timm.create_model("vit_base_patch16_siglip_224", img_size=32, patch_size=8, **TINY),
        None,
        "norm",
        (4, 4),
    ),
    "timm beit": (
        lambda: timm.create_model("beit_base_patch16_224", img_size=32, patch_size=8, **TINY),
        None,
        "blocks.1",
        (4, 4),
    ),
    "timm eva": (lambda: timm.create_model("eva02_tiny_patch14_224", img_size=28, **TINY), None, "blocks.1", (2, 2)),
    "timm cait": (
        lambda: timm.create_model("cait_xxs24_224", img_size=32, patch_size=8, **TINY),
        None,
        "blocks_token_only.1.norm1",
        (4, 4),
    ),
    "timm swin": (lambda: timm.create_model("swin_tiny_patch4_window7_224", **WINDOWS), None, "norm", (8, 8)),
    "timm convnext": (
        lambda: timm.create_model("convnext_tiny", depths=(1, 1, 1, 1), dims=(8, 8, 16, 16), num_classes=5),
        64,
        "stages",
        (2, 2),
    ),
    "timm resnet, one channel": (
        lambda: timm.create_model("resnet10t", in_chans=1, num_classes=5),
        64,
        "layer4",
        (2, 2),
    ),
    "timm pvt": (lambda: timm.create_model("pvt_v2_b0", num_classes=5), 64, "stages", (2, 2)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_is_adapted_without_more_than_its_size_and_gradcam_needs_no_function(name):
    make, size, layer, grid = NETWORKS[name]
    torch.manual_seed(0)
    net = make().eval()
    adapted = adapt(net, size=size)
    images = torch.rand(2, adapted.channels, *adapted.size)
    with torch.no_grad():
        assert torch.equal(adapted(images), net(images))
    assert adapted.layer_name == layer
    features = []
    handle = adapted.layer.register_forward_hook(lambda _, __, output: features.append(output))
    adapted(images)
    handle.remove()
    assert adapted.to_grid(features[0]).shape[2:] == grid
    with GradCAM(adapted, [adapted.layer], reshape_transform=adapted.to_grid) as cam:
        maps = cam(images, [ClassifierOutputTarget(1)] * 2)
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
    cam = GradCAM(adapted, [adapted.layer], reshape_transform=adapted.to_grid)
    cam.get_cam_image, original = lambda *given: captured.append(original(*given)) or captured[-1], cam.get_cam_image
    cam(images, [ClassifierOutputTarget(3)])
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


def hugging_face():
    """Networks of transformers by name, with image size, layer and grid."""
    t = pytest.importorskip("transformers")
    tiny = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    tiny |= {"image_size": 32, "patch_size": 8, "num_labels": 5}
    windows = {"image_size": 64, "patch_size": 4, "embed_dim": 16, "depths": [2, 2], "num_heads": [2, 2]}
    stages = {"depths": [1, 1], "hidden_sizes": [8, 16], "num_labels": 5}
    return {
        "vit": (t.ViTForImageClassification, t.ViTConfig(**tiny), None, (4, 4)),
        "deit": (t.DeiTForImageClassificationWithTeacher, t.DeiTConfig(**tiny), None, (4, 4)),
        "dinov2 with registers": (
            t.Dinov2WithRegistersForImageClassification,
            t.Dinov2WithRegistersConfig(num_register_tokens=4, **tiny),
            (32, 48),
            (4, 6),
        ),
        "swin": (
            t.SwinForImageClassification,
            t.SwinConfig(window_size=4, num_labels=5, **windows),
            None,
            (8, 8),
        ),
        "convnext": (t.ConvNextForImageClassification, t.ConvNextConfig(num_stages=2, **stages), 64, (8, 8)),
        "resnet": (
            t.ResNetForImageClassification,
            t.ResNetConfig(embedding_size=8, layer_type="basic", **stages),
            64,
            (8, 8),
        ),
    }


@pytest.mark.parametrize("name", ["vit", "deit", "dinov2 with registers", "swin", "convnext", "resnet"])
def test_a_model_of_transformers_is_adapted(name):
    kind, config, size, grid = hugging_face()[name]
    torch.manual_seed(0)
    net = kind(config).eval()
    adapted = adapt(net, size=size)
    images = torch.rand(2, 3, *adapted.size)
    with torch.no_grad():
        assert torch.equal(adapted(images), net(pixel_values=images).logits)
    features = []
    handle = adapted.layer.register_forward_hook(lambda _, __, output: features.append(output))
    adapted(images)
    handle.remove()
    assert adapted.to_grid(features[0]).shape[2:] == grid


def test_a_processor_of_transformers_is_measured_and_fits_or_is_refused():
    t = pytest.importorskip("transformers")
    net = hugging_face()["vit"][0](hugging_face()["vit"][1]).eval()
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
