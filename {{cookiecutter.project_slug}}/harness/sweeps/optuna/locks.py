"""Locks of a study that the system releases when their process ends, however it ends."""

import os
import secrets
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from uuid import uuid4

import sqlalchemy

from harness.sweeps.optuna.storages import GRPC, file_of_storage

try:
    import fcntl
except ImportError:  # Windows: a study is for one process at a time
    fcntl = None  # type: ignore[assignment]

KEYS = 2**31  # keys of claims are random numbers below it
# Database servers: how to wait for a lock, and how to try. A lock belongs to a connection.
WAIT_AND_TRY = {
    "postgresql": ("SELECT pg_advisory_lock(:study, :key)", "SELECT pg_try_advisory_lock(:study, :key)"),
    "mysql": ("SELECT GET_LOCK(CONCAT(:study, '/', :key), -1)", "SELECT GET_LOCK(CONCAT(:study, '/', :key), 0)"),
}


class FileLocks:
    """Locks on the bytes of a file. Key 0 is that of ``exclusive``; ``take`` draws the others.

    POSIX drops all locks of a process on a file when it closes any handle of it, so the only one stays open.
    Forked processes do not inherit these locks.

    Args:
        path: the file.
        is_shared: whether every process that uses the study sees this file.
    """

    def __init__(self, path: Path, is_shared: bool) -> None:
        """Open the file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self.file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        self.own: set[int] = set()  # keys that this process holds
        self.domain = ""
        if not is_shared:
            with self.exclusive():
                self.domain = os.read(self.file, 100).decode()
                if not self.domain:
                    self.domain = str(uuid4())
                    os.write(self.file, self.domain.encode())

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Keep all other processes out."""
        if fcntl is not None:
            fcntl.lockf(self.file, fcntl.LOCK_EX, 1, 0)
        try:
            yield
        finally:
            self.release(0)

    def take(self) -> int:
        """Hold the lock of a new key, and return the key."""
        key = 1 + secrets.randbelow(KEYS - 1)
        if fcntl is not None:
            fcntl.lockf(self.file, fcntl.LOCK_EX, 1, key)
        self.own.add(key)
        return key

    def release(self, key: int) -> None:
        """Release the lock of a key."""
        self.own.discard(key)
        if fcntl is not None:
            fcntl.lockf(self.file, fcntl.LOCK_UN, 1, key)

    def is_held(self, key: int) -> bool:
        """Return whether a process holds the lock of a key."""
        if key in self.own or fcntl is None:
            return key in self.own
        try:
            fcntl.lockf(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, key)
        except (BlockingIOError, PermissionError):
            return True
        self.release(key)
        return False


class DatabaseLocks:
    """Advisory locks of a database server, each held by a connection of its own.

    Args:
        url: of the server.
        name: name of the study.
    """

    domain = ""

    def __init__(self, url: str, name: str) -> None:
        """Connect later."""
        self.engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool, isolation_level="AUTOCOMMIT")
        self.wait, self.attempt = map(sqlalchemy.text, WAIT_AND_TRY[dialect_of(url)])
        self.study = zlib.crc32(name.encode()) % KEYS
        self.own: dict[int, sqlalchemy.Connection] = {}

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Keep all other processes out."""
        with self.engine.connect() as connection:
            connection.execute(self.wait, {"study": self.study, "key": 0})
            yield

    def take(self) -> int:
        """Hold the lock of a new key, and return the key."""
        key = 1 + secrets.randbelow(KEYS - 1)
        self.own[key] = self.engine.connect()
        self.own[key].execute(self.wait, {"study": self.study, "key": key})
        return key

    def release(self, key: int) -> None:
        """Release the lock of a key."""
        self.own.pop(key).close()

    def is_held(self, key: int) -> bool:
        """Return whether a process holds the lock of a key."""
        with self.engine.connect() as connection:
            return not connection.execute(self.attempt, {"study": self.study, "key": key}).scalar()


Locks = FileLocks | DatabaseLocks


@cache
def locks_of(url: str, directory: Path, name: str) -> Locks:
    """Return the locks of a study: in its database server, beside its file, or in its directory.

    Args:
        url: of the storage, from ``absolute``.
        directory: of the study.
        name: of the study.
    """
    if dialect_of(url) in WAIT_AND_TRY:
        return DatabaseLocks(url, name)
    file = file_of_storage(url)
    path = file.with_name(f".{file.name}.{name}.lock") if file else directory / ".lock"
    return FileLocks(path.resolve(), is_shared=not url.startswith(GRPC))


def dialect_of(url: str) -> str:
    """Return the kind of database in a URL."""
    return url.split(":")[0].split("+")[0]
