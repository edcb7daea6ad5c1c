"""How a batch is explained for Quantus by a class with `attribute`, or by a CAM."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from captum_ext.attr import METHODS, method_class
from captum_ext.attr.registry import method_settings
from captum_ext.core.checks import describe
from captum_ext.core.optional import require
from captum_ext.exceptions import ArgumentError


def is_ours(name: str) -> bool:
    """Whether `explain` explains by this name itself, and does not hand it to Quantus."""
    return name in METHODS or ":" in name or name in cam_classes()


def explain_batch(model: nn.Module, inputs: Any, targets: Any, method: str, given: dict[str, Any]) -> NDArray[Any]:
    """Explain by a method of this package, a caller's class or a CAM."""
    if given.get("xai_lib") not in (None, "captum"):
        expected = f'"captum" or left out for {method}, which no other library computes'
        raise ArgumentError("xai_lib", expected, repr(given["xai_lib"]))
    x, y = tensors_of(model, inputs, targets, given.get("device"))
    last = given.get("channel_first") is False and x.dim() > 2
    x = x.movedim(-1, 1) if last else x
    scored = _with_softmax(model, given.get("softmax"))
    cam = cam_classes().get(method)
    if cam is not None:
        attributions = _explain_by_cam(cam, model, scored, x, y, given)
    else:
        if "baseline" in given:
            given["baselines"] = _baselines(given, x, last)
        attributions = _explain_by_class(method, scored, x, y, given)
    attributions = attributions.movedim(1, -1) if last else attributions
    return reduced(attributions, given.get("reduce_axes", (-1,) if last else (1,)), given.get("keepdims", True))


def _with_softmax(model: nn.Module, softmax: bool | None) -> nn.Module:
    """The model with the softmax at its end that Quantus adds, or without the one that Quantus takes away."""
    if softmax is None:
        return model
    wrap = require("quantus.helpers.utils", "quantus").get_wrapped_model
    scored: nn.Module = wrap(model, channel_first=True, softmax=softmax).get_softmax_arg_model()
    return scored


def _baselines(given: Mapping[str, Any], x: Tensor, last: bool) -> Any:
    """Quantus's `baseline` as `baselines`."""
    if "baselines" in given:
        raise ArgumentError("baseline", "left out where `baselines` is given", "both")
    value = given["baseline"]
    value = torch.as_tensor(np.ascontiguousarray(value)) if isinstance(value, np.ndarray) else value
    return value.movedim(-1, 1) if last and isinstance(value, Tensor) and value.dim() == x.dim() else value


def _explain_by_class(method: str, model: nn.Module, x: Tensor, y: Tensor, given: Mapping[str, Any]) -> Tensor:
    kind = method_class(method)
    arguments = _attribute(kind)
    explainer = kind(model, **_settings(kind, method, given))
    chosen = {name: value for name, value in given.items() if name in arguments}
    if "generator" in arguments:
        seed = given.get("seed", 0)
        chosen.setdefault("generator", [torch.Generator().manual_seed(seed) for _ in range(len(x))])
    attributions: Tensor = explainer.attribute(x, target=y, **chosen)
    return attributions


def _settings(kind: type[Any], method: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of the constructor: what the name stands for, what was given, and `xai_lib_kwargs` over all."""
    known = _constructor(kind)
    if "layer" in known and given.get("layer") is None:
        known -= {"upsampler"}  # of CAMs, then
    settings = method_settings(method)
    if given.get("softmax") and "score" in known:
        settings["score"] = _as_it_is  # the model gives probabilities already
    settings.update({name: value for name, value in given.items() if name in known})
    more = given.get("xai_lib_kwargs") or {}
    unknown = sorted(set(more) - known)
    takes_any = any(one.kind is one.VAR_KEYWORD for one in inspect.signature(kind).parameters.values())
    if unknown and not takes_any:
        raise ArgumentError("xai_lib_kwargs", f"arguments of {kind.__name__}", ", ".join(unknown))
    return {**settings, **more}


def _as_it_is(outputs: Tensor) -> Tensor:
    return outputs


def _explain_by_cam(
    kind: type[Any], model: nn.Module, scored: nn.Module, x: Tensor, y: Tensor, given: Mapping[str, Any]
) -> Tensor:
    targets_module = require("pytorch_grad_cam.utils.model_targets", "grad-cam")
    names = given.get("target_layers")
    if names is None or (not isinstance(names, nn.Module) and len(names) == 0):
        raise ArgumentError("target_layers", "given for a CAM: modules of the model, or their names", describe(names))
    names = [names] if isinstance(names, str | nn.Module) else names
    # A softmax that was added stands around the model, whose layers keep their names; one is taken away in a copy.
    owner = model if any(model is part for part in scored.modules()) else scored
    layers = [_layer(owner, name) for name in names]
    settings = {name: given[name] for name in ("reshape_transform", "upsampler") if name in given}
    settings.update(given.get("xai_lib_kwargs") or {})
    modes, maps = [(part, part.training) for part in scored.modules()], None
    try:
        with kind(scored, layers, **settings) as cam:
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


def tensors_of(model: nn.Module, inputs: Any, targets: Any, device: str | None) -> tuple[Tensor, Tensor]:
    parameter = next((p for p in model.parameters() if p.is_floating_point()), torch.zeros(()))
    where = device or parameter.device
    arrays = (value if isinstance(value, Tensor) else np.ascontiguousarray(value) for value in (inputs, targets))
    x, y = (torch.as_tensor(value).to(where) for value in arrays)
    return x.to(parameter.dtype), y.long()


def reduced(attributions: Tensor, axes: tuple[int, ...], keepdims: bool = True) -> NDArray[Any]:
    array = attributions.detach().cpu().numpy()
    axes = tuple(axes)
    if not axes or array.ndim < 3:
        return array
    if any(axis % array.ndim == 0 or not -array.ndim <= axis < array.ndim for axis in axes):
        raise ArgumentError("reduce_axes", f"dimensions from 1 to {array.ndim - 1}, or counted from the end", str(axes))
    summed: NDArray[Any] = array.sum(axis=axes, keepdims=keepdims)
    return summed


def _constructor(kind: type[Any]) -> set[str]:
    """Names of the arguments of a constructor, of which the first is the model."""
    return set(list(inspect.signature(kind).parameters)[1:])


def _attribute(kind: type[Any]) -> set[str]:
    """Names of those arguments of `attribute` that change neither what is explained nor what is returned."""
    names = inspect.signature(kind.attribute).parameters
    return {name for name in names if not name.startswith("return_")} - {"self", "inputs", "target", "method"}


def cam_classes() -> dict[str, type[Any]]:
    """The CAM classes by name; none without grad-cam."""
    try:
        from captum_ext_integrations import grad_cam
    except ImportError:
        return {}
    return {name: getattr(grad_cam, name) for name in grad_cam.CAM_CLASSES}
