"""The command line of main.py, run in this process."""

import main as program
from harness import app


def main(argv):
    """Run a command line; errors end in SystemExit, as in a terminal."""
    app.run(program.build_parser, program.main, argv)
