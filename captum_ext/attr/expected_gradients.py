"""Expected Gradients: Integrated Gradients averaged over references."""

from __future__ import annotations

from captum_ext.attr.paths.reference_sets import ReferencePathAttribution, ReferencesOfInputs
from captum_ext.core.types import ForwardFunc, TensorOrTensors


class ExpectedGradients(ReferencePathAttribution):
    r"""Expected Gradients (Erion et al., "Improving performance of deep learning models with axiomatic attribution
    priors and expected gradients", Nature Machine Intelligence 2021).

    https://arxiv.org/abs/1906.10670

    $$\phi(x) = \frac{1}{K} \sum_{j=1}^{K} (x - r_j) \odot \int_0^1 \nabla F\big(r_j + \alpha (x - r_j)\big) \,
    d\alpha$$

    Args:
        forward_func: the model, or any function that returns one row of outputs for each row of inputs.
        multiply_by_inputs: multiply the mean gradients by input minus reference, as in Captum.
        references: (K, ...), or a tuple of such tensors for several inputs, shared by all inputs; or a function from
            inputs (N, ...) to references (N, K, ...) of their own, such as `references.standard_baselines`. None: act
            as Integrated Gradients from zero, with a warning.
        allow_batch_statistics: allow batch norm that mixes the rows of a batch.

    Example:
        >>> import torch
        >>> from captum_ext.attr import ExpectedGradients
        >>> references = torch.tensor([[0.0, 0.0], [1.0, 2.0]])
        >>> eg = ExpectedGradients(lambda x: x.square().sum(1), references=references)
        >>> eg.attribute(torch.tensor([[2.0, 2.0]]), method="riemann_middle")
        tensor([[3.5000, 2.0000]])

    Deviations from the paper: references and points on their paths are not drawn independently. By default
    (`method="stratified"`) every reference gets its share of `n_steps` gradients and the points are stratified over
    all of them, which leaves the estimate unbiased and takes variance from it. References equal to the input are left
    out.
    """

    def __init__(
        self,
        forward_func: ForwardFunc,
        multiply_by_inputs: bool = True,
        *,
        references: TensorOrTensors | ReferencesOfInputs | None = None,
        allow_batch_statistics: bool = False,
    ) -> None:
        super().__init__(
            forward_func,
            multiply_by_inputs,
            references=references,
            allow_batch_statistics=allow_batch_statistics,
        )


#: Short name.
EG = ExpectedGradients
