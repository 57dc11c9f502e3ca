"""A job of Hydra: a run in the directory that Hydra has made for it."""

import logging
from argparse import Namespace
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from math import nan
from pathlib import Path
from time import monotonic
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from harness.app import ends_in_one_line, show
from harness.cli.run_flags import monitored
from harness.cli.sources import BuildParser
from harness.errors import Stopped, UsageError
from harness.found import MODELS
from harness.runs import signals
from harness.runs.record import PATCH_FILE, RECORD_FILE
from harness.runs.run import CONFIG_FILE, LOCK_FILE, SCHEMA_FILE, Run
from harness.sweeps.hydra.configs import NAMES
from harness.sweeps.hydra.directories import FLAGS_FILE, HYDRA, NOTE_FILE, OccupiedError, require_free
from harness.sweeps.hydra.launched import hush_lightning, is_here, passed_on
from harness.sweeps.hydra.settings import name_words, parse_settings, settings_of
from harness.sweeps.hydra.table import Note
from harness.sweeps.reports import Report, Reporter
from harness.sweeps.run import OUTPUT_FILE, Train, free_memory, in_group, processes, reason, run_in
from harness.trainer_args import notice
from harness.words import flag_words, shell_line

log = logging.getLogger(__name__)
# Files of a job that was refused.
HYDRAS_OWN = (
    *(f"{HYDRA}/*.yaml", "*.log", LOCK_FILE, NOTE_FILE),
    *(CONFIG_FILE, SCHEMA_FILE, RECORD_FILE, PATCH_FILE),
)
QUIET = ("enable_progress_bar", "enable_model_summary")  # flags that jobs of a multirun turn off unless they are given


def run_job(config: DictConfig, build_parser: BuildParser, train: Train) -> float:
    """Train with the flags of a config, and return the metric that the model monitors, or NaN.

    A failed run of a multirun does not end the others: its error is in the table.

    Args:
        config: config of the job.
        build_parser: returns the parser of main.py.
        train: trains a model with flags, in a directory, with additional callbacks; returns its metrics.

    Raises:
        Stopped: If a signal arrives.
        SystemExit: If the run fails, and is the only one.
    """
    hush_lightning()
    run_dir = Path(HydraConfig.get().runtime.output_dir)
    with errors_in_one_line():
        run = run_one_of_many if HydraConfig.get().mode == RunMode.MULTIRUN else run_alone
        return run(config, build_parser, train, run_dir)


@contextmanager
def errors_in_one_line() -> Iterator[None]:
    """Show errors here: Hydra would write its own lines around them."""
    try:
        yield
    except Exception:
        with ends_in_one_line():
            raise


def run_alone(config: DictConfig, build_parser: BuildParser, train: Train, run_dir: Path) -> float:
    """Run the only job, show its results, and return its metric."""
    note = Note()
    try:
        args = begin(config, build_parser, run_dir, note)
        if processes(args) > 1:
            notice(f"the output of its processes is in {run_dir / OUTPUT_FILE}")
        metrics = run_in(run_dir, args, train)
    except UsageError:
        discard(run_dir)
        raise
    run = Run(args, run_dir)
    run.dir = run_dir
    show(run.summary(metrics))
    return value_of(metrics, note, run_dir)


def run_one_of_many(config: DictConfig, build_parser: BuildParser, train: Train, run_dir: Path) -> float:
    """Run a job of a multirun, and return its metric, or NaN if it fails.

    Raises:
        OccupiedError: If the directory belongs to another run.
        Stopped: If a signal arrives in the process that the user started.
        SystemExit: If submitit requeues the job.
    """
    started, is_ours = monotonic(), True
    note, value = Note(overrides=list(HydraConfig.get().overrides.task)), nan
    with signals.handled() as before:
        try:
            args = begin(config, build_parser, run_dir, note)
            note.write(run_dir)
            given = {override.lstrip("+").split("=")[0] for override in note.overrides or []}
            args = Namespace(**{**vars(args), **dict.fromkeys(set(QUIET) - given, False)})
            here = is_here() and processes(args) == 1  # a kill of the run must not end other jobs of a launcher
            send = partial(log_report, run_dir.name, note.metric)
            callbacks = [Reporter(note.metric, send)] if note.metric and here else []
            with in_group(run_dir.parent.name):
                value = value_of(run_in(run_dir, args, train, callbacks, here=here), note, run_dir)
        except Stopped as stopped:
            note.error = passed_on(stopped, before) or str(stopped)
            if is_here():
                raise
        except OccupiedError:
            is_ours = False  # nothing is written beside the run of another job
            raise
        except (Exception, SystemExit) as error:
            note.error = reason(error, run_dir)
            log.error(f"{run_dir}: {note.error}")
        finally:
            note.seconds = monotonic() - started
            if is_ours:
                note.write(run_dir)
    if is_here():
        free_memory()
    return value


def begin(config: DictConfig, build_parser: BuildParser, run_dir: Path, note: Note) -> Namespace:
    """Return the flags of a run, and complete the note.

    Raises:
        UsageError: If a flag does not take its value.
        OccupiedError: If the directory belongs to another run.
    """
    hydra = HydraConfig.get()
    if hydra.output_subdir != HYDRA:
        raise UsageError(f"hydra.output_subdir must stay {HYDRA}: it marks the directory of a job")
    settings = settings_of(config, hydra, build_parser)
    require_free(run_dir, settings)
    args = parse_settings(settings, run_dir / FLAGS_FILE, build_parser)
    metric, mode = monitored(args, MODELS[args.model_name].declaration)
    note.metric, note.mode, note.command = metric or "", mode, command_of(settings, build_parser)
    return args


def command_of(settings: Mapping[str, Any], build_parser: BuildParser) -> str:
    """Return the command line of main.py with the flags of a job."""
    names = name_words(settings)
    parser = build_parser(names)
    others = [word for name in settings if name not in NAMES for word in flag_words(parser, name, settings[name])]
    return shell_line([*names, *others])


def log_report(job: str, metric: str, report: Report) -> None:
    """Log the metric of a job after a validation, as "#7 epoch 3/20 val_loss 0.31"."""
    log.info(f"#{job} {report.text(metric)}")


def value_of(metrics: Mapping[str, float], note: Note, run_dir: Path) -> float:
    """Log and return the monitored metric of a run, or NaN."""
    value = metrics.get(note.metric, nan)
    log.info(f"{run_dir}: {note.metric} {value:.4f}")
    return value


def discard(run_dir: Path) -> None:
    """Remove the directory of a job that was refused, if nothing else is in it."""
    files = [path for name in HYDRAS_OWN for path in run_dir.glob(name)]
    if {path for path in run_dir.rglob("*") if path.is_file()} <= set(files):
        for path in files:
            path.unlink()
        for folder in (run_dir / HYDRA, run_dir):
            if folder.exists() and folder != Path.cwd():
                folder.rmdir()
