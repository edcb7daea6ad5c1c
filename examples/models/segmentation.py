"""Why a segmentation network finds a class in a region: a network of torchvision, with the region's logits as target.

python -m examples.models.segmentation deeplabv3_resnet50 weights.pth [--output outputs/segmentation.png]

Needs torchvision and the extras [grad-cam,plot].
"""

from __future__ import annotations

from pathlib import Path

import torch
from skimage import data
from torchvision.models import get_model

from captum_ext import LPI, USU
from captum_ext.metrics import deletion, diff_id, insertion
from captum_ext.models import adapt
from captum_ext.models.targets import RegionTarget
from captum_ext.visualize import save_figure, show_maps
from captum_ext_integrations.grad_cam import GradCAM
from examples.models.pictures import run


def main(
    name: str, path: str | Path, output: str | Path = "outputs/segmentation.png", size: int = 224
) -> dict[str, float]:
    network = get_model(name, weights=None, weights_backbone=None).eval()
    network.load_state_dict(torch.load(path, weights_only=True))
    adapted = adapt(network, size=size, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    image = adapted.prepare(data.chelsea())
    references = adapted.prepare([data.coffee(), data.astronaut(), data.rocket()])
    classes = adapted(image)[0].argmax(0)  # of each pixel
    label = int(classes.flatten().mode().values)  # the class of most pixels
    target = RegionTarget(classes == label, class_index=label, reduce="mean")
    maps = LPI(adapted, references=references).attribute(image, target=target, n_steps=60, method="adaptive", tol=0.05)
    usu = USU(mean=adapted.mean, std=adapted.std)
    cam = GradCAM(adapted, upsampler=usu)(image, [target])
    scores = {one.__name__: float(one(adapted, image, maps, target).auc) for one in (insertion, deletion, diff_id)}
    print(adapted, adapted.class_name(label), scores, sep="\n")
    shown, places = {"LPI": maps, "GradCAM, USU": cam}, [classes == label]
    figure = show_maps(shown, image, model=adapted, titles=adapted.class_name(label), scale="map", places=places)
    save_figure(figure, output)
    return scores


if __name__ == "__main__":
    run(main, {"name": "a segmentation network of torchvision", "path": "its state dict"})
