"""Errors of Hydra as usage errors in one line, with a remedy where Hydra's own does not help."""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from traceback import walk_tb

from harness.cli.parser import with_help
from harness.errors import RunError, UsageError
from harness.found import owner_of_flag
from harness.sweeps.hydra.configs import OMITTED, FlagSource
from harness.words import find_action

# Messages of Hydra about a + before a name that it already has.
TWICE = re.compile(
    r"Multiple values for (\S+)\.\s|(\S+) appears more than once|"
    r"force-add of config groups is not supported: '\+\+([^=]+)=|An item is already at '([^']+)'"
)


@contextmanager
def hydra_errors() -> Iterator[None]:
    """Raise UsageError in place of an error that Hydra or OmegaConf raise."""
    try:
        yield
    except (UsageError, RunError):
        raise
    except Exception as error:
        *_, (frame, _) = walk_tb(error.__traceback__)
        if frame.f_globals["__name__"].startswith(("hydra.", "omegaconf.")):
            raise UsageError(explain(error)) from error
        raise


def explain(error: Exception) -> str:
    """Return the message of an error of Hydra, or ours where Hydra's remedy does not help."""
    message = str(error).partition("Config search path")[0]
    if added := added_again(message):
        return f"{added}: it has its place already: drop the +, as in {added.lstrip('+')}"
    if "Could not override 'data_name'" in message:
        message = f"{message}: does the model bring its own? Then leave data_name out"
    elif found := re.match(r"Could not override '(\w+)'\.\s+To append to your config", message):
        return f"Could not override {found[1]!r}: {explain_unknown(found[1])}"
    cause = str(error.__cause__).splitlines()[0] if error.__cause__ else ""  # from OmegaConf
    return f"{message} {cause}"


def explain_unknown(name: str) -> str:
    """Return why a name is unknown, as main.py does."""
    if name in OMITTED:
        return OMITTED[name]
    words = [re.fullmatch(r"(model_name|data_name)=(\w+)", word) for word in sys.argv[1:]]
    chosen = {word[1]: word[2] for word in words if word}
    parser = with_help(FlagSource.build_parser([f"--{key}={value}" for key, value in chosen.items()]))
    if action := find_action(parser, name):  # a flag of Lightning 1.x
        return str(action.help).replace("--", "")
    names = [chosen.get(key) or parser.get_default(key) for key in ("model_name", "data_name")]
    owner = owner_of_flag(f"--{name}", *names)
    problem = f"{name} is {owner}" if owner else parser.describe_unknown(f"--{name}")
    return problem.replace("--", "")


def added_again(message: str) -> str | None:
    """Return the word of the command line that adds, with +, a name that Hydra has already; None without one."""
    found = TWICE.search(message)
    if found is None:
        return None
    name = next(filter(None, found.groups()))
    return next((word for word in sys.argv[1:] if re.match(rf"\++{re.escape(name)}=", word)), None)
