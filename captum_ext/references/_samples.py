"""Samples of any origin, read twice: once for their outputs, once for the few that are kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset
from tqdm.auto import tqdm

from captum_ext._checks import check_finite, check_tensors, describe
from captum_ext._model import RowwiseModel, find_module
from captum_ext._rows import RowLimit, for_each_chunk
from captum_ext._types import ForwardFunc, Tensors
from captum_ext.exceptions import ArgumentError, ArgumentTypeError

_LOADED_AT_ONCE = 64
# Outputs of the same sample in another batch differ by rounding; another sample's differ by far more than this share.
_SAME_OUTPUT = 1e-2


class SampleSource:
    """Batches of model inputs from a tensor, a data set or a re-iterable of batches, in an order that repeats."""

    def __init__(self, samples: Any, n_inputs: int, internal_batch_size: int | None, show_progress: bool) -> None:
        self.n_inputs = n_inputs
        self.internal_batch_size = internal_batch_size
        self.show_progress = show_progress
        self.dataset: Dataset[Any] | None = None
        self.tensors: Tensors | None = None
        self.batches: Iterable[Any]
        if isinstance(samples, Tensor) or (isinstance(samples, tuple) and all(isinstance(s, Tensor) for s in samples)):
            self._take_tensors(samples)
        elif isinstance(samples, Dataset):
            self.batches = DataLoader(samples, batch_size=_LOADED_AT_ONCE)
            self.dataset = None if isinstance(samples, IterableDataset) else samples
        elif isinstance(samples, Iterable) and not isinstance(samples, Iterator):
            self.batches = samples
        else:
            raise ArgumentTypeError(
                "samples",
                "a tensor, a Dataset or an iterable of batches that can be read twice (an iterator cannot)",
                describe(samples),
            )

    def _take_tensors(self, samples: Any) -> None:
        if len(samples) == 0:
            raise ArgumentError("samples", "at least two samples", "none")
        self.tensors = tuple(tensor.detach() for tensor in check_tensors("samples", samples))
        self.n_inputs = len(self.tensors)
        self.batches = [self.tensors]

    def outputs(self, forward_func: ForwardFunc) -> Tensor:
        """The model's outputs (M, outputs) at all samples, float32 on the CPU.

        Raises:
            ArgumentError: no sample.
            NonFiniteError: NaN or infinity in a sample or an output.
        """
        model, device = RowwiseModel(forward_func, 0), _device_of(forward_func)
        n_samples = self._length()
        parts: list[Tensor] = []
        whole: Tensor | None = None  # filled in place where the length is known: no second copy at the end
        done = 0
        with self._progress("outputs of samples", n_samples) as bar:
            for batch in self._read():
                computed = self._outputs_of(model, batch, device)
                check_finite("forward_func(samples)", computed)
                if n_samples is None:
                    parts.append(computed)
                else:
                    whole = computed.new_empty(n_samples, computed.shape[1]) if whole is None else whole
                    whole[done : done + len(computed)] = computed
                done += len(computed)
                bar.update(len(computed))
        if done == 0:
            raise ArgumentError("samples", "at least two samples", "none")
        return torch.cat(parts) if whole is None else whole

    def collect(self, indices: list[int]) -> dict[int, Tensors]:
        """The samples at `indices`, each a tuple of tensors without a batch dimension, on the CPU."""
        if self.tensors is not None:
            return {i: tuple(tensor[i].cpu().clone() for tensor in self.tensors) for i in indices}
        if self.dataset is not None:
            return {i: tuple(part.clone() for part in self._inputs_of(self.dataset[i])) for i in indices}
        wanted, found, position = set(indices), {}, 0
        with self._progress("references", self._length()) as bar:
            for batch in self._read():
                size = len(batch[0])
                for i in wanted & set(range(position, position + size)):
                    found[i] = tuple(tensor[i - position].cpu().clone() for tensor in batch)
                position += size
                bar.update(size)
                if len(found) == len(wanted):
                    break
        if len(found) < len(wanted):
            raise self._changed_order(f"{position} samples at the second reading")
        return found

    def check_order(self, forward_func: ForwardFunc, chosen: dict[int, Tensors], outputs: Tensor) -> None:
        """Check that the second reading gave the samples of the first: their outputs must be the same.

        Raises:
            ArgumentError: they are not (a shuffling loader, random augmentation, a model in training mode).
        """
        model, device = RowwiseModel(forward_func, 0), _device_of(forward_func)
        for index, tensors in chosen.items():
            again = self._outputs_of(model, tuple(tensor[None] for tensor in tensors), device)[0]
            first = outputs[index]
            if (again - first).abs().max() > _SAME_OUTPUT * (first.abs().max() + again.abs().max()):
                raise self._changed_order(f"other outputs for sample {index}")

    def _changed_order(self, received: str) -> ArgumentError:
        expected = "the same at every reading (no shuffling, no random augmentation, the model in eval mode)"
        return ArgumentError("samples", expected, received)

    def _outputs_of(self, model: RowwiseModel, batch: Tensors, device: torch.device | None) -> Tensor:
        limit = RowLimit(self.internal_batch_size, batch)
        parts: list[Tensor] = []

        def evaluate(part: slice) -> None:
            rows = tuple(tensor[part] if device is None else tensor[part].to(device) for tensor in batch)
            computed = model.outputs(rows, torch.arange(len(rows[0])))
            parts.append(computed.reshape(len(computed), -1).to("cpu", torch.float32))

        for_each_chunk(len(batch[0]), limit, evaluate)
        return torch.cat(parts)

    def _read(self) -> Iterator[Tensors]:
        iterator = iter(self.batches)
        while True:
            try:
                batch = next(iterator)
            except StopIteration:
                return
            except TypeError as error:  # torch's collate refuses images that are not tensors
                raise ArgumentTypeError(
                    "samples", "elements that are tensors, or start with them", str(error)
                ) from error
            tensors = self._inputs_of(batch)
            yield tuple(tensor.detach() for tensor in check_tensors("samples", tensors))

    def _inputs_of(self, element: Any) -> Tensors:
        """The model's inputs in an element: itself, or the first `n_inputs` entries of a tuple or list."""
        parts = (element,) if isinstance(element, Tensor) else element
        if not isinstance(parts, tuple | list) or len(parts) < self.n_inputs:
            raise ArgumentTypeError(
                "samples", f"elements that are tensors, or start with {self.n_inputs} of them", describe(element)
            )
        inputs = tuple(parts[: self.n_inputs])
        for part in inputs:
            if not isinstance(part, Tensor):
                raise ArgumentTypeError("samples", "elements that are tensors, or start with them", describe(part))
        return inputs

    def _length(self) -> int | None:
        if self.tensors is not None:
            return len(self.tensors[0])
        try:
            return len(self.dataset) if self.dataset is not None else None  # type: ignore[arg-type]
        except TypeError:
            return None

    @contextmanager
    def _progress(self, description: str, total: int | None) -> Iterator[Any]:
        with tqdm(total=total, desc=description, unit="sample", disable=not self.show_progress) as bar:
            yield bar


def _device_of(forward_func: ForwardFunc) -> torch.device | None:
    """Where the model's parameters are, if that can be seen: samples are moved there."""
    module = find_module(forward_func)
    parameter = None if module is None else next(module.parameters(), None)
    return None if parameter is None else parameter.device
