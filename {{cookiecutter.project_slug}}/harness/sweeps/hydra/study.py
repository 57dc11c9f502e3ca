"""A sweep of Optuna in Hydra: its command line, and the workers that launchers run."""

import os
from argparse import Action, ArgumentParser
from collections.abc import Mapping, Sequence
from functools import partial
from math import nan
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override
from hydra.utils import get_object
from omegaconf import DictConfig

from harness.cli.sources import BuildParser
from harness.config_files import as_setting
from harness.errors import Stopped, UsageError
from harness.runs import signals
from harness.runs.processes import GROUP
from harness.sweeps.hydra.configs import flags_of
from harness.sweeps.hydra.launched import hush_lightning, is_here, passed_on
from harness.sweeps.hydra.settings import name_words
from harness.sweeps.optuna.flags import add_sweep_args
from harness.sweeps.optuna.objective import Program
from harness.words import find_action, flag_words

TARGET = "hydra_plugins.optuna_sweeper.OptunaSweeper"


def sweep_parser() -> ArgumentParser:
    """Return a parser of the flags of a sweep alone."""
    return add_sweep_args(ArgumentParser(add_help=False))


def sweeper_config() -> dict[str, Any]:
    """Return the config of the sweeper: the flags of a sweep, and the module with its objective."""
    flags = flags_of(sweep_parser(), owner=None)
    return {"_target_": TARGET, "_convert_": "all", "program": "sweep_optuna", "params": {}, **flags}


def load_program(module: str) -> Program:
    """Return the functions of a module such as sweep_optuna."""
    return Program(*(get_object(f"{module}.{name}") for name in ("build_parser", "objective", "test")))


def command_line(
    held: Mapping[str, Any], settings: Mapping[str, Any], searched: Sequence[Override], build_parser: BuildParser
) -> list[str]:
    """Return the command line of sweep_optuna.py that is the same sweep.

    Args:
        held: flags of main.py that the sweep holds fixed, from ``settings_of``.
        settings: flags of the sweep.
        searched: overrides that are searched; without any, the search space of the model is.
        build_parser: returns the parser of sweep_optuna.py.

    Raises:
        UsageError: If an override cannot be searched, or no words give a flag its value.
    """
    words = [*(settings["search"] or []), *map(search_word, searched)]
    settings = {**settings, "search": words or None, "search_only": settings["search_only"] or bool(searched)}
    parser = build_parser(name_words(held))
    given = {name: value for name, value in settings.items() if value != sweep_parser().get_default(name)}
    return [word for name, value in {**held, **given}.items() for word in given_words(parser, name, value)]


def given_words(parser: ArgumentParser, name: str, value: Any) -> list[str]:
    """Return the words that give a flag a value, also its default: a flag that is given is not searched."""
    action: Action | None = find_action(parser, name)
    is_default = action is not None and as_setting(value) == as_setting(action.default)
    if action is not None and is_default and value is not None and action.nargs in (None, "?"):
        return [f"{action.option_strings[0]}={as_setting(value)}"]
    return flag_words(parser, name, value)


def search_word(override: Override) -> str:
    """Return an override that sweeps, as ``--search`` takes it.

    Raises:
        UsageError: If ``--search`` has no such values.
    """
    name, values = override.get_key_element().lstrip("+"), override.value()
    if isinstance(values, IntervalSweep):
        return f"{name}={values.start}..{values.end}{':log' if 'log' in values.tags else ''}"
    parser = OverridesParser.create()
    texts = [as_setting(parser.parse_override(f"{name}={text}").value()) for text in override.sweep_string_iterator()]
    if not all(isinstance(text, str) and "," not in text and ".." not in text for text in texts):
        raise UsageError(f"{override.input_line} cannot be searched: its values are no plain numbers or words")
    return f"{name}={','.join(texts)}"


def worker_task(argv: Sequence[str], module: str) -> Any:
    """Return the task of a job that runs a worker, for a launcher.

    Args:
        argv: command line of the sweep.
        module: module with the objective.
    """
    return partial(run_worker, argv=list(argv), module=module)


def run_worker(config: DictConfig, argv: list[str], module: str) -> float:
    """Run trials until none is left; the config of the job is not used.

    Raises:
        Stopped: If a signal arrives in the process that the user started; the trial waits for the next start.
        SystemExit: If submitit requeues the job.
    """
    from harness.sweeps.optuna.program import open_claims, read_command_line
    from harness.sweeps.optuna.storages import storage_errors
    from harness.sweeps.optuna.study import storage_of
    from harness.sweeps.optuna.workers import work

    hush_lightning()
    program = load_program(module)
    sweep = read_command_line(program, argv)
    sweep.flags.workers = 1  # launchers divide the CPUs
    os.environ.setdefault(GROUP, sweep.name)
    url = storage_of(sweep.flags, sweep.name)
    with signals.handled() as before, storage_errors(url):
        try:
            work(open_claims(sweep, url), int(HydraConfig.get().job.num), program)
        except Stopped as stopped:
            passed_on(stopped, before)
            if is_here():
                raise
    return nan
