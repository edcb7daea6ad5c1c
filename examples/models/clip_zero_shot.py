"""What makes CLIP say "a photo of a cat": a model of open_clip, with the similarity to a text as target.

python -m examples.models.clip_zero_shot ViT-B-32 weights.safetensors [--output outputs/clip_zero_shot.png]

Needs the extra [clip].
"""

from __future__ import annotations

from pathlib import Path

import open_clip
import torch

from captum_ext import LPI, USU
from captum_ext.metrics import deletion, diff_id, insertion
from captum_ext.models import adapt
from captum_ext.models.targets import SimilarityTarget
from captum_ext.visualize import save_figure, show_maps
from captum_ext_integrations.grad_cam import GradCAM
from examples.models.pictures import photograph, run

TEXTS = ("a photo of a cat", "a photo of a cup of coffee", "a photo of a rocket")


def main(name: str, path: str | Path, output: str | Path = "outputs/clip_zero_shot.png") -> dict[str, float]:
    network, _, transform = open_clip.create_model_and_transforms(name, pretrained=str(path))
    adapted = adapt(network.eval(), transform)
    image = adapted.prepare(photograph("chelsea"))
    references = adapted.prepare([photograph(one) for one in ("coffee", "astronaut", "rocket")])
    with torch.no_grad():
        texts, scale = network.encode_text(open_clip.get_tokenizer(name)(TEXTS)), float(network.logit_scale.exp())
        best = int(torch.stack([SimilarityTarget(one)(adapted(image)[0]) for one in texts]).argmax())
    target = SimilarityTarget(texts[best], scale=scale)
    maps = LPI(adapted, references=references).attribute(image, target=target, n_steps=60, method="adaptive", tol=0.05)
    usu = USU(mean=adapted.mean, std=adapted.std)
    cam = GradCAM(adapted, upsampler=usu)(image, [target])
    scores = {one.__name__: float(one(adapted, image, maps, target).auc) for one in (insertion, deletion, diff_id)}
    print(adapted, TEXTS[best], scores, sep="\n")
    shown = {"LPI": maps, "GradCAM, USU": cam}
    save_figure(show_maps(shown, image, model=adapted, titles=TEXTS[best], scale="map"), output)
    return scores


if __name__ == "__main__":
    run(main, {"name": "a model of open_clip", "path": "its weights, or a tag such as openai"})
