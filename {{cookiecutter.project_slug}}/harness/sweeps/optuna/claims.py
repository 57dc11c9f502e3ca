"""Claims of workers on trials: exactly as many trials as asked for, and those of killed workers again."""

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, Trial, TrialState

from harness.runs.run import CHECKPOINTS, LAST, is_locked
from harness.sweeps.optuna import records
from harness.sweeps.optuna.locks import Locks
from harness.sweeps.optuna.records import OWNER, owner_of
from harness.sweeps.optuna.sampling import build_sampler, grid_point
from harness.sweeps.optuna.sweep import Sweep

MOST_DEATHS = 5  # workers killed in one trial at one checkpoint, after which the trial fails
DEATHS = "deaths"  # user attribute of a trial: how many workers were killed in it since its last checkpoint


@dataclass
class Claim:
    """A trial that this process runs.

    Args:
        trial: the trial of Optuna.
        drawn: values of the searched flags.
        key: key of the lock that this process holds for as long as it runs the trial.
    """

    trial: Trial
    drawn: dict[str, Any]
    key: int


class Claims:
    """Gives trials to workers.

    A worker holds a lock for its trial, which the system releases when the process ends: a trial that is RUNNING
    without a held lock belongs to a dead worker, and waits again, with its number and its values. All changes of state
    are made by one process at a time.

    Args:
        sweep: the sweep.
        study: the study of Optuna.
        storage: its storage.
        locks: its locks.
    """

    def __init__(self, sweep: Sweep, study: optuna.Study, storage: BaseStorage, locks: Locks) -> None:
        self.sweep, self.study, self.storage, self.locks = sweep, study, storage, locks
        self.n_trials = sweep.n_trials
        self.earlier = {trial.number for trial in self.trials() if trial.state.is_finished()}
        self.tests = records.tests_of(study)

    def trials(self) -> list[FrozenTrial]:
        """Return all trials, which must not be changed."""
        return self.study.get_trials(deepcopy=False)

    def run_dir(self, trial: Trial | FrozenTrial) -> Path:
        """Return the directory of the run of a trial."""
        return self.sweep.directory / "trials" / f"{trial.number:04}"

    def claim(self) -> Claim | None:
        """Return a trial for this process, or None if there is none."""
        with self.locks.exclusive():
            trials = self.trials()
            abandoned = [trial for trial in trials if self.is_abandoned(trial)]
            for trial in abandoned:
                self.give_back(trial)
            trials = self.trials() if abandoned else trials
            waiting = [trial for trial in trials if trial.state == TrialState.WAITING]
            if self.failures(trials) or not (waiting or len(trials) < self.n_trials):
                return None
            number = waiting[0].number if waiting else len(trials)
            key = self.locks.take()
            run = self.sweep.directory / "trials" / f"{number:04}"
            owner = {"key": key, "domain": self.locks.domain, "host": platform.node(), "pid": os.getpid()}
            owner["run"] = str(run.resolve())
            if waiting:
                self.sign(waiting[0], **owner)
            else:  # signed before it runs, so that it never belongs to nobody
                seed, grid = self.sweep.flags.seed, self.sweep.grid
                point = {} if grid is None else grid_point(grid, seed, number)
                records.record_sampling(self.study, self.sweep.flags.sampler, self.sweep.pruner, number)
                self.study.enqueue_trial(point, user_attrs={OWNER: owner})
            self.study.sampler = build_sampler(self.sweep.flags.sampler, self.sweep.flags.seed, number)
            asked = self.study.ask()
            return Claim(asked, self.sweep.space.draw(asked), key)

    def sign(self, trial: Trial | FrozenTrial, **facts: Any) -> None:
        """Add facts to those on the worker of a trial."""
        now = self.storage.get_trial(trial._trial_id).user_attrs.get(OWNER, {})
        self.storage.set_trial_user_attr(trial._trial_id, OWNER, {**now, **facts})

    def is_ours(self, claim: Claim) -> bool:
        """Return whether a trial still belongs to this process: a server may have lost its locks."""
        now = self.storage.get_trial(claim.trial._trial_id)
        return now.state == TrialState.RUNNING and owner_of(now).get("key") == claim.key

    def finish(self, claim: Claim, state: TrialState, values: Sequence[float] | None, **facts: Any) -> None:
        """Record the outcome of a trial.

        Args:
            claim: the trial.
            state: complete, pruned or failed; WAITING lets the next start resume it.
            values: of the objectives, if it is complete.
            facts: user attributes; empty ones are left out.
        """
        with self.locks.exclusive():
            if self.is_ours(claim):
                for name, value in facts.items():
                    if value:
                        claim.trial.set_user_attr(name, value)
                if state == TrialState.WAITING:
                    self.storage.set_trial_state_values(claim.trial._trial_id, state)
                else:
                    self.study.tell(claim.trial, values, state)
        self.locks.release(claim.key)

    def is_abandoned(self, trial: FrozenTrial) -> bool:
        """Return whether a trial is RUNNING and its worker is dead.

        Where machines share neither a database server nor files, only a machine that sees the lock can know.
        """
        if trial.state != TrialState.RUNNING:
            return False
        owner = owner_of(trial)
        if not owner:
            return True
        if owner["domain"] != self.locks.domain or self.locks.is_held(owner["key"]):
            return False
        # A run with processes of its own may have outlived the worker, and ends by itself.
        return not is_locked(Path(owner.get("run", "")))

    def give_back(self, trial: FrozenTrial) -> None:
        """Let a trial of a dead worker wait for another; it fails if too many have died in it at one checkpoint."""
        last = self.run_dir(trial) / CHECKPOINTS / LAST
        saved = last.stat().st_mtime if last.exists() else None
        before = trial.user_attrs.get(DEATHS, {"saved": saved, "count": 0})
        count = before["count"] + 1 if before["saved"] == saved else 1
        self.storage.set_trial_user_attr(trial._trial_id, DEATHS, {"saved": saved, "count": count})
        if count == MOST_DEATHS:
            reason = f"its process was killed {count} times: by hand, or for want of memory"
            self.storage.set_trial_user_attr(trial._trial_id, "error", reason)
        state = TrialState.WAITING if count < MOST_DEATHS else TrialState.FAIL
        self.storage.set_trial_state_values(trial._trial_id, state)

    def failures(self, trials: Sequence[FrozenTrial]) -> str:
        """Return why the sweep stops: too many trials in a row have failed since this process started; or nothing."""
        finished = [trial for trial in trials if trial.state.is_finished() and trial.number not in self.earlier]
        finished.sort(key=lambda trial: str(trial.datetime_complete), reverse=True)
        most = self.sweep.flags.max_failures
        if len(finished) < most or any(trial.state != TrialState.FAIL for trial in finished[:most]):
            return ""
        in_a_row = "a trial has failed" if most == 1 else f"{most} trials in a row have failed"
        return f"{in_a_row}, the last with: {finished[0].user_attrs.get('error', 'no reason')}"

    def has_more(self) -> bool:
        """Return whether a worker would find a trial now."""
        trials = self.trials()
        return not self.failures(trials) and (
            len(trials) < self.n_trials
            or any(trial.state == TrialState.WAITING or self.is_abandoned(trial) for trial in trials)
        )
