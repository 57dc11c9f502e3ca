"""The flags of main.py that a composed config sets."""

from argparse import Namespace
from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from harness.cli.sources import BuildParser, parse_args
from harness.config_files import dump_config, parse_config, read_config
from harness.errors import UsageError
from harness.files import whole_file
from harness.runs.run import run_of
from harness.sweeps.hydra.configs import NAMES, PACKAGE, experiment_file
from harness.words import find_action

NOTES = "notes"  # key for values of the user's own, which are no flags


def settings_of(config: DictConfig, hydra: Any, build_parser: BuildParser) -> dict[str, Any]:
    """Return the flags that a job sets, by name: those given, and those that differ from their default.

    Keys that are no flags are included, so that the parser refuses them; only ``notes`` is free.

    Args:
        config: config of the job.
        hydra: Hydra's part of it.
        build_parser: returns the parser of main.py.

    Raises:
        UsageError: If a flag has no value, or a file cannot be used.
    """
    own = OmegaConf.masked_copy(config, [str(name) for name in config if name != "hydra"])
    values: Any = OmegaConf.to_container(own, resolve=True)
    require_choices(values, hydra.runtime.choices)
    parser = build_parser(name_words(values))
    values.pop(NOTES, None)
    require_flags(values, hydra.runtime.choices, parser)
    given = given_names(hydra, values)
    missing = {name for name, value in values.items() if value == "???"}  # OmegaConf's mark of a missing value
    if missing & given:
        raise UsageError(f"{min(missing & given)}=??? gives it no value")
    actions = {str(name): find_action(parser, name) for name in values if name not in missing}
    defaults = as_texts({name: action.default for name, action in actions.items() if action is not None})
    defaults["data_name"] = build_parser(name_words({**values, "data_name": None})).get_default("data_name")
    texts = as_texts(values)
    chosen = [name for name in actions if name in given or name not in defaults or texts[name] != defaults[name]]
    # Names of model and data first; of two names of a flag its own last, which wins.
    chosen.sort(key=lambda name: (name not in NAMES, actions[name] is not None and name == actions[name].dest))
    return {name: as_word(values[name]) for name in chosen}


def as_word(value: Any) -> Any:
    """Return a value as it is written on a command line: YAML's .inf is Python's inf."""
    if isinstance(value, list):
        return [as_word(item) for item in value]
    return str(value) if isinstance(value, float) and not isfinite(value) else value


def name_words(values: Mapping[str, Any]) -> list[str]:
    """Return the words that name the model, and the data unless the model has its own."""
    return [f"--{name}={values[name]}" for name in NAMES if values.get(name) is not None]


def given_names(hydra: Any, values: Mapping[str, Any]) -> set[str]:
    """Return the names of the flags that overrides give, or an experiment, which wins over a checkpoint."""
    given = {override.lstrip("+").split("=")[0] for override in hydra.overrides.task}
    experiment = hydra.runtime.choices.get("experiment") if values.get("ckpt_path") else None
    if experiment is not None and (file := experiment_file(experiment)):
        given |= read_config(str(file)).keys()
    return given


def require_choices(values: Mapping[str, Any], choices: Mapping[str, Any]) -> None:
    """Raise UsageError if a config file of Hydra's own kind sets the name of a model or data without its flags."""
    for name in NAMES:
        if name in choices and values[name] != choices[name]:
            raise UsageError(
                f"{name}: {values[name]} chooses nothing in a config of Hydra: its defaults list must have "
                f"- override /{name}: {values[name]}"
            )


def require_flags(values: Mapping[str, Any], choices: Mapping[str, Any], parser: Any) -> None:
    """Raise UsageError if a config file of Hydra's own kind sets values that are no flags.

    Args:
        values: values of the config of a job.
        choices: the choice in each config group.
        parser: the parser of main.py.
    """
    for group, choice in choices.items():
        name = group.split("/")[0]
        if isinstance(values.get(name), dict) and find_action(parser, name) is None:
            raise UsageError(f"{group}/{choice}.yaml: its first line must be {PACKAGE}, so that it holds flags")


def as_texts(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values as the texts that a config file with them is read as."""
    return parse_config(dump_config(values))


def parse_settings(settings: Mapping[str, Any], file: Path, build_parser: BuildParser) -> Namespace:
    """Write the flags of a job to a config file, and return all flags of its run.

    Args:
        settings: from ``settings_of``.
        file: the config file, in an existing directory.
        build_parser: returns the parser of main.py.

    Raises:
        UsageError: If a flag is unknown, or its value not valid.
    """
    with whole_file(file) as opened:
        opened.write(dump_config(settings).encode())
    try:
        args = parse_args(build_parser, [f"--config={file}"], commands=())
    except UsageError as error:
        message = str(error).removeprefix(f"{file}: ")
        hint = f"; keys of your own are below {NOTES}: +{NOTES}.NAME=VALUE" if "unknown flag" in message else ""
        raise UsageError(f"{message}{hint}") from error
    if args.command != "fit":
        raise UsageError(f"a job trains: leave out command={args.command}")
    if run_of(args.ckpt_path):
        raise UsageError(f"{args.ckpt_path} is resumed in its own run: start from another checkpoint, such as its best")
    return args


def difference(there: Mapping[str, Any], here: Mapping[str, Any]) -> tuple[str, str]:
    """Return the flags by which two jobs differ, each with its own values."""
    texts = as_texts(there), as_texts(here)
    names = [name for name in {**texts[0], **texts[1]} if texts[0].get(name) != texts[1].get(name)]
    one, other = (
        ", ".join(f"{name}={shown(of[name])}" if name in of else f"{name} by default" for name in names) for of in texts
    )
    return one, other


def shown(text: Any) -> str:
    """Return a setting as an override has it."""
    return "null" if text is None else f"[{','.join(map(str, text))}]" if isinstance(text, list) else str(text)
