"""The command line of main.py, run in this process."""

import signal

import main as program
from harness import app
from harness.runs.signals import NAMES


def main(argv):
    """Run a command line; errors end in SystemExit, as in a terminal."""
    before = {name: signal.getsignal(getattr(signal, name)) for name in (*NAMES, "SIGCHLD")}
    try:
        app.run(program.build_parser, program.main, argv)
    finally:
        for name, handler in before.items():
            signal.signal(getattr(signal, name), handler)
