"""Train by Hydra: every flag of main.py without its dashes, as in max_epochs=3.

    python sweep_hydra.py max_epochs=3 batch_size=32
    python sweep_hydra.py -m model_name=my_model learning_rate=1e-3,1e-2
    python sweep_hydra.py --help

What stands in conf/ comes before, and experiment=NAME brings the flags of conf/experiment/NAME.yaml or of a run's file.
"""

import sys

if sys.version_info < (3, 10):  # noqa: UP036  an older one cannot read what is imported below
    sys.exit(f"sweep_hydra.py: error: needs Python 3.10 or newer, this is {'.'.join(map(str, sys.version_info[:3]))}")

import os
import re
from collections.abc import Sequence

import hydra
from omegaconf import DictConfig

from harness.cli.config_files import settable
from harness.cli.parser import Parser
from harness.errors import RunError, Stopped, UsageError
from harness.found import ROOT
from harness.runs import signals
from harness.sweeps.hydra import configs
from harness.sweeps.hydra.errors import errors_in_one_line
from harness.sweeps.hydra.launched import LAUNCHING
from harness.sweeps.hydra.table import Remember, show_table
from main import build_parser

configs.register()


@hydra.main(version_base="1.3", config_path=str(ROOT / "conf"), config_name="config")
def launch(config: DictConfig) -> float:
    """Run one job, in this process or where a launcher has brought it, and return the metric that it monitors."""
    from harness.sweeps.hydra.job import run_job  # torch

    with errors_in_one_line():
        return run_job(config)


def complete(words: Sequence[str]) -> None:
    """Print what the last of ``words`` can become, as Hydra knows it, one a line."""
    *before, word = words or [""]
    # A value that Hydra cannot read here, as of a search, matters to no other word.
    before = [word for word in before if re.fullmatch(r"-\w+|[+~]*[\w/.@-]+=[\w/.-]+", word)]
    os.environ["COMP_LINE"] = " ".join(["python", "sweep_hydra.py", *before, word])
    sys.argv[1:] = ["--shell-completion", "query=fish"]  # in its words
    launch()


def require_no_dashes(argv: Sequence[str]) -> None:
    """Raise UsageError if a flag is written as for main.py."""
    for word in argv:
        name, _, value = word.removeprefix("--").partition("=")
        if word.startswith("--") and settable(build_parser([]), name):
            raise UsageError(f"{word}: here flags stand without dashes, as in {name}={value or 'VALUE'}")


def main() -> None:
    """Run the command line."""
    if sys.argv[1:2] == ["--complete"]:  # from the shell, at a TAB
        complete(sys.argv[2:])
        return
    # Jobs in other processes find the files of the project, and what is wrong comes here instead of being printed.
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    os.environ["HYDRA_FULL_ERROR"] = "1"
    os.environ[LAUNCHING] = str(os.getpid())
    with signals.handled(), errors_in_one_line():
        try:
            require_no_dashes(sys.argv[1:])
            launch()
        except Stopped as stopped:
            goes_on = (
                f": the same command with hydra.sweep.dir={Remember.directory} goes on" if Remember.directory else ""
            )
            print(f"{Parser().prog}: {stopped}{goes_on}", file=sys.stderr)
            raise
        finally:
            failures = show_table(Remember.directory) if Remember.directory else ""
        if failures:
            raise RunError(failures)


if __name__ == "__main__":
    signals.run(main)
