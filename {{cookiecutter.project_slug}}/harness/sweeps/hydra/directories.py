"""Checks, before Hydra writes anything, that the directory of each job is free or holds the same job."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, open_dict

from harness.app import ends_in_one_line
from harness.config_files import read_config
from harness.errors import UsageError
from harness.sweeps.hydra.configs import FlagSource
from harness.sweeps.hydra.messages import hydra_errors
from harness.sweeps.hydra.settings import as_texts, difference, settings_of

HYDRA = ".hydra"  # where Hydra writes the config of a job
FLAGS_FILE = f"{HYDRA}/flags.yaml"  # the flags that a job sets, for --config of main.py
NOTE_FILE = "job.json"  # the outcome of a job


class OccupiedError(UsageError):
    """The directory of a job belongs to another run, or holds other files."""


class CheckDirectories(Callback):
    """Checks the output directories, and keeps that of a multirun for the table after it."""

    sweep_dir: ClassVar[Path | None] = None

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Exit if the directory of a single job is not free."""
        with ends_in_one_line(), hydra_errors():  # Hydra makes a warning of any other error in a callback
            HydraConfig.instance().set_config(config)  # for ${hydra:...}
            require_free(Path(config.hydra.run.dir), settings_of(config, config.hydra, FlagSource.build_parser))

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Exit if the directory of one of the jobs is not free."""
        with ends_in_one_line(), hydra_errors():
            require_all_free(config)
        CheckDirectories.sweep_dir = Path(config.hydra.sweep.dir)


def require_free(run_dir: Path, settings: Mapping[str, Any]) -> None:
    """Raise OccupiedError if a directory is neither new nor that of a job with these flags."""
    file = run_dir / FLAGS_FILE
    if not file.exists():
        if run_dir.is_dir() and (others := foreign(run_dir)):
            raise OccupiedError(f"{run_dir} is not for this job alone: it holds {others[0]}; name another directory")
        return
    try:
        there = read_config(str(file))
    except UsageError as error:
        raise OccupiedError(f"{file} is not as it was written: name another directory") from error
    if there != as_texts(settings):
        theirs, ours = difference(there, settings)
        raise OccupiedError(
            f"{run_dir} holds a run with {theirs}, and this job has {ours}: name another directory, or give the same "
            "overrides to resume it"
        )


def foreign(run_dir: Path) -> list[str]:
    """Return the names in a directory that are neither of Hydra nor of a job that was refused."""
    names = sorted(path.name for path in run_dir.iterdir() if path.suffix != ".log")
    return [name for name in names if name not in (HYDRA, NOTE_FILE)]


def require_all_free(config: DictConfig) -> None:
    """Raise UsageError, or an error of Hydra, if a job of a multirun has an invalid config or no free directory.

    Only Hydra's own sweeper has all jobs beforehand; with others each job checks its own directory.
    """
    if not config.hydra.sweeper._target_.endswith(f".{BasicSweeper.__name__}"):
        return
    planned: dict[Path, dict[str, Any]] = {}
    for job in planned_jobs(config):
        HydraConfig.instance().set_config(job)  # for ${hydra:...}
        run_dir = Path(job.hydra.sweep.dir, str(job.hydra.sweep.subdir))
        settings = settings_of(job, job.hydra, FlagSource.build_parser)
        require_free(run_dir, settings)
        if as_texts(planned.setdefault(run_dir, settings)) != as_texts(settings):
            one, other = difference(planned[run_dir], settings)
            raise UsageError(f"{run_dir} is of two jobs, {one} and {other}: name what differs in hydra.sweep.subdir")


def planned_jobs(config: DictConfig) -> Iterator[DictConfig]:
    """Yield the config of each job of a multirun.

    In a new directory with a number for each job, one job for each choice of groups is enough: a wrong value ends only
    its own job.
    """
    loader: Any = GlobalHydra.instance().config_loader()
    params = [f"{name}={value}" for name, value in (config.hydra.sweeper.params or {}).items()]
    overrides = OverridesParser.create(loader).parse_overrides([*params, *config.hydra.overrides.task])
    groups = {each.get_key_element() for each in overrides if loader.get_group_options(each.key_or_group)}
    sweep: Any = OmegaConf.to_container(config.hydra.sweep)  # unresolved
    one_each = sweep["subdir"] == "${hydra.job.num}" and not Path(config.hydra.sweep.dir).exists()
    (jobs,) = BasicSweeper.split_arguments(overrides, max_batch_size=None)
    seen = set()
    for number, own in enumerate(jobs):
        chosen = tuple(override for override in own if override.split("=")[0] in groups)
        if one_each and chosen in seen:
            continue
        seen.add(chosen)
        job = loader.load_sweep_config(config, own)
        with open_dict(job):
            job.hydra.job.id, job.hydra.job.num = str(number), number
        yield job
