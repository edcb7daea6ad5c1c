"""The places of attributions inside of a model: the activations of layers, and the inputs of one neuron."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, TypeAlias, cast

import torch
from torch import Tensor, nn

from captum_ext.attr.layers.layouts import Layout, find_layouts, rows_first
from captum_ext.attr.layers.site import Site, copies, floating, with_tensors
from captum_ext.attr.paths import OnDone, PathProblem, Place, Starts
from captum_ext.core.checks import check_finite, describe
from captum_ext.core.chunks import all_in_chunks
from captum_ext.core.devices import CPU, double, on_device
from captum_ext.core.ids import ids_in_range
from captum_ext.core.model import BatchedModel
from captum_ext.core.request import Request
from captum_ext.core.types import ForwardFunc, TensorOrTensors, Tensors
from captum_ext.exceptions import ArgumentError, ArgumentTypeError

#: A neuron of a layer, as Captum names it: an index, indices and slices after the row, or a function of the layer's
#: tensors that returns one number for each row.
NeuronSelector: TypeAlias = int | tuple[int | slice, ...] | Callable[[Any], Tensor]


class Recorder:
    """The activations of layers at rows of the model's inputs, and the model's outputs, from the same passes."""

    def __init__(self, request: Request, site: Site) -> None:
        self.request, self.site = request, site
        self.latest: list[Tensors] = []
        self.has_ids = any(not value.is_floating_point() for value in request.inputs)
        of = request.model
        recorded = functools.partial(_recorded, of.forward_func, site, self.latest)
        target = of.target if of.has_functions else None
        self.model = BatchedModel(
            recorded, request.n_rows, target, of.forward_args.values, channels_last=of.channels_last
        )
        self.layouts = self._find_layouts()

    def at(self, points: Tensors, rows: Tensor | None, name: str) -> tuple[Tensor, ...]:
        """Activations (P, ...), rows first, of all layers one after the other, and then outputs (P, ...).

        `rows` are those of the call to which the points belong; None: of none, where nothing depends on them.
        """
        n_points = len(points[0])
        outputs = self._run(points, rows, name)
        activations = [tensor for layer in self.latest for tensor in layer]
        if len(activations) != len(self.flat_layouts):
            received = f"{len(self.flat_layouts)} tensors before and {len(activations)} now"
            raise ArgumentError("layer", "one with as many tensors in every pass", received)
        pairs = zip(self.flat_layouts, activations, strict=True)
        return (*(layout.rows(tensor, n_points) for layout, tensor in pairs), outputs)

    @property
    def flat_layouts(self) -> tuple[Layout, ...]:
        """Those of all layers, one after the other."""
        return tuple(layout for layer in self.layouts for layout in layer)

    def _run(self, points: Tensors, rows: Tensor | None, name: str) -> Tensor:
        """The model's outputs; the activations are left in `latest`."""
        model = self.model if rows is not None else self.model.elsewhere(len(points[0]))
        numbers = torch.arange(len(points[0]), device=CPU) if rows is None else rows
        with ids_in_range(self.request.model.forward_func, name) if self.has_ids else nullcontext():
            outputs = model.outputs(points, numbers)
        self.request.model.channels_last = model.channels_last  # a model may refuse it
        return outputs

    def _find_layouts(self) -> tuple[tuple[Layout, ...], ...]:
        """Of every tensor of every layer; where two rows may not be run, rows have to come first."""
        request, unknown = self.request, self.request.model.forward_args.unknown
        at_first = list(range(request.limit.of_batches())) if unknown else [0]  # a batch that cannot be divided
        found = self._tensors_at(at_first)
        n_tensors = [len(layer) for layer in self.latest]
        limited = request.limit.fixed and request.limit.rows == 1
        recurrent = any(isinstance(layer, nn.RNNBase) for layer in self.site.layers)
        if (unknown or limited or request.n_rows == 1) and not recurrent and rows_first(found, len(at_first)):
            layouts: tuple[Layout, ...] = (Layout(),) * len(found)
        elif unknown:
            raise ArgumentError(
                "additional_forward_args",
                "tensors with one entry for each row, or wrapped in captum_ext.Shared, where the rows of a layer have "
                "to be looked for in its activations",
                unknown[0],
            )
        elif limited:
            raise ArgumentError("internal_batch_size", "at least 2 for a layer that may not have its rows first", "1")
        else:
            layouts = find_layouts(self._tensors_at, request.n_rows)
        ends = torch.tensor(n_tensors).cumsum(0).tolist()
        return tuple(layouts[end - count : end] for end, count in zip(ends, n_tensors, strict=True))

    def _tensors_at(self, rows: list[int]) -> Tensors:
        """All layers' tensors at rows of the inputs, as they are."""
        numbers = torch.tensor(rows, device=CPU)
        self._run(tuple(value[on_device(numbers, value.device)] for value in self.request.inputs), numbers, "inputs")
        return tuple(tensor for layer in self.latest for tensor in layer)


