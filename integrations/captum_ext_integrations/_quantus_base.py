"""What the metrics for Quantus share: its interface on one side, tensors on the model's device on the other."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from captum_ext.core.checks import check_choice, describe
from captum_ext.core.optional import require
from captum_ext.core.types import Baselines
from captum_ext.exceptions import ArgumentError, ArgumentTypeError
from captum_ext.images import Blur
from captum_ext.metrics import PerturbationCurve
from captum_ext.visualize import Caption
from captum_ext.visualize.lines import draw_curves
from captum_ext.visualize.looks import write_around
from captum_ext_integrations._quantus_explaining import is_ours

_quantus: Any = require("quantus", "quantus")
_base: Any = require("quantus.metrics.base", "quantus")
_utils: Any = require("quantus.helpers.utils", "quantus")
enums: Any = require("quantus.helpers.enums", "quantus")
_Metric: Any = _base.Metric
_ANY_DATA = {enums.DataType.IMAGE, enums.DataType.TIMESERIES, enums.DataType.TABULAR}

Forward = Callable[[Tensor], Tensor]
# What the constructors here list and hand on: the arguments of every Quantus metric, and those of every curve.
_OF_METRICS = (
    "abs",
    "normalise",
    "normalise_func",
    "normalise_func_kwargs",
    "return_aggregate",
    "aggregate_func",
    "default_plot_func",
    "disable_warnings",
    "display_progressbar",
)
_OF_CURVES = ("baselines", "score_scale", "return_auc_per_sample", "seed")


def of_metrics(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Those of a constructor's arguments, its `locals()`, that every Quantus metric has."""
    return {name: arguments[name] for name in _OF_METRICS}


