"""One trial: a run of its own, in this process or, on several devices, in processes of main.py."""

import csv
import gc
import json
import os
import shutil
import signal
import subprocess
import sys
import traceback
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import isnan
from pathlib import Path
from time import sleep
from typing import Any

import optuna
import pytorch_lightning as pl
import torch
from optuna.trial import Trial, TrialState

import signals
from args import RunError, UsageError
from callbacks import of_validation
from loops import RunCallback
from modules import ROOT, said
from runs import LOCK_FILE, METRICS_FILE, is_over, locked
from sweeps.claims import Claims, checkpoints_of
from train import train

POLL = 0.5  # seconds between looks at the metrics of a run in processes of its own
ERROR_FILE = "error.txt"


class FailedTrialError(Exception):
    """A trial has no value; the message says why."""


def run_trial(claims: Claims, trial: Trial, drawn: Mapping[str, Any], more: Mapping[str, Any]) -> None:
    """Run a trial and tell the study what came of it.

    Args:
        claims: gave the trial.
        trial: Optuna's.
        drawn: the values of the flags that it searches.
        more: flags of its run that depend on the worker.

    Raises:
        Stopped: a signal has arrived; the trial waits for the next start.
    """
    run_dir = claims.run_dir(trial)
    values: list[float] | None = None
    state, error = TrialState.FAIL, ""
    try:
        with claims.alive(trial), locked_run(run_dir):
            values, state = outcome(claims, trial, drawn, more, run_dir), TrialState.COMPLETE
    except optuna.TrialPruned:
        state = TrialState.PRUNED
    except signals.Stopped:
        claims.release(trial)
        raise
    except (FailedTrialError, UsageError, RunError) as failure:
        error = str(failure)
    except (Exception, SystemExit) as failure:
        error = said(failure)
        (run_dir / ERROR_FILE).write_text("".join(traceback.format_exception(failure)))
    if claims.is_mine(trial):
        if error:
            trial.set_user_attr("error", error)
        claims.study.tell(trial, values, state)
    free_memory()


@contextmanager
def locked_run(run_dir: Path) -> Iterator[None]:
    """Hold the directory of a run; take away what a killed process left there, unless the run can go on from it."""
    run_dir.mkdir(parents=True, exist_ok=True)
    with locked(run_dir):
        if not checkpoints_of(run_dir) and not is_over(run_dir):
            for path in run_dir.iterdir():
                if path.is_dir():
                    shutil.rmtree(path)
                elif path.name != LOCK_FILE:
                    path.unlink()
        yield


def outcome(
    claims: Claims, trial: Trial, drawn: Mapping[str, Any], more: Mapping[str, Any], run_dir: Path
) -> list[float]:
    """Return the value of each metric of the sweep, at the end of a run.

    Raises:
        FailedTrialError: the run has no such metric, or no value of it that counts.
        TrialPruned: the run does badly.
    """
    sweep = claims.sweep
    args = Namespace(**{**vars(sweep.run_args(drawn)), **more})
    own_processes = processes(args) > 1
    if own_processes:
        metrics = run_main(claims, trial, sweep.command(drawn, **more), run_dir)
    elif is_over(run_dir):  # killed before it could tell
        metrics = json.loads((run_dir / METRICS_FILE).read_text())
    else:
        if last := checkpoints_of(run_dir):
            args.ckpt_path = str(last[0])
        quiet = {
            name: False for name in ("enable_progress_bar", "enable_model_summary") if name not in sweep.space.fixed
        }
        metrics = train(Namespace(**{**vars(args), **quiet}), run_dir, report_to(trial, sweep.metrics))
    missing = [metric for metric in sweep.metrics if metric not in metrics]
    if missing:
        raise FailedTrialError(f"the run has no metric {' and no '.join(missing)}, but {', '.join(metrics)}")
    values = [metrics[metric] for metric in sweep.metrics]
    if any(map(isnan, values)):
        raise FailedTrialError(f"{' and '.join(sweep.metrics)} is not a number")
    return values


def processes(args: Namespace) -> int:
    """Return how many processes the run of a trial is made of."""
    if isinstance(args.devices, list):
        return len(args.devices)
    if args.devices == -1:
        return max(torch.cuda.device_count(), 1)
    return args.devices if isinstance(args.devices, int) else 1


