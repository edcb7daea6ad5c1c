"""Integrated Gradients, with Captum's numbers on this package's core."""

from __future__ import annotations

from captum_ext.attr.paths.path_attribution import PathAttribution


class IntegratedGradients(PathAttribution):
    r"""Integrated Gradients (Sundararajan, Taly and Yan, "Axiomatic Attribution for Deep Networks", ICML 2017).

    https://arxiv.org/abs/1703.01365

    $$\phi(x) = (x - b) \odot \int_0^1 \nabla F\big(b + \alpha (x - b)\big) \, d\alpha$$

    Takes and returns what `captum.attr.IntegratedGradients` does, in bounded memory, plus the rules "stratified" and
    "adaptive". With Captum's rule names the numbers are Captum's, up to rounding: Captum rounds step sizes to
    float32 even for float64 inputs, this class does not.

    Example:
        >>> import torch
        >>> from captum_ext.attr import IntegratedGradients
        >>> weights = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
        >>> ig = IntegratedGradients(lambda x: x @ weights)
        >>> ig.attribute(torch.tensor([[1.0, 1.0]]), target=1)
        tensor([[2., 4.]])

    Deviations from the paper: none; the integral is computed by Gauss-Legendre quadrature unless another method is
    named.
    """
