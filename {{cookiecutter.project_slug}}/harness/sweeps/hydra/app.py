"""Start the program of Hydra: completion, mistakes in one line, and the table after a multirun."""

import io
import os
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from typing import Any

from harness.app import ends_in_one_line
from harness.errors import RunError, Stopped, UsageError
from harness.found import ROOT
from harness.sweeps.hydra.configs import FlagSource
from harness.sweeps.hydra.directories import CheckDirectories
from harness.sweeps.hydra.launched import LAUNCHING
from harness.sweeps.hydra.messages import hydra_errors
from harness.sweeps.hydra.table import show_table
from harness.trainer_args import notice
from harness.words import find_action


def run(launch: Callable[[], Any]) -> None:
    """Run the command line.

    Args:
        launch: function with ``@hydra.main``.
    """
    if "_ARGCOMPLETE" in os.environ:
        complete(launch)
        return
    # For jobs in other processes, which import files of this project; and for errors, which Hydra would print.
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    os.environ["HYDRA_FULL_ERROR"] = "1"
    os.environ[LAUNCHING] = str(os.getpid())
    with ends_in_one_line():
        try:
            with hydra_errors():
                require_no_dashes(sys.argv[1:])
                launch()
        except Stopped:
            if CheckDirectories.sweep_dir:
                notice(f"the same command with hydra.sweep.dir={CheckDirectories.sweep_dir} resumes")
            raise
        finally:
            failures = show_table(CheckDirectories.sweep_dir) if CheckDirectories.sweep_dir else ""
        if failures:
            raise RunError(failures)


def require_no_dashes(argv: Sequence[str]) -> None:
    """Raise UsageError if a flag is written as for main.py."""
    for word in argv:
        name, _, value = word.removeprefix("--").partition("=")
        if word.startswith("--") and find_action(FlagSource.build_parser([]), name):
            raise UsageError(f"{word}: here flags have no dashes, as in {name}={value or 'VALUE'}")


def complete(launch: Callable[[], Any]) -> None:
    """Answer the shell, through argcomplete, with Hydra's own completion of a command line."""
    from argcomplete.lexers import split_line  # at a TAB alone

    _, word, _, words, _ = split_line(os.environ["COMP_LINE"], int(os.environ["COMP_POINT"]))
    words = words[int(os.environ["_ARGCOMPLETE"]) :]
    # A value that Hydra cannot read here, such as that of a search, matters to no other word.
    words = [each for each in words if re.fullmatch(r"-\w+|[+~]*[\w/.@-]+=[\w/.-]+", each)]
    os.environ["COMP_LINE"] = " ".join(["python", "sweep_hydra.py", *words, word])
    sys.argv[1:] = ["--shell-completion", "query=fish"]
    answer = io.StringIO()
    with redirect_stdout(answer):
        launch()
    file = os.environ.get("_ARGCOMPLETE_STDOUT_FILENAME")
    with open(file, "w") if file else os.fdopen(8, "w") as output:
        output.write(os.environ.get("_ARGCOMPLETE_IFS", "\v").join(answer.getvalue().split()))
