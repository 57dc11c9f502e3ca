"""Which trials are still to be tested: the best when all have ended; every one, where ``--test_after_fit`` is given."""

from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from runs import BEST, CHECKPOINTS, LAST, is_locked, is_over
from sweeps import records
from sweeps.claims import Claims, owner_of
from sweeps.ranking import best


def to_test(claims: Claims) -> list[FrozenTrial]:
    """Return the trials that a sweep tests at this moment, tested or not."""
    trials = claims.trials()
    if claims.sweep.tests_all:
        return [trial for trial in trials if trial.state == TrialState.COMPLETE]
    is_done = len(trials) >= claims.n_trials and all(trial.state.is_finished() for trial in trials)
    return best(claims.study, trials) if is_done and not claims.failures(trials) else []


def untested(claims: Claims) -> list[FrozenTrial]:
    """Return those of them that are not tested yet and can be here; what failed is tried again at the next start."""
    trials = to_test(claims)
    tests = records.tests_of(claims.study) if trials else {}

    def is_missing(number: int) -> bool:
        return number not in tests or ("error" in tests[number] and tests[number] == claims.tests.get(number))

    return [trial for trial in trials if is_missing(trial.number) and checkpoint_of(claims, trial)]


def due(claims: Claims) -> list[FrozenTrial]:
    """Return those that no other process tests at this moment."""
    return [trial for trial in untested(claims) if not is_locked(run_of_trial(claims, trial))]


def run_of_trial(claims: Claims, trial: FrozenTrial) -> Path:
    """Return the directory of the run of a trial that is complete: where its worker has put it, or as here."""
    owner = Path(owner_of(trial).get("run", ""))
    return owner if is_over(owner) else claims.run_dir(trial)


def checkpoint_of(claims: Claims, trial: FrozenTrial) -> Path | None:
    """Return the file with the weights of a trial, the best or else the last; None if there is none here."""
    run_dir = run_of_trial(claims, trial)
    files = [run_dir / CHECKPOINTS / name for name in (BEST, LAST)]
    return next((file for file in files if is_over(run_dir) and file.exists()), None)


def failure(claims: Claims) -> str:
    """Return why a trial could not be tested; nothing if none has failed."""
    tests = records.tests_of(claims.study)
    failed = [(trial.number, tests.get(trial.number, {})) for trial in to_test(claims)]
    errors = [f"trial {number} could not be tested: {test['error']}" for number, test in failed if "error" in test]
    return errors[0] if errors else ""


def without_checkpoint(claims: Claims) -> list[int]:
    """Return the numbers of trials that would be tested if their checkpoints were here."""
    tests: dict[int, Any] = records.tests_of(claims.study)
    trials = [trial for trial in to_test(claims) if trial.number not in tests]
    return [trial.number for trial in trials if checkpoint_of(claims, trial) is None]
