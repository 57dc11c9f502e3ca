"""One trial: its run, its reports to the study, and its test."""

import os
from argparse import Namespace
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from math import isnan
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from optuna.trial import FrozenTrial, Trial, TrialState
from pytorch_lightning.utilities.model_helpers import is_overridden

from harness import found as modules
from harness.errors import RunError, Stopped, UsageError
from harness.runs.files import whole_file
from harness.runs.run import CONFIG_FILE, locked, write_metrics
from harness.sweeps.optuna import records
from harness.sweeps.optuna.claims import Claims, owner_of
from harness.sweeps.optuna.flags import TESTS
from harness.sweeps.optuna.untested import checkpoint_of, due, run_of_trial, untested
from harness.sweeps.reports import REPORTED, Reporter, read_reports, training_is_over
from harness.sweeps.run import clear, free_memory, metrics_of, processes, reason, run_in, run_main
from main import parse_args
from train import evaluate, train

TEST_DIR = "test"  # in the directory of a trial's run
ONLY_TEST = ("--auto_lr_find=no", "--auto_scale_batch_size=no", "--enable_progress_bar=no")  # the first two are for fit


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
    metrics: Mapping[str, float] = {}
    state, error = TrialState.FAIL, ""
    try:
        with claims.alive(trial):
            values, metrics = outcome(claims, trial, drawn, more)
            state = TrialState.COMPLETE
    except Pruned as pruned:
        state, metrics = TrialState.PRUNED, pruned.metrics
    except Stopped:
        claims.release(trial)
        raise
    except (Exception, SystemExit) as failure:
        error = reason(failure, claims.run_dir(trial))
    if claims.is_mine(trial):
        if error:
            trial.set_user_attr("error", error)
        if metrics:
            trial.set_user_attr(records.METRICS, dict(metrics))
        claims.study.tell(trial, values, state)
    free_memory()


def outcome(
    claims: Claims, trial: Trial, drawn: Mapping[str, Any], more: Mapping[str, Any]
) -> tuple[list[float], dict[str, float]]:
    """Return the value of each metric of the sweep, and all metrics, at the end of a run.

    Raises:
        UsageError, RunError: the run fails, has no such metric, or no value of it that counts.
        Pruned: the run does badly.
        Stopped: a signal has arrived.
    """
    sweep, run_dir = claims.sweep, claims.run_dir(trial)
    quiet = {name: False for name in ("enable_progress_bar", "enable_model_summary") if name not in sweep.space.fixed}
    args = Namespace(**{**vars(sweep.run_args(drawn)), **more, **quiet})
    if len(sweep.metrics) == 1:
        (metric,) = sweep.metrics
        watch = Watch(trial, metric, run_dir)
        callbacks = [Report(trial, metric)]
        metrics = run_in(run_dir, args, train, callbacks, watch=watch, environment={REPORTED: metric})
        watch()  # the last reports
    else:  # of several, Optuna takes no reports
        metrics = run_in(run_dir, args, train)
    missing = [metric for metric in sweep.metrics if metric not in metrics]
    if missing:
        raise RunError(f"the run has no metric {' and no '.join(missing)}, but {', '.join(metrics)}")
    values = [metrics[metric] for metric in sweep.metrics]
    if any(map(isnan, values)):
        raise RunError(f"{' and '.join(sweep.metrics)} is not a number")
    return values, metrics


class Pruned(BaseException):
    """The pruner ends a trial. Not an Exception, since nothing failed: no error is to be explained or written.

    Args:
        metrics: metrics of its run so far.
    """

    def __init__(self, metrics: Mapping[str, Any]) -> None:
        """Keep the metrics."""
        super().__init__()
        self.metrics = {name: float(value) for name, value in metrics.items()}


class Report(Reporter):
    """Reports the metric of a run in this process, and prunes.

    Args:
        trial: trial of Optuna.
        metric: name of the metric.
    """

    def __init__(self, trial: Trial, metric: str) -> None:
        """Remember the arguments."""
        super().__init__(metric)
        self.trial = trial

    def report(self, trainer: pl.Trainer) -> None:
        """Report the metric.

        Raises:
            Pruned: If the pruner ends the trial, and training would continue.
        """
        metrics = trainer.callback_metrics
        report(self.trial, float(metrics[self.metric]), self.step)
        if not training_is_over(trainer) and self.trial.should_prune():
            raise Pruned(metrics)


