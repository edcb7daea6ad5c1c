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
from captum_ext.attr.paths.path_method import PathMethod
from captum_ext.core.checks import describe
from captum_ext.core.model import find_module
from captum_ext.core.optional import require
from captum_ext.exceptions import ArgumentError, ArgumentTypeError

_METHODS: Mapping[str, type[Any]] = {
    "EG": captum_ext.attr.ExpectedGradients,
    "ExpectedGradients": captum_ext.attr.ExpectedGradients,
    "IDGI": captum_ext.attr.ImportantDirectionIG,
    "ImportantDirectionIG": captum_ext.attr.ImportantDirectionIG,
    "IntegratedGradients": captum_ext.attr.IntegratedGradients,
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

    `method` is EG, LPI, WeightedIG, SAMP, IDGI (or their full names), IntegratedGradients (this package's, which heeds
    `n_steps` and `baselines`; Quantus's has ten steps from zero whatever one asks for), a CAM class of
    `captum_ext_integrations.grad_cam` ("GradCAM", ...; extra "grad-cam"), or any name that Quantus knows, which is
    handed to it.

    One set of `explain_func_kwargs` may serve several methods: each takes what it knows of `references`, the arguments
    of its constructor and of `attribute` (`n_steps`, `internal_batch_size`, ...), and for CAMs `target_layers` (names
    of modules, or modules), `upsampler`, `reshape_transform`. A name that no method knows is refused. Quantus's own
    methods get none of these, only what is left.

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
        method: an object with `attribute`, of this package or of Captum; or a function from a model to such an object.
            When Quantus passes another model than the object's (randomised, perturbed), a copy of one of this package's
            methods explains that one; Captum's own hold layers and hooks of their model, and wrapped forward functions
            hide it, so for them that is an error: give a function.
        reduce_axes: dimensions that are summed, by default the channels; () for none.
        attribute_kwargs: for every call of `attribute`.

    Returns:
        A function (model, inputs, targets, **ignored) -> array. It raises ArgumentError for a model that the object
        cannot explain.

    Example:
        >>> import numpy as np, torch
        >>> from captum_ext import SAMP
        >>> from captum_ext_integrations.quantus_explain import as_quantus_explain
        >>> model = torch.nn.Linear(2, 3)
        >>> explain = as_quantus_explain(SAMP(model), n_steps=2)
        >>> explain(model, np.ones((4, 2), dtype=np.float32), np.zeros(4, dtype=int), method="mine").shape
        (4, 2)
    """
    is_object = hasattr(method, "attribute") and hasattr(method, "forward_func")
    if not is_object and not callable(method):
        raise ArgumentTypeError("method", "an attribution object, or a function that makes one", describe(method))
    seen: list[nn.Module] = []

    def explain_func(model: nn.Module, inputs: Any, targets: Any, **ignored: Any) -> NDArray[Any]:
        x, y = _tensors(model, inputs, targets, ignored.get("device"))
        own = _for_model(method, model, seen) if is_object else method(model)
        return _reduced(own.attribute(x, target=y, **attribute_kwargs), reduce_axes)

    return explain_func


def _for_model(method: Any, model: nn.Module, seen: list[nn.Module]) -> Any:
    """The object itself for its own model, a copy for another one; `seen` holds the first model that was passed."""
    own_model = find_module(method.forward_func)
    if own_model is None:  # hidden in a function: the first model that Quantus passes is taken for it
        seen.extend([] if seen else [model])
        own_model = seen[0]
    if model is own_model:
        return method
    if not isinstance(method, PathMethod) or not isinstance(method.forward_func, nn.Module):
        expected = "a function from a model to a method, since Quantus passes another model than the object's"
        raise ArgumentError("method", expected, f"a {type(method).__name__} of its own model")
    other = copy.copy(method)
    other.forward_func = model
    if getattr(other, "references", None) is not None:
        other.references = method.references  # what was fitted to them belongs to the other model
    return other


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
    if layers is None or (not isinstance(layers, nn.Module) and len(layers) == 0):
        raise ArgumentError("target_layers", "given for a CAM: modules of the model, or their names", describe(layers))
    layers = [layers] if isinstance(layers, str | nn.Module) else layers
    found = [_layer(model, layer) for layer in layers]
    settings = {name: kwargs[name] for name in ("reshape_transform", "upsampler") if name in kwargs}
    modes, maps = [(part, part.training) for part in model.modules()], None
    try:
        with kind(model, found, **settings) as cam:
            maps = cam(x, targets=[targets_module.ClassifierOutputTarget(int(label)) for label in y])
    finally:
        for part, mode in modes:  # the host switches to eval mode for good
            part.training = mode
    if maps is None:  # the host swallows an IndexError
        raise ArgumentError("targets", "labels within the model's outputs", f"labels up to {int(y.max())}")
    return torch.as_tensor(maps)[:, None]


def _layer(model: nn.Module, layer: nn.Module | str) -> nn.Module:
    if isinstance(layer, nn.Module):
        if all(layer is not part for part in model.modules()):
            expected = "names of modules, where Quantus passes a copy of the model"
            raise ArgumentError("target_layers", expected, f"a {type(layer).__name__} that is not in the model")
        return layer
    try:
        return model.get_submodule(layer)
    except AttributeError as error:
        raise ArgumentError("target_layers", "names of the model's modules", repr(layer)) from error


def _tensors(model: nn.Module, inputs: Any, targets: Any, device: str | None) -> tuple[Tensor, Tensor]:
    parameter = next((p for p in model.parameters() if p.is_floating_point()), torch.zeros(()))
    where = device or parameter.device
    arrays = (value if isinstance(value, Tensor) else np.ascontiguousarray(value) for value in (inputs, targets))
    x, y = (torch.as_tensor(value).to(where) for value in arrays)
    return x.to(parameter.dtype), y.long()


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
