"""An image classifier of timm, with weights from a file.

python -m examples.models.timm_classifier resnet18 resnet18.safetensors [--output outputs/timm_classifier.png]

Needs the extra [timm].
"""

from __future__ import annotations

from pathlib import Path

import timm
from skimage import data

from captum_ext import LPI, USU
from captum_ext.metrics import deletion, diff_id, insertion
from captum_ext.models import adapt
from captum_ext.visualize import save_figure, show_maps
from captum_ext_integrations.grad_cam import GradCAM
from examples.models.pictures import run


def main(name: str, path: str | Path, output: str | Path = "outputs/timm_classifier.png") -> dict[str, float]:
    adapted = adapt(timm.create_model(name, checkpoint_path=path).eval())  # or pretrained=True; timm prepares images
    image = adapted.prepare(data.chelsea())
    references = adapted.prepare([data.coffee(), data.astronaut(), data.rocket()])
    target = int(adapted(image).argmax())
    maps = LPI(adapted, references=references).attribute(image, target=target, n_steps=60, method="adaptive", tol=0.05)
    usu = USU(mean=adapted.mean, std=adapted.std)
    cam = GradCAM(adapted, upsampler=usu)(image, None)
    scores = {one.__name__: float(one(adapted, image, maps, target).auc) for one in (insertion, deletion, diff_id)}
    print(adapted, adapted.class_name(target), scores, sep="\n")
    shown = {"LPI": maps, "GradCAM, USU": cam}
    save_figure(show_maps(shown, image, model=adapted, titles=adapted.class_name(target), scale="map"), output)
    return scores


if __name__ == "__main__":
    run(main, {"name": "a model of timm", "path": "its state dict: a file of safetensors or torch"})
