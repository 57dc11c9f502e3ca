"""``main.py runs``: its command line. Needs no torch."""

import os
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from harness.cli.habits import require_command
from harness.cli.parser import Parser
from harness.cli.run_flags import TRAINER_DEFAULTS
from harness.cli.sources import environment_flags

WORDS = ("show", "diff", "plot", "best", "rm")
USAGE = """%(prog)s runs [--all] [--where CONDITION ...] [--sort [-]COLUMN] [--json]
       %(prog)s runs show NAME
       %(prog)s runs diff NAME NAME
       %(prog)s runs plot NAME ... [--metrics METRIC,METRIC] [--x step|epoch] [--output FILE]
       %(prog)s runs best METRIC [--mode min|max]
       %(prog)s runs rm NAME ... [--yes]"""
DESCRIPTION = "List the runs below --default_root_dir; show one, compare them, find the best checkpoint, remove some."


def runs(argv: Sequence[str]) -> None:
    """Run a command line after the word ``runs``, and print its result.

    Args:
        argv: the words.

    Raises:
        UsageError: If a word is unknown, or names no run; nothing is changed.
    """
    words = list(argv)
    if words and not words[0].startswith("-"):
        require_command(words[0], WORDS)
    word = words.pop(0) if words and words[0] in WORDS else "list"
    if "--sort" in words[:-1]:  # argparse takes -val_loss for a flag
        at = words.index("--sort")
        words[at : at + 2] = [f"--sort={words[at + 1]}"]
    parser = Parser(usage=USAGE, description=DESCRIPTION, add_help=True)
    add_args(parser, word)
    args = parser.parse_args(words)
    try:
        command(word)(args, root_of(args))
        sys.stdout.flush()
    except BrokenPipeError:  # of ``runs | head``
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def command(word: str) -> Callable[[Namespace, Path], None]:
    """Return the function of a command; its modules are not imported at the start of a run."""
    from harness.history import actions, plot, table

    return {
        "list": table.list_runs,
        "show": actions.show_run,
        "diff": actions.show_difference,
        "plot": plot.plot_runs,
        "best": actions.show_best,
        "rm": actions.remove,
    }[word]


def add_args(parser: Parser, word: str) -> None:
    """Add the flags of ``runs``, or those of a word after it, to a parser."""
    parser.add_argument("--default_root_dir", metavar="DIR", help="folder of all runs (default: runs)")
    if word == "list":
        parser.add_argument("--all", action="store_true", help="list runs in deeper folders, too")
        text = "select runs by a flag, a metric or a column, as in 'val_loss<0.1' model_name=net tag=a; all must hold"
        parser.add_argument("--where", nargs="+", action="extend", default=[], metavar="CONDITION", help=text)
        parser.add_argument("--sort", metavar="COLUMN", help="column, metric or flag; -COLUMN: descending")
        parser.add_argument("--json", action="store_true", help="print JSON")
    elif word == "best":
        parser.add_argument("metric", metavar="METRIC", help="metric of the runs")
        parser.add_argument("--mode", choices=["min", "max"], help="which is better; default: of runs that monitor it")
    else:
        count: Any = {"show": 1, "diff": 2, "plot": "+", "rm": "+"}[word]
        names = parser.add_argument("names", nargs=count, metavar="NAME", help="name of a run, as in the table")
        names.completer = completed  # type: ignore[attr-defined]
    if word == "plot":
        parser.add_argument(
            "--metrics", type=metric_names, metavar="METRIC,METRIC", help="metrics to draw (default: all)"
        )
        text = "step, or epoch for the mean of each epoch"
        parser.add_argument("--x", choices=["step", "epoch"], default="step", help=text)
        text = "a .png, .pdf, .svg or .html (default: curves.png and curves.html in the folder of all runs)"
        parser.add_argument("--output", metavar="FILE", help=text)
    if word == "rm":
        parser.add_argument("--yes", action="store_true", help="do not ask")


def metric_names(text: str) -> list[str]:
    """Return the names in a list with commas."""
    return [name.strip() for name in text.split(",") if name.strip()]


def completed(parsed_args: Namespace, **_: Any) -> list[str]:
    """Return the names of the runs, for argcomplete."""
    from harness.history.entries import run_dirs

    return [name for _, name in run_dirs(root_of(parsed_args), everything=True)]


def root_of(args: Namespace) -> Path:
    """Return the folder of all runs: of the flag, else of the environment, else the default."""
    defaults = {**TRAINER_DEFAULTS, **vars(environment_flags())}
    return Path(args.default_root_dir or str(defaults["default_root_dir"] or "."))
