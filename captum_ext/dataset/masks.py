"""Metrics that compare each sample's map with a mask of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from captum_ext.core.checks import describe
from captum_ext.exceptions import ArgumentError, ArgumentTypeError


@dataclass(frozen=True)
class OnMasks:
    """A metric of `attribute_dataset` that looks where each sample's object is.

    Args:
        metric: a function of attributions (N, ...) and masks (N, ...) that returns one number (N,) for each row, as
            `captum_ext.metrics.pointing_game`, `concentration` and `iou`, or one of your own.
        masks: of the samples, by their index in the data set: a tensor (n, H, W), a list, or a data set that reads them
            when they are asked for; each as the metric takes it, for those above (H, W) or (1, H, W) of the map's size,
            boolean or 0 and 1. A sample whose mask is None has NaN.

    Raises:
        ArgumentTypeError: a metric that cannot be called, masks that cannot be indexed or have no length.

    Example:
        >>> import tempfile, torch
        >>> from captum_ext.attr import IntegratedGradients
        >>> from captum_ext.dataset import OnMasks, RunOptions, attribute_dataset
        >>> from captum_ext.metrics import concentration
        >>> images = torch.ones(2, 1, 2, 2)
        >>> model = torch.nn.Flatten()  # the score of class 0 is the first pixel
        >>> masks = torch.tensor([[[1, 0], [0, 0]], [[0, 0], [0, 1]]])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     run = attribute_dataset(
        ...         IntegratedGradients(model), torch.utils.data.TensorDataset(images), folder, target=0,
        ...         metrics={"on_object": OnMasks(concentration, masks)}, run=RunOptions(show_progress=False),
        ...     )
        ...     run.table(["on_object"]).to_pydict()
        {'on_object': [1.0, 0.0]}
    """

    metric: Callable[[Tensor, Tensor], Tensor]
    masks: Any

    def __post_init__(self) -> None:
        if not callable(self.metric) or isinstance(self.metric, type):
            raise ArgumentTypeError("metric", "a function of attributions and masks", describe(self.metric))
        is_indexed = hasattr(self.masks, "__getitem__") and hasattr(self.masks, "__len__")
        if not is_indexed or isinstance(self.masks, str | Mapping) or getattr(self.masks, "ndim", 1) == 0:
            raise ArgumentTypeError("masks", "a tensor or a sequence of masks by index", describe(self.masks))

    def check_length(self, n_samples: int) -> None:
        """Refuse masks of another number of samples.

        Args:
            n_samples: of the data set.

        Raises:
            ArgumentError: there are more or fewer.
        """
        if len(self.masks) != n_samples:
            raise ArgumentError("masks", f"one for each of the {n_samples} samples", f"{len(self.masks)}")

    def of_rows(self, attributions: Tensor, indices: Sequence[int]) -> Tensor:
        """The metric's numbers of maps of these samples.

        Args:
            attributions: (N, ...).
            indices: of their samples in the data set.

        Returns:
            (N,) in float64 on the CPU, NaN where there is no mask.

        Raises:
            ArgumentError: masks of different shapes, or a metric that does not return one number for each row.
        """
        found = torch.full((len(indices),), torch.nan, dtype=torch.float64, device="cpu")
        masks = [self._mask(index) for index in indices]
        rows = [row for row, mask in enumerate(masks) if mask is not None]
        given = [mask for mask in masks if mask is not None]
        if not given:
            return found
        if any(one.shape != given[0].shape for one in given):
            shapes = sorted({str(tuple(one.shape)) for one in given})
            raise ArgumentError("masks", "of one shape in a batch", ", ".join(shapes))
        numbers = torch.as_tensor(self.metric(attributions[rows], torch.stack(given)))
        if numbers.shape != (len(rows),):
            raise ArgumentError("metric", f"one number for each of {len(rows)} rows", describe(numbers))
        found[rows] = numbers.detach().cpu().double()
        return found

    def _mask(self, index: int) -> Tensor | None:
        try:
            mask = self.masks[index]
        except (IndexError, KeyError) as error:
            raise ArgumentError("masks", "one for each sample, by its index", f"none for sample {index}") from error
        if mask is None or isinstance(mask, Tensor):
            return mask
        array = np.asarray(mask)
        if array.dtype.kind not in "biuf":
            raise ArgumentTypeError("masks", "tensors or arrays, boolean or of 0 and 1", describe(mask))
        return torch.as_tensor(array)