def report(trial: Trial, value: float, step: int) -> None:
    """Report a value, unless the trial did so before it was killed."""
    if step not in trial.storage.get_trial(trial._trial_id).intermediate_values:
        trial.report(value, step)


class Watch:
    """Passes on the reports of a run in other processes, and prunes.

    Args:
        trial: trial of Optuna.
        metric: name of the metric.
        run_dir: directory of the run.
    """

    def __init__(self, trial: Trial, metric: str, run_dir: Path) -> None:
        """Remember the arguments."""
        self.trial, self.metric, self.run_dir = trial, metric, run_dir
        self.seen = 0  # number of reports passed on

    def __call__(self) -> None:
        """Pass on new reports.

        Raises:
            Pruned: If the pruner ends the trial, and training would continue.
        """
        reports = read_reports(self.run_dir)
        for each in reports[self.seen :]:
            report(self.trial, each["metrics"][self.metric], each["step"])
        is_new, self.seen = len(reports) > self.seen, len(reports)
        if is_new and not reports[-1]["is_last"] and self.trial.should_prune():
            raise Pruned(reports[-1]["metrics"])


def test_due(claims: Claims) -> None:
    """Test the trials that await it.

    Raises:
        Stopped: If a signal arrives; the next start tests them.
    """
    for trial in due(claims):
        test_trial(claims, trial)


def test_trial(claims: Claims, trial: FrozenTrial) -> None:
    """Test a trial and record the outcome, unless another process does.

    Raises:
        Stopped: If a signal arrives.
    """
    run_dir = run_of_trial(claims, trial)
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(run_dir))
        except UsageError:  # another process tests it
            return
        if trial.number not in [each.number for each in untested(claims)]:
            return
        (run_dir / TEST_DIR).mkdir(exist_ok=True)
        command = [*owner_of(trial)["command"], f"--ckpt_path={checkpoint_of(claims, trial)}"]
        try:
            metrics = test_metrics(["test", *command, *ONLY_TEST], run_dir / TEST_DIR)
        except Stopped:
            raise
        except (Exception, SystemExit) as failure:
            records.record_test(claims.study, trial.number, error=reason(failure, run_dir / TEST_DIR))
        else:
            add_to_run(metrics, run_dir)
            records.record_test(claims.study, trial.number, metrics=metrics)
    free_memory()


def test_metrics(words: Sequence[str], folder: Path) -> dict[str, float]:
    """Return the test metrics of a checkpoint; none if the model or the data have no test.

    Args:
        words: command line of main.py that tests the checkpoint.
        folder: existing directory for the files of the test.

    Raises:
        UsageError, RunError: If the test fails.
        Stopped: If a signal arrives.
    """
    args = parse_args(words)
    if not can_test(args):
        return {}
    clear(folder)
    if processes(args) == 1:
        return evaluate(args, folder)
    run_main(words, folder)
    return metrics_of(folder)


def can_test(args: Namespace) -> bool:
    """Return whether the model has a test step, and test data exist."""
    model = modules.load("models", args.model_name)
    brings_data = modules.brings_data(model)
    loader_of: Any = model if brings_data else modules.load("data", args.data_name)
    parent: Any = pl.LightningModule if brings_data else pl.LightningDataModule
    has_step = is_overridden("test_step", model, pl.LightningModule)
    return has_step and is_overridden("test_dataloader", loader_of, parent)


def add_to_run(metrics: Mapping[str, float], run_dir: Path) -> None:
    """Update the metrics and the config of a run, as if it had tested itself after fit."""
    if not metrics:
        return
    write_metrics({**metrics_of(run_dir), **metrics}, run_dir)
    config = run_dir / CONFIG_FILE
    text = config.read_text(encoding="utf-8").replace(f"\n{TESTS}: false\n", f"\n{TESTS}: true\n")
    with whole_file(config) as file:
        file.write(text.encode())


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
