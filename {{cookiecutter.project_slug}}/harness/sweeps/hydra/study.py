"""A study of Optuna's whose trials Hydra launches: the same as that of sweep_optuna.py with the same flags."""

import json
import os
from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from math import nan
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, Quote, QuotedString

from harness.cli.config_files import as_setting, plain
from harness.cli.words import flag_words
from harness.errors import Stopped, UsageError
from harness.runs import signals
from harness.sweeps.hydra.flags import escaped, flags_of
from harness.sweeps.hydra.launched import is_here, passed_on
from harness.sweeps.optuna.flags import add_sweep_args

CLAIMED = "CLAIMED_TRIAL"  # environment variable of a job that runs a trial of a study


def sweep_parser() -> ArgumentParser:
    """Return a parser of the flags of a sweep alone."""
    parser = ArgumentParser(add_help=False)
    add_sweep_args(parser)
    return parser


def sweeper_config() -> dict[str, Any]:
    """Return the config of the sweeper: the flags of a sweep, and where it tells a job which trial is its."""
    target = {"_target_": "hydra_plugins.optuna_sweeper.OptunaSweeper", "_convert_": "all"}
    sweeper = {**target, "params": {}, **flags_of(sweep_parser())}
    return {"sweeper": sweeper, "job": {"env_set": {CLAIMED: ""}}}


def sweep_words(settings: Mapping[str, Any], searched: Sequence[Override]) -> list[str]:
    """Return the words of a command line that say the same as the settings of the sweeper.

    Args:
        settings: flags of a sweep, by name.
        searched: overrides that say what is searched; the model's own space counts only where there are none.

    Raises:
        UsageError: an override cannot be searched.
    """
    parser = sweep_parser()
    settings = {**settings, "search": [*(settings["search"] or []), *map(search_word, searched)]}
    if searched:
        settings["search_only"] = True
    by_default = {action.dest: action.default for action in parser._actions}
    given = {name: value for name, value in settings.items() if value not in (by_default[name], [])}
    return [word for name, value in given.items() for word in flag_words(parser, name, value)]


def search_word(override: Override) -> str:
    """Return what ``--search`` takes for an override that sweeps.

    Raises:
        UsageError: there is no such word.
    """
    name, values = override.get_key_element().lstrip("+"), override.value()
    if isinstance(values, IntervalSweep):
        return f"{name}={values.start}..{values.end}{':log' if 'log' in values.tags else ''}"
    texts = [as_setting(override_value(f"{name}={text}")) for text in override.sweep_string_iterator()]
    if not all(isinstance(text, str) and "," not in text and ".." not in text for text in texts):
        raise UsageError(f"{override.input_line} cannot be searched: its values are no plain numbers or words")
    return f"{name}={','.join(texts)}"


def override_value(text: str) -> Any:
    """Return the value that an override has."""
    return OverridesParser.create().parse_override(text).value()


def override_text(name: str, value: Any) -> str:
    """Return an override that gives a name a value, whatever is in it."""
    return f"{name}={element(plain(value))}"


def element(value: Any) -> str:
    """Return a value as Hydra's grammar has it."""
    if isinstance(value, list):
        return f"[{','.join(map(element, value))}]"
    if isinstance(value, str):
        return QuotedString(escaped(value), Quote.single).with_quotes()
    return json.dumps(value) if value is None or isinstance(value, bool) else repr(value)


def is_claimed() -> bool:
    """Return whether this job runs a trial of a study."""
    return bool(os.environ.get(CLAIMED))


def run_claimed() -> float:
    """Run the trial that the sweeper has claimed for this job, and return its value, the first of several; or NaN.

    Then test the trials that await it; a job without a claim does only this.

    Raises:
        Stopped: a signal has arrived in the process that has begun the sweep; the trial waits for the next start.
        SystemExit: submitit starts the job again.
    """
    from harness.sweeps.optuna.claims import Claims
    from harness.sweeps.optuna.trials import run_trial, test_due
    from sweep_optuna import begun_study, read_command_line, url_of

    claimed = json.loads(os.environ[CLAIMED])
    sweep = read_command_line(claimed["argv"])
    url = url_of(sweep)
    study, storage = begun_study(sweep, url)
    claims = Claims(sweep, study, storage, url)
    taken = claims.take_over(claimed["number"], claimed["claim"]) if claimed["claim"] else None
    if taken is None and claimed["claim"]:
        return nan
    with signals.handled() as before:
        try:
            if taken is not None:
                run_trial(claims, *taken, {})
            test_due(claims)
        except Stopped as stopped:
            passed_on(stopped, before)
            if is_here():
                raise
    values = claims.trials()[claimed["number"]].values
    return values[0] if values else nan
