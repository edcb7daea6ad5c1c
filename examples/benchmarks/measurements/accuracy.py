"""Gap and map error against gradients: Captum's rules and the adaptive one, on several networks.

    python -m examples.benchmarks.measurements.accuracy --out accuracy.json [--networks EfficientNet-Lite0 ...]
        [--device cuda] [--images 20]

Zero baseline, the class that the network finds likeliest. "Gap" is |sum of attributions - difference of scores| over
the difference; "map error" the distance (L2, channels summed) from the map of 600 Gauss nodes, over that map's norm.
The EfficientNets have their weights and explain real images; the others have random weights, which says what passes
cost and how smooth such a network is, not how a trained one behaves. The file has every image's numbers.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import captum.attr
import torch
from torch import Tensor, nn

from captum_ext.attr import IntegratedGradients
from captum_ext.core.atomic import replaced
from examples import real_data
from examples.benchmarks.measurements.reporting import print_table

CONVERGED = 600
NODES = (5, 10, 15, 20, 30, 40, 50, 75, 100, 150, 200, 300, 410)
BUDGETS = tuple(n for n in NODES if 10 <= n <= 200)  # of the adaptive rule
TOLERANCES = (0.2, 0.1, 0.05, 0.02, 0.01)
CAP = 200
RULES = {"Captum, Gauss": "gausslegendre", "Captum, trapezoid": "riemann_trapezoid"}


def networks() -> dict[str, Callable[[], nn.Module]]:
    """Builders by name."""

    def random_weights(name: str) -> nn.Module:
        import torchvision

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model: nn.Module = torchvision.models.get_model(name, weights=None)
        return model

    lite = {f"EfficientNet-Lite{k}": lambda k=k: real_data.efficientnet_lite(k) for k in range(3)}
    return {
        **lite,
        "ResNet-50, random weights": lambda: random_weights("resnet50"),
        "ViT-B/16, random weights": lambda: random_weights("vit_b_16"),
    }


class Measured:
    """One network and its images: every rule is held against the same converged maps."""

    def __init__(self, model: nn.Module, images: Tensor, rows: int) -> None:
        self.model, self.images, self.rows = model, images, rows
        with torch.no_grad():
            scores = torch.cat([model(part) for part in images.split(rows)])
            self.target = scores.argmax(1)
            start = model(torch.zeros_like(images[:1]))[0, self.target]
        self.difference = scores.gather(1, self.target[:, None])[:, 0].double() - start.double()
        self.converged = self.by_nodes("gausslegendre", CONVERGED)

    def by_nodes(self, rule: str, n_steps: int) -> Tensor:
        """Maps of Captum's call."""
        maps: Tensor = captum.attr.IntegratedGradients(self.model).attribute(
            self.images, target=self.target, n_steps=n_steps, method=rule, internal_batch_size=self.rows
        )
        return maps

    def adaptive(self, n_steps: int, tol: float | None) -> tuple[Tensor, Tensor]:
        """Maps and gradients of the adaptive rule, which stops by itself where it has a tolerance."""
        given: dict[str, Any] = {} if tol is None else {"tol": tol}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that a tolerance was not reached: its gap stands in the file
            found: tuple[Tensor, Tensor] = IntegratedGradients(self.model).attribute(
                self.images, target=self.target, method="adaptive", n_steps=n_steps, return_n_gradients=True, **given
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

    def rules(self, fast: bool) -> Iterator[dict[str, Any]]:
        """Rows of every rule at every number of gradients."""
        n_images = len(self.images)
        for name, rule in RULES.items():
            for n_steps in NODES[:2] if fast else NODES:
                yield self.row(name, self.by_nodes(rule, n_steps), torch.full((n_images,), n_steps))
        for n_steps in BUDGETS[:1] if fast else BUDGETS:
            yield self.row('"adaptive"', *self.adaptive(n_steps, None))
        for tol in TOLERANCES[:1] if fast else TOLERANCES:
            yield self.row(f'"adaptive", tol={tol}', *self.adaptive(CAP, tol))


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
    parser.add_argument("--rows", type=int, default=8, help="in flight at once in Captum's call")
    parser.add_argument("--fast", action="store_true", help="a smaller run that shows that everything works")
    options = parser.parse_args()
    torch.backends.cudnn.allow_tf32 = False
    pictures = real_data.imagenet_images()[0][: 1 if options.fast else options.images].to(options.device)
    found: dict[str, list[dict[str, Any]]] = {}
    for name in options.networks[:1] if options.fast else options.networks:
        model = networks()[name]().eval().requires_grad_(False).to(options.device)
        found[name] = list(Measured(model, pictures, options.rows).rules(options.fast))
        header = ["rule", "gradients, mean", "worst gap", "median gap", "map error, mean"]
        print_table(f"{name}, {len(pictures)} images", header, [summary(row) for row in found[name]])
        if options.out is not None:
            with replaced(options.out) as temporary:
                temporary.write_text(json.dumps(found))


if __name__ == "__main__":
    main()
