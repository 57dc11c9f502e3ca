"""Lightning's training loops, made to go on exactly where they were.

Two changes. All random numbers of a step are a function of the seed, the epoch and the batch: so they do not depend on
what was drawn before it. And a loop that is loaded from a checkpoint goes on from its counters as a loop does that was
never stopped, without Lightning's guesses about where a restart happens: these lose validations, logged steps and
scheduler updates.

They stand on Lightning's private loops, as of 2.6: hence the upper bound in pyproject.toml.
"""

import math
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.loops.fetchers import _DataFetcher
from pytorch_lightning.loops.fit_loop import _FitLoop
from pytorch_lightning.loops.loop import _Loop
from pytorch_lightning.loops.training_epoch_loop import _TrainingEpochLoop

import signals
from args import UsageError

# What draws random numbers within an epoch, beside its batches, which are 0, 1, 2, ...
START, ORDER, END, VALIDATION = range(2**32 - 4, 2**32)


def seed_by(*numbers: int) -> None:
    """Seed the generators of Python, numpy and torch by a hash of ``numbers``, each at least 0 and below 2 ** 32."""
    words = np.random.SeedSequence(numbers).generate_state(4)
    random.seed(int(words[0]))
    np.random.seed(words[1])
    torch.manual_seed((int(words[2]) << 32) + int(words[3]))


def set_all(counts: Any, number: int) -> None:
    """Make counters of Lightning's say that this many were begun and finished."""
    counts.ready = counts.started = counts.processed = counts.completed = number


def boundary(trainer: Any, *, epoch_is_over: bool = False) -> None:
    """Call ``on_boundary(trainer, epoch_is_over)`` of the callbacks that have it.

    All that belongs to a batch, or an epoch, is done now, validation included, and nothing of the next.
    """
    for callback in trainer.callbacks:
        if hasattr(callback, "on_boundary"):
            callback.on_boundary(trainer, epoch_is_over)


class FitLoop(_FitLoop):
    """Runs epochs.

    Args:
        trainer: the Trainer whose loop it becomes.
        seed: decides all random numbers.
        begin: called when everything is restored and nothing has run.
    """

    def __init__(self, trainer: pl.Trainer, seed: int, begin: Callable[[], None]) -> None:
        """Take the limits of the loop that the Trainer has."""
        limits = trainer.fit_loop
        super().__init__(trainer, min_epochs=limits.min_epochs, max_epochs=limits.max_epochs)
        self.epoch_loop = EpochLoop(trainer, seed, min_steps=limits.min_steps, max_steps=limits.max_steps)
        self.seed, self.begin = seed, begin

    def load_state_dict(self, state_dict: dict[str, Any], prefix: str = "") -> None:
        """Put the counters where they were; the batches of an epoch that is not over are for the epoch loop to skip."""
        super().load_state_dict(state_dict, prefix)
        _Loop.restarting.fset(self, False)  # type: ignore[attr-defined]  # this loop's own setter may say True
        for loop in (self, self.epoch_loop, self.epoch_loop.val_loop):
            loop._loaded_from_state_dict = loop._resuming_from_checkpoint = False
        self.epoch_loop.goes_on = self.epochs.processed < self.epochs.ready
        totals: Any = self.epoch_progress.total
        set_all(self.epochs, self.epochs.processed)
        set_all(totals, totals.processed)

    @property
    def epochs(self) -> Any:
        """Return the counters of epochs."""
        return self.epoch_progress.current

    @property
    def done(self) -> bool:
        """Whether to leave the loop; an epoch that is to go on is brought to its end, even without another batch."""
        unlimited = self.max_epochs in (None, -1)
        in_limits = unlimited or self.epochs.processed < self.max_epochs
        return super().done and not (self.epoch_loop.goes_on and in_limits)

    def run(self) -> None:
        """Run epochs; a signal waits for the end of a batch."""
        with signals.waiting():
            seed_by(self.seed)
            self.setup_data()
            self.epoch_loop.require_same_length()
            self.begin()
            super().run()

    def on_advance_start(self) -> None:
        """Begin an epoch."""
        seed_by(self.seed, self.epochs.processed, START)
        super().on_advance_start()

    def on_advance_end(self) -> None:
        """End an epoch."""
        seed_by(self.seed, self.epochs.processed, END)
        super().on_advance_end()
        boundary(self.trainer, epoch_is_over=True)


