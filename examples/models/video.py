"""Which frames and places make a network of videos choose its class: a network of torchvision, in three dimensions.

python -m examples.models.video r3d_18 weights.pth [--output outputs/video.png]

Needs torchvision and the extras [grad-cam,plot].
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torchvision.models import get_model

from captum_ext import LPI, USU
from captum_ext.images import image_to_tensor
from captum_ext.metrics import deletion, diff_id, insertion
from captum_ext.models import adapt
from captum_ext.visualize import Caption, save_figure, show_slices
from captum_ext_integrations.grad_cam import GradCAM
from examples.models.pictures import photograph, run

MEAN, STD = (0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989)


def panned(name: str, n_frames: int, side: int) -> Tensor:
    """A clip (3, T, side, side) of a view that moves to the right over a photograph, normalised."""
    pixels = image_to_tensor(photograph(name).resize((side + 4 * n_frames, side)))
    clip = torch.stack([pixels[..., 4 * t : 4 * t + side] for t in range(n_frames)], 1)
    return (clip - torch.tensor(MEAN)[:, None, None, None]) / torch.tensor(STD)[:, None, None, None]


def main(
    name: str, path: str | Path, output: str | Path = "outputs/video.png", n_frames: int = 8, side: int = 112
) -> dict[str, float]:
    network = get_model(name, weights=None).eval()
    network.load_state_dict(torch.load(path, weights_only=True))
    adapted = adapt(network, size=(n_frames, side, side), mean=MEAN, std=STD)
    clip = panned("chelsea", n_frames, side)[None]
    references = torch.stack([panned(one, n_frames, side) for one in ("coffee", "astronaut", "rocket")])
    target = int(adapted(clip).argmax())
    maps = LPI(adapted, references=references).attribute(clip, target=target, n_steps=60, method="adaptive", tol=0.05)
    usu = USU(mean=MEAN, std=STD)
    cam = GradCAM(adapted, upsampler=usu)(clip, None)
    scores = {one.__name__: float(one(adapted, clip, maps, target).auc) for one in (insertion, deletion, diff_id)}
    print(adapted, adapted.class_name(target), scores, sep="\n")
    shown, caption = {"LPI": maps, "GradCAM, USU": cam}, Caption(adapted.class_name(target))
    figure = show_slices(shown, clip, model=adapted, slices=4, scale="method", caption=caption)
    save_figure(figure, output)
    return scores


if __name__ == "__main__":
    run(main, {"name": "a network of videos of torchvision", "path": "its state dict"})
