"""The program of a sweep: it supervises workers, is one of them, or writes the report."""

from argparse import Namespace
from collections.abc import Sequence
from importlib.util import find_spec

import optuna

from harness.cli.parser import Parser
from harness.cli.sources import read_sources
from harness.errors import RunError, UsageError
from harness.sweeps.optuna.best import best, failed_test, keep_checkpoints, without_checkpoint
from harness.sweeps.optuna.claims import Claims
from harness.sweeps.optuna.flags import add_sweep_args
from harness.sweeps.optuna.locks import locks_of
from harness.sweeps.optuna.objective import Program
from harness.sweeps.optuna.progress import Progress, introduce, print_result
from harness.sweeps.optuna.report import TABLE
from harness.sweeps.optuna.storages import file_of_storage, open_storage, storage_errors, without_password
from harness.sweeps.optuna.study import STUDY_FILE, find, open_study, read_stored, storage_of
from harness.sweeps.optuna.sweep import Sweep, directory_of, read_sweep
from harness.sweeps.optuna.workers import Workers, work, worker_number
from harness.trainer_args import notice

NEEDED = ("torch", "pytorch_lightning", "plotly")  # by trials, and by the report after them


def run_sweep(program: Program, argv: list[str]) -> None:
    """Run the sweep of a command line, or the part of a worker in it.

    Raises:
        UsageError, RunError: If it is refused, or fails.
        Stopped: If a signal arrives; everything is saved.
    """
    named = named_study(argv)
    if named.report and named.study_name is not None:  # any program may have made the study
        report(named, named.study_name)
        return
    sweep = read_command_line(program, argv, named)
    if sweep.flags.report:
        report(sweep.flags, sweep.name)
        return
    require_installed()
    url = storage_of(sweep.flags, sweep.name)
    with storage_errors(url):
        claims = open_claims(sweep, url)
        worker = worker_number()
        if worker is not None:
            work(claims, worker, program)
        else:
            supervise(claims, argv, url)


def require_installed() -> None:
    """Raise RunError if a package is missing that trials or the report need."""
    for name in NEEDED:
        if find_spec(name) is None:
            raise RunError(f"No module named {name!r} (this project is installed by: pip install -e .)")


def named_study(argv: Sequence[str]) -> Namespace:
    """Return the flags of a command line, or of its config files, that name a study and its storage."""
    named, _ = add_sweep_args(Parser()).parse_known_args(list(argv))
    files, configs, _ = read_sources([word for word in argv if "ckpt_path" not in word])  # without torch
    for name in ("storage", "study_name"):
        if getattr(named, name) is None:
            setattr(named, name, next((each.settings[name] for each in configs if name in each.settings), None))
    named.default_root_dir = files.default_root_dir
    return named


def read_command_line(program: Program, argv: Sequence[str], named: Namespace | None = None) -> Sweep:
    """Return the sweep of a command line, which may omit the flags of an existing study that it names.

    Raises:
        UsageError: If the flags do not describe a sweep.
        RunError: If the storage does not answer.
    """
    named = named or named_study(argv)
    stored = None
    if named.study_name is not None:
        stored = read_stored(named.study_name, storage_of(named, named.study_name))
    return read_sweep(argv, program.build_parser, stored)


def open_claims(sweep: Sweep, url: str) -> Claims:
    """Return the claims on the trials of a sweep, whose study is created if absent.

    Args:
        sweep: the sweep.
        url: URL of its storage.

    Raises:
        UsageError: If the study was started with other flags, or by another program.
        RunError: If the storage does not answer.
    """
    locks = locks_of(url, sweep.directory, sweep.name)
    study, storage = open_study(sweep, url, locks)
    return Claims(sweep, study, storage, locks)


def supervise(claims: Claims, argv: list[str], url: str) -> None:
    """Run workers until all trials have ended; show the progress and the result.

    Raises:
        RunError: If workers fail, too many trials fail, no trial is complete, or a test fails.
        Stopped: If a signal arrives.
    """
    introduce(claims, url)
    progress = Progress(claims)
    try:
        Workers(claims, argv, progress.show).run()
    finally:
        progress.close()
        keep_checkpoints(claims)  # also those that two workers have left to each other
        print_result(claims.study, claims.sweep.directory)
    require_outcome(claims)


def require_outcome(claims: Claims) -> None:
    """Raise RunError if too many trials have failed, none is complete, or a test has failed."""
    for number in without_checkpoint(claims):
        notice(f"trial {number} is not tested: this machine has no checkpoint of it; its command line tests it")
    if failures := claims.failures(claims.trials()):
        raise RunError(f"{failures}; the same command resumes")
    if not best(claims.study):
        raise RunError(f"no trial is complete: see {claims.sweep.directory / TABLE}")
    if error := failed_test(claims):
        raise RunError(f"{error}; the same command tries again")


def report(flags: Namespace, name: str) -> None:
    """Write and print the report of a study.

    Args:
        flags: flags with the storage and the default_root_dir.
        name: name of the study.

    Raises:
        UsageError: If the study does not exist.
        RunError: If the storage does not answer.
    """
    url, directory = storage_of(flags, name), directory_of(flags, name)
    with storage_errors(url):
        study = find(name, url)
        if study is not None:
            print_result(study, directory)
            return
        file = file_of_storage(url)
        known = (
            optuna.get_all_study_names(open_storage(url))
            if file is None or file.exists()
            else sorted(path.parent.name for path in directory.parent.glob(f"*/{STUDY_FILE}"))
        )
    others = f": --study_name takes {', '.join(known)}" if known else ""
    raise UsageError(f"there is no study {name} in {without_password(url)}{others}")
