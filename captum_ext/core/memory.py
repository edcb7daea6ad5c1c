"""Memory that tensors free, kept by the process that will need it again a moment later."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
import threading
import weakref
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h

#: The same for a process that is to be started; with one arena, since the others give back what they can.
ENVIRONMENT = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": str(2**30), "MALLOC_TRIM_THRESHOLD_": str(2**31 - 1)}

# The largest blocks that glibc can be brought to take from its heap are just below 32 MB; larger ones it takes from
# there only if a gap fits. The gap is for what a few rows of a large network need: address space, no memory.
_BLOCK, _N_BLOCKS = 31 * 2**20, 40
_OVERCOMMIT = Path("/proc/sys/vm/overcommit_memory")

_setting_changed = False
_held: weakref.ref[Tensor] | None = None
_heap_takes_blocks = False


def keep_freed_memory() -> bool:
    """Let glibc keep what was freed instead of giving it back to the system; whether it does.

    Every pass of a network allocates and frees blocks of many megabytes. glibc gets such blocks from the system and
    gives them back one by one, and the system clears each of their pages again at the next pass. It is a setting of
    the whole process that cannot be taken back, so it is for processes that this package starts, not for those of its
    callers, for which there is `hold_freed_memory`; and not for threads beside the main one, which have arenas of their
    own.
    """
    global _setting_changed
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # other C libraries have none
    if mallopt is None:
        return False
    _setting_changed = bool(mallopt(_M_MMAP_THRESHOLD, 2**30)) and bool(mallopt(_M_TRIM_THRESHOLD, 2**31 - 1))
    return _setting_changed


def hold_freed_memory() -> Tensor | None:
    """A block above a gap in the heap: while it lives, glibc keeps what passes free for the passes that follow.

    glibc gives back what is free at the top of its heap. So a heap that ends with a block in use keeps all that is free
    below, and no setting is changed: when the block goes, the memory goes back to the system. Nothing is written into
    the block or the gap, so they take addresses and no memory. All holders share one block. None where this does
    nothing: without glibc, in threads beside the main one (they have heaps of their own), where the system counts
    addresses as memory, after `keep_freed_memory`, or with `CAPTUM_EXT_HOLD_MEMORY=0` in the environment.

    Example:
        >>> from captum_ext.core.memory import hold_freed_memory
        >>> held = hold_freed_memory()
        >>> held is None or hold_freed_memory() is held
        True
    """
    global _held
    alive = None if _held is None else _held()
    if alive is not None or not _can_hold():
        return alive
    try:
        block = _block_above_a_gap()
    except RuntimeError:  # no addresses left: a limit of the process
        return None
    _held = weakref.ref(block)
    return block


def _block_above_a_gap() -> Tensor:
    global _heap_takes_blocks
    if not _heap_takes_blocks:  # glibc takes from its heap what is no larger than the largest block that it gave back
        _heap_takes_blocks = bool(_blocks())
    below = _blocks()
    block = _empty()
    del below
    return block


def _blocks() -> list[Tensor]:
    return [_empty() for _ in range(_N_BLOCKS)]


def _empty() -> Tensor:
    import torch  # here: the shell sets what glibc keeps before it knows whether a command computes anything

    return torch.empty(_BLOCK, dtype=torch.uint8, device="cpu")


def _can_hold() -> bool:
    if _setting_changed or os.environ.get("CAPTUM_EXT_HOLD_MEMORY") == "0":
        return False
    if threading.current_thread() is not threading.main_thread() or platform.libc_ver()[0] != "glibc":
        return False
    try:
        return _OVERCOMMIT.read_text().strip() != "2"
    except OSError:
        return False
