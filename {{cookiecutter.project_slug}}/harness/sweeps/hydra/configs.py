"""Configs of Hydra that are made from the flags of main.py, so that the parser is the only list of them."""

import re
import sys
from argparse import SUPPRESS, ArgumentParser, _AppendAction
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.object_type import ObjectType
from hydra.core.plugins import Plugins
from hydra.plugins.config_source import ConfigLoadError, ConfigResult, ConfigSource
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import OmegaConf

from harness.cli.parser import Formatter, Parser, with_help
from harness.cli.run_flags import add_run_args, shorten_help
from harness.cli.sources import BuildParser
from harness.config_files import as_setting, plain, read_config
from harness.errors import UsageError
from harness.found import DATA, MODELS, ROOT
from harness.trainer_args import FORMER, GoneFlag, OffFlag, Trainer, TrainerFlag

SCHEME = "flags"
PLUGINS = Path(__file__).parent / "plugins"  # Hydra finds sweepers only in packages called hydra_plugins
EXPERIMENTS = ROOT / "conf" / "experiment"
NAMES = ("model_name", "data_name")  # they determine the other flags
PACKAGE = "# @package _global_"
# Flags without a place in a config: experiment=FILE replaces --config, and jobs neither predict nor export.
OMITTED = {
    "config": "experiment=FILE takes the flags of a file",
    "predictions": "a job trains",
    "debug": "main.py --debug starts one run",
    "to": "a job trains",
    "output": "a job trains",
    "run_name": "hydra.run.dir and hydra.sweep.dir name directories",
    "notes": "keys below notes are your own, as in +notes.reason=TEXT",
}
# Flags of Lightning 1.x that no flag of today replaces; all others have only their new name.
STILL_USED = ("auto_lr_find", "auto_scale_batch_size")


def register(build_parser: BuildParser, description: str | None) -> None:
    """Let Hydra find the configs of the flags, the help, and the sweepers in the folder plugins.

    Args:
        build_parser: returns the parser of main.py for words that name a model and data.
        description: first lines of the help.
    """
    if PLUGINS.is_dir() and str(PLUGINS) not in sys.path:
        sys.path.append(str(PLUGINS))
    FlagSource.build_parser = staticmethod(build_parser)
    for plugin in (FlagSearchPath, FlagSource):
        Plugins.instance().register(plugin)

    def show_help(*names: str | None) -> str:
        words = [f"--{flag}={name}" for flag, name in zip(NAMES, names, strict=True) if name is not None]
        return help_template(build_parser(words), description or "")

    OmegaConf.register_new_resolver("flags_help", show_help, replace=True)


class FlagSearchPath(SearchPathPlugin):
    """Adds the configs of the flags before the files of conf/, which can override them."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Add the configs."""
        search_path.prepend(provider="main.py", path=f"{SCHEME}://")


