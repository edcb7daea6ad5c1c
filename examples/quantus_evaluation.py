"""Five methods and five metrics through `quantus.evaluate`, unchanged, on real images; compared with paired tests.

    python -m examples.quantus_evaluation [--output outputs/quantus_evaluation.png]

The images are the 20 ImageNet images inside foolbox, the references of Expected and Weighted Integrated Gradients six
scikit-image photographs, so that no image explains itself. 20 images show how to use the package; what follows from
them stands in the corrected p-values.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path
from typing import Any

import quantus
import torch

from captum_ext.attr import IntegratedGradients
from captum_ext.images import gaussian_blur
from captum_ext.metrics import compare
from captum_ext.visualize import save_figure, show_scores
from captum_ext_integrations.quantus_metrics import (
    Deletion,
    DiffID,
    Insertion,
    PixelFlipping,
    as_quantus_explain,
    explain,
)
from examples import real_data
from examples.benchmarks.engine.reporting import versions

PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "hubble_deep_field", "retina", "rocket")
N_STEPS = 20
CONTROL = "IG (zero)"


def methods() -> dict[str, Any]:
    """Explanations by name: callables, as `quantus.evaluate` takes them."""
    references = real_data.photographs(*PHOTOGRAPHS)

    def named(method: str, n_steps: int = N_STEPS, **arguments: Any) -> Any:
        def explain_func(model: Any, inputs: Any, targets: Any, **ignored: Any) -> Any:  # noqa: ARG001
            return explain(model, inputs, targets, method=method, n_steps=n_steps, **arguments)

        return explain_func

    return {
        CONTROL: named("EG", baselines=0),
        "EG (photographs)": named("EG", references=references),
        "WeightedIG": named("WeightedIG", references=references),
        "SAMP++": named("SAMP", n_steps=N_STEPS // 2 - 1),  # in each direction; the bound adds about one
        "IG (blur + zero)": ig_from_both_baselines,  # the fair control of SAMP, which has both
    }


def ig_from_both_baselines(model: Any, inputs: Any, targets: Any, method: str = "", device: Any = None) -> Any:  # noqa: ARG001
    """Mean of Integrated Gradients from the blurred input and from zero: any function is a method for Quantus."""
    x = torch.as_tensor(inputs)
    baselines = (gaussian_blur(x), torch.zeros_like(x))
    maps = [
        as_quantus_explain(IntegratedGradients(model), attribute_kwargs={"n_steps": N_STEPS // 2, "baselines": one})(
            model, inputs, targets
        )
        for one in baselines
    ]
    return (maps[0] + maps[1]) / 2


def metrics(fast: bool) -> dict[str, Any]:
    """Metrics by name, four of this package and one of Quantus."""
    return {
        "DiffID": DiffID(),
        "Insertion": Insertion(n_steps=5 if fast else 10, score_scale="input"),
        "Deletion": Deletion(n_steps=5 if fast else 10, score_scale="input"),
        "Sparseness": quantus.Sparseness(abs=True, normalise=False, disable_warnings=True),
        "PixelFlipping": PixelFlipping(features_in_step=224 * 224 // (4 if fast else 8)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("outputs/quantus_evaluation.png"))
    parser.add_argument("--fast", action="store_true", help="a smaller run that shows that everything works")
    options = parser.parse_args()
    model, (images, _) = real_data.efficientnet_lite0(), real_data.imagenet_images()
    images = images[:5] if options.fast else images
    with torch.no_grad():
        labels = torch.cat([model(part).argmax(1) for part in images.split(5)])
    chosen = metrics(options.fast)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = quantus.evaluate(
            metrics=chosen,
            xai_methods=methods(),
            model=model,
            x_batch=images.numpy(),
            y_batch=labels.numpy(),
            explain_func_kwargs={},
        )
    print(versions())
    found = {}
    for name, metric in chosen.items():
        scores = {method: row[name] for method, row in results.items()}
        higher = metric.score_direction == quantus.helpers.enums.ScoreDirection.HIGHER
        found[name] = compare(scores, CONTROL, higher_is_better=higher)
        print(f"\n{name} ({'higher' if higher else 'lower'} is better)\n\n{found[name].to_markdown()}")
    save_figure(show_scores(found, columns=2), options.output)
    print(f"\n{options.output}")


if __name__ == "__main__":
    main()
