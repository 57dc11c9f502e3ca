"""One trial: a run, and what the study is told of it."""

import csv
import os
from argparse import Namespace
from collections.abc import Mapping, Sequence
from math import isnan
from pathlib import Path
from typing import Any

import optuna
import pytorch_lightning as pl
import torch
from optuna.trial import Trial, TrialState

import signals
from args import RunError
from loops import RunCallback
from one_run import free_memory, reason, run_in
from program_args import of_validation
from sweeps.claims import Claims


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
    values: list[float] | None = None
    state, error = TrialState.FAIL, ""
    try:
        with claims.alive(trial):
            values, state = outcome(claims, trial, drawn, more), TrialState.COMPLETE
    except optuna.TrialPruned:
        state = TrialState.PRUNED
    except signals.Stopped:
        claims.release(trial)
        raise
    except (Exception, SystemExit) as failure:
        error = reason(failure, claims.run_dir(trial))
    if claims.is_mine(trial):
        if error:
            trial.set_user_attr("error", error)
        claims.study.tell(trial, values, state)
    free_memory()


def outcome(claims: Claims, trial: Trial, drawn: Mapping[str, Any], more: Mapping[str, Any]) -> list[float]:
    """Return the value of each metric of the sweep, at the end of a run.

    Raises:
        UsageError, RunError: the run fails, has no such metric, or no value of it that counts.
        TrialPruned: the run does badly.
        Stopped: a signal has arrived.
    """
    sweep, run_dir = claims.sweep, claims.run_dir(trial)
    args, words = sweep.run_args(drawn), [*sweep.command(drawn, **more), "--enable_progress_bar=no"]
    quiet = {name: False for name in ("enable_progress_bar", "enable_model_summary") if name not in sweep.space.fixed}
    watch = Watch(trial, sweep.metrics, run_dir)
    args = Namespace(**{**vars(args), **more, **quiet})
    metrics = run_in(run_dir, args, words, report_to(trial, sweep.metrics), watch)
    missing = [metric for metric in sweep.metrics if metric not in metrics]
    if missing:
        raise RunError(f"the run has no metric {' and no '.join(missing)}, but {', '.join(metrics)}")
    values = [metrics[metric] for metric in sweep.metrics]
    if any(map(isnan, values)):
        raise RunError(f"{' and '.join(sweep.metrics)} is not a number")
    return values


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


class Watch:
    """Reports the metric of a run in other processes as it logs it, and prunes; of several, Optuna takes none.

    Args:
        trial: Optuna's.
        metrics: names of what the sweep goes by.
        run_dir: the directory of the run.
    """

    def __init__(self, trial: Trial, metrics: Sequence[str], run_dir: Path) -> None:
        """Remember the arguments."""
        self.trial, self.metrics, self.run_dir = trial, metrics, run_dir
        self.step = 0  # of the last report: so many were made

    def __call__(self) -> None:
        """Report what is new.

        Raises:
            TrialPruned: the pruner says so.
        """
        log = self.run_dir / "metrics.csv"
        if len(self.metrics) > 1 or not log.exists():
            return
        with log.open(newline="") as lines:
            logged = [row[self.metrics[0]] for row in csv.DictReader(lines) if row.get(self.metrics[0])]
        for value in logged[self.step :]:
            self.step += 1
            report(self.trial, float(value), self.step)


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
