"""The directory of a run: made for it alone, held by a lock, with the flags that repeat it and what it came to."""

import csv
import json
import os
import platform
import shutil
import sys
import traceback
from argparse import Namespace
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import IO

from harness.errors import UsageError
from harness.cli.config_files import dump_config
from harness.runs.files import remove_parts, whole_file
from harness.runs.slurm import job

try:
    import fcntl
except ImportError:  # Windows: there nothing keeps a second process out
    fcntl = None  # type: ignore[assignment]

CONFIG_FILE = "config.yaml"
METRICS_FILE = "metrics.json"  # written when a run is over
ERROR_FILE = "error.txt"  # of a run that failed: the traceback
LOCK_FILE = ".lock"
JOB_FILE = ".slurm_job.json"
CHECKPOINTS = "checkpoints"
PARENT = "PID_OF_FIRST_PROCESS"  # environment variable
# {% if cookiecutter.sweeps != "none" %}
GIVEN_DIR = "DIR_OF_RUN"  # environment variable: the directory that a sweep gives a run
REPORTS_FILE = "reports.jsonl"  # the reports of a run in separate processes to its sweep
# {% endif %}
BEST, LAST = "best.ckpt", "last.ckpt"


@contextmanager
def opened_run_dir(args: Namespace) -> Iterator[Path]:
    """Give a run its directory: that of ``--ckpt_path`` if fit goes on from a last.ckpt, else a new one.

    A new one lies below ``--default_root_dir``; if the run fails with nothing to show, it is taken away. Of the
    processes of a distributed run, the first one makes it, and holds its lock.

    Raises:
        UsageError: another process is writing to the directory.
    """
    existing = run_of(args.ckpt_path) if args.command == "fit" else None
    # {% if cookiecutter.sweeps != "none" %}
    if GIVEN_DIR in os.environ:
        existing = Path(os.environ[GIVEN_DIR])
    # {% endif %}
    run_dir = existing or new_run_dir(args)
    if not is_first_process():
        yield run_dir
        return
    try:
        with locked(run_dir):
            remove_parts(run_dir)
            yield run_dir
    except BaseException as error:
        found = {path.name for path in run_dir.glob("*")}
        refused = isinstance(error, UsageError) and CHECKPOINTS not in found
        of_machine = {ERROR_FILE} if isinstance(error, OSError) else set()  # it is shown in one line
        if existing is None and (refused or found <= {LOCK_FILE, CONFIG_FILE, "hparams.yaml"} | of_machine):
            shutil.rmtree(run_dir, ignore_errors=True)
        raise


def new_run_dir(args: Namespace) -> Path:
    """Make a directory for one run and return it."""
    suffix = "" if args.command == "fit" else f"_{args.command}"
    first = run_dir = Path(args.default_root_dir, f"{datetime.now():%Y-%m-%d_%H-%M-%S}_{args.model_name}{suffix}")
    for number in count(2):
        try:
            if is_first_process():
                run_dir.mkdir(parents=True)
            break
        except FileExistsError:  # two runs started in the same second
            run_dir = first.with_name(f"{first.name}_{number}")
    return run_dir


def run_of(ckpt_path: str | None) -> Path | None:
    """Return the directory of the run whose last.ckpt this is, or None for any other file."""
    path = Path(ckpt_path or "")
    run_dir = path.parent.parent
    is_last = path.name == LAST and path.parent.name == CHECKPOINTS and (run_dir / CONFIG_FILE).is_file()
    return run_dir if is_last else None


def is_over(run_dir: Path) -> bool:
    """Return whether a run has come to its end."""
    return (run_dir / METRICS_FILE).is_file()


@contextmanager
def locked(run_dir: Path) -> Iterator[None]:
    """Hold the lock of a run's directory.

    Raises:
        UsageError: another process has it.
    """
    with (run_dir / LOCK_FILE).open("a+") as file:
        if fcntl is not None:
            try:
                # Of the two kinds of lock the one that forked worker processes do not inherit: they may outlive a
                # process that is killed.
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except (BlockingIOError, PermissionError) as error:
                raise UsageError(f"{run_dir} belongs to another run, which is {owner(file)}") from error
            except OSError:  # a file system without locks
                pass
        file.truncate(0)
        file.write(json.dumps({"pid": os.getpid(), "host": platform.node()}))
        file.flush()
        yield


