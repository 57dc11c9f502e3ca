"""Search hyperparameters with Optuna: every flag of main.py, and those of a sweep.

What is searched stands beside the model, in search_space, and in --search. A flag that is given is held. The same
command again goes on where it stopped, and joins in on other machines with the same --storage.
"""

import sys

if sys.version_info < (3, 10):  # noqa: UP036  an older one cannot read what is imported below
    sys.exit(f"sweep_optuna.py: error: needs Python 3.10 or newer, this is {'.'.join(map(str, sys.version_info[:3]))}")

import shlex
from argparse import Namespace
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

from harness.cli.completion import complete
from harness.cli.parser import Parser
from harness.errors import RunError, Stopped, UsageError
from harness.runs import signals
from harness.sweeps.optuna.definition import shown
from harness.sweeps.optuna.flags import add_sweep_args, leave_test_to_the_end
from harness.sweeps.optuna.sweep import Sweep, directory_of, read_sweep
from harness.trainer_args import notice
from main import build_parser, program_parser, trained_parser

USAGE = "%(prog)s [--n_trials N] [--search NAME=VALUES ...] [--flag value ...]"
STUDY_FILE = "study.db"
NEEDED = ("torch", "pytorch_lightning", "matplotlib", "plotly")  # for trials, and for the report after them


def sweep_parser() -> Parser:
    """Return the parser of what belongs neither to a model nor to data."""
    program = program_parser(USAGE, __doc__)
    add_sweep_args(program)
    leave_test_to_the_end(program)
    return program


def read_command_line(argv: Sequence[str]) -> Sweep:
    """Return the sweep of a command line, which may omit the flags of an existing study that it names.

    Raises:
        UsageError: If the flags do not describe a sweep.
        RunError: If the storage does not answer.
    """
    named, _ = sweep_parser().parse_known_args(argv)
    if named.study_name is None:
        return read_words(argv)
    from harness.sweeps.optuna import stored  # optuna: a second, for those who typed no mistake

    found = stored.read_stored(named.study_name, storage_of(named, named.study_name))
    if found is None:
        return read_words(argv)
    words = stored.stored_words(argv, sweep_parser, found)
    sweep = read_words([*words, *argv])
    more = stored.words_of_old_defaults(sweep, found.definition)
    if more:
        words += more
        sweep = read_words([*words, *argv])
    sweep.taken = words
    return sweep


def read_words(argv: Sequence[str]) -> Sweep:
    """Return the sweep of a complete command line.

    Raises:
        UsageError: If the flags do not describe a sweep.
    """
    parser, ckpt_path = trained_parser(argv, sweep_parser())
    return read_sweep(argv, parser, ckpt_path)


def storage_of(flags: Namespace, name: str) -> str:
    """Return the URL of the storage of a study.

    Args:
        flags: flags with the storage and the default_root_dir.
        name: name of the study.

    Raises:
        UsageError: If the kind of storage is unknown, or its driver is not installed.
    """
    from harness.sweeps.optuna import studies

    return studies.absolute(flags.storage or f"sqlite:///{directory_of(flags, name) / STUDY_FILE}")


def url_of(sweep: Sweep) -> str:
    """Return the URL of the storage of a sweep.

    Raises:
        UsageError: as ``storage_of``.
    """
    return storage_of(Namespace(**{**vars(sweep.flags), **vars(sweep.args)}), sweep.name)


def begun_study(sweep: Sweep, url: str) -> tuple[Any, Any]:
    """Return the study of a sweep, created if absent, and its storage.

    Raises:
        UsageError: If the study was started with other flags, or by another program.
        RunError: If the storage does not answer.
    """
    import optuna

    from harness.sweeps.optuna import stored, studies

    with studies.storage_errors(url), studies.exclusive(url, sweep.directory):
        storage = studies.open_storage(url)
        study = stored.load(sweep.name, storage)
        if study is None:
            directions = [optuna.study.StudyDirection[direction.upper()] for direction in sweep.directions]
            study = optuna.create_study(study_name=sweep.name, storage=storage, directions=directions)
        else:
            stored.require_same(study, sweep, url)
        stored.record_start(study, sweep)
    study.pruner = studies.pruner(sweep.pruner, sweep.flags.max_epochs)
    return study, storage


def reported(argv: Sequence[str]) -> bool:
    """Write and print the report if the command line has ``--report``; return whether it has.

    With ``--study_name``, any program may have made the study.

    Raises:
        UsageError: If the study does not exist.
        RunError: If the storage does not answer.
    """
    named, _ = sweep_parser().parse_known_args(argv)
    if not named.report:
        return False
    if named.study_name is None:
        sweep = read_command_line(argv)
        report(Namespace(**{**vars(sweep.flags), **vars(sweep.args)}), sweep.name)
        return True
    parser = build_parser(argv, sweep_parser())
    for action in parser._actions:
        action.required = False
    parser.parse_args(argv)  # refuses unknown flags; the others have no effect on a report
    report(named, named.study_name)
    return True


