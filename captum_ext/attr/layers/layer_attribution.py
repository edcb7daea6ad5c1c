"""Path methods at layers, in Captum's form: what every one of them shares."""

from __future__ import annotations

from typing import Any

from captum.attr import GradientAttribution, LayerAttribution

from captum_ext.attr.layers.places import LayerPlace
from captum_ext.attr.layers.site import Layers, Site, check_layers, check_one_device
from captum_ext.attr.paths import Generators, PathAttribution, Plan, ReferencePathAttribution, Wanted, generators_for
from captum_ext.core.autocast import own_precision
from captum_ext.core.captum import log_usage
from captum_ext.core.checks import check_bool
from captum_ext.core.inspection import frozen_parameters
from captum_ext.core.request import Request
from captum_ext.core.types import Baselines, Target, TensorOrTensors


class InsideModel:
    """A path method that works inside of a model: at layers, or for the score of a neuron.

    Attributes:
        method: the same method at the inputs, which chooses references, and weighs and integrates their paths. Its own
            calls explain the inputs.
        layer: the layer, or a list of layers.
    """

    method: PathAttribution
    layer: Any

    def has_convergence_delta(self) -> bool:
        """Whether `return_convergence_delta` is supported: yes."""
        return True

    def attribute_future(self) -> None:
        """Not offered, as in Captum's layer methods.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(f"attribute_future is not implemented for {type(self).__name__}")

    @property
    def multiplies_by_inputs(self) -> bool:
        """Whether gradients are multiplied by the difference of both ends of a path."""
        return self.method.multiplies_by_inputs

    @property
    def references(self) -> Any:
        """The set of references, in the space of the model's inputs, validated; None for a method without one."""
        return getattr(self.method, "references", None)

    def settings(self) -> dict[str, Any]:
        """What the object was made with, the model excepted, by the names of the constructor's arguments."""
        return {**self.method.settings(), "layer": self.layer}

    def _take(self, method: PathAttribution, references: Any, allow_ids: bool) -> None:
        """Keep the method, with its references; the inputs of a layer's model may be token ids."""
        self.method = method
        if isinstance(method, ReferencePathAttribution):
            method.allow_ids = allow_ids
            if references is not None:  # a method from outside may hold its own
                method.references = references

    def _request(
        self,
        inputs: TensorOrTensors,
        baselines: Baselines,
        target: Target,
        additional_forward_args: Any,
        internal_batch_size: int | None,
    ) -> Request:
        """The call at the model's inputs, validated."""
        method = self.method
        request = Request(
            method.forward_func,
            inputs,
            target,
            additional_forward_args,
            internal_batch_size,
            gradient_func=method.gradient_func,
            allow_batch_statistics=method.allow_batch_statistics,
            allow_ids=isinstance(self, LayerAttribution),
        )
        request.model.channels_last = method.layout(request.inputs, baselines)
        return request


