"""CAMs of two photographs, upsampled by interpolation and by redistribution.

    python -m examples.grad_cam_usu [--output outputs/grad_cam_usu.png]

Prints, for each CAM and upsampler, how far cells are from their mass (D1), insertion and deletion, passes and seconds,
and writes a figure of the first photograph. Two photographs show how to use the package, not which upsampler is better.
"fixed" is the paper's method without its refinement of segments, which takes most of the passes of "USU, paper".
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from captum_ext import USU, InterpolationUpsampler
from captum_ext.metrics import deletion, insertion
from captum_ext.upsampling import pool_attribution
from captum_ext.visualize import Caption, Look, save_figure, show_maps
from captum_ext_integrations.grad_cam import GradCAM, GradCAMPlusPlus, LayerCAM
from examples import real_data
from examples.benchmarks.engine.reporting import print_table

PHOTOGRAPHS = ("chelsea", "coffee")
CAMS = {"GradCAM": GradCAM, "GradCAM++": GradCAMPlusPlus, "LayerCAM": LayerCAM}


def upsamplers() -> dict[str, Any]:
    normalisation = {"mean": [127 / 255] * 3, "std": [128 / 255] * 3}
    return {
        "nearest": InterpolationUpsampler("nearest"),
        "bilinear": InterpolationUpsampler("bilinear"),
        "USU": USU(**normalisation),
        "USU, paper": USU.paper(**normalisation),
        "USU, paper, fixed": USU.fixed(**normalisation),
        "IWMR, paper, fixed": USU.iwmr(refinement=None, **normalisation),
        "USU, random scores": USU(scorer="random", **normalisation),
    }


def mass_error(coarse: Tensor, fine: Tensor) -> float:
    """Sum of the cells' mass differences over the sum of masses; all cells have as many pixels here."""
    pooled = pool_attribution(fine.double(), (coarse.shape[1], coarse.shape[2]))[:, 0]
    return float((pooled - coarse).abs().sum() / coarse.double().abs().sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("outputs/grad_cam_usu.png"))
    path = parser.parse_args().output
    model, images = real_data.efficientnet_lite0(), real_data.photographs(*PHOTOGRAPHS)
    with torch.no_grad():
        targets = model(images).argmax(1)
    passes: list[int] = []
    model.register_forward_hook(lambda _module, _given, output: passes.append(len(output)))

    rows: list[list[object]] = []
    shown: dict[tuple[str, str], Tensor] = {}
    for cam_name, cam_class in CAMS.items():
        layer: nn.Module = model._bn1  # 7 x 7, before the last activation and the pooling
        raw = cam_class(model, [layer], upsampler=InterpolationUpsampler("nearest"), normalize=False, as_tensor=True)
        coarse = raw(images, None)[:, 16::32, 16::32]
        for name, upsampler in upsamplers().items():
            cam = cam_class(model, [layer], upsampler=upsampler, normalize=False, as_tensor=True)
            passes.clear()
            start = time.perf_counter()
            fine = cam(images, None)
            seconds, spent = time.perf_counter() - start, sum(passes)
            shown[cam_name, name] = fine
            curves = [metric(model, images, fine, targets, normalize="input") for metric in (insertion, deletion)]
            areas = [float(curve.auc.mean()) for curve in curves]
            rows.append([cam_name, name, f"{mass_error(coarse, fine):.1e}", *areas, spent, seconds])
    header = ["CAM", "upsampler", "D1 error", "insertion", "deletion", "forward passes", "seconds"]
    print_table(f"Means over {len(images)} photographs; insertion: higher is better, deletion: lower", header, rows)
    draw(images, shown, path)
    print(f"\nFigure: {path.resolve()}")


def draw(images: Tensor, shown: dict[tuple[str, str], Tensor], path: Path) -> None:
    """Maps of the first photograph over it, a row and a scale for each CAM; colours end at the 99th percentile, since
    redistributed maps are peaked."""
    maps = {name: torch.stack([shown[cam, name][0] for cam in CAMS]) for name in upsamplers()}
    photographs = real_data.displayable(images)[:1].expand(len(CAMS), -1, -1, -1)
    caption = Caption(unit="mass of the CAM in a pixel")
    look = Look(overlay=True, quantile=0.99)
    save_figure(show_maps(maps, photographs, titles=list(CAMS), caption=caption, look=look, scale="image"), path)


if __name__ == "__main__":
    main()
