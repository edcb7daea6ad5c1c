"""What a completeness gap of 5 % costs on several networks: `tol=0.05` against Captum's rule with enough nodes.

    python -m examples.benchmarks.measurements.equal_gap [--networks EfficientNet-Lite1 ...] [--kept rows.json]

Zero baseline, the class that the network finds likeliest. The adaptive rule stops every image by itself; Captum's user
has to choose one number of Gauss nodes for all, here the smallest, in steps of ten, at which no image's gap is above
5 %. Seconds are of all images one by one, Captum's with `internal_batch_size=8`. Memory is what one call for one image
adds to a fresh process, median of several in turn, and Captum's is that of its default call, which keeps all nodes in
flight. The EfficientNets and the five layers (SAMP's network on digits, trained here) have weights and real images; the
others have random weights. With --kept the rows of each network are kept in a file, and a network that is in it from
this commit is not measured again.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import captum.attr
import psutil
import torch
from torch import Tensor, nn

import captum_ext.attr
from examples import real_data
from examples.benchmarks.engine.networks import five_layers_on_digits, preparation_of
from examples.benchmarks.engine.reporting import print_table
from examples.benchmarks.engine.samples import load_samples
from examples.benchmarks.engine.store import current_commit
from examples.benchmarks.engine.timing import in_turn, measured
from examples.benchmarks.measurements import accuracy
from examples.benchmarks.measurements.tolerance import CAP, Explained, Images, fewest_nodes

TOL = 0.05
DIGITS = "five layers, digits"
_TOO_MUCH = "does not fit"
#: Images of each network.
COUNTS = {
    "EfficientNet-Lite0": 20,
    "EfficientNet-Lite1": 20,
    "EfficientNet-Lite2": 20,
    "ResNet-50, random weights": 5,
    "ViT-B/16, random weights": 5,
    DIGITS: 100,
}


def subject(name: str, count: int) -> tuple[nn.Module, Tensor]:
    """A network, without gradients for its weights, and images."""
    if name == DIGITS:
        model: nn.Module = five_layers_on_digits(Path("outputs/networks"))[0]
        images, _ = load_samples("digits", preparation_of("five-layers")).load(range(count))
    else:
        model, images = accuracy.networks()[name](), real_data.imagenet_images()[0][:count]
    return model.eval().requires_grad_(False), images


def of_one_image(name: str, n_steps: int) -> None:
    """One process: what a call adds to memory, nothing where that would not fit; with 0 nodes the adaptive rule's."""
    model, images = subject(name, 1)
    with torch.no_grad():
        target = model(images).argmax(1)
    call: Callable[[], Any]
    if n_steps:
        call = lambda: captum.attr.IntegratedGradients(model).attribute(images, target=target, n_steps=n_steps)  # noqa: E731
    else:
        ours = captum_ext.attr.IntegratedGradients(model)
        call = lambda: ours.attribute(images, target=target, method="adaptive", tol=TOL, n_steps=CAP)  # noqa: E731
    if n_steps and not _fits(model, images, target, n_steps):
        print(json.dumps({"megabytes": None}))
        return
    with measured() as used:
        call()
    print(json.dumps({"megabytes": used.megabytes}))


def _fits(model: nn.Module, images: Tensor, target: Tensor, n_steps: int) -> bool:
    """Whether all nodes in flight leave memory to spare, as two of them say."""
    with measured() as two:
        captum.attr.IntegratedGradients(model).attribute(images, target=target, n_steps=2)
    return two.megabytes / 2 * n_steps < 0.8 * psutil.virtual_memory().available / 2**20


def rows_of(name: str, count: int, memory_runs: int) -> list[list[object]]:
    """Ours and Captum's on one network."""
    images = Images(*subject(name, count))
    ours = [images.by_tolerance(place, TOL) for place in range(count)]
    n_steps, captums = fewest_nodes(images, TOL, 10)
    del images
    calls = [["--of-one", name, str(steps)] for steps in (0, n_steps)]
    found = in_turn("examples.benchmarks.measurements.equal_gap", calls, memory_runs)
    memory = [_median([run["megabytes"] for run in runs]) for runs in found]
    first = _row([name, count, 'ours, "adaptive"'], ours, memory[0])
    second = _row([name, count, f"Captum, {n_steps} nodes"], captums, memory[1])
    ratios = ["" if second[at] == _TOO_MUCH else second[at] / first[at] for at in (3, 6, 7)]  # type: ignore[operator]
    return [[*first, 1, 1, 1], [*second, *ratios]]


def _median(values: list[Any]) -> object:
    return _TOO_MUCH if None in values else statistics.median(values)


def _row(names: list[object], explained: list[Explained], memory: object) -> list[object]:
    counts = [one.n_gradients for one in explained]
    worst = max(one.gap for one in explained)
    seconds = sum(one.seconds for one in explained)
    return [*names, sum(counts) / len(counts), max(counts), worst, seconds, memory]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=COUNTS, default=list(COUNTS), metavar="NAME")
    parser.add_argument("--memory-runs", type=int, default=3)
    parser.add_argument("--kept", type=Path, help="file of rows by network")
    parser.add_argument("--of-one", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--fast", action="store_true", help="a smaller run that shows that everything works")
    options = parser.parse_args()
    if options.of_one:
        of_one_image(options.of_one[0], int(options.of_one[1]))
        return
    rows: list[list[object]] = []
    commit = current_commit()
    found = json.loads(options.kept.read_text()) if options.kept and options.kept.exists() else {}
    kept = found.get(commit, {})
    for name in ("ResNet-50, random weights",) if options.fast else options.networks:
        if name not in kept:
            kept[name] = rows_of(name, 1 if options.fast else COUNTS[name], 1 if options.fast else options.memory_runs)
            print(*kept[name], sep="\n", flush=True)  # the next network takes a while
        if options.kept:
            options.kept.parent.mkdir(parents=True, exist_ok=True)
            options.kept.write_text(json.dumps({commit: kept}, indent=1))
        rows += kept[name]
    header = ["network", "images", "rule", "gradients", "most", "worst gap", "seconds", "MB, one image"]
    header += ["gradients of ours", "seconds of ours", "MB of ours"]
    print_table(f"A gap of at most {TOL} on every image", header, rows)


if __name__ == "__main__":
    main()
