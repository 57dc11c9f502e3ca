"""Which checkpoint a command line means, and the flags that it was made with: so they need not be given again."""

import os
from argparse import Namespace
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from harness.cli.config_files import dump_config, parse_config, read_config
from harness.cli.parser import Trained
from harness.cli.run_flags import without_best
from harness.errors import UsageError
from harness.found import names
from harness.runs.run import (
    BEST,
    CHECKPOINTS,
    CONFIG_FILE,
    ERROR_FILE,
    LAST,
    is_first_process,
    is_over,
    metric_names,
    run_of,
    was_started_by_first,
    was_this_job,
)
from harness.runs.slurm import was_requeued
from harness.trainer_args import notice

NAMES = "model_name", "data_name", "seed"
# Flags that fit does not take from a checkpoint: the command, its input files, searches before training, the folder.
NOT_TAKEN = {
    "command",
    "config",
    "ckpt_path",
    "predictions",
    "default_root_dir",
    "resume_from_checkpoint",
    "auto_lr_find",
    "auto_scale_batch_size",
}
LIMITS = {"max_epochs", "max_steps", "max_time"}
FOUND = "CHECKPOINT_OF_FIRST_PROCESS"  # environment variable for the processes that Lightning starts


def find_checkpoint(args: Namespace) -> str | None:
    """Return the file that ``--ckpt_path`` stands for: last and best are those of the newest run.

    Under Slurm, fit in a job that was requeued goes on from where it was, whatever ``--ckpt_path`` says.

    Raises:
        UsageError: there is none.
    """
    requeued = args.command == "fit" and was_requeued()
    if args.ckpt_path not in ("last", "best") and not requeued:
        return args.ckpt_path
    if was_started_by_first():  # the first process may have made a newer run by now
        return os.environ.get(FOUND) or None
    root, path = Path(args.default_root_dir or "."), args.ckpt_path
    own = next((run for run in fit_runs(root) if was_this_job(run) and not is_over(run)), None) if requeued else None
    if own is not None and (own / CHECKPOINTS / LAST).exists():
        path = str(own / CHECKPOINTS / LAST)
    elif path in ("last", "best"):
        newest = next(fit_runs(root), None)
        if newest is None:
            raise UsageError(f"--ckpt_path {path}: there is no run of fit below {root} (--fast_dev_run does not count)")
        file = newest / CHECKPOINTS / {"last": LAST, "best": BEST}[path]
        if not file.exists():
            raise no_checkpoint(path, newest)
        path = str(file)
    if is_first_process():
        os.environ[FOUND] = path or ""
    return path


def fit_runs(root: Path) -> Iterator[Path]:
    """Yield the directories of runs of fit below ``root``, the one that was begun or resumed last first.

    Runs of --fast_dev_run are left out, as are those that failed before their first checkpoint.
    """
    configs = root.glob(f"*/{CONFIG_FILE}")
    for path in sorted(configs, key=lambda path: (path.stat().st_mtime_ns, path), reverse=True):
        with suppress(UsageError):  # not a config file of ours
            config = read_config(str(path))
            is_trial = config.get("fast_dev_run") not in (None, "false", "0")
            has_failed = (path.parent / ERROR_FILE).exists() and not (path.parent / CHECKPOINTS).exists()
            if config.get("command") == "fit" and not is_trial and not has_failed:
                yield path.parent


def no_checkpoint(wanted: str, run_dir: Path) -> UsageError:
    """Return the error for a run that has no best.ckpt, or no last.ckpt."""
    problem = f"--ckpt_path {wanted}: the newest run, {run_dir}, has no {wanted}.ckpt"
    if wanted == "best" and (run_dir / CHECKPOINTS / LAST).exists():
        return UsageError(f"{problem}: {without_best(metric_names(run_dir))}, or take --ckpt_path last")
    return UsageError(f"{problem}: start it again with --config {run_dir / CONFIG_FILE}, or name a file")


def trained_flags(path: str, command: str) -> Trained:
    """Return the flags that a checkpoint was made with.

    Args:
        path: the checkpoint.
        command: what it is wanted for.

    Raises:
        UsageError: it cannot be read, fit cannot go on from it, or the file of its model is gone.
    """
    from harness.runs.checkpoint_files import (  # torch
        CONFIG_KEY,
        CONVERTED_KEY,
        HPARAMS,
        read_checkpoint,
        require_training_state,
    )

    content = read_checkpoint(path)
    if command == "fit":
        require_training_state(path, content)
    hparams: dict[str, Any] = {}
    for key in HPARAMS:
        hparams |= content.get(key, {})
    try:  # a checkpoint that another program made has hyperparameters alone
        settings = parse_config(content[CONFIG_KEY] if CONFIG_KEY in content else dump_config(hparams))
    except Exception as error:
        raise UsageError(f"--ckpt_path {path} does not say in plain words which flags made it: {error}") from error
    model_name = settings.get("model_name")
    if model_name is not None and model_name not in names("models"):
        raise UsageError(
            f"{path} is of model {model_name}, and models/{model_name}.py is not there: put it back, or name another "
            "checkpoint"
        )
    converted = content.get(CONVERTED_KEY, ())
    values = {name: value for name, value in hparams.items() if name in settings and name not in converted}
    return Trained(path, settings, values)


def names_in(trained: Trained) -> Trained:
    """Return the names of model and data, which decide what other flags there are."""
    settings = {name: trained.settings[name] for name in NAMES if name in trained.settings}
    return Trained(trained.path, settings, {})


def flags_to_take(trained: Trained, command: str, common: Collection[str]) -> Trained:
    """Return those flags of a checkpoint that a command takes: fit all but NOT_TAKEN, others model's, data's and seed.

    Args:
        trained: all that it has.
        command: what it is wanted for.
        common: names of flags that are neither the model's nor the data's.
    """
    settings = {
        name: setting
        for name, setting in trained.settings.items()
        if name in NAMES or (name not in NOT_TAKEN and (command == "fit" or name not in common))
    }
    own = {name: value for name, value in trained.values.items() if name not in common}
    return Trained(trained.path, settings, own)


def require_same_model(trained: Trained, args: Namespace) -> None:
    """Raise UsageError if the flags name another model than a checkpoint."""
    name = trained.settings.get("model_name", args.model_name)
    if name != args.model_name:
        raise UsageError(
            f"the checkpoint is of model {name}, not {args.model_name}: leave out --model_name, or name another file"
        )


def require_more_to_do(args: Namespace, unlike: Collection[str]) -> None:
    """Raise UsageError if fit is to go on with a run that is over, and with the limits that it had.

    Args:
        args: all flags.
        unlike: names of those that are not as in the checkpoint.
    """
    run_dir = run_of(args.ckpt_path)
    if args.command == "fit" and run_dir is not None and is_over(run_dir) and not LIMITS & set(unlike):
        more = f"--max_epochs {2 * args.max_epochs}" if args.max_epochs else "--max_epochs or --max_steps"
        raise UsageError(f"{run_dir} is finished: for more, add {more}; without --ckpt_path a new run starts")


def show_difference(unlike: Mapping[str, tuple[Any, Any]], path: str) -> None:
    """Print which flags are not as in the checkpoint."""
    if unlike:
        flags = ", ".join(f"--{name} {value} (there {before})" for name, (value, before) in unlike.items())
        notice(f"unlike {path}: {flags}")
