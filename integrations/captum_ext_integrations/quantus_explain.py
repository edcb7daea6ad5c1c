"""Explanations for Quantus: the methods of this package by name, and any other name by Quantus itself."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from captum_ext.attr import METHODS, method_class
from captum_ext.attr.paths.path_method import PathMethod
from captum_ext.attr.registry import method_settings
from captum_ext.core.checks import describe
from captum_ext.core.model_search import find_module
from captum_ext.core.optional import require
from captum_ext.exceptions import ArgumentError, ArgumentTypeError


class _NotGiven:
    """The default of an argument that has its meaning elsewhere: None may be a value of it."""

    def __repr__(self) -> str:
        return "<not given>"


_NOT_GIVEN: Any = _NotGiven()
_CALL = ("model", "inputs", "targets", "method")
# What `quantus.explain` reads, beside `method`; its own methods get these and no others.
_OF_QUANTUS = (
    "attributor",
    "attributor_kwargs",
    "baseline",
    "canonizer",
    "canonizer_kwargs",
    "channel_first",
    "composite",
    "composite_kwargs",
    "constant_value",
    "device",
    "gc_layer",
    "interpolate",
    "interpolate_mode",
    "keepdims",
    "n_steps",
    "noise",
    "num_samples",
    "reduce_axes",
    "return_shape",
    "softmax",
    "window",
    "xai_lib",
    "xai_lib_kwargs",
)


def explain(
    model: nn.Module,
    inputs: NDArray[Any] | Tensor,
    targets: Any,
    method: str = "",
    *,
    device: str | torch.device | None = _NOT_GIVEN,
    seed: int = _NOT_GIVEN,
    softmax: bool | None = _NOT_GIVEN,
    channel_first: bool | None = _NOT_GIVEN,
    reduce_axes: tuple[int, ...] = _NOT_GIVEN,
    keepdims: bool = _NOT_GIVEN,
    baseline: Any = _NOT_GIVEN,
    xai_lib: str = _NOT_GIVEN,
    xai_lib_kwargs: Mapping[str, Any] = _NOT_GIVEN,
    references: Any = _NOT_GIVEN,
    multiply_by_inputs: bool = _NOT_GIVEN,
    allow_batch_statistics: bool = _NOT_GIVEN,
    allow_other_model: bool | None = _NOT_GIVEN,
    alpha: float = _NOT_GIVEN,
    keep: float | None = _NOT_GIVEN,
    score: Any = _NOT_GIVEN,
    fill: Any = _NOT_GIVEN,
    ranking: str = _NOT_GIVEN,
    search: str = _NOT_GIVEN,
    rtol: float = _NOT_GIVEN,
    direction: str = _NOT_GIVEN,
    insertion_baselines: Any = _NOT_GIVEN,
    deletion_baselines: Any = _NOT_GIVEN,
    momentum: float = _NOT_GIVEN,
    step_bound: float | None = _NOT_GIVEN,
    credit: str = _NOT_GIVEN,
    pixels_in_step: int | None = _NOT_GIVEN,
    feature_mask: Any = _NOT_GIVEN,
    fraction: float = _NOT_GIVEN,
    max_dist: float = _NOT_GIVEN,
    max_sigma: float = _NOT_GIVEN,
    border: str = _NOT_GIVEN,
    derivative_step: float | None = _NOT_GIVEN,
    dims: int | None = _NOT_GIVEN,
    segmenter: Any = _NOT_GIVEN,
    algorithm: str = _NOT_GIVEN,
    min_pixels: int | None = _NOT_GIVEN,
    area: float = _NOT_GIVEN,
    grid: int = _NOT_GIVEN,
    probability: float = _NOT_GIVEN,
    n_false_classes: int = _NOT_GIVEN,
    false_classes: Any = _NOT_GIVEN,
    step_size: Any = _NOT_GIVEN,
    bounds: Any = _NOT_GIVEN,
    steps_from: str = _NOT_GIVEN,
    n_samples: int = _NOT_GIVEN,
    layer: Any = _NOT_GIVEN,
    contrastive: bool = _NOT_GIVEN,
    baselines: Any = _NOT_GIVEN,
    additional_forward_args: Any = _NOT_GIVEN,
    n_steps: int = _NOT_GIVEN,
    internal_batch_size: int | None = _NOT_GIVEN,
    generator: Any = _NOT_GIVEN,
    tol: float | None = _NOT_GIVEN,
    tol_map: float | None = _NOT_GIVEN,
    show_progress: bool = _NOT_GIVEN,
    target_layers: Any = _NOT_GIVEN,
    upsampler: Any = _NOT_GIVEN,
    reshape_transform: Any = _NOT_GIVEN,
    gc_layer: Any = _NOT_GIVEN,
    interpolate: Any = _NOT_GIVEN,
    interpolate_mode: str = _NOT_GIVEN,
    window: Any = _NOT_GIVEN,
    constant_value: Any = _NOT_GIVEN,
    return_shape: Any = _NOT_GIVEN,
    num_samples: int = _NOT_GIVEN,
    noise: float = _NOT_GIVEN,
    attributor: Any = _NOT_GIVEN,
    attributor_kwargs: Mapping[str, Any] = _NOT_GIVEN,
    composite: Any = _NOT_GIVEN,
    composite_kwargs: Mapping[str, Any] = _NOT_GIVEN,
    canonizer: Any = _NOT_GIVEN,
    canonizer_kwargs: Mapping[str, Any] = _NOT_GIVEN,
) -> NDArray[Any]:
    """Explain a batch as `quantus.explain` does, with the methods of this package by name.

    One set of `explain_func_kwargs` may serve several methods: each takes those arguments below that it knows, and
    leaves the others. Quantus's methods get what `quantus.explain` reads, and no other argument. Settings that differ
    from method to method go through `quantus_methods`. In `xai_methods` a method stands as `{"LPI": explain}`:
    `{"LPI": {"n_steps": 5}}` would never come here, but score the plain gradient that is Quantus's default (see
    `quantus_methods`, which makes what was meant).

    Args:
        model: a torch module; put into no other mode.
        inputs: (N, C, ...) or (N, F).
        targets: labels (N,).
        method: any name of `captum_ext.attr.METHODS` (EG, LPI, WeightedIG, SAMP, IDGI, IntegratedGradients, ...;
            the last is this package's, which heeds `n_steps` and baselines; Quantus's has ten steps whatever one asks
            for); MODULE:CLASS of a class with `attribute`, made as CLASS(model); a CAM class of
            `captum_ext_integrations.grad_cam` ("GradCAM", ...; extra "grad-cam"); or any name that Quantus knows,
            which is handed to it.
        device: where inputs and labels are put; else where the model is.
        seed: of random points, for each sample alike: results do not depend on the batch. 0 unless given.
        softmax: True explains the softmax of the outputs, which Quantus appends to a model that does not end in one;
            False the outputs before it, without the softmax in which a model ends; else the model as it is explained.
            References that are fitted have to be fitted to outputs of the same kind; with True WeightedIG and
            AGI take probabilities as they are unless `score` is given.
        channel_first: False: inputs (N, ..., C), and `baseline` with them; the model still gets channels first, and the
            explanation has the layout of the inputs. Nothing is inferred from shapes.
        reduce_axes: dimensions of the explanation that are summed, as in Quantus: the channels unless given; () for
            none. Explanations of tabular inputs are not summed.
        keepdims: False drops these dimensions.
        baseline: Quantus's name of `baselines`: a number, an array or a tensor.
        xai_lib: "captum"; another library computes none of this package's methods, and is refused for them.
        xai_lib_kwargs: arguments of the method's constructor, as in Quantus: also those of MODULE:CLASS, or of a CAM,
            that are not listed here. They win over those that are.
        references: of EG, LPI, WeightedIG.
        multiply_by_inputs: of path methods.
        allow_batch_statistics: of path methods.
        allow_other_model: of LPI.
        alpha: of WeightedIG.
        keep: of WeightedIG.
        score: of WeightedIG and AGI.
        fill: of WeightedIG.
        ranking: of WeightedIG.
        search: of WeightedIG.
        rtol: of WeightedIG.
        direction: of SAMP.
        insertion_baselines: of SAMP.
        deletion_baselines: of SAMP.
        momentum: of SAMP.
        step_bound: of SAMP.
        credit: of SAMP.
        pixels_in_step: of SAMP.
        feature_mask: of SAMP.
        fraction: of GuidedIG.
        max_dist: of GuidedIG.
        max_sigma: of BlurIG.
        border: of BlurIG.
        derivative_step: of BlurIG.
        dims: of BlurIG and RISE.
        segmenter: of XRAI.
        algorithm: of XRAI.
        min_pixels: of XRAI.
        area: of XRAI.
        grid: of RISE.
        probability: of RISE.
        n_false_classes: of AGI.
        false_classes: of AGI.
        step_size: of AGI.
        bounds: of AGI.
        steps_from: of AGI.
        n_samples: of RISE.
        layer: of ExcitationBackprop: the name of a module, with an `upsampler`, whose maps have the size of the images.
        contrastive: of ExcitationBackprop.
        baselines: of `attribute`; they replace references.
        additional_forward_args: of `attribute`.
        n_steps: of `attribute`.
        internal_batch_size: of `attribute`.
        generator: of `attribute`; instead of `seed`.
        tol: of `attribute`, whose rule of integration cannot be chosen here, since `method` is the method's name: see
            `as_quantus_explain`.
        tol_map: of `attribute`: stop when the largest attributions are settled.
        show_progress: of `attribute`.
        target_layers: of CAMs: modules of the model, or their names.
        upsampler: of CAMs and ExcitationBackprop.
        reshape_transform: of CAMs.
        gc_layer: Quantus's, as are all that follow.
        interpolate: Quantus's.
        interpolate_mode: Quantus's.
        window: Quantus's.
        constant_value: Quantus's.
        return_shape: Quantus's.
        num_samples: Quantus's.
        noise: Quantus's.
        attributor: Quantus's.
        attributor_kwargs: Quantus's.
        composite: Quantus's.
        composite_kwargs: Quantus's.
        canonizer: Quantus's.
        canonizer_kwargs: Quantus's.

    Returns:
        An array (N, 1, ...), or (N, F) for tabular inputs.

    Raises:
        ArgumentError: a name that nobody knows, an argument that the method cannot use, or a layer that the model does
            not have.

    Example:
        >>> import numpy as np, torch
        >>> from captum_ext_integrations.quantus_explain import explain
        >>> model = torch.nn.Linear(2, 3)
        >>> x = np.ones((4, 2), dtype=np.float32)
        >>> explain(model, x, np.zeros(4, dtype=int), method="SAMP", n_steps=2).shape
        (4, 2)
    """
    arguments = locals()  # first of all, while it holds the arguments and nothing else
    given = {name: value for name, value in arguments.items() if value is not _NOT_GIVEN and name not in _CALL}
    if is_ours(method):
        return _explain(model, inputs, targets, method, given)
    quantus = require("quantus", "quantus")
    known = {name: value for name, value in given.items() if name in _OF_QUANTUS}
    try:
        return np.asarray(quantus.explain(model, inputs, targets, **known, **({"method": method} if method else {})))
    except KeyError as error:
        if "not in the list of supported" not in str(error):
            raise
        raise ArgumentError("method", _known_names(method), repr(method)) from error


def _known_names(method: str) -> str:
    """The names that `explain` knows, those that resemble `method` first."""
    ours = [*METHODS, *_cam_classes()]
    lower = {name.lower(): name for name in ours}
    close = [lower[name] for name in get_close_matches(str(method).lower(), lower, n=3, cutoff=0.6)]
    meant = f" (did you mean {', '.join(close)}?)" if close else ""
    return f"one of {', '.join(ours)}, MODULE:CLASS, or a name of Quantus's own{meant}"


def quantus_methods(methods: Mapping[str, Any]) -> dict[str, Any]:
    """Methods that differ in their settings, as `xai_methods` of `quantus.evaluate` beside `explain_func_kwargs={}`.

    `quantus.evaluate` takes a dictionary of settings for those of `quantus.explain`, and does not read the name that
    stands before it: `{"LPI": {"n_steps": 5}}` scores plain gradients under the name LPI (as does `{"Saliency": {}}`),
    and its settings become those of the methods after it. Neither happens to what this function returns. Metrics of
    this package refuse such gradients where they see them under the name of a method of this package; Quantus's do not.

    Args:
        methods: by the name that stands in the results: arguments of `explain`, of which `method` names the method
            where the key does not; or what `quantus.evaluate` takes besides, functions and arrays, which stay as they
            are.

    Returns:
        Functions and arrays by name. Settings win over `explain_func_kwargs`, which all methods share.

    Raises:
        ArgumentError: settings that `explain` does not have.
        ArgumentTypeError: neither settings nor a function nor an array.

    Example:
        >>> import numpy as np, quantus, torch
        >>> from captum_ext_integrations.quantus_metrics import Deletion, quantus_methods
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2)).eval()
        >>> _ = torch.nn.init.ones_(model[1].weight)
        >>> x = np.arange(8, dtype=np.float32).reshape(2, 1, 2, 2)
        >>> results = quantus.evaluate(
        ...     {"Deletion": Deletion()},
        ...     quantus_methods({"IDGI": {"n_steps": 5}, "EG, few": {"method": "EG", "n_steps": 2, "baselines": 0}}),
        ...     model, x, np.array([0, 1]), explain_func_kwargs={},
        ... )
        >>> list(results)
        ['IDGI', 'EG, few']
    """
    return {name: _configured(name, value) for name, value in methods.items()}


def _configured(name: str, value: Any) -> Any:
    if callable(value) or isinstance(value, np.ndarray):
        return value
    if not isinstance(value, Mapping):
        raise ArgumentTypeError(f"methods[{name!r}]", "settings, a function or an array", describe(value))
    settings = {"method": name, **value}
    unknown = sorted(set(settings) - (set(inspect.signature(explain).parameters) - {"model", "inputs", "targets"}))
    if unknown:
        raise ArgumentError(f"methods[{name!r}]", "arguments of `explain`", ", ".join(unknown))

    def explain_func(model: nn.Module, inputs: Any, targets: Any, **shared: Any) -> NDArray[Any]:
        return explain(model, inputs, targets, **{**shared, **settings})

    return explain_func


def as_quantus_explain(
    method: Any, *, reduce_axes: tuple[int, ...] = (1,), attribute_kwargs: Mapping[str, Any] | None = None
) -> Callable[..., Any]:
    """A configured attribution object as an `explain_func`, references and all.

    Args:
        method: an object with `attribute`, of this package or of Captum; or a function from a model to such an object.
            When Quantus passes another model than the object's (randomised, perturbed), a copy of one of this package's
            methods explains that one; Captum's methods hold layers and hooks of their model, and wrapped forward
            functions hide it, so for them that is an error: give a function.
        reduce_axes: dimensions that are summed, by default the channels; () for none.
        attribute_kwargs: for every call of `attribute`, such as `{"n_steps": 20, "method": "gausslegendre"}`.

    Returns:
        A function (model, inputs, targets, **ignored) -> array. It raises ArgumentError for a model that the object
        cannot explain.

    Example:
        >>> import numpy as np, torch
        >>> from captum_ext import SAMP
        >>> from captum_ext_integrations.quantus_explain import as_quantus_explain
        >>> model = torch.nn.Linear(2, 3)
        >>> explain = as_quantus_explain(SAMP(model), attribute_kwargs={"n_steps": 2})
        >>> explain(model, np.ones((4, 2), dtype=np.float32), np.zeros(4, dtype=int), method="mine").shape
        (4, 2)
    """
    is_object = hasattr(method, "attribute") and hasattr(method, "forward_func")
    if not is_object and not callable(method):
        raise ArgumentTypeError("method", "an attribution object, or a function that makes one", describe(method))
    chosen = dict(attribute_kwargs or {})
    seen: list[nn.Module] = []

    def explain_func(model: nn.Module, inputs: Any, targets: Any, **ignored: Any) -> NDArray[Any]:
        x, y = _tensors(model, inputs, targets, ignored.get("device"))
        explainer = _for_model(method, model, seen) if is_object else method(model)
        return _reduced(explainer.attribute(x, target=y, **chosen), reduce_axes)

    return explain_func


def is_ours(name: str) -> bool:
    """Whether `explain` explains by this name itself, and does not hand it to Quantus."""
    return name in METHODS or ":" in name or name in _cam_classes()


def _for_model(method: Any, model: nn.Module, seen: list[nn.Module]) -> Any:
    """The object itself for its model, a copy for another one; `seen` holds the first model that was passed."""
    explained = find_module(method.forward_func)
    if explained is None:  # hidden in a function: the first model that Quantus passes is taken for it
        seen.extend([] if seen else [model])
        explained = seen[0]
    if model is explained:
        return method
    if not isinstance(method, PathMethod) or not isinstance(method.forward_func, nn.Module):
        expected = "a function from a model to a method, since Quantus passes another model than the object's"
        raise ArgumentError("method", expected, f"a {type(method).__name__} of one model")
    other = copy.copy(method)
    other.forward_func = model
    if getattr(other, "references", None) is not None:
        other.references = method.references  # what was fitted to them belongs to the other model
    return other


def _explain(model: nn.Module, inputs: Any, targets: Any, method: str, given: dict[str, Any]) -> NDArray[Any]:
    """Explain by a method of this package, a caller's class or a CAM."""
    if given.get("xai_lib") not in (None, "captum"):
        expected = f'"captum" or left out for {method}, which no other library computes'
        raise ArgumentError("xai_lib", expected, repr(given["xai_lib"]))
    x, y = _tensors(model, inputs, targets, given.get("device"))
    last = given.get("channel_first") is False and x.dim() > 2
    x = x.movedim(-1, 1) if last else x
    scored = _with_softmax(model, given.get("softmax"))
    cam = _cam_classes().get(method)
    if cam is not None:
        attributions = _explain_by_cam(cam, model, scored, x, y, given)
    else:
        if "baseline" in given:
            given["baselines"] = _baselines(given, x, last)
        attributions = _explain_by_class(method, scored, x, y, given)
    attributions = attributions.movedim(1, -1) if last else attributions
    return _reduced(attributions, given.get("reduce_axes", (-1,) if last else (1,)), given.get("keepdims", True))


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


def _tensors(model: nn.Module, inputs: Any, targets: Any, device: str | None) -> tuple[Tensor, Tensor]:
    parameter = next((p for p in model.parameters() if p.is_floating_point()), torch.zeros(()))
    where = device or parameter.device
    arrays = (value if isinstance(value, Tensor) else np.ascontiguousarray(value) for value in (inputs, targets))
    x, y = (torch.as_tensor(value).to(where) for value in arrays)
    return x.to(parameter.dtype), y.long()


def _reduced(attributions: Tensor, axes: tuple[int, ...], keepdims: bool = True) -> NDArray[Any]:
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


def _cam_classes() -> dict[str, type[Any]]:
    """The CAM classes by name; none without grad-cam."""
    try:
        from captum_ext_integrations import grad_cam
    except ImportError:
        return {}
    return {name: getattr(grad_cam, name) for name in grad_cam.CAM_CLASSES}
