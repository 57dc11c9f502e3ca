"""The flags of main.py as a config of Hydra's, and back: the parser is the only list of them."""

import re
from argparse import SUPPRESS, ArgumentParser
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf

from harness.cli.config_files import as_setting, dump_config, parse_config, plain, read_config, settable
from harness.cli.words import flag_words
from harness.errors import UsageError
from harness.found import ROOT, add_args, brings_data, declaration, made_for
from harness.trainer_args import GoneFlag, OffFlag
from main import build_parser, program_parser

NAMES = ("model_name", "data_name")  # which decide what other flags there are
EXPERIMENTS = ROOT / "conf" / "experiment"
PACKAGE = "# @package _global_"


def program_config() -> dict[str, Any]:
    """Return the flags that every model has, and their defaults; the default model brings its own."""
    parser = program_parser()
    return {"defaults": [{"model_name": parser.get_default("model_name")}, "_self_"], **flags_of(parser)}


def model_config(name: str) -> dict[str, Any]:
    """Return the flags of a model, and their defaults; the data that it takes bring their own.

    Raises:
        UsageError: the file of the model cannot be used.
    """
    program, model = program_parser(), declaration("models", name)
    data_name = made_for(model) or program.get_default("data_name")
    config = {"model_name": name, **new_flags(add_args(model, program_parser()), program)}
    if brings_data(model):
        return {"data_name": data_name, **config}
    return {"defaults": [{"/data_name": data_name}, "_self_"], **config}


def data_config(name: str) -> dict[str, Any]:
    """Return the flags of data, and their defaults.

    Raises:
        UsageError: the file of the data cannot be used.
    """
    program = program_parser()
    return {"data_name": name, **new_flags(add_args(declaration("data", name), program_parser()), program)}


def flags_of(parser: ArgumentParser) -> dict[str, Any]:
    """Return the defaults of all flags of a parser but the names; ``???`` where a flag must be given."""
    found: dict[str, Any] = {}
    for action in parser._actions:
        is_setting = SUPPRESS not in (action.default, action.help) and not isinstance(action, OffFlag | GoneFlag)
        if is_setting and action.dest not in NAMES:
            missing = action.required and action.default is None
            found.setdefault(action.dest, "???" if missing else escaped(plain(action.default)))
    return found


def new_flags(parser: ArgumentParser, program: ArgumentParser) -> dict[str, Any]:
    """Return the defaults of flags that the program alone has not, or has otherwise."""
    common = flags_of(program)
    return {name: value for name, value in flags_of(parser).items() if name not in common or common[name] != value}


def experiment_file(name: str) -> Path | None:
    """Return the file of flags that an experiment is: below conf/experiment, or any of the kind that --config takes.

    None if there is none, or it is for Hydra alone: with a package or a defaults list of its own.
    """
    for path in (EXPERIMENTS / f"{name}.yaml", Path(name), Path(f"{name}.yaml")):
        if path.is_file():
            text = path.read_text(encoding="utf-8", errors="replace")
            return None if re.search(r"^(# *@package|defaults:)", text, re.MULTILINE) else path
    return None


def experiment_config(file: Path) -> dict[str, Any]:
    """Return the flags in a file, such as ``--config`` takes and a run writes.

    Raises:
        UsageError: If it cannot be read, is of a run that did not train, or has settings of Hydra's.
    """
    if re.search(r"^hydra:", file.read_text(encoding="utf-8", errors="replace"), re.MULTILINE):
        raise UsageError(f"{file} has a hydra: block: its first line must be {PACKAGE}")
    settings = read_config(str(file))
    if settings.pop("command", "fit") != "fit":
        raise UsageError(f"{file} is of a run that did not train: name another")
    model_name = settings.pop("model_name", None)
    choices = [] if model_name is None else [{"override /model_name": model_name}]
    if "data_name" in settings and not (model_name and brings_data(declaration("models", model_name))):
        choices.append({"override /data_name": settings.pop("data_name")})
    values = {name: as_number(setting) for name, setting in settings.items()}
    return {"defaults": [*choices, "_self_"], **escaped(values)}


