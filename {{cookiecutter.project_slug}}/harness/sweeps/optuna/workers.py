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

from harness.errors import RunError, Stopped
from harness.found import ROOT
from harness.runs import signals
from harness.sweeps.optuna.claims import MOST_DEATHS, Claims
from harness.sweeps.optuna.kept import keep_checkpoints
from harness.sweeps.optuna.sweep import Sweep
from harness.sweeps.optuna.untested import due, untested

NUMBER = "SWEEP_WORKER"  # environment variable: which worker a process is
POLL = 0.1  # seconds between looks at the workers
LOOK = 2.0  # and at the study
LOGS = "logs"


def number() -> int | None:
    """Return which worker this process is, or None if it is not one."""
    return int(os.environ[NUMBER]) if NUMBER in os.environ else None


class Workers:
    """Starts workers, and again those that are killed.

    Args:
        sweep: what the command line says.
        argv: the command line.
        claims: knows what is to be done.
    """

    def __init__(self, sweep: Sweep, argv: list[str], claims: Claims) -> None:
        """Start none yet."""
        self.sweep, self.argv, self.claims = sweep, argv, claims
        self.processes: dict[int, subprocess.Popen[bytes]] = {}
        self.deaths, self.finished = 0, 0

    def run(self, progress: Callable[[], None]) -> None:
        """Run trials until there are as many as asked for.

        Args:
            progress: called every now and then.

        Raises:
            Stopped: a signal has arrived; the workers have saved and ended.
            RunError: workers cannot work.
        """
        try:
            with signals.waiting():
                self._run(progress)
        finally:
            for process in self.processes.values():
                process.kill()  # nothing is lost
                process.wait()

    def _run(self, progress: Callable[[], None]) -> None:
        looked, told, missing = 0.0, False, True
        while self.processes or missing:
            for worker, process in list(self.processes.items()):
                if process.poll() is not None:
                    del self.processes[worker]
                    if process.returncode < 0:
                        self.claims.count_death(process.pid)
                    self.require_sense(worker, process.returncode)
                    looked = 0.0
            received = signals.received()
            if received is not None and not told:
                told = True
                for process in self.processes.values():
                    process.send_signal(signal.SIGTERM)
            if received is not None and not self.processes:
                return
            if monotonic() - looked > LOOK:
                looked = monotonic()
                progress()
                missing = self.is_unfinished()
                free = sorted(set(range(self.sweep.args.workers)) - self.processes.keys())
                is_more = self.claims.is_more_to_do()
                if received is None and free and (is_more or (not self.processes and due(self.claims))):
                    for worker in free if is_more and not self.processes else free[:1]:
                        self.start(worker)
            sleep(POLL)

    def is_unfinished(self) -> bool:
        """Return whether trials run or are tested elsewhere, or wait."""
        trials = self.claims.trials()
        are_left = any(not trial.state.is_finished() for trial in trials) or bool(untested(self.claims))
        return are_left and not self.claims.failures(trials)

    def start(self, worker: int) -> None:
        """Start a worker; what it prints goes to its log."""
        log = log_of(self.sweep, worker)
        log.parent.mkdir(parents=True, exist_ok=True)
        environment = {**os.environ, NUMBER: str(worker), signals.WITH_PARENT: "yes"}
        with log.open("ab") as output:
            # In a session of its own, so that Ctrl-C comes here alone; its standard input ends when this process does.
            self.processes[worker] = subprocess.Popen(
                [sys.executable, str(ROOT / "sweep_optuna.py"), *self.argv],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                env=environment,
                start_new_session=True,
            )

    def require_sense(self, worker: int, status: int) -> None:
        """Raise RunError if workers end again and again and no trial does."""
        finished = sum(trial.state.is_finished() for trial in self.claims.trials())
        if finished > self.finished or status == 0:
            self.deaths, self.finished = 0, finished
            return
        self.deaths += 1
        log = log_of(self.sweep, worker)
        lines = log.read_text(errors="replace").strip().splitlines() or [f"exit status {status}"]
        # What it says itself would be the same at the next start.
        if signals.received() is None and (status in (1, 2) or self.deaths > MOST_DEATHS):
            raise RunError(f"worker {worker}: {lines[-1].partition('error: ')[2] or lines[-1]} (see {log})")


def log_of(sweep: Sweep, worker: int) -> Path:
    """Return the file for what a worker prints."""
    return sweep.directory / LOGS / f"worker-{worker}.log"


def work(claims: Claims, worker: int) -> None:
    """Run trials until there is none to be had.

    Raises:
        Stopped: a signal has arrived; the trial under way has saved and waits for the next start.
    """
    from harness.sweeps.optuna.trials import deal_devices, run_trial, test_due  # torch

    more = deal_devices(worker, Namespace(**{**vars(claims.sweep.flags), "workers": claims.sweep.args.workers}))
    gc.freeze()  # what is there now stays: it need not be looked through after each trial
    while True:
        claimed = None
        try:
            with signals.waiting():
                claimed = claims.claim(more)
        except Stopped:
            if claimed is not None:
                claims.release(claimed[0])
            raise
        if claimed is None:
            test_due(claims)
            return
        trial, drawn = claimed
        run_trial(claims, trial, drawn, more)
        test_due(claims)
        keep_checkpoints(claims, trial.number)
