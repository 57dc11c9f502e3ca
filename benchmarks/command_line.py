"""The time that the command line takes to answer, beside LightningCLI; writes a section of docs/benchmarks.md.

    python benchmarks/command_line.py [--rounds N]

Both run in the same Python, in turns, so that a busy machine slows them alike. Exit status 1: the goal is missed.
"""

import os
import subprocess
import sys
from argparse import ArgumentParser
from pathlib import Path
from statistics import median
from time import perf_counter

from project import REPORT, baked, machine, write_section

GOAL = 15  # --help against LightningCLI's fit --help

LIGHTNING_CLI = """
from pytorch_lightning.cli import LightningCLI
from pytorch_lightning.demos.boring_classes import BoringDataModule, DemoModel

LightningCLI(DemoModel, BoringDataModule)
"""
COMMANDS = {
    "LightningCLI, `fit --help`": ["cli.py", "fit", "--help"],
    "`--help`": ["main.py", "--help"],
    "`--help_all`": ["main.py", "--help_all"],
    "`--model_name gan --help`": ["main.py", "--model_name", "gan", "--help"],
    "a wrong value": ["main.py", "--max_epochs", "many"],
    "an unknown flag": ["main.py", "--max_epoch", "3"],
    "one TAB": ["main.py"],
    "`--version`": ["main.py", "--version"],
    "Python alone, `-c pass`": ["-c", "pass"],
}
TYPED = "python main.py --model_name "
ANSWER = "completions"  # the file that argcomplete writes to
TAB = {  # the variables that a shell sets at a TAB
    "_ARGCOMPLETE": "2",  # words before the arguments
    "_ARGCOMPLETE_STDOUT_FILENAME": ANSWER,
    "COMP_LINE": TYPED,
    "COMP_POINT": str(len(TYPED)),
}
TEXT = """
`python benchmarks/command_line.py --rounds {rounds}`: wall time of a whole process, median of {rounds} and range,
on {machine}.
LightningCLI has a small model and a data module from Lightning's demos; `main.py` is that of a baked project, with the
model `mnist` and the data `digits`. A TAB after `--model_name ` is what a shell runs for it, with argcomplete.

| command | ms | LightningCLI takes so many times as long | lines or completions |
|---|---|---|---|
{rows}
"""


def seconds(name: str, project: Path) -> tuple[float, int]:
    """Return the wall time of a command, and the number of lines, or of completions, that it prints."""
    environment = os.environ | (TAB if name == "one TAB" else {})
    command, answer = [sys.executable, *COMMANDS[name]], project / ANSWER
    answer.unlink(missing_ok=True)
    start = perf_counter()
    result = subprocess.run(command, cwd=project, capture_output=True, text=True, env=environment)
    taken = perf_counter() - start
    if result.returncode not in (0, 2):
        sys.exit(result.stderr)
    completions = answer.read_text().split("\v") if answer.exists() else []
    return taken, len((result.stdout + result.stderr).splitlines() + completions)


def measure(project: Path, rounds: int) -> dict[str, tuple[list[float], int]]:
    """Return the times of each command, one a round after a first that warms the caches, and its number of lines."""
    taken: dict[str, tuple[list[float], int]] = {}
    for number in range(rounds + 1):
        for name in COMMANDS:
            time, lines = seconds(name, project)
            taken[name] = ([*taken[name][0], time] if number > 1 else [time], lines)
    return taken


def report(taken: dict[str, tuple[list[float], int]], rounds: int) -> str:
    """Return the section of the report."""
    against = median(taken["LightningCLI, `fit --help`"][0])
    rows = [
        f"| {name} | {1000 * median(times):.0f} ({1000 * min(times):.0f} to {1000 * max(times):.0f}) "
        f"| {against / median(times):.1f} | {lines} |"
        for name, (times, lines) in taken.items()
    ]
    on = machine("pytorch-lightning", "torch", "jsonargparse")
    return TEXT.format(rounds=rounds, machine=on, rows="\n".join(rows))


def main() -> None:
    """Bake, measure, write."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--report", type=Path, default=REPORT)
    args = parser.parse_args()
    with baked() as project:
        (project / "cli.py").write_text(LIGHTNING_CLI)
        taken = measure(project, args.rounds)
    write_section(args.report, "The command line", report(taken, args.rounds))
    ratio = median(taken["LightningCLI, `fit --help`"][0]) / median(taken["`--help`"][0])
    sys.exit(0 if ratio >= GOAL else f"--help is only {ratio:.1f} times faster than LightningCLI's: the goal is {GOAL}")


if __name__ == "__main__":
    main()
