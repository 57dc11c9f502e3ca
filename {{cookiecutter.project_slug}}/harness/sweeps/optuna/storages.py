"""Storages of studies: their URLs, their errors, and how they are opened."""

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep

import optuna
import sqlalchemy
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, GrpcStorageProxy, JournalStorage, RDBStorage, get_storage
from optuna.storages.journal import JournalFileBackend

from harness.errors import RunError, UsageError

JOURNAL, GRPC = "journal:", "grpc://"
TIMEOUT = 100  # seconds to wait for another process that writes to an SQLite file
MAKING = 20  # seconds to wait for another program that creates the tables

optuna.logging.set_verbosity(optuna.logging.ERROR)
warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)  # what is used of it is under test


def absolute(url: str) -> str:
    """Return the URL of a storage, with the whole path if it is a file.

    Optuna waits for ever for the lock of a journal whose path is relative, when a process is killed that holds it.

    Raises:
        UsageError: there is no such kind of storage, or its driver is not installed.
    """
    for start in (JOURNAL, "sqlite:///"):
        if url.startswith(start) and url != start:
            return start + str(Path(url.removeprefix(start)).resolve())
    if "://" not in url:
        raise UsageError(
            f"--storage {url} is no URL such as postgresql://USER@HOST/NAME, sqlite:///FILE or journal:FILE"
        )
    if url.startswith(GRPC):
        if not re.fullmatch(r"grpc://[^/]+:\d+", url):
            raise UsageError(f"--storage {url}: write grpc://HOST:PORT")
    else:
        with driver_errors(url):
            sqlalchemy.make_url(url).get_dialect().import_dbapi()
    return url


def file_of_storage(url: str) -> Path | None:
    """Return the file in which a study is kept, or None for a server."""
    start = next((start for start in (JOURNAL, "sqlite:///") if url.startswith(start)), None)
    return Path(url.removeprefix(start)) if start else None


@contextmanager
def driver_errors(url: str) -> Iterator[None]:
    """Turn an invalid URL, or a missing driver, into an error of one line."""
    try:
        yield
    except sqlalchemy.exc.ArgumentError as error:
        raise UsageError(f"--storage {url}: {error}") from error
    except ImportError as error:
        raise UsageError(
            f"--storage {without_password(url)}: {error} (pip install -e '.[storages]' for PostgreSQL and gRPC)"
        ) from error


@contextmanager
def storage_errors(url: str) -> Iterator[None]:
    """Turn what goes wrong between a storage and its server into an error of one line."""
    try:
        yield
    except Exception as error:
        of_server = "RpcError" in (each.__name__ for each in type(error).__mro__)  # of grpc, which need not be there
        if not of_server and not isinstance(error, sqlalchemy.exc.SQLAlchemyError | StorageInternalError):
            raise
        text = error.details() if hasattr(error, "details") else str(error.__cause__ or error).split("\n(Background")[0]
        reason = " ".join(text.split())
        raise RunError(
            f"--storage {without_password(url)}: {reason}; nothing is lost: the same command resumes"
        ) from error


def without_password(url: str) -> str:
    """Return a URL without its password."""
    try:
        return sqlalchemy.engine.make_url(url).render_as_string(hide_password=True)
    except sqlalchemy.exc.ArgumentError:
        return url


def open_storage(url: str) -> BaseStorage:
    """Return the storage of a URL, from ``absolute``.

    Raises:
        UsageError: its driver is not installed.
        RunError: it does not answer.
    """
    with storage_errors(url), driver_errors(url):
        if file := file_of_storage(url):
            file.parent.mkdir(parents=True, exist_ok=True)
        if url.startswith(JOURNAL):
            return JournalStorage(JournalFileBackend(url.removeprefix(JOURNAL)))
        if url.startswith(GRPC):
            host, _, port = url.removeprefix(GRPC).rpartition(":")
            return GrpcStorageProxy(host=host, port=int(port))
        return get_storage(open_database(url))  # with a cache of what is finished


def open_database(url: str) -> RDBStorage:
    """Return a database with the tables of Optuna, even if another program creates them at the same time."""
    options = {"connect_args": {"timeout": TIMEOUT}} if url.startswith("sqlite:") else None
    deadline = monotonic() + MAKING
    while True:
        try:
            return RDBStorage(url, engine_kwargs=options)
        except sqlalchemy.exc.DBAPIError as error:
            are_made = isinstance(error, sqlalchemy.exc.IntegrityError) or "already exists" in str(error)
            if not are_made or monotonic() > deadline:
                raise
            sleep(0.1)
