"""Two methods as somebody outside of this repository would write them: docs/extending.md explains them."""

from __future__ import annotations

from typing import Any

import torch
from captum.attr import GradientAttribution
from torch import Tensor

from captum_ext.attr.paths import PathAttribution, Starts
from captum_ext.core.autocast import own_precision
from captum_ext.core.captum import log_usage
from captum_ext.core.chunks import for_each_chunk
from captum_ext.core.inspection import frozen_parameters
from captum_ext.core.model import compute_gradients
from captum_ext.core.request import Request
from captum_ext.core.tensors import Sums
from captum_ext.core.types import Baselines


class ExtremesIG(PathAttribution):
    """Integrated Gradients from every input's own lowest and highest value, half and half."""

    def starts(self, request: Request, baselines: Baselines) -> Starts:
        if baselines is not None:  # Captum's argument wins over what the method chooses
            return super().starts(request, baselines)
        every = torch.cat([value.flatten(1) for value in request.inputs], 1)
        ends = torch.cat([every.amin(1), every.amax(1)])  # (2 N,)
        values = tuple(  # (2 N, ...)
            ends.reshape(-1, *(1,) * (value.dim() - 1)).repeat(1, *value.shape[1:]) for value in request.inputs
        )
        index = torch.stack([request.rows, request.rows + request.n_rows], 1)  # (N, 2)
        weight = torch.full(index.shape, 0.5, dtype=torch.float64)
        return Starts(values, index, weight)


class InputXGradient(GradientAttribution):
    """Input times gradient, in bounded memory: no path, and none of the arguments that paths need."""

    @log_usage
    @own_precision
    def attribute(
        self,
        inputs: Tensor | tuple[Tensor, ...],
        target: Any = None,
        additional_forward_args: Any = None,
        internal_batch_size: int | None = None,
    ) -> Tensor | tuple[Tensor, ...]:
        request = Request(
            self.forward_func,
            inputs,
            target,
            additional_forward_args,
            internal_batch_size,
            gradient_func=compute_gradients,
        )
        sums = Sums(request.inputs, request.n_rows)

        def add(part: slice) -> None:
            rows, points = request.rows[part], tuple(value[part] for value in request.inputs)
            gradients = request.model.gradients(points, rows)
            sums.add(rows, tuple(point * gradient for point, gradient in zip(points, gradients, strict=True)))

        with frozen_parameters(self.forward_func):
            for_each_chunk(request.n_rows, request.limit, add, batches=True)
        return request.formatted(sums.result())
