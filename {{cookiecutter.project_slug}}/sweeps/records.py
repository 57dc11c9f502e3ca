"""What is recorded with a study and its trials, beside what Optuna records itself."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import optuna
from optuna.trial import FrozenTrial

METRICS = "metrics"  # user attribute of a trial: the last value of each metric of its run
TEST = "test:"  # begins the user attribute of a study for the test of each trial: a trial that is over takes no more
SAMPLING = "sampling"  # user attribute of a study: from which trial on, and since when, what samples and what prunes
N_TRIALS = "n_trials"  # user attribute of a study: the number asked for last


def tests_of(study: optuna.Study) -> dict[int, dict[str, Any]]:
    """Return what came of the tests of trials, by number: "metrics", or "error" and when."""
    found = {name.removeprefix(TEST): value for name, value in study.user_attrs.items() if name.startswith(TEST)}
    return {int(number): value for number, value in found.items() if number.isdecimal()}


def record_test(study: optuna.Study, number: int, **outcome: Any) -> None:
    """Record what came of the test of a trial."""
    study.set_user_attr(f"{TEST}{number}", {**outcome, "at": now()})


def metrics_of(trial: FrozenTrial, tests: Mapping[int, Mapping[str, Any]]) -> dict[str, float]:
    """Return all metrics of a trial by name, those of its test included.

    Args:
        trial: Optuna's.
        tests: from ``tests_of``.
    """
    of_run = trial.user_attrs.get(METRICS)
    found = of_run if isinstance(of_run, dict) else {}  # another program may have something else under this name
    return dict(sorted({**found, **tests.get(trial.number, {}).get("metrics", {})}.items()))


def metric_names(study: optuna.Study) -> tuple[str, ...]:
    """Return the names of the values of a study, also of one that has no names for them."""
    count = len(study.directions)
    return tuple(study.metric_names or (["value"] if count == 1 else [f"value_{number}" for number in range(count)]))


def sampling_of(study: optuna.Study) -> list[dict[str, Any]]:
    """Return what samples and prunes in a study, and from which trial on."""
    changes: list[dict[str, Any]] = study.user_attrs.get(SAMPLING, [])
    return changes


def sampler_of(study: optuna.Study) -> str | None:
    """Return what samples in a study now; None before the first trial."""
    return next((change["sampler"] for change in reversed(sampling_of(study))), None)


def record_sampling(study: optuna.Study, sampler: str, pruner: str, number: int) -> None:
    """Record what samples and prunes from a trial on, if that is a change."""
    changes, now_used = sampling_of(study), {"sampler": sampler, "pruner": pruner}
    if not changes or {name: changes[-1][name] for name in now_used} != now_used:
        study.set_user_attr(SAMPLING, [*changes, {**now_used, "trial": number, "at": now()}])


def record_n_trials(study: optuna.Study, number: int | None) -> None:
    """Record the number of trials that is asked for, if it is new; None: nothing is said."""
    if number not in (None, study.user_attrs.get(N_TRIALS)):
        study.set_user_attr(N_TRIALS, number)


def now() -> str:
    """Return the time, to the second."""
    return datetime.now().astimezone().isoformat(timespec="seconds")
