"""What the methods with a set of references share: keeping the set, and weighting the paths from it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from torch import Tensor

from captum_ext.attr.paths.path_attribution import PathAttribution
from captum_ext.attr.paths.starts import Starts
from captum_ext.core.captum import is_neuron_gradient
from captum_ext.core.checks import check_same_kind, check_same_rows, check_tensors, describe
from captum_ext.core.model import compute_gradients
from captum_ext.core.request import Request
from captum_ext.core.types import Baselines, ForwardFunc, TensorOrTensors, Tensors
from captum_ext.core.warn import warn_caller
from captum_ext.exceptions import ArgumentError, ArgumentsConflictError

#: A function from inputs (N, ...) to references (N, K, ...) of their own; tuples for tuple inputs.
ReferencesOfInputs: TypeAlias = Callable[[Any], TensorOrTensors]


class ReferencePathAttribution(PathAttribution):
    """Paths from a set of references that the object holds; `baselines` given to `attribute` replace the set.

    Every reference counts alike for every input, unless a subclass says otherwise in `reference_starts`.

    Attributes:
        allow_ids: whether references may be token ids, as at layers: what is explained there are activations.
    """

    allow_ids = False

    def __init__(
        self,
        forward_func: ForwardFunc,
        multiply_by_inputs: bool = True,
        *,
        references: Any = None,
        allow_batch_statistics: bool = False,
    ) -> None:
        super().__init__(forward_func, multiply_by_inputs, allow_batch_statistics=allow_batch_statistics)
        self._warned = False
        self.references = references

    @property
    def references(self) -> Any:
        """The set of references, validated; setting it replaces the set."""
        return self._references

    @references.setter
    def references(self, value: Any) -> None:
        self._references = None if value is None else self.check_references(value)

    def check_references(self, value: Any) -> Any:
        """The references in the form in which the method keeps them: a tuple of tensors, or a function."""
        if callable(value) and not isinstance(value, Tensor | type):
            return value
        return tuple(tensor.detach() for tensor in check_tensors("references", value, allow_ids=self.allow_ids))

    def starts(self, request: Request, baselines: Baselines) -> Starts:
        """Paths from `baselines` where they are given, else from the set.

        Raises:
            ArgumentsConflictError: Captum's layer variant gives the baselines, and the set would be ignored.
        """
        if self.uses_references(baselines):
            return self.reference_starts(request)
        if baselines is not None and self.holds_references and not self._explains_inputs():
            raise ArgumentsConflictError(
                ("references", "baselines"),
                f"Captum's layer variant passes baselines of its own, so that {type(self).__name__} would be "
                "Integrated Gradients and its references ignored. Use "
                f"{_layer_variant(type(self))}(forward_func, layer, references=...), or a method without references",
            )
        if baselines is None and not self._warned:
            self._warned = True
            warn_caller(
                f"{type(self).__name__} has no references and acts as IntegratedGradients from zero. "
                "Pass `references=` to the constructor, or `baselines=` to attribute."
            )
        return super().starts(request, baselines)

    def uses_references(self, baselines: Baselines) -> bool:
        """Whether a call with these baselines starts from the set."""
        return baselines is None and self.references is not None

    @property
    def holds_references(self) -> bool:
        """Whether there are references that baselines would replace."""
        return self.references is not None

    def _explains_inputs(self) -> bool:
        """Whether gradients are those of the inputs: the model's, or those of a neuron."""
        return self.gradient_func is compute_gradients or is_neuron_gradient(self.gradient_func)

    def reference_starts(self, request: Request) -> Starts:
        """Paths from `self.references`, which is not None."""
        return equal_starts(self.references, request.inputs)


def _layer_variant(kind: type[Any]) -> str:
    """Name of the class that does at layers what a method does at inputs."""
    for one in kind.__mro__:
        if one.__module__.startswith("captum_ext.attr.") and not one.__module__.startswith("captum_ext.attr.paths"):
            return f"captum_ext.attr.Layer{one.__name__}"
    return "a layer class of captum_ext.attr, such as LayerExpectedGradients"


def equal_starts(references: Tensors | ReferencesOfInputs, inputs: Tensors, warn: bool = False) -> Starts:
    """Equally weighted paths from a set (K, ...) shared by all inputs, or from each input's own that a function gives.

    References that equal their input are left out, with `warn` not silently.
    """
    n_rows = len(inputs[0])
    if not callable(references):
        check_same_rows("references", references, inputs)
        n_references = len(references[0])
        index = torch.arange(n_references, device="cpu").expand(n_rows, n_references)
        values = references
    else:
        values, n_references = _own_references(references, inputs)
        index = torch.arange(n_rows * n_references, device="cpu").reshape(n_rows, n_references)
    values = tuple(value.to(tensor.dtype) for value, tensor in zip(values, inputs, strict=True))
    weight = torch.full(index.shape, 1 / n_references, dtype=torch.float64, device="cpu")
    equal = equal_to_input(values, index, inputs)
    if warn and bool(equal.any()):
        warn_caller(
            f"{int(equal.any(1).sum())} of {n_rows} inputs are among their own references, which are left out for "
            "them; an input that equals all of its references gets zero."
        )
    return without(equal, Starts(values, index, weight))


def _own_references(function: ReferencesOfInputs, inputs: Tensors) -> tuple[Tensors, int]:
    """What the function returns for the inputs, (N, K, ...) for each of them, as values (N * K, ...) and K."""
    copies = tuple(tensor.clone() for tensor in inputs)  # the function is the caller's
    returned = function(copies if len(copies) > 1 else copies[0])
    label = "references(inputs)"
    sets = tuple(tensor.detach() for tensor in check_tensors(label, returned, allow_ids=True))
    if len(sets) != len(inputs):
        raise ArgumentError(label, f"a tuple of {len(inputs)} tensor(s) like the inputs", f"{len(sets)} tensor(s)")
    n_rows = len(inputs[0])
    for value, tensor in zip(sets, inputs, strict=True):
        check_same_kind(label, value, tensor)
        fits = value.dim() == tensor.dim() + 1 and len(value) == n_rows and value.shape[1] == sets[0].shape[1] > 0
        if not fits or value.shape[2:] != tensor.shape[1:]:
            shape = ", ".join(map(str, tensor.shape[1:]))
            raise ArgumentError(label, f"of shape ({n_rows}, K, {shape}), K references an input", describe(value))
    return tuple(value.flatten(0, 1) for value in sets), sets[0].shape[1]


def without(equal: Tensor, starts: Starts) -> Starts:
    """The starts without the paths marked in `equal` (N, K), which begin where they end.

    An input is no reference for itself: its map would be zero and only dilute the others. If all references equal the
    input they are kept, and the attribution is zero.
    """
    kept = torch.where(equal, 0.0, starts.weight)
    total = kept.sum(1, keepdim=True)
    weight = torch.where(total > 0, kept / torch.where(total > 0, total, 1.0), starts.weight)
    return Starts(starts.values, starts.index, weight)


def equal_to_input(values: Tensors, index: Tensor, inputs: Tensors) -> Tensor:
    """(N, K): is path k's reference exactly the input of row i, in all tensors?"""
    equal = torch.ones(index.shape, dtype=torch.bool, device="cpu")
    for value, tensor in zip(values, inputs, strict=True):
        flat = tensor.reshape(len(tensor), -1)
        for path in range(index.shape[1]):
            start = value[index[:, path].to(value.device)].to(tensor.device)
            equal[:, path] &= (flat == start.reshape(flat.shape)).all(1).cpu()
    return equal
