"""Targets that are one number of the output: that of a class, or that at a place."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from captum_ext.core.checks import check_count, describe
from captum_ext.core.output_rows import describe_output
from captum_ext.exceptions import ArgumentError, ArgumentTypeError
from captum_ext.models.targets.reading import Step, entry_of, tensor_of

_LOGITS = ("logits", "logits_per_image", "out")


@dataclass(frozen=True)
class ClassTarget:
    """Output of one class: y_c of a row's outputs y (K,).

    Of a tensor, or of the tensor under "logits", "logits_per_image" or "out" of a dict or `ModelOutput`, or `at` a
    place. The units are those of the model's outputs: logits, unless it returns something else.

    Args:
        index: the class, from 0; or its name.
        names: names of all classes in order, where `index` is a name.
        at: key, attribute or position of the outputs in what the model returns. None: itself, or a usual name.

    Raises:
        ArgumentError, ArgumentTypeError: no such class; when called, an output that is no row of class scores.

    Example:
        >>> import torch
        >>> from captum_ext.attr import IntegratedGradients
        >>> from captum_ext.models.targets import ClassTarget
        >>> ig = IntegratedGradients(lambda x: {"logits": x * torch.tensor([1.0, 3.0])})
        >>> ig.attribute(torch.ones(1, 2), target=ClassTarget("dog", names=["cat", "dog"]))
        tensor([[0., 3.]])
    """

    index: int | str
    names: Sequence[str] | None = None
    at: Step | None = None

    def __post_init__(self) -> None:
        index = self.index
        if isinstance(index, str):
            places = [place for place, name in enumerate(self.names or ()) if name == index]
            if len(places) != 1:
                received = f"{index!r}, which is {len(places)} of {len(self.names or ())} names"
                raise ArgumentError("index", "an index from 0, or one name among `names`", received)
            index = places[0]
        object.__setattr__(self, "index", check_count("index", index))
        object.__setattr__(self, "names", None if self.names is None else tuple(self.names))

    def __call__(self, output: Any) -> Tensor:
        """The class's output (), of one row's outputs."""
        scores, index = tensor_of(output, _LOGITS, self.at), operator.index(self.index)  # type: ignore[arg-type]
        if scores.dim() != 1:
            expected = "of a model that returns one score a class, (N, K); RegionTarget and OutputTarget are for others"
            raise ArgumentError("target", expected, f"a row of shape {tuple(scores.shape)}")
        if index >= len(scores):
            raise ArgumentError("target", f"a class from 0 to {len(scores) - 1}, the model's outputs", str(index))
        return scores[index]


@dataclass(frozen=True, init=False)
class OutputTarget:
    """The number at a place of a row's output: of regression, one-output models and everything that has a place.

    The path leads into the output step by step: keys and attributes by name, positions of tuples and dimensions of
    tensors by index. Without a path the row has to be one number.

    Args:
        path: the steps.

    Raises:
        ArgumentTypeError: a step that is neither a name nor an index; when called, ArgumentError: nothing at the place,
            or more than one number.

    Example:
        >>> import torch
        >>> from captum_ext.attr import IntegratedGradients
        >>> from captum_ext.models.targets import OutputTarget
        >>> ig = IntegratedGradients(lambda x: (x.sum(1), {"depth": x[:, None] * 2}))
        >>> ig.attribute(torch.ones(1, 2), target=OutputTarget(0))
        tensor([[1., 1.]])
        >>> ig.attribute(torch.ones(1, 2), target=OutputTarget(1, "depth", 0, -1))
        tensor([[0., 2.]])
    """

    path: tuple[Step, ...]

    def __init__(self, *path: Step) -> None:
        for step in path:
            if isinstance(step, bool) or not isinstance(step, str | int | np.integer):
                raise ArgumentTypeError("path", "names and indices", describe(step))
        object.__setattr__(self, "path", path)

    def __call__(self, output: Any) -> Tensor:
        """The number at the place, (), of one row's output."""
        found = output
        for step in self.path:
            found = entry_of(found, step)
        if not isinstance(found, Tensor) or found.numel() != 1:
            expected = f"of one number; the path {self.path} leads to more, or to no tensor"
            raise ArgumentError("target", expected, describe_output(found))
        return found.reshape(())
