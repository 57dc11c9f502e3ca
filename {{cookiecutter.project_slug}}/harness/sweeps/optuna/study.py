"""A study in its storage: created or resumed, and whether it is the study of a sweep."""

from argparse import Namespace
from dataclasses import replace

import optuna
from optuna.storages import BaseStorage

from harness.errors import UsageError
from harness.sweeps.optuna import records
from harness.sweeps.optuna.definition import Definition, differences, read_definition
from harness.sweeps.optuna.locks import Locks
from harness.sweeps.optuna.sampling import build_pruner
from harness.sweeps.optuna.storages import absolute, file_of_storage, open_storage, storage_errors, without_password
from harness.sweeps.optuna.sweep import Sweep, directory_of

DEFINITION = "definition"  # user attribute of a study
STUDY_FILE = "study.db"


def storage_of(flags: Namespace, name: str) -> str:
    """Return the URL of the storage of a study.

    Args:
        flags: flags with the storage and the default_root_dir.
        name: name of the study.

    Raises:
        UsageError: If the kind of storage is unknown, or its driver is not installed.
    """
    return absolute(flags.storage or f"sqlite:///{directory_of(flags, name) / STUDY_FILE}")


def load(name: str, storage: BaseStorage) -> optuna.Study | None:
    """Return the study of a name, or None."""
    try:
        return optuna.load_study(study_name=name, storage=storage)
    except KeyError:
        return None


def find(name: str, url: str) -> optuna.Study | None:
    """Return the study of a name, or None, without creating a file.

    Raises:
        RunError: If the storage does not answer.
    """
    file = file_of_storage(url)
    return load(name, open_storage(url)) if file is None or file.exists() else None


def read_stored(name: str, url: str) -> Definition | None:
    """Return the flags of an existing study; None if there is none, or if another program made it.

    Raises:
        RunError: If the storage does not answer.
    """
    with storage_errors(url):
        study = find(name, url)
        definition = definition_of(study) if study is not None else None
        if study is None or definition is None:
            return None
        last = {name: change[name] for change in records.sampling_of(study) for name in ("sampler", "pruner")}
        latest = {records.N_TRIALS: study.user_attrs.get(records.N_TRIALS), **last}
        given = {**definition.given, **{name: value for name, value in latest.items() if value is not None}}
        return replace(definition, given=given)


def definition_of(study: optuna.Study) -> Definition | None:
    """Return the definition of a study; None if another program made the study."""
    return read_definition(study.user_attrs.get(DEFINITION))


def open_study(sweep: Sweep, url: str, locks: Locks) -> tuple[optuna.Study, BaseStorage]:
    """Return the study of a sweep, created if absent, and its storage.

    Raises:
        UsageError: If the study was started with other flags, or by another program.
        RunError: If the storage does not answer.
    """
    with storage_errors(url), locks.exclusive():
        storage = open_storage(url)
        study = load(sweep.name, storage)
        if study is None:
            require_empty(sweep)
            directions = [optuna.study.StudyDirection[direction.upper()] for direction in sweep.directions]
            study = optuna.create_study(study_name=sweep.name, storage=storage, directions=directions)
        else:
            require_same(study, sweep, url)
        if definition_of(study) is None:
            study.set_user_attr(DEFINITION, sweep.definition().text())
        if study.metric_names is None:
            study.set_metric_names(list(sweep.metrics))
    study.pruner = build_pruner(sweep.pruner, sweep.flags.max_epochs)
    return study, storage


def require_empty(sweep: Sweep) -> None:
    """Raise UsageError if the directory of a new study holds the runs of another."""
    if any(sweep.directory.glob("trials/*/metrics.json")):
        raise UsageError(
            f"{sweep.directory} holds the runs of a study in another storage: give its --storage, or another "
            "--study_name"
        )


def require_same(study: optuna.Study, sweep: Sweep, url: str) -> None:
    """Compare a study with the sweep that is to resume it.

    Raises:
        UsageError: If the study was started with other flags, or by another program.
    """
    before, metrics = definition_of(study), study.metric_names
    directions = [direction.name.lower() for direction in study.directions]
    trials = len(study.get_trials(deepcopy=False))
    if before is not None:
        before = replace(before, metrics=metrics or before.metrics, directions=directions)
        found = differences(before, sweep.definition(), sweep.defaults)
        sampler, own = records.sampler_of(study), sweep.flags.sampler
        if sampler not in (None, own) and "grid" in (sampler, own):  # a grid is complete or none
            found.append(f"sampler: {sampler} there, {own} here")
        if found:
            raise UsageError(
                f"study {sweep.name} was started with other flags: {'; '.join(found)}: give the same values, or "
                "another --study_name"
            )
    elif trials or directions != list(sweep.directions) or (metrics and metrics != list(sweep.metrics)):
        values = zip(directions, records.metric_names(study), strict=True)
        goals = ", ".join(f"{direction} {metric}" for direction, metric in values)
        raise UsageError(
            f"study {sweep.name} in {without_password(url)} was made by another program or version ({trials} trials, "
            f"{goals}): give another --study_name; --report shows this one"
        )
