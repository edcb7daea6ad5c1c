"""Gradients a second of methods, beside the same passes without a method and beside Captum's call."""

from __future__ import annotations

from collections.abc import Iterator

import captum.attr
import torch
from torch import Tensor, nn

import captum_ext.attr
from captum_ext.references import ReferenceDistribution
from examples.benchmarks.accelerator.gpu_networks import (
    FLOAT32,
    PRECISIONS,
    SHAPES,
    Precision,
    images,
    network,
)
from examples.benchmarks.accelerator.gpu_timing import Deadline, Work, in_turn, peak_megabytes, seconds

RULE = "riemann_trapezoid"  # nodes cost nothing: what is measured are the passes
TARGET = 3
ROWS = {"ResNet-50": (1, 8, 16, 128, 256, 512), "ViT-B/16": (8, 256), "small CNN": (64, 1024)}
N_REFERENCES = 20
ENOUGH_SECONDS, MOST_SECONDS = 0.5, 2.5  # of one call: a shorter one is too noisy, a longer one takes fewer gradients

Row = dict[str, object]


def bare(model: nn.Module, points: Tensor, n_passes: int) -> Work:
    """Passes both ways over the same points, and nothing else."""
    leaf = points.clone().requires_grad_()

    def run() -> None:
        for _ in range(n_passes):
            torch.autograd.grad(model(leaf)[:, TARGET].float().sum(), leaf)

    return run


def passes(seconds_of_one: float) -> int:
    """How many passes both ways one call takes."""
    return max(2, min(max(4, round(ENOUGH_SECONDS / seconds_of_one)), int(MOST_SECONDS / seconds_of_one)))


def compare(name: str, precision: Precision, rows: int, device: torch.device, runs: int) -> Row:
    """Integrated gradients of one image with so many rows in flight: ours, Captum's, and the bare passes."""
    model, image = network(name, precision, device), images(name, 1, device)
    points = image.expand(rows, -1, -1, -1).contiguous(
        memory_format=torch.channels_last if precision.channels_last else torch.contiguous_format
    )
    with precision.active(device):
        one = bare(model, points, 1)
        seconds(one)
        n_passes = passes(seconds(one))
        n_steps = n_passes * rows

        ours = captum_ext.attr.IntegratedGradients(model)
        ours.channels_last = precision.channels_last or None
        theirs = captum.attr.IntegratedGradients(model)

        def call(method: captum.attr.IntegratedGradients) -> Work:
            return lambda: method.attribute(
                image, target=TARGET, n_steps=n_steps, method=RULE, internal_batch_size=rows
            )

        works = [bare(model, points, n_passes), call(ours), call(theirs)]
        bare_seconds, our_seconds, their_seconds = in_turn(works, runs)
        memory = [peak_megabytes(work) for work in works]
    return {
        "network": name,
        "precision": precision.name,
        "method": "IG",
        "rows": rows,
        "gradients": n_steps,
        "bare gradients a second": n_steps / bare_seconds,
        "ours of bare": bare_seconds / our_seconds,
        "Captum of bare": bare_seconds / their_seconds,
        "bare MB": memory[0],
        "our MB": memory[1],
        "Captum MB": memory[2],
    }


def local_paths(name: str, rows: int, device: torch.device, runs: int) -> Row:
    """Local path integration from references on the device, stratified."""
    model, image = network(name, FLOAT32, device), images(name, 1, device)
    with torch.no_grad():
        centre = model(image).cpu()
    references = images(name, N_REFERENCES + 1, device)[1:]
    fitted = ReferenceDistribution([references], [torch.full((N_REFERENCES,), 1 / N_REFERENCES)], centre)
    method = captum_ext.attr.LocalPathIntegration(model, references=fitted, allow_other_model=True)
    n_passes = 4
    with FLOAT32.active(device):
        call = lambda: method.attribute(  # noqa: E731
            image,
            target=TARGET,
            n_steps=n_passes * rows,
            internal_batch_size=rows,
            generator=torch.Generator().manual_seed(0),
        )
        works: list[Work] = [bare(model, image.expand(rows, -1, -1, -1).contiguous(), n_passes), call]
        bare_seconds, our_seconds = in_turn(works, runs)
        memory = [peak_megabytes(work) for work in works]
    return {
        "network": name,
        "precision": FLOAT32.name,
        "method": "LPI",
        "rows": rows,
        "gradients": n_passes * rows,
        "bare gradients a second": n_passes * rows / bare_seconds,
        "ours of bare": bare_seconds / our_seconds,
        "bare MB": memory[0],
        "our MB": memory[1],
    }


def measure(device: torch.device, deadline: Deadline, runs: int, small: bool) -> Iterator[Row]:
    """One row after the other, the telling ones first, until the time is over."""
    if small:
        yield compare("small CNN", FLOAT32, 64, device, runs)
        yield local_paths("small CNN", 64, device, runs)
        return
    plan = [(name, precision, 64) for precision in PRECISIONS[1:] for name in ("ResNet-50", "ViT-B/16")]
    plan += [(name, FLOAT32, rows) for name in SHAPES for rows in ROWS[name]]
    for name in ("ResNet-50", "ViT-B/16"):
        yield compare(name, FLOAT32, 64, device, runs)
        yield local_paths(name, 64, device, runs)
    for name, precision, rows in plan:
        if deadline.passed:
            return
        if precision.compiled and name != "ResNet-50":
            continue  # compiling takes a minute
        yield compare(name, precision, rows, device, runs)


def graphs(device: torch.device, runs: int) -> Iterator[Row]:
    """Bare passes replayed as one CUDA graph, against the same passes launched kernel by kernel."""
    if device.type != "cuda":
        return
    for rows in (1, 8, 64):
        model = network("ResNet-50", FLOAT32, device)
        leaf = images("ResNet-50", rows, device).requires_grad_()
        with FLOAT32.active(device):
            plain = bare(model, leaf.detach(), 1)
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                for _ in range(3):
                    torch.autograd.grad(model(leaf)[:, TARGET].sum(), leaf)
            torch.cuda.current_stream().wait_stream(side)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                torch.autograd.grad(model(leaf)[:, TARGET].sum(), leaf)
            launched, replayed = in_turn([plain, graph.replay], max(5, runs))
        yield {"rows": rows, "launched, ms": 1000 * launched, "replayed, ms": 1000 * replayed}
