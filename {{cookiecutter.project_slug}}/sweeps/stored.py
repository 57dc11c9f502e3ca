"""A study that is there: whether a sweep may go on with it, and the flags that its command line may leave out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import optuna
from optuna.storages import BaseStorage

from args import UsageError
from command_line import Parser
from config_files import read_config, settable
from main import build_parser
from sweeps import records, studies
from sweeps.definition import UNCOUNTED, Definition, differences, read_definition
from sweeps.sweep import Sweep
from words import flag_words

DEFINITION = "definition"  # user attribute of a study


@dataclass
class Stored:
    """What a study was begun with, and what has been asked for since.

    Args:
        definition: what it was begun with.
        since: the number of trials, the sampler and the pruner, by name.
    """

    definition: Definition
    since: dict[str, Any]


def definition_of(study: optuna.Study) -> Definition | None:
    """Return what a study was begun with; None if no sweep of ours has begun it."""
    return read_definition(study.user_attrs.get(DEFINITION))


def load(name: str, storage: BaseStorage) -> optuna.Study | None:
    """Return the study of a name, or None."""
    try:
        return optuna.load_study(study_name=name, storage=storage)
    except KeyError:
        return None


def find(name: str, url: str) -> optuna.Study | None:
    """Return the study of a name, or None; no file is made.

    Raises:
        RunError: the storage does not answer.
    """
    file = studies.file_of_storage(url)
    return load(name, studies.open_storage(url)) if file is None or file.exists() else None


def read_stored(name: str, url: str) -> Stored | None:
    """Return what a study was begun with, as far as a command line may leave it out; None if nothing is known of it.

    Raises:
        RunError: the storage does not answer.
    """
    with studies.storage_errors(url):
        study = find(name, url)
        definition = definition_of(study) if study is not None else None
        if study is None or definition is None or definition.space is None:
            return None
        last = {name: change[name] for change in records.sampling_of(study) for name in ("sampler", "pruner")}
        return Stored(definition, {"n_trials": study.user_attrs.get(records.N_TRIALS), **last})


def stored_words(argv: Sequence[str], program: Callable[[], Parser], stored: Stored) -> list[str]:
    """Return the words that a study was begun with and that a command line leaves out.

    Args:
        argv: the command line.
        program: makes the parser of what belongs neither to a model nor to data.
        stored: of the study.
    """
    parser, before = program(), stored.definition
    named, _ = parser.parse_known_args(argv)
    if "model_name" in parser.chosen and named.model_name != before.flags["model_name"]:
        return []  # what differs is said when the study is opened
    names = [] if "model_name" in parser.chosen else [f"--model_name={before.flags['model_name']}"]
    if "data_name" not in parser.chosen and before.flags["data_name"] != data_by_default([*names, *argv], program()):
        names += [f"--data_name={before.flags['data_name']}"]
    full = build_parser([*names, *argv], program())
    in_files = [settable(full, name) for file in named.config or [] for name in read_config(file)]
    given = full.given([*names, *argv]) | {action.dest for action in in_files if action is not None}
    given |= {word.removeprefix("--").partition("=")[0] for word in named.search or []}
    wanted = {name: value for name, value in {**before.given, **stored.since}.items() if name not in given}
    words = [flag_words(full, name, value) for name, value in wanted.items() if settable(full, name)]
    return [*names, *(word for each in words for word in each)]


def data_by_default(argv: Sequence[str], program: Parser) -> str:
    """Return the data that a command line stands for if it names none."""
    build_parser(argv, program)
    return str(program.get_default("data_name"))


def words_of_old_defaults(sweep: Sweep, before: Definition) -> list[str]:
    """Return the words for flags that were not given when a study was begun, and have another default now."""
    here = sweep.definition()
    drawn, given = {*before.drawn, *here.drawn}, sweep.given
    old = {name: value for name, value in before.flags.items() if here.flags.get(name, value) != value}
    counted = {name: value for name, value in old.items() if name not in UNCOUNTED and name not in {*drawn, *given}}
    return [word for name, value in counted.items() for word in flag_words(sweep.parser, name, value)]


def require_same(study: optuna.Study, sweep: Sweep, url: str) -> None:
    """Hold a study against the sweep that is to go on with it.

    Raises:
        UsageError: it was begun with other flags, or by another program.
    """
    before, metrics = definition_of(study), study.metric_names
    directions = [direction.name.lower() for direction in study.directions]
    trials = len(study.get_trials(deepcopy=False))
    if before is not None:
        before = replace(before, metrics=metrics or before.metrics, directions=directions)
        found = differences(before, sweep.definition(), sweep.defaults)
        sampler = records.sampler_of(study)
        if sampler not in (None, sweep.args.sampler) and "grid" in (sampler, sweep.args.sampler):  # all or nothing
            found.append(f"sampler: {sampler} there, {sweep.args.sampler} here")
        if found:
            raise UsageError(
                f"study {sweep.name} was begun with other flags: {'; '.join(found)}: give them as they are there, or "
                "another --study_name"
            )
    elif trials or directions != list(sweep.directions) or (metrics and metrics != list(sweep.metrics)):
        values = zip(directions, records.metric_names(study), strict=True)
        goals = ", ".join(f"{direction} {metric}" for direction, metric in values)
        raise UsageError(
            f"study {sweep.name} in {studies.shown(url)} is of another program ({trials} trials, {goals}): name "
            "another with --study_name; --report shows this one"
        )


def record_start(study: optuna.Study, sweep: Sweep) -> None:
    """Record what a study is begun with, where that is not yet recorded."""
    if definition_of(study) is None:
        study.set_user_attr(DEFINITION, sweep.definition().text())
    if study.metric_names is None:
        study.set_metric_names(list(sweep.metrics))
