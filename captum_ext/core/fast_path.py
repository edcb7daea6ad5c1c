"""PyTorch's fused transformer layers, which run without their submodules and hand nested tensors on."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_LOCK = threading.Lock()
_inside = 0
_before = True


@contextmanager
def every_module_runs() -> Iterator[None]:
    """Inside of the block `nn.TransformerEncoder` and its like run module by module, also without gradients.

    What is switched off belongs to the whole process; the last of several blocks switches it on again.
    """
    global _inside, _before
    with _LOCK:
        if _inside == 0:
            _before = torch.backends.mha.get_fastpath_enabled()
            torch.backends.mha.set_fastpath_enabled(False)
        _inside += 1
    try:
        yield
    finally:
        with _LOCK:
            _inside -= 1
            if _inside == 0:
                torch.backends.mha.set_fastpath_enabled(_before)
