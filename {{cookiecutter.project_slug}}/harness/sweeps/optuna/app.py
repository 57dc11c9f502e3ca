"""Start the program of a sweep; help and mistakes in flags need no import of Optuna or torch."""

import os
import sys
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from harness.app import ends_in_one_line
from harness.cli.completion import complete
from harness.cli.printed import FLAGS
from harness.cli.sources import BuildParser, parse_words, with_command
from harness.errors import RunError, UsageError
from harness.runs.processes import RUN_DIR
from harness.sweeps.optuna.objective import Program, Trial, Values

OTHER_SOURCES = {"--config", "--ckpt_path", "--resume_from_checkpoint", "--study_name"}  # flags that may be absent


def run(
    build_parser: BuildParser,
    objective: Callable[[Trial], Values],
    test: Callable[[Namespace, Path], Mapping[str, float]],
    argv: Sequence[str] | None = None,
) -> None:
    """Run the command line of a sweep.

    Args:
        build_parser: returns the parser for words that name a model and data.
        objective: returns the value of a trial.
        test: tests the checkpoint in the flags; the directory takes its files.
        argv: the command line; by default that of this process.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    program = Program(build_parser, objective, test)
    complete(build_parser, commands=())
    with ends_in_one_line():
        if RUN_DIR in os.environ:
            program.run_process(words)
            return
        if shown := {*FLAGS} & {*words}:
            raise UsageError(f"{min(shown)} is a flag of main.py")
        if not OTHER_SOURCES & {word.split("=")[0] for word in words}:
            parse_words(build_parser, with_command(words, ("fit",)), [])
        try:
            from harness.sweeps.optuna.program import run_sweep
        except ModuleNotFoundError as error:
            raise RunError(f"{error} (this project is installed by: pip install -e .)") from error
        run_sweep(program, words)
