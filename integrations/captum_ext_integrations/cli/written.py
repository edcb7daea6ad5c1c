"""What the command line writes: whole or not at all."""

from __future__ import annotations

from pathlib import Path

from captum_ext.core.atomic import remove_unfinished, replaced
from captum_ext.exceptions import ArgumentError

_KINDS = (".png", ".npy")


def write(path: Path, content: bytes) -> None:
    """Put a file in its place once it is on the disk; what was there before stays until then.

    What a process left that was killed while it wrote this file is removed.

    Raises:
        OSError: no room, or no permission; it has the name of the file.
    """
    if path.parent.is_dir():  # else the error below names the file
        remove_unfinished(path.parent, path.stem)
    with replaced(path) as temporary:
        temporary.write_bytes(content)


def check_picture(out: Path) -> None:
    """Make the folder of a picture, before anything is computed.

    Raises:
        ArgumentError: no name of a picture or of a map.
    """
    if out.suffix not in _KINDS:
        raise ArgumentError("out", "a file whose name ends in .png or .npy", str(out))
    if out.is_dir():
        raise ArgumentError("out", "a file whose name ends in .png or .npy", f"{out}, which is a folder")
    out.parent.mkdir(parents=True, exist_ok=True)