def report(flags: Namespace, name: str) -> None:
    """Write and print the report of a study.

    Args:
        flags: flags with the storage and the default_root_dir.
        name: name of the study.

    Raises:
        UsageError: If the study does not exist.
        RunError: If the storage does not answer.
    """
    import optuna

    from harness.sweeps.optuna import stored, studies
    from harness.sweeps.optuna.progress import print_result

    url, directory = storage_of(flags, name), directory_of(flags, name)
    with studies.storage_errors(url):
        study = stored.find(name, url)
        if study is not None:
            print_result(study, directory)
            return
        file = studies.file_of_storage(url)
        known = (
            optuna.get_all_study_names(studies.open_storage(url))
            if file is None or file.exists()
            else sorted(path.parent.name for path in directory.parent.glob(f"*/{STUDY_FILE}"))
        )
    others = f": --study_name takes {', '.join(known)}" if known else ""
    raise UsageError(f"there is no study {name} in {studies.shown(url)}{others}")


def require_installed() -> None:
    """Raise RunError if a package is missing that the trials or the report need."""
    for name in NEEDED:
        if find_spec(name) is None:
            raise RunError(f"No module named {name!r} (this project is installed by: pip install -e .)")


def run(argv: list[str]) -> None:
    """Run the sweep, or what of it is this process's part.

    Raises:
        UsageError, RunError: it cannot be done.
        Stopped: a signal has arrived.
    """
    if reported(argv):
        return
    sweep = read_command_line(argv)
    require_installed()
    from harness.sweeps.optuna import studies, workers  # optuna
    from harness.sweeps.optuna.claims import Claims

    url = url_of(sweep)
    study, storage = begun_study(sweep, url)
    claims = Claims(sweep, study, storage, url)
    with studies.storage_errors(url):
        worker = workers.number()
        if worker is not None:
            workers.work(claims, worker)
        else:
            supervise(claims, argv)


def supervise(claims: Any, argv: list[str]) -> None:
    """Run workers until all trials have ended; show the progress and the result.

    Raises:
        RunError: If workers fail, too many trials fail, no trial is complete, or a test fails.
        Stopped: If a signal arrives.
    """
    from harness.sweeps.optuna import workers
    from harness.sweeps.optuna.kept import keep_checkpoints
    from harness.sweeps.optuna.progress import Progress, print_result

    introduce(claims)
    progress = Progress(claims)
    try:
        workers.Workers(claims.sweep, argv, claims).run(progress.show)
    finally:
        progress.close()
        keep_checkpoints(claims)  # also those that two workers have left to each other
        print_result(claims.study, claims.sweep.directory)
    require_outcome(claims)


def introduce(claims: Any) -> None:
    """Print facts that the command line does not show: a new study, stored flags, names with a single value."""
    from harness.sweeps.optuna.records import record_n_trials

    sweep = claims.sweep
    record_n_trials(claims.study, sweep.args.n_trials)
    if sweep.args.study_name and not claims.trials():
        notice(f"study {sweep.name} is new")
    if sweep.taken:
        notice(f"study {sweep.name} has the flags {shlex.join(sweep.taken)}")
    for name, value in sweep.single_values().items():
        notice(f"{name} has a single value in this sweep: {shown(value)}")


def require_outcome(claims: Any) -> None:
    """Raise RunError if too many trials have failed, none is complete, or a test has failed."""
    from harness.sweeps.optuna.ranking import best
    from harness.sweeps.optuna.report import TABLE
    from harness.sweeps.optuna.untested import failure, without_checkpoint

    for number in without_checkpoint(claims):
        notice(f"trial {number} is not tested: this machine has no checkpoint of it; its command line tests it")
    failures = claims.failures(claims.trials())
    if failures:
        raise RunError(f"{failures}; the same command goes on")
    if not best(claims.study):
        raise RunError(f"no trial is complete: {claims.sweep.directory / TABLE} says why")
    error = failure(claims)
    if error:
        raise RunError(f"{error}; the same command tries again")


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if argv[:1] == ["--complete"]:  # from the shell, at a TAB
        complete(argv[1:], lambda words: build_parser(words, sweep_parser()), commands=())
        return
    with signals.handled():
        try:
            run(argv)
        except UsageError as error:
            Parser().error(str(error))
        except RunError as error:
            sys.exit(f"{Parser().prog}: error: {error}")
        except Stopped as stopped:
            print(f"{Parser().prog}: {stopped}: the same command goes on", file=sys.stderr)
            raise
        except ModuleNotFoundError as error:
            if error.name not in ("optuna", "sqlalchemy", "tqdm", *NEEDED):
                raise
            sys.exit(f"{Parser().prog}: error: {error} (this project is installed by: pip install -e .)")
        except OSError as error:
            sys.exit(f"{Parser().prog}: error: {error}")


if __name__ == "__main__":
    signals.run(main)