class LayerPathAttribution(InsideModel, LayerAttribution, GradientAttribution):  # type: ignore[misc]
    r"""A path method at the outputs, or the inputs, of one or several layers.

    $$\phi(x) = \sum_j w_j \, (A(x) - A(r_j)) \odot \int_0^1 \nabla_A F\big(x; A(r_j) + \alpha (A(x) - A(r_j))\big) \,
    d\alpha$$

    A(x) are the layer's activations at x, and F(x; A) is the score at x with A in their place. References $r_j$ and
    their weights are those of the method at the inputs. Where every way from the inputs to the score leads through the
    layer, $\sum_i \phi_i = F(x) - \sum_j w_j F(r_j)$.
    """

    def __init__(
        self, method: PathAttribution, layer: Layers, device_ids: list[int] | None = None, references: Any = None
    ) -> None:
        check_layers(layer)
        check_one_device(method.forward_func, device_ids)
        super().__init__(method.forward_func, layer, device_ids)
        self._take(method, references, allow_ids=True)

    @log_usage
    @own_precision
    def attribute(
        self,
        inputs: TensorOrTensors,
        baselines: Baselines = None,
        target: Target = None,
        additional_forward_args: Any = None,
        n_steps: int = 50,
        method: str | None = None,
        internal_batch_size: int | None = None,
        return_convergence_delta: bool = False,
        attribute_to_layer_input: bool = False,
        *,
        generator: Generators | None = None,
        tol: float | None = None,
        tol_map: float | None = None,
        return_n_gradients: bool = False,
        return_standard_error: bool | str = False,
        show_progress: bool = False,
    ) -> Any:
        r"""Attribute the target's score to the activations of the layer.

        The arguments up to `attribute_to_layer_input` are those of `captum.attr.LayerIntegratedGradients.attribute`.

        Args:
            inputs: of the model, (N, ...) or a tuple of such tensors: floating point, or token ids (int64, int32).
            baselines: in the space of the inputs, as in Captum: a number, one row (1, ...), one row for each input
                (N, ...), or a tuple of these. When given, they replace the references of the object.
            target: output to explain: an int, a tuple or a one-element tensor for all rows; a 1-D tensor or a list
                with one entry for each row; None for models with one output. Or a function of what the model returns
                for one row, or a list of N functions (`captum_ext.models.targets`): then that may be anything.
            additional_forward_args: further arguments of `forward_func`, tiled as Captum tiles them: tensors whose
                first dimension is N follow their row; wrap in `captum_ext.Shared` what all rows share. A reference is
                taken through the model with the arguments of the row that it is a reference for.
            n_steps: gradients for EVERY reference's path; with "stratified" gradients for an input in TOTAL.
            method: "gausslegendre", "riemann_left", "riemann_right", "riemann_middle", "riemann_trapezoid",
                "riemann_graded", "stratified" or "adaptive". None: for each row "gausslegendre" with one reference,
                "stratified" with several.
            internal_batch_size: at most this many rows are given to the model at once, whatever the number of
                inputs, references and steps; the result does not depend on it. None: chosen by device and size of a
                row. The layer's activations of all inputs and references are kept, where forward arguments follow the
                rows for every pair of them.
            return_convergence_delta: also return the delta.
            attribute_to_layer_input: explain what goes into the layer instead of what comes out.
            generator: source of the random points of "stratified": one generator (rows draw in order), or one for
                each row, which makes a row's result independent of its batch. None: not repeatable. The global random
                state is neither read nor changed.
            tol: "adaptive" only: stop when the row's completeness gap is at most `tol` times the difference of scores
                that it explains.
            tol_map: random points only: stop when another draw of the points is expected to change at most this share
                of the largest 5 % of the attributions.
            return_n_gradients: also return how many gradients each row took.
            return_standard_error: also return standard errors of the attributions, from the same passes: True for every
                element, or "location" for sums over channels (N, 1, H, W). Random points only.
            show_progress: show a bar that counts gradients.

        Returns:
            Attributions of the shape of the layer's activations (float32 for half precision, else their dtype),
            detached: a tensor, or a tuple where the layer has several floating tensors, in the order in which they
            stand there. For a list of layers a list with one such entry for each.
            Then, if asked for, the delta (N,), in units of the score, $\sum_i \phi_i - (F(x) - \sum_j w_j F(r_j))$:
            what the integration missed, and what leads around the layer. Then the numbers of gradients (N,), then the
            standard errors.

        Raises:
            ArgumentTypeError: inputs or references that are neither floating tensors nor token ids, or not of the same
                kind; or an argument of a wrong type.
            ArgumentError: a layer that is not in the model, that it does not reach or runs more than once (Captum takes
                the last run for all of them), whose activations have no row for each row of the inputs, or that depends
                on another one of the list; token ids that an embedding does not have; shapes, target, method or numbers
                that do not fit.
            NonFiniteError: NaN or infinity in inputs, baselines, references, activations or what the model gives.
            ArgumentsConflictError: `tol` without "adaptive"; `tol_map` or `return_standard_error` without
                random points.
            ModelOutputError: as of the method at inputs; also a score that does not depend on the layer.
            InferenceModeError: called under `torch.inference_mode()`.
        """
        check_bool("attribute_to_layer_input", attribute_to_layer_input)
        wanted = Wanted(return_convergence_delta, return_n_gradients, show_progress, bool(return_standard_error))
        request = self._request(inputs, baselines, target, additional_forward_args, internal_batch_size)
        generators = generators_for(generator, request.n_rows)
        plan = Plan(n_steps, method, generators, tol, tol_map, return_standard_error)
        self.method.check(request, plan)
        with frozen_parameters(self.method.forward_func):
            place = self._place(request, baselines, attribute_to_layer_input)
            return self.method.explain_at(place, plan, baselines, wanted)

    def _place(self, request: Request, baselines: Baselines, attribute_to_layer_input: bool) -> LayerPlace:
        """The activations of the layer, for the references of the object or the baselines of the call."""
        site = Site(check_layers(self.layer), attribute_to_layer_input)
        starts_from = "references" if baselines is None else "baselines"
        return LayerPlace(request, site, isinstance(self.layer, list | tuple), starts_from)
