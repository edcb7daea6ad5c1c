"""Why a detector finds an object: a network of torchvision, with the surest detection's score and place as target.

    python -m examples.models.detector fasterrcnn_resnet50_fpn weights.pth [--output outputs/detector.png]

Expected Gradients take the place of LPI: references in which nothing is found at the box all have the score zero, and
LPI tells its references apart by their scores. On the way from them the detection appears at once, without a gradient:
the delta is what the map misses by that.
"""

from __future__ import annotations

from pathlib import Path

import torch
from skimage import data
from torchvision.models import get_model

from captum_ext import EG, USU
from captum_ext.metrics import deletion, diff_id, insertion
from captum_ext.models import adapt
from captum_ext.models.targets import DetectionTarget
from captum_ext.visualize import save_figure, show_maps
from captum_ext_integrations.grad_cam import GradCAM
from examples.models.pictures import run


def main(name: str, path: str | Path, output: str | Path = "outputs/detector.png") -> dict[str, float]:
    network = get_model(name, weights=None, weights_backbone=None).eval()
    network.load_state_dict(torch.load(path, weights_only=True))
    adapted = adapt(network, size=320, mean=0, std=1)  # torchvision's detectors normalise images themselves
    image = adapted.prepare(data.chelsea())
    references = adapted.prepare([data.coffee(), data.astronaut(), data.rocket()])
    found = adapted(image)[0]  # boxes, labels and scores, the surest first
    target = DetectionTarget(found["boxes"][0].tolist(), label=int(found["labels"][0]))
    eg = EG(adapted, references=references)
    maps, delta = eg.attribute(image, target=target, n_steps=60, return_convergence_delta=True)
    usu = USU(mean=adapted.mean, std=adapted.std)
    cam = GradCAM(adapted, upsampler=usu)(image, [target])
    scores = {one.__name__: float(one(adapted, image, maps, target).auc) for one in (insertion, deletion, diff_id)}
    print(adapted, target, scores, f"delta {float(delta):.3g}", sep="\n")
    shown = {"EG": maps, "GradCAM, USU": cam}
    save_figure(
        show_maps(shown, image, model=adapted, titles=f"label {target.label}", scale="map", places=[target.box]), output
    )
    return scores


if __name__ == "__main__":
    run(main, {"name": "a detector of torchvision", "path": "its state dict"})
