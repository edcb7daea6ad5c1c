"""Memory that tensors free, kept by the process that will need it again a moment later."""

from __future__ import annotations

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h

#: The same for a process that is to be started; with one arena, since the others give back what they can.
ENVIRONMENT = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": str(2**30), "MALLOC_TRIM_THRESHOLD_": str(2**31 - 1)}


def keep_freed_memory() -> bool:
    """Let glibc keep what was freed instead of giving it back to the system; whether it does.

    Every pass of a network allocates and frees blocks of many megabytes. glibc gets such blocks from the system and
    gives them back one by one, and the system clears each of their pages again at the next pass. It is a setting of
    the whole process that cannot be taken back, so it is for processes that this package starts, not for those of its
    callers; and not for threads beside the main one, which have arenas of their own.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # other C libraries have none
    if mallopt is None:
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, 2**30)) and bool(mallopt(_M_TRIM_THRESHOLD, 2**31 - 1))
