"""Sweeper of Hydra that runs workers of Optuna: they claim trials of the same studies as those of sweep_optuna.py."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, read_write

from harness.errors import RunError, UsageError
from harness.sweeps.hydra.configs import FlagSource, escaped
from harness.sweeps.hydra.directories import CheckDirectories
from harness.sweeps.hydra.settings import settings_of
from harness.sweeps.hydra.study import command_line, load_program, sweeper_config, worker_task

ConfigStore.instance().store(group="hydra/sweeper", name="optuna", node=sweeper_config(), provider="sweep_optuna.py")
LOOK = 2.0  # seconds between two looks at the study


class OptunaSweeper(Sweeper):
    """Launches ``workers`` jobs, each of which claims trials until none is left.

    Args:
        params: searched overrides by name, such as ``learning_rate: interval(1e-4, 1e-1)``.
        program: module with the objective.
        **settings: flags of a sweep.
    """

    hydra_context: HydraContext
    config: DictConfig

    def __init__(self, params: dict[str, str], program: str, **settings: Any) -> None:
        self.params, self.module, self.settings = params, program, settings

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Remember what a launcher needs."""
        self.hydra_context, self.config = hydra_context, config

    def sweep(self, arguments: list[str]) -> None:
        """Run trials until there are as many as asked for.

        Args:
            arguments: overrides, held or searched.

        Raises:
            UsageError, RunError: If the sweep is refused, or fails.
            Stopped: If a signal arrives.
        """
        from harness.sweeps.optuna import program as optuna_program
        from harness.sweeps.optuna.best import keep_checkpoints
        from harness.sweeps.optuna.progress import Progress, introduce, print_result
        from harness.sweeps.optuna.storages import storage_errors
        from harness.sweeps.optuna.study import storage_of

        CheckDirectories.sweep_dir = None  # the study has a report of its own
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        overrides = parser.parse_overrides([*(f"{name}={value}" for name, value in self.params.items()), *arguments])
        searched = [each for each in overrides if each.is_sweep_override()]
        held = [str(each.input_line) for each in overrides if not each.is_sweep_override()]
        program = load_program(self.module)
        hydra = OmegaConf.merge(self.config.hydra, {"overrides": {"task": held}})
        settings = settings_of(self.config, hydra, FlagSource.build_parser)
        argv = command_line(settings, self.settings, searched, program.build_parser)
        if self.settings["report"]:
            optuna_program.run_sweep(program, argv)
            return
        sweep = optuna_program.read_command_line(program, argv)
        optuna_program.require_installed()
        url = storage_of(sweep.flags, sweep.name)
        with storage_errors(url):
            claims = optuna_program.open_claims(sweep, url)
            introduce(claims, url)
            progress = Progress(claims)
            try:
                with shown(progress):
                    self.run_workers(claims, held, argv)
            finally:
                progress.close()
                keep_checkpoints(claims)
                print_result(claims.study, sweep.directory)
            optuna_program.require_outcome(claims)

    def run_workers(self, claims: Any, held: Sequence[str], argv: Sequence[str]) -> None:
        """Launch workers until no trial is left, and again after those that were killed.

        Raises:
            RunError: If workers keep failing, and no trial finishes.
            Stopped: If a signal arrives.
        """
        from harness.sweeps.optuna.best import due
        from harness.sweeps.optuna.claims import MOST_DEATHS
        from harness.sweeps.optuna.workers import is_unfinished

        failures, finished = 0, -1
        while claims.has_more() or is_unfinished(claims):
            if not (claims.has_more() or due(claims)):
                threading.Event().wait(LOOK)  # trials run elsewhere
                continue
            now = sum(trial.state.is_finished() for trial in claims.trials())
            failures, finished = (0, now) if now > finished else (failures + 1, finished)
            error = self.launch(claims, held, argv)
            if error is not None and failures >= MOST_DEATHS:
                raise RunError(f"workers keep failing: {error}") from error

    def launch(self, claims: Any, held: Sequence[str], argv: Sequence[str]) -> Exception | None:
        """Let the launcher run the workers; return the error if one is killed or cannot start.

        Raises:
            UsageError, RunError: If a worker refuses to work.
        """
        number, directory = self.settings["workers"], claims.sweep.directory
        own = f"hydra.sweep.dir={QuotedString(escaped(str(directory)), Quote.single).with_quotes()}"
        jobs = [[*held, own, f"hydra.sweep.subdir=workers/{worker}"] for worker in range(number)]
        with read_write(self.config.hydra.sweep):
            self.config.hydra.sweep.dir = str(directory)
        directory.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(self.config, directory / "multirun.yaml")
        launcher = Plugins.instance().instantiate_launcher(
            hydra_context=self.hydra_context, task_function=worker_task(argv, self.module), config=self.config
        )
        try:
            for result in launcher.launch(jobs, initial_job_idx=0):
                if isinstance(result._return_value, Exception):  # raised by the job, not by its end
                    raise result._return_value
        except (UsageError, RunError):
            raise
        except Exception as error:
            return error
        return None


@contextmanager
def shown(progress: Any) -> Iterator[None]:
    """Show the progress of a study regularly, while a launcher occupies this thread."""
    is_over = threading.Event()

    def show() -> None:
        while not is_over.wait(LOOK):
            progress.show()

    thread = threading.Thread(target=show, daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
