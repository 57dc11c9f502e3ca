"""Optuna's part: where a study is kept, what samples and what prunes."""

import re
import warnings
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import numpy as np
import optuna
import sqlalchemy
from optuna.exceptions import StorageInternalError
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner, SuccessiveHalvingPruner
from optuna.samplers import BaseSampler, CmaEsSampler, GPSampler, GridSampler, QMCSampler, RandomSampler, TPESampler
from optuna.storages import BaseStorage, GrpcStorageProxy, JournalStorage, RDBStorage, get_storage
from optuna.storages.journal import JournalFileBackend

from harness.errors import RunError, UsageError

try:
    import fcntl
except ImportError:  # Windows: there a study is for one process at a time
    fcntl = None  # type: ignore[assignment]

JOURNAL, GRPC = "journal:", "grpc://"
SECONDS = 100  # to wait for another process that writes to an SQLite file
MAKING = 20  # seconds to wait for another program that creates the tables
LOCKS = {  # of databases: held by a connection, so gone with it
    "postgresql": ("SELECT pg_advisory_lock(:key)", "SELECT pg_advisory_unlock(:key)"),
    "mysql": ("SELECT GET_LOCK(:key, -1)", "SELECT RELEASE_LOCK(:key)"),
}

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
        raise UsageError(f"--storage {url} is no URL, as postgresql://USER@HOST/NAME, sqlite:///FILE or journal:FILE")
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
            f"--storage {shown(url)}: {error} (pip install -e '.[storages]' for PostgreSQL and gRPC)"
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
        said = error.details() if hasattr(error, "details") else str(error.__cause__ or error).split("\n(Background")[0]
        reason = " ".join(said.split())
        raise RunError(f"--storage {shown(url)}: {reason}; nothing is lost: the same command goes on") from error


def shown(url: str) -> str:
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
    options = {"connect_args": {"timeout": SECONDS}} if url.startswith("sqlite:") else None
    deadline = monotonic() + MAKING
    while True:
        try:
            return RDBStorage(url, engine_kwargs=options)
        except sqlalchemy.exc.DBAPIError as error:
            are_made = isinstance(error, sqlalchemy.exc.IntegrityError) or "already exists" in str(error)
            if not are_made or monotonic() > deadline:
                raise
            sleep(0.1)


@contextmanager
def exclusive(url: str, directory: Path) -> Iterator[None]:
    """Let one process at a time ask for trials: of all on this machine, and of all that share a database.

    Args:
        url: of the storage, from ``absolute``.
        directory: of the sweep; the lock is there if the storage has no file.
    """
    if lock_of_database(url) is not None:
        with database_lock(url):
            yield
        return
    file = file_of_storage(url)
    path = file.with_name(f".{file.name}.lock") if file else directory / ".lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as lock:
        if fcntl is not None:
            fcntl.lockf(lock, fcntl.LOCK_EX)
        yield


def lock_of_database(url: str) -> tuple[str, str] | None:
    """Return how a lock of a database server is taken and given back; None for other storages."""
    return LOCKS.get(url.split(":")[0].split("+")[0])


@contextmanager
def database_lock(url: str) -> Iterator[None]:
    """Hold a lock of a database server."""
    lock, unlock = lock_of_database(url) or ("", "")
    with sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool).connect() as connection:
        key = {"key": zlib.crc32(b"sweep")}
        connection.execute(sqlalchemy.text(lock), key)
        try:
            yield
        finally:
            connection.execute(sqlalchemy.text(unlock), key)


def sampler(name: str, seed: int, number: int, grid: Mapping[str, Sequence[Any]] | None) -> BaseSampler:
    """Return what chooses the values of one trial.

    What it draws is a function of the seed and of the number of the trial, and of the trials before it: no two workers
    draw the same, nor does one that is started again.

    Args:
        name: of ``flags.SAMPLERS``.
        seed: of the sweep.
        number: of the trial.
        grid: all values of each name, for "grid".

    Raises:
        UsageError: a package is not installed.
    """
    own = int(np.random.SeedSequence((seed, number)).generate_state(1)[0])
    chance = RandomSampler(own)
    try:
        if name == "grid":
            return Grid({name: list(values) for name, values in (grid or {}).items()}, seed=seed)
        if name == "cmaes":
            import cmaes  # noqa: F401  Optuna imports it later

            return CmaEsSampler(seed=own, independent_sampler=chance, warn_independent_sampling=False)
        if name in ("gp", "qmc"):
            import scipy  # noqa: F401
        if name == "gp":
            return GPSampler(seed=own, independent_sampler=chance)
        if name == "qmc":  # one sequence for all
            return QMCSampler(scramble=True, seed=seed, independent_sampler=chance, warn_independent_sampling=False)
    except ImportError as error:
        raise UsageError(f"--sampler {name}: {error}: pip install -e '.[samplers]'") from error
    return chance if name == "random" else TPESampler(seed=own)


class Grid(GridSampler):
    """A grid whose end does not stop Optuna's own loop, which is not used here."""

    def after_trial(self, *args: Any) -> None:
        """Do nothing."""


def pruner(name: str, max_epochs: int | None) -> BasePruner:
    """Return what stops trials that do badly.

    Args:
        name: of ``flags.PRUNERS``.
        max_epochs: the most that a trial takes, if it is known.
    """
    if name == "hyperband":
        return HyperbandPruner(max_resource=max_epochs if max_epochs and max_epochs > 0 else "auto")
    pruners = {"median": MedianPruner, "successive_halving": SuccessiveHalvingPruner, "none": NopPruner}
    return pruners[name]()