class Report(RunCallback):
    """Reports a metric after each validation, or each epoch where it is not one of validation, and prunes.

    Args:
        trial: Optuna's.
        metric: its name.
    """

    def __init__(self, trial: Trial, metric: str) -> None:
        """Remember the arguments."""
        self.trial, self.metric = trial, metric
        self.step = 0  # of the last report: so many were made
        self.has_validated = False

    def state_dict(self) -> dict[str, int]:
        """Return how many reports were made."""
        return {"step": self.step}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Go on after them."""
        self.step = state_dict["step"]

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Note it: what follows is not yet done."""
        self.has_validated = trainer.state.fn == "fit" and not trainer.sanity_checking

    def on_boundary(self, trainer: pl.Trainer, epoch_is_over: bool) -> None:
        """Report.

        Raises:
            TrialPruned: the pruner says so.
        """
        is_time = self.has_validated if of_validation(self.metric) else epoch_is_over
        self.has_validated = False
        if is_time and self.metric in trainer.callback_metrics:
            self.step += 1
            report(self.trial, float(trainer.callback_metrics[self.metric]), self.step)


def report_to(trial: Trial, metrics: Sequence[str]) -> list[pl.Callback]:
    """Return the callback that reports the metric of a sweep; of several, Optuna takes none."""
    return [Report(trial, metrics[0])] if len(metrics) == 1 else []


def report(trial: Trial, value: float, step: int) -> None:
    """Report a value.

    Raises:
        TrialPruned: the pruner says so.
    """
    if step not in trial.storage.get_trial(trial._trial_id).intermediate_values:  # from before it was killed
        trial.report(value, step)
    if trial.should_prune():
        raise optuna.TrialPruned


def run_main(claims: Claims, trial: Trial, words: Sequence[str], run_dir: Path) -> dict[str, float]:
    """Return the metrics of a run in processes of main.py, below ``run_dir``.

    Raises:
        FailedTrialError: it ended with an error.
        TrialPruned: it does badly, and was told to end.
        Stopped: a signal has arrived; it was told to end.
    """
    if last := checkpoints_of(run_dir):
        words = [*words, "--ckpt_path", str(last[0])]
    if not (over := list(run_dir.glob(f"*/{METRICS_FILE}"))):
        command = [
            sys.executable,
            str(ROOT / "main.py"),
            *words,
            f"--default_root_dir={run_dir}",
            "--enable_progress_bar=no",
        ]
        with (run_dir / ERROR_FILE).open("w+") as errors, signals.waiting():
            process = subprocess.Popen(command, stderr=errors, stdin=subprocess.DEVNULL, start_new_session=True)
            try:
                watch(process, claims, trial, run_dir)
            finally:
                end(process)
            errors.seek(0)
            lines = errors.read().strip().splitlines() or [f"exit status {process.returncode}"]
        if signals.received() is not None:
            raise signals.Stopped(signals.received() or signal.SIGTERM)
        if process.returncode != 0:
            wrong = [line for line in lines if "error:" in line]
            raise FailedTrialError(
                (wrong or lines)[-1].removeprefix("main.py: error: ").removesuffix(" (see main.py --help)")
            )
        over = list(run_dir.glob(f"*/{METRICS_FILE}"))
    metrics: dict[str, float] = json.loads(over[0].read_text())
    return metrics


def watch(process: subprocess.Popen[bytes], claims: Claims, trial: Trial, run_dir: Path) -> None:
    """Report the metric of a run as it logs it, until it ends or a signal arrives."""
    metrics, step = claims.sweep.metrics, 0
    while process.poll() is None and signals.received() is None:
        sleep(POLL)
        for file in run_dir.glob("*/metrics.csv") if len(metrics) == 1 else []:
            with file.open(newline="") as lines:
                logged = [row[metrics[0]] for row in csv.DictReader(lines) if row.get(metrics[0])]
            for value in logged[step:]:
                step += 1
                report(trial, float(value), step)


def end(process: subprocess.Popen[bytes]) -> None:
    """Let a run save and end."""
    if process.poll() is None:
        process.terminate()
        process.wait()


def free_memory() -> None:
    """Let go of what the last run has left."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def deal_devices(worker: int, args: Namespace) -> dict[str, Any]:
    """Give a worker its GPUs, if there are any, and return the flags of its runs that depend on it.

    Workers share the GPUs if there are not enough; CPU threads are shared out, too, unless --num_threads says how many.

    Args:
        worker: its number, from 0.
        args: flags of a run, and how many ``workers`` there are.
    """
    more: dict[str, Any] = {}
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if args.workers > 1 and args.num_threads is None:
        more["num_threads"] = max(1, cpus // args.workers)
    gpus = torch.cuda.device_count() if args.accelerator in ("auto", "gpu", "cuda") else 0
    if gpus == 0 or isinstance(args.devices, list) or args.devices == -1:
        return more
    if args.devices == "auto":
        more["devices"] = 1
    each = more.get("devices", args.devices)
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = visible.split(",") if visible else [str(number) for number in range(gpus)]
    own = [names[(worker * each + number) % len(names)] for number in range(each)]
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(dict.fromkeys(own))
    return more
