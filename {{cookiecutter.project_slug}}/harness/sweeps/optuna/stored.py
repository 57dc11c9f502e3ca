"""An existing study: whether a sweep may resume it, and the flags that its command line may omit."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import optuna
from optuna.storages import BaseStorage

from harness.cli.config_files import read_config, settable
from harness.cli.parser import Parser
from harness.cli.words import flag_words
from harness.errors import UsageError
from harness.sweeps.optuna import records, studies
from harness.sweeps.optuna.definition import UNCOUNTED, Definition, differences, read_definition
from harness.sweeps.optuna.sweep import Sweep
from main import build_parser

DEFINITION = "definition"  # user attribute of a study


@dataclass
class Stored:
    """The flags of an existing study.

    Args:
        definition: from the start of the study.
        latest: the last n_trials, sampler and pruner.
    """

    definition: Definition
    latest: dict[str, Any]


def definition_of(study: optuna.Study) -> Definition | None:
    """Return the definition of a study; None if another program made the study."""
    return read_definition(study.user_attrs.get(DEFINITION))


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
    file = studies.file_of_storage(url)
    return load(name, studies.open_storage(url)) if file is None or file.exists() else None


def read_stored(name: str, url: str) -> Stored | None:
    """Return the flags of an existing study; None if they are unknown.

    Raises:
        RunError: If the storage does not answer.
    """
    with studies.storage_errors(url):
        study = find(name, url)
        definition = definition_of(study) if study is not None else None
        if study is None or definition is None or definition.space is None:
            return None
        last = {name: change[name] for change in records.sampling_of(study) for name in ("sampler", "pruner")}
        return Stored(definition, {"n_trials": study.user_attrs.get(records.N_TRIALS), **last})


def stored_words(argv: Sequence[str], program: Callable[[], Parser], stored: Stored) -> list[str]:
    """Return the flags of a study that a command line omits, as words of a command line.

    Args:
        argv: words of the command line.
        program: function that returns a parser of the flags that every model has.
        stored: flags of the study.
    """
    parser, before = program(), stored.definition
    named, _ = parser.parse_known_args(argv)
    if "model_name" in parser.chosen and named.model_name != before.flags["model_name"]:
        return []  # the difference is refused when the study is opened
    names = [] if "model_name" in parser.chosen else [f"--model_name={before.flags['model_name']}"]
    if "data_name" not in parser.chosen and before.flags["data_name"] != data_by_default([*names, *argv], program()):
        names += [f"--data_name={before.flags['data_name']}"]
    full = build_parser([*names, *argv], program())
    in_files = [settable(full, name) for file in named.config or [] for name in read_config(file)]
    given = full.given([*names, *argv]) | {action.dest for action in in_files if action is not None}
    given |= {word.removeprefix("--").partition("=")[0] for word in named.search or []}
    wanted = {name: value for name, value in {**before.given, **stored.latest}.items() if name not in given}
    words = [flag_words(full, name, value) for name, value in wanted.items() if settable(full, name)]
    return [*names, *(word for each in words for word in each)]


def data_by_default(argv: Sequence[str], program: Parser) -> str:
    """Return the default of --data_name for the model of a command line."""
    build_parser(argv, program)
    return str(program.get_default("data_name"))


def words_of_old_defaults(sweep: Sweep, before: Definition) -> list[str]:
    """Return the words that restore defaults which have changed since a study was started."""
    here = sweep.definition()
    drawn, given = {*before.drawn, *here.drawn}, sweep.given
    old = {name: value for name, value in before.flags.items() if here.flags.get(name, value) != value}
    counted = {name: value for name, value in old.items() if name not in UNCOUNTED and name not in {*drawn, *given}}
    return [word for name, value in counted.items() for word in flag_words(sweep.parser, name, value)]


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
        sampler = records.sampler_of(study)
        if sampler not in (None, sweep.args.sampler) and "grid" in (
            sampler,
            sweep.args.sampler,
        ):  # a grid is complete or none
            found.append(f"sampler: {sampler} there, {sweep.args.sampler} here")
        if found:
            raise UsageError(
                f"study {sweep.name} was started with other flags: {'; '.join(found)}: give the same values, or "
                "another --study_name"
            )
    elif trials or directions != list(sweep.directions) or (metrics and metrics != list(sweep.metrics)):
        values = zip(directions, records.metric_names(study), strict=True)
        goals = ", ".join(f"{direction} {metric}" for direction, metric in values)
        raise UsageError(
            f"study {sweep.name} in {studies.shown(url)} was made by another program ({trials} trials, {goals}): "
            "give another --study_name; --report shows this one"
        )


def record_start(study: optuna.Study, sweep: Sweep) -> None:
    """Record the definition and the metric names of a study, unless recorded already."""
    if definition_of(study) is None:
        study.set_user_attr(DEFINITION, sweep.definition().text())
    if study.metric_names is None:
        study.set_metric_names(list(sweep.metrics))