class LayerPlace(Place):
    """The activations of layers: paths are straight between those of a reference and those of the input."""

    name = "activations"
    advice = "Explain a layer behind it."

    def __init__(self, request: Request, site: Site, several: bool, starts_from: str = "references") -> None:
        super().__init__(request)
        self.site, self.several, self.starts_from = site, several, starts_from
        self.recorder = Recorder(request, site)

        def at_inputs(part: slice) -> Tensors:
            rows = torch.arange(part.start, part.stop, device=CPU)
            return self.recorder.at(tuple(value[part] for value in request.inputs), rows, "inputs")

        *activations, request.outputs = all_in_chunks(request.n_rows, request.limit, at_inputs, batches=True)
        self.activations = tuple(activations)
        self.start_outputs = request.outputs[:0]

    def problem(self, starts: Starts, multiply_by_inputs: bool, on_done: OnDone | None = None) -> PathProblem:
        """The model from the layers on, between activations."""
        of = self.request
        replacing = functools.partial(
            _replaced, of.model.forward_func, self.site, self.recorder.layouts, len(self.activations)
        )
        args = (*of.inputs, *(of.model.forward_args.values or ()))
        request = of.elsewhere(replacing, self.name, self.activations, args, of.model.target)
        request.outputs = of.outputs
        return PathProblem(request, self._taken_through(starts), multiply_by_inputs, on_done)

    def check(self, problem: PathProblem) -> None:
        """Refuse layers of which one decides what another one is."""
        unused, first = problem.model.unused, 0
        for number, layouts in enumerate(self.recorder.layouts):
            places = set(range(first, first + len(layouts)))
            first += len(layouts)
            if self.several and places <= unused:
                label = self.site.label(self.request.model.forward_func, number)
                expected = "a list of layers that do not depend on each other and that the score depends on"
                raise ArgumentError("layer", expected, f"{label}, which no longer matters where the others are given")

    def explained(self, starts: Starts) -> Tensor:
        """The score at the input minus those at the references, each of the whole model."""
        row, path = starts.paths()
        at_starts = self.start_outputs[on_device(starts.index[row, path], self.start_outputs.device)]
        scores = double(self.request.model.select(at_starts, row)).cpu()
        begin = torch.zeros(len(starts.weight), dtype=torch.float64, device=CPU)
        begin.index_add_(0, row, scores * starts.weight[row, path])
        return double(self.request.scores).cpu() - begin

    def formatted(self, attributions: Tensors) -> Any:
        """As Captum has them: a tensor, or a tuple for a layer with several; a list of these for a list of layers."""
        for one in attributions:
            self.request.left_out.check(one, "forward_func", "scores and gradients wherever it is asked")
        blanked = iter(self.request.left_out.blanked(one) for one in attributions)
        by_layer: list[TensorOrTensors] = []
        for layouts in self.recorder.layouts:
            tensors = tuple(layout.tensor(next(blanked)).contiguous() for layout in layouts)
            by_layer.append(tensors if len(tensors) > 1 else tensors[0])
        return by_layer if self.several else by_layer[0]

    def _taken_through(self, starts: Starts) -> Starts:
        """The starts among activations; a reference that rows share is run once, unless arguments depend on rows."""
        request, index = self.request, starts.index.reshape(-1)  # those without weight, too: a fill may be their mean
        if not (request.model.depends_on_row or request.limit.indivisible):
            used, places = torch.unique(index, return_inverse=True)

            def at_used(part: slice) -> Tensors:
                return self.recorder.at(starts.at(used[part], request.inputs), None, self.starts_from)

            *values, outputs = all_in_chunks(len(used), request.limit.for_batch(len(used)), at_used, batches=True)
        else:
            places = torch.arange(len(index), device=CPU)
            rows = request.rows.repeat_interleave(starts.index.shape[1])

            def at_paths(numbers: Tensor, of: Tensor) -> Tensors:
                return self.recorder.at(starts.at(index[numbers], request.inputs), of, self.starts_from)

            *values, outputs = request.evaluate_all(rows, at_paths, pad=True)
        for value, activation in zip(values, self.activations, strict=True):
            check_finite(self.starts_from, value)
            if value.shape[1:] != activation.shape[1:]:
                expected = f"of activations of the inputs' shape {tuple(activation.shape[1:])} at the layer"
                raise ArgumentError(self.starts_from, expected, str(tuple(value.shape[1:])))
        self.start_outputs = outputs
        return Starts(tuple(values), places.reshape(starts.index.shape), starts.weight)


