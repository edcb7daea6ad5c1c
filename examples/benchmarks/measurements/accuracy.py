"""Gap and map error against gradients: Captum's rules, the graded and the adaptive one, on several networks.

    python -m examples.benchmarks.measurements.accuracy --out accuracy.json [--networks EfficientNet-Lite0 ...]
        [--device cuda] [--images 20] [--baseline zero] [--rules ...] [--nodes ...]

The class that the network finds likeliest. "Gap" is |sum of attributions - difference of scores| over
the difference; "map error" the distance (L2, channels summed) from the map of 600 Gauss nodes, over that map's norm.
The EfficientNets have their weights and explain real images; the others have random weights, which says what passes
cost and how smooth such a network is, not how a trained one behaves. The file has every image's numbers.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import captum.attr
import torch
from torch import Tensor, nn

import captum_ext.attr
from captum_ext.core.atomic import replaced
from captum_ext.images import gaussian_blur
from examples import real_data
from examples.benchmarks.engine.reporting import print_table

CONVERGED = 600
NODES = (5, 10, 15, 20, 30, 40, 50, 75, 100, 150, 200, 300, 410)
BUDGETS = tuple(n for n in NODES if 10 <= n <= 200)  # of the adaptive rule
TOLERANCES = (0.2, 0.1, 0.05, 0.02, 0.01)
CAP = 200
RULES = {
    "Captum, Gauss": "gausslegendre",
    "Captum, middle": "riemann_middle",
    "Captum, trapezoid": "riemann_trapezoid",
    "graded": "riemann_graded",
}
ADAPTIVE = '"adaptive"'
BASELINES = ("zero", "black", "blur", "image")


def networks() -> dict[str, Callable[[], nn.Module]]:
    """Builders by name."""

    def random_weights(name: str) -> nn.Module:
        import torchvision

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model: nn.Module = torchvision.models.get_model(name, weights=None)
            last = [layer for layer in model.modules() if isinstance(layer, nn.Linear)][-1]
            if not bool(last.weight.any()):  # torchvision's transformers begin with zeros there: no score differs
                nn.init.normal_(last.weight, std=last.in_features**-0.5)
        return model

    lite = {f"EfficientNet-Lite{k}": lambda k=k: real_data.efficientnet_lite(k) for k in range(3)}
    return {
        **lite,
        "ResNet-50, random weights": lambda: random_weights("resnet50"),
        "ViT-B/16, random weights": lambda: random_weights("vit_b_16"),
    }


class Measured:
    """One network and its images: every rule is held against the same converged maps."""

    def __init__(self, model: nn.Module, images: Tensor, rows: int, baseline: str, converged: int) -> None:
        self.model, self.images, self.rows = model, images, rows
        self.baselines = _baselines(baseline, images)
        with torch.no_grad():
            scores = torch.cat([model(part) for part in images.split(rows)])
            self.target = scores.argmax(1)
            start = torch.cat([model(part) for part in self.baselines.split(rows)])
        self.difference = (scores.double() - start.double()).gather(1, self.target[:, None])[:, 0]
        self.converged = self.by_nodes("gausslegendre", converged)

    def by_nodes(self, rule: str, n_steps: int) -> Tensor:
        """Maps of Captum's call, or of ours where Captum does not have the rule."""
        host = captum_ext.attr if rule == "riemann_graded" else captum.attr
        maps: Tensor = host.IntegratedGradients(self.model).attribute(
            self.images, self.baselines, self.target, n_steps=n_steps, method=rule, internal_batch_size=self.rows
        )
        return maps

    def adaptive(self, n_steps: int, tol: float | None) -> tuple[Tensor, Tensor]:
        """Maps and gradients of the adaptive rule, which stops by itself where it has a tolerance."""
        given: dict[str, Any] = {} if tol is None else {"tol": tol}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that a tolerance was not reached: its gap stands in the file
            found: tuple[Tensor, Tensor] = captum_ext.attr.IntegratedGradients(self.model).attribute(
                self.images,
                self.baselines,
                self.target,
                method="adaptive",
                n_steps=n_steps,
                return_n_gradients=True,
                **given,
            )
        return found

    def row(self, rule: str, maps: Tensor, gradients: Tensor) -> dict[str, Any]:
        """Every image's numbers."""
        sums = maps.double().flatten(1).sum(1)
        reference = self.converged.double().sum(1).flatten(1)
        errors = (maps.double().sum(1).flatten(1) - reference).norm(dim=1) / reference.norm(dim=1)
        return {
            "rule": rule,
            "gradients": gradients.tolist(),
            "gap": ((sums - self.difference) / self.difference).abs().tolist(),
            "map error": errors.tolist(),
        }

    def rules(self, names: Collection[str], nodes: Sequence[int]) -> Iterator[dict[str, Any]]:
        """Rows of the rules at every number of gradients."""
        n_images = len(self.images)
        for name in (name for name in RULES if name in names):
            for n_steps in nodes:
                yield self.row(name, self.by_nodes(RULES[name], n_steps), torch.full((n_images,), n_steps))
        if ADAPTIVE in names:
            for n_steps in (n for n in nodes if n in BUDGETS):
                yield self.row(ADAPTIVE, *self.adaptive(n_steps, None))
            for tol in TOLERANCES:
                yield self.row(f"{ADAPTIVE}, tol={tol}", *self.adaptive(CAP, tol))


def _baselines(name: str, images: Tensor) -> Tensor:
    """One for each image: zero, black, the image blurred, or the next image."""
    if name == "black":
        return torch.full_like(images, real_data.BLACK)
    if name == "image":
        return images.roll(1, 0)
    return gaussian_blur(images) if name == "blur" else torch.zeros_like(images)


def summary(row: dict[str, Any]) -> list[object]:
    """One line of the table."""
    gradients, gaps, errors = (torch.tensor(row[name]).double() for name in ("gradients", "gap", "map error"))
    return [row["rule"], *(float(one) for one in (gradients.mean(), gaps.max(), gaps.median(), errors.mean()))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="file for the numbers of every image")
    parser.add_argument("--networks", nargs="+", choices=networks(), default=list(networks()))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--images", type=int, default=20)
    parser.add_argument("--baseline", choices=BASELINES, default="zero")
    parser.add_argument("--rules", nargs="+", choices=(*RULES, ADAPTIVE), default=(*RULES, ADAPTIVE))
    parser.add_argument("--nodes", nargs="+", type=int, default=NODES)
    parser.add_argument("--rows", type=int, default=8, help="in flight at once in Captum's call")
    parser.add_argument("--fast", action="store_true", help="a smaller run that shows that everything works")
    options = parser.parse_args()
    if options.fast:
        options.rules, options.nodes, options.networks = list(RULES), [2], options.networks[:1]
    torch.backends.cudnn.allow_tf32 = False
    pictures = real_data.imagenet_images()[0][: 1 if options.fast else options.images].to(options.device)
    found: dict[str, list[dict[str, Any]]] = {}
    for name in options.networks:
        model = networks()[name]().eval().requires_grad_(False).to(options.device)
        found[name] = list(
            Measured(model, pictures, options.rows, options.baseline, 20 if options.fast else CONVERGED).rules(
                options.rules, options.nodes
            )
        )
        header = ["rule", "gradients, mean", "worst gap", "median gap", "map error, mean"]
        print_table(
            f"{name}, {len(pictures)} images, baseline {options.baseline}",
            header,
            [summary(row) for row in found[name]],
        )
        if options.out is not None:
            with replaced(options.out) as temporary:
                temporary.write_text(json.dumps(found))


if __name__ == "__main__":
    main()
