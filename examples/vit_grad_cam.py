"""GradCAM of a vision transformer, its 14 x 14 tokens redistributed over the image.

    python -m examples.vit_grad_cam [--weights vit_b_16.pth] [--output outputs/vit_grad_cam.png]

Without `--weights` (a local state dict of torchvision's `vit_b_16`) the network is untrained: the shapes are real, the
map means nothing.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.models import ViT_B_16_Weights, vit_b_16

from captum_ext import USU
from captum_ext.models import AdaptedModel, adapt
from captum_ext.visualize import Caption, Look, save_figure, show_maps
from captum_ext_integrations.grad_cam import GradCAM
from examples.models.pictures import photograph


def adapted_vit(weights: Path | None) -> AdaptedModel:
    """The ViT-B/16 of torchvision with what its weights say of images and classes; these are not downloaded."""
    network = vit_b_16(weights=None).eval()
    if weights is None:
        nn.init.normal_(network.heads.head.weight, std=0.02)  # zero in an untrained network: nothing to explain
    else:
        network.load_state_dict(torch.load(weights, weights_only=True))
    return adapt(network, ViT_B_16_Weights.IMAGENET1K_V1)


def redistributed(adapted: AdaptedModel, image: Tensor) -> Tensor:
    """GradCAM (N, H, W) of each image's first class: layer and token grid are the adapted model's own."""
    usu = USU(scorer="deletion", mean=adapted.mean, std=adapted.std)
    with GradCAM(adapted, upsampler=usu, as_tensor=True) as cam:
        maps: Tensor = cam(image, None)
    return maps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--output", type=Path, default=Path("outputs/vit_grad_cam.png"))
    options = parser.parse_args()
    torch.manual_seed(0)
    adapted = adapted_vit(options.weights)
    print(adapted)
    image = adapted.prepare(photograph("chelsea"))
    shown = redistributed(adapted, image)
    print("map", tuple(shown.shape), "from a grid of 14 x 14 tokens, values from", shown.min(), "to", shown.max())
    caption = Caption(unit="share of the largest number of the map")
    figure = show_maps({"GradCAM, USU": shown}, image, model=adapted, caption=caption, look=Look(overlay=True))
    save_figure(figure, options.output)


if __name__ == "__main__":
    main()