class EpochLoop(_TrainingEpochLoop):
    """Runs the batches of an epoch.

    Args:
        trainer: the Trainer whose loop it becomes.
        seed: decides all random numbers.
        **limits: min_steps and max_steps.
    """

    def __init__(self, trainer: pl.Trainer, seed: int, **limits: Any) -> None:
        """Start with a new epoch."""
        super().__init__(trainer, **limits)
        self.seed = seed
        self.goes_on = False  # loaded from a checkpoint in the middle of an epoch
        self.pending = ""  # what is still to be done for the last batch: "validation", "rest" (what follows it), ""
        self.saved_length: int | float | None = None

    def on_save_checkpoint(self) -> dict[str, Any]:
        """Return what the counters do not tell."""
        length = self.trainer.num_training_batches
        return {**super().on_save_checkpoint(), "pending": self.pending, "length": length}

    def on_load_checkpoint(self, state_dict: dict[str, Any]) -> None:
        """Take it back."""
        super().on_load_checkpoint(state_dict)
        self.pending, self.saved_length = state_dict.get("pending", ""), state_dict.get("length")

    def require_same_length(self) -> None:
        """Raise UsageError if the loop is to go on within an epoch that had another number of batches."""
        length = self.trainer.num_training_batches
        if self.goes_on and self.saved_length not in (None, length, math.inf):
            raise UsageError(
                f"the checkpoint was written within an epoch of {self.saved_length} batches, and these flags make "
                f"{length}: leave out what changes that, such as --batch_size or --devices"
            )

    def reset(self) -> None:
        """Start to count the batches of an epoch, or go on counting."""
        if not self.goes_on:
            super().reset()

    def on_run_start(self, data_fetcher: _DataFetcher) -> None:
        """Draw the order of the data; skip the batches that are done, and do what is pending for the last."""
        seed_by(self.seed, self.trainer.current_epoch, ORDER)
        done = self.batch_progress.current.processed  # type: ignore[attr-defined]
        super().on_run_start(data_fetcher)
        if not self.goes_on:
            return
        self.goes_on = False
        set_all(self.batch_progress.current, done)
        data_fetcher.fetched = 0
        for _ in range(done):  # fetched and thrown away, so that any loader and its workers go on as they would have
            next(data_fetcher)
        # else what was logged in the epoch would be taken for that of the epoch before, and forgotten
        self.trainer._logger_connector._first_loop_iter = True
        if self.pending:
            self._skip_next_val = self.pending == "rest"
            self.on_advance_end(data_fetcher)

    def advance(self, data_fetcher: _DataFetcher) -> None:
        """Run one batch, fetched and processed with random numbers of its own."""
        done = self.batch_progress.current.ready
        seed_by(self.seed, self.trainer.current_epoch, done)
        self.pending = "validation"
        try:
            super().advance(data_fetcher)
        except RuntimeError:
            if signals.received() is not None and self.batch_progress.current.ready == done:
                self.pending = ""
                boundary(self.trainer)  # the loader's worker processes got the signal, too: there is no next batch
            raise

    def on_advance_end(self, data_fetcher: _DataFetcher) -> None:
        """Validate if it is time, and do what follows."""
        super().on_advance_end(data_fetcher)
        self.pending = ""
        boundary(self.trainer)

    def _broadcast_sigterm_tensor(self) -> None:
        """Do nothing: StopOnSignal does this."""
