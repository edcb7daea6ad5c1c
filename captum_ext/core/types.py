"""Type aliases in Captum's own terms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from torch import Tensor

#: One tensor (N, ...) or a tuple of them, as Captum takes its inputs.
TensorOrTensors: TypeAlias = Tensor | tuple[Tensor, ...]
#: The tuple that `TensorOrTensors` is turned into at the boundary.
Tensors: TypeAlias = tuple[Tensor, ...]
#: A score of what the model returned for one row: takes that row's output, and returns a tensor of one number.
TargetFunc: TypeAlias = Callable[[Any], Tensor]
#: Which output to explain: one for all rows (int, tuple, one-element tensor, function) or a list (of indices, also a
#: 1-D tensor; of tuples; of functions) with one entry for each row.
Target: TypeAlias = (
    int | tuple[int, ...] | Tensor | list[int] | list[tuple[int, ...]] | TargetFunc | Sequence[TargetFunc] | None
)
#: Baselines as `captum.attr.IntegratedGradients` takes them.
Baselines: TypeAlias = Tensor | int | float | tuple[Tensor | int | float, ...] | None
ForwardFunc: TypeAlias = Callable[..., Any]
