"""Whole data sets: throughput against the bare loop, memory, workers, and what 50,000 images cost.

    python -m examples.benchmarks.measurements.scale [--part throughput memory ranks ray plan] [--runs 5]

Ratios are medians of rounds in which the variants follow each other. "plan" measures what a pass, a file and the
driver's work for a file cost here, and computes 50,000 images from that; its workers are simulated.
"""

from __future__ import annotations

import argparse
import heapq
import multiprocessing
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from captum_ext.attr import IntegratedGradients
from captum_ext.core.memory import keep_freed_memory
from captum_ext.dataset import MapFormat, RunOptions, attribute_dataset
from captum_ext.dataset.shards import RunFolder, rows_of_a_task
from examples import real_data
from examples.benchmarks.engine.networks import five_layers
from examples.benchmarks.engine.reporting import print_table
from examples.benchmarks.engine.timing import seconds

N_STEPS = 20
N_IMAGENET = 50_000
SHARD_ROWS = 64  # of Ray's workers, at most
BATCH_SIZE = 4


class Repeated(Dataset[tuple[Tensor, int]]):
    """The 20 ImageNet images again and again."""

    def __init__(self, n_samples: int) -> None:
        self.images, self.labels = real_data.imagenet_images()
        self.n_samples = n_samples

    def __len__(self) -> int:
        return self.n_samples

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.images[index % len(self.images)], self.labels[index % len(self.images)]


class Noise(Dataset[Tensor]):
    """Small images made when they are asked for."""

    def __init__(self, n_samples: int) -> None:
        self.n_samples = n_samples

    def __len__(self) -> int:
        return self.n_samples

    def __getitem__(self, index: int) -> Tensor:
        return torch.rand(1, 28, 28, generator=torch.Generator().manual_seed(index))


def efficientnet() -> IntegratedGradients:
    return IntegratedGradients(real_data.efficientnet_lite0())


def small() -> IntegratedGradients:
    torch.manual_seed(0)
    return IntegratedGradients(five_layers().eval())


def bare(method: Any, dataset: Dataset[Any], batch_size: int) -> None:
    """What a user would write without this package's runner: nothing is stored."""
    for batch in DataLoader(dataset, batch_size=batch_size):
        images = batch[0] if isinstance(batch, list) else batch
        with torch.no_grad():
            target = method.forward_func(images).argmax(1)
        method.attribute(images, target=target, n_steps=N_STEPS, return_convergence_delta=True)


def stored(
    method: Any, dataset: Dataset[Any], batch_size: int, on_done: Callable[[int, int], object] | None = None
) -> Any:
    """The runner, into a folder that is thrown away."""
    with tempfile.TemporaryDirectory() as folder:
        return attribute_dataset(
            method,
            dataset,
            folder,
            target="predicted",
            attribute_kwargs={"n_steps": N_STEPS},
            run=RunOptions(batch_size, show_progress=on_done or False),
        )


def throughput(runs: int, fast: bool) -> None:
    cases = {
        "EfficientNet-Lite0, 224 x 224, batches of 8": (efficientnet(), Repeated(8 if fast else 24), 8),
        "five layers, 28 x 28, batches of 64": (
            small(),
            TensorDataset(torch.rand(256 if fast else 512, 1, 28, 28)),
            64,
        ),
    }
    rows = []
    for name, (method, dataset, batch_size) in cases.items():
        case = (method, dataset, batch_size)
        bare(*case)
        pairs = [(seconds(partial(bare, *case)), seconds(partial(stored, *case))) for _ in range(runs)]
        ratio = statistics.median(loop / ours for loop, ours in pairs)
        each = statistics.median(ours for _, ours in pairs) / len(dataset)  # type: ignore[arg-type]
        rows.append([name, len(dataset), runs, each, f"{100 * ratio:.1f} %"])  # type: ignore[arg-type]
    header = ["network", "images", "runs", "seconds an image", "throughput of the bare loop"]
    print_table(
        f"attribute_dataset against the method's bare loop, Integrated Gradients, {N_STEPS} gradients", header, rows
    )


def memory(fast: bool) -> None:
    few, many = (100, 500) if fast else (1_000, 20_000)
    peaks: dict[int, float] = {}

    def watch(done: int, _: int) -> None:
        peaks[done] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    model = nn.Sequential(nn.Conv2d(1, 4, 5, stride=3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 64, 10)).eval()
    stored(IntegratedGradients(model), Noise(many), 20, watch)
    title = f"Peak memory of the process, {many} images of 28 x 28, float16 maps, files of 256 rows"
    print_table(title, ["images", "peak MB"], [[count, round(peaks[count])] for count in (few, many)])


