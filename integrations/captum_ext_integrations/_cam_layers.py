"""Which layers a CAM explains, and how their features become maps, where an adapted model knows it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor, nn

from captum_ext.core.checks import describe
from captum_ext.core.compiled import NOT_COMPILED, compiled_parts, is_scripted
from captum_ext.exceptions import ArgumentError, ArgumentTypeError
from captum_ext.models import AdaptedModel

_LAYERS = "a list of modules of the model"


class OwnGrid:
    """An adapted model's `to_grid`, for images of a CAM's own passes, whatever else the model is called with.

    Args:
        adapted: the model.

    Attributes:
        size: (H, W) of the images of the last pass; None: of the images that the model was last called with.
    """

    def __init__(self, adapted: AdaptedModel) -> None:
        self.adapted = adapted
        self.size: tuple[int, ...] | None = None

    def __call__(self, features: Any) -> Tensor:
        """Features as maps (N, C, h, w)."""
        if not isinstance(features, Tensor):
            raise ArgumentError(
                "target_layers", "layers that return a tensor", f"one that returns {describe(features)}"
            )
        return self.adapted.to_grid(features, self.size)


def layers_and_reshape(
    model: nn.Module, target_layers: Any, reshape_transform: Callable[[Tensor], Tensor] | None
) -> tuple[list[nn.Module], Callable[[Tensor], Tensor] | None]:
    """The layers to explain and what makes maps of their features: those given, else what an adapted model knows.

    Raises:
        ArgumentTypeError: no list of modules.
        ArgumentError: nothing given and the model is not adapted, no layers, or a compiled model.
        AdaptError: an adapted model of text, or without a layer to explain.
    """
    if isinstance(model, AdaptedModel):
        _ = model.size  # of text there is none, which is an error
        target_layers = [model.layer] if target_layers is None else target_layers
        reshape_transform = OwnGrid(model) if reshape_transform is None else reshape_transform
    if target_layers is None:
        expected = f"{_LAYERS}; only of what captum_ext.models.adapt makes of a model it can be left out"
        raise ArgumentError("target_layers", expected, "None")
    is_one = isinstance(target_layers, nn.Module) and not isinstance(target_layers, nn.ModuleList)
    if is_one or not isinstance(target_layers, Iterable):
        raise ArgumentTypeError("target_layers", _LAYERS, describe(target_layers))
    layers = list(target_layers)
    for layer in layers:
        if not isinstance(layer, nn.Module):
            raise ArgumentTypeError("target_layers", _LAYERS, f"{describe(layer)} in it")
    if not layers:
        raise ArgumentError("target_layers", f"{_LAYERS}, one at least", "an empty list")
    check_not_compiled(model, layers)
    return layers, reshape_transform


def check_not_compiled(model: nn.Module, layers: list[nn.Module]) -> None:
    """Refuse what is no module, a model of which a part is compiled, and scripted parts with a target layer.

    Of what torch.compile made, hooks are run only if they were there when the graph was compiled, and the backward
    pass of most backends cannot be run with the graph kept, as the host runs it.

    Raises:
        ArgumentTypeError: no module.
        ArgumentError: names the part.
    """
    if not isinstance(model, nn.Module):
        raise ArgumentTypeError("model", "a torch.nn.Module, whose layers are recorded", describe(model))
    for label, part in compiled_parts(model):
        hides = not is_scripted(part) or any(inside is layer for inside in part.modules() for layer in layers)
        if hides:
            raise ArgumentError("model", NOT_COMPILED, label)
