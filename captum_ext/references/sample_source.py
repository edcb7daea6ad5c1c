"""Samples of any origin, read twice: once for their outputs, once for the few that are kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from captum_ext.core.checks import check_bool, check_finite, check_tensors, describe
from captum_ext.core.chunks import RowLimit, in_chunks
from captum_ext.core.devices import double
from captum_ext.core.ids import ids_in_range
from captum_ext.core.inspection import device_of
from captum_ext.core.model import BatchedModel
from captum_ext.core.progress import counted
from captum_ext.core.types import ForwardFunc, Tensors
from captum_ext.exceptions import ArgumentError, ArgumentTypeError
from captum_ext.images.samples import Grouped, ImageStream, check_splits, is_indexed, unwrapped

_LOADED_AT_ONCE = 64
#: What is said of token ids where they are not expected.
TOKEN_IDS = "need token_ids=True, and a method at the layer that embeds them"


class SampleSource:
    """Batches of model inputs from a tensor, a data set or a re-iterable of batches, in an order that repeats."""

    def __init__(
        self,
        samples: Any,
        n_inputs: int,
        internal_batch_size: int | None,
        show_progress: bool,
        token_ids: bool = False,
        forward_func: Any = None,
    ) -> None:
        self.n_inputs, self.token_ids = n_inputs, token_ids
        self.internal_batch_size = internal_batch_size
        self.show_progress = check_bool("show_progress", show_progress)
        self.fingerprints = torch.zeros(0, 2)
        self.dataset: Dataset[Any] | None = None
        self.tensors: Tensors | None = None
        self.batches: Iterable[Any]
        are_samples = isinstance(samples, Dataset) or hasattr(samples, "features")  # as data sets of Hugging Face have
        samples, self.format, length = unwrapped(samples, forward_func)
        check_splits("samples", samples)
        if isinstance(samples, Tensor) or (isinstance(samples, tuple) and all(isinstance(s, Tensor) for s in samples)):
            self._take_tensors(samples)
        elif are_samples:
            self._take_dataset(samples, length)
        elif isinstance(samples, Iterable) and not isinstance(samples, Iterator | str | bytes | np.ndarray):
            self.batches = Grouped(samples, self.format, _LOADED_AT_ONCE)
        else:
            raise ArgumentTypeError(
                "samples",
                "a tensor, a Dataset or an iterable of batches that can be read twice (an iterator cannot)",
                describe(samples),
            )

    def _take_dataset(self, samples: Any, length: int | None) -> None:
        """Samples by index, or in order."""
        if is_indexed(samples):
            self.dataset = samples
            self.batches = DataLoader(samples, batch_size=_LOADED_AT_ONCE, collate_fn=self._collated)
        else:
            self.batches = DataLoader(ImageStream(samples, self.format, length), batch_size=_LOADED_AT_ONCE)

    def _collated(self, elements: list[Any]) -> Any:
        return default_collate([self.format.read(element) for element in elements])

    def _take_tensors(self, samples: Any) -> None:
        if isinstance(samples, Tensor) and not samples.is_nested and samples.dim() > 0 and len(samples) == 0:
            raise ArgumentError("samples", "at least two samples", "none")
        self.tensors = tuple(
            tensor.detach()
            for tensor in check_tensors("samples", samples, allow_ids=self.token_ids, where_ids=TOKEN_IDS)
        )
        if self.n_inputs > len(self.tensors):
            raise ArgumentError("n_inputs", f"at most {len(self.tensors)}, the tensors of samples", str(self.n_inputs))
        self.n_inputs = len(self.tensors)
        self.batches = [self.tensors]

    def outputs(self, forward_func: ForwardFunc) -> Tensor:
        """The model's outputs (M, outputs) at all samples, float32 on the CPU.

        Raises:
            ArgumentError: no sample.
            NonFiniteError: NaN or infinity in a sample or an output.
        """
        device = device_of(forward_func)
        n_samples = self._length()
        parts: list[Tensor] = []
        fingerprints: list[Tensor] = []
        whole: Tensor | None = None  # filled in place where the length is known: no second copy at the end
        done = 0
        with self._progress("outputs of samples", n_samples) as on_done, self._checked_ids(forward_func):
            for batch in self._read():
                computed = self._outputs_of(forward_func, batch, device)
                check_finite("forward_func(samples)", computed, done)
                fingerprints.append(_fingerprint(batch))
                if n_samples is None:
                    parts.append(computed)
                else:
                    whole = computed.new_empty(n_samples, computed.shape[1]) if whole is None else whole
                    whole[done : done + len(computed)] = computed
                done += len(computed)
                on_done(len(computed))
        if done == 0:
            raise ArgumentError("samples", "at least two samples", "none")
        self.fingerprints = torch.cat(fingerprints)
        return torch.cat(parts) if whole is None else whole

    def collect(self, indices: list[int]) -> dict[int, Tensors]:
        """The samples at `indices`, each a tuple of tensors without a batch dimension, on the CPU.

        Raises:
            ArgumentError: they are not those of the first reading (a shuffling loader, random augmentation).
        """
        samples = self._look_up(indices) if self.dataset is not None else self._look_for(set(indices))
        for index, sample in samples.items():
            again = _fingerprint(tuple(part[None] for part in sample))[0]
            if not torch.allclose(again, self.fingerprints[index], rtol=1e-6, atol=1e-9):
                raise self._changed(f"another sample {index}")
        return {index: tuple(part.detach().cpu().clone() for part in sample) for index, sample in samples.items()}

    def _look_up(self, indices: list[int]) -> dict[int, Tensors]:
        """Samples of a data set, read one by one."""
        with torch.random.fork_rng(devices=[]):
            elements = ((index, self._collated([self.dataset[index]])) for index in indices)  # type: ignore[index]
            return {index: tuple(part[0] for part in self._inputs_of(element)) for index, element in elements}

    def _look_for(self, wanted: set[int]) -> dict[int, Tensors]:
        """Samples picked while all batches are read again."""
        samples: dict[int, Tensors] = {}
        position = 0
        with self._progress("references", self._length()) as on_done:
            for batch in self._read():
                size = len(batch[0])
                for i in wanted & set(range(position, position + size)):
                    samples[i] = tuple(tensor[i - position] for tensor in batch)
                position += size
                on_done(size)
                if len(samples) == len(wanted):
                    return samples
        raise self._changed(f"{position} samples at the second reading")

    def _changed(self, received: str) -> ArgumentError:
        return ArgumentError("samples", "the same at every reading (no shuffling, no random augmentation)", received)

    def _outputs_of(self, forward_func: ForwardFunc, batch: Tensors, device: torch.device | None) -> Tensor:
        model, limit = BatchedModel(forward_func, len(batch[0])), RowLimit(self.internal_batch_size, batch, device)

        def evaluate(part: slice) -> Tensor:
            rows = tuple(tensor[part] if device is None else tensor[part].to(device) for tensor in batch)
            outputs = model.outputs(rows, torch.arange(part.start, part.stop, device="cpu"))
            return outputs.reshape(len(outputs), -1).to("cpu", torch.float32)

        return in_chunks(len(batch[0]), limit, evaluate, batches=True)

    def _read(self) -> Iterator[Tensors]:
        """Validated batches of the model's inputs. Loaders draw from the global random state, which is put back."""
        with torch.random.fork_rng(devices=[]):
            iterator, done = iter(self.batches), 0
            while True:
                try:
                    batch = next(iterator)
                except StopIteration:
                    return
                except TypeError as error:
                    if "collate" not in str(error):
                        raise
                    # torch refuses images that are not tensors
                    expected = "elements that are tensors, or start with them"
                    received = f"{error} (captum_ext.images.image_dataset(samples, prepare) makes tensors of images)"
                    raise ArgumentTypeError("samples", expected, received) from error
                tensors = check_tensors(
                    "samples", self._inputs_of(batch), done, allow_ids=self.token_ids, where_ids=TOKEN_IDS
                )
                yield tuple(tensor.detach() for tensor in tensors)
                done += len(tensors[0])

    def _inputs_of(self, element: Any) -> Tensors:
        """The model's inputs in an element: itself, or the first `n_inputs` entries of a tuple, list or dictionary."""
        is_batch = isinstance(element, Mapping) and any(isinstance(part, Tensor) for part in element.values())
        element = self.format.located(element).parts if is_batch else element
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

    def _checked_ids(self, forward_func: ForwardFunc) -> AbstractContextManager[None]:
        return ids_in_range(forward_func, "samples") if self.token_ids else nullcontext()

    def _length(self) -> int | None:
        if self.tensors is not None:
            return len(self.tensors[0])
        try:
            return len(self.dataset) if self.dataset is not None else None  # type: ignore[arg-type]
        except TypeError:
            return None

    def _progress(self, description: str, total: int | None) -> AbstractContextManager[Callable[[int], object]]:
        return counted(description, total, "sample", self.show_progress)


def _fingerprint(batch: Tensors) -> Tensor:
    """Two numbers (M, 2) by which a sample is known again: its sum, and its sum weighted by position."""
    numbers = []
    for tensor in batch:
        flat = double(tensor.detach().reshape(len(tensor), -1))
        numbers.append(torch.stack([flat.sum(1), flat @ torch.linspace(0, 1, flat.shape[1]).to(flat)], 1))
    return torch.stack([pair.cpu() for pair in numbers]).sum(0)
