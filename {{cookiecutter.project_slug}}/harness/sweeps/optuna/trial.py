"""One trial: its run, its reports to the study, and its test."""

from argparse import Namespace
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from math import isnan
from pathlib import Path
from typing import Any

import optuna
import pytorch_lightning as pl
from optuna.trial import FrozenTrial, TrialState
from pytorch_lightning.utilities.model_helpers import is_overridden

from harness.errors import RunError, Stopped, UsageError
from harness.files import whole_file
from harness.found import DATA, MODELS
from harness.runs.run import CONFIG_FILE, clear, is_finished, locked, metrics_of, write_metrics
from harness.sweeps.optuna import records
from harness.sweeps.optuna.best import checkpoint_in, due, run_of_trial, untested
from harness.sweeps.optuna.claims import Claim, Claims
from harness.sweeps.optuna.flags import TESTS
from harness.sweeps.optuna.objective import Program, Trial
from harness.sweeps.reports import Report, Reporter, read_reports
from harness.sweeps.run import free_memory, processes, reason, run_program

TEST_DIR = "test"  # in the directory of a trial's run
ONLY_TEST = ("--auto_lr_find=no", "--auto_scale_batch_size=no", "--enable_progress_bar=no")  # the first two are for fit


class Pruned(BaseException):
    """The pruner ends a trial. Not an Exception, since nothing failed: no error is to be explained or written."""


class TrialReports:
    """Passes reports of a run on to the study, and prunes.

    Args:
        number: of the trial.
        metric: the first metric of the sweep.
        study_trial: the trial of Optuna; None with several metrics, of which Optuna takes no reports.
        run_dir: directory of the run.
    """

    def __init__(self, number: int, metric: str, study_trial: optuna.Trial | None, run_dir: Path) -> None:
        self.number, self.metric, self.study_trial, self.run_dir = number, metric, study_trial, run_dir
        self.seen = 0  # number of reports of other processes that are passed on
        self.last: Report | None = None

    def receive(self, report: Report) -> None:
        """Pass on a report of a run in this process.

        Raises:
            Pruned: If the pruner ends the trial.
        """
        self.record(report)
        self.prune()

    def record(self, report: Report) -> None:
        """Report a metric, unless the trial did so before it was killed."""
        self.last = report
        print(f"#{self.number} {report.text(self.metric)}", flush=True)  # for the log of the worker
        trial = self.study_trial
        if trial and report.step not in trial.storage.get_trial(trial._trial_id).intermediate_values:
            trial.report(report.metrics[self.metric], report.step)

    def prune(self) -> None:
        """Raise Pruned if the pruner ends the trial, and training would continue."""
        if self.study_trial and self.last and not self.last.is_last and self.study_trial.should_prune():
            raise Pruned

    def look(self) -> None:
        """Pass on new reports of a run in other processes.

        Raises:
            Pruned: If the pruner ends the trial.
        """
        new = read_reports(self.run_dir)[self.seen :]
        self.seen += len(new)
        for report in new:
            self.record(report)
        if new:
            self.prune()


def run_trial(claims: Claims, claim: Claim, more: Mapping[str, Any], program: Program) -> None:
    """Run a trial and record its outcome in the study.

    Args:
        claims: knows the sweep.
        claim: the trial.
        more: flags of its run that depend on the worker.
        program: has the objective.

    Raises:
        Stopped: If a signal arrives; the trial waits for the next start.
    """
    sweep, run_dir = claims.sweep, claims.run_dir(claim.trial)
    state, values, metrics, error = TrialState.FAIL, None, {}, ""
    owner = records.owner_of(claims.storage.get_trial(claim.trial._trial_id))
    reports = TrialReports(
        claim.trial.number, sweep.metrics[0], claim.trial if len(sweep.metrics) == 1 else None, run_dir
    )
    try:
        args = Namespace(**{**vars(sweep.run_args(claim.drawn)), **more})
        owner["command"] = sweep.command(args)
        quiet = {name: False for name in ("enable_progress_bar", "enable_model_summary") if name not in sweep.given}
        args = Namespace(**{**vars(args), **quiet})
        trial = Trial(args, run_dir, sweep.metrics, [Reporter(sweep.metrics[0], reports.receive)], reports.look)
        values = program.objective(trial)
        values = [float(value) for value in (values if isinstance(values, Sequence) else [values])]
        reports.look()  # the last ones
        metrics = metrics_of(run_dir) if is_finished(run_dir) else {}
        if any(map(isnan, values)):
            raise RunError(f"{' and '.join(sweep.metrics)} is not a number")
        state = TrialState.COMPLETE
    except Pruned:
        state, values, metrics = TrialState.PRUNED, None, reports.last.metrics if reports.last else {}
    except Stopped:
        claims.finish(claim, TrialState.WAITING, None)
        raise
    except (Exception, SystemExit) as failure:
        values, error = None, reason(failure, run_dir)
    if reports.last:
        owner["epochs"] = reports.last.epoch
    claims.finish(claim, state, values, **{records.OWNER: owner, "error": error, records.METRICS: dict(metrics)})
    free_memory()


def test_due(claims: Claims, program: Program) -> None:
    """Test the trials that await it.

    Raises:
        Stopped: If a signal arrives; the next start tests them.
    """
    for trial in due(claims):
        test_trial(claims, trial, program)


def test_trial(claims: Claims, trial: FrozenTrial, program: Program) -> None:
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
        folder = run_dir / TEST_DIR
        folder.mkdir(exist_ok=True)
        try:
            metrics = test_metrics(run_dir, folder, program)
        except Stopped:
            raise
        except (Exception, SystemExit) as failure:
            records.record_test(claims.study, trial.number, error=reason(failure, folder))
        else:
            add_to_run(metrics, run_dir)
            records.record_test(claims.study, trial.number, metrics=metrics)
    free_memory()


def test_metrics(run_dir: Path, folder: Path, program: Program) -> dict[str, float]:
    """Return the test metrics of the best checkpoint of a run; none if the model or the data have no test.

    Args:
        run_dir: directory of the run.
        folder: existing directory for the files of the test.
        program: has the test.

    Raises:
        UsageError, RunError: If the test fails.
        Stopped: If a signal arrives.
    """
    words = ["test", f"--config={run_dir / CONFIG_FILE}", f"--ckpt_path={checkpoint_in(run_dir)}", *ONLY_TEST]
    args = program.read(words)
    if not can_test(args):
        return {}
    clear(folder)
    if processes(args) == 1:
        return dict(program.test(args, folder))
    run_program(["main.py", *words], folder)
    return metrics_of(folder)


def can_test(args: Namespace) -> bool:
    """Return whether the model has a test step, and test data exist."""
    model = MODELS.load(args.model_name)
    brings_data = MODELS[args.model_name].brings_data
    loader_of: Any = model if brings_data else DATA.load(args.data_name)
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