class FlagSource(ConfigSource):
    """The config ``flags`` and the groups ``model_name``, ``data_name`` and ``experiment``.

    Only the files of the chosen model and data are read.
    """

    build_parser: BuildParser

    def __init__(self, provider: str, path: str) -> None:
        super().__init__(provider=provider, path=path)
        self.build_parser = type(self).build_parser  # in the instance, which launchers send to other processes

    @staticmethod
    def scheme() -> str:
        """Return the prefix of the path of this source."""
        return SCHEME

    def load_config(self, config_path: str) -> ConfigResult:
        """Return a config.

        Raises:
            ConfigLoadError: If there is none with this name.
            UsageError: If a file cannot be used.
        """
        make = self._maker(config_path)
        if make is None:
            raise ConfigLoadError(f"there is no config {config_path} made from flags")
        package: dict[str, str | None] = {"package": "_global_"}  # the top level
        return ConfigResult(self.provider, f"{SCHEME}://", OmegaConf.create(make()), package)

    def available(self) -> bool:
        """Return True."""
        return True

    def is_config(self, config_path: str) -> bool:
        """Return whether there is a config with this name."""
        return self._maker(config_path) is not None

    def is_group(self, config_path: str) -> bool:
        """Return whether there is a group with this name."""
        return config_path.strip("/") in ("", *groups())

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        """Return the names of the configs in a group, and of the groups at the top."""
        group = config_path.strip("/")
        configs = groups().get(group, ["flags"] if group == "" else [])
        below = list(groups()) if group == "" else []
        return sorted({None: below + configs, ObjectType.CONFIG: configs, ObjectType.GROUP: below}[results_filter])

    def _maker(self, config_path: str) -> Callable[[], dict[str, Any]] | None:
        """Return the function that makes a config, or None if there is none with this name."""
        path = config_path.removesuffix(".yaml")
        group, _, name = path.rpartition("/")
        if path == "flags":
            return lambda: program_config(self.build_parser)
        if path.startswith("experiment/") and (file := experiment_file(path.removeprefix("experiment/"))):
            return lambda: experiment_config(file)
        if name not in groups().get(group, []):
            return None
        return lambda: model_config(self.build_parser, name) if group == "model_name" else data_config(name)


def groups() -> dict[str, list[str]]:
    """Return the names of the configs in each group."""
    return {"model_name": MODELS.names(), "data_name": DATA.names()}


def program_config(build_parser: BuildParser) -> dict[str, Any]:
    """Return the flags that every model has, with their defaults, and the help."""
    parser = program_parser(build_parser)
    return {
        "defaults": [{"model_name": parser.get_default("model_name")}, "_self_"],
        "hydra": {"help": {"template": "${flags_help:${model_name},${data_name}}"}},
        **flags_of(parser, owner=None),
    }


def program_parser(build_parser: BuildParser) -> ArgumentParser:
    """Return the parser of main.py for its default model, or one without a model if that one cannot be used."""
    try:
        return build_parser([])
    except UsageError:  # another model may be chosen
        parser: ArgumentParser = Trainer.add_argparse_args(add_run_args(Parser()))
        parser.set_defaults(model_name=MODELS.first("mnist", "my_model"))
        return parser


def model_config(build_parser: BuildParser, name: str) -> dict[str, Any]:
    """Return the flags of a model with their defaults, and other defaults that it sets; its data add their own.

    Raises:
        UsageError: If the file of the model cannot be used.
    """
    parser = build_parser([f"--model_name={name}"])
    common = flags_of(program_parser(build_parser), owner=None)
    changed = {flag: value for flag, value in flags_of(parser, owner=None).items() if common.get(flag) != value}
    config = {"model_name": name, **changed, **flags_of(parser, owner=MODELS.file(name))}
    data_name = parser.get_default("data_name")
    if MODELS[name].brings_data:
        return {"data_name": data_name, **config}
    return {"defaults": [{"/data_name": data_name}, "_self_"], **config}


def data_config(name: str) -> dict[str, Any]:
    """Return the flags of a data module with their defaults.

    Raises:
        UsageError: If the file of the data cannot be used.
    """
    parser = DATA[name].add_data_specific_args(ArgumentParser(add_help=False))
    return {"data_name": name, **flags_of(parser, owner=DATA.file(name))}


def flags_of(parser: ArgumentParser, owner: str | None) -> dict[str, Any]:
    """Return the defaults of the flags that a file declares, or the program (None); ``???`` for required ones."""
    found: dict[str, Any] = {}
    for action in parser._actions:
        if is_setting(action) and action.dest not in NAMES and getattr(action, "owner", None) == owner:
            is_missing = action.required and action.default is None
            found.setdefault(action.dest, "???" if is_missing else escaped(plain(action.default)))
    return found


