"""The best trials: their order, their checkpoints, and which of them await their test."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from harness.runs.run import BEST, CHECKPOINTS, LAST, is_finished, is_locked
from harness.sweeps.optuna.claims import Claims
from harness.sweeps.optuna.records import owner_of, tests_of


def ranked(study: optuna.Study, trials: Sequence[FrozenTrial] | None = None) -> list[FrozenTrial]:
    """Return the complete trials, the best first; with several metrics those of the Pareto front first.

    Args:
        study: the study.
        trials: the trials to rank; by default all.
    """
    trials = study.get_trials(deepcopy=False) if trials is None else trials
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    if len(study.directions) > 1:
        front = {trial.number for trial in study.best_trials} if complete else set()
        return sorted(complete, key=lambda trial: (trial.number not in front, trial.number))
    sign = 1 if study.directions[0] == StudyDirection.MINIMIZE else -1
    return sorted(complete, key=lambda trial: (sign * trial.values[0], trial.number))


def best(study: optuna.Study, trials: Sequence[FrozenTrial] | None = None, count: int = 1) -> list[FrozenTrial]:
    """Return the best trials; with several metrics the whole Pareto front, whatever the ``count``."""
    found = ranked(study, trials)
    return found[: count if len(study.directions) == 1 or not found else len(study.best_trials)]


def run_of_trial(claims: Claims, trial: FrozenTrial) -> Path:
    """Return the directory of the run of a complete trial: that of its worker, or the one on this machine."""
    owner = Path(owner_of(trial).get("run", ""))
    return owner if is_finished(owner) else claims.run_dir(trial)


def checkpoint_in(run_dir: Path) -> Path | None:
    """Return the best checkpoint of a finished run, else its last; None if this machine has neither."""
    files = [run_dir / CHECKPOINTS / name for name in (BEST, LAST)]
    return next((file for file in files if is_finished(run_dir) and file.exists()), None)


def to_test(claims: Claims) -> list[FrozenTrial]:
    """Return the trials that the sweep is to test now, tested ones included."""
    trials = claims.trials()
    if claims.sweep.tests_all:
        return [trial for trial in trials if trial.state == TrialState.COMPLETE]
    is_done = len(trials) >= claims.n_trials and all(trial.state.is_finished() for trial in trials)
    return best(claims.study, trials) if is_done and not claims.failures(trials) else []


def untested(claims: Claims) -> list[FrozenTrial]:
    """Return the trials without a test whose checkpoint is here; a failed test is repeated at the next start."""
    trials = to_test(claims)
    tests = tests_of(claims.study) if trials else {}

    def is_missing(number: int) -> bool:
        return number not in tests or ("error" in tests[number] and tests[number] == claims.tests.get(number))

    return [each for each in trials if is_missing(each.number) and checkpoint_in(run_of_trial(claims, each))]


def due(claims: Claims) -> list[FrozenTrial]:
    """Return the untested trials that no other process is testing."""
    return [trial for trial in untested(claims) if not is_locked(run_of_trial(claims, trial))]


def failed_test(claims: Claims) -> str:
    """Return the error of the first failed test, or nothing."""
    tests = tests_of(claims.study)
    failed = [(trial.number, tests.get(trial.number, {})) for trial in to_test(claims)]
    errors = [f"trial {number} could not be tested: {test['error']}" for number, test in failed if "error" in test]
    return errors[0] if errors else ""


def without_checkpoint(claims: Claims) -> list[int]:
    """Return the numbers of the trials that lack a test because this machine has no checkpoint of them."""
    tests = tests_of(claims.study)
    trials = [trial for trial in to_test(claims) if trial.number not in tests]
    return [trial.number for trial in trials if checkpoint_in(run_of_trial(claims, trial)) is None]


def keep_checkpoints(claims: Claims, number: int | None = None) -> None:
    """Remove the checkpoints of finished trials, except those of the best, the Pareto front and the untested.

    Args:
        claims: knows the trials.
        number: the trial that has just ended: only it, and the one that it displaced, can lose its checkpoints.
    """
    finished = [trial for trial in claims.trials() if trial.state.is_finished()]
    kept = numbers_to_keep(claims, finished)
    others = [trial for trial in finished if trial.number not in kept]
    if number is not None:
        before = numbers_to_keep(claims, [trial for trial in finished if trial.number != number])
        others = [trial for trial in others if trial.number in {number, *before}]
    for trial in others:
        shutil.rmtree(claims.run_dir(trial) / CHECKPOINTS, ignore_errors=True)


def numbers_to_keep(claims: Claims, finished: Sequence[FrozenTrial]) -> set[int]:
    """Return the numbers of the finished trials that keep their checkpoints."""
    kept = best(claims.study, finished, claims.sweep.flags.keep_top)
    waiting = untested(claims) if claims.sweep.tests_all else []
    return {trial.number for trial in (*kept, *waiting)}
