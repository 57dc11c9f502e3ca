"""Atomic writes of files."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Yield a file to write, which replaces ``path`` at the end; if an error occurs, ``path`` stays unchanged.

    The file is beside ``path``: a move from another file system would be a copy, which a kill can interrupt.
    A kill leaves a hidden file that ends in ``.part`` (see ``remove_parts``).
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


@contextmanager
def whole_files(path: Path) -> Iterator[Path]:
    """Yield a file to write, with others beside it; at the end they move to the folder of ``path``, the file last.

    If an error occurs, ``path`` stays unchanged. A kill leaves a hidden folder that ends in ``.part``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    part.mkdir()
    try:
        yield part / path.name
        for file in sorted(part.iterdir(), key=lambda file: file.name == path.name):
            with file.open("rb+") as written:
                os.fsync(written.fileno())
            file.replace(path.with_name(file.name))
    finally:
        shutil.rmtree(part)


def remove_parts(folder: Path) -> None:
    """Remove files that killed processes left below a folder: partial ones, and checkpoints of Lightning's tuner."""
    for pattern in (".*.part", ".lr_find_*.ckpt", ".scale_batch_size_*.ckpt"):
        for path in folder.rglob(pattern):
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