def ray_workers(rounds: int, fast: bool) -> None:
    """One worker and two, of Ray and of nothing but Python, in turn: a machine whose speed drifts hits all of them."""
    import ray

    path = str(Path(__file__).parents[3])
    environment = {"env_vars": {"PYTHONPATH": f"{path}:{path}/integrations"}}
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR", runtime_env=environment)
    n_samples = 16 if fast else 32
    ways = {"Ray": partial(ray_rate, n_samples), "processes that only attribute": process_rate}
    in_turn(ways, rounds, f"Workers once running, medians of {rounds} rounds, {n_samples} images each with Ray")
    ray.shutdown()


def ranks(rounds: int, fast: bool) -> None:
    """One process and two ranks of `attribute_dataset`, beside processes that only attribute, in turn."""
    n_samples = 16 if fast else 64
    ways = {"ranks": partial(rank_rate, n_samples), "processes that only attribute": process_rate}
    in_turn(ways, rounds, f"Ranks with their models loaded, medians of {rounds} rounds, {n_samples} images each")


def in_turn(ways: Mapping[str, Callable[[int], float]], rounds: int, title: str) -> None:
    """Images a second of one worker and of two, of each way, and their ratios."""
    rates: dict[tuple[str, int], list[float]] = {(way, workers): [] for way in ways for workers in (1, 2)}
    for place in range(rounds):
        for way, workers in list(rates)[:: 1 if place % 2 == 0 else -1]:
            rates[way, workers].append(ways[way](workers))
    rows = []
    for way in ways:
        ratios = [two / one for one, two in zip(rates[way, 1], rates[way, 2], strict=True)]
        rows.append([way, *(statistics.median(rates[way, workers]) for workers in (1, 2)), statistics.median(ratios)])
        print(f"{way}, two workers over one, round by round: {', '.join(f'{ratio:.2f}' for ratio in ratios)}")
    header = ["EfficientNet-Lite0, one thread a worker", "images a second, one worker", "two", "ratio"]
    print_table(title, header, rows)


def ray_rate(n_samples: int, workers: int) -> float:
    """Images a second of Ray's workers once each has finished a file."""
    from captum_ext_integrations.ray_data import explain

    finished: list[tuple[float, int]] = []
    with tempfile.TemporaryDirectory() as folder:
        explain(
            Repeated(n_samples),
            efficientnet,
            folder,
            target="predicted",
            batch_size=BATCH_SIZE,
            attribute_kwargs={"n_steps": N_STEPS},
            shard_rows=BATCH_SIZE,
            concurrency=workers,
            show_progress=lambda done, _: finished.append((time.perf_counter(), done)),
        )
    (first, n_first), (last, n_last) = finished[workers], finished[-1]
    return (n_last - n_first) / (last - first)


def rank_rate(n_samples: int, world_size: int) -> float:
    """Images a second of ranks that share a folder, from the first look into it to the last manifest."""
    with (
        tempfile.TemporaryDirectory() as folder,
        multiprocessing.get_context("spawn").Pool(world_size, _start_process) as pool,
    ):
        pool.map(_attribute_batch, range(2 * world_size), chunksize=1)  # until each has its model
        tasks = [(folder, n_samples, rank, world_size) for rank in range(world_size)]
        return n_samples / seconds(lambda: pool.starmap(_attribute_rank, tasks, chunksize=1))


def process_rate(workers: int) -> float:
    """Images a second of processes without Ray, files and predictions: what the cores give."""
    with multiprocessing.get_context("spawn").Pool(workers, _start_process) as pool:
        pool.map(_attribute_batch, range(2 * workers), chunksize=1)  # until each has its model
        n_batches = 4
        spent = seconds(lambda: pool.map(_attribute_batch, range(n_batches), chunksize=1))
    return n_batches * BATCH_SIZE / spent


def _start_process() -> None:
    torch.set_num_threads(1)
    keep_freed_memory()  # as Ray's workers do


@cache
def _loaded() -> tuple[IntegratedGradients, Tensor]:
    return efficientnet(), real_data.imagenet_images()[0][:BATCH_SIZE]


def _attribute_batch(_: int) -> None:
    method, images = _loaded()
    method.attribute(images, target=0, n_steps=N_STEPS)


def _attribute_rank(folder: str, n_samples: int, rank: int, world_size: int) -> None:
    method, _ = _loaded()
    options = RunOptions(BATCH_SIZE, shard_rows=SHARD_ROWS, show_progress=False, rank=rank, world_size=world_size)
    kwargs = {"n_steps": N_STEPS}
    attribute_dataset(method, Repeated(n_samples), folder, target="predicted", attribute_kwargs=kwargs, run=options)


