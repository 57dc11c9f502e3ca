"""Worker processes: each is started once, and runs one trial after the other."""

import gc
import os
import signal
import subprocess
import sys
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from harness.errors import RunError, Stopped
from harness.found import ROOT
from harness.runs import signals
from harness.runs.processes import ENDS_WITH_PARENT, GROUP
from harness.sweeps.optuna.best import due, keep_checkpoints, untested
from harness.sweeps.optuna.claims import MOST_DEATHS, Claim, Claims
from harness.sweeps.optuna.sweep import Sweep

NUMBER = "LIT_WORKER"  # environment variable: the number of a worker
POLL = 0.1  # seconds between two looks at the processes
LOOK = 2.0  # seconds between two looks at the study
LOGS = "logs"


def worker_number() -> int | None:
    """Return the number of this worker, or None if this process is no worker."""
    return int(os.environ[NUMBER]) if NUMBER in os.environ else None


class Workers:
    """Starts workers, and replaces those that are killed.

    Args:
        claims: knows the trials that are left.
        argv: the command line of each worker.
        show: called regularly with the new lines in the logs of the workers.
    """

    def __init__(self, claims: Claims, argv: list[str], show: Callable[[list[str]], None]) -> None:
        self.claims, self.sweep, self.argv, self.show = claims, claims.sweep, argv, show
        self.processes: dict[int, subprocess.Popen[bytes]] = {}
        self.read: dict[int, int] = {}  # bytes of each log that are shown
        self.deaths, self.finished = 0, 0
        self.is_told = False  # that a signal has arrived

    def run(self) -> None:
        """Run trials until there are as many as asked for.

        Raises:
            Stopped: If a signal arrives; the workers have saved and ended.
            RunError: If workers cannot work.
        """
        looked, goes_on = 0.0, True
        try:
            with signals.waiting():
                while self.processes or goes_on:
                    if self.collect() or monotonic() - looked > LOOK:
                        looked = monotonic()
                        self.show(self.new_lines())
                        goes_on = is_unfinished(self.claims)
                        if signals.received() is None:
                            self.start_missing()
                    if signals.received() is not None:
                        self.stop()
                        if not self.processes:
                            return
                    sleep(POLL)
        finally:
            for process in self.processes.values():
                process.kill()  # nothing is lost
                process.wait()

    def collect(self) -> bool:
        """Forget the workers that have ended; return whether there are any."""
        ended = [(worker, process) for worker, process in self.processes.items() if process.poll() is not None]
        for worker, process in ended:
            del self.processes[worker]
            self.require_progress(worker, process.returncode)
        return bool(ended)

    def stop(self) -> None:
        """Let the workers save and end."""
        if not self.is_told:
            self.is_told = True
            for process in self.processes.values():
                process.send_signal(signal.SIGTERM)

    def start_missing(self) -> None:
        """Start workers for the trials that are left; the first ones together, then one at a time."""
        missing = sorted(set(range(self.sweep.flags.workers)) - self.processes.keys())
        has_more = self.claims.has_more()
        if missing and (has_more or (not self.processes and due(self.claims))):
            for worker in missing if has_more and not self.processes else missing[:1]:
                self.start(worker)

    def start(self, worker: int) -> None:
        """Start a worker; its output goes to its log."""
        log = log_of(self.sweep, worker)
        log.parent.mkdir(parents=True, exist_ok=True)
        self.read.setdefault(worker, log.stat().st_size if log.exists() else 0)
        environment = {GROUP: self.sweep.name, **os.environ, NUMBER: str(worker), ENDS_WITH_PARENT: "yes"}
        with log.open("ab") as output:
            # In a session of its own, so that Ctrl-C reaches only this process; its standard input ends with it.
            self.processes[worker] = subprocess.Popen(
                [sys.executable, str(ROOT / "sweep_optuna.py"), *self.argv],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                env=environment,
                start_new_session=True,
            )

    def new_lines(self) -> list[str]:
        """Return the lines that workers have written since the last call."""
        lines = []
        for worker, position in self.read.items():
            with log_of(self.sweep, worker).open("rb") as log:
                log.seek(position)
                text = log.read()
            whole = text[: text.rfind(b"\n") + 1]
            self.read[worker] += len(whole)
            lines += whole.decode(errors="replace").splitlines()
        return lines

    def require_progress(self, worker: int, status: int) -> None:
        """Raise RunError if a worker fails, or if workers keep dying and no trial finishes."""
        finished = sum(trial.state.is_finished() for trial in self.claims.trials())
        if finished > self.finished or status == 0:
            self.deaths, self.finished = 0, finished
            return
        self.deaths += 1
        log = log_of(self.sweep, worker)
        lines = log.read_text(errors="replace").strip().splitlines() or [f"exit status {status}"]
        # An error of one line would be the same at the next start.
        if signals.received() is None and (status in (1, 2) or self.deaths > MOST_DEATHS):
            raise RunError(f"worker {worker}: {lines[-1].partition('error: ')[2] or lines[-1]} (see {log})")


def is_unfinished(claims: Claims) -> bool:
    """Return whether trials wait, run or are tested, here or elsewhere."""
    trials = claims.trials()
    are_left = any(not trial.state.is_finished() for trial in trials) or bool(untested(claims))
    return are_left and not claims.failures(trials)


def log_of(sweep: Sweep, worker: int) -> Path:
    """Return the log of a worker."""
    return sweep.directory / LOGS / f"worker-{worker}.log"


def work(claims: Claims, worker: int, program: Any) -> None:
    """Run trials until there is none left.

    Args:
        claims: gives the trials.
        worker: number of this worker.
        program: functions of sweep_optuna.py.

    Raises:
        Stopped: If a signal arrives; the trial has saved and waits for the next start.
    """
    from harness.sweeps.optuna.trial import run_trial, test_due  # torch

    more = deal_devices(worker, claims.sweep.flags)
    gc.freeze()  # what is there now stays: it need not be looked through after each trial
    while claim := take(claims):
        run_trial(claims, claim, more, program)
        test_due(claims, program)
        keep_checkpoints(claims, claim.trial.number)
    test_due(claims, program)


def take(claims: Claims) -> Claim | None:
    """Return a trial for this process, or None if there is none.

    Raises:
        Stopped: If a signal arrives; a trial that is claimed by then waits for the next start.
    """
    from optuna.trial import TrialState

    claim = None
    try:
        with signals.waiting():
            claim = claims.claim()
    except Stopped:
        if claim is not None:
            claims.finish(claim, TrialState.WAITING, None)
        raise
    return claim


def deal_devices(worker: int, flags: Namespace) -> dict[str, Any]:
    """Give a worker its GPUs, if there are any, and return the flags of its runs that depend on it.

    Workers share the GPUs if there are not enough; they divide the CPU threads, unless ``--num_threads`` is given.

    Args:
        worker: its number, from 0.
        flags: flags of a run and the number of ``workers``.
    """
    import torch

    more: dict[str, Any] = {}
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if flags.workers > 1 and flags.num_threads is None:
        more["num_threads"] = max(1, cpus // flags.workers)
    gpus = torch.cuda.device_count() if flags.accelerator in ("auto", "gpu", "cuda") else 0
    if gpus == 0 or isinstance(flags.devices, list) or flags.devices == -1:
        return more
    if flags.devices == "auto":
        more["devices"] = 1
    each = more.get("devices", flags.devices)
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = visible.split(",") if visible else [str(number) for number in range(gpus)]
    own = [names[(worker * each + number) % len(names)] for number in range(each)]
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(dict.fromkeys(own))
    return more
