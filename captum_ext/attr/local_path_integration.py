"""Local Path Integration: references from the neighbourhood of the input, weighted by density."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor

from captum_ext.attr.paths.reference_sets import ReferencePathAttribution, equal_to_input, without
from captum_ext.attr.paths.starts import Starts
from captum_ext.core.autocast import is_callers_autocast
from captum_ext.core.captum import run_forward
from captum_ext.core.checks import check_same_rows, describe
from captum_ext.core.ids import ids_in_range
from captum_ext.core.model import model_outputs
from captum_ext.core.request import Request
from captum_ext.core.target_functions import one_for_all, scored
from captum_ext.core.types import ForwardFunc, TargetFunc, TensorOrTensors, Tensors
from captum_ext.core.warn import warn_caller
from captum_ext.exceptions import ArgumentError, ArgumentTypeError, OtherModelError
from captum_ext.references import ReferenceDistribution

_MOST_REFERENCES = 20  # as in the paper, when the object fits its own distribution


class LocalPathIntegration(ReferencePathAttribution):
    r"""Local Path Integration (Yang, Akhtar, Wen and Mian, "Local Path Integration for Attribution", AAAI 2023).

    https://doi.org/10.1609/aaai.v37i3.25422

    $$\phi(x) = \sum_{j \in D(x)} p_j \, (x - r_j) \odot \int_0^1 \nabla F\big(r_j + \alpha (x - r_j)\big) \, d\alpha$$

    D(x) is the neighbourhood, among those of a `ReferenceDistribution`, whose centre is nearest to the model's
    outputs at x, whatever target is explained; $p_j$ is the density of its reference $r_j$. Where the model returns no
    tensor, and the target is a function of what it returns, the scores of that function are the outputs.

    Args:
        forward_func: the model, or any function that returns one row of outputs for each row of inputs. Outputs should
            be logits, as the neighbourhoods are found from them.
        multiply_by_inputs: multiply the mean gradients by input minus reference, as in Captum.
        references: a fitted `ReferenceDistribution`; or samples (K, ...), at least two, from which one of a single
            neighbourhood is fitted on first use, and again when the model's weights have changed. None: act as
            Integrated Gradients from zero, with a warning.
        allow_other_model: what to do with a `ReferenceDistribution` that was fitted to another model, or to other
            weights: neighbourhoods are then assigned by outputs that mean something else. None warns, False raises
            OtherModelError, True allows it without a word.
        allow_batch_statistics: allow batch norm that mixes the rows of a batch.

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
        * Lemma 1 (weak dependence on x) holds for the mean gradients (`multiply_by_inputs=False`) where the references
          lie in x's own linear piece; the factor x - r depends on x and on the references.
        * Example 2 of the paper (attributions in the ratio of the weights, 3 : 1) holds for references that differ from
          x by the same amount in every feature, not in general: with (1.1, 3) for (4, 4) the ratio is 8.7 : 1.
        * The paper's numbers of neighbourhoods are `ReferenceDistribution.paper`; the default is one neighbourhood, for
          the reason that `ReferenceDistribution.fit` gives with its figures.

    Keep the neighbourhoods coarser than the classes: references from a neighbourhood as fine as a class share what is
    to be explained. We make no claim that this method is better than Expected Gradients (`docs/verdicts.md`).
    """

    def __init__(
        self,
        forward_func: ForwardFunc,
        multiply_by_inputs: bool = True,
        *,
        references: ReferenceDistribution | TensorOrTensors | None = None,
        allow_other_model: bool | None = None,
        allow_batch_statistics: bool = False,
    ) -> None:
        super().__init__(
            forward_func,
            multiply_by_inputs,
            references=references,
            allow_batch_statistics=allow_batch_statistics,
        )
        self.allow_other_model = allow_other_model

    def check_references(self, value: Any) -> Any:
        """A fitted distribution as it is, samples as a tuple of tensors."""
        self._fitted: ReferenceDistribution | None = None
        if isinstance(value, ReferenceDistribution):
            return value
        if callable(value):
            raise ArgumentTypeError("references", "a fitted distribution or samples", describe(value))
        samples: Tensors = super().check_references(value)
        if len(samples[0]) < 2:
            raise ArgumentError("references", "a fitted distribution or at least two samples", describe(samples[0]))
        return samples

    def reference_starts(self, request: Request) -> Starts:
        """Paths from the references of each input's neighbourhood, weighted by their densities."""
        given = self.references
        given = given.references_as_tuple(0) if isinstance(given, ReferenceDistribution) else given
        check_same_rows("references", given, request.inputs)  # before the model is asked for anything
        outputs, function = _outputs_of(request)
        distribution = self._distribution(request, function)
        request.left_out.check(outputs, "forward_func", "outputs at the inputs")
        neighborhood = distribution.assign(torch.nan_to_num(outputs))
        if distribution is self.references and self.allow_other_model is not True:
            self._check_model(distribution, request, function)
        values, index, weight = _paths_of(distribution, neighborhood)
        values = tuple(value.to(tensor.dtype) for value, tensor in zip(values, request.inputs, strict=True))
        return without(equal_to_input(values, index, request.inputs), Starts(values, index, weight))

    def _distribution(self, request: Request, function: TargetFunc | None) -> ReferenceDistribution:
        """The distribution that was given, or one fitted to the given samples on first use."""
        if isinstance(self.references, ReferenceDistribution):
            return self.references
        samples: Tensors = self.references
        if self._fitted is not None and _is_of_model(self._fitted, request, function):
            return self._fitted
        if request.model.forward_args.follow_rows or request.model.forward_args.unknown:
            raise ArgumentError(
                "references",
                "a fitted ReferenceDistribution, since forward arguments that follow the inputs' rows do not exist for "
                "reference samples (wrap those that all rows share in captum_ext.Shared)",
                describe(samples[0]),
            )
        # The next call, with other arguments or weights, looks whether it still fits.
        with ids_in_range(request.model.forward_func, "references"):
            self._fitted = _fit(request, samples, function, self.allow_batch_statistics)
        return self._fitted

    def _check_model(self, distribution: ReferenceDistribution, request: Request, function: TargetFunc | None) -> None:
        if _is_of_model(distribution, request, function):
            return
        message = (
            "The references were fitted to another model, or to other weights: the outputs at them are not those that "
            "were kept with the fit. Fit them anew, or pass allow_other_model=True."
        )
        if self.allow_other_model is False:
            raise OtherModelError(message)
        warn_caller(message)


