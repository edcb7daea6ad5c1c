"""Local Path Integration: references from the neighbourhood of the input, weighted by density."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from captum_ext.attr.paths.path_method import Call
from captum_ext.attr.paths.points import Starts
from captum_ext.attr.paths.reference_sets import ReferencePathAttribution, equal_to_input, without
from captum_ext.core.captum import run_forward
from captum_ext.core.checks import check_same_rows, describe
from captum_ext.core.types import ForwardFunc, TensorOrTensors, Tensors
from captum_ext.exceptions import ArgumentError, ArgumentTypeError
from captum_ext.references import ReferenceDistribution

_MOST_REFERENCES = 20  # as in the paper, when the object fits its own distribution


class LocalPathIntegration(ReferencePathAttribution):
    r"""Local Path Integration (Yang, Akhtar, Wen and Mian, "Local Path Integration for Attribution", AAAI 2023).

    https://doi.org/10.1609/aaai.v37i3.25422

    $$\phi(x) = \sum_{j \in D(x)} p_j \, (x - r_j) \odot \int_0^1 \nabla F\big(r_j + \alpha (x - r_j)\big) \, d\alpha$$

    D(x) is the neighbourhood, among those of a `ReferenceDistribution`, whose centre is nearest to the model's
    outputs at x, whatever target is explained; p_j is the density of its reference r_j.

    Args:
        forward_func: the model, or any function that returns one row of outputs for each row of inputs. Outputs should
            be logits, as the neighbourhoods are found from them.
        multiply_by_inputs: multiply the mean gradients by input minus reference, as in Captum.
        references: a fitted `ReferenceDistribution`; or samples (K, ...), at least two, from which one of a single
            neighbourhood is fitted on first use. None: act as Integrated Gradients from zero, with a warning.

    Example:
        >>> import torch
        >>> from captum_ext.attr import LocalPathIntegration
        >>> weights = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
        >>> lpi = LocalPathIntegration(lambda x: x @ weights, references=torch.eye(2))
        >>> lpi.attribute(torch.tensor([[1.0, 1.0]]), target=0)
        tensor([[0.5000, 1.5000]])

    Deviations from the paper, whose equation 6 counts the density twice (in the expectation and as a factor):
        * Densities count once and there is no mean on top of them, so that
          $\sum_i \phi_i = F(x) - \sum_j p_j F(r_j)$.
        * All references of the neighbourhood are used with their densities, and the points on their paths are
          stratified (`method="stratified"`), instead of one independent random point for each.
        * x itself is left out of its own references.
        * Example 2 of the paper (attributions in the ratio of the weights) holds for references that differ from x by
          the same amount in every feature, not in general.

    Keep the neighbourhoods coarser than the classes: references from a neighbourhood as fine as a class share what is
    to be explained. We make no claim that this method is better than Expected Gradients (README).
    """

    def __init__(
        self,
        forward_func: ForwardFunc,
        multiply_by_inputs: bool = True,
        *,
        references: ReferenceDistribution | TensorOrTensors | None = None,
    ) -> None:
        super().__init__(forward_func, multiply_by_inputs, references=references)

    def _check_references(self, value: Any) -> Any:
        self._fitted: ReferenceDistribution | None = None
        if isinstance(value, ReferenceDistribution):
            return value
        if callable(value):
            raise ArgumentTypeError("references", "a fitted distribution or samples", describe(value))
        samples: Tensors = super()._check_references(value)
        if len(samples[0]) < 2:
            raise ArgumentError("references", "a fitted distribution or at least two samples", describe(samples[0]))
        return samples

    def _reference_starts(self, call: Call) -> Starts:
        distribution = self._distribution(call)
        check_same_rows("references", distribution.references_as_tuple(0), call.inputs)
        neighborhood = distribution.assign(call.outputs)
        values, index, weight = _paths_of(distribution, neighborhood)
        values = tuple(value.to(tensor.dtype) for value, tensor in zip(values, call.inputs, strict=True))
        return without(equal_to_input(values, index, call.inputs), Starts(values, index, weight))

    def _distribution(self, call: Call) -> ReferenceDistribution:
        """The distribution that was given, or one fitted to the given samples on first use."""
        if isinstance(self.references, ReferenceDistribution):
            return self.references
        samples: Tensors = self.references
        check_same_rows("references", samples, call.inputs)
        if self._fitted is not None:
            return self._fitted
        if call.model.depends_on_row:
            raise ArgumentError(
                "references",
                "a fitted ReferenceDistribution, since forward arguments that follow the inputs' rows do not exist for "
                "reference samples",
                describe(samples[0]),
            )
        fitted = _fit(call, samples)
        if call.model.forward_args is None:  # other arguments may come with the next call
            self._fitted = fitted
        return fitted


def _fit(call: Call, samples: Tensors) -> ReferenceDistribution:
    """One neighbourhood of the samples, by the model as this call runs it: its device, dtype and arguments."""

    def forward(*rows: Tensor) -> Any:
        like = tuple(row.to(tensor.device, tensor.dtype) for row, tensor in zip(rows, call.inputs, strict=True))
        return run_forward(call.model.forward_func, like, call.model.forward_args)

    return ReferenceDistribution.fit(
        forward,
        samples if len(samples) > 1 else samples[0],
        n_references=min(_MOST_REFERENCES, len(samples[0])),
        internal_batch_size=call.limit.rows if call.limit.fixed else None,
    )


def _paths_of(distribution: ReferenceDistribution, neighborhood: Tensor) -> tuple[Tensors, Tensor, Tensor]:
    """Starting points of the neighbourhoods in use, and (N, K) index and weight of every row's, padded with zero."""
    used, position = torch.unique(neighborhood, return_inverse=True)
    sets = [distribution.references_as_tuple(int(i)) for i in used]
    sizes = torch.tensor([len(tensors[0]) for tensors in sets], device="cpu")
    first = sizes.cumsum(0) - sizes
    index = torch.zeros(len(used), int(sizes.max()), dtype=torch.long, device="cpu")
    weight = torch.zeros(index.shape, dtype=torch.float64, device="cpu")
    for i, size in enumerate(sizes.tolist()):
        index[i, :size] = torch.arange(size, device="cpu") + first[i]
        weight[i, :size] = distribution.density[int(used[i])].double()
    values = tuple(torch.cat(parts) for parts in zip(*sets, strict=True))
    return values, index[position], weight[position]


#: Short name.
LPI = LocalPathIntegration
