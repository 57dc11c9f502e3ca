"""Optuna as a sweeper of Hydra's: trials of the same studies as sweep_optuna.py, run by whatever launcher."""

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from time import sleep
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, read_write

from harness.errors import RunError
from harness.found import brings_data, declaration
from harness.runs import signals
from harness.sweeps.hydra.flags import given_names, job_words, require_flags
from harness.sweeps.hydra.study import CLAIMED, override_text, sweep_words
from harness.sweeps.hydra.table import Remember

LOOK = 2.0  # seconds between looks at trials that run elsewhere


class OptunaSweeper(Sweeper):
    """Claims trials of a study, ``workers`` at a time, and lets a launcher run them.

    Args:
        params: what is searched, as overrides by name: ``learning_rate: interval(1e-4, 1e-1)``.
        **settings: flags of a sweep.
    """

    hydra_context: HydraContext
    config: DictConfig

    def __init__(self, params: dict[str, str], **settings: Any) -> None:
        """Remember the arguments."""
        self.params, self.settings = params, settings

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Remember what a launcher needs."""
        self.hydra_context, self.task_function, self.config = hydra_context, task_function, config
        self.job = OmegaConf.masked_copy(config, [str(name) for name in config if name != "hydra"])

    def sweep(self, arguments: list[str]) -> None:
        """Run trials until there are as many as asked for.

        Args:
            arguments: overrides: what is held, and what is searched.

        Raises:
            UsageError, RunError: it cannot be done.
            Stopped: a signal has arrived.
        """
        from harness.sweeps.optuna import studies
        from harness.sweeps.optuna.claims import Claims
        from harness.sweeps.optuna.kept import keep_checkpoints
        from harness.sweeps.optuna.progress import Progress, print_result
        from sweep_optuna import (
            begun_study,
            introduce,
            read_command_line,
            reported,
            require_installed,
            require_outcome,
            url_of,
        )

        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        params = [f"{name}={value}" for name, value in self.params.items()]
        overrides = parser.parse_overrides([*params, *arguments])
        held = [str(each.input_line) for each in overrides if not each.is_sweep_override()]
        searched = [each for each in overrides if each.is_sweep_override()]
        argv = [*self.held_words(held), *sweep_words(self.settings, searched)]
        Remember.directory = None  # the study has a report of its own
        if reported(argv):
            return
        sweep = read_command_line(argv)
        require_installed()
        url = url_of(sweep)
        study, storage = begun_study(sweep, url)
        claims = Claims(sweep, study, storage, url)
        introduce(claims)
        launcher, held = self.launcher_into(sweep.directory), [*held, *self.names_brought(sweep)]
        with studies.storage_errors(url):
            progress = Progress(claims)
            try:
                while self.run_batch(claims, launcher, held, argv):
                    keep_checkpoints(claims)
                    progress.show()
                self.run_test(claims, launcher, held, argv)
            finally:
                progress.close()
                keep_checkpoints(claims)
                print_result(study, sweep.directory)
        require_outcome(claims)

    def held_words(self, held: Sequence[str]) -> list[str]:
        """Return the words of a command line of main.py for what is not searched."""
        choices = self.config.hydra.runtime.choices
        require_flags(self.job, choices)
        return job_words(self.job, given_names(held, choices.get("experiment")))

    def names_brought(self, sweep: Any) -> list[str]:
        """Return the overrides for the model and the data of an existing study that the command line omits."""
        names = {"model_name": sweep.flags.model_name}
        if not brings_data(declaration("models", sweep.flags.model_name)):
            names["data_name"] = sweep.flags.data_name
        return [override_text(name, value) for name, value in names.items() if self.job.get(name) != value]

    def launcher_into(self, directory: Path) -> Launcher:
        """Return the launcher that the config names, with the directory of the sweep for all that it writes."""
        with read_write(self.config.hydra.sweep):
            self.config.hydra.sweep.dir = str(directory)
        directory.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(self.config, directory / "multirun.yaml")
        context, task = self.hydra_context, self.task_function
        return Plugins.instance().instantiate_launcher(hydra_context=context, task_function=task, config=self.config)

    def run_batch(self, claims: Any, launcher: Launcher, held: Sequence[str], argv: list[str]) -> bool:
        """Run as many trials as there are workers, and return whether there may be more to do.

        Raises:
            RunError: the launcher could not begin any.
            Stopped: a signal has arrived.
        """
        batch: list[tuple[Any, dict[str, Any]]] = []
        try:
            with signals.waiting():
                while len(batch) < claims.sweep.args.workers and (found := claims.claim({})):
                    batch.append(found)
            if batch:
                self.launch(claims, launcher, [[*held, *trial_overrides(claims, *each, argv)] for each in batch], batch)
                return True
        finally:
            for trial, _ in batch:
                claims.release(trial)  # if it is still this process's
        if all(trial.state.is_finished() for trial in claims.trials()) or claims.failures(claims.trials()):
            return False
        sleep(LOOK)  # others run elsewhere
        return True

    def run_test(self, claims: Any, launcher: Launcher, held: Sequence[str], argv: list[str]) -> None:
        """Launch a job that tests the best trial, unless the last job of a trial has done so.

        Raises:
            RunError: If the launcher fails, or the job is killed.
        """
        from harness.sweeps.optuna.untested import due

        if trials := due(claims):
            run, claimed = claims.run_dir(trials[0]).name, {"argv": argv, "number": trials[0].number, "claim": ""}
            self.launch(claims, launcher, [[*held, *own_overrides(claims, f"trials/{run}/test", {}, claimed)]], [])
            if due(claims):
                raise RunError(f"trial {trials[0].number} could not be tested: its process was killed")

    def launch(self, claims: Any, launcher: Launcher, jobs: list[list[str]], batch: Sequence[tuple[Any, Any]]) -> None:
        """Launch the jobs of a batch of trials, and wait for them.

        Raises:
            RunError: none was begun.
        """
        with ExitStack() as stack:
            for trial, _ in batch:
                stack.enter_context(claims.alive(trial))
            try:
                for result in launcher.launch(jobs, initial_job_idx=batch[0][0].number if batch else 0):
                    _ = result.return_value  # raises what the job has raised
            except Exception as error:
                if all(claims.is_mine(trial) for trial, _ in batch):
                    raise RunError(f"the launcher could not begin a job: {error}") from error


def trial_overrides(claims: Any, trial: Any, drawn: Mapping[str, Any], argv: list[str]) -> list[str]:
    """Return the overrides that are specific to the job of a trial: its values, and its claim."""
    from harness.sweeps.optuna.claims import MINE

    run, claim = f"trials/{claims.run_dir(trial).name}", trial.user_attrs[MINE]["claim"]
    return own_overrides(claims, run, drawn, {"argv": argv, "number": trial.number, "claim": claim})


def own_overrides(claims: Any, subdir: str, drawn: Mapping[str, Any], claimed: Mapping[str, Any]) -> list[str]:
    """Return the overrides that are specific to a job: values of a trial, directory, task."""
    own = {
        "hydra.sweep.dir": str(claims.sweep.directory),
        "hydra.sweep.subdir": subdir,
        f"hydra.job.env_set.{CLAIMED}": json.dumps(claimed),
    }
    return [override_text(name, value) for name, value in {**drawn, **own}.items()]
