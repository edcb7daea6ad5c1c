"""Whether `captum_ext.selection.diff` finds what differs and nothing else: repeats, two trainings, and int8.

    python -m examples.benchmarks.measurements.differences [--sets 2] [--images 100] [--masks 500]

All on scikit-learn's digits and the five-layer network of the benchmark; targets are the labels.

1. The model with itself: Expected Gradients from 10 digits with 20 gradients, three runs for each set of 10 digits with
   other seeds, two of them in channels-last layout and one in the other; how many sets are said to differ.
2. Two trainings of the network that differ by their seed.
3. The network in int8 (static quantisation of PyTorch, calibrated on 200 digits it was trained on), which has no
   gradients: RISE on both, by passes forwards alone, with the float network under other masks as noise. And Integrated
   Gradients of the float network, scored by insertion and deletion on both networks.
"""

from __future__ import annotations

import argparse
import copy
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset
from tqdm import tqdm

from captum_ext import ExpectedGradients
from captum_ext.attr import RISE, IntegratedGradients
from captum_ext.dataset import DatasetAttributions, RunOptions, attribute_dataset
from captum_ext.metrics import deletion, insertion
from captum_ext.selection import Difference, diff
from examples.benchmarks.engine.networks import GREY, five_layers_on_digits
from examples.benchmarks.engine.reporting import print_table, with_error
from examples.benchmarks.engine.samples import load_samples


def quantised(network: nn.Module, calibration: Tensor) -> nn.Module:
    """The network with weights and activations of 8 bits, as it is deployed on a CPU."""
    from torch.ao import quantization

    torch.backends.quantized.engine = "x86"
    stubs = nn.Sequential(quantization.QuantStub(), copy.deepcopy(network), quantization.DeQuantStub()).eval()
    stubs.qconfig = quantization.get_default_qconfig("x86")
    prepared = quantization.prepare(stubs)
    with torch.no_grad():
        prepared(calibration)
    deployed: nn.Module = quantization.convert(prepared)
    return deployed


def run(method: Any, data: TensorDataset, folder: Path, seed: int, arguments: Mapping[str, int]) -> DatasetAttributions:
    """One run, with float32 maps of labelled images."""
    options = RunOptions(seed=seed, show_progress=False)
    return attribute_dataset(method, data, folder, target="label", attribute_kwargs=dict(arguments), run=options)


def expected(network: nn.Module, references: Tensor, channels_last: bool) -> ExpectedGradients:
    """The method in one layout or the other."""
    method = ExpectedGradients(network, references=references)
    method.channels_last = channels_last
    return method


def differing_sets(
    network: nn.Module, data: TensorDataset, references: Tensor, n_sets: int, folder: Path
) -> list[bool]:
    """For each ten images, and each of `n_sets` sets of seeds: is the model said to differ from itself?"""
    found = []
    for trial in tqdm(range(n_sets * (len(data) // 10)), leave=False):
        first = trial % (len(data) // 10) * 10
        some = TensorDataset(*data[first : first + 10])
        runs = [
            run(expected(network, references, k != 1), some, folder / f"{trial}-{k}", 3 * trial + k, {"n_steps": 20})
            for k in range(3)
        ]
        found.append(bool(diff(runs[0], runs[1], noise=runs[2:]).differs))
    return found


def rows_of(name: str, found: Difference) -> list[list[object]]:
    """A row for each measure."""
    return [
        [name, measure, float(row["mean"]), float(row["noise"]), float(row["p"]), "yes" if row["differs"] else "no"]
        for measure, row in found.summary.iterrows()
    ]


def scored(networks: dict[str, nn.Module], images: Tensor, labels: Tensor) -> list[list[object]]:
    """Curves of the float network's maps on each network."""
    maps = IntegratedGradients(networks["float32"]).attribute(images, target=labels, n_steps=20)
    rows: list[list[object]] = []
    for name, network in networks.items():
        row: list[object] = [name]
        for metric, baselines in ((insertion, "blur"), (deletion, 0)):
            curve = metric(network, images, maps, labels, baselines=baselines, n_steps=14)
            row.append(with_error(curve.auc[curve.valid]))
        with torch.no_grad():
            right = (network(images).argmax(1) == labels).double().mean()
        rows.append([*row, float(right)])
    return rows


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=int, default=2)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--masks", type=int, default=500)
    parser.add_argument("--cache", type=Path, default=Path("outputs/networks"))
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", UserWarning)
    network, _ = five_layers_on_digits(arguments.cache)
    other, _ = five_layers_on_digits(arguments.cache / "seed-1", seed=1)
    images, labels = load_samples("digits", GREY).load(range(arguments.images))
    trained_on, _ = load_samples("digits-train", GREY).load(range(200))
    data, references = TensorDataset(images, torch.tensor(labels)), trained_on[:10]
    network.eval(), other.eval()
    deployed = quantised(network, trained_on)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if arguments.sets:
            found = differing_sets(network, data, references, arguments.sets, folder)
            print_table("The model with itself", ("sets of 10 digits", "said to differ"), [[len(found), sum(found)]])
        eg = [
            run(expected(one, references, True), data, folder / f"eg-{k}", k, {"n_steps": 20})
            for k, one in enumerate((network, other, network))
        ]
        rise = [
            run(RISE(one, seed=seed), data, folder / f"rise-{k}", 0, {"n_samples": arguments.masks})
            for k, (one, seed) in enumerate(((network, 0), (deployed, 0), (network, 1)))
        ]
        rows = rows_of("two trainings (EG)", diff(eg[0], eg[1], noise=[eg[2]]))
        rows += rows_of("int8, same masks (RISE)", diff(rise[0], rise[1], noise=[rise[2]]))
        again = run(RISE(deployed, seed=2), data, folder / "rise-int8", 0, {"n_samples": arguments.masks})
        rows += rows_of("int8, other masks (RISE)", diff(rise[0], again, noise=[rise[2]]))
        more = [
            run(RISE(network, seed=seed), data, folder / f"rise-{seed}", 0, {"n_samples": arguments.masks})
            for seed in (3, 4, 5)
        ]
        rows += rows_of("int8, other masks, four repeats (RISE)", diff(rise[0], again, noise=[rise[2], *more]))
    print_table("Runs", ("runs", "measure", "mean", "noise", "p (Holm)", "differs"), rows)
    curves = scored({"float32": network, "int8": deployed}, images, torch.tensor(labels))
    print_table("IG of the float network", ("scored on", "insertion", "deletion", "accuracy"), curves)


if __name__ == "__main__":
    main()