def of_curves(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Those that every `CurveMetric` has."""
    return {name: arguments[name] for name in (*_OF_CURVES, *_OF_METRICS)}


class TorchMetric(_Metric):  # type: ignore[misc]
    """A Quantus metric that scores tensors: a subclass says how in `score`.

    Arguments after those of the subclass are those of every Quantus metric. `normalise` is off by default: Quantus
    divides by the maximum of the whole batch, so that a sample's numbers would depend on its neighbours; no metric here
    needs it.

    Args:
        abs: take absolute values of the attributions first.
        normalise: let Quantus scale the attributions first.
        normalise_func: by which function; None: Quantus's, by the largest value of the batch.
        normalise_func_kwargs: its keywords.
        return_aggregate: one number for the batch.
        aggregate_func: of the samples' scores; None: their mean, without those that are not defined.
        default_plot_func: draws the scores, where Quantus is asked to plot.
        disable_warnings: of Quantus.
        display_progressbar: of Quantus.

    Example:
        >>> import numpy as np
        >>> import torch
        >>> from captum_ext_integrations.quantus_metrics import TorchMetric
        >>> class Largest(TorchMetric):
        ...     name = "Largest"
        ...     def score(self, forward, x, a, y, s):
        ...         return a.flatten(1).amax(1)
        >>> x = np.ones((2, 1, 2, 2), dtype=np.float32)
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
        >>> [float(one) for one in Largest(disable_warnings=True)(model, x, np.array([0, 1]), 3 * x)]
        [3.0, 3.0]
    """

    model_applicability: ClassVar[Any] = {enums.ModelType.TORCH}
    data_applicability: ClassVar[Any] = _ANY_DATA
    evaluation_category: ClassVar[Any] = enums.EvaluationCategory.FAITHFULNESS
    softmax: ClassVar[bool] = False

    def __init__(
        self,
        abs: bool = False,  # noqa: A002 (Quantus's name)
        normalise: bool = False,
        normalise_func: Callable[..., Any] | None = None,
        normalise_func_kwargs: dict[str, Any] | None = None,
        return_aggregate: bool = False,
        aggregate_func: Callable[..., Any] | None = None,
        default_plot_func: Callable[..., Any] | None = None,
        disable_warnings: bool = False,
        display_progressbar: bool = False,
    ) -> None:
        """Arguments of every Quantus metric. There are no others."""
        super().__init__(**{**of_metrics(locals()), "aggregate_func": aggregate_func or np.nanmean})

    def __call__(
        self,
        model: nn.Module,
        x_batch: NDArray[Any],
        y_batch: NDArray[Any],
        a_batch: NDArray[Any] | Tensor | None = None,
        s_batch: NDArray[Any] | None = None,
        channel_first: bool | None = None,
        explain_func: Callable[..., Any] | None = None,
        explain_func_kwargs: dict[str, Any] | None = None,
        model_predict_kwargs: dict[str, Any] | None = None,
        softmax: bool | None = None,
        device: str | None = None,
        batch_size: int = 64,
    ) -> list[Any]:
        """Score explanations, given or computed by `explain_func`; arguments as for every Quantus metric.

        `softmax=True` scores probabilities, False logits; None what the metric's class attribute `softmax` says.

        Raises:
            ArgumentError: plain gradients under the name of another method, as `quantus.evaluate` gives them for
                `{"LPI": {"n_steps": 5}}`; arrays that do not fit.
            ArgumentTypeError: something else than arrays.
        """
        if isinstance(a_batch, Tensor):
            a_batch = a_batch.detach().cpu().to(torch.promote_types(a_batch.dtype, torch.float32)).numpy()
        _check_arrays(x_batch, a_batch)
        y_batch = _labels(y_batch, len(x_batch))
        _check_method(model, x_batch, y_batch, a_batch, explain_func, explain_func_kwargs, device)
        given = None if a_batch is None else self._prepared(a_batch, x_batch)
        scores: list[Any] = super().__call__(
            model=model,
            x_batch=x_batch,
            y_batch=y_batch,
            a_batch=None,
            s_batch=s_batch,
            custom_batch=given,
            channel_first=channel_first,
            explain_func=explain_func if given is None else _given,
            explain_func_kwargs=explain_func_kwargs,
            model_predict_kwargs=model_predict_kwargs,
            softmax=self.softmax if softmax is None else softmax,
            device=device,
            batch_size=batch_size,
        )
        return scores

    def batch_preprocess(self, data_batch: dict[str, Any]) -> dict[str, Any]:
        """Put a batch's maps in place, computing them where none were given.

        Quantus does so with assertions that maps may not be constant or negative throughout: one sample would stop the
        run, or be scored, depending on the batch that it is in. Given maps therefore pass as its `custom_batch`.
        """
        maps = data_batch.pop("custom_batch", None)
        if maps is None:
            model, x = data_batch["model"], data_batch["x_batch"]
            x = model.shape_input(x, x.shape, channel_first=True, batched=True)
            maps = self.explain_func(
                model=model.get_model(), inputs=x, targets=data_batch["y_batch"], **self.explain_func_kwargs
            )
            maps = self._prepared(np.asarray(maps), x)
        data_batch["a_batch"] = maps
        return dict(super().batch_preprocess(data_batch))

    def _prepared(self, maps: NDArray[Any], x: NDArray[Any]) -> NDArray[Any]:
        """Maps with a dimension for channels, normalised and made absolute as configured."""
        expanded = _utils.expand_attribution_channel(maps, x)
        expanded = self.normalise_func(expanded) if self.normalise else expanded
        return np.abs(expanded) if self.abs else np.asarray(expanded)

    def evaluate_batch(
        self,
        model: Any,
        x_batch: NDArray[Any],
        y_batch: NDArray[Any],
        a_batch: NDArray[Any],
        s_batch: NDArray[Any] | None = None,
    ) -> list[Any]:
        """Scores of a batch, one item for each sample: a number, or a list for a curve."""
        shaped = model.shape_input(x_batch, x_batch.shape, channel_first=True, batched=True)  # refuses channels last
        with evaluation_mode(_module_of(model)):
            forward, like = _forward(model)  # in here: the host copies models whose softmax it removes
            x = torch.as_tensor(np.ascontiguousarray(shaped)).to(like.device, like.dtype)
            a = torch.as_tensor(np.ascontiguousarray(a_batch)).to(like.device)
            y = torch.as_tensor(y_batch).to(like.device).long()
            s = None if s_batch is None else torch.as_tensor(np.ascontiguousarray(s_batch)).to(like.device)
            if x.dim() == 3 and a.shape[1] == 1 < x.shape[1]:  # a time step with all its channels is a pixel
                inner = forward
                forward, x, a = (lambda points: inner(points.squeeze(2))), x.unsqueeze(2), a.unsqueeze(2)
            scores = self.score(forward, x, a, y, s)
        return list(scores.detach().cpu().double().tolist())

    def score(self, forward: Forward, x: Tensor, a: Tensor, y: Tensor, s: Tensor | None) -> Tensor:
        """Scores (N,) or curves (N, S) of maps.

        Args:
            forward: the model, with softmax where the class says so: inputs to outputs (N, K).
            x: inputs (N, ...), on the model's device.
            a: their maps, (N, C, ...) or (N, 1, ...).
            y: labels (N,).
            s: segmentations (N, 1, H, W) where they were given.
        """
        raise NotImplementedError


def _given(**_: Any) -> None:
    """What stands for `explain_func` where maps are given: never called, but Quantus wants a function."""


class CurveMetric(TorchMetric):
    """Areas under curves, or the curves themselves: a subclass says which in `curve`.

    Args:
        baselines: what stands where pixels are missing: a number, a tensor, "blur", "rise", an
            `captum_ext.images.Blur`, "corners", "mean" or "overall-mean".
        score_scale: "none", "input" (scores are divided by that of the input) or "range" (SAMP's appendix).
        return_auc_per_sample: the area under each curve rather than the curve.
        seed: of the order of pixels with equal importance.
        default_plot_func: None for `plot_curves`.
        abs: take absolute values of the attributions first.
    """

    def __init__(
        self,
        baselines: Baselines | str | Blur = None,
        score_scale: str = "none",
        return_auc_per_sample: bool = True,
        seed: int = 0,
        default_plot_func: Callable[..., Any] | None = None,
        *,
        abs: bool = False,  # noqa: A002 (Quantus's name)
        normalise: bool = False,
        normalise_func: Callable[..., Any] | None = None,
        normalise_func_kwargs: dict[str, Any] | None = None,
        return_aggregate: bool = False,
        aggregate_func: Callable[..., Any] | None = None,
        disable_warnings: bool = False,
        display_progressbar: bool = False,
    ) -> None:
        """Arguments are described in the class. There are no others."""
        super().__init__(**{**of_metrics(locals()), "default_plot_func": default_plot_func or plot_curves})
        check_choice("score_scale", score_scale, ("none", "input", "range"))
        self.baselines, self.score_scale, self.seed = baselines, score_scale, seed
        self.return_auc_per_sample = return_auc_per_sample

    def score(self, forward: Forward, x: Tensor, a: Tensor, y: Tensor, s: Tensor | None) -> Tensor:  # noqa: ARG002
        """Areas (N,) or curves (N, S)."""
        curve = self.curve(forward, x, a, y)
        if self.return_auc_per_sample:
            return torch.where(curve.valid, curve.auc, torch.nan)
        return torch.where(curve.valid[:, None], curve.scores, torch.nan)

    def fill(self, x: Tensor) -> Baselines | str | Blur:
        """The baselines as `x` has its dimensions: time steps that are pixels have one more."""
        given = self.baselines
        if isinstance(given, Tensor) and x.dim() == 4 and given.dim() == 3:
            return given.unsqueeze(2)
        return given

    def curve(self, forward: Forward, x: Tensor, a: Tensor, y: Tensor) -> PerturbationCurve:
        """The curves of maps `a` of inputs `x` with labels `y`."""
        raise NotImplementedError


def plot_curves(y_batch: Any = None, scores: Any = None) -> Any:  # noqa: ARG001 (Quantus's signature)
    """Plot the mean of the curves of a metric made with `return_auc_per_sample=False`; returns the figure.

    The figure is a new one and pyplot's current one, as those of Quantus's own functions: `Metric.plot` saves and
    shows it, what was open before is left as it is, and `pyplot.close(figure)` ends it.

    Args:
        y_batch: the labels, which Quantus hands on; not looked at.
        scores: curves (N, S).

    Raises:
        ArgumentError: scores that are areas, not curves.

    Example:
        >>> from matplotlib import pyplot
        >>> from captum_ext_integrations.quantus_metrics import plot_curves
        >>> figure = plot_curves(scores=[[1.0, 0.5, 0.0], [1.0, 0.2, 0.1]])
        >>> len(figure.gca().lines)
        3
        >>> pyplot.close(figure)
    """
    curves = np.asarray(scores, dtype=float)
    if curves.ndim != 2:
        raise ArgumentError("scores", "curves (N, S), from return_auc_per_sample=False", f"shape {curves.shape}")
    figure = require("matplotlib.pyplot", "quantus").figure(layout="constrained")
    shares = np.linspace(0, 1, curves.shape[1])
    said = draw_curves(
        figure.gca(), {"mean": (shares, curves)}, "points of the curve, first to last", "score", rows=True
    )
    return write_around(figure, Caption(), said)


@contextmanager
def evaluation_mode(module: nn.Module) -> Iterator[None]:
    """Put a module into eval mode inside the block, and each of its parts back into the mode that it had."""
    modes = [(part, part.training) for part in module.modules()]
    try:
        module.eval()
        yield
    finally:
        for part, mode in modes:
            part.training = mode


def _module_of(model: Any) -> nn.Module:
    module = model.get_model() if hasattr(model, "get_softmax_arg_model") else None
    if not isinstance(module, nn.Module):
        raise ArgumentTypeError("model", "a torch.nn.Module", describe(model))
    return module


def _forward(model: Any) -> tuple[Forward, Tensor]:
    """The torch module behind Quantus's wrapper, with softmax as asked for, and a tensor like its inputs."""
    module, arguments = model.get_softmax_arg_model(), model.model_predict_kwargs or {}
    parameter = next((p for p in module.parameters() if p.is_floating_point()), torch.zeros(()))
    like = torch.zeros((), dtype=parameter.dtype, device=model.device or parameter.device)
    if not arguments:
        return module, like
    if isinstance(module, nn.Sequential) and module[0] is model.get_model():  # the host appended a softmax
        return (lambda x: module[1](module[0](x, **arguments))), like
    return partial(module, **arguments), like


def _check_method(
    model: nn.Module,
    x_batch: NDArray[Any],
    y_batch: NDArray[Any],
    a_batch: NDArray[Any] | None,
    explain_func: Callable[..., Any] | None,
    explain_func_kwargs: Mapping[str, Any] | None,
    device: str | None,
) -> None:
    """Refuse maps of Quantus's default under the name of a method of this package.

    For `{"LPI": {"n_steps": 5}}` `quantus.evaluate` never asks this package: it explains by the plain gradient, and
    only tells the metrics the name LPI. It tells them the same of maps that were given as an array, which may be LPI's;
    so the gradient of one sample is compared.
    """
    settings = dict(explain_func_kwargs or {})
    name = settings.pop("method", "")
    if a_batch is None or explain_func is None or explain_func is not _quantus.explain or not is_ours(name):
        return
    if device is not None:
        settings.setdefault("device", device)
    try:
        with warnings.catch_warnings(), evaluation_mode(model):
            warnings.simplefilter("ignore")
            gradient = np.asarray(explain_func(model, x_batch[:1], y_batch[:1], **settings))
    except Exception:  # so the maps are not by these settings
        return
    gradient, first = (_utils.expand_attribution_channel(maps, x_batch[:1]) for maps in (gradient, a_batch[:1]))
    if gradient.shape == first.shape and np.allclose(gradient, first, rtol=1e-4, atol=1e-5 * np.abs(gradient).max()):
        expected = f'{{"{name}": explain}}, or quantus_methods({{"{name}": {{...}}}}) with settings'
        received = f'maps of "{name}" that are the plain gradient, as quantus.evaluate makes them of settings alone'
        raise ArgumentError("xai_methods", expected, received)


def _labels(y_batch: Any, n_samples: int) -> NDArray[Any]:
    """Labels (N,) as integers."""
    labels = np.ascontiguousarray(y_batch.cpu() if isinstance(y_batch, Tensor) else y_batch)
    if labels.shape != (n_samples,):
        raise ArgumentError("y_batch", f"one label for each of {n_samples} samples, ({n_samples},)", f"{labels.shape}")
    if labels.dtype.kind not in "iu" or (labels < 0).any():
        raise ArgumentError("y_batch", "integers from 0", f"{labels.dtype} from {labels.min()}")
    return labels


def _check_arrays(x_batch: Any, a_batch: Any) -> None:
    """Refuse what Quantus would answer with an assertion far from its cause."""
    if not isinstance(x_batch, np.ndarray):
        raise ArgumentTypeError("x_batch", "a NumPy array", describe(x_batch))
    if a_batch is None:
        return
    if not isinstance(a_batch, np.ndarray):
        raise ArgumentTypeError("a_batch", "a NumPy array or a tensor", describe(a_batch))
    full, given = x_batch.shape, a_batch.shape
    summed = (full[0], *full[2:])  # channels summed, with or without a dimension for them
    if given not in (full, summed, (full[0], 1, *full[2:]), (*full[:-1], 1), full[:-1]):
        raise ArgumentError("a_batch", f"of the shape of x_batch {full}, or with channels summed {summed}", f"{given}")