# {% if cookiecutter.sweeps in ["optuna", "both"] %}
def is_locked(run_dir: Path) -> bool:
    """Return whether another process holds the lock of a run's directory."""
    try:
        with (run_dir / LOCK_FILE).open("r+") as file:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return True
    except (OSError, AttributeError):  # no such file, or nobody has locks here
        return False
    return False


# {% endif %}
def owner(file: IO[str]) -> str:
    """Return who holds a lock, as the lock file says."""
    file.seek(0)
    try:
        content = json.load(file)
        return f"process {content['pid']} on {content['host']}"
    except (ValueError, KeyError, TypeError):
        return "still going on"


def was_this_job(run_dir: Path) -> bool:
    """Return whether a run was begun by this command line in this Slurm job."""
    with suppress(OSError, ValueError):
        return bool(json.loads((run_dir / JOB_FILE).read_text()) == [job(), sys.argv[1:]])
    return False


def write_job(run_dir: Path) -> None:
    """Write which Slurm job the run belongs to, if there is one, for ``was_this_job``."""
    if job() is not None and is_first_process():
        with whole_file(run_dir / JOB_FILE) as file:
            file.write(json.dumps([job(), sys.argv[1:]]).encode())


def write_config(flags: Mapping[str, object], run_dir: Path) -> None:
    """Write all flags to ``config.yaml`` in the directory of a run, for ``--config`` to read."""
    if is_first_process():
        text = f"# To repeat this run: python main.py --config {run_dir / CONFIG_FILE}\n{dump_config(flags)}"
        with whole_file(run_dir / CONFIG_FILE) as file:
            file.write(text.encode())


def write_error(error: BaseException, message: str, run_dir: Path) -> None:
    """Write the traceback of an error, and a message under it, to ``error.txt``; the first process that fails does."""
    mode = "w" if is_first_process() else "x"  # over what an earlier start has left
    with suppress(OSError), (run_dir / ERROR_FILE).open(mode, encoding="utf-8") as file:
        file.write(f"{''.join(traceback.format_exception(error))}{message}\n")


def write_metrics(metrics: Mapping[str, float], run_dir: Path) -> None:
    """Write what a run came to; the file also says that it is over."""
    if is_first_process():
        with whole_file(run_dir / METRICS_FILE) as file:
            file.write(json.dumps(dict(sorted(metrics.items())), indent=2).encode() + b"\n")


def metric_names(run_dir: Path) -> list[str]:
    """Return the names of the metrics that a run has logged, also while it is under way."""
    with suppress(OSError, ValueError):
        return list(json.loads((run_dir / METRICS_FILE).read_text()))
    with suppress(OSError, StopIteration), (run_dir / "metrics.csv").open(newline="") as lines:
        return [name for name in next(csv.reader(lines)) if name not in ("epoch", "step")]
    return []


def results(metrics: dict[str, float], run_dir: Path) -> dict[str, float | str]:
    """Return the metrics of a run, its checkpoints and its directory: what is worth printing."""
    files = {name: run_dir / CHECKPOINTS / f"{name}.ckpt" for name in ("best", "last")}
    written = {name: str(path) for name, path in files.items() if path.exists()}
    return {**dict(sorted(metrics.items())), **written, "run": str(run_dir)}


def was_started_by_first() -> bool:
    """Return whether the first process of a distributed run has started this one, as Lightning does."""
    return not is_first_process() and os.environ.get(PARENT) == str(os.getppid())


def mark_first() -> None:
    """Let processes that this one starts know that it is the first."""
    if is_first_process():
        os.environ[PARENT] = str(os.getpid())


def is_first_process() -> bool:
    """Return whether this process, of all that a distributed run has, is the one that writes and prints."""
    ranks = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK", "NODE_RANK")
    # Processes that Lightning forks have its own number alone.
    lightning = getattr(sys.modules.get("lightning_utilities.core.rank_zero"), "rank_zero_only", None)
    return getattr(lightning, "rank", 0) == 0 and all(os.environ.get(name, "0") in ("0", "") for name in ranks)
