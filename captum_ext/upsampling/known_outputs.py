"""Passes over masked images that are made once, whichever rows, targets and calls ask for them."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from captum_ext.core.autocast import active_autocast, is_callers_autocast
from captum_ext.core.devices import has_float64
from captum_ext.core.inspection import hooks_of
from captum_ext.core.model_search import modules_behind
from captum_ext.core.types import ForwardFunc

#: Outputs of more numbers for a row are maps, not scores of classes, and are not kept.
_MOST_OUTPUTS = 2**16


class NotKeptError(Exception):
    """Outputs that are not rows of at most so many numbers; within this package only."""


class KnownOutputs:
    """Outputs (K,) of one model at masked images, by what the model saw: an image with its filling, and a mask."""

    def __init__(self) -> None:
        self._of_images: OrderedDict[bytes, dict[bytes, Tensor]] = OrderedDict()
        self._model: tuple[Any, ...] = ()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_of_images": OrderedDict(), "_model": ()}  # weights are known by their addresses

    def of(self, forward_func: ForwardFunc) -> KnownOutputs:
        """These outputs for a call with this model: none where it is another one than in the last call, or has changed.

        A change is one of parameters, buffers, modules, their modes or hooks, or of autocast. The model behind a
        function is the modules that it names; what else a function depends on is not seen.
        """
        modules = [part for module in modules_behind(forward_func) for part in module.modules()]
        held = [one for part in modules for one in (*part._parameters.values(), *part._buffers.values())]
        tensors = [one.detach() for one in held if one is not None]
        state = (
            forward_func,
            [(part, part.training, hooks_of(part)) for part in modules],  # alive, so that none gets another's address
            [(one.data_ptr(), one.shape, _version(one)) for one in tensors],
            _sums(tensors),  # what is written through `.data` counts no version
            [*active_autocast(), is_callers_autocast()],
        )
        if state != self._model:
            self._of_images.clear()
        self._model = state
        return self

    def at(self, *values: Tensor) -> KnownRows:
        """What is known of a call's images, of which tensors (N, ...) are all that the outputs depend on."""
        return KnownRows(self._of_images, digests(*values))

    def trim(self, n_images: int) -> None:
        """Forget all images but the last that were asked for."""
        while len(self._of_images) > n_images:
            self._of_images.popitem(last=False)


class KnownRows:
    """Outputs at the N images of one call, and at images that are equal to them."""

    def __init__(self, known: OrderedDict[bytes, dict[bytes, Tensor]], images: list[bytes]) -> None:
        self._known, self._images = known, images

    @property
    def are_distinct(self) -> bool:
        """Whether no two images are equal."""
        return len(set(self._images)) == len(self._images)

    def find(
        self,
        rows: Tensor,
        masks: Callable[[Tensor], Tensor],
        at_once: int,
        ask: Callable[[Tensor], Tensor],
    ) -> Tensor:
        """Outputs (P, K) at points of the rows (P,), of which those that are not known are asked for.

        Args:
            rows: numbers of images (P,).
            masks: from numbers (p,) of points to what is kept, (p, ...).
            at_once: masks in memory.
            ask: from numbers (p,) of points to the model's outputs (p, K).

        Raises:
            NotKeptError: outputs that are not kept.
        """
        points = torch.arange(len(rows), device="cpu")
        parts = (points[first : first + at_once] for first in range(0, len(points), at_once))
        kept = [digest for part in parts for digest in digests(masks(part))]
        keys = [(self._images[row], digest) for row, digest in zip(rows.tolist(), kept, strict=True)]
        new: dict[tuple[bytes, bytes], int] = {}
        for point, (image, mask) in enumerate(keys):
            if mask not in self._known.get(image, {}):
                new.setdefault((image, mask), point)
        if new:
            outputs = ask(torch.tensor(list(new.values()), device="cpu"))
            for (image, mask), output in zip(new, outputs, strict=True):
                self._known.setdefault(image, {})[mask] = output.clone()  # not a view that keeps all others
        for image in {image: None for image, _ in keys}:
            self._known.move_to_end(image)
        return torch.stack([self._known[image][mask] for image, mask in keys])


def check_kept(outputs: Tensor) -> Tensor:
    """Return outputs (P,) or (P, K) that can be kept.

    Raises:
        NotKeptError: others.
    """
    if outputs.dim() > 2 or outputs[0].numel() > _MOST_OUTPUTS:
        raise NotKeptError
    return outputs


def digests(*values: Tensor) -> list[bytes]:
    """A hash of each row of tensors (P, ...), equal where and only where all their rows are equal bit for bit."""
    columns = [value.detach().cpu().contiguous() for value in values]
    found = []
    for rows in zip(*columns, strict=True):
        sha = hashlib.sha256()
        for row in rows:
            sha.update(f"{tuple(row.shape)} {row.dtype}".encode())
            sha.update(row.reshape(-1).view(torch.uint8).numpy().data)
        found.append(sha.digest())
    return found


def _sums(tensors: list[Tensor]) -> list[list[float]]:
    """Sum and norm of every tensor of floating point, by device."""
    found: dict[torch.device, list[Tensor]] = {}
    for tensor in tensors:
        if tensor.is_floating_point():
            wide = torch.float64 if has_float64(tensor.device) else torch.float32
            both = tensor.sum(dtype=wide), torch.linalg.vector_norm(tensor, dtype=wide)
            found.setdefault(tensor.device, []).extend(both)
    return [torch.stack(sums).tolist() for sums in found.values()]


def _version(tensor: Tensor) -> int:
    return 0 if tensor.is_inference() else tensor._version