def as_number(setting: Any) -> Any:
    """Return a setting of a config file, as a number or bool if that would be written the same again."""
    if not isinstance(setting, str):
        return setting
    value = yaml.safe_load(setting) if re.fullmatch(r"-?\d+(\.\d+)?|true|false", setting) else setting
    return value if as_setting(value) == setting else setting


def escaped(value: Any) -> Any:
    """Return a value in which OmegaConf finds no ``${`` to resolve."""
    if isinstance(value, dict):
        return {name: escaped(item) for name, item in value.items()}
    if isinstance(value, list):
        return [escaped(item) for item in value]
    return re.sub(r"(\\*)\$\{", r"\1\1\\${", value) if isinstance(value, str) else value


def given_names(overrides: Collection[str], experiment: str | None) -> set[str]:
    """Return the names of flags that are given, by overrides or an experiment, whatever their values.

    Args:
        overrides: of the job.
        experiment: name of the experiment.
    """
    given = {override.lstrip("+").split("=")[0] for override in overrides}
    if experiment is not None and (file := experiment_file(experiment)):
        given |= read_config(str(file)).keys()
    return given


def words_of_job(config: DictConfig, hydra: Any) -> list[str]:
    """Return the words after ``python main.py`` that are the same as a job.

    Args:
        config: of the job.
        hydra: Hydra's own part of it.

    Raises:
        UsageError: If no words give a flag its value, or a file cannot be used.
    """
    own = OmegaConf.masked_copy(config, [str(name) for name in config if name != "hydra"])
    require_flags(own, hydra.runtime.choices)
    # An experiment may be all the flags of a run: those by default need stand only where a checkpoint may have others.
    experiment = hydra.runtime.choices.get("experiment") if own.get("ckpt_path") else None
    return job_words(own, given_names(hydra.overrides.task, experiment))


def require_flags(config: DictConfig, choices: Mapping[str, Any]) -> None:
    """Raise UsageError if a file of Hydra's own kind sets values that are no flags.

    Args:
        config: of a job, without Hydra's own part.
        choices: what is chosen of each group.
    """
    for name in NAMES:
        if name in choices and config[name] != choices[name]:
            raise UsageError(
                f"{name}: {config[name]} chooses nothing in a file of Hydra's own kind: its defaults list must have "
                f"- override /{name}: {config[name]}"
            )
    for group, choice in choices.items():
        name = group.split("/")[0]
        if isinstance(config.get(name), DictConfig) and settable(parser_for(config), name) is None:
            raise UsageError(f"{group}/{choice}.yaml: its first line must be {PACKAGE}, so that it holds flags")


def job_words(config: DictConfig, given: Collection[str]) -> list[str]:
    """Return the words after ``python main.py`` that say what a config says: what is given, and what is not by default.

    Args:
        config: as Hydra has composed it; keys that are no flags become words, too, for the parser to refuse.
        given: names that are among the words even if their values are those by default.

    Raises:
        UsageError: no words give a flag its value, or a file cannot be used.
    """
    settings = as_dict(config)
    missing = {name for name, value in settings.items() if value == "???"}  # which OmegaConf has for no value
    if missing & set(given):
        raise UsageError(f"{min(missing & set(given))}=??? gives it no value")
    parser = parser_for(settings)
    actions = {name: settable(parser, name) for name in settings}
    by_default = as_texts({name: action.default for name, action in actions.items() if action is not None})
    texts = as_texts(settings)
    # A key that is no flag becomes a word for the parser to refuse.
    stand = [name for name in settings if name in given or name not in by_default or texts[name] != by_default[name]]
    stand = [name for name in stand if name not in missing]
    # The names first; then other names of a flag, as a file may have them, over which its own wins.
    stand.sort(key=lambda name: (name not in NAMES, actions[name] is not None and name == actions[name].dest))
    return [word for name in stand for word in flag_words(parser, name, settings[name])]


def parser_for(config: Any) -> ArgumentParser:
    """Return the parser of main.py for the model and the data that a config names."""
    return build_parser([f"--{name}={config[name]}" for name in NAMES])


def as_dict(config: DictConfig) -> dict[str, Any]:
    """Return a config as plain values by name."""
    values: Any = OmegaConf.to_container(config, resolve=True)
    return {str(name): value for name, value in values.items()}


def as_texts(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return values as a config file has them that was written with them, and read again."""
    return parse_config(dump_config(settings))
