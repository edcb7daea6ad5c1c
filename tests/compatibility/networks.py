"""Networks of every library, tiny and with random weights, with what has to be found out about each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

TINY = {"depth": 2, "embed_dim": 24, "num_heads": 2, "num_classes": 5}
WINDOWS = {"img_size": 64, "window_size": 4, "depths": (2, 2), "embed_dim": 16, "num_heads": (2, 2), "num_classes": 5}
BLOCKS = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
VIT = BLOCKS | {"image_size": 32, "patch_size": 8, "num_labels": 5}


def plain(net: nn.Module, images: Tensor) -> Any:
    """What a model returns for images, read without this package."""
    return net(images)


def logits(net: nn.Module, images: Tensor) -> Any:
    """Scores of a model of transformers."""
    return net(pixel_values=images).logits


@dataclass(frozen=True)
class Network:
    """An architecture.

    Attributes:
        name: as the library calls it, and what is special about this one.
        library: whose it is.
        make: builds it.
        size: of the images that it is checked with; None: the one that it says itself.
        layer: name of the layer that CAMs explain; None: it differs between versions of the library.
        grid: positions of its features.
        prefix: tokens before those of the grid.
        kind: "scores", "maps", "embedding" or "detections".
        needs: what adapt has to be given, as it is written.
        outputs: of the network, read without adapt.
        note: why it has crosses.
    """

    name: str
    library: str
    make: Callable[[], nn.Module]
    size: int | tuple[int, ...] | None
    layer: str | None
    grid: tuple[int, ...]
    prefix: int = 0
    kind: str = "scores"
    needs: dict[str, Any] = field(default_factory=dict)
    outputs: Callable[[nn.Module, Tensor], Any] = plain
    note: str = ""

    def build(self) -> nn.Module:
        """The network in eval mode, with the same weights every time, whose scores change with the images."""
        torch.manual_seed(0)
        net = self.make().eval()
        with torch.no_grad():
            for name, parameter in net.named_parameters():  # some begin with heads or scales of about zero
                if not bool(parameter.any()) and name.endswith("weight"):
                    nn.init.normal_(parameter, std=0.1)
                elif 0 < float(parameter.abs().max()) < 0.01 and bool((parameter == parameter.flatten()[0]).all()):
                    parameter.fill_(0.5)
            self._normalise(net)
        return net

    def _normalise(self, net: nn.Module) -> None:
        """Let batch norms see some images: with the numbers that they begin with, activations vanish."""
        norms = [part for part in net.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
        size = self.size or self.needs.get("size")
        if not norms or size is None:
            return
        first = next(part for part in net.modules() if isinstance(part, nn.modules.conv._ConvNd))
        for norm in norms:
            norm.train()
            norm.momentum = None  # the mean of what is seen
        sides = size if isinstance(size, tuple) else (size, size)
        self.outputs(net, torch.rand(4, first.in_channels, *sides))
        net.eval()


def of_torchvision() -> Iterator[Network]:
    import torchvision.models as m

    def vit() -> nn.Module:
        return m.VisionTransformer(
            image_size=32, patch_size=8, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=32, num_classes=5
        )

    def convnext() -> nn.Module:
        block = m.convnext.CNBlockConfig
        return m.ConvNeXt([block(8, 16, 1), block(16, None, 1)], num_classes=5)

    def swin(version: int) -> nn.Module:
        options = {} if version == 1 else {"block": m.swin_transformer.SwinTransformerBlockV2}
        options |= {} if version == 1 else {"downsample_layer": m.swin_transformer.PatchMergingV2}
        return m.SwinTransformer([4, 4], 16, [2, 2], [2, 2], [4, 4], num_classes=5, **options)

    def densenet() -> nn.Module:
        return m.DenseNet(growth_rate=8, block_config=(2, 2, 2, 2), num_init_features=16, num_classes=5)

    def vgg() -> nn.Module:
        layers = [8, "M", 16, "M", 32, "M"]
        with torch.device("meta"):  # its classifier has 100 million weights whatever its features are
            net = m.VGG(m.vgg.make_layers(layers), init_weights=False)
        net.features, net.classifier = m.vgg.make_layers(layers), nn.Linear(32 * 7 * 7, 5)
        return net

    def maxvit() -> nn.Module:
        return m.MaxVit(
            input_size=(64, 64), stem_channels=8, partition_size=2, block_channels=[8, 16], block_layers=[1, 1],
            head_dim=8, stochastic_depth_prob=0.0, num_classes=5,
        )  # fmt: skip

    def named(name: str, **options: Any) -> Callable[[], nn.Module]:
        return lambda: m.get_model(name, weights=None, num_classes=5, **options)

    yield Network("AlexNet", "torchvision", named("alexnet"), 64, "features.11", (3, 3))
    yield Network("VGG", "torchvision", vgg, 64, "features", (8, 8))
    yield Network("ResNet-18", "torchvision", named("resnet18"), 64, "layer4", (2, 2))
    yield Network("DenseNet", "torchvision", densenet, 64, "features", (2, 2))
    yield Network("SqueezeNet 1.1", "torchvision", named("squeezenet1_1"), 64, "classifier.2", (3, 3))
    yield Network("GoogLeNet", "torchvision", named("googlenet", init_weights=False), 64, "inception5b", (2, 2))
    yield Network("ShuffleNet V2", "torchvision", named("shufflenet_v2_x0_5"), 64, "conv5", (2, 2))
    yield Network("MobileNet V3", "torchvision", named("mobilenet_v3_small"), 64, "features", (2, 2))
    yield Network("EfficientNet-B0", "torchvision", named("efficientnet_b0"), 64, "features", (2, 2))
    yield Network("RegNet-Y 400 MF", "torchvision", named("regnet_y_400mf"), 64, "trunk_output", (2, 2))
    yield Network("ConvNeXt", "torchvision", convnext, 64, "features", (8, 8))
    yield Network("ViT", "torchvision", vit, None, "encoder.layers.encoder_layer_1.ln_1", (4, 4), 1)
    yield Network("Swin", "torchvision", lambda: swin(1), (32, 64), "norm", (4, 8))
    yield Network("Swin V2", "torchvision", lambda: swin(2), 64, "norm", (8, 8))
    yield Network("MaxViT", "torchvision", maxvit, None, "blocks.1", (8, 8), needs={"size": 64})


def of_timm() -> Iterator[Network]:
    import timm

    def named(name: str, **options: Any) -> Callable[[], nn.Module]:
        return lambda: timm.create_model(name, **options)

    def mixer() -> nn.Module:
        return timm.models.mlp_mixer.MlpMixer(img_size=32, patch_size=8, num_blocks=2, embed_dim=16, num_classes=5)

    square = {"img_size": 32, "patch_size": 8, **TINY}
    yield Network(
        "ViT, 32 x 48", "timm", named("vit_tiny_patch16_224", **(square | {"img_size": (32, 48)})), None,
        "blocks.1.norm1", (4, 6), 1,
    )  # fmt: skip
    yield Network(
        "ViT with four registers (DINOv2)", "timm", named("vit_small_patch14_reg4_dinov2", img_size=28, **TINY), None,
        "blocks.1.norm1", (2, 2), 5,
    )  # fmt: skip
    yield Network(
        "DeiT, distilled", "timm", named("deit_tiny_distilled_patch16_224", **square), None, "blocks.1.norm1", (4, 4), 2
    )
    yield Network(
        "ViT with attention pooling (SigLIP)", "timm", named("vit_base_patch16_siglip_224", **square), None,
        "norm", (4, 4),
    )  # fmt: skip
    yield Network("BEiT", "timm", named("beit_base_patch16_224", **square), None, "blocks.1", (4, 4), 1)
    yield Network("EVA-02", "timm", named("eva02_tiny_patch14_224", img_size=28, **TINY), None, "blocks.1", (2, 2), 1)
    yield Network("CaiT", "timm", named("cait_xxs24_224", **square), None, "blocks_token_only.1.norm1", (4, 4), 1)
    yield Network("Swin", "timm", named("swin_tiny_patch4_window7_224", **WINDOWS), None, "norm", (8, 8))
    yield Network("Swin V2", "timm", named("swinv2_tiny_window8_256", **WINDOWS), None, "norm", (8, 8))
    yield Network(
        "ConvNeXt", "timm", named("convnext_tiny", depths=(1, 1, 1, 1), dims=(8, 8, 16, 16), num_classes=5), 64,
        "stages", (2, 2),
    )  # fmt: skip
    yield Network("ResNet, one channel", "timm", named("resnet10t", in_chans=1, num_classes=5), 64, "layer4", (2, 2))
    yield Network("PVT V2", "timm", named("pvt_v2_b0", num_classes=5), 64, "stages", (2, 2))
    yield Network("EfficientNet", "timm", named("test_efficientnet", num_classes=5), 64, "bn2", (2, 2))
    yield Network("NFNet", "timm", named("test_nfnet", num_classes=5), 64, "final_act", (2, 2))
    yield Network("MambaOut", "timm", named("test_mambaout", num_classes=5), 64, "stages", (2, 2))
    yield Network("RegNet (byobnet)", "timm", named("test_byobnet", num_classes=5), 64, "stages", (2, 2))
    yield Network("MLP-Mixer", "timm", mixer, None, "norm", (4, 4))
    yield Network("CoAtNet", "timm", named("coatnet_pico_rw_224", img_size=64, num_classes=5), 64, "norm", (2, 2))
    yield Network("LeViT", "timm", named("levit_128s", num_classes=5), 224, "stages", (4, 4))
    yield Network("XCiT", "timm", named("xcit_nano_12_p16_224", **square), 32, "cls_attn_blocks.1.norm1", (4, 4), 1)


def of_transformers() -> Iterator[Network]:
    import transformers as t

    windows = {"image_size": 64, "patch_size": 4, "embed_dim": 16, "depths": [2, 2], "num_heads": [2, 2]}
    stages = {"depths": [1, 1], "hidden_sizes": [8, 16], "num_labels": 5}
    pyramid = {
        "num_labels": 5, "num_encoder_blocks": 2, "depths": [1, 1], "sr_ratios": [2, 1], "hidden_sizes": [8, 16],
        "patch_sizes": [7, 3], "strides": [4, 2], "num_attention_heads": [1, 2], "mlp_ratios": [2, 2],
        "decoder_hidden_size": 16,
    }  # fmt: skip

    def of(kind: str, config: str, name: str, size: Any, grid: Any, prefix: int = 0, **options: Any) -> Any:
        make = lambda: getattr(t, kind)(getattr(t, config)(**options))  # noqa: E731
        return Network(name, "transformers", make, size, None, grid, prefix, outputs=logits)

    yield of("ViTForImageClassification", "ViTConfig", "ViT", None, (4, 4), 1, **VIT)
    yield of(
        "DeiTForImageClassificationWithTeacher", "DeiTConfig", "DeiT with teacher", None,
        (4, 4), 2, **VIT,
    )  # fmt: skip
    yield of(
        "Dinov2WithRegistersForImageClassification", "Dinov2WithRegistersConfig", "DINOv2 with registers, 32 x 48",
        (32, 48), (4, 6), 5, num_register_tokens=4, **VIT,
    )  # fmt: skip
    yield of("BeitForImageClassification", "BeitConfig", "BEiT", None, (4, 4), 1, **VIT)
    yield of(
        "SwinForImageClassification", "SwinConfig", "Swin", None, (8, 8),
        window_size=4, num_labels=5, **windows,
    )  # fmt: skip
    yield of(
        "ConvNextForImageClassification", "ConvNextConfig", "ConvNeXt", 64, (8, 8),
        num_stages=2, **stages,
    )  # fmt: skip
    yield of(
        "ResNetForImageClassification", "ResNetConfig", "ResNet", 64, (8, 8),
        embedding_size=8, layer_type="basic", **stages,
    )  # fmt: skip
    yield of(
        "RegNetForImageClassification", "RegNetConfig", "RegNet", 64, (8, 8),
        embedding_size=8, groups_width=8, **stages,
    )  # fmt: skip
    yield of(
        "MobileNetV2ForImageClassification", "MobileNetV2Config", "MobileNet V2", 64, (2, 2),
        depth_multiplier=0.35, num_labels=5,
    )  # fmt: skip
    yield of("SegformerForImageClassification", "SegformerConfig", "SegFormer", 64, (8, 8), **pyramid)
    segmenter = of(
        "SegformerForSemanticSegmentation", "SegformerConfig", "SegFormer, segmentation", 64,
        (8, 8), **pyramid,
    )  # fmt: skip
    yield Network(**(vars(segmenter) | {"kind": "maps"}))

    def clip() -> nn.Module:
        text = BLOCKS | {"vocab_size": 50, "max_position_embeddings": 8}
        return t.CLIPModel(t.CLIPConfig(text_config=text, vision_config=VIT, projection_dim=16))

    def siglip() -> nn.Module:
        text = BLOCKS | {"vocab_size": 50, "max_position_embeddings": 8}
        return t.SiglipModel(t.SiglipConfig(text_config=text, vision_config=VIT))

    def pooled(net: Any, images: Tensor) -> Any:
        found = net.get_image_features(pixel_values=images)
        return found if isinstance(found, Tensor) else found.pooler_output

    yield Network(
        "CLIP", "transformers", clip, None, None, (4, 4), 1, "embedding",
        outputs=pooled,
    )  # fmt: skip
    yield Network("SigLIP", "transformers", siglip, None, None, (4, 4), 0, "embedding", outputs=pooled)

    def yolos() -> nn.Module:
        options = VIT | {"image_size": [32, 32], "num_detection_tokens": 4, "initializer_range": 0.3}
        return t.YolosForObjectDetection(t.YolosConfig(**options))

    def detr() -> nn.Module:
        backbone = t.ResNetConfig(embedding_size=8, layer_type="basic", out_features=["stage2"], **stages)
        layers = {"encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32}
        heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2, "d_model": 16, "num_queries": 4}
        return t.DetrForObjectDetection(
            t.DetrConfig(
                use_timm_backbone=False, use_pretrained_backbone=False, backbone=None, backbone_config=backbone,
                num_labels=5, **layers, **heads,
            )
        )  # fmt: skip

    yield Network("YOLOS", "transformers", yolos, None, None, (4, 4), 1, "detections")
    yield Network("DETR", "transformers", detr, 64, None, (8, 8), 0, "detections")


def of_open_clip() -> Iterator[Network]:
    import open_clip

    text = {"context_length": 8, "vocab_size": 100, "width": 16, "heads": 2, "layers": 2}

    def clip(**vision: Any) -> Callable[[], nn.Module]:
        return lambda: open_clip.model.CLIP(16, vision, text)

    def embedded(net: Any, images: Tensor) -> Any:
        return net.encode_image(images)

    yield Network(
        "ViT", "open_clip", clip(image_size=32, layers=2, width=16, head_width=8, patch_size=8), None,
        "visual.transformer.resblocks.1.ln_1", (4, 4), 1, "embedding", outputs=embedded,
    )  # fmt: skip
    yield Network(
        "ResNet with attention pooling", "open_clip", clip(image_size=64, layers=(1, 1, 1, 1), width=16), None,
        "visual.layer4", (2, 2), 0, "embedding", outputs=embedded,
    )  # fmt: skip


def of_segmentation() -> Iterator[Network]:
    import segmentation_models_pytorch as smp
    import torchvision.models as m

    def of_torchvision(name: str) -> Callable[[], nn.Module]:
        return lambda: m.get_model(name, weights=None, weights_backbone=None, num_classes=4)

    def out(net: Any, images: Tensor) -> Any:
        return net(images)["out"]

    def of_smp(kind: str) -> Callable[[], nn.Module]:
        return lambda: getattr(smp, kind)("resnet18", encoder_weights=None, classes=4)

    yield Network(
        "LR-ASPP", "torchvision", of_torchvision("lraspp_mobilenet_v3_large"), 64, "backbone.16", (4, 4), 0, "maps",
        outputs=out,
    )  # fmt: skip
    yield Network(
        "DeepLab V3", "torchvision", of_torchvision("deeplabv3_mobilenet_v3_large"), 64, "backbone.16", (4, 4), 0,
        "maps", outputs=out,
    )  # fmt: skip
    for kind, name, layer, grid in (
        ("Unet", "U-Net", "encoder.layer4", (2, 2)),
        ("UnetPlusPlus", "U-Net++", "encoder.layer4", (2, 2)),
        ("FPN", "FPN", "encoder.layer4", (2, 2)),
        ("Linknet", "LinkNet", "encoder.layer4", (2, 2)),
        ("PSPNet", "PSPNet", "encoder.layer2", (8, 8)),
        ("DeepLabV3Plus", "DeepLab V3+", "encoder.layer4", (4, 4)),
    ):
        yield Network(name, "segmentation_models_pytorch", of_smp(kind), 64, layer, grid, 0, "maps")


def of_detectors() -> Iterator[Network]:
    from torchvision.models import detection, resnet18
    from torchvision.models.detection.backbone_utils import _resnet_fpn_extractor

    sizes = {"min_size": 64, "max_size": 64, "num_classes": 4}

    def pyramid() -> nn.Module:
        return _resnet_fpn_extractor(resnet18(weights=None), 5)

    def faster() -> nn.Module:
        return detection.FasterRCNN(pyramid(), box_score_thresh=0.0, rpn_post_nms_top_n_test=20, **sizes)

    def mask() -> nn.Module:
        return detection.MaskRCNN(
            pyramid(), box_score_thresh=0.0, rpn_post_nms_top_n_test=20, box_detections_per_img=4, **sizes
        )

    def fcos() -> nn.Module:
        return detection.FCOS(pyramid(), score_thresh=0.0, detections_per_img=20, **sizes)

    def retina() -> nn.Module:
        return detection.RetinaNet(pyramid(), score_thresh=0.0, detections_per_img=20, **sizes)

    def ssdlite() -> nn.Module:
        return detection.ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=4)

    inner = "backbone.fpn.inner_blocks.3"
    why = "torchvision takes proposals of boxes out of the graph: scores change with them without a gradient"
    yield Network("Faster R-CNN", "torchvision", faster, 64, inner, (2, 2), 0, "detections", note=why)
    yield Network("Mask R-CNN", "torchvision", mask, 64, inner, (2, 2), 0, "detections", note=why)
    yield Network("RetinaNet", "torchvision", retina, 64, inner, (2, 2), 0, "detections")
    yield Network("FCOS", "torchvision", fcos, 64, inner, (2, 2), 0, "detections")
    yield Network("SSDlite", "torchvision", ssdlite, 64, "backbone.features.0", (20, 20), 0, "detections")


def of_volumes() -> Iterator[Network]:
    import torchvision.models as m

    def named(name: str) -> Callable[[], nn.Module]:
        return lambda: m.get_model(name, weights=None, num_classes=5)

    def mvit() -> nn.Module:
        block, threes, ones = m.video.mvit.MSBlockConfig, [3, 3, 3], [1, 1, 1]
        blocks = [block(1, 8, 16, threes, threes, [1, 2, 2], ones), block(2, 16, 16, threes, threes, ones, ones)]
        return m.video.MViT(
            spatial_size=(32, 32), temporal_size=4, block_setting=blocks, residual_pool=True,
            residual_with_cls_embed=False, rel_pos_embed=True, proj_after_attn=True, num_classes=5,
        )  # fmt: skip

    def swin() -> nn.Module:
        return m.video.SwinTransformer3d([2, 4, 4], 16, [2, 2], [2, 2], [2, 4, 4], num_classes=5)

    clip = {"size": (4, 32, 32)}
    for name, title in (("r3d_18", "R3D-18"), ("mc3_18", "MC3-18"), ("r2plus1d_18", "R(2+1)D-18")):
        grid = (4, 2, 2) if name == "mc3_18" else (1, 2, 2)
        yield Network(title, "torchvision, video", named(name), None, "layer4", grid, needs=clip)
    yield Network("MViT", "torchvision, video", mvit, None, "blocks.1.norm1", (2, 4, 4), 1, needs=clip)
    yield Network("Swin 3D", "torchvision, video", swin, None, "norm", (2, 4, 4), needs=clip)


def networks() -> list[Network]:
    """All rows of the table, by what they are for."""
    groups = (of_torchvision, of_timm, of_transformers, of_open_clip, of_segmentation, of_detectors, of_volumes)
    return [network for group in groups for network in group()]
