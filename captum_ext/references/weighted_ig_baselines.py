"""The baselines of the authors of Weighted Integrated Gradients, as far as they are known."""

from __future__ import annotations

import torch
from torch import Tensor

from captum_ext.core.autocast import own_precision
from captum_ext.core.checks import check_choice, check_same_rows, check_tensors, describe
from captum_ext.core.types import TensorOrTensors, Tensors
from captum_ext.exceptions import ArgumentError
from captum_ext.references.standard_baselines import Numbers, standard_baselines

_BLACK, _WHITE, _GREY = 0, 1, 2  # places among the standard baselines
_FIRST_NOISE, _SECOND_NOISE = -2, -1


@own_precision
def weighted_ig_baselines(
    inputs: TensorOrTensors,
    value_range: tuple[float, float] | None = None,
    *,
    image: TensorOrTensors | None = None,
    preset: str = "evaluation",
    mean: Numbers | None = None,
    std: Numbers | None = None,
    seed: int = 0,
) -> TensorOrTensors:
    """The baselines of Weighted Integrated Gradients (Tran Duc Tuan et al., 2025), as its authors' code has them.

    https://arxiv.org/abs/2505.03201 and https://github.com/KienTranDSAI/Weighted-Integrated-Gradients (2025), read at
    its commit 0bf2d34. That code has two sets, each with settings of its own:

    | preset | baselines, in this order | the code's settings |
    | --- | --- | --- |
    | "evaluation" (`eval.py`) | black, one real image, noise, noise, white, mid-grey | `n_steps=6, ranking="signed"` |
    | "program" (`main.py`) | white, black, noise | `n_steps=3, ranking="absolute"` |

    Both have one random point on each path (`method="stratified"`, the default), `alpha=0.5` and the mean colour of the
    corners as `fill`; the evaluation also scores the subset of `keep=0.25`. Black, white and grey are 0, 1 and 0.5
    before normalisation, noise is uniform between 0 and 1 for each element.

    Not known: the paper's text was not at hand, and may have other baselines than the code. Which real image it is
    follows from the order in which the authors' disk lists their data; it is the same for all inputs, so that one of
    them is among its own references. Give any image that is not explained.

    Args:
        inputs: (N, ...) or a tuple of such tensors.
        value_range: as in `standard_baselines`.
        image: one real image (1, ...) as the model gets it, or a tuple of them; for "evaluation" only.
        preset: "evaluation" or "program".
        mean: as in `standard_baselines`.
        std: as in `standard_baselines`.
        seed: of the noise, which is the same for every input, so that no weight depends on the batch; the code draws
            anew for each.

    Returns:
        (N, 6, ...) or (N, 3, ...); for a tuple of inputs, a tuple.

    Raises:
        ArgumentError: an unknown preset; "evaluation" without an image, or "program" with one; an image of another
            shape than the inputs or not exactly one; and as `standard_baselines`.
        NonFiniteError: NaN or infinity in the inputs or the image.

    Example:
        >>> import torch
        >>> from captum_ext import WeightedIntegratedGradients
        >>> from captum_ext.references import weighted_ig_baselines
        >>> x, image = torch.rand(2, 3, 8, 8), torch.rand(1, 3, 8, 8)
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 2))
        >>> wg = WeightedIntegratedGradients(
        ...     model, references=lambda x: weighted_ig_baselines(x, (0, 1), image=image), score="logit"
        ... )
        >>> wg.references(x).shape
        torch.Size([2, 6, 3, 8, 8])
    """
    check_choice("preset", preset, ("evaluation", "program"))
    standard = standard_baselines(inputs, value_range, mean=mean, std=std, n_noise=2, seed=seed)
    tensors = inputs if isinstance(inputs, tuple) else (inputs,)
    sets = standard if isinstance(standard, tuple) else (standard,)
    if preset == "program":
        if image is not None:
            raise ArgumentError("image", 'None for preset="program", which has none', describe(image))
        chosen = tuple(torch.stack([one[:, k] for k in (_WHITE, _BLACK, _FIRST_NOISE)], 1) for one in sets)
    else:
        chosen = tuple(_with_image(one, own) for one, own in zip(sets, _check_image(image, tensors), strict=True))
    return chosen if isinstance(inputs, tuple) else chosen[0]


def _with_image(standard: Tensor, image: Tensor) -> Tensor:
    """The evaluation's set (N, 6, ...), of standard baselines (N, K, ...) and a real image (1, ...)."""
    own = image.to(standard.device, standard.dtype).expand_as(standard[:, _BLACK])
    rest = [standard[:, k] for k in (_FIRST_NOISE, _SECOND_NOISE, _WHITE, _GREY)]
    return torch.stack([standard[:, _BLACK], own, *rest], 1)


def _check_image(image: TensorOrTensors | None, inputs: Tensors) -> Tensors:
    expected = 'one real image (1, ...), which preset="evaluation" has'
    if image is None:
        raise ArgumentError("image", expected, "None")
    images = tuple(tensor.detach() for tensor in check_tensors("image", image))
    check_same_rows("image", images, inputs)
    if len(images[0]) != 1:
        raise ArgumentError("image", expected, describe(images[0]))
    return images