def _outputs_of(request: Request) -> tuple[Tensor, TargetFunc | None]:
    """Outputs (N, ...) by which neighbourhoods are found: the model's; where it returns no tensor the scores of the
    function that is the target of all rows, and that function."""
    whole, target = request.whole_outputs, request.model.target
    if whole is not None:
        return whole, None
    if not one_for_all(target):
        expected = "one function for all rows, whose scores neighbourhoods are found by where the model gives no tensor"
        raise ArgumentError("target", expected, "several")
    return request.outputs, target[0] if isinstance(target, list) else target  # type: ignore[return-value]


def _is_of_model(distribution: ReferenceDistribution, request: Request, function: TargetFunc | None) -> bool:
    """Whether the model gives the outputs at the distribution's probes that were kept with it.

    Arguments that belong to the inputs' rows do not exist for references: then nothing can be said.
    """
    args = request.model.forward_args
    if distribution.probe_outputs is None or args.follow_rows or args.unknown:
        return True
    probes = distribution.probes()
    check_same_rows("references", probes, request.inputs)
    like = tuple(probe.to(value.device, value.dtype) for probe, value in zip(probes, request.inputs, strict=True))
    alone = request.model.elsewhere(len(like[0]), whole=function is None)
    outputs = model_outputs(alone, like, request.limit.for_batch(len(like[0])))
    is_half = any(value.dtype in (torch.float16, torch.bfloat16) for value in like)
    return distribution.is_fitted_to(outputs, 0.05 if is_half or is_callers_autocast() else 5e-3)


def _fit(
    request: Request, samples: Tensors, function: TargetFunc | None, allow_batch_statistics: bool
) -> ReferenceDistribution:
    """One neighbourhood of the samples, by the model as this call runs it: its device, dtype and arguments.

    With a function it is found by that one's scores.
    """
    forward_func, shared = request.model.forward_func, request.model.forward_args.of_batches(1)

    def forward(*rows: Tensor) -> Any:
        like = tuple(row.to(tensor.device, tensor.dtype) for row, tensor in zip(rows, request.inputs, strict=True))
        if function is None:
            return run_forward(forward_func, like, shared)
        numbers = range(len(like[0]))
        scores = functools.partial(scored, forward_func, [function] * len(numbers), numbers)
        return run_forward(scores, like, shared)

    return ReferenceDistribution.fit(
        forward,
        samples if len(samples) > 1 else samples[0],
        n_references=min(_MOST_REFERENCES, len(samples[0])),
        internal_batch_size=request.limit.rows if request.limit.fixed else None,
        allow_batch_statistics=allow_batch_statistics,
        token_ids=not samples[0].is_floating_point(),
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
