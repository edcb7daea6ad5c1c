"""An image classifier of transformers, from a folder that `save_pretrained` made or by its name on the Hub.

python -m examples.models.hf_classifier FOLDER_OR_NAME [--output outputs/hf_classifier.png]

Needs the extra [hf].
"""

from __future__ import annotations

from pathlib import Path

from skimage import data
from transformers import AutoImageProcessor, AutoModelForImageClassification

from captum_ext import LPI, USU
from captum_ext.metrics import deletion, diff_id, insertion
from captum_ext.models import adapt
from captum_ext.visualize import save_figure, show_maps
from captum_ext_integrations.grad_cam import GradCAM
from examples.models.pictures import run


def main(path: str | Path, output: str | Path = "outputs/hf_classifier.png") -> dict[str, float]:
    network = AutoModelForImageClassification.from_pretrained(path).eval()
    adapted = adapt(network, AutoImageProcessor.from_pretrained(path))
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
    run(main, {"path": "a folder of save_pretrained, or a name on the Hub"})
