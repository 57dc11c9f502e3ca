"""The trials that await their test: the best after all trials, or every trial with ``--test_after_fit``."""

from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from harness.runs.run import BEST, CHECKPOINTS, LAST, is_locked, is_over
from harness.sweeps.optuna import records
from harness.sweeps.optuna.claims import Claims, owner_of
from harness.sweeps.optuna.ranking import best


def to_test(claims: Claims) -> list[FrozenTrial]:
    """Return the trials that the sweep is to test as of now, including tested ones."""
    trials = claims.trials()
    if claims.sweep.tests_all:
        return [trial for trial in trials if trial.state == TrialState.COMPLETE]
    is_done = len(trials) >= claims.n_trials and all(trial.state.is_finished() for trial in trials)
    return best(claims.study, trials) if is_done and not claims.failures(trials) else []


def untested(claims: Claims) -> list[FrozenTrial]:
    """Return the trials without a test whose checkpoint is here; a failed test is repeated at the next start."""
    trials = to_test(claims)
    tests = records.tests_of(claims.study) if trials else {}

    def is_missing(number: int) -> bool:
        return number not in tests or ("error" in tests[number] and tests[number] == claims.tests.get(number))

    return [trial for trial in trials if is_missing(trial.number) and checkpoint_of(claims, trial)]


def due(claims: Claims) -> list[FrozenTrial]:
    """Return the untested trials that no other process is testing."""
    return [trial for trial in untested(claims) if not is_locked(run_of_trial(claims, trial))]


def run_of_trial(claims: Claims, trial: FrozenTrial) -> Path:
    """Return the directory of the run of a complete trial: that of its worker, or the one on this machine."""
    owner = Path(owner_of(trial).get("run", ""))
    return owner if is_over(owner) else claims.run_dir(trial)


def checkpoint_of(claims: Claims, trial: FrozenTrial) -> Path | None:
    """Return the best checkpoint of a trial, else its last; None if this machine has neither."""
    run_dir = run_of_trial(claims, trial)
    files = [run_dir / CHECKPOINTS / name for name in (BEST, LAST)]
    return next((file for file in files if is_over(run_dir) and file.exists()), None)


def failure(claims: Claims) -> str:
    """Return the error of the first failed test; empty if none failed."""
    tests = records.tests_of(claims.study)
    failed = [(trial.number, tests.get(trial.number, {})) for trial in to_test(claims)]
    errors = [f"trial {number} could not be tested: {test['error']}" for number, test in failed if "error" in test]
    return errors[0] if errors else ""


def without_checkpoint(claims: Claims) -> list[int]:
    """Return the numbers of the trials that lack a test because this machine has no checkpoint of them."""
    tests: dict[int, Any] = records.tests_of(claims.study)
    trials = [trial for trial in to_test(claims) if trial.number not in tests]
    return [trial.number for trial in trials if checkpoint_of(claims, trial) is None]
