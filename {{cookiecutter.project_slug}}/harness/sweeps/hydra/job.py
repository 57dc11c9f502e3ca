"""One job of Hydra's: a run of main.py in the directory that Hydra made for it."""

import io
import logging
import sys
from argparse import Namespace
from collections.abc import Sequence
from contextlib import redirect_stderr
from math import nan
from pathlib import Path
from time import monotonic

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from harness.cli.run_flags import monitored
from harness.cli.words import shell_line
from harness.errors import Stopped, UsageError
from harness.found import declaration
from harness.runs import signals
from harness.runs.files import whole_file
from harness.runs.run import LOCK_FILE, results, run_of
from harness.sweeps.hydra.flags import words_of_job
from harness.sweeps.hydra.launched import is_here, passed_on
from harness.sweeps.hydra.notes import COMMAND_FILE, HYDRA, Note, OccupiedError, require_free
from harness.sweeps.run import OUTPUT_FILE, free_memory, processes, reason, run_in
from harness.trainer_args import notice
from main import parse_args, show
from train import train

log = logging.getLogger(__name__)
HYDRAS_OWN = (f"{HYDRA}/*.yaml", "sweep_hydra.log", COMMAND_FILE, LOCK_FILE)


def run_job(config: DictConfig) -> float:
    """Train with the flags of a config, and return the metric that the model monitors, for what sweeps over it.

    In a multirun a run that fails does not end the others: its error is noted beside it, and NaN returned.

    Args:
        config: as Hydra has composed it, without its own part.

    Raises:
        UsageError, RunError, Exception: the run fails, and is the only one.
        Stopped: a signal has arrived.
    """
    logging.getLogger("pytorch_lightning.utilities.rank_zero").setLevel(logging.WARNING)  # how each run begins and ends
    # {% if cookiecutter.sweeps == "both" %}
    from harness.sweeps.hydra import study

    if study.is_claimed():
        return study.run_claimed()
    # {% endif %}
    if HydraConfig.get().mode == RunMode.MULTIRUN:
        return run_one_of_many(config)
    run_dir = Path(HydraConfig.get().runtime.output_dir)
    try:
        args, _ = begin(config, run_dir)
        if processes(args) > 1:
            notice(f"what they print goes to {run_dir / OUTPUT_FILE}")
        metrics = run_in(run_dir, args, train)
    except UsageError:
        discard(run_dir)
        raise
    show(results(metrics, run_dir))
    return metrics.get(monitored_metric(args)[0], nan)


def run_one_of_many(config: DictConfig) -> float:
    """Do the run of a job of a multirun, note beside it what came of it, and return the monitored metric or NaN.

    Raises:
        OccupiedError: If the directory belongs to another run.
        Stopped: a signal has arrived in the process that has begun the multirun.
        SystemExit: submitit starts the job again.
    """
    run_dir, begun = Path(HydraConfig.get().runtime.output_dir), monotonic()
    note, value, is_ours = Note(overrides=list(HydraConfig.get().overrides.task)), nan, True
    with signals.handled() as before:
        try:
            args, _ = begin(config, run_dir)
            note.metric, note.mode = monitored_metric(args)
            note.write(run_dir)
            quiet = {"enable_progress_bar": False, "enable_model_summary": False}
            args = Namespace(**{**vars(args), **quiet})
            here = is_here() and processes(args) == 1  # what kills a run must not kill a launcher's other jobs
            metrics = run_in(run_dir, args, train, here=here)
            value = metrics.get(note.metric, nan)
        except Stopped as stopped:
            note.error = passed_on(stopped, before) or str(stopped)
            if is_here():
                raise
        except OccupiedError:
            is_ours = False  # beside the run of another job nothing is written
            raise
        except (Exception, SystemExit) as error:
            note.error = reason(error, run_dir)
        finally:
            note.seconds = monotonic() - begun
            if is_ours:
                note.write(run_dir)
    log.info(f"{run_dir}: {note.error or f'{note.metric} {value:.4f}'}")
    if is_here():
        free_memory()
    return value


def begin(config: DictConfig, run_dir: Path) -> tuple[Namespace, list[str]]:
    """Return the flags of a run and the words of a command line that are the same; they are written beside it.

    Raises:
        UsageError: If a flag does not take its value.
        OccupiedError: If the directory belongs to another run.
    """
    hydra = HydraConfig.get()
    if hydra.output_subdir != HYDRA:
        raise UsageError(f"hydra.output_subdir must stay {HYDRA}: by it jobs are found again")
    words = words_of_job(config, hydra)
    require_free(run_dir, words)
    args = read(words)
    with whole_file(run_dir / COMMAND_FILE) as file:
        file.write(f"{shell_line(words)}\n".encode())
    return args, words


def monitored_metric(args: Namespace) -> tuple[str, str]:
    """Return which metric a run goes by, "" for none, and which is better, "min" or "max"."""
    metric, mode = monitored(args, declaration("models", args.model_name))
    return metric or "", mode


def read(words: Sequence[str]) -> Namespace:
    """Return the flags that words of a command line are.

    Raises:
        UsageError: the parser does not take them.
    """
    said = io.StringIO()
    try:
        with redirect_stderr(said):
            args = parse_args(words)
    except SystemExit as error:
        message = said.getvalue().strip().splitlines()[-1]
        raise UsageError(message.partition("error: ")[2].partition(" (see ")[0]) from error
    sys.stderr.write(said.getvalue())
    if args.command != "fit":
        raise UsageError(f"a job trains: leave out command={args.command}")
    if run_of(args.ckpt_path):
        raise UsageError(f"{args.ckpt_path} goes on in its own run: start from another checkpoint, as the best of it")
    return args


def discard(run_dir: Path) -> None:
    """Take away what a job that was refused has left, if it is all that there is in its directory."""
    files = [path for name in HYDRAS_OWN for path in run_dir.glob(name)]
    if {path for path in run_dir.rglob("*") if path.is_file()} <= set(files):
        for path in files:
            path.unlink()
        for folder in (run_dir / HYDRA, run_dir):
            if folder.exists() and folder != Path.cwd():
                folder.rmdir()
