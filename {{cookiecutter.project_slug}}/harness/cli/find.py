"""The checkpoint that ``--ckpt_path`` names: a file, the last or best one of the newest run, or that of a named run."""

import os
from argparse import Namespace
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path

from harness.cli.run_flags import without_best
from harness.config_files import read_config
from harness.errors import Finished, UsageError
from harness.runs.processes import CHECKPOINT, is_first_process, was_requeued, was_started_by_first
from harness.runs.run import (
    BEST,
    CHECKPOINTS,
    CONFIG_FILE,
    ERROR_FILE,
    LAST,
    is_finished,
    is_locked,
    metric_names,
    results_of,
    run_of,
    was_this_job,
)

SHOWN = 3  # runs in a message
LIMITS = {"max_epochs", "max_steps", "max_time"}


def find_checkpoint(args: Namespace) -> str | None:
    """Return the file of ``--ckpt_path``: "last" and "best" are files of the newest run.

    "auto" is the last one of the run that ``--run_name`` names, or None if it has none. Under Slurm, fit in a job that
    was requeued resumes its own run, whatever ``--ckpt_path`` is.

    Args:
        args: command, run_name, ckpt_path and default_root_dir.

    Raises:
        UsageError: If there is no such file, or if several runs are under way and the newest is asked for.
        Finished: If the named run is finished and has no checkpoint.
    """
    requeued = args.command == "fit" and was_requeued()
    if args.ckpt_path not in ("last", "best", "auto") and not requeued:
        return args.ckpt_path
    if was_started_by_first():  # the first process may have made a newer run by now
        return os.environ.get(CHECKPOINT) or None
    root, path = Path(args.default_root_dir or "."), args.ckpt_path
    own = (
        next((run for run in fit_runs(root) if was_this_job(run) and not is_finished(run)), None) if requeued else None
    )
    if path == "auto":
        path = last_of_named(args, root)
    elif own is not None and (own / CHECKPOINTS / LAST).exists():
        path = str(own / CHECKPOINTS / LAST)
    elif path in ("last", "best"):
        newest = next(fit_runs(root), None)
        if newest is None:
            raise UsageError(
                f"--ckpt_path {path}: there is no run of fit below {root} (--fast_dev_run and --debug do not count)"
            )
        under_way = [str(run) for run in fit_runs(root) if is_locked(run)]
        if len(under_way) > 1:
            runs = ", ".join(under_way[:SHOWN]) + ", ..." * (len(under_way) > SHOWN)
            raise UsageError(f"--ckpt_path {path}: several runs are under way ({runs}): name the file of one")
        file = newest / CHECKPOINTS / {"last": LAST, "best": BEST}[path]
        if not file.exists():
            raise no_checkpoint(path, newest)
        path = str(file)
    if is_first_process():
        os.environ[CHECKPOINT] = path or ""
    return path


def last_of_named(args: Namespace, root: Path) -> str | None:
    """Return last.ckpt of the run of ``--run_name``, or None if it has none.

    Raises:
        UsageError: If no run is named, or the command is not fit.
        Finished: If the run is finished and has no checkpoint.
    """
    if args.command != "fit" or args.run_name is None:
        raise UsageError("--ckpt_path auto starts or resumes fit, in the directory of --run_name NAME")
    run_dir = root / args.run_name
    if (run_dir / CHECKPOINTS / LAST).exists():
        return str(run_dir / CHECKPOINTS / LAST)
    if is_finished(run_dir):
        raise Finished(results_of(run_dir))
    return None


def fit_runs(root: Path) -> Iterator[Path]:
    """Yield the directories of runs of fit below ``root``, the one that was started or resumed last first.

    Runs of --fast_dev_run and --debug, and runs that failed before their first checkpoint are left out.
    """
    configs = root.glob(f"*/{CONFIG_FILE}")
    for path in sorted(configs, key=lambda path: (path.stat().st_mtime_ns, path), reverse=True):
        with suppress(UsageError):  # not a config file of ours
            config = read_config(str(path))
            is_dev_run = config.get("fast_dev_run") not in (None, "false", "0") or config.get("debug") == "true"
            has_failed = (path.parent / ERROR_FILE).exists() and not (path.parent / CHECKPOINTS).exists()
            if config.get("command") == "fit" and not is_dev_run and not has_failed:
                yield path.parent


def no_checkpoint(wanted: str, run_dir: Path) -> UsageError:
    """Return the error for a run without best.ckpt, or without last.ckpt."""
    problem = f"--ckpt_path {wanted}: the newest run, {run_dir}, has no {wanted}.ckpt"
    if wanted == "best" and (run_dir / CHECKPOINTS / LAST).exists():
        return UsageError(f"{problem}: {without_best(metric_names(run_dir))}, or take --ckpt_path last")
    return UsageError(f"{problem}: start it again with --config {run_dir / CONFIG_FILE}, or name a file")


def require_more_to_do(args: Namespace, path: str, changed: Collection[str]) -> None:
    """Check that fit has more to do, if it is to resume a finished run: that a limit was raised.

    Args:
        args: all flags.
        path: the checkpoint.
        changed: names of the flags that are not as in the checkpoint.

    Raises:
        UsageError: If it has not.
        Finished: If it has not, and ``--ckpt_path`` is auto.
    """
    run_dir = run_of(path)
    if args.command == "fit" and run_dir is not None and is_finished(run_dir) and not LIMITS & set(changed):
        if args.ckpt_path == "auto":
            raise Finished(results_of(run_dir))
        more = f"--max_epochs {2 * args.max_epochs}" if args.max_epochs else "--max_epochs or --max_steps"
        raise UsageError(f"{run_dir} is finished: for more, add {more}; without --ckpt_path a new run starts")
