"""What a user sees: metrics and an upsampler beside bare passes, a run over a data set, a given completeness."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib.util import find_spec
from typing import Any

import captum.attr
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from captum_ext.attr import IntegratedGradients
from captum_ext.dataset import MapFormat, RunOptions, attribute_dataset
from captum_ext.metrics import deletion, diff_id, insertion
from captum_ext.upsampling import USUUpsampler
from examples.benchmarks.accelerator.gpu_networks import FLOAT32, TF32, images, network
from examples.benchmarks.accelerator.gpu_timing import Work, in_turn, peak_megabytes, seconds

Row = dict[str, object]
#: A number that says how well, and images: their maps and gradients.
Rule = Callable[[Any, slice], tuple[Tensor, Tensor]]
N_IMAGES = 8


def _counting(model: nn.Module) -> tuple[list[int], torch.utils.hooks.RemovableHandle]:
    batches: list[int] = []
    return batches, model.register_forward_pre_hook(lambda _, given: batches.append(len(given[0])))


def scoring(device: torch.device, runs: int, small: bool) -> Iterator[Row]:
    """Metrics and USU's scoring, each beside the forward passes that it makes."""
    name = "small CNN" if small else "ResNet-50"
    model, x = network(name, FLOAT32, device), images(name, N_IMAGES, device)
    maps, coarse = images(name, N_IMAGES, device).flip(0), torch.rand(N_IMAGES, 7, 7, device=device)
    works: dict[str, Work] = {
        "insertion": lambda: insertion(model, x, maps, target=3),
        "deletion": lambda: deletion(model, x, maps, target=3),
        "DiffID": lambda: diff_id(model, x, maps, target=3),
        "USU, scores of a grid": lambda: USUUpsampler(segmenter="grid")(coarse, x, model, target=3),
    }
    with FLOAT32.active(device):
        for title, work in works.items():
            batches, handle = _counting(model)
            work()
            handle.remove()
            counts = list(batches)

            def passes(counts: list[int] = counts) -> None:
                with torch.no_grad():
                    for count in counts:
                        model(x[:1].expand(count, -1, -1, -1))

            bare_seconds, our_seconds = in_turn([passes, work], runs)
            yield {
                "what": title,
                "network": name,
                "images": N_IMAGES,
                "rows scored": sum(counts),
                "bare seconds": bare_seconds,
                "seconds": our_seconds,
                "of bare": bare_seconds / our_seconds,
                "MB": peak_megabytes(work),
            }


def data_set(device: torch.device, small: bool) -> Row:
    """Maps of many images with `attribute_dataset`, beside the same calls in a loop that keeps nothing."""
    name, n_images, batch, n_steps = ("small CNN", 64, 16, 4) if small else ("ResNet-50", 1000, 32, 16)
    model, x = network(name, TF32, device), images(name, n_images, torch.device("cpu"))
    method = IntegratedGradients(model)
    limit = {"n_steps": n_steps, "internal_batch_size": batch * 4}

    def loop() -> None:
        for part in torch.split(x, batch):
            there = part.to(device)
            with torch.no_grad():
                target = model(there).argmax(1)
            method.attribute(there, target=target, **limit).cpu()

    def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            attribute_dataset(
                method,
                TensorDataset(x),
                folder,
                target="predicted",
                map_format=MapFormat(dtype="float16"),
                attribute_kwargs=limit,
                run=RunOptions(batch_size=batch, show_progress=False),
            )

    with TF32.active(device):
        for work in (loop, run):  # imports, kernels and memory of a first call
            work()
        loop_seconds, run_seconds = seconds(loop), seconds(run)
    return {
        "network": name,
        "images": n_images,
        "gradients an image": n_steps,
        "loop, images a second": n_images / loop_seconds,
        "run, images a second": n_images / run_seconds,
        "of the loop": loop_seconds / run_seconds,
    }


def _all(rule: Rule, given: Any, parts: Sequence[slice]) -> list[tuple[Tensor, Tensor]]:
    return [rule(given, part) for part in parts]


def completeness(device: torch.device, runs: int) -> Iterator[Row]:
    """A given completeness of real maps: gradients and seconds of the adaptive rule and of Captum's nodes."""
    if all(find_spec(name) is not None for name in ("efficientnet_lite_pytorch", "foolbox")):
        with FLOAT32.active(device):
            yield from _completeness(device, runs)


def _completeness(device: torch.device, runs: int) -> Iterator[Row]:
    from examples import real_data

    model, x = (
        real_data.efficientnet_lite0().to(device).requires_grad_(False),
        real_data.imagenet_images()[0].to(device),
    )
    with torch.no_grad():
        scores = model(x)
        target = scores.argmax(1)
        start = model(torch.zeros_like(x[:1]))[0, target]
    difference = scores.gather(1, target[:, None])[:, 0].double() - start.double()
    ours, theirs = IntegratedGradients(model), captum.attr.IntegratedGradients(model)

    def adaptive(tol: float, part: slice) -> tuple[Tensor, Tensor]:
        result: tuple[Tensor, Tensor] = ours.attribute(
            x[part], target=target[part], method="adaptive", tol=tol, n_steps=200, return_n_gradients=True
        )
        return result

    def nodes(n_steps: int, part: slice) -> tuple[Tensor, Tensor]:
        maps: Tensor = theirs.attribute(x[part], target=target[part], n_steps=n_steps, internal_batch_size=512)
        return maps, torch.full((len(maps),), n_steps)

    rules: dict[str, tuple[Rule, Any]] = {f'"adaptive", tol={tol}': (adaptive, tol) for tol in (0.05, 0.02)}
    rules |= {f"Captum, {n} Gauss nodes": (nodes, n) for n in (50, 150)}
    for at_once in (1, len(x)):
        parts = [slice(k, k + at_once) for k in range(0, len(x), at_once)]
        works = [partial(_all, rule, given, parts) for rule, given in rules.values()]
        timed = in_turn(works, runs)
        for (title, (rule, given)), taken in zip(rules.items(), timed, strict=True):
            found = _all(rule, given, parts)
            sums = torch.cat([maps.double().flatten(1).sum(1) for maps, _ in found])
            counts = torch.cat([count for _, count in found]).double()
            yield {
                "rule": title,
                "images at once": at_once,
                "gradients, mean": float(counts.mean()),
                "worst gap": float(((sums - difference) / difference).abs().max()),
                "seconds, all images": taken,
            }
