"""GradCAM of a vision transformer, its 14 x 14 tokens redistributed over the image.

    python -m examples.vit_grad_cam [--weights vit_b_16.pth] [--output outputs/vit_grad_cam.png]

Without `--weights` (a local state dict of torchvision's `vit_b_16`) the network is untrained: the shapes are real, the
map means nothing.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import torch
from torch import Tensor
from torchvision.models import vit_b_16

from captum_ext import USU
from captum_ext.core.atomic import replaced
from captum_ext_integrations.grad_cam import GradCAM
from examples import real_data


def tokens_to_grid(tokens: Tensor) -> Tensor:
    """Tokens (N, 1 + side * side, channels) as maps (N, channels, side, side), without the class token."""
    side = math.isqrt(tokens.shape[1] - 1)
    return tokens[:, 1:].transpose(1, 2).unflatten(2, (side, side))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--output", type=Path, default=Path("outputs/vit_grad_cam.png"))
    options = parser.parse_args()
    torch.manual_seed(0)
    model = vit_b_16(weights=None).eval()
    if options.weights is None:
        torch.nn.init.normal_(model.heads.head.weight, std=0.02)  # zero in an untrained network: nothing to explain
    else:
        model.load_state_dict(torch.load(options.weights, weights_only=True))
    image = real_data.photographs("chelsea")
    layer = model.encoder.layers[-1].ln_1
    cam = GradCAM(model, [layer], reshape_transform=tokens_to_grid, upsampler=USU(scorer="deletion"))
    shown = cam(image, None)
    print("map", shown.shape, "from a grid of 14 x 14 tokens, values from", shown.min(), "to", shown.max())

    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    options.output.parent.mkdir(parents=True, exist_ok=True)
    with replaced(options.output) as temporary:
        pyplot.imsave(temporary, shown[0], cmap="inferno")
    print(f"Figure: {options.output.resolve()}")


if __name__ == "__main__":
    main()