class NeuronPlace(Place):
    """The model's inputs, with a neuron's activation for a score."""

    def __init__(self, request: Request, site: Site, selector: NeuronSelector) -> None:
        super().__init__(request)
        chosen = _checked_selector(selector)
        if not callable(chosen):
            layouts = Recorder(request, site).flat_layouts
            if layouts != (Layout(),):
                expected = "a function for a layer that has several tensors, or not its rows first"
                raise ArgumentError("neuron_selector", expected, describe(selector))
        neuron = functools.partial(_neuron, request.model.forward_func, site, chosen)
        self.at_neuron = request.elsewhere(neuron, self.name, request.inputs, request.model.forward_args.values, None)

    def problem(self, starts: Starts, multiply_by_inputs: bool, on_done: OnDone | None = None) -> PathProblem:
        """The model up to the neuron, between inputs."""
        return PathProblem(self.at_neuron, starts, multiply_by_inputs, on_done)

    def explained(self, starts: Starts) -> Tensor:
        """The neuron's activation at the input minus that at the references."""
        return Place(self.at_neuron).explained(starts)


def _recorded(forward_func: ForwardFunc, site: Site, latest: list[Tensors], *given: Any) -> Any:
    """The model's output; what passed the layers is left in `latest`."""
    seen: dict[int, Tensors] = {}

    def record(place: int, passing: Any) -> None:
        seen[place] = tuple(tensor.detach() for tensor in copies(passing))

    outputs = site.run(forward_func, given, record)
    latest[:] = [seen[place] for place in range(len(site.layers))]
    return outputs


def _replaced(
    forward_func: ForwardFunc, site: Site, layouts: tuple[tuple[Layout, ...], ...], n_tensors: int, *given: Any
) -> Any:
    """The model's output at inputs and arguments, with rows of activations (the first `n_tensors`) at the layers."""
    rows = iter(given[:n_tensors])
    by_layer = [[layout.tensor(next(rows)) for layout in layer] for layer in layouts]

    def replace(place: int, passing: Any) -> Any:
        there, ours = floating(passing), by_layer[place]
        if [tensor.shape for tensor in there] != [tensor.shape for tensor in ours]:
            shapes = [tuple(tensor.shape) for tensor in there], [tuple(tensor.shape) for tensor in ours]
            label = site.label(forward_func, place)
            expected = "one whose activations have one row for each row of the inputs, whatever their number"
            raise ArgumentError("layer", expected, f"{label} with shapes {shapes[0]} where {shapes[1]} are due")
        return with_tensors(passing, iter(ours))

    return site.run(forward_func, given[n_tensors:], replace)


def _checked_selector(selector: Any) -> NeuronSelector:
    """The selector as a function, or as indices and slices."""
    if callable(selector) and not isinstance(selector, type):
        return selector  # type: ignore[no-any-return]
    indices = selector if isinstance(selector, tuple) else (selector,)
    try:
        return tuple(one if isinstance(one, slice) else _integer(one) for one in indices)
    except (TypeError, RuntimeError, NotImplementedError) as error:
        expected = "an int, a tuple of ints and slices, or a function of the layer's activations"
        raise ArgumentTypeError("neuron_selector", expected, describe(selector)) from error


def _integer(value: Any) -> int:
    if isinstance(value, bool) or (isinstance(value, Tensor) and value.dtype == torch.bool):
        raise TypeError
    return operator.index(value)


def _neuron(forward_func: ForwardFunc, site: Site, selector: NeuronSelector, *given: Any) -> Tensor:
    """The selected activation (P,) of every row."""
    selected: list[Tensor] = []
    n_rows = len(given[0])

    def select(_place: int, passing: Any) -> None:
        tensors = copies(passing)
        if callable(selector):
            value = selector(tensors if len(tensors) > 1 else tensors[0])
        else:
            value = _indexed(tensors[0], cast("tuple[int | slice, ...]", selector))
        if not isinstance(value, Tensor) or value.numel() != n_rows:
            raise ArgumentError("neuron_selector", "of one neuron, one number for each row", _not_one(value, n_rows))
        selected.append(value.reshape(n_rows))

    site.run(forward_func, given, select)
    return selected[0]


def _not_one(value: Any, n_rows: int) -> str:
    """What was selected instead of a number for each row, by the shape of a row where it has any."""
    if isinstance(value, Tensor) and value.dim() > 1 and len(value) == n_rows:
        return f"{tuple(value.shape[1:])} for each: an index is missing, such as (channel, row, column)"
    return f"{describe(value)} for {n_rows} row(s)"


def _indexed(tensor: Tensor, indices: tuple[int | slice, ...]) -> Tensor:
    of_rows = (slice(None), *indices)
    try:
        value = tensor[of_rows]
    except (IndexError, ValueError, TypeError, RuntimeError) as error:  # also integers beyond those of torch
        expected = f"an index into a row of the layer's activations {tuple(tensor.shape[1:])}"
        raise ArgumentError("neuron_selector", expected, describe(indices)) from error
    if any(isinstance(one, slice) for one in indices):  # as in Captum: the sum of what a slice selects
        return value.flatten(1).sum(1)
    return value
