"""Which trial a worker runs next: exactly as many as asked for, and those of killed workers again."""

import os
import platform
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from time import monotonic
from typing import Any
from uuid import uuid4

import optuna
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, Trial, TrialState

from harness.runs.run import CHECKPOINTS, LAST, is_locked
from harness.sweeps.optuna import records, studies
from harness.sweeps.optuna.sweep import Sweep

BEAT = 20.0  # seconds between the signs of life of a running trial
GRACE = 120.0  # seconds without one, after which a worker on another machine counts as dead
MOST_DEATHS = 5  # of workers in one trial, at one checkpoint, after which it is not tried again
DEATHS = "deaths"  # user attribute of a trial: how many workers were killed in it since when it last saved
MINE = "worker"  # user attribute of a trial: who runs it, where, and the command line that repeats it


def owner_of(trial: FrozenTrial) -> dict[str, Any]:
    """Return the worker of a trial, its directory and command line; empty for a trial of another program."""
    found = trial.user_attrs.get(MINE)
    return found if isinstance(found, dict) else {}


class Claims:
    """Gives trials to workers.

    A trial is taken by making it, or one that waits: so there are never more than asked for. One whose worker is gone
    waits again, under its number and with its values. All of this is done under a lock (``studies.exclusive``).

    Args:
        sweep: what the command line says.
        study: Optuna's.
        storage: where it is kept.
        url: of the storage.
    """

    def __init__(self, sweep: Sweep, study: optuna.Study, storage: BaseStorage, url: str) -> None:
        """Begin to look."""
        self.sweep, self.study, self.storage, self.url = sweep, study, storage, url
        self.n_trials = sweep.n_trials
        self.grid = sweep.space.grid() if sweep.args.sampler == "grid" else None
        self.earlier = {trial.number for trial in self.trials() if trial.state.is_finished()}
        self.tests = records.tests_of(study)
        self.beats: dict[int, tuple[Any, float]] = {}  # by trial: the last sign of life, and when it was first seen

    def trials(self) -> list[FrozenTrial]:
        """Return all trials; they are not to be changed."""
        return self.study.get_trials(deepcopy=False)

    def claim(self, more: dict[str, Any]) -> tuple[Trial, dict[str, Any]] | None:
        """Return a trial that this process is to run, and what it draws; None if there is none to be had.

        Args:
            more: flags of its run that depend on the worker.
        """
        with studies.exclusive(self.url, self.sweep.directory):
            trials = self.trials()
            for trial in trials:
                if trial.state == TrialState.RUNNING and self.is_abandoned(trial):
                    self.give_back(trial)
                    trials = self.trials()
            waiting = [trial.number for trial in trials if trial.state == TrialState.WAITING]
            if self.failures(trials) or not (waiting or len(trials) < self.n_trials):
                return None
            number = min(waiting, default=len(trials))
            if not waiting:
                records.record_sampling(self.study, self.sweep.args.sampler, self.sweep.pruner, number)
            self.study.sampler = studies.sampler(self.sweep.args.sampler, self.sweep.flags.seed, number, self.grid)
            claimed = self.study.ask()
            drawn = self.sweep.space.draw(claimed)
            run_dir, command = self.run_dir(claimed).resolve(), self.sweep.command(drawn, **more)
            signed = {**myself(), "claim": uuid4().hex, "run": str(run_dir), "command": command}
            claimed.set_user_attr(MINE, signed)
            return claimed, drawn

    # {% if cookiecutter.sweeps == "both" %}
    def take_over(self, number: int, claim: str) -> tuple[Trial, dict[str, Any]] | None:
        """Return a trial that another process has claimed for this one, and what it draws; None if it is that no more.

        Args:
            number: of the trial.
            claim: by which it is known.
        """
        with studies.exclusive(self.url, self.sweep.directory):
            found = self.trials()[number]
            owner = found.user_attrs.get(MINE, {})
            if found.state.is_finished() or owner.get("claim") != claim:
                return None
            if found.state == TrialState.WAITING:  # this process was stopped and started again
                self.storage.set_trial_state_values(found._trial_id, TrialState.RUNNING)
            self.study.sampler = optuna.samplers.RandomSampler()  # all is drawn
            trial = Trial(self.study, found._trial_id)
            trial.set_user_attr(MINE, {**owner, **myself()})
            return trial, self.sweep.space.draw(trial)

    # {% endif %}
    def run_dir(self, trial: Trial | FrozenTrial) -> Path:
        """Return the directory of a trial's run."""
        return self.sweep.directory / "trials" / f"{trial.number:04}"

    def is_mine(self, trial: Trial) -> bool:
        """Return whether a trial is still this process's, and has not been given to another that thought it dead."""
        now = self.storage.get_trial(trial._trial_id)
        own = now.user_attrs.get(MINE, {})
        return now.state == TrialState.RUNNING and all(own.get(name) == value for name, value in myself().items())

    def count_death(self, pid: int) -> None:
        """Note that a worker that this process had started was killed in the middle of a trial, if it was."""
        for trial in self.trials():
            owner = trial.user_attrs.get(MINE, {})
            if trial.state == TrialState.RUNNING and (owner.get("host"), owner.get("pid")) == (platform.node(), pid):
                last = self.run_dir(trial) / CHECKPOINTS / LAST
                saved = last.stat().st_mtime if last.exists() else None
                before = trial.user_attrs.get(DEATHS, {"saved": saved, "count": 0})
                count = before["count"] + 1 if before["saved"] == saved else 1
                self.storage.set_trial_user_attr(trial._trial_id, DEATHS, {"saved": saved, "count": count})

    def give_back(self, trial: FrozenTrial) -> None:
        """Let a trial of a dead worker wait for another; where too many have died of it, let it fail."""
        deaths = trial.user_attrs.get(DEATHS, {"count": 0})["count"]
        if deaths < MOST_DEATHS:
            self.storage.set_trial_state_values(trial._trial_id, TrialState.WAITING)
        else:
            reason = f"its process was killed {deaths} times: by hand, or for want of memory"
            self.storage.set_trial_user_attr(trial._trial_id, "error", reason)
            self.storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)

    def release(self, trial: Trial) -> None:
        """Let a trial wait for the next start: it goes on from its last checkpoint."""
        with studies.exclusive(self.url, self.sweep.directory):
            if self.is_mine(trial):
                self.storage.set_trial_state_values(trial._trial_id, TrialState.WAITING)

    def failures(self, trials: Sequence[FrozenTrial]) -> str:
        """Return why so many trials in a row have failed that there is no sense in more; or nothing.

        Only those that finished since this process has begun to look count.
        """
        finished = [trial for trial in trials if trial.state.is_finished() and trial.number not in self.earlier]
        finished.sort(key=lambda trial: str(trial.datetime_complete), reverse=True)
        most = self.sweep.args.max_failures
        if len(finished) < most or any(trial.state != TrialState.FAIL for trial in finished[:most]):
            return ""
        in_a_row = "a trial has failed" if most == 1 else f"{most} trials in a row have failed"
        return f"{in_a_row}, the last with: {finished[0].user_attrs.get('error', 'no reason')}"

    def is_abandoned(self, trial: FrozenTrial) -> bool:
        """Return whether nobody works at a running trial any more."""
        owner = trial.user_attrs.get(MINE)
        if owner is None:  # killed between asking and signing, if others waited for the lock
            return not self.url.startswith(studies.GRPC) or self.is_silent(trial)
        here = myself()
        if owner["host"] != here["host"]:
            return self.is_silent(trial)
        if owner["boot"] == here["boot"] and birth(owner["pid"]) == owner["born"]:
            return False
        # A run with processes of its own may have outlived the worker, and comes to its end alone.
        return not is_locked(Path(owner["run"]))

    def is_silent(self, trial: FrozenTrial) -> bool:
        """Return whether a running trial has not given a sign of life for so long that it is dead."""
        sign = (trial.user_attrs.get("beat"), trial.datetime_start)
        if self.beats.get(trial.number, (None, 0.0))[0] != sign:
            self.beats[trial.number] = sign, monotonic()
        return monotonic() - self.beats[trial.number][1] > GRACE

    def is_more_to_do(self) -> bool:
        """Return whether a worker would find a trial now."""
        trials = self.trials()
        return not self.failures(trials) and (
            len(trials) < self.n_trials
            or any(trial.state == TrialState.WAITING for trial in trials)
            or any(trial.state == TrialState.RUNNING and self.is_abandoned(trial) for trial in trials)
        )

    @contextmanager
    def alive(self, trial: Trial) -> Iterator[None]:
        """Give signs of life for a trial that runs, for workers on other machines."""
        over = threading.Event()

        def beat() -> None:
            number = 0
            while not over.wait(BEAT):
                number += 1
                with suppress(Exception):  # the next one may get through
                    trial.storage.set_trial_user_attr(trial._trial_id, "beat", number)

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


@cache
def myself() -> dict[str, Any]:
    """Return what tells this process from every other, also from one that gets its number later."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    pid = os.getpid()
    return {
        "host": platform.node(),
        "boot": boot.read_text().strip() if boot.exists() else "",
        "pid": pid,
        "born": birth(pid),
    }


def birth(pid: int) -> str | None:
    """Return when a process of this machine was started, or None if it is no more."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:  # no such file system, or gone in this moment
        return None if Path("/proc/self/stat").exists() else "alive"
    return None if fields[0] in "ZX" else fields[19]
