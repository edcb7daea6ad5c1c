"""The metrics of `captum_ext.metrics` as Quantus metrics, for `quantus.evaluate` unchanged.

    from captum_ext_integrations.quantus_metrics import Deletion, DiffID, Insertion
    quantus.evaluate({"DiffID": DiffID()}, {"LPI": explain}, model, x_batch, y_batch, explain_func_kwargs={...})

One implementation: every class hands its batch to the pure function, as tensors on the model's device. Scores do not
depend on the batch that a sample is in, nor on `batch_size`. A sample whose map is constant or not finite is reported
as NaN, the others are scored; Infidelity, which ranks nothing, scores constant maps other than zero. The model is
evaluated in eval mode and handed back in the mode that it had.

Where methods differ in settings, `quantus_methods({"LPI": {"n_steps": 5}, "SAMP": {}})` makes the second argument:
for the dictionary by itself `quantus.evaluate` would score plain gradients. How explanations are computed is in
`quantus_explain`, whose `explain`, `quantus_methods` and `as_quantus_explain` are here, too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor

from captum_ext.core.checks import check_choice
from captum_ext.core.optional import require
from captum_ext.core.types import Baselines
from captum_ext.exceptions import ArgumentError
from captum_ext.images import Blur
from captum_ext.metrics import (
    PerturbationCurve,
    Ranking,
    deletion,
    diff_id,
    infidelity,
    insertion,
    iou,
    irof,
    pixel_flipping,
    road,
)
from captum_ext.segmentation import Segment, Segmenter
from captum_ext_integrations._quantus_base import (
    CurveMetric,
    Forward,
    TorchMetric,
    enums,
    of_curves,
    of_metrics,
    plot_curves,
)
from captum_ext_integrations.quantus_explain import as_quantus_explain, explain, quantus_methods

_quantus: Any = require("quantus", "quantus")
_HIGHER, _LOWER = enums.ScoreDirection.HIGHER, enums.ScoreDirection.LOWER
_IMAGES = {enums.DataType.IMAGE}


class Insertion(CurveMetric):
    """Insertion (Petsiuk et al., 2018): the area under the score while the most important pixels are inserted.

    See `captum_ext.metrics.insertion`. `baselines` defaults to the blurred input for images, else zero.

    Args:
        n_steps: number of steps.

    Example:
        >>> import numpy as np
        >>> import torch
        >>> from captum_ext_integrations.quantus_metrics import Insertion
        >>> x = np.arange(1.0, 33.0, dtype=np.float32).reshape(2, 1, 4, 4) / 32
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 2))
        >>> scores = Insertion(n_steps=4, baselines=0, disable_warnings=True)(model, x, np.array([0, 1]), x)
        >>> len(scores)
        2
    """

    name: ClassVar[str] = "Insertion"
    score_direction: ClassVar[Any] = _HIGHER

    def __init__(
        self,
        n_steps: int = 10,
        baselines: Baselines | str | Blur = None,
        *,
        score_scale: str = "none",
        return_auc_per_sample: bool = True,
        seed: int = 0,
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
        """Arguments are described in the class. There are no others."""
        super().__init__(**of_curves(locals()))
        self.n_steps = n_steps

    def curve(self, forward: Forward, x: Tensor, a: Tensor, y: Tensor) -> PerturbationCurve:
        """Insertion curves."""
        default = "blur" if x.dim() == 5 or (x.dim() == 4 and x.shape[2] > 1) else 0
        baselines = default if self.baselines is None else self.fill(x)
        options: dict[str, Any] = {"n_steps": self.n_steps, "normalize": self.score_scale}
        return insertion(forward, x, a, y, baselines=baselines, ranking=Ranking(seed=self.seed), **options)


class Deletion(CurveMetric):
    """Deletion (Petsiuk et al., 2018): the area under the score while the most important pixels are deleted.

    See `captum_ext.metrics.deletion`. `baselines` defaults to zero.

    Args:
        n_steps: number of steps.

    Example:
        >>> import numpy as np
        >>> import torch
        >>> from captum_ext_integrations.quantus_metrics import Deletion
        >>> x = np.arange(1.0, 33.0, dtype=np.float32).reshape(2, 1, 4, 4) / 32
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 2))
        >>> scores = Deletion(n_steps=4, disable_warnings=True)(model, x, np.array([0, 1]), x)
        >>> len(scores)
        2
    """

    name: ClassVar[str] = "Deletion"
    score_direction: ClassVar[Any] = _LOWER

    def __init__(
        self,
        n_steps: int = 10,
        baselines: Baselines | str | Blur = 0,
        *,
        score_scale: str = "none",
        return_auc_per_sample: bool = True,
        seed: int = 0,
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
        """Arguments are described in the class. There are no others."""
        super().__init__(**of_curves(locals()))
        self.n_steps = n_steps

    def curve(self, forward: Forward, x: Tensor, a: Tensor, y: Tensor) -> PerturbationCurve:
        """Deletion curves."""
        options: dict[str, Any] = {"n_steps": self.n_steps, "normalize": self.score_scale}
        return deletion(forward, x, a, y, baselines=self.fill(x), ranking=Ranking(seed=self.seed), **options)


class DiffID(CurveMetric):
    """DiffID (Yang et al., "Local Path Integration for Attribution", 2023): insertion minus deletion at equal numbers
    of kept pixels.

    See `captum_ext.metrics.diff_id`. `baselines` defaults to the mean of the kept pixels, `score_scale` to "input".
    `abs` is on: absolute values are taken before channels are summed, if they are not yet.

    Args:
        fractions: the shares that are removed.

    Example:
        >>> import numpy as np
        >>> import torch
        >>> from captum_ext_integrations.quantus_metrics import DiffID
        >>> x = np.arange(1.0, 33.0, dtype=np.float32).reshape(2, 1, 4, 4) / 32
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 2))
        >>> scores = DiffID(score_scale="none", disable_warnings=True)(model, x, np.array([0, 1]), x)
        >>> len(scores)
        2
    """

    name: ClassVar[str] = "DiffID"
    score_direction: ClassVar[Any] = _HIGHER

    def __init__(
        self,
        fractions: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9),
        baselines: Baselines | str | Blur = "mean",
        score_scale: str = "input",
        abs: bool = True,  # noqa: A002 (Quantus's name)
        *,
        return_auc_per_sample: bool = True,
        seed: int = 0,
        normalise: bool = False,
        normalise_func: Callable[..., Any] | None = None,
        normalise_func_kwargs: dict[str, Any] | None = None,
        return_aggregate: bool = False,
        aggregate_func: Callable[..., Any] | None = None,
        default_plot_func: Callable[..., Any] | None = None,
        disable_warnings: bool = False,
        display_progressbar: bool = False,
    ) -> None:
        """Arguments are described in the class. There are no others."""
        check_choice("score_scale", score_scale, ("none", "input"))
        super().__init__(**of_curves(locals()))
        self.fractions = fractions

    def curve(self, forward: Forward, x: Tensor, a: Tensor, y: Tensor) -> PerturbationCurve:
        """DiffID curves; Quantus has taken absolute values itself."""
        options: dict[str, Any] = {"fractions": self.fractions, "normalize": self.score_scale}
        return diff_id(forward, x, a, y, baselines=self.fill(x), ranking=Ranking(seed=self.seed), **options)


class PixelFlipping(CurveMetric):
    """Pixel flipping (Bach et al., 2015) by whole pixels: Quantus's class flips each channel by itself.

    See `captum_ext.metrics.pixel_flipping`. `baselines` defaults to zero. Curves and areas begin with the unchanged
    input.

    Args:
        features_in_step: pixels flipped at once, a divisor of their number.

    Example:
        >>> import numpy as np
        >>> import torch
        >>> from captum_ext_integrations.quantus_metrics import PixelFlipping
        >>> x = np.arange(1.0, 33.0, dtype=np.float32).reshape(2, 1, 4, 4) / 32
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 2))
        >>> scores = PixelFlipping(features_in_step=4, disable_warnings=True)(model, x, np.array([0, 1]), x)
        >>> len(scores)
        2
    """

    name: ClassVar[str] = "Pixel-Flipping (whole pixels)"
    score_direction: ClassVar[Any] = _LOWER
    softmax: ClassVar[bool] = True

    def __init__(
        self,
        features_in_step: int = 1,
        baselines: Baselines | str | Blur = 0,
        *,
        score_scale: str = "none",
        return_auc_per_sample: bool = True,
        seed: int = 0,
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
        """Arguments are described in the class. There are no others."""
        super().__init__(**of_curves(locals()))
        self.features_in_step = features_in_step

    def curve(self, forward: Forward, x: Tensor, a: Tensor, y: Tensor) -> PerturbationCurve:
        """Pixel-flipping curves."""
        options: dict[str, Any] = {"pixels_in_step": self.features_in_step, "normalize": self.score_scale}
        return pixel_flipping(forward, x, a, y, baselines=self.fill(x), ranking=Ranking(seed=self.seed), **options)


class IROF(TorchMetric):
    """IROF (Rieger and Hansen, 2020) for images with maps of one channel or several, in [0, 1].

    See `captum_ext.metrics.irof`. Quantus's class fails on RGB images with maps of one channel, and counts segments
    instead of their share.

    Args:
        segments: as for `captum_ext.metrics.irof`: labels, a method's name, a function or a `Segmenter`.
        seed: of the order of segments with equal means.

    Example:
        >>> import numpy as np
        >>> import torch
        >>> from captum_ext_integrations.quantus_metrics import IROF
        >>> x = np.arange(1.0, 33.0, dtype=np.float32).reshape(2, 1, 4, 4) / 32
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 2))
        >>> segments = torch.arange(4).reshape(2, 2).repeat_interleave(2, 0).repeat_interleave(2, 1)
        >>> scores = IROF(segments, disable_warnings=True)(model, x, np.array([0, 1]), x)
        >>> len(scores)
        2
    """

    name: ClassVar[str] = "IROF (share of segments)"
    score_direction: ClassVar[Any] = _HIGHER
    data_applicability: ClassVar[Any] = _IMAGES
    softmax: ClassVar[bool] = True

    def __init__(
        self,
        segments: Tensor | str | Segment | Segmenter = "slic",
        seed: int = 0,
        *,
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
        """Arguments are described in the class. There are no others."""
        super().__init__(**of_metrics(locals()))
        self.segments, self.seed = segments, seed

    def score(self, forward: Forward, x: Tensor, a: Tensor, y: Tensor, s: Tensor | None) -> Tensor:  # noqa: ARG002
        """Areas over the curves."""
        return irof(forward, x, a, y, segments=self.segments, ranking=Ranking(seed=self.seed))


class ROAD(TorchMetric):
    """ROAD (Rong et al., 2022) for images with maps of one channel or several: mean score over the fractions.

    See `captum_ext.metrics.road`. Quantus's class fails on RGB images with maps of one channel, and returns one
    accuracy for the whole data set.

    Args:
        fractions: shares of the pixels that are removed.
        noise: standard deviation of the noise in what replaces them.
        return_correct: return for each fraction whether the label is still first, of which the paper's accuracy is the
            mean.
        seed: of the noise, and of the order of pixels with equal importance.

    Example:
        >>> import numpy as np
        >>> import torch
        >>> from captum_ext_integrations.quantus_metrics import ROAD
        >>> x = np.arange(1.0, 33.0, dtype=np.float32).reshape(2, 1, 4, 4) / 32
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 2))
        >>> scores = ROAD(disable_warnings=True)(model, x, np.array([0, 1]), x)
        >>> len(scores)
        2
    """

    name: ClassVar[str] = "ROAD (per sample)"
    score_direction: ClassVar[Any] = _LOWER
    data_applicability: ClassVar[Any] = _IMAGES
    softmax: ClassVar[bool] = True

    def __init__(
        self,
        fractions: tuple[float, ...] = (0.1, 0.3, 0.5, 0.7, 0.9),
        noise: float = 0.01,
        return_correct: bool = False,
        seed: int = 0,
        *,
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
        """Arguments are described in the class. There are no others."""
        super().__init__(**of_metrics(locals()))
        self.fractions, self.noise, self.return_correct, self.seed = fractions, noise, return_correct, seed

    def score(self, forward: Forward, x: Tensor, a: Tensor, y: Tensor, s: Tensor | None) -> Tensor:  # noqa: ARG002
        """Mean scores, or correctness at each fraction."""
        curve = road(forward, x, a, y, fractions=self.fractions, noise=self.noise, ranking=Ranking(seed=self.seed))
        if self.return_correct and curve.correct is not None:
            return torch.where(curve.valid[:, None], curve.correct, torch.nan)
        return torch.where(curve.valid, curve.auc, torch.nan)


class ScaleFreeInfidelity(TorchMetric):
    """Infidelity (Yeh et al., 2019) with the best single factor for each sample, over the variance: in [0, 1].

    See `captum_ext.metrics.infidelity`.

    Args:
        n_samples: number of perturbations.
        patch: side of a square that is replaced, as a share of the shorter side.
        raw: return the raw value, in squared units of the score; it measures a map's scale before anything else, as
            Quantus's class does.
        seed: of the perturbations.

    Example:
        >>> import numpy as np
        >>> import torch
        >>> from captum_ext_integrations.quantus_metrics import ScaleFreeInfidelity
        >>> x = np.arange(1.0, 33.0, dtype=np.float32).reshape(2, 1, 4, 4) / 32
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 2))
        >>> scores = ScaleFreeInfidelity(n_samples=5, disable_warnings=True)(model, x, np.array([0, 1]), x)
        >>> len(scores)
        2
    """

    name: ClassVar[str] = "Scale-free Infidelity"
    score_direction: ClassVar[Any] = _LOWER

    def __init__(
        self,
        n_samples: int = 50,
        patch: float = 0.25,
        raw: bool = False,
        seed: int = 0,
        *,
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
        """Arguments are described in the class. There are no others."""
        super().__init__(**of_metrics(locals()))
        self.n_samples, self.patch, self.raw, self.seed = n_samples, patch, raw, seed

    def score(self, forward: Forward, x: Tensor, a: Tensor, y: Tensor, s: Tensor | None) -> Tensor:  # noqa: ARG002
        """Share of the changes that the map leaves unexplained, or the raw value."""
        values = infidelity(forward, x, a, y, n_samples=self.n_samples, patch=self.patch, seed=self.seed)
        return values.raw if self.raw else values.unexplained


class IoU(TorchMetric):
    """Intersection over union of the most attributed pixels and the segmentation `s_batch`.

    See `captum_ext.metrics.iou`.

    Args:
        threshold: "area" (as many pixels as the segmentation has) or "best".

    Example:
        >>> import numpy as np
        >>> import torch
        >>> from captum_ext_integrations.quantus_metrics import IoU
        >>> x = np.arange(1.0, 33.0, dtype=np.float32).reshape(2, 1, 4, 4) / 32
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 2))
        >>> scores = IoU(disable_warnings=True)(model, x, np.array([0, 1]), x, s_batch=x > 0.5)
        >>> len(scores)
        2
    """

    name: ClassVar[str] = "IoU"
    score_direction: ClassVar[Any] = _HIGHER
    data_applicability: ClassVar[Any] = _IMAGES
    evaluation_category: ClassVar[Any] = enums.EvaluationCategory.LOCALISATION

    def __init__(
        self,
        threshold: str = "area",
        *,
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
        """Arguments are described in the class. There are no others."""
        super().__init__(**of_metrics(locals()))
        self.threshold = threshold

    def score(self, forward: Forward, x: Tensor, a: Tensor, y: Tensor, s: Tensor | None) -> Tensor:  # noqa: ARG002
        """Intersection over union; needs segmentations."""
        if s is None:
            raise ArgumentError("s_batch", "given for a localisation metric", "None")
        return iou(a.float(), s, threshold=self.threshold)


#: The classes of metrics of this module.
METRICS = (Deletion, DiffID, IROF, Insertion, IoU, PixelFlipping, ROAD, ScaleFreeInfidelity)


def register() -> None:
    """Add the metrics to `quantus.AVAILABLE_METRICS` under their names; nothing that is there is replaced.

    Example:
        >>> import quantus
        >>> from captum_ext_integrations.quantus_metrics import register
        >>> register()
        >>> any("DiffID" in names for names in quantus.AVAILABLE_METRICS.values())
        True
    """
    for metric in METRICS:
        category = _quantus.AVAILABLE_METRICS[metric.evaluation_category.value]
        category.setdefault(metric.name, metric)


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
    "quantus_methods",
    "register",
]
