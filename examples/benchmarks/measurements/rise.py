"""RISE against the literal loop, one mask at a time: seconds, their ratio, how equal the maps are, and where time goes.

    python -m examples.benchmarks.measurements.rise [--masks 200] [--runs 3] [--networks small efficientnet resnet18]
        [--processor-time]

The loop makes a mask (upsampling of the grid, crop), multiplies, asks the network for a probability without gradients
and adds, as section 3.2 of the paper has it. Both see the same masks. "bare" is the network alone on as many images, in
batches of the size that RISE has: no program that asks for every mask is faster. "bfloat16" is RISE inside of
`torch.autocast("cpu", torch.bfloat16)`, which the caller chooses. Time is in proportion to the masks; 4,000 are the
paper's. On a machine with other work, `--processor-time` and one thread (OMP_NUM_THREADS=1) count what the process
itself used.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Callable
from operator import truediv

import torch
from torch import Tensor, nn

from captum_ext.attr import RISE
from captum_ext.attr.rise import Masks
from captum_ext.core.chunks import default_rows
from examples import real_data
from examples.benchmarks.engine.reporting import print_table

Clock = Callable[[], float]


def small_network() -> nn.Module:
    """Two convolutions on images of 28 x 28, as for digits."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(32 * 49, 10),
    ).eval()


def network(name: str) -> tuple[nn.Module, Tensor]:
    """A network and an image."""
    if name == "small":
        torch.manual_seed(1)
        return small_network(), torch.rand(1, 1, 28, 28)
    image = real_data.photographs("chelsea")
    if name == "efficientnet":
        return real_data.efficientnet_lite0(), image
    import torchvision

    torch.manual_seed(0)
    return torchvision.models.get_model(name, weights=None).eval(), image


def literal(model: nn.Module, image: Tensor, target: int, masks: Masks, probability: float) -> Tensor:
    """The map (H, W) of the paper's loop."""
    grid, (height, width) = masks.kept.shape[1], masks.size
    larger = tuple((grid + 1) * math.ceil(side / grid) for side in masks.size)
    total = torch.zeros(height, width)
    with torch.no_grad():
        for kept, (top, left) in zip(masks.kept, masks.shift.tolist(), strict=True):
            upsampled = nn.functional.interpolate(kept[None, None].float(), size=larger, mode="bilinear")[0, 0]
            mask = upsampled[top : top + height, left : left + width]
            total += model(image * mask).softmax(1)[0, target] * mask
    return total / (len(masks) * probability)


def measured(name: str, n_masks: int, runs: int, clock: Clock) -> list[object]:
    """One row of the table."""
    model, image = network(name)
    with torch.no_grad():
        target = int(model(image).argmax(1))
    rows, spent = default_rows((image,)), [0.0]

    def scored(x: Tensor) -> Tensor:
        start = clock()
        outputs: Tensor = model(x).float().softmax(1)
        spent[0] += clock() - start
        return outputs

    method = RISE(scored)
    masks = Masks.drawn(method, n_masks, (image.shape[2], image.shape[3]))

    def ours() -> Tensor:
        return method.attribute(image, target=target, n_samples=n_masks)[0].sum(0)

    def in_bfloat16() -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return ours()

    def bare() -> None:
        batch = image.expand(rows, -1, -1, -1).contiguous(memory_format=torch.channels_last)
        with torch.no_grad():
            for start in range(0, n_masks, rows):
                model(batch[: n_masks - start])

    works: dict[str, Callable[[], object]] = {
        "loop": lambda: literal(model, image, target, masks, method.probability),
        "ours": ours,
        "bare": bare,
        "bfloat16": in_bfloat16,
    }
    expected = literal(model, image, target, masks, method.probability)
    apart = [float((one - expected).abs().max() / expected.abs().max()) for one in (ours(), in_bfloat16())]
    times: dict[str, list[float]] = {work: [] for work in works}
    shares = []
    for _ in range(runs):
        for work, call in works.items():
            spent[0], start = 0.0, clock()
            call()
            times[work].append(clock() - start)
            if work == "ours":
                shares.append(spent[0] / times[work][-1])
    middle = [1000 * statistics.median(times[work]) / n_masks for work in works]
    ratios = [statistics.median(map(truediv, times["loop"], times[work])) for work in ("ours", "bare", "bfloat16")]
    return [name, *middle, *ratios, f"{100 * statistics.median(shares):.0f} %", *(f"{one:.1e}" for one in apart)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--masks", type=int, default=200)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--networks", nargs="+", default=["small", "efficientnet", "resnet18"])
    parser.add_argument("--processor-time", action="store_true", help="of this process, instead of time that passes")
    parser.add_argument("--fast", action="store_true", help="a smaller run that shows that everything works")
    options = parser.parse_args()
    if options.fast:
        options.masks, options.runs, options.networks = 20, 1, ["small"]
    clock = time.process_time if options.processor_time else time.perf_counter
    rows = [measured(name, options.masks, options.runs, clock) for name in options.networks]
    kind = "processor time" if options.processor_time else "time"
    title = f"RISE with {options.masks} masks, {torch.get_num_threads()} threads, {kind} in ms a mask, ratios of pairs"
    ratios = ["loop / ours", "loop / bare", "loop / bfloat16"]
    ends = ["of ours in the network", "ours apart from the loop", "bfloat16 apart"]
    print_table(title, ["network", "loop", "ours", "bare", "bfloat16", *ratios, *ends], rows)


if __name__ == "__main__":
    main()
