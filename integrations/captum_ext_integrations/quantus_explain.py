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

from captum_ext.attr import METHODS
from captum_ext.attr.paths.path_method import PathMethod
from captum_ext.core.checks import describe
from captum_ext.core.model_search import find_module
from captum_ext.core.optional import require
from captum_ext.exceptions import ArgumentError, ArgumentTypeError
from captum_ext_integrations._quantus_explaining import cam_classes, explain_batch, is_ours, reduced, tensors_of


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
        return explain_batch(model, inputs, targets, method, given)
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
    ours = [*METHODS, *cam_classes()]
    lower = {name.lower(): name for name in ours}
    close = [lower[name] for name in get_close_matches(str(method).lower(), lower, n=3, cutoff=0.6)]
    meant = f" (did you mean {', '.join(close)}?)" if close else ""
    cams = "" if cam_classes() else " a CAM class (pip install 'captum-ext[grad-cam]'),"
    return f"one of {', '.join(ours)}, MODULE:CLASS,{cams} or a name of Quantus's own{meant}"


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
        x, y = tensors_of(model, inputs, targets, ignored.get("device"))
        explainer = _for_model(method, model, seen) if is_object else method(model)
        return reduced(explainer.attribute(x, target=y, **chosen), reduce_axes)

    return explain_func


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
