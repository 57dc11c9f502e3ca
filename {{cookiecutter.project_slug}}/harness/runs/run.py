"""A run: its directory, the lock of it, its flags, the checkpoint it starts from, and its metrics."""

import csv
import json
import os
import platform
import shutil
import sys
import traceback
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from itertools import count
from pathlib import Path
from time import sleep
from typing import IO, Any

from harness.config_files import dump_config, parse_config, schemas
from harness.errors import UsageError
from harness.files import remove_parts, whole_file
from harness.runs import record
from harness.runs.processes import RUN_DIR, is_first_process, job

try:
    import fcntl
except ImportError:  # Windows: there nothing keeps a second process out
    fcntl = None  # type: ignore[assignment]

CONFIG_FILE = "config.yaml"
SCHEMA_FILE = "config.schema.json"  # of config.yaml, for editors
METRICS_FILE = "metrics.json"  # written when a run is finished
ERROR_FILE = "error.txt"  # of a run that failed: the traceback
LOCK_FILE = ".lock"
JOB_FILE = ".slurm_job.json"
CHECKPOINTS = "checkpoints"
BEST, LAST = "best.ckpt", "last.ckpt"
TRIES = 5  # to get a lock, before it is another run's
REPORTS_FILE = "reports.jsonl"  # metrics that processes of a run report to the program that started them
# Files that a run writes before its first checkpoint.
BEGINNINGS = (
    *(CONFIG_FILE, SCHEMA_FILE, record.RECORD_FILE, record.PATCH_FILE, ERROR_FILE, CHECKPOINTS, REPORTS_FILE),
    *("hparams.yaml", "metrics.csv", "events.out.tfevents.*"),
)


