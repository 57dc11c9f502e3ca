"""Lets Hydra find the flags of main.py as configs: those of the program, of each model and data, and experiments."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.object_type import ObjectType
from hydra.core.plugins import Plugins
from hydra.plugins.config_source import ConfigLoadError, ConfigResult, ConfigSource
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import OmegaConf

from harness.found import names
from harness.sweeps.hydra import flags

SCHEME = "flags"
PLUGINS = Path(__file__).parent / "plugins"  # Hydra takes sweepers from a package hydra_plugins alone


def register() -> None:
    """Let Hydra find the configs of this file, and the sweepers of the folder plugins, if there are any."""
    if PLUGINS.is_dir() and str(PLUGINS) not in sys.path:
        sys.path.append(str(PLUGINS))
    for plugin in (FlagSearchPath, FlagSource):
        Plugins.instance().register(plugin)


class FlagSearchPath(SearchPathPlugin):
    """Puts the flags before the files of conf/, so that those can build on them."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Add them."""
        search_path.prepend(provider="main.py", path=f"{SCHEME}://")


class FlagSource(ConfigSource):
    """The config ``flags``, and what there is of the groups ``model_name``, ``data_name`` and ``experiment``.

    Only the file of the model and of the data that a job names is read.
    """

    @staticmethod
    def scheme() -> str:
        """Return what its address begins with."""
        return SCHEME

    def load_config(self, config_path: str) -> ConfigResult:
        """Return a config.

        Raises:
            ConfigLoadError: there is none of this name.
            UsageError: a file that it is made from cannot be used.
        """
        make = self._maker(config_path)
        if make is None:
            raise ConfigLoadError(f"there is no config {config_path} made from flags")
        package = "_global_"  # the top level
        # {% if cookiecutter.sweeps == "both" %}
        if config_path.startswith("hydra/sweeper"):
            package = "hydra"
        # {% endif %}
        return ConfigResult(self.provider, f"{SCHEME}://", OmegaConf.create(make()), {"package": package})

    def available(self) -> bool:
        """Return that it is there."""
        return True

    def is_config(self, config_path: str) -> bool:
        """Return whether there is a config of this name."""
        return self._maker(config_path) is not None

    def is_group(self, config_path: str) -> bool:
        """Return whether there is a group of configs of this name."""
        return config_path.strip("/") in groups() or config_path.strip("/") == ""

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        """Return the names of the configs in a group, and of the groups at the top."""
        group = config_path.strip("/")
        configs = groups().get(group, ["flags"] if group == "" else [])
        below = [name for name in groups() if "/" not in name] if group == "" else []
        return sorted({None: below + configs, ObjectType.CONFIG: configs, ObjectType.GROUP: below}[results_filter])

    def _maker(self, config_path: str) -> Callable[[], dict[str, Any]] | None:
        """Return what makes a config, or None if there is none of this name."""
        path = config_path.removesuffix(".yaml")
        group, _, name = path.rpartition("/")
        if path == "flags":
            return flags.program_config
        if path.startswith("experiment/") and (file := flags.experiment_file(path.removeprefix("experiment/"))):
            return lambda: flags.experiment_config(file)
        if name not in groups().get(group, []):
            return None
        # {% if cookiecutter.sweeps == "both" %}
        if group == "hydra/sweeper":
            from harness.sweeps.hydra.study import sweeper_config

            return sweeper_config
        # {% endif %}
        make = {"model_name": flags.model_config, "data_name": flags.data_config}[group]
        return lambda: make(name)


def groups() -> dict[str, list[str]]:
    """Return the names of the configs in each group; an experiment may be any file."""
    found = {"model_name": names("models"), "data_name": names("data")}
    # {% if cookiecutter.sweeps == "both" %}
    found["hydra/sweeper"] = ["optuna"]
    # {% endif %}
    return found
