"""Checks the jobs of a multirun before Hydra writes anything."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf, open_dict

from harness.errors import UsageError
from harness.sweeps.hydra.flags import words_of_job
from harness.sweeps.hydra.notes import difference, require_free


def require_all_free(config: DictConfig) -> None:
    """Raise UsageError, or an error of Hydra's, if a job of a multirun cannot be composed or have its directory.

    Of other sweepers than Hydra's own the jobs are not known beforehand: there each job checks its directory itself.

    Args:
        config: of the multirun.
    """
    if not config.hydra.sweeper._target_.endswith(f".{BasicSweeper.__name__}"):
        return
    planned: dict[Path, list[str]] = {}
    for job in planned_jobs(config):
        HydraConfig.instance().set_config(job)  # for what is written ${hydra:...}
        run_dir, words = Path(job.hydra.sweep.dir, str(job.hydra.sweep.subdir)), words_of_job(job, job.hydra)
        require_free(run_dir, words)
        if planned.setdefault(run_dir, words) != words:
            one, other = difference(planned[run_dir], words)
            raise UsageError(f"{run_dir} is of two jobs, {one} and {other}: name what differs in hydra.sweep.subdir")


def planned_jobs(config: DictConfig) -> Iterator[DictConfig]:
    """Yield the config of each job of a multirun.

    In a new directory, where each job has its number, one job for each choice of groups is enough: a wrong value ends
    its job alone.

    Args:
        config: of the multirun.
    """
    loader: Any = GlobalHydra.instance().config_loader()
    params = [f"{name}={value}" for name, value in (config.hydra.sweeper.params or {}).items()]
    overrides = OverridesParser.create(loader).parse_overrides([*params, *config.hydra.overrides.task])
    groups = {each.get_key_element() for each in overrides if loader.get_group_options(each.key_or_group)}
    sweep: Any = OmegaConf.to_container(config.hydra.sweep)  # as it is written, with ${...}
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
