"""Search hyperparameters with Optuna: every flag of main.py, and those of a sweep.

What is searched stands beside the model, in search_space, and in --search. A flag that is given is held. The same
command again goes on where it stopped, and joins in on other machines with the same --storage.
"""

import sys

if sys.version_info < (3, 10):  # noqa: UP036  an older one cannot read what is imported below
    sys.exit(f"sweep_optuna.py: error: needs Python 3.10 or newer, this is {'.'.join(map(str, sys.version_info[:3]))}")

import json
from collections.abc import Sequence
from typing import Any

import signals
from args import RunError, UsageError
from command_line import Parser
from completion import complete
from main import build_parser, program_parser, trained_parser
from sweeps.flags import add_sweep_args
from sweeps.sweep import Sweep, read_sweep

USAGE = "%(prog)s [--n_trials N] [--search NAME=VALUES ...] [--flag value ...]"
STUDY_FILE = "study.db"
DEFINITION = "definition"  # user attribute of a study


def sweep_parser() -> Parser:
    """Return the parser of what belongs neither to a model nor to data."""
    program = program_parser(USAGE, __doc__)
    add_sweep_args(program)
    return program


def read_command_line(argv: Sequence[str]) -> Sweep:
    """Return the sweep that a command line describes.

    Raises:
        UsageError: it cannot be.
    """
    parser, ckpt_path = trained_parser(argv, sweep_parser())
    return read_sweep(argv, parser, ckpt_path)


def storage_of(sweep: Sweep) -> str:
    """Return the URL of the storage of a sweep.

    Raises:
        UsageError: there is no such kind of storage, or its driver is not installed.
    """
    from sweeps import studies

    return studies.absolute(sweep.args.storage or f"sqlite:///{sweep.directory / STUDY_FILE}")


def begun_study(sweep: Sweep, url: str) -> tuple[Any, Any]:
    """Return the study of a sweep, made if it is not there, and its storage.

    Raises:
        UsageError: it was begun with other flags.
        RunError: the storage does not answer.
    """
    import optuna  # a second, for those who typed no mistake

    from sweeps import studies

    with studies.storage_errors(url), studies.exclusive(url, sweep.directory):
        storage = studies.open_storage(url)
        directions = [optuna.study.StudyDirection[direction.upper()] for direction in sweep.directions]
        study = optuna.create_study(study_name=sweep.name, storage=storage, directions=directions, load_if_exists=True)
        if DEFINITION not in study.user_attrs:
            study.set_user_attr(DEFINITION, json.dumps(sweep.definition()))
    require_same(sweep, json.loads(study.user_attrs[DEFINITION]))
    study.pruner = studies.pruner(sweep.pruner, sweep.flags.max_epochs)
    return study, storage


def report(sweep: Sweep, url: str) -> None:
    """Write and print what a study has found so far.

    Raises:
        UsageError: there is no such study.
        RunError: the storage does not answer.
    """
    import optuna

    from sweeps import studies
    from sweeps.progress import print_result

    file = studies.file_of_storage(url)
    with studies.storage_errors(url):
        if file is not None and not file.exists():
            known = sorted(path.parent.name for path in sweep.directory.parent.glob(f"*/{STUDY_FILE}"))
            raise no_study(sweep, url, known)
        storage = studies.open_storage(url)
        names = optuna.get_all_study_names(storage)
        if sweep.name not in names:
            raise no_study(sweep, url, names)
        study = optuna.load_study(study_name=sweep.name, storage=storage)
        print_result(study, tuple(json.loads(study.user_attrs[DEFINITION])["metrics"]), sweep.directory)


def no_study(sweep: Sweep, url: str, known: list[str]) -> UsageError:
    """Return the error that says which studies there are instead of the one that is wanted."""
    others = f": --study_name takes {', '.join(known)}" if known else ""
    return UsageError(f"there is no study {sweep.name} in {url}{others}")


def require_same(sweep: Sweep, before: dict[str, Any]) -> None:
    """Raise UsageError if a study was begun with other flags."""
    now = sweep.definition()
    for name in {**before, **now}:
        if before.get(name) != now.get(name):
            raise UsageError(
                f"study {sweep.name} was begun with {name} {before.get(name)}, not {now.get(name)}: "
                "name another with --study_name, or leave it out"
            )


def run(argv: list[str]) -> None:
    """Run the sweep, or what of it is this process's part.

    Raises:
        UsageError, RunError: it cannot be done.
        Stopped: a signal has arrived.
    """
    sweep = read_command_line(argv)
    from sweeps import studies, workers  # optuna
    from sweeps.claims import Claims
    from sweeps.kept import keep_checkpoints
    from sweeps.progress import Progress, print_result

    url = storage_of(sweep)
    if sweep.args.report:
        report(sweep, url)
        return
    study, storage = begun_study(sweep, url)
    claims = Claims(sweep, study, storage, url)
    with studies.storage_errors(url):
        worker = workers.number()
        if worker is not None:
            workers.work(claims, worker)
            return
        progress = Progress(claims)
        try:
            workers.Workers(sweep, argv, claims).run(progress.show)
        finally:
            progress.close()
            keep_checkpoints(claims)  # also those that two workers have left to each other
            print_result(study, sweep.metrics, sweep.directory)
    require_outcome(claims)


def require_outcome(claims: Any) -> None:
    """Raise RunError if too many trials have failed, or none is complete."""
    from sweeps.ranking import best
    from sweeps.report import TABLE

    failures = claims.failures(claims.trials())
    if failures:
        raise RunError(f"{failures}; the same command goes on")
    if not best(claims.study):
        raise RunError(f"no trial is complete: {claims.sweep.directory / TABLE} says why")


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
        except signals.Stopped as stopped:
            print(f"{Parser().prog}: {stopped}: the same command goes on", file=sys.stderr)
            raise
        except ModuleNotFoundError as error:
            if error.name not in ("optuna", "pytorch_lightning", "torch"):
                raise
            sys.exit(f"{Parser().prog}: error: {error} (this project is installed by: pip install -e .)")
        except OSError as error:
            sys.exit(f"{Parser().prog}: error: {error}")


if __name__ == "__main__":
    signals.run(main)
