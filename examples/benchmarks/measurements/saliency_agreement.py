"""How far the maps of GuidedIG, BlurIG and XRAI are those of `saliency`, the package of their authors at Google PAIR.

    pip install --no-deps saliency==0.2.1
    python -m examples.benchmarks.measurements.saliency_agreement [--images 2] [--size 224] [--method XRAI]

Correlations of pixel maps (channels summed) of EfficientNet-Lite0 on photographs, from the package's own settings: 200,
100 and 100 steps. The network is in float64, since in float32 maps move by rounding alone (see `rounding`); `saliency`
gets its gradients from the same network. The package has no IDGI, RISE or AGI to agree with.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from captum_ext.attr import XRAI, BlurIG, GuidedIG, IntegratedGradients
from captum_ext.segmentation import MultiScaleSegmenter
from examples import real_data
from examples.benchmarks.engine.reporting import print_table

Map = NDArray[np.float64]
_AT_ONCE = 4


@contextlib.contextmanager
def older_numpy() -> Iterator[None]:
    """Inside, `numpy.quantile` knows the keyword that the package gives it, which NumPy 2.4 has no more."""
    quantile = np.quantile

    def renamed(*args: Any, interpolation: str = "linear", **kwargs: Any) -> Any:
        return quantile(*args, method=interpolation, **kwargs)

    with mock.patch.object(np, "quantile", renamed):
        yield


def _their_map(name: str, model: nn.Module, image: Tensor, target: int, **settings: Any) -> Map:
    """A map (H, W) of the package, which takes and gives one image (H, W, C)."""
    import saliency.core as saliency

    def call(points: Any, call_model_args: Any = None, expected_keys: Any = None) -> dict[str, Map]:  # noqa: ARG001
        leaf = torch.from_numpy(np.asarray(points)).permute(0, 3, 1, 2).contiguous().requires_grad_()
        gradients = torch.autograd.grad(model(leaf)[:, target].sum(), leaf)[0]
        return {saliency.INPUT_OUTPUT_GRADIENTS: gradients.permute(0, 2, 3, 1).numpy()}

    array = image[0].permute(1, 2, 0).numpy()
    with older_numpy():
        result: Map = getattr(saliency, name)().GetMask(array, call, **settings)
    return result if result.ndim == 2 else result.sum(2)


def _our_map(explainer: Any, image: Tensor, target: int, **given: Any) -> Map:
    result: Map = explainer.attribute(image, target=target, internal_batch_size=_AT_ONCE, **given)[0].sum(0).numpy()
    return result


def pairs_of(model: nn.Module, shorter: int) -> dict[str, tuple[Callable[..., Map], Callable[..., Map]]]:
    """What makes our map and theirs of an image and a target, by what is compared; with 1/`shorter` of the steps."""
    guided, many = 200 // shorter, 100 // shorter

    def theirs(name: str, **settings: Any) -> Callable[..., Map]:
        return lambda image, target: _their_map(name, model, image, target, **settings)

    def ours(explainer: Any, **given: Any) -> Callable[..., Map]:
        return lambda image, target: _our_map(explainer, image, target, **given)

    def xrai(algorithm: str, method: str) -> Callable[..., Map]:
        sizes = MultiScaleSegmenter(dilation=5)
        return ours(XRAI(model, segmenter=sizes, algorithm=algorithm, min_pixels=50), n_steps=many, method=method)

    def their_xrai(algorithm: str) -> Callable[..., Map]:
        def make(image: Tensor, target: int) -> Map:
            import saliency.core as saliency

            extra = saliency.XRAIParameters(steps=many, algorithm=algorithm)
            return _their_map("XRAI", model, image, target, extra_parameters=extra, batch_size=_AT_ONCE)

        return make

    blur = theirs("BlurIG", steps=many, batch_size=_AT_ONCE)
    as_theirs = BlurIG(model, border="zero", derivative_step=0.01)
    return {
        "GuidedIG": (ours(GuidedIG(model), n_steps=guided), theirs("GuidedIG", x_steps=guided)),
        "BlurIG, as theirs": (ours(as_theirs, n_steps=many), blur),
        'BlurIG, border="zero"': (ours(BlurIG(model, border="zero"), n_steps=many), blur),
        "BlurIG": (ours(BlurIG(model), n_steps=many), blur),
        "XRAI, as theirs": (xrai("full", "linspace"), their_xrai("full")),
        "XRAI, Gauss-Legendre": (xrai("full", "gausslegendre"), their_xrai("full")),
        'XRAI, algorithm="fast", as theirs': (xrai("fast", "linspace"), their_xrai("fast")),
        "IntegratedGradients": (
            ours(IntegratedGradients(model), n_steps=many, method="riemann_trapezoid"),
            theirs("IntegratedGradients", x_steps=many, batch_size=_AT_ONCE),
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2, help="of the photographs, at most 4")
    parser.add_argument("--size", type=int, default=224, help="side of the images")
    parser.add_argument("--method", help="only what begins with this name")
    parser.add_argument("--fast", action="store_true", help="a smaller run that shows that everything works")
    options = parser.parse_args()
    if options.fast:
        options.images, options.size = 1, 64
    if importlib.util.find_spec("saliency") is None:
        parser.exit(0 if options.fast else 1, "Nothing to agree with: pip install --no-deps saliency==0.2.1\n")
    model = real_data.efficientnet_lite0().double()
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    images = real_data.photographs("chelsea", "coffee", "astronaut", "rocket")[: options.images].double()
    images = torch.nn.functional.interpolate(images, size=options.size, mode="area")
    targets = model(images).argmax(1).tolist()
    rows = []
    for name, (ours, theirs) in pairs_of(model, 10 if options.fast else 1).items():
        if options.method and not name.startswith(options.method):
            continue
        maps = [
            (ours(image[None], target), theirs(image[None], target))
            for image, target in zip(images, targets, strict=True)
        ]
        rows.append([name, *(f"{np.corrcoef(one.ravel(), other.ravel())[0, 1]:.6f}" for one, other in maps)])
    print_table("Correlation with `saliency`", ["", *(f"image {k + 1}" for k in range(len(images)))], rows)


if __name__ == "__main__":
    main()
