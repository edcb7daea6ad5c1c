"""What the methods with a set of references share: keeping the set, and weighting the paths from it."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor

from captum_ext._checks import check_tensors
from captum_ext._types import Baselines, ForwardFunc, Tensors
from captum_ext.attr._path_attribution import Call, PathAttribution
from captum_ext.attr._paths import Starts


class ReferencePathAttribution(PathAttribution):
    """Paths from a set of references that the object holds; `baselines` given to `attribute` replace the set.

    A subclass says in `_reference_starts` which references count for which input, and how much.
    """

    def __init__(self, forward_func: ForwardFunc, multiply_by_inputs: bool = True, *, references: Any = None) -> None:
        super().__init__(forward_func, multiply_by_inputs)
        self._warned = False
        self.references = references

    @property
    def references(self) -> Any:
        """The set of references, validated; setting it replaces the set."""
        return self._references

    @references.setter
    def references(self, value: Any) -> None:
        self._references = None if value is None else self._check_references(value)

    def _check_references(self, value: Any) -> Any:
        """The references in the form in which the method keeps them."""
        return tuple(tensor.detach() for tensor in check_tensors("references", value))

    def _starts(self, call: Call, baselines: Baselines) -> Starts:
        if self._uses_references(baselines):
            return self._reference_starts(call)
        if baselines is None and not self._warned:
            self._warned = True
            warnings.warn(
                f"{type(self).__name__} has no references and acts as IntegratedGradients from zero. "
                "Pass `references=` to the constructor, or `baselines=` to attribute.",
                stacklevel=4,
            )
        return super()._starts(call, baselines)

    def _uses_references(self, baselines: Baselines) -> bool:
        return baselines is None and self.references is not None

    def _reference_starts(self, call: Call) -> Starts:
        """Paths from `self.references`, which is not None."""
        raise NotImplementedError


def weighted_starts(values: Tensors, index: Tensor, weight: Tensor, inputs: Tensors) -> Starts:
    """Paths from `values[index]` with weights that sum to one, leaving out references that equal their input.

    An input is no reference for itself: its map would be zero and only dilute the others. If all references equal
    the input they are kept, and the attribution is zero.
    """
    kept = torch.where(_equal_to_input(values, index, inputs), 0.0, weight)
    total = kept.sum(1, keepdim=True)
    return Starts(values, index, torch.where(total > 0, kept / torch.where(total > 0, total, 1.0), weight))


def _equal_to_input(values: Tensors, index: Tensor, inputs: Tensors) -> Tensor:
    """(N, K): is path k's reference exactly the input of row i, in all tensors?"""
    equal = torch.ones(index.shape, dtype=torch.bool, device="cpu")
    for value, tensor in zip(values, inputs, strict=True):
        flat = tensor.reshape(len(tensor), -1)
        for path in range(index.shape[1]):
            start = value[index[:, path].to(value.device)].to(tensor.device)
            equal[:, path] &= (flat == start.reshape(flat.shape)).all(1).cpu()
    return equal
