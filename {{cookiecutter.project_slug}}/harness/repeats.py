"""One command for several seeds or folds: ``--seeds 1,2,3`` and ``--folds 5``, with mean and standard deviation.

Each is a run of its own, in a process of its own, started or resumed by ``--ckpt_path auto``: the same command with the
same ``--run_name`` resumes what is not finished.
"""

import csv
import io
import json
import os
import shutil
import signal
import subprocess
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import product
from pathlib import Path
from statistics import mean, stdev
from time import sleep

from harness.cli.run_flags import seed
from harness.config_files import dump_config, parse_config, read_config
from harness.errors import RunError, UsageError
from harness.files import whole_file
from harness.flags import positive_int
from harness.runs import signals
from harness.runs.processes import ENDS_WITH_PARENT, GROUP
from harness.runs.run import is_finished, locked, metrics_of
from harness.trainer_args import notice

POLL = 0.1  # seconds between two looks at the processes
TABLE, SUMMARY, FLAGS = "repeats.csv", "repeats.json", "repeats.yaml"
OF_ONE_RUN = ("seed", "fold", "run_name", "ckpt_path", "default_root_dir")
OWN = ("seeds", "folds", "workers")


def add_repeat_args(parser: ArgumentParser) -> ArgumentParser:
    """Add the flags of repetitions, and return the parser."""
    group = parser.add_argument_group("repetitions")
    group.add_argument("--seeds", type=seeds, metavar="N,N,...", help="repeat the run with each seed: 1,2,3")
    group.add_argument("--folds", type=folds, metavar="N", help="repeat the run for each of N folds of the data")
    group.add_argument("--workers", type=positive_int, default=1, metavar="N", help="how many of them run at a time")
    for action in group._group_actions:
        action.is_of_command = True  # type: ignore[attr-defined]  # no flag of a run: config files do not hold it
    return parser


def seeds(text: str) -> list[int] | None:
    """Return the seeds in ``text``, each once, or None for none."""
    if text == "none":
        return None
    found = [seed(word) for word in text.split(",")]
    if len(set(found)) < len(found):
        raise ArgumentTypeError(f"{text!r} has a seed twice")
    return found


def folds(text: str) -> int | None:
    """Return the number of folds, or None for none."""
    if text != "none" and positive_int(text) < 2:
        raise ArgumentTypeError(f"{text!r} is not at least 2")
    return None if text == "none" else int(text)


def taken_from(args: Namespace) -> Namespace | None:
    """Remove the flags of repetitions from those of a run; return them, or None for a single run.

    Raises:
        UsageError: If ``--workers`` is given for a single run.
    """
    own = Namespace(**{name: vars(args).pop(name) for name in OWN})
    if own.seeds or own.folds:
        return own
    if own.workers > 1:
        raise UsageError("--workers is for --seeds or --folds; processes that fetch batches are --num_workers")
    return None


def repeat(own: Namespace, args: Namespace, words: Sequence[str]) -> dict[str, float | str]:
    """Run the command with each seed and each fold; return the table to print.

    Args:
        own: the flags of repetitions.
        args: all flags of one run.
        words: the command line.

    Raises:
        UsageError: If the command is not fit, or the data have no folds.
        RunError: If a run fails; the others are finished.
        Stopped: If a signal arrives; the runs have saved.
    """
    if args.command != "fit" or args.ckpt_path not in (None, "auto"):
        raise UsageError("--seeds and --folds repeat a fit from its beginning: leave out --ckpt_path and the command")
    if own.folds is not None and "fold" not in args:
        raise UsageError("--folds needs data with the flag --fold, as InMemoryData has it: see docs/growing.md")
    name = args.run_name or f"{datetime.now():%Y-%m-%d_%H-%M-%S}_{args.model_name}_repeats"
    folder = Path(args.default_root_dir, name)
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder), signals.waiting():
        require_same_flags(folder, args)
        runs = Runs(folder, list(words), own)
        runs.work()
        runs.write()
        if signals.received() is not None:
            notice(f"to resume, give the same command with --run_name {name}")
    if runs.failed:
        raise RunError("; ".join(f"{run} failed: {reason}" for run, reason in runs.failed.items()))
    return {**runs.summary(), "table": str(folder / TABLE), "run": str(folder)}


def require_same_flags(folder: Path, args: Namespace) -> None:
    """Write the flags that all runs of a folder have in common, or compare them with those that are there.

    Raises:
        UsageError: If they differ.
    """
    now = parse_config(dump_config({name: value for name, value in vars(args).items() if name not in OF_ONE_RUN}))
    file = folder / FLAGS
    if not file.exists():
        with whole_file(file) as content:
            content.write(dump_config(now).encode())
    there = read_config(str(file))
    different = [name for name in now if now[name] != there.get(name)]
    if different:
        flags = ", ".join(f"--{name} {now[name]} (there {there.get(name)})" for name in different)
        raise UsageError(f"{folder} holds runs with other flags: {flags}; take another --run_name")


