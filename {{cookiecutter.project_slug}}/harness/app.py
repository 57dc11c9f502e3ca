"""Run a program: its command line, errors in one line, exit status, signals, and the printed table."""

import os
import sys
import traceback
from argparse import ArgumentError, ArgumentParser, Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from harness import cluster
from harness.cli.completion import complete
from harness.cli.new import new
from harness.cli.runs_command import runs
from harness.cli.sources import BuildParser, parse_args
from harness.errors import Finished, ModelError, RunError, Stopped, UsageError
from harness.repeats import add_repeat_args, repeat, taken_from
from harness.runs import signals
from harness.runs.processes import is_first_process, job, mark_first, requeue, was_started_by_first

Table = Mapping[str, float | str]


def run(build_parser: BuildParser, main: Callable[[Namespace], Table], argv: Sequence[str] | None = None) -> None:
    """Run the command line of a program, and print its table.

    Args:
        build_parser: returns the parser for words that name a model and data.
        main: runs the command of the flags.
        argv: the command line; by default that of this process.
    """
    words = list(sys.argv[1:] if argv is None else argv)

    def with_all_flags(names: list[str]) -> ArgumentParser:
        parser = build_parser(names)
        try:
            return cluster.add_cluster_args(add_repeat_args(parser))
        except ArgumentError as error:
            flag = error.message.rpartition(" ")[2]
            owner = getattr(parser._option_string_actions[flag], "owner", program())
            raise UsageError(f"{owner} declares {flag}, which the program has already: choose another name") from error

    complete(with_all_flags)
    with ends_in_one_line():
        if words[:1] in (["new"], ["runs"]):
            {"new": new, "runs": runs}[words[0]](words[1:])
            return
        try:
            args = parse_args(with_all_flags, words)
            job, repeats = cluster.taken_from(args), taken_from(args)
            table: Table
            if job is not None:
                table = cluster.make_job(job, args, words, repeats)
            else:
                table = main(args) if repeats is None else repeat(repeats, args, words)
        except Finished as finished:
            table = finished.results
        if is_first_process():
            show(table)


@contextmanager
def ends_in_one_line() -> Iterator[None]:
    """End the process with one line and an exit status for errors that the user can mend, and after a signal.

    Raises:
        SystemExit: With status 2 for wrong usage, 1 for other errors, 128 and more after a signal.
    """
    mark_first()
    with signals.handled(follows=was_started_by_first(), ends=True), errors_in_one_line():
        yield


@contextmanager
def errors_in_one_line() -> Iterator[None]:
    """End the process with one line and an exit status for errors that the user can mend."""
    try:
        yield
    except UsageError as error:
        message = f"{' '.join(str(error).split())} (see {program()} --help)"
        print(f"{program()}: error: {message}", file=sys.stderr)
        sys.exit(2)
    except RunError as error:
        if isinstance(error, ModelError) and error.__cause__ is not None:
            traceback.print_exception(error.__cause__)
        if error.in_all_processes and was_started_by_first():
            sys.exit(0)  # one process speaks for all
        sys.exit(f"{program()}: error: {error}")
    except Stopped as stopped:
        if stopped.together and was_started_by_first():
            sys.exit(0)  # Lightning kills all processes when one that it started has failed
        if is_first_process():
            print(f"{program()}: {stopped}", file=sys.stderr)
            if stopped.name == "SIGUSR1" and job():
                print(f"{program()}: {requeue()}", file=sys.stderr)
        raise
    except ModuleNotFoundError as error:
        if error.name not in ("pytorch_lightning", "torch"):
            raise
        sys.exit(f"{program()}: error: {error} (this project is installed by: pip install -e .)")
    except OSError as error:  # a full disk, no network, no permission: of the machine, not of the code
        sys.exit(f"{program()}: error: {error}")


def program() -> str:
    """Return the name of the program."""
    return Path(sys.argv[0]).name or os.path.basename(sys.executable)


def show(table: Table) -> None:
    """Print the results of a run, one a line."""
    for name, value in table.items():
        print(f"{name:<28}{value if isinstance(value, str) else format(value, '.4f')}")
