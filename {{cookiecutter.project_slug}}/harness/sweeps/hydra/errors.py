"""Errors of the user's, and of Hydra, as one line."""

import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from traceback import walk_tb

from harness.cli.parser import Parser
from harness.errors import ModelError, RunError, UsageError
from main import build_parser

# What Hydra says where + would add a name that it has already.
TWICE = re.compile(
    r"Multiple values for (\S+)\.\s|(\S+) appears more than once|"
    r"force-add of config groups is not supported: '\+\+([^=]+)=|An item is already at '([^']+)'"
)


@contextmanager
def errors_in_one_line() -> Iterator[None]:
    """End with one line and an exit status, as main.py, where the user can mend what is wrong."""
    try:
        yield
    except UsageError as error:
        Parser().error(str(error))
    except RunError as error:
        if isinstance(error, ModelError) and error.__cause__ is not None:
            traceback.print_exception(error.__cause__)
        sys.exit(f"{Parser().prog}: error: {error}")
    except Exception as error:
        *_, last = walk_tb(error.__traceback__)
        if last[0].f_globals["__name__"].startswith(("hydra.", "omegaconf.")):
            Parser().error(explain(error))
        if isinstance(error, OSError):  # a full disk, no permission: of the machine, not of the code
            sys.exit(f"{Parser().prog}: error: {error}")
        raise


def explain(error: Exception) -> str:
    """Return the message of an error of Hydra's, with our remedy where Hydra's own does not help."""
    said = str(error).partition("Config search path")[0]
    if added := added_again(said):
        return f"{added}: it has its place already: drop the +, as in {added.lstrip('+')}"
    if "Could not override 'data_name'" in said:
        said = f"{said}: does the model bring its own? Then leave data_name out"
    elif found := re.match(r"Could not override '(\w+)'\.\s+To append to your config", said):
        return f"Could not override {found[1]!r}: {explain_unknown(found[1])}"
    cause = str(error.__cause__).splitlines()[0] if error.__cause__ else ""  # what OmegaConf says
    return f"{said} {cause}"


def explain_unknown(name: str) -> str:
    """Return why a name is unknown, in the words of main.py."""
    chosen = [f"--{word}" for word in sys.argv[1:] if re.fullmatch(r"(model|data)_name=\w+", word)]
    return build_parser(chosen).explain(f"--{name}").replace("--", "")


def added_again(said: str) -> str | None:
    """Return the word of the command line that adds, with +, what Hydra has already; None if there is no such word."""
    found = TWICE.search(said)
    if found is None:
        return None
    name = next(filter(None, found.groups()))
    return next((word for word in sys.argv[1:] if re.match(rf"\++{re.escape(name)}=", word)), None)
