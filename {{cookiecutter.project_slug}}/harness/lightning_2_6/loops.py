"""Lightning's training loops, made to go on exactly where they were.

Three things are added. All random numbers of a batch are a function of the seed, the epoch, the batch and the process:
so they do not depend on what was drawn before it. A loop that is loaded from a checkpoint goes on from its counters as
one does that was never stopped; Lightning instead guesses from its counters where it was interrupted, and then loses
validations, logged steps and scheduler updates. And there are hooks for what belongs between batches.

What would take as long as a step of a small net is left out: ``log`` where nobody reads the value, and empty hooks.

They stand on Lightning's private loops, as of 2.6: hence the upper bound in pyproject.toml.
"""

import hashlib
import random
from collections import OrderedDict
from functools import partial
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import DeviceStatsMonitor, ProgressBar, Timer, WeightAveraging
from pytorch_lightning.loggers.logger import DummyLogger
from pytorch_lightning.loops.fetchers import _DataFetcher
from pytorch_lightning.loops.fit_loop import _FitLoop
from pytorch_lightning.loops.loop import _Loop
from pytorch_lightning.loops.training_epoch_loop import _TrainingEpochLoop
from pytorch_lightning.trainer.connectors.signal_connector import _SignalConnector
from pytorch_lightning.utilities.model_helpers import is_overridden

from harness.errors import UsageError
from harness.lightning_2_6.lean_steps import lean_steps
from harness.runs import signals
from harness.training.boundaries import call_hook

# What random numbers are drawn for.
SETUP, START, ORDER, BATCH, VALIDATION, END = range(6)


def seed_by(trainer: pl.Trainer, seed: int, purpose: int, *numbers: int) -> None:
    """Seed the generators of Python, numpy and torch, also that of the device, by a hash of numbers."""
    digest = hashlib.blake2b(repr((seed, purpose, *numbers)).encode(), digest_size=16).digest()
    words = [int.from_bytes(digest[start:end], "little") for start, end in ((0, 4), (4, 8), (8, 16))]
    random.seed(words[0])
    np.random.seed(words[1])
    # torch.manual_seed sees to every kind of device, in 0.2 ms where none is in use: as long as a step of a small net.
    torch.default_generator.manual_seed(words[2])
    device = trainer.strategy.root_device
    if device.type != "cpu":
        torch.get_device_module(device).manual_seed(words[2])


# Callbacks that do something after every batch, and read no metrics.
NO_READERS = (DeviceStatsMonitor, ProgressBar, Timer, WeightAveraging)


def has_reader(trainer: Any) -> bool:
    """Return whether something may read after every batch what it has logged."""
    hook, model = "on_train_batch_end", trainer.lightning_module
    callbacks = [callback for callback in trainer.callbacks if not isinstance(callback, NO_READERS)]
    return (
        any(getattr(type(callback), hook) is not getattr(pl.Callback, hook) for callback in callbacks)
        or is_overridden(hook, model)
        or is_overridden("log", model)
        or any(config.reduce_on_plateau and config.interval == "step" for config in trainer.lr_scheduler_configs)
        or bool(trainer.fast_dev_run)
        or trainer.num_training_batches == float("inf")  # any of them may be the last
    )


def log_for_epoch(
    model: pl.LightningModule,
    name: str,
    value: Any,
    prog_bar: bool = False,
    logger: bool | None = None,
    on_step: bool | None = None,
    on_epoch: bool | None = None,
    *more: Any,
    **options: Any,
) -> None:
    """Stand for ``model.log`` where nobody reads the value of a step: only what the epoch comes to is logged."""
    if on_epoch:
        pl.LightningModule.log(model, name, value, prog_bar, logger, on_step, on_epoch, *more, **options)


def set_all(counts: Any, number: int) -> None:
    """Make counters say that this many were begun and finished: so Lightning has nothing to guess."""
    counts.ready = counts.started = counts.processed = counts.completed = number


