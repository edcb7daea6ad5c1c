"""Samples of an iterable by their places in it, for a run that goes on where it stopped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from torch.utils.data import Dataset

from captum_ext.exceptions import ArgumentTypeError


class InOrder(Dataset[Any]):
    """The first `length` samples of an iterable, which is read from its beginning again where a place is behind.

    Places that come one after the other, as a run asks for them, cost one reading.
    """

    def __init__(self, samples: Iterable[Any], length: int) -> None:
        self.samples, self.length = samples, length
        self._iterator: Iterator[Any] | None = None
        self._place = 0

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Any:
        self.skip_to(index)
        return self._next(index)

    def skip_to(self, index: int) -> None:
        """Read up to a place, so that the next sample is the one that is there."""
        if self._iterator is None or index < self._place:
            self._iterator, self._place = iter(self.samples), 0
        while self._place < index:
            self._next(index)

    def settings(self) -> dict[str, Any]:
        """By what a run knows them again."""
        return {"of": type(self.samples).__qualname__}

    def __getstate__(self) -> dict[str, Any]:
        return {"samples": self.samples, "length": self.length, "_iterator": None, "_place": 0}

    def _next(self, index: int) -> Any:
        if self._iterator is None:
            raise IndexError(index)
        try:
            sample = next(self._iterator)
        except StopIteration:
            received = f"an end after {self._place} samples, before sample {index}"
            raise EOFError(f"expected {self.length} samples, but got {received}") from None
        except BaseException:
            self._iterator = None  # a generator that has raised gives nothing more
            raise
        self._place += 1
        return sample


def length_of(samples: Any, given: int | None) -> int:
    """How many samples an iterable has.

    Raises:
        ArgumentTypeError: it does not say it, and nobody else did.
    """
    if given is not None:
        return given
    try:
        return len(samples)
    except TypeError:
        expected = (
            "with a length, so that a run can go on where it stopped: a data set with an index, or of an iterable "
            "captum_ext.images.image_dataset(samples, prepare, length=...)"
        )
        raise ArgumentTypeError("dataset", expected, type(samples).__qualname__) from None
