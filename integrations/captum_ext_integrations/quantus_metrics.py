"""The metrics of `captum_ext.metrics` as Quantus metrics, for `quantus.evaluate` unchanged.

    from captum_ext_integrations.quantus_metrics import Deletion, DiffID, Insertion
    quantus.evaluate({"DiffID": DiffID()}, {"LPI": explain}, model, x_batch, y_batch, explain_func_kwargs={...})

One implementation: every class hands its batch to the pure function, as tensors on the model's device. Scores do not
depend on the batch that a sample is in, nor on `batch_size`. A sample whose map is constant or not finite is reported
as NaN, the others are scored (Quantus itself refuses a whole batch of constant maps). The model is evaluated in eval
mode and handed back in its own.

How explanations are computed is in `quantus_explain`, whose `explain` and `as_quantus_explain` are here, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from captum_ext._checks import check_choice, describe
from captum_ext._optional import require
from captum_ext._types import Baselines
from captum_ext.exceptions import ArgumentError, ArgumentTypeError
from captum_ext.metrics import (
    PerturbationCurve,
    deletion,
    diff_id,
    infidelity,
    insertion,
    iou,
    irof,
    pixel_flipping,
    road,
)
from captum_ext_integrations.quantus_explain import as_quantus_explain, explain

_base: Any = require("quantus.metrics.base", "quantus")
_enums: Any = require("quantus.helpers.enums", "quantus")
_quantus: Any = require("quantus", "quantus")
_Metric: Any = _base.Metric
_ANY_DATA = {_enums.DataType.IMAGE, _enums.DataType.TIMESERIES, _enums.DataType.TABULAR}

Forward = Callable[[Tensor], Tensor]


class TorchMetric(_Metric):  # type: ignore[misc]
    """A Quantus metric that scores tensors: a subclass says how in `score`.

    Arguments after the subclass's own are those of every Quantus metric. `normalise` is off by default: Quantus divides
    by the maximum of the whole batch, so that a sample's numbers would depend on its neighbours; no metric here needs
    it. `aggregate_func` leaves undefined samples out.
    """

    model_applicability: ClassVar[Any] = {_enums.ModelType.TORCH}
    data_applicability: ClassVar[Any] = _ANY_DATA
    evaluation_category: ClassVar[Any] = _enums.EvaluationCategory.FAITHFULNESS
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
        **kwargs: Any,
    ) -> None:
        """Arguments of every Quantus metric. Unknown ones are refused."""
        super().__init__(
            abs=abs,
            normalise=normalise,
            normalise_func=normalise_func,
            normalise_func_kwargs=normalise_func_kwargs,
            return_aggregate=return_aggregate,
            aggregate_func=aggregate_func or np.nanmean,
            default_plot_func=default_plot_func,
            disable_warnings=disable_warnings,
            display_progressbar=display_progressbar,
            **kwargs,
        )

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
        **kwargs: Any,
    ) -> list[Any]:
        """Score explanations, given or computed by `explain_func`; arguments as for every Quantus metric.

        `softmax=True` scores probabilities; None means logits.
        """
        a_batch = a_batch.detach().cpu().numpy() if isinstance(a_batch, Tensor) else a_batch
        _check_arrays(x_batch, a_batch)
        scores: list[Any] = super().__call__(
            model=model,
            x_batch=x_batch,
            y_batch=y_batch,
            a_batch=a_batch,
            s_batch=s_batch,
            custom_batch=None,
            channel_first=channel_first,
            explain_func=explain_func,
            explain_func_kwargs=explain_func_kwargs,
            model_predict_kwargs=model_predict_kwargs,
            softmax=self.softmax if softmax is None else softmax,
            device=device,
            batch_size=batch_size,
            **kwargs,
        )
        return scores

    def evaluate_batch(
        self,
        model: Any,
        x_batch: NDArray[Any],
        y_batch: NDArray[Any],
        a_batch: NDArray[Any],
        s_batch: NDArray[Any] | None = None,
        **kwargs: Any,  # noqa: ARG002 (Quantus's signature)
    ) -> list[Any]:
        """Scores of a batch, one item for each sample: a number, or a list for a curve."""
        forward, like = _forward(model)
        shaped = model.shape_input(x_batch, x_batch.shape, channel_first=True, batched=True)  # refuses channels last
        with evaluation_mode(model.get_model()):
            x = torch.as_tensor(shaped).to(like.device, like.dtype)
            a = torch.as_tensor(np.ascontiguousarray(a_batch)).to(like.device)
            y = torch.as_tensor(y_batch).to(like.device).long()
            s = None if s_batch is None else torch.as_tensor(np.asarray(s_batch)).to(like.device)
            if x.dim() == 3 and a.shape[1] == 1 < x.shape[1]:  # a time step with all its channels is a pixel
                inner = forward
                forward, x, a = (lambda points: inner(points.squeeze(2))), x.unsqueeze(2), a.unsqueeze(2)
            scores = self.score(forward, x, a, y, s)
        return list(scores.detach().cpu().double().tolist())

    def score(self, forward: Forward, x: Tensor, a: Tensor, y: Tensor, s: Tensor | None) -> Tensor:
        """Scores (N,) or curves (N, S) of maps `a` of inputs `x` with labels `y` and segmentations `s`."""
        raise NotImplementedError


class _CurveMetric(TorchMetric):
    """Areas under curves, or the curves themselves."""

    def __init__(
        self,
        baselines: Baselines | str = None,
        score_scale: str = "none",
        return_auc_per_sample: bool = True,
        seed: int = 0,
        default_plot_func: Callable[..., Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Shared arguments; each metric documents its own."""
        super().__init__(default_plot_func=default_plot_func or plot_curves, **kwargs)
        check_choice("score_scale", score_scale, ("none", "input", "range"))
        self.baselines, self.score_scale, self.seed = baselines, score_scale, seed
        self.return_auc_per_sample = return_auc_per_sample

    def _read(self, curve: PerturbationCurve) -> Tensor:
        scores = curve.auc if self.return_auc_per_sample else curve.scores
        valid = curve.valid if self.return_auc_per_sample else curve.valid[:, None]
        return torch.where(valid, scores, torch.nan)