class Run:
    """A run in a directory of its own; as a context it holds the lock of the directory.

    Args:
        args: all flags.
        run_dir: the directory; by default that of ``--ckpt_path`` if fit resumes a last.ckpt, else a new one below
            ``--default_root_dir``.

    Attributes:
        dir: the directory, once the context is entered.
        ckpt_path: checkpoint whose weights the run starts from, or None.
        resumes: whether fit continues the run in this directory.
        flags: the flags that config.yaml and checkpoints hold.
        loggers: loggers that begin once the checkpoint is found to be right, in a run that resumes.
        failed: whether the run ends by an exception.
    """

    dir: Path

    def __init__(self, args: Namespace, run_dir: Path | str | None = None) -> None:
        self.args = args
        self.ckpt_path: str | None = None if args.ckpt_path in ("none", "auto") else args.ckpt_path
        self.loggers: list[Any] = []
        self.failed = False
        self._wanted = Path(run_dir) if run_dir is not None else None
        if self._wanted is None and args.run_name is not None:
            self._wanted = Path(args.default_root_dir, args.run_name)
        self._depth = 0
        self._opened = ExitStack()
        self._git: record.Git | None = None
        self._earlier: tuple[int, int] | None = None  # run.json of an earlier start
        own = run_of(args.ckpt_path) if args.command == "fit" else None
        if self._wanted is None and own is not None:
            self._wanted = own
        if RUN_DIR in os.environ:
            self._wanted = Path(os.environ[RUN_DIR])
        self.resumes = own is not None and self._wanted is not None and own.resolve() == self._wanted.resolve()

    def __enter__(self) -> "Run":
        if self._depth == 0:
            self.dir = self._wanted or new_run_dir(self.args)
            self._open()
        self._depth += 1
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        self._depth -= 1
        if self._depth == 0:
            self.failed = error is not None
            try:
                if is_first_process() and record.identity(self.dir) not in (None, self._earlier):
                    record.write_end(self.dir, error)  # of a run that has begun, in this process or one that it forked
            finally:
                self._opened.close()
            if error is not None and self._wanted is None and is_first_process():
                self._remove_if_empty(error)

    def _open(self) -> None:
        if not is_first_process():
            return
        self.dir.mkdir(parents=True, exist_ok=True)
        self._opened.enter_context(locked(self.dir))
        remove_parts(self.dir)
        if self.args.ckpt_path == "auto" and not (self.dir / CHECKPOINTS / LAST).exists():
            clear(self.dir)  # it was killed before its first checkpoint, if it was there at all
        if not self.resumes and RUN_DIR not in os.environ and (self.dir / CONFIG_FILE).exists():
            self._opened.close()
            resume = "resume it with --ckpt_path auto, or take another name" if self.args.run_name else "name another"
            raise UsageError(f"{self.dir} holds a run already: {resume}")
        self._earlier, self._git = record.identity(self.dir), record.Git()
        self._opened.callback(self._git.close)

    def _remove_if_empty(self, error: BaseException) -> None:
        """Remove the new directory of a run that failed before it had a result."""
        found = {path.name for path in self.dir.glob("*")}
        refused = isinstance(error, UsageError) and CHECKPOINTS not in found
        of_machine = {ERROR_FILE} if isinstance(error, OSError) else set()  # shown in one line
        written = {LOCK_FILE, CONFIG_FILE, SCHEMA_FILE, record.RECORD_FILE, record.PATCH_FILE, "hparams.yaml"}
        if refused or found <= written | of_machine:
            shutil.rmtree(self.dir, ignore_errors=True)

    def at_end(self, function: Callable[[], object]) -> None:
        """Call a function when the run ends, before its directory is free for another process."""
        self._opened.callback(function)

    @property
    def checkpoint(self) -> Mapping[str, Any]:
        """The content of the checkpoint that the run starts from; empty without one."""
        from harness.runs.checkpoint_files import read_checkpoint  # torch

        return read_checkpoint(self.ckpt_path) if self.ckpt_path else {}

    @property
    def flags(self) -> dict[str, Any]:
        """The flags that config.yaml and checkpoints hold: to repeat a resumed run is to start where it started."""
        flags = {name: value for name, value in vars(self.args).items() if name != "run_name"}
        if self.resumes:
            first = self._first_flags
            flags |= {name: first.get(name) for name in ("ckpt_path", "init_from")}
            flags["init_from_strict"] = first.get("init_from_strict") == "true"
        elif flags["ckpt_path"] == "auto":
            flags["ckpt_path"] = None
        return flags

    @property
    def _first_flags(self) -> dict[str, Any]:
        with suppress(OSError, ValueError):
            return parse_config((self.dir / CONFIG_FILE).read_text(encoding="utf-8"))
        return {}

    @property
    def is_finished(self) -> bool:
        """Whether the run has come to its end."""
        return is_finished(self.dir)

    def best_checkpoint(self) -> str | None:
        """Return the file of the best weights, or None if no metric was monitored."""
        path = self.dir / CHECKPOINTS / BEST
        return str(path) if path.exists() else None

    def begin(self, **facts: Any) -> None:
        """Write config.yaml and run.json, and remove what an earlier end of the run has left.

        Args:
            **facts: more that run.json is to hold.
        """
        write_config(self.flags, self.dir)
        write_job(self.dir)
        if is_first_process():
            if record.identity(self.dir) == self._earlier:  # else a search before training has begun it
                record.write_begin(self.dir, self.args, self._git or record.Git(), facts)
            for name in (METRICS_FILE, ERROR_FILE):
                (self.dir / name).unlink(missing_ok=True)

    def add_facts(self, **facts: Any) -> None:
        """Add to run.json what becomes known after the run has begun."""
        if is_first_process():
            record.add_facts(self.dir, facts)

    def finish(self, metrics: Mapping[str, Any]) -> dict[str, float]:
        """Write the metrics to metrics.json, which marks the run as finished, and return them as numbers."""
        result = {name: float(value) for name, value in metrics.items()}
        write_metrics(result, self.dir)
        return result

    def summary(self, results: Mapping[str, float | str]) -> dict[str, float | str]:
        """Return the results of a run, its checkpoints and its directory: the table that the program prints."""
        written = checkpoints(self.dir) if self.args.command == "fit" else {}
        return {**dict(sorted(results.items())), **written, "run": str(self.dir)}


def checkpoints(run_dir: Path) -> dict[str, str]:
    """Return the files of the best and the last checkpoint of a run, as far as there are any."""
    files = {name: run_dir / CHECKPOINTS / f"{name}.ckpt" for name in ("best", "last")}
    return {name: str(path) for name, path in files.items() if path.exists()}


def results_of(run_dir: Path) -> dict[str, float | str]:
    """Return the table that the program has printed at the end of a run of fit."""
    return {**metrics_of(run_dir), **checkpoints(run_dir), "run": str(run_dir)}


def metrics_of(run_dir: Path) -> dict[str, float]:
    """Return the metrics of a finished run."""
    metrics: dict[str, float] = json.loads((run_dir / METRICS_FILE).read_text())
    return metrics


def clear(run_dir: Path) -> None:
    """Remove the files of a run that was killed before its first checkpoint, and no others."""
    for path in [path for pattern in BEGINNINGS for path in run_dir.glob(pattern)]:
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def open_run(args: Namespace, run: Run | Path | str | None = None) -> Run:
    """Return a run to enter as a context: the given one, one in the given directory, or one with its own.

    Raises:
        UsageError: When entered, if another process is writing to the directory, or it holds a run already.
    """
    return run if isinstance(run, Run) else Run(args, run)


