"""Files that are there whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Yield a file to write, which takes the place of ``path`` at the end; if anything fails, all stays as it was.

    It is written beside ``path``, never in a temporary folder: between file systems a move is a copy, which a kill cuts
    short. A kill leaves a hidden file that ends in ``.part`` (see ``remove_parts``).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def remove_parts(folder: Path) -> None:
    """Remove what a killed process had begun to write in ``folder`` or below, or kept for a search of Lightning's."""
    for pattern in (".*.part", ".lr_find_*.ckpt", ".scale_batch_size_*.ckpt"):
        for path in folder.rglob(pattern):
            path.unlink(missing_ok=True)