class Insertion(_CurveMetric):
    """Insertion (Petsiuk et al., 2018): the area under the score while the most important pixels are inserted.

    See `captum_ext.metrics.insertion`.
    """

    name: ClassVar[str] = "Insertion"
    score_direction: ClassVar[Any] = _enums.ScoreDirection.HIGHER

    def __init__(
        self,
        n_steps: int = 10,
        baselines: Baselines | str = None,
        score_scale: str = "none",
        return_auc_per_sample: bool = True,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        """Configure the metric.

        Parameters
        ----------
        n_steps: integer
            Steps of the curve, default=10.
        baselines: number, tensor or string
            Where nothing is inserted, default: the blurred input for images, else zero.
        score_scale: string
            "none", "input" (divided by the score of the input) or "range" (SAMP's appendix), default="none".
        return_auc_per_sample: boolean
            Return the area under each curve rather than the curve, default=True.
        seed: integer
            Of the order of pixels with equal importance, default=0.
        kwargs: optional
            Arguments of every Quantus metric.
        """
        super().__init__(baselines, score_scale, return_auc_per_sample, seed, **kwargs)
        self.n_steps = n_steps

    def score(self, forward: Forward, x: Tensor, a: Tensor, y: Tensor, s: Tensor | None) -> Tensor:  # noqa: ARG002
        """Areas or curves."""
        default = "blur" if x.dim() == 4 and x.shape[2] > 1 else 0
        baselines = default if self.baselines is None else self.baselines
        curve = insertion(
            forward,
            x,
            a,
            y,
            baselines=baselines,
            n_steps=self.n_steps,
            normalize=self.score_scale,
            seed=self.seed,
        )
        return self._read(curve)


class Deletion(_CurveMetric):
    """Deletion (Petsiuk et al., 2018): the area under the score while the most important pixels are deleted.

    See `captum_ext.metrics.deletion`.
    """

    name: ClassVar[str] = "Deletion"
    score_direction: ClassVar[Any] = _enums.ScoreDirection.LOWER

    def __init__(
        self,
        n_steps: int = 10,
        baselines: Baselines | str = 0,
        score_scale: str = "none",
        return_auc_per_sample: bool = True,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        """Configure the metric.

        Parameters
        ----------
        n_steps: integer
            Steps of the curve, default=10.
        baselines: number, tensor or string
            What replaces deleted pixels, default=0.
        score_scale: string
            "none", "input" (divided by the score of the input) or "range" (SAMP's appendix), default="none".
        return_auc_per_sample: boolean
            Return the area under each curve rather than the curve, default=True.
        seed: integer
            Of the order of pixels with equal importance, default=0.
        kwargs: optional
            Arguments of every Quantus metric.
        """
        super().__init__(baselines, score_scale, return_auc_per_sample, seed, **kwargs)
        self.n_steps = n_steps

    def score(self, forward: Forward, x: Tensor, a: Tensor, y: Tensor, s: Tensor | None) -> Tensor:  # noqa: ARG002
        """Areas or curves."""
        curve = deletion(
            forward,
            x,
            a,
            y,
            baselines=self.baselines,
            n_steps=self.n_steps,
            normalize=self.score_scale,
            seed=self.seed,
        )
        return self._read(curve)


class DiffID(_CurveMetric):
    """DiffID (Yang et al., "Local Path Integration for Attribution", 2023): insertion minus deletion at equal numbers
    of kept pixels.

    See `captum_ext.metrics.diff_id`.
    """

    name: ClassVar[str] = "DiffID"
    score_direction: ClassVar[Any] = _enums.ScoreDirection.HIGHER

    def __init__(
        self,
        fractions: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9),
        baselines: Baselines | str = "mean",
        score_scale: str = "input",
        return_auc_per_sample: bool = True,
        seed: int = 0,
        abs: bool = True,  # noqa: A002 (Quantus's name)
        **kwargs: Any,
    ) -> None:
        """Configure the metric.

        Parameters
        ----------
        fractions: tuple
            Shares of the pixels that are removed, default=(0.1, ..., 0.9).
        baselines: number, tensor or string
            What replaces removed pixels, default="mean" of the kept ones.
        score_scale: string
            "input" (divided by the score of the input) or "none", default="input".
        return_auc_per_sample: boolean
            Return the area under each curve rather than the curve, default=True.
        seed: integer
            Of the order of pixels with equal importance, default=0.
        abs: boolean
            Take absolute attributions, before channels are summed if they are not yet, default=True.
        kwargs: optional
            Arguments of every Quantus metric.
        """
        super().__init__(baselines, score_scale, return_auc_per_sample, seed, abs=abs, **kwargs)
        self.fractions = fractions

    def score(self, forward: Forward, x: Tensor, a: Tensor, y: Tensor, s: Tensor | None) -> Tensor:  # noqa: ARG002
        """Areas or curves."""
        curve = diff_id(
            forward,
            x,
            a,
            y,
            baselines=self.baselines,
            fractions=self.fractions,
            absolute=False,  # Quantus takes absolute values itself
            normalize=self.score_scale,
            seed=self.seed,
        )
        return self._read(curve)


class PixelFlipping(_CurveMetric):
    """Pixel flipping (Bach et al., 2015) by whole pixels: Quantus's own flips each channel by itself.

    See `captum_ext.metrics.pixel_flipping`. As there, curves and areas begin with the unchanged input.
    """

    name: ClassVar[str] = "Pixel-Flipping (whole pixels)"
    score_direction: ClassVar[Any] = _enums.ScoreDirection.LOWER
    softmax: ClassVar[bool] = True

    def __init__(
        self,
        features_in_step: int = 1,
        baselines: Baselines | str = 0,
        score_scale: str = "none",
        return_auc_per_sample: bool = True,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        """Configure the metric.

        Parameters
        ----------
        features_in_step: integer
            Pixels in a step, a divisor of their number, default=1.
        baselines: number, tensor or string
            What replaces flipped pixels, default=0.
        score_scale: string
            "none", "input" or "range", default="none".
        return_auc_per_sample: boolean
            Return the area under each curve rather than the curve, default=True.
        seed: integer
            Of the order of pixels with equal importance, default=0.
        kwargs: optional
            Arguments of every Quantus metric.
        """
        super().__init__(baselines, score_scale, return_auc_per_sample, seed, **kwargs)
        self.features_in_step = features_in_step

    def score(self, forward: Forward, x: Tensor, a: Tensor, y: Tensor, s: Tensor | None) -> Tensor:  # noqa: ARG002
        """Areas or curves."""
        curve = pixel_flipping(
            forward,
            x,
            a,
            y,
            baselines=self.baselines,
            pixels_in_step=self.features_in_step,
            normalize=self.score_scale,
            seed=self.seed,
        )
        return self._read(curve)


class IROF(TorchMetric):
    """IROF (Rieger and Hansen, 2020) for images with maps of one channel or several, in [0, 1].

    See `captum_ext.metrics.irof`. Quantus's own fails on RGB images with maps of one channel, and counts segments
    instead of their share.
    """

    name: ClassVar[str] = "IROF (share of segments)"
    score_direction: ClassVar[Any] = _enums.ScoreDirection.HIGHER
    data_applicability: ClassVar[Any] = {_enums.DataType.IMAGE}
    softmax: ClassVar[bool] = True

    def __init__(self, segments: Any = "slic", n_segments: int = 50, seed: int = 0, **kwargs: Any) -> None:
        """Configure the metric.

        Parameters
        ----------
        segments: string, callable or tensor
            How images are segmented, default="slic".
        n_segments: integer
            How many segments to ask for, default=50.
        seed: integer
            Of the order of segments with equal importance, default=0.
        kwargs: optional
            Arguments of every Quantus metric.
        """
        super().__init__(**kwargs)
        self.segments, self.n_segments, self.seed = segments, n_segments, seed

    def score(self, forward: Forward, x: Tensor, a: Tensor, y: Tensor, s: Tensor | None) -> Tensor:  # noqa: ARG002
        """Areas over the curves."""
        return irof(forward, x, a, y, segments=self.segments, n_segments=self.n_segments, seed=self.seed)


class ROAD(TorchMetric):
    """ROAD (Rong et al., 2022) for images with maps of one channel or several: mean score over the fractions.

    See `captum_ext.metrics.road`. Quantus's own fails on RGB images with maps of one channel, and returns one accuracy
    for the whole data set.
    """

    name: ClassVar[str] = "ROAD (per sample)"
    score_direction: ClassVar[Any] = _enums.ScoreDirection.LOWER
    data_applicability: ClassVar[Any] = {_enums.DataType.IMAGE}
    softmax: ClassVar[bool] = True

    def __init__(
        self,
        fractions: tuple[float, ...] = (0.1, 0.3, 0.5, 0.7, 0.9),
        noise: float = 0.01,
        return_correct: bool = False,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        """Configure the metric.

        Parameters
        ----------
        fractions: tuple
            Shares of the pixels that are removed, most important first, default=(0.1, 0.3, 0.5, 0.7, 0.9).
        noise: float
            Standard deviation of the noise, default=0.01.
        return_correct: boolean
            Return for each fraction whether the label is still first, the paper's accuracy, default=False.
        seed: integer
            Of the noise, default=0.
        kwargs: optional
            Arguments of every Quantus metric.
        """
        super().__init__(**kwargs)
        self.fractions, self.noise, self.return_correct, self.seed = fractions, noise, return_correct, seed

    def score(self, forward: Forward, x: Tensor, a: Tensor, y: Tensor, s: Tensor | None) -> Tensor:  # noqa: ARG002
        """Mean scores, or correctness at each fraction."""
        curve = road(forward, x, a, y, fractions=self.fractions, noise=self.noise, seed=self.seed)
        if self.return_correct and curve.correct is not None:
            return torch.where(curve.valid[:, None], curve.correct, torch.nan)
        return torch.where(curve.valid, curve.auc, torch.nan)


class ScaleFreeInfidelity(TorchMetric):
    """Infidelity (Yeh et al., 2019) with the best single factor for each sample, over the variance: in [0, 1].

    See `captum_ext.metrics.infidelity`. Raw Infidelity, as Quantus's own, measures a map's scale before anything else.
    """

    name: ClassVar[str] = "Scale-free Infidelity"
    score_direction: ClassVar[Any] = _enums.ScoreDirection.LOWER

    def __init__(
        self, n_samples: int = 50, patch: float = 0.25, raw: bool = False, seed: int = 0, **kwargs: Any
    ) -> None:
        """Configure the metric.

        Parameters
        ----------
        n_samples: integer
            Number of perturbations, default=50.
        patch: float
            Side of the replaced square as a share of the image's, default=0.25.
        raw: boolean
            Return the raw value instead, in squared units of the score, default=False.
        seed: integer
            Of the perturbations, default=0.
        kwargs: optional
            Arguments of every Quantus metric.
        """
        super().__init__(**kwargs)
        self.n_samples, self.patch, self.raw, self.seed = n_samples, patch, raw, seed

    def score(self, forward: Forward, x: Tensor, a: Tensor, y: Tensor, s: Tensor | None) -> Tensor:  # noqa: ARG002
        """Share of the changes that the map leaves unexplained, or the raw value."""
        found = infidelity(forward, x, a, y, n_samples=self.n_samples, patch=self.patch, seed=self.seed)
        return found.raw if self.raw else found.unexplained


class IoU(TorchMetric):
    """Intersection over union of the most attributed pixels and the segmentation `s_batch`.

    See `captum_ext.metrics.iou`.
    """

    name: ClassVar[str] = "IoU"
    score_direction: ClassVar[Any] = _enums.ScoreDirection.HIGHER
    data_applicability: ClassVar[Any] = {_enums.DataType.IMAGE}
    evaluation_category: ClassVar[Any] = _enums.EvaluationCategory.LOCALISATION

    def __init__(self, threshold: str = "area", **kwargs: Any) -> None:
        """Configure the metric.

        Parameters
        ----------
        threshold: string
            "area" (as many pixels as the segmentation has) or "best", default="area".
        kwargs: optional
            Arguments of every Quantus metric.
        """
        super().__init__(**kwargs)
        self.threshold = threshold

    def score(self, forward: Forward, x: Tensor, a: Tensor, y: Tensor, s: Tensor | None) -> Tensor:  # noqa: ARG002
        """Intersection over union; needs segmentations."""
        if s is None:
            raise ArgumentError("s_batch", "given for a localisation metric", "None")
        return iou(a.float(), s, threshold=self.threshold)


METRICS = (Deletion, DiffID, IROF, Insertion, IoU, PixelFlipping, ROAD, ScaleFreeInfidelity)


def register() -> None:
    """Add the metrics to `quantus.AVAILABLE_METRICS` under their names; nothing that is there is replaced."""
    for metric in METRICS:
        category = _quantus.AVAILABLE_METRICS[metric.evaluation_category.value]
        category.setdefault(metric.name, metric)


def plot_curves(y_batch: Any = None, scores: Any = None, **kwargs: Any) -> Any:  # noqa: ARG001 (Quantus's signature)
    """Plot the mean of the curves of a metric made with `return_auc_per_sample=False`; returns the figure.

    Raises:
        ArgumentError: scores that are areas, not curves.
    """
    curves = np.asarray(scores, dtype=float)
    if curves.ndim != 2:
        raise ArgumentError("scores", "curves (N, S), from return_auc_per_sample=False", f"shape {curves.shape}")
    figure = require("matplotlib.figure", "quantus").Figure(layout="constrained")
    axis = figure.subplots()
    shares = np.linspace(0, 1, curves.shape[1])
    axis.plot(shares, curves.T, color="0.8", linewidth=0.8)
    axis.plot(shares, np.nanmean(curves, axis=0), linewidth=2)
    axis.set_xlabel("points of the curve, first to last")
    axis.set_ylabel("score (each sample, and their mean)")
    return figure


@contextmanager
def evaluation_mode(module: nn.Module) -> Iterator[None]:
    """Put a module into eval mode inside the block, and each of its parts back into its own afterwards."""
    modes = [(part, part.training) for part in module.modules()]
    try:
        module.eval()
        yield
    finally:
        for part, mode in modes:
            part.training = mode


def _forward(model: Any) -> tuple[Forward, Tensor]:
    """The torch module behind Quantus's wrapper, with softmax as asked for, and a tensor like its inputs."""
    if not hasattr(model, "get_softmax_arg_model") or not isinstance(model.get_model(), nn.Module):
        raise ArgumentTypeError("model", "a torch.nn.Module", describe(model))
    module = model.get_softmax_arg_model()
    parameter = next((p for p in module.parameters() if p.is_floating_point()), torch.zeros(()))
    device = model.device or parameter.device
    return partial(module, **(model.model_predict_kwargs or {})), torch.zeros((), dtype=parameter.dtype, device=device)


def _check_arrays(x_batch: Any, a_batch: Any) -> None:
    """Refuse what Quantus would answer with an assertion far from its cause."""
    if not isinstance(x_batch, np.ndarray):
        raise ArgumentTypeError("x_batch", "a NumPy array", describe(x_batch))
    if a_batch is None:
        return
    if not isinstance(a_batch, np.ndarray):
        raise ArgumentTypeError("a_batch", "a NumPy array or a tensor", describe(a_batch))
    full, given = x_batch.shape, a_batch.shape
    summed = (full[0], *full[2:])  # channels summed, with or without a dimension of their own
    if given not in (full, summed, (full[0], 1, *full[2:]), (*full[:-1], 1), full[:-1]):
        raise ArgumentError("a_batch", f"of the shape of x_batch {full}, or with channels summed {summed}", f"{given}")


__all__ = [
    "IROF",
    "METRICS",
    "ROAD",
    "Deletion",
    "DiffID",
    "Insertion",
    "IoU",
    "PixelFlipping",
    "ScaleFreeInfidelity",
    "TorchMetric",
    "as_quantus_explain",
    "explain",
    "plot_curves",
    "register",
]