def is_setting(action: Any) -> bool:
    """Return whether a flag has a place in a config."""
    is_former = isinstance(action, TrainerFlag) and action.dest in FORMER and action.dest not in STILL_USED
    is_hidden = SUPPRESS in (action.default, action.help) or isinstance(action, OffFlag | GoneFlag)
    return not (is_former or is_hidden or action.dest in OMITTED)


def experiment_file(name: str) -> Path | None:
    """Return the file of an experiment: in conf/experiment, or any file of the kind that ``--config`` takes.

    None if there is none, or if it is a config of Hydra, with a package or a defaults list.
    """
    for path in (EXPERIMENTS / f"{name}.yaml", Path(name), Path(f"{name}.yaml")):
        if path.is_file():
            text = path.read_text(encoding="utf-8", errors="replace")
            return None if re.search(r"^(# *@package|defaults:)", text, re.MULTILINE) else path
    return None


def experiment_config(file: Path) -> dict[str, Any]:
    """Return the flags in a file that ``--config`` takes, such as the config.yaml of a run.

    Raises:
        UsageError: If it cannot be read, is of a run that did not train, or has settings of Hydra.
    """
    if re.search(r"^hydra:", file.read_text(encoding="utf-8", errors="replace"), re.MULTILINE):
        raise UsageError(f"{file} has a hydra: block: its first line must be {PACKAGE}")
    settings = read_config(str(file))
    if settings.pop("command", "fit") != "fit":
        raise UsageError(f"{file} is of a run that did not train: name another")
    model_name = settings.pop("model_name", None)
    choices = [] if model_name is None else [{"override /model_name": model_name}]
    if "data_name" in settings and not (model_name and MODELS[model_name].brings_data):
        choices.append({"override /data_name": settings.pop("data_name")})
    values = {name: as_number(setting) for name, setting in settings.items()}
    return {"defaults": [*choices, "_self_"], **escaped(values)}


def as_number(setting: Any) -> Any:
    """Return a setting of a config file as a number or bool, if that is written in the same way."""
    if not isinstance(setting, str):
        return setting
    value = yaml.safe_load(setting) if re.fullmatch(r"-?\d+(\.\d+)?|true|false", setting) else setting
    return value if as_setting(value) == setting else setting


def escaped(value: Any) -> Any:
    """Return a value in which OmegaConf resolves no ``${``."""
    if isinstance(value, dict):
        return {name: escaped(item) for name, item in value.items()}
    if isinstance(value, list):
        return [escaped(item) for item in value]
    return re.sub(r"(\\*)\$\{", r"\1\1\\${", value) if isinstance(value, str) else value


class OverrideFormatter(Formatter):
    """Help in which flags are overrides: max_epochs=int."""

    def _format_action_invocation(self, action: Any) -> str:
        metavar = self._metavar_formatter(action, action.dest)(1)[0]
        if action.nargs in ("+", "*") or isinstance(action.nargs, int) or isinstance(action, _AppendAction):
            metavar = f"[{metavar},...]"
        return f"{action.dest}={'yes|no' if action.nargs == 0 else metavar}"


def help_template(parser: ArgumentParser, description: str) -> str:
    """Return the template of Hydra's help: the flags with their texts, the config groups, and Hydra's own flags."""
    flags = with_help(parser)
    shorten_help(flags)
    for action in flags._actions:
        action.rare = getattr(action, "rare", False) or not is_setting(action)  # type: ignore[attr-defined]
    flags.usage, flags.description, flags.formatter_class = "%(prog)s [-m] [NAME=VALUE ...]", "", OverrideFormatter
    usage, _, groups_of_flags = flags.format_help().partition("\n\n")
    text = f"{usage}\n\n{description.strip()}\n\n{groups_of_flags}".replace("$", "$$")
    more = "Rarer flags: python main.py --help_all. All values: --cfg job. Keys of your own: +notes.NAME=VALUE."
    return f"{text}\n{more}\n\nConfig groups:\n$APP_CONFIG_GROUPS\n\n$FLAGS_HELP"