def plan(fast: bool) -> None:
    images, _ = real_data.imagenet_images()
    method = efficientnet()
    torch.set_num_threads(1)
    batch = images[:BATCH_SIZE]
    method.attribute(batch, target=0, n_steps=N_STEPS)
    gradient = seconds(lambda: method.attribute(batch, target=0, n_steps=N_STEPS)) / (BATCH_SIZE * N_STEPS)
    sizes = {}
    for size in (None, (56, 56), (7, 7)):
        with tempfile.TemporaryDirectory() as folder:
            attribute_dataset(
                method,
                TensorDataset(images[: 2 if fast else 20]),
                folder,
                target=0,
                attribute_kwargs={"n_steps": 2},
                map_format=MapFormat(size),
                run=RunOptions(show_progress=False),
            )
            total = sum(path.stat().st_size for path in Path(folder).glob("*.parquet"))
            sizes[size] = total / (2 if fast else 20) * N_IMAGENET / 1e9
    print(f"A gradient of EfficientNet-Lite0, one thread: {1000 * gradient:.0f} ms ({1 / gradient:.1f} a second)\n")
    hours = [[n, N_IMAGENET * n * gradient / 3600] for n in (20, 50, 400)]
    header = ["gradients an image", "hours of one such thread"]
    print_table(f"{N_IMAGENET} images at that rate", header, hours)
    rates = [[rate, *(N_IMAGENET * n / rate / 3600 for n in (20, 50, 400))] for rate in (500, 2_000, 10_000)]
    print_table(
        f"Hours of one device for {N_IMAGENET} images, by the gradients it takes in a second (measure yours)",
        ["gradients a second", "20 an image", "50 an image", "400 an image"],
        rates,
    )
    print_table(
        f"Disk for {N_IMAGENET} images, float16, channels summed",
        ["map", "GB"],
        [["224 x 224" if size is None else f"{size[0]} x {size[1]}", value] for size, value in sizes.items()],
    )
    driver = driver_seconds(5 if fast else 50)
    print(f"The driver's work for a file: {1000 * driver:.1f} ms\n")
    rows = [[workers, *simulate(workers, gradient * N_STEPS, driver)] for workers in (1, 2, 8, 32, 128, 512, 2048)]
    header = ["workers", "hours", "speed-up", "busy"]
    print_table(f"Simulated: {N_IMAGENET} images, {N_STEPS} gradients each, 10 s to start a worker", header, rows)
    fast_rate = [[workers, *simulate(workers, N_STEPS / 2_000, driver)] for workers in (1, 2, 8, 32, 128)]
    print_table("The same with devices of 2,000 gradients a second", header, fast_rate)


def driver_seconds(repeats: int) -> float:
    """What the driver does when a file is finished: a manifest of 50,000 samples is written anew."""
    done = np.zeros(N_IMAGENET, dtype=bool)
    done[::128] = True  # 391 separate ranges of indices
    with tempfile.TemporaryDirectory() as name:
        folder = RunFolder(Path(name))
        folder.begin({}, N_IMAGENET, resume=True)
        return seconds(lambda: [folder.finish_manifest(done, []) for _ in range(repeats)]) / repeats


def simulate(workers: int, image_seconds: float, driver: float, start: float = 10.0) -> tuple[float, float, str]:
    """Hours, speed-up and share of busy workers: files go to whoever is free, finished ones wait for the driver."""
    step = rows_of_a_task(SHARD_ROWS, N_IMAGENET, workers, BATCH_SIZE)
    rows = np.diff([*range(0, N_IMAGENET, step), N_IMAGENET])
    work = image_seconds * rows * np.random.default_rng(0).lognormal(-0.005, 0.1, len(rows))
    free = [start] * workers
    driver_free = 0.0
    for one in work:
        finished = heapq.heappop(free) + one
        driver_free = max(driver_free, finished) + driver
        heapq.heappush(free, finished)
    total = max(max(free), driver_free)
    return total / 3600, float(work.sum()) / total, f"{100 * float(work.sum()) / total / workers:.0f} %"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = ("throughput", "memory", "ranks", "ray", "plan")
    parser.add_argument("--part", nargs="+", choices=parts, default=list(parts))
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--fast", action="store_true", help="a smaller run that shows that everything works")
    options = parser.parse_args()
    runs = 1 if options.fast else options.runs
    if "memory" in options.part:  # first: peaks never fall
        memory(options.fast)
    if "throughput" in options.part:
        throughput(runs, options.fast)
    if "ranks" in options.part:
        ranks(runs, options.fast)
    if "ray" in options.part:
        ray_workers(runs, options.fast)
    if "plan" in options.part:
        plan(options.fast)


if __name__ == "__main__":
    main()
