"""User attributes of a study and of its trials."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from harness.runs.run import BEST, CHECKPOINTS
from harness.sweeps.results import Row
from harness.words import shell_line

METRICS = "metrics"  # of a trial: the last value of each metric of its run
TEST = "test:"  # prefix, of a study: the test of a trial, since Optuna lets no attribute be added to a finished trial
SAMPLING = "sampling"  # of a study: each change of sampler or pruner, with the first trial and the date
OWNER = "worker"  # of a trial: its worker, its directory, the command line that repeats it, and its epochs
STATES = {TrialState.FAIL: "failed", TrialState.WAITING: "waiting"}  # names of other states are Optuna's
N_TRIALS = "n_trials"  # of a study: the last --n_trials


def tests_of(study: optuna.Study) -> dict[int, dict[str, Any]]:
    """Return the outcome of each test by number of the trial: "metrics" or "error", and the date."""
    found = {name.removeprefix(TEST): value for name, value in study.user_attrs.items() if name.startswith(TEST)}
    return {int(number): value for number, value in found.items() if number.isdecimal()}


def record_test(study: optuna.Study, number: int, **outcome: Any) -> None:
    """Record the outcome of the test of a trial."""
    study.set_user_attr(f"{TEST}{number}", {**outcome, "at": now()})


def metrics_of(trial: FrozenTrial, tests: Mapping[int, Mapping[str, Any]]) -> dict[str, float]:
    """Return all metrics of a trial, including its test.

    Args:
        trial: trial of Optuna.
        tests: from ``tests_of``.
    """
    of_run = trial.user_attrs.get(METRICS)
    found = of_run if isinstance(of_run, dict) else {}  # another program may use the name otherwise
    return dict(sorted({**found, **tests.get(trial.number, {}).get("metrics", {})}.items()))


def metric_names(study: optuna.Study) -> tuple[str, ...]:
    """Return the names of the objectives of a study; generic ones if it has none."""
    count = len(study.directions)
    return tuple(study.metric_names or (["value"] if count == 1 else [f"value_{number}" for number in range(count)]))


def sampling_of(study: optuna.Study) -> list[dict[str, Any]]:
    """Return each sampler and pruner of a study, with its first trial."""
    changes: list[dict[str, Any]] = study.user_attrs.get(SAMPLING, [])
    return changes


def sampler_of(study: optuna.Study) -> str | None:
    """Return the sampler of the last trial; None before the first trial."""
    return next((change["sampler"] for change in reversed(sampling_of(study))), None)


def record_sampling(study: optuna.Study, sampler: str, pruner: str, number: int) -> None:
    """Record the sampler and the pruner from a trial on, if one of them has changed."""
    changes, now_used = sampling_of(study), {"sampler": sampler, "pruner": pruner}
    if not changes or {name: changes[-1][name] for name in now_used} != now_used:
        study.set_user_attr(SAMPLING, [*changes, {**now_used, "trial": number, "at": now()}])


def record_n_trials(study: optuna.Study, number: int | None) -> None:
    """Record the last --n_trials, if it is given and new."""
    if number not in (None, study.user_attrs.get(N_TRIALS)):
        study.set_user_attr(N_TRIALS, number)


def owner_of(trial: FrozenTrial) -> dict[str, Any]:
    """Return the worker of a trial, its directory and command line; empty for a trial of another program."""
    found = trial.user_attrs.get(OWNER)
    return found if isinstance(found, dict) else {}


def row_of(trial: FrozenTrial, metrics: Sequence[str], tests: Mapping[int, Mapping[str, Any]]) -> Row:
    """Return the row of a trial in tables.

    Args:
        trial: the trial.
        metrics: names of the objectives.
        tests: from ``tests_of``.
    """
    values = trial.values or [None] * len(metrics)
    owner, found = owner_of(trial), metrics_of(trial, tests)
    return Row(
        name=str(trial.number),
        state=STATES.get(trial.state, trial.state.name.lower()),
        objectives=dict(zip(metrics, values, strict=True)),
        drawn=trial.params,
        metrics={name: value for name, value in found.items() if name not in metrics},
        seconds=trial.duration.total_seconds() if trial.duration else None,
        error=str(trial.user_attrs.get("error", "no reason")) if trial.state == TrialState.FAIL else "",
        run_dir=short_path(owner["run"]) if "run" in owner else None,
        command=shell_line(owner["command"]) if "command" in owner else "",
    )


def short_path(path: str) -> Path:
    """Return a path relative to the working directory, if it is below."""
    found = Path(path)
    return found.relative_to(Path.cwd()) if found.is_relative_to(Path.cwd()) else found


def best_checkpoint(row: Row) -> Path | None:
    """Return the best checkpoint of a trial, if it is on this machine."""
    path = (row.run_dir or Path()) / CHECKPOINTS / BEST
    return path if path.exists() else None


def now() -> str:
    """Return the time, to the second."""
    return datetime.now().astimezone().isoformat(timespec="seconds")
