"""Checkpoints that are kept: those of the best trials."""

import shutil
from collections.abc import Sequence

from optuna.trial import FrozenTrial

from harness.runs.run import CHECKPOINTS
from harness.sweeps.optuna.claims import Claims
from harness.sweeps.optuna.ranking import best
from harness.sweeps.optuna.untested import untested


def keep_checkpoints(claims: Claims, number: int | None = None) -> None:
    """Remove the checkpoints of runs that are over, but for those of the best trials.

    Args:
        claims: knows the trials.
        number: of the trial that has just ended: only it, and the one whose place it took, are looked at.
    """
    finished = [trial for trial in claims.trials() if trial.state.is_finished()]
    keep = best_numbers(claims, finished)
    others = [trial for trial in finished if trial.number not in keep]
    if number is not None:
        before = best_numbers(claims, [trial for trial in finished if trial.number != number])
        others = [trial for trial in others if trial.number in {number, *before}]
    for trial in others:
        shutil.rmtree(claims.run_dir(trial) / CHECKPOINTS, ignore_errors=True)


def best_numbers(claims: Claims, finished: Sequence[FrozenTrial]) -> set[int]:
    """Return the numbers of the trials that keep their checkpoints: the best, the Pareto front, the untested."""
    kept = best(claims.study, finished, claims.sweep.args.keep_top)
    waiting = untested(claims) if claims.sweep.tests_all else []
    return {trial.number for trial in (*kept, *waiting)}
