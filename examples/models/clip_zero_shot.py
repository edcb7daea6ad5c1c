"""What makes CLIP say "a photo of a cat": a model of open_clip, with texts as its classes.

python -m examples.models.clip_zero_shot ViT-B-32 weights.safetensors [--output outputs/clip_zero_shot.png]

Needs the extra [clip].
"""

from __future__ import annotations

from pathlib import Path

import open_clip
from skimage import data

from captum_ext import LPI, USU
from captum_ext.metrics import deletion, diff_id, insertion
from captum_ext.models import Texts, adapt
from captum_ext.visualize import save_figure, show_maps
from captum_ext_integrations.grad_cam import GradCAM
from examples.models.pictures import run

TEXTS = ("a photo of a cat", "a photo of a cup of coffee", "a photo of a rocket")


def main(name: str, path: str | Path, output: str | Path = "outputs/clip_zero_shot.png") -> dict[str, float]:
    network, _, transform = open_clip.create_model_and_transforms(name, pretrained=str(path))
    adapted = adapt(network.eval(), transform, output=Texts(TEXTS, open_clip.get_tokenizer(name)))
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
    run(main, {"name": "a model of open_clip", "path": "its weights, or a tag such as openai"})
