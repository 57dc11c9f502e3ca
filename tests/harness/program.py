"""The command line of main.py, run in this process."""

import signal
from pathlib import Path

import pytest

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


def refused(capsys, *argv):
    """Return the one line in which main refuses a command line; nothing must be written or lost."""
    before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file() and path.name != ".lock"}
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        main(list(argv))
    assert stop.value.code == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("main.py: error: ")]
    assert {path: path.read_bytes() for path in Path().rglob("*") if path.is_file() and path.name != ".lock"} == before
    assert not list(Path("runs").glob("*"))
    return line