def new_run_dir(args: Namespace) -> Path:
    """Make a directory for one run and return it."""
    suffix = "" if args.command == "fit" else f"_{args.command}"
    suffix += "_fast_dev_run" if args.fast_dev_run else ""
    suffix += "_debug" if args.debug else ""
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
    """Return the directory of the run that a last.ckpt belongs to, or None for any other file."""
    path = Path(ckpt_path or "")
    run_dir = path.parent.parent
    is_last = path.name == LAST and path.parent.name == CHECKPOINTS and (run_dir / CONFIG_FILE).is_file()
    return run_dir if is_last else None


def is_finished(run_dir: Path) -> bool:
    """Return whether the run in a directory has come to its end."""
    return (run_dir / METRICS_FILE).is_file()


@contextmanager
def locked(run_dir: Path) -> Iterator[None]:
    """Hold the lock of a run's directory.

    Raises:
        UsageError: If another process has it.
    """
    with (run_dir / LOCK_FILE).open("a+") as file:
        for patience in range(TRIES, -1, -1):
            try:
                # Of the two kinds of lock the one that forked worker processes do not inherit: they may outlive a
                # process that is killed.
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except (BlockingIOError, PermissionError) as error:
                if not patience:
                    raise UsageError(f"{run_dir} belongs to another run, which is {owner(file)}") from error
                sleep(0.02)  # another process may be reading the state of the run, by is_locked
            except (OSError, AttributeError):  # a file system or platform without locks
                break
            else:
                break
        file.truncate(0)
        file.write(json.dumps({"pid": os.getpid(), "host": platform.node()}))
        file.flush()
        yield


def is_locked(run_dir: Path) -> bool:
    """Return whether another process holds the lock of a run's directory, which may be one that is read alone."""
    with ExitStack() as opened:
        try:
            file = opened.enter_context((run_dir / LOCK_FILE).open("rb"))
        except OSError:  # no such file
            return False
        try:
            fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # two who ask do not take each other for the run
        except (BlockingIOError, PermissionError):
            return True
        except (OSError, AttributeError):  # a file system or platform without locks
            return False
    return False


def owner(file: IO[str]) -> str:
    """Return the process that holds a lock, from the content of the lock file."""
    file.seek(0)
    try:
        content = json.load(file)
        return f"process {content['pid']} on {content['host']}"
    except (ValueError, KeyError, TypeError):
        return "still running"


def was_this_job(run_dir: Path) -> bool:
    """Return whether a run was started by this command line in this Slurm job."""
    with suppress(OSError, ValueError):
        return bool(json.loads((run_dir / JOB_FILE).read_text()) == [job(), sys.argv[1:]])
    return False


def write_job(run_dir: Path) -> None:
    """Write the Slurm job that the run belongs to, if there is one, for ``was_this_job``."""
    if job() is not None and is_first_process():
        with whole_file(run_dir / JOB_FILE) as file:
            file.write(json.dumps([job(), sys.argv[1:]]).encode())


def write_config(flags: Mapping[str, object], run_dir: Path) -> None:
    """Write all flags to ``config.yaml`` in the directory of a run, for ``--config`` to read, and their schema."""
    if is_first_process():
        schema = schemas.get((flags.get("model_name"), flags.get("data_name")))
        head = f"# yaml-language-server: $schema={SCHEMA_FILE}\n" if schema is not None else ""
        if schema is not None:
            (run_dir / SCHEMA_FILE).write_text(schema(flags.keys()), encoding="utf-8")
        text = f"{head}# To repeat this run: python main.py --config {run_dir / CONFIG_FILE}\n{dump_config(flags)}"
        with whole_file(run_dir / CONFIG_FILE) as file:
            file.write(text.encode())


def write_error(error: BaseException, message: str, run_dir: Path) -> None:
    """Write the traceback of an error, and a message under it, to ``error.txt``; the first process that fails does."""
    mode = "w" if is_first_process() else "x"  # replaces that of an earlier start
    with suppress(OSError), (run_dir / ERROR_FILE).open(mode, encoding="utf-8") as file:
        file.write(f"{''.join(traceback.format_exception(error))}{message}\n")


def write_metrics(metrics: Mapping[str, float], run_dir: Path) -> None:
    """Write the metrics of a finished run."""
    if is_first_process():
        with whole_file(run_dir / METRICS_FILE) as file:
            file.write(json.dumps(dict(sorted(metrics.items())), indent=2).encode() + b"\n")


def metric_names(run_dir: Path) -> list[str]:
    """Return the names of the metrics that a run has logged, also one that is running."""
    with suppress(OSError, ValueError):
        return list(json.loads((run_dir / METRICS_FILE).read_text()))
    with suppress(OSError, StopIteration), (run_dir / "metrics.csv").open(newline="") as lines:
        return [name for name in next(csv.reader(lines)) if name not in ("epoch", "step")]
    return []