class FitLoop(_FitLoop):
    """Runs epochs.

    Args:
        trainer: the Trainer whose loop it becomes.
        seed: decides all random numbers.
    """

    def __init__(self, trainer: pl.Trainer, seed: int) -> None:
        """Take the limits of the loop that the Trainer has."""
        limits = trainer.fit_loop
        super().__init__(trainer, min_epochs=limits.min_epochs, max_epochs=limits.max_epochs)
        self.epoch_loop = EpochLoop(trainer, seed, min_steps=limits.min_steps, max_steps=limits.max_steps)
        self.seed = seed
        self.half_ended = False  # loaded from a checkpoint that was written by a hook at the end of an epoch

    def load_state_dict(self, state_dict: dict[str, Any], prefix: str = "") -> None:
        """Put the counters where they were; the batches of an epoch that is not over are for the epoch loop to skip.

        What loaders have saved of themselves is not used: skipping batches works with every loader.
        """
        super().load_state_dict(state_dict, prefix)
        _Loop.restarting.fset(self, False)  # type: ignore[attr-defined]  # this loop's own setter may say True
        for loop in (self, self.epoch_loop, self.epoch_loop.val_loop):
            loop._loaded_from_state_dict = loop._resuming_from_checkpoint = False
        self.epoch_loop.mid_epoch = self.epochs.processed < self.epochs.ready
        self.half_ended = self.epochs.completed < self.epochs.processed
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
        in_limits = self.max_epochs == -1 or self.epochs.processed < self.max_epochs
        return super().done and not (self.epoch_loop.mid_epoch and in_limits)

    def run(self) -> None:
        """Run epochs; a signal waits for the end of a batch."""
        with signals.waiting(), lean_steps(self.trainer):
            seed_by(self.trainer, self.seed, SETUP)
            self.setup_data()
            self.epoch_loop.require_same_length()
            call_hook(self.trainer, "on_restored")
            if self.half_ended:
                self.end_epoch()
            super().run()

    def on_advance_start(self) -> None:
        """Begin an epoch."""
        seed_by(self.trainer, self.seed, START, self.epochs.processed)
        if not self.epoch_loop.mid_epoch:
            super().on_advance_start()
            return
        # The hooks for the start of an epoch prepare what it needs; what they log is in the log already.
        loggers, self.trainer.loggers = self.trainer.loggers, [DummyLogger()]
        super().on_advance_start()
        self.trainer.loggers = loggers
        call_hook(self.trainer, "on_epoch_resumed")

    def on_advance_end(self) -> None:
        """End an epoch."""
        seed_by(self.trainer, self.seed, END, self.epochs.processed)
        super().on_advance_end()
        call_hook(self.trainer, "on_boundary", True)

    def end_epoch(self) -> None:
        """Do what Lightning does after the hooks for the end of an epoch."""
        self.half_ended = False
        self.epochs.completed -= 1
        self.trainer._logger_connector.on_epoch_end()
        if self.epoch_loop._num_ready_batches_reached():
            self.epoch_loop.update_lr_schedulers("epoch", update_plateau_schedulers=True)
        self.epoch_loop._batches_that_stepped -= 1  # what an epoch came to is logged under its last step
        self.trainer._logger_connector.update_train_epoch_metrics()
        self.epoch_loop._batches_that_stepped += 1
        self.epochs.completed += 1
        call_hook(self.trainer, "on_boundary", True)


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
        self.mid_epoch = False  # loaded from a checkpoint in the middle of an epoch
        self.pending = ""  # what is still to be done for the last batch: "validation", "rest" (what follows it), ""
        self.saved_length: int | float | None = None
        self.val_counts: dict[str, Any] | None = None  # as they were before the validation that is going on
        self.is_read = True  # whether anyone reads what this batch logs for its step
        self.all_are_read = True  # whether that is so with every batch
        self.validates = False  # whether a validation follows this batch
        self.step_takes: tuple[str, ...] = ()  # names of what training_step takes

    def on_save_checkpoint(self) -> dict[str, Any]:
        """Return what the counters do not tell."""
        length = self.trainer.num_training_batches
        own = {"pending": self.pending, "length": length, "val_counts": self.val_counts}
        return {**super().on_save_checkpoint(), **own}

    def on_load_checkpoint(self, state_dict: dict[str, Any]) -> None:
        """Take it back."""
        super().on_load_checkpoint(state_dict)
        self.pending, self.saved_length = state_dict.get("pending", ""), state_dict.get("length")
        self.val_counts = state_dict.get("val_counts")

    def require_same_length(self) -> None:
        """Raise UsageError if the loop is to go on within an epoch that had another number of batches."""
        length = self.trainer.num_training_batches
        if self.mid_epoch and self.saved_length not in (None, length):
            raise UsageError(
                f"the checkpoint was written within an epoch of {self.saved_length} batches, and these flags make "
                f"{length}: leave out what changes that, such as --batch_size or --devices"
            )

    def reset(self) -> None:
        """Start to count the batches of an epoch, or go on counting."""
        if not self.mid_epoch:
            super().reset()

    def on_run_start(self, data_fetcher: _DataFetcher) -> None:
        """Draw the order of the data; skip the batches that are done, and do what is pending for the last."""
        self.seed_order()
        self.step_takes = tuple(super()._build_kwargs(OrderedDict(), None, 0))
        self.all_are_read = has_reader(self.trainer)
        done = self.batch_progress.current.processed  # type: ignore[attr-defined]
        super().on_run_start(data_fetcher)
        if not self.mid_epoch:
            return
        self.mid_epoch = False
        set_all(self.batch_progress.current, done)
        data_fetcher.fetched = 0
        self.skip_batches(data_fetcher, done)
        # else what was logged in the epoch would be taken for that of the epoch before, and forgotten
        self.trainer._logger_connector._first_loop_iter = True
        if self.pending == "validation" and self.val_counts is not None:  # it was broken off, and begins anew
            self.val_loop.batch_progress.load_state_dict(self.val_counts)
        if self.pending:
            self._skip_next_val = self.pending == "rest"
            self.on_advance_end(data_fetcher)

    def seed_order(self) -> None:
        """Seed what decides the order of the data, also where loaders have generators of their own."""
        seed_by(self.trainer, self.seed, ORDER, self.trainer.current_epoch)
        if self.trainer.current_epoch > 0:  # in the first epoch they are as they were made
            number = int(torch.randint(2**62, ()))
            loaders = self.trainer.fit_loop._combined_loader
            for loader in loaders.flattened if loaders is not None else []:
                batches = getattr(loader, "batch_sampler", None)
                for owner in (loader, getattr(loader, "sampler", None), batches, getattr(batches, "sampler", None)):
                    generator = getattr(owner, "generator", None)
                    if isinstance(generator, torch.Generator):
                        generator.manual_seed(number)

    def skip_batches(self, data_fetcher: _DataFetcher, number: int) -> None:
        """Fetch batches and throw them away, so that any loader and its workers go on as they would have.

        Raises:
            UsageError: there are not so many.
        """
        for batch in range(number):
            self.seed_batch(batch)
            try:
                next(data_fetcher)
            except StopIteration:
                raise UsageError(
                    f"the checkpoint was written after {number} batches of an epoch, and now there are {batch}"
                ) from None

    def seed_batch(self, batch: int) -> None:
        """Seed what is drawn while a batch is fetched and processed, in each process differently."""
        seed_by(self.trainer, self.seed, BATCH, self.trainer.current_epoch, batch, self.trainer.global_rank)

    def will_be_read(self, batch: int) -> bool:
        """Return whether anyone reads what a batch logs for its step: a logger, or what follows it.

        That is every ``log_every_n_steps``, in the first and last batch of an epoch, and before a validation. Between
        them the progress bar and ``trainer.callback_metrics`` keep what they had.
        """
        trainer, number = self.trainer, batch + 1
        if self.all_are_read or batch == 0 or number >= trainer.num_training_batches:
            return True
        if 0 <= self.max_steps - self.global_step <= len(trainer.optimizers):
            return True
        if trainer.check_val_every_n_epoch is None:
            number = self.batch_progress.total.ready + 1
        interval, every = trainer.val_check_batch, trainer.log_every_n_steps
        logged = bool(every) and (self._batches_that_stepped + 1) % every == 0
        return logged or (interval is not None and number % interval == 0)

    def advance(self, data_fetcher: _DataFetcher) -> None:
        """Run one batch."""
        done = self.batch_progress.current.ready
        self.seed_batch(done)
        self.pending = "validation"
        model: Any = self.trainer.lightning_module
        self.is_read = self.will_be_read(done)
        if not self.is_read:
            model.__dict__["log"] = partial(log_for_epoch, model)
        try:
            super().advance(data_fetcher)
        except Exception:  # RuntimeError, OSError or EOFError, by what the worker was doing
            fetching = self.batch_progress.current.ready == done
            if signals.received() is not None and fetching and self.trainer.world_size == 1:
                self.pending = ""
                call_hook(self.trainer, "on_boundary", False)  # the workers of the loader got the signal, too
            raise
        finally:
            model.__dict__.pop("log", None)

    def on_advance_end(self, data_fetcher: _DataFetcher) -> None:
        """Validate if it is time, and do what follows."""
        self.validates = super()._should_check_val_fx(data_fetcher)
        if self.validates:
            seed_by(self.trainer, self.seed, VALIDATION)
            self.val_counts = self.val_loop.batch_progress.state_dict()
        super().on_advance_end(data_fetcher)
        self.pending, self.val_counts = "", None
        call_hook(self.trainer, "on_boundary", False)

    def _should_check_val_fx(self, data_fetcher: _DataFetcher) -> bool:
        """Return what was found out for this batch."""
        return self.validates

    def _build_kwargs(self, kwargs: OrderedDict[str, Any], batch: Any, batch_idx: int) -> OrderedDict[str, Any]:
        """Return what to call training_step with; its signature was read when the epoch began."""
        kwargs.update(zip(self.step_takes, (batch, batch_idx), strict=False))
        return kwargs

    def _broadcast_sigterm_tensor(self) -> None:
        """Do nothing: StopOnSignal tells all processes."""


class OwnSignals(_SignalConnector):
    """Leaves signals to ``signals.py``: Lightning's way ends a run with status 0, and saves nothing."""

    def register_signal_handlers(self) -> None:
        """Do nothing."""
