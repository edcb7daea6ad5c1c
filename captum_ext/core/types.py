"""Type aliases in Captum's own terms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from torch import Tensor

#: One tensor (N, ...) or a tuple of them, as Captum takes its inputs.
TensorOrTensors: TypeAlias = Tensor | tuple[Tensor, ...]
#: The tuple that `TensorOrTensors` is turned into at the boundary.
Tensors: TypeAlias = tuple[Tensor, ...]
#: Which output to explain: one for all rows (int, tuple, one-element tensor) or one per row (1-D tensor, list).
Target: TypeAlias = int | tuple[int, ...] | Tensor | list[int] | list[tuple[int, ...]] | None
#: Baselines as `captum.attr.IntegratedGradients` takes them.
Baselines: TypeAlias = Tensor | int | float | tuple[Tensor | int | float, ...] | None
ForwardFunc: TypeAlias = Callable[..., Any]
