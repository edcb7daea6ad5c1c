"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replaced(target: Path) -> Iterator[Path]:
    """A temporary path beside `target`, with its suffix, which takes its place when the block ends without an error.

    What was written is on the disk before it gets its name, so that neither a killed process nor a power failure
    leaves part of a file.
    """
    temporary = target.with_name(f".{target.stem}.{uuid.uuid4().hex[:12]}.tmp{target.suffix}")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())  # as a plain open would; safetensors makes files for their owner only
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def _umask() -> int:
    """The process's mask, which can be read by setting it only."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
