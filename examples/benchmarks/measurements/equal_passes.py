"""What the path methods add to the passes of the network that they need.

    python -m examples.benchmarks.measurements.equal_passes [--runs 5]

"Bare" runs the same calls of the network with as many rows each, forwards and backwards, in the same layout, without
gradients for parameters, and does nothing else. Both keep what they free (see `captum_ext.core.memory`), so that what
is above 1 is what the method does between passes: points, sums, checks, Python. Pairs in turn in one process; ratios
are medians over pairs. ResNet-50 has random weights.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from captum_ext import LocalPathIntegration
from captum_ext.attr import IntegratedGradients
from captum_ext.core.memory import hold_freed_memory
from captum_ext.core.passes import counted_passes
from examples import real_data
from examples.benchmarks.engine.reporting import print_table
from examples.benchmarks.engine.timing import paired
from examples.benchmarks.measurements.bare_passes import bare, small_network

LAYOUTS = {"contiguous": torch.contiguous_format, "channels-last": torch.channels_last}


def networks(fast: bool) -> dict[str, tuple[nn.Module, Tensor]]:
    """Networks with eight images each."""
    digits = torch.rand(8, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    found: dict[str, tuple[nn.Module, Tensor]] = {"five layers, 28 x 28": (small_network(), digits)}
    if not fast:
        from torchvision.models import resnet50

        images = real_data.imagenet_images()[0][:8]
        torch.manual_seed(0)
        found["EfficientNet-Lite0"] = (real_data.efficientnet_lite0(), images)
        found["ResNet-50"] = (resnet50().eval(), images)
    return found


def methods(model: nn.Module, images: Tensor) -> dict[tuple[str, str], Callable[[Tensor, Tensor, int], Any]]:
    """By name and layout."""
    made: dict[tuple[str, str], Callable[[Tensor, Tensor, int], Any]] = {}
    for layout in LAYOUTS:
        ig = IntegratedGradients(model)
        ig.channels_last = layout == "channels-last"
        made["IG", layout] = lambda x, target, n, ig=ig: ig.attribute(x, target=target, n_steps=n)
    lpi = LocalPathIntegration(model, references=images.flip(3)[:4])
    made["LPI, 4 references", "channels-last"] = lambda x, target, n: lpi.attribute(
        x, target=target, n_steps=n, generator=torch.Generator().manual_seed(0)
    )
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--fast", action="store_true", help="a smaller run that shows that everything works")
    options = parser.parse_args()
    held, rows = hold_freed_memory(), []
    for network, (model, images) in networks(options.fast).items():
        for count, n_steps in ((1, 48), (8, 24)):
            x = images[:count]
            with torch.no_grad():
                target = model(x).argmax(1)
            for (name, layout), explain in methods(model, images).items():
                with counted_passes(model) as passes:
                    explain(x, target, n_steps)
                at_once = max(call for call, with_gradient in passes.calls if with_gradient)
                loop = bare(model, x, target, passes, LAYOUTS[layout])
                work = lambda x=x, target=target, n=n_steps, explain=explain: explain(x, target, n)  # noqa: E731
                timed = paired(work, loop, 1 if options.fast else options.runs)
                rows.append([network, count, name, layout, passes.gradients / count, at_once, *timed])
    del held
    columns = [
        "network",
        "images",
        "method",
        "layout",
        "gradients",
        "rows at once",
        "seconds",
        "bare, seconds",
        "ratio",
    ]
    print_table("Seconds of a call and of its bare passes; gradients for each image, rows at once", columns, rows)


if __name__ == "__main__":
    main()
