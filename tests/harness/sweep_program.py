"""The command line of sweep_optuna.py, run in this process."""

import sweep_optuna
from harness.sweeps.optuna import app
from harness.sweeps.optuna.objective import Program
from harness.sweeps.optuna.program import read_command_line

PROGRAM = Program(sweep_optuna.build_parser, sweep_optuna.objective, sweep_optuna.test)


def main(argv):
    """Run a command line; errors end in SystemExit, as in a terminal."""
    app.run(sweep_optuna.build_parser, sweep_optuna.objective, sweep_optuna.test, argv)


def read(argv):
    """Return the sweep of a command line."""
    return read_command_line(PROGRAM, argv)
