"""Path methods for the score of one neuron, in Captum's form: what every one of them shares."""

from __future__ import annotations

from typing import Any

from captum.attr import GradientAttribution, NeuronAttribution
from torch import nn

from captum_ext.attr.layers.layer_attribution import InsideModel
from captum_ext.attr.layers.places import NeuronPlace, NeuronSelector
from captum_ext.attr.layers.site import Site, check_layers, check_one_device
from captum_ext.attr.paths import Generators, PathAttribution, Plan, Wanted, generators_for
from captum_ext.core.autocast import own_precision
from captum_ext.core.captum import log_usage
from captum_ext.core.checks import check_bool, describe
from captum_ext.core.inspection import frozen_parameters
from captum_ext.core.types import Baselines, TensorOrTensors
from captum_ext.exceptions import ArgumentTypeError


class NeuronPathAttribution(InsideModel, NeuronAttribution, GradientAttribution):  # type: ignore[misc]
    r"""A path method at the inputs of the model, with the activation of a neuron for a score.

    $$\phi(x) = \sum_j w_j \, (x - r_j) \odot \int_0^1 \nabla a\big(r_j + \alpha (x - r_j)\big) \, d\alpha$$

    a(x) is the neuron's activation at x, so that $\sum_i \phi_i = a(x) - \sum_j w_j a(r_j)$. References r_j are those
    of the method at the inputs, and so are their weights, unless they are measured by the score.
    """

    def __init__(
        self, method: PathAttribution, layer: nn.Module, device_ids: list[int] | None = None, references: Any = None
    ) -> None:
        if not isinstance(layer, nn.Module):
            raise ArgumentTypeError("layer", "a module of the model", describe(layer))
        check_one_device(method.forward_func, device_ids)
        super().__init__(method.forward_func, layer, device_ids)
        self._take(method, references, allow_ids=False)

    @log_usage
    @own_precision
    def attribute(
        self,
        inputs: TensorOrTensors,
        neuron_selector: NeuronSelector,
        baselines: Baselines = None,
        additional_forward_args: Any = None,
        n_steps: int = 50,
        method: str | None = None,
        internal_batch_size: int | None = None,
        attribute_to_neuron_input: bool = False,
        *,
        return_convergence_delta: bool = False,
        generator: Generators | None = None,
        tol: float | None = None,
        tol_map: float | None = None,
        return_n_gradients: bool = False,
        return_standard_error: bool | str = False,
        show_progress: bool = False,
    ) -> Any:
        r"""Attribute a neuron's activation to the inputs of the model.

        The arguments up to `attribute_to_neuron_input` are those of `captum.attr.NeuronIntegratedGradients.attribute`.

        Args:
            inputs: (N, ...) or a tuple of such tensors, floating point.
            neuron_selector: which neuron, as in Captum: an int, or a tuple with an entry for each dimension of the
                layer's activations behind the first (the sum of what slices in it select); or a function of the
                layer's tensor, or tuple of tensors, that returns one number for each row.
            baselines: as in Captum: a number, one row (1, ...), one row for each input (N, ...), or a tuple of these.
                When given, they replace the references of the object.
            additional_forward_args: further arguments of `forward_func`, as in `captum_ext.attr.IntegratedGradients`.
            n_steps: gradients for EVERY reference's path; with "stratified" gradients for an input in TOTAL.
            method: one of Captum's rule names, "riemann_graded", "stratified" or "adaptive". None: for each row
                "gausslegendre" with one reference, "stratified" with several.
            internal_batch_size: at most this many rows are given to the model at once; the result does not depend on
                it. None: chosen by device and row size.
            attribute_to_neuron_input: select among what goes into the layer instead of what comes out.
            return_convergence_delta: also return the delta.
            generator: source of the random points of "stratified": one, or one for each row. None: not repeatable.
            tol: "adaptive" only: stop when the gap is at most `tol` times the difference that is explained.
            tol_map: random points only: stop when another draw of the points is expected to change at most this share
                of the largest 5 % of the attributions.
            return_n_gradients: also return how many gradients each row took.
            return_standard_error: also return standard errors of the attributions, from the same passes: True for every
                element, or "location" for sums over channels (N, 1, H, W). Random points only.
            show_progress: show a bar that counts gradients.

        Returns:
            Attributions of the shape of the inputs (float32 for half precision, else the inputs' dtype), detached.
            Then, if asked for, the delta (N,), in units of the activation,
            $\sum_i \phi_i - (a(x) - \sum_j w_j a(r_j))$, the numbers of gradients (N,), and the standard errors.

        Raises:
            ArgumentTypeError: inputs that are not floating tensors (token ids have no gradient: explain the layer that
                embeds them), or an argument of a wrong type.
            ArgumentError: a layer that is not in the model, that it does not reach or runs more than once; a selector
                that selects no neuron, or several; shapes, method or numbers that do not fit.
            NonFiniteError: NaN or infinity in inputs, baselines, references or what the model gives.
            ArgumentsConflictError: `tol` without "adaptive"; `tol_map` or `return_standard_error` without
                random points.
            ModelOutputError: a neuron that does not depend on the inputs.
            InferenceModeError: called under `torch.inference_mode()`.
        """
        check_bool("attribute_to_neuron_input", attribute_to_neuron_input)
        wanted = Wanted(return_convergence_delta, return_n_gradients, show_progress, bool(return_standard_error))
        request = self._request(inputs, baselines, None, additional_forward_args, internal_batch_size)
        generators = generators_for(generator, request.n_rows)
        plan = Plan(n_steps, method, generators, tol, tol_map, return_standard_error)
        self.method.check(request, plan)
        site = Site(check_layers(self.layer), attribute_to_neuron_input)
        with frozen_parameters(self.method.forward_func):
            place = NeuronPlace(request, site, neuron_selector)
            return self.method.explain_at(place, plan, baselines, wanted)
