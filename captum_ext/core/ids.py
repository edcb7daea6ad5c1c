"""Token ids: which an embedding does not have is found before the lookup, where the caller's argument is known."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from captum_ext.core.model_search import modules_behind
from captum_ext.core.types import ForwardFunc
from captum_ext.exceptions import ArgumentError


@contextmanager
def ids_in_range(forward_func: ForwardFunc, name: str) -> Iterator[None]:
    """Inside of the block the embeddings of a model refuse ids that they do not have, in the name of an argument.

    Without it an accelerator stops the whole process at such an id, and the CPU says that an index is out of range.

    Raises:
        ArgumentError: names the argument, the id and the embedding.
    """
    embeddings = {
        id(part): (path, part)
        for module in modules_behind(forward_func)
        for path, part in module.named_modules()
        if isinstance(part, nn.Embedding | nn.EmbeddingBag)
    }
    handles = []
    try:
        for path, part in embeddings.values():
            handles.append(part.register_forward_pre_hook(_check(name, path, part.num_embeddings - 1)))
        yield
    finally:
        for handle in handles:
            handle.remove()


def _check(name: str, path: str, most: int) -> Any:
    def check(_module: nn.Module, given: tuple[Any, ...]) -> None:
        ids = given[0] if given else None
        if not isinstance(ids, Tensor) or ids.is_floating_point() or ids.numel() == 0:
            return
        low, high = torch.stack(torch.aminmax(ids)).tolist()
        if low < 0 or high > most:
            wrong = low if low < 0 else high
            raise ArgumentError(name, f"of ids from 0 to {most}, those of the embedding {path!r}", str(wrong))

    return check
