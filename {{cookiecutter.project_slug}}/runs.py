"""The directory of a run: made for it alone, with the flags that repeat it; and how to find one that is to go on."""

import json
import os
import platform
import sys
from argparse import Namespace
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import IO, Any

from args import UsageError
from config_files import dump_config, read_config
from files import remove_parts, whole_file

try:
    import fcntl
except ImportError:  # Windows: there nothing keeps a second process out
    fcntl = None  # type: ignore[assignment]

CONFIG = "config.yaml"
METRICS = "metrics.json"  # written when a run is over
LOCK = ".lock"
CHECKPOINTS = "checkpoints"
LAST, BEST = "last.ckpt", "best.ckpt"
LIMITS = "max_epochs", "max_steps", "max_time"


@contextmanager
def run_dir(args: Namespace) -> Iterator[Path]:
    """Give a run its directory: that of ``--ckpt_path`` if fit goes on from a last.ckpt, else a new one.

    A new one lies below ``--default_root_dir``; if the run fails with nothing to show, it is taken away. Of the
    processes of a distributed run, the first one makes it, and holds its lock.

    Raises:
        UsageError: another process is writing to the directory.
    """
    going_on = directory_of(args.ckpt_path) if args.command == "fit" else None
    path = going_on or new_run_dir(args)
    if not is_first_process():
        yield path
        return
    with locked(path):
        remove_parts(path)
        try:
            yield path
        except BaseException:
            if not going_on and {file.name for file in path.glob("*")} <= {LOCK, CONFIG, "hparams.yaml"}:
                for file in path.glob("*"):
                    file.unlink()
                with suppress(OSError):
                    path.rmdir()
            raise


def new_run_dir(args: Namespace) -> Path:
    """Make a directory for one run and return it."""
    suffix = "" if args.command == "fit" else f"_{args.command}"
    first = path = Path(args.default_root_dir, f"{datetime.now():%Y-%m-%d_%H-%M-%S}_{args.model_name}{suffix}")
    for number in count(2):
        try:
            if is_first_process():
                path.mkdir(parents=True)
            break
        except FileExistsError:  # two runs started in the same second
            path = first.with_name(f"{first.name}_{number}")
    return path


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of a run's directory.

    Raises:
        UsageError: another process has it.
    """
    with (path / LOCK).open("a+") as file:
        if fcntl is not None:
            try:
                # Of the two kinds of lock the one that forked worker processes do not inherit: they may outlive a
                # process that is killed.
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise UsageError(f"{path} belongs to another process, which is {owner(file)}") from error
        file.truncate(0)
        file.write(json.dumps({"pid": os.getpid(), "host": platform.node(), "job": job()}))
        file.flush()
        yield


def owner(file: IO[str]) -> str:
    """Return who holds a lock, as the lock file says."""
    file.seek(0)
    try:
        content = json.load(file)
        return f"process {content['pid']} on {content['host']}"
    except (ValueError, KeyError, TypeError):
        return "still running"


def job() -> str | None:
    """Return the number of the Slurm job that this process runs in, or None."""
    return os.environ.get("SLURM_JOB_ID")


def directory_of(ckpt_path: str | None) -> Path | None:
    """Return the directory of the run whose last.ckpt this is, or None for any other file."""
    path = Path(ckpt_path or "")
    directory = path.parent.parent
    is_last = path.name == LAST and path.parent.name == CHECKPOINTS and (directory / CONFIG).is_file()
    return directory if is_last else None


def find_checkpoint(args: Namespace) -> str | None:
    """Return the file that ``--ckpt_path`` stands for: last and best are those of the newest run.

    Under Slurm, a job that was requeued goes on without ``--ckpt_path`` from where it was.

    Raises:
        UsageError: there is none.
    """
    if "CKPT_PATH_OF_FIRST_PROCESS" in os.environ and not is_first_process():  # which may have made a newer run
        return os.environ["CKPT_PATH_OF_FIRST_PROCESS"] or None
    path = args.ckpt_path
    if path in ("last", "best"):
        runs = fit_runs(Path(args.default_root_dir or "."))
        if not runs:
            raise UsageError(f"--ckpt_path {path}: there is no run below {args.default_root_dir}")
        path = str(runs[-1] / CHECKPOINTS / f"{path}.ckpt")
        if not Path(path).exists():
            raise UsageError(
                f"--ckpt_path {args.ckpt_path}: the newest run, {runs[-1]}, has no {Path(path).name}: start it again "
                f"with --config {runs[-1] / CONFIG}, or name a file"
            )
    elif path is None and args.command == "fit" and job() and int(os.environ.get("SLURM_RESTART_COUNT", "0")) > 0:
        own = [run for run in fit_runs(Path(args.default_root_dir or ".")) if was_in_job(run) and not is_over(run)]
        checkpoints = [str(run / CHECKPOINTS / LAST) for run in own if (run / CHECKPOINTS / LAST).exists()]
        path = checkpoints[-1] if checkpoints else None
    if is_first_process():
        os.environ["CKPT_PATH_OF_FIRST_PROCESS"] = path or ""
    return path


def fit_runs(root: Path) -> list[Path]:
    """Return the directories of runs of fit below ``root``, the one that was begun or continued last at the end."""
    configs = [path for path in root.glob(f"*/{CONFIG}") if read_config(str(path)).get("command", "fit") == "fit"]
    return [path.parent for path in sorted(configs, key=lambda path: (path.stat().st_mtime_ns, path))]


def was_in_job(run: Path) -> bool:
    """Return whether a run was begun in the Slurm job that this process runs in."""
    with suppress(OSError, ValueError):
        return json.loads((run / LOCK).read_text())["job"] == job()
    return False


def is_over(run: Path) -> bool:
    """Return whether a run has come to its end."""
    return (run / METRICS).is_file()


def require_more_to_do(args: Namespace, trained: Mapping[str, Any]) -> None:
    """Raise UsageError if fit is to go on with a run that is over, and with the limits that it had."""
    directory = directory_of(args.ckpt_path)
    if args.command != "fit" or directory is None or not is_over(directory):
        return
    if all(getattr(args, name) == trained.get(name) for name in LIMITS):
        epochs = f"--max_epochs {2 * args.max_epochs}" if args.max_epochs else "--max_steps or --max_epochs"
        raise UsageError(f"{directory} is finished: for more, add {epochs}; without --ckpt_path a new run starts")


def write_config(flags: Mapping[str, Any], path: Path) -> None:
    """Write all flags to ``config.yaml`` in the directory of a run, for ``--config`` to read."""
    if is_first_process():
        text = f"# To repeat this run: python main.py --config {path / CONFIG}\n{dump_config(flags)}"
        with whole_file(path / CONFIG) as file:
            file.write(text.encode())


def write_metrics(metrics: Mapping[str, float], path: Path) -> None:
    """Write what a run came to; the file also says that it is over."""
    if is_first_process():
        with whole_file(path / METRICS) as file:
            file.write(json.dumps(dict(sorted(metrics.items())), indent=2).encode() + b"\n")


def is_first_process() -> bool:
    """Return whether this process, of all that a distributed run has, is the one that writes and prints."""
    ranks = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK", "NODE_RANK")
    # Lightning knows better, once it is imported and has made processes of its own.
    known = getattr(sys.modules.get("lightning_utilities.core.rank_zero"), "rank_zero_only", None)
    return getattr(known, "rank", 0) == 0 and all(os.environ.get(name, "0") in ("0", "") for name in ranks)