class Runs:
    """The runs of a command with several seeds or folds.

    Args:
        folder: holds their directories.
        words: the command line.
        own: the flags of repetitions.
    """

    def __init__(self, folder: Path, words: list[str], own: Namespace) -> None:
        self.folder, self.words, self.workers = folder, words, own.workers
        folds = [f"{number}/{own.folds}" for number in range(1, own.folds + 1)] if own.folds else [None]
        self.flags: dict[str, dict[str, str]] = {}  # of each run, by the name of its directory
        for one_seed, fold in product(own.seeds or [None], folds):
            given = {name: str(value) for name, value in (("seed", one_seed), ("fold", fold)) if value is not None}
            self.flags["_".join(f"{key}={value}".replace("/", "of") for key, value in given.items())] = given
        self.failed: dict[str, str] = {}
        self.is_stopping = False
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.devices = visible_devices() if own.workers > 1 else []

    def work(self) -> None:
        """Run those that are not finished, so many at a time; after a signal end them."""
        waiting = [name for name in self.flags if not is_finished(self.folder / name)]
        try:
            while self.processes or waiting:
                while waiting and len(self.processes) < self.workers:
                    self.start(waiting.pop(0))
                sleep(POLL)
                if signals.received() is not None and not self.is_stopping:
                    self.is_stopping, waiting = True, []
                    for process in self.processes.values():
                        process.send_signal(signal.SIGTERM)
                for name in [name for name, process in self.processes.items() if process.poll() is not None]:
                    self.ended(name, self.processes.pop(name).returncode)
        finally:
            for process in self.processes.values():
                process.kill()

    def start(self, name: str) -> None:
        """Start a run; its output goes to a log."""
        own = [f"--{flag}={value}" for flag, value in self.flags[name].items()]
        own += [f"--default_root_dir={self.folder}", f"--run_name={name}", "--ckpt_path=auto"]
        own += ["--seeds=none", "--folds=none", "--workers=1"]
        environment = {GROUP: self.folder.name, **os.environ, ENDS_WITH_PARENT: "yes"}
        if self.workers > 1:
            environment.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // self.workers)))
        if self.devices:
            environment["CUDA_VISIBLE_DEVICES"] = self.devices[list(self.flags).index(name) % len(self.devices)]
        with (self.folder / f"{name}.log").open("wb") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, sys.argv[0], *self.words, *own],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,
            )

    def ended(self, name: str, status: int) -> None:
        """Print the outcome of a run."""
        if is_finished(self.folder / name):
            metrics = metrics_of(self.folder / name)
            notice(f"{name}: {' '.join(f'{metric} {value:.4f}' for metric, value in metrics.items())}")
        elif not self.is_stopping:
            lines = (self.folder / f"{name}.log").read_text(errors="replace").splitlines()
            self.failed[name] = lines[-1] if lines else f"status {status}"

    def summary(self) -> dict[str, float | str]:
        """Return mean, standard deviation and each value, by metric."""
        found = self.metrics()
        names = dict.fromkeys(metric for metrics in found.values() for metric in metrics)
        lines: dict[str, float | str] = {}
        for name in names:
            values = [metrics[name] for metrics in found.values() if name in metrics]
            spread = f" ± {stdev(values):.4f}" if len(values) > 1 else ""
            lines[name] = f"{mean(values):.4f}{spread} ({', '.join(f'{value:.4f}' for value in values)})"
        return lines

    def metrics(self) -> Mapping[str, Mapping[str, float]]:
        """Return the metrics of the finished runs, by run."""
        return {name: metrics_of(self.folder / name) for name in self.flags if is_finished(self.folder / name)}

    def write(self) -> None:
        """Write a row for each run as CSV, and the same as JSON with mean and sample standard deviation."""
        found = self.metrics()
        names = list(dict.fromkeys(metric for metrics in found.values() for metric in metrics))
        text = io.StringIO(newline="")
        writer = csv.writer(text)
        writer.writerow(["run", *next(iter(self.flags.values())), *names])
        for run, metrics in found.items():
            writer.writerow([run, *self.flags[run].values(), *(metrics.get(name) for name in names)])
        with whole_file(self.folder / TABLE) as file:
            file.write(text.getvalue().encode())
        values = {name: [metrics[name] for metrics in found.values() if name in metrics] for name in names}
        content = {
            "runs": {run: {**self.flags[run], **metrics} for run, metrics in found.items()},
            "mean": {name: mean(each) for name, each in values.items()},
            "std": {name: stdev(each) if len(each) > 1 else None for name, each in values.items()},
        }
        with whole_file(self.folder / SUMMARY) as file:
            file.write(json.dumps(content, indent=2).encode() + b"\n")


def visible_devices() -> list[str]:
    """Return the GPUs of this machine that a process may use, as CUDA_VISIBLE_DEVICES names them."""
    if "CUDA_VISIBLE_DEVICES" in os.environ:
        return [name for name in os.environ["CUDA_VISIBLE_DEVICES"].split(",") if name]
    if shutil.which("nvidia-smi") is None:
        return []
    command = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
    return subprocess.run(command, capture_output=True, text=True).stdout.split()
