"""Which explanation to trust here: an answer for each of two networks.

    python -m examples.choosing imagenet    # EfficientNet-Lite0 and the 20 ImageNet images inside foolbox
    python -m examples.choosing digits      # a network trained on scikit-learn's digits, and 200 of them
    python -m examples.choosing kept        # what the benchmark's kept rows of the first two say, in seconds

Rows, tables, the paragraph and the figure are in outputs/choose-NAME; a second call goes on with the rows.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import pandas as pd
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from captum_ext.selection import Answer, Choice, ChooseOptions, choose, decide
from captum_ext.visualize import save_figure
from examples.benchmarks.engine.networks import load_network
from examples.benchmarks.engine.samples import load_samples
from examples.real_data import efficientnet_lite0, imagenet_images, photographs, preprocess

PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "rocket", "hubble_deep_field", "retina")
#: Method here -> in the benchmark.
KEPT = {
    "ig": "IG (zero)",
    "ig-mean": "IG (mean)",
    "ig-blur": "IG (blur)",
    "ig-blur-zero": "IG (blur + zero)",
    "ig-adaptive": "IG (zero, adaptive)",
    "eg": "EG",
    "lpi": "LPI, 1 n.",
    "weighted-ig": "WG, 7 baselines",
    "samp": "SAMP",
    "samp++": "SAMP++",
    "samp++-insertion": "SAMP++, insertion only",
    "idgi": "IDGI (zero)",
    "gradcam": "GradCAM (bilinear)",
    "xrai": "XRAI",
    "rise": "RISE, 50 masks",
}


def subject(name: str, cache: Path) -> tuple[nn.Module, Tensor, Tensor, dict[str, tuple[float, ...]]]:
    """A model, images to explain, references that are not explained, and the model's normalisation."""
    if name == "imagenet":
        images, _ = imagenet_images()
        return efficientnet_lite0(), images, photographs(*PHOTOGRAPHS), {"mean": preprocess.mean, "std": preprocess.std}
    network = load_network("five-layers", cache)
    digits, train = (load_samples(data, network.preparation) for data in ("digits", "digits-train"))
    images, _ = digits.load(range(200))
    references, _ = train.load(range(0, len(train), 28))
    return network.model, images, references, {"mean": (0.0,), "std": (1.0,)}


def compared(name: str, folder: Path, options: ChooseOptions, methods: list[str] | None = None) -> Choice:
    """The answer for one of the networks; of some of the methods where they are named."""
    model, images, references, normalisation = subject(name, folder / "networks")
    dataset, out = TensorDataset(images), folder / f"choose-{name}"
    return choose(model, dataset, out, methods=methods, references=references, options=options, **normalisation)


def kept_answers() -> dict[str, Answer]:
    """The answers of the rows that the benchmark keeps; SAMP++ in one direction had 14 groups there, and 20 here."""
    answers = {}
    for name in ("paths-imagenet20", "paths-digits"):
        rows = pd.read_parquet(Path(__file__).parent / "benchmarks" / "results" / f"{name}.parquet")
        decisive = (rows["insertion"] - rows["deletion"] + rows["diff_id"]) / 3
        table = rows.assign(decisive=decisive).pivot(index="sample", columns="method", values="decisive").sort_index()
        scores = {ours: table[theirs].to_numpy() for ours, theirs in KEPT.items()}
        answers[name] = decide(scores, {"random": table["random"].to_numpy()})
    return answers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("name", choices=("imagenet", "digits", "kept"))
    parser.add_argument("--gradients", type=float, default=20)
    parser.add_argument("--method", nargs="+", metavar="NAME", help="instead of all; with an --out of its own")
    parser.add_argument("--out", type=Path, default=Path("outputs"))
    asked = parser.parse_args()
    if asked.name == "kept":
        print("\n".join(f"{name}: {answer}" for name, answer in kept_answers().items()))
        return
    start, processor = time.perf_counter(), time.process_time()
    choice = compared(asked.name, asked.out, ChooseOptions(gradients=asked.gradients), asked.method)
    folder = choice.folder
    (folder / "methods.csv").write_text(choice.to_csv())
    (folder / "methods.tex").write_text(choice.to_latex())
    (folder / "paragraph.tex").write_text(choice.paragraph(latex=True) + "\n")
    save_figure(choice.plot(), folder / "ranks.png")
    print(choice.table.to_string(float_format="{:.3g}".format))
    print(choice)
    print(f"{time.perf_counter() - start:.0f} s, of the processor {time.process_time() - processor:.0f} s")


if __name__ == "__main__":
    main()
