"""Explanations for Quantus: the methods of this package by name, and any other name by Quantus itself."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import captum_ext.attr
from captum_ext._checks import describe
from captum_ext._optional import require
from captum_ext.exceptions import ArgumentError, ArgumentTypeError

_METHODS: Mapping[str, type[Any]] = {
    "EG": captum_ext.attr.ExpectedGradients,
    "ExpectedGradients": captum_ext.attr.ExpectedGradients,
    "IDGI": captum_ext.attr.ImportantDirectionIG,
    "ImportantDirectionIG": captum_ext.attr.ImportantDirectionIG,
    "LPI": captum_ext.attr.LocalPathIntegration,
    "LocalPathIntegration": captum_ext.attr.LocalPathIntegration,
    "SAMP": captum_ext.attr.SalientManipulationPath,
    "SalientManipulationPath": captum_ext.attr.SalientManipulationPath,
    "WeightedIG": captum_ext.attr.WeightedIntegratedGradients,
    "WeightedIntegratedGradients": captum_ext.attr.WeightedIntegratedGradients,
}
_CAM_ARGUMENTS = ("reshape_transform", "target_layers", "upsampler")
_SHARED = ("device", "method", "reduce_axes", "seed")


def explain(
    model: nn.Module, inputs: NDArray[Any] | Tensor, targets: Any, method: str = "", **kwargs: Any
) -> NDArray[Any]:
    """Explain a batch as `quantus.explain` does, with the methods of this package by name.

    `method` is EG, LPI, WeightedIG, SAMP, IDGI (or their full names), a CAM class of `captum_ext_integrations.grad_cam`
    ("GradCAM", ...; extra "grad-cam"), or any name that Quantus knows, which is handed to it.

    One set of `explain_func_kwargs` may serve several methods: each takes what it knows of `references`, the arguments
    of its constructor and of `attribute` (`n_steps`, `internal_batch_size`, ...), and for CAMs `target_layers` (modules
    or their names), `upsampler`, `reshape_transform`. A name that no method knows is refused, unless the method is
    Quantus's own.

    Args:
        model: a torch module; put into no other mode.
        inputs: (N, C, ...) or (N, F).
        targets: labels (N,).
        method: name of the method.
        kwargs: see above; and `seed` (of random points, for each sample alike: results do not depend on the batch),
            `device`, and `reduce_axes` as in Quantus: dimensions that are summed, by default the channels; () for none.

    Returns:
        An array (N, 1, ...), or (N, F) for tabular inputs.

    Raises:
        ArgumentError: an argument that no method knows, or a layer that the model does not have.

    Example:
        >>> import numpy as np, torch
        >>> from captum_ext_integrations.quantus_explain import explain
        >>> model = torch.nn.Linear(2, 3)
        >>> x = np.ones((4, 2), dtype=np.float32)
        >>> explain(model, x, np.zeros(4, dtype=int), method="SAMP", n_steps=2).shape
        (4, 2)
    """
    cams = _cam_classes()
    if method not in _METHODS and method not in cams:
        ours = _known_arguments() - set(_SHARED)
        quantus = require("quantus", "quantus")
        rest = {name: value for name, value in kwargs.items() if name not in ours and name != "seed"}
        return np.asarray(quantus.explain(model, inputs, targets, **rest, **({"method": method} if method else {})))
    unknown = sorted(set(kwargs) - _known_arguments())
    if unknown:
        raise ArgumentError("explain_func_kwargs", "arguments of a method, such as references or n_steps", str(unknown))
    x, y = _tensors(model, inputs, targets, kwargs.get("device"))
    if method in cams:
        attributions = _explain_by_cam(cams[method], model, x, y, kwargs)
    else:
        attributions = _explain_by_path(_METHODS[method], model, x, y, kwargs)
    return _reduced(attributions, kwargs.get("reduce_axes", (1,)))


def as_quantus_explain(
    method: Any, /, *, reduce_axes: tuple[int, ...] = (1,), **attribute_kwargs: Any
) -> Callable[..., Any]:
    """A configured attribution object as an `explain_func`, references and all.

    Args:
        method: an object with `forward_func` and `attribute`, of this package or of Captum. When Quantus passes
            another model than the object's (randomised, perturbed), a copy of the object explains that one.
        reduce_axes: dimensions that are summed, by default the channels; () for none.
        attribute_kwargs: for every call of `attribute`.

    Returns:
        A function (model, inputs, targets, **ignored) -> array.

    Example:
        >>> import numpy as np, torch
        >>> from captum_ext import SAMP
        >>> from captum_ext_integrations.quantus_explain import as_quantus_explain
        >>> model = torch.nn.Linear(2, 3)
        >>> explain = as_quantus_explain(SAMP(model), n_steps=2)
        >>> explain(model, np.ones((4, 2), dtype=np.float32), np.zeros(4, dtype=int), method="mine").shape
        (4, 2)
    """
    if not hasattr(method, "attribute") or not hasattr(method, "forward_func"):
        raise ArgumentTypeError("method", "an attribution object with `forward_func` and `attribute`", describe(method))

    def explain_func(model: nn.Module, inputs: Any, targets: Any, **ignored: Any) -> NDArray[Any]:
        x, y = _tensors(model, inputs, targets, ignored.get("device"))
        own = method
        if model is not method.forward_func:
            own = copy.copy(method)
            own.forward_func = model
            if getattr(own, "references", None) is not None:
                own.references = method.references  # what was fitted to them belongs to the other model
        return _reduced(own.attribute(x, target=y, **attribute_kwargs), reduce_axes)

    return explain_func


def _explain_by_path(kind: type[Any], model: nn.Module, x: Tensor, y: Tensor, kwargs: Mapping[str, Any]) -> Tensor:
    settings, arguments = _constructor(kind), _attribute(kind)
    explainer = kind(model, **{name: value for name, value in kwargs.items() if name in settings})
    chosen = {name: value for name, value in kwargs.items() if name in arguments}
    if "generator" in arguments:
        seed = kwargs.get("seed", 0)
        chosen.setdefault("generator", [torch.Generator().manual_seed(seed) for _ in range(len(x))])
    attributions: Tensor = explainer.attribute(x, target=y, **chosen)
    return attributions


def _explain_by_cam(kind: type[Any], model: nn.Module, x: Tensor, y: Tensor, kwargs: Mapping[str, Any]) -> Tensor:
    targets_module = require("pytorch_grad_cam.utils.model_targets", "grad-cam")
    layers = kwargs.get("target_layers")
    if not layers:
        raise ArgumentError("target_layers", "given for a CAM: modules of the model, or their names", describe(layers))
    found = [_layer(model, layer) for layer in layers]
    settings = {name: kwargs[name] for name in ("reshape_transform", "upsampler") if name in kwargs}
    modes = [(part, part.training) for part in model.modules()]
    try:
        with kind(model, found, **settings) as cam:
            maps = cam(x, targets=[targets_module.ClassifierOutputTarget(int(label)) for label in y])
    finally:
        for part, mode in modes:  # the host switches to eval mode for good
            part.training = mode
    return torch.as_tensor(maps)[:, None]


def _layer(model: nn.Module, layer: nn.Module | str) -> nn.Module:
    if isinstance(layer, nn.Module):
        return layer
    try:
        return model.get_submodule(layer)
    except AttributeError as error:
        raise ArgumentError("target_layers", "names of the model's modules", repr(layer)) from error


def _tensors(model: nn.Module, inputs: Any, targets: Any, device: str | None) -> tuple[Tensor, Tensor]:
    parameter = next((p for p in model.parameters() if p.is_floating_point()), torch.zeros(()))
    where = device or parameter.device
    return torch.as_tensor(inputs).to(where, parameter.dtype), torch.as_tensor(targets).to(where).long()


def _reduced(attributions: Tensor, axes: tuple[int, ...]) -> NDArray[Any]:
    array = attributions.detach().cpu().numpy()
    if not axes or array.ndim < 3:
        return array
    summed: NDArray[Any] = array.sum(axis=tuple(axes), keepdims=True)
    return summed


def _constructor(kind: type[Any]) -> set[str]:
    return set(inspect.signature(kind).parameters) - {"forward_func"}


def _attribute(kind: type[Any]) -> set[str]:
    names = set(inspect.signature(kind.attribute).parameters)
    return names - {"self", "inputs", "target", "return_convergence_delta", "return_path"}


def _known_arguments() -> set[str]:
    known = {*_SHARED, *_CAM_ARGUMENTS}
    for kind in set(_METHODS.values()):
        known |= _constructor(kind) | _attribute(kind)
    return known


def _cam_classes() -> dict[str, type[Any]]:
    """The CAM classes by name; none without grad-cam."""
    try:
        from captum_ext_integrations import grad_cam
    except ImportError:
        return {}
    return {name: getattr(grad_cam, name) for name in grad_cam.__all__}
