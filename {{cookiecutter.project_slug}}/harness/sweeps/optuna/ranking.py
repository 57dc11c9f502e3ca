"""Which trials are the best."""

from collections.abc import Sequence

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState


def ranked(study: optuna.Study, trials: Sequence[FrozenTrial] | None = None) -> list[FrozenTrial]:
    """Return the complete trials, the best first; with several metrics those of the Pareto front first.

    Args:
        study: Optuna's.
        trials: of these; by default of all.
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
