"""Lightning's training loops with exact resume.

They differ from Lightning's in three ways. The random numbers of a batch are a function of seed, epoch, batch and
process, whatever was drawn before. A loop restored from a checkpoint resumes from its counters; Lightning infers from
them where it was interrupted, and loses validations, logged steps and scheduler updates. And callbacks have hooks
between batches (``BoundaryCallback``).

For speed, ``model.log`` does nothing in steps whose values are not read, and empty hooks are not called.
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
from harness.lightning_2_6.lean_steps import defines, lean_steps
from harness.runs import signals
from harness.training.boundaries import call_hook

# Purposes of random numbers, each with its own seed.
SETUP, START, ORDER, BATCH, VALIDATION, END = range(6)


def seed_by(trainer: pl.Trainer, seed: int, purpose: int, *numbers: int) -> None:
    """Seed the generators of Python, numpy, torch and the device by a hash of the numbers."""
    digest = hashlib.blake2b(repr((seed, purpose, *numbers)).encode(), digest_size=16).digest()
    words = [int.from_bytes(digest[start:end], "little") for start, end in ((0, 4), (4, 8), (8, 16))]
    random.seed(words[0])
    np.random.seed(words[1])
    # torch.manual_seed seeds every kind of device; its 0.2 ms is near the time of a step of a small net.
    torch.default_generator.manual_seed(words[2])
    device = trainer.strategy.root_device
    if device.type != "cpu":
        torch.get_device_module(device).manual_seed(words[2])


# Callbacks with a hook after every batch that reads no metrics.
NO_READERS = (DeviceStatsMonitor, ProgressBar, Timer, WeightAveraging)


def has_reader(trainer: Any) -> bool:
    """Return whether a callback, the model or a schedule may read logged values after every batch."""
    hook, model = "on_train_batch_end", trainer.lightning_module
    callbacks = [callback for callback in trainer.callbacks if not isinstance(callback, NO_READERS)]
    return (
        any(defines(callback, hook, pl.Callback) for callback in callbacks)
        or is_overridden(hook, model)
        or is_overridden("log", model)
        or any(config.reduce_on_plateau and config.interval == "step" for config in trainer.lr_scheduler_configs)
        or bool(trainer.fast_dev_run)
        or trainer.num_training_batches == float("inf")  # any batch may be the last
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
    """Replace ``model.log`` in steps whose values are not read: log values with ``on_epoch`` alone."""
    if on_epoch:
        pl.LightningModule.log(model, name, value, prog_bar, logger, on_step, on_epoch, *more, **options)


def set_all(counts: Any, number: int) -> None:
    """Set all counters to a number, so that Lightning does not infer an interruption."""
    counts.ready = counts.started = counts.processed = counts.completed = number


class FitLoop(_FitLoop):
    """Lightning's loop over epochs, with exact resume.

    Args:
        trainer: the Trainer of the loop.
        seed: seed of all random numbers.
    """

    def __init__(self, trainer: pl.Trainer, seed: int) -> None:
        limits = trainer.fit_loop
        super().__init__(trainer, min_epochs=limits.min_epochs, max_epochs=limits.max_epochs)
        self.epoch_loop = EpochLoop(trainer, seed, min_steps=limits.min_steps, max_steps=limits.max_steps)
        self.seed = seed
        self.half_ended = False  # restored from a checkpoint that a hook wrote at the end of an epoch

    def load_state_dict(self, state_dict: dict[str, Any], prefix: str = "") -> None:
        """Restore the counters; the epoch loop skips the finished batches of an unfinished epoch.

        The saved states of loaders are not used, since skipping works with every loader.
        """
        super().load_state_dict(state_dict, prefix)
        _Loop.restarting.fset(self, False)  # type: ignore[attr-defined]  # this loop's own setter may set True
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
        """Whether to leave the loop; a resumed epoch is finished first, even without another batch."""
        in_limits = self.max_epochs == -1 or self.epochs.processed < self.max_epochs
        return super().done and not (self.epoch_loop.mid_epoch and in_limits)

    def run(self) -> None:
        """Run epochs; signals wait for the end of a batch."""
        with signals.waiting(), lean_steps(self.trainer):
            seed_by(self.trainer, self.seed, SETUP)
            self.setup_data()
            self.epoch_loop.require_same_length()
            call_hook(self.trainer, "on_restored")
            if self.half_ended:
                self.end_epoch()
            super().run()

    def on_advance_start(self) -> None:
        """Start an epoch, or resume one."""
        seed_by(self.trainer, self.seed, START, self.epochs.processed)
        if not self.epoch_loop.mid_epoch:
            super().on_advance_start()
            return
        # Hooks at the start of an epoch are called again, but the log has their values already.
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
        """Do the rest of the end of an epoch, after its hooks, as Lightning does."""
        self.half_ended = False
        self.epochs.completed -= 1
        self.trainer._logger_connector.on_epoch_end()
        if self.epoch_loop._num_ready_batches_reached():
            self.epoch_loop.update_lr_schedulers("epoch", update_plateau_schedulers=True)
        self.epoch_loop._batches_that_stepped -= 1  # epoch metrics are logged under the last step
        self.trainer._logger_connector.update_train_epoch_metrics()
        self.epoch_loop._batches_that_stepped += 1
        self.epochs.completed += 1
        call_hook(self.trainer, "on_boundary", True)


class EpochLoop(_TrainingEpochLoop):
    """Lightning's loop over the batches of an epoch, with exact resume.

    Args:
        trainer: the Trainer of the loop.
        seed: seed of all random numbers.
        **limits: min_steps and max_steps.
    """

    def __init__(self, trainer: pl.Trainer, seed: int, **limits: Any) -> None:
        super().__init__(trainer, **limits)
        self.seed = seed
        self.mid_epoch = False  # restored from a checkpoint within an epoch
        self.pending = ""  # rest of the last batch: "validation", "rest" (after the validation) or ""
        self.saved_length: int | float | None = None
        self.val_counts: dict[str, Any] | None = None  # counters before the running validation
        self.is_read = True  # whether logged values of this batch are read
        self.all_are_read = True  # whether those of every batch are read
        self.validates = False  # whether a validation follows this batch
        self.step_takes: tuple[str, ...] = ()  # names of the parameters of training_step

    def on_save_checkpoint(self) -> dict[str, Any]:
        """Return the state of the loop beside its counters."""
        length = self.trainer.num_training_batches
        own = {"pending": self.pending, "length": length, "val_counts": self.val_counts}
        return {**super().on_save_checkpoint(), **own}

    def on_load_checkpoint(self, state_dict: dict[str, Any]) -> None:
        """Restore the state of the loop."""
        super().on_load_checkpoint(state_dict)
        self.pending, self.saved_length = state_dict.get("pending", ""), state_dict.get("length")
        self.val_counts = state_dict.get("val_counts")

    def require_same_length(self) -> None:
        """Raise UsageError if the loop resumes within an epoch that had another number of batches."""
        length = self.trainer.num_training_batches
        if self.mid_epoch and self.saved_length not in (None, length):
            raise UsageError(
                f"the checkpoint was written within an epoch of {self.saved_length} batches, and these flags make "
                f"{length}: leave out what changes that, such as --batch_size or --devices"
            )

    def reset(self) -> None:
        """Reset the counters at the start of an epoch; keep them within a resumed one."""
        if not self.mid_epoch:
            super().reset()

    def on_run_start(self, data_fetcher: _DataFetcher) -> None:
        """Draw the order of the data; in a resumed epoch, skip the finished batches and do the rest of the last."""
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
        # otherwise Lightning would drop the logged values as those of the epoch before
        self.trainer._logger_connector._first_loop_iter = True
        if self.pending == "validation" and self.val_counts is not None:  # it was interrupted, and is repeated
            self.val_loop.batch_progress.load_state_dict(self.val_counts)
        if self.pending:
            self._skip_next_val = self.pending == "rest"
            self.on_advance_end(data_fetcher)

    def seed_order(self) -> None:
        """Seed the generators that determine the order of the data, also those of loaders."""
        seed_by(self.trainer, self.seed, ORDER, self.trainer.current_epoch)
        if self.trainer.current_epoch > 0:  # in the first epoch, generators keep the seed of the user
            number = int(torch.randint(2**62, ()))
            loaders = self.trainer.fit_loop._combined_loader
            for loader in loaders.flattened if loaders is not None else []:
                batches = getattr(loader, "batch_sampler", None)
                for owner in (loader, getattr(loader, "sampler", None), batches, getattr(batches, "sampler", None)):
                    generator = getattr(owner, "generator", None)
                    if isinstance(generator, torch.Generator):
                        generator.manual_seed(number)

    def skip_batches(self, data_fetcher: _DataFetcher, number: int) -> None:
        """Fetch batches and drop them, so that loaders and workers have the state of a run that never stopped.

        Raises:
            UsageError: If the loader has fewer batches.
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
        """Seed the random numbers of a batch, which differ between processes."""
        seed_by(self.trainer, self.seed, BATCH, self.trainer.current_epoch, batch, self.trainer.global_rank)

    def will_be_read(self, batch: int) -> bool:
        """Return whether logged values of a batch are read.

        They are read every ``log_every_n_steps`` steps, in the first and last batch of an epoch, and before a
        validation. In between, the progress bar and ``trainer.callback_metrics`` keep the last values.
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
        except Exception:  # RuntimeError, OSError or EOFError, depending on the state of the worker
            fetching = self.batch_progress.current.ready == done
            if signals.received() is not None and fetching and self.trainer.world_size == 1:
                self.pending = ""
                call_hook(self.trainer, "on_boundary", False)  # the workers of the loader received the signal, too
            raise
        finally:
            model.__dict__.pop("log", None)

    def on_advance_end(self, data_fetcher: _DataFetcher) -> None:
        """Validate if it is due, and finish the batch."""
        self.validates = super()._should_check_val_fx(data_fetcher)
        if self.validates:
            seed_by(self.trainer, self.seed, VALIDATION)
            self.val_counts = self.val_loop.batch_progress.state_dict()
        super().on_advance_end(data_fetcher)
        self.pending, self.val_counts = "", None
        call_hook(self.trainer, "on_boundary", False)

    def _should_check_val_fx(self, data_fetcher: _DataFetcher) -> bool:
        """Return whether a validation follows, which was determined before."""
        return self.validates

    def _build_kwargs(self, kwargs: OrderedDict[str, Any], batch: Any, batch_idx: int) -> OrderedDict[str, Any]:
        """Return the arguments of training_step; its signature was read at the start of the epoch."""
        kwargs.update(zip(self.step_takes, (batch, batch_idx), strict=False))
        return kwargs

    def _broadcast_sigterm_tensor(self) -> None:
        """Do nothing, since StopOnSignal informs all processes."""


class OwnSignals(_SignalConnector):
    """Leaves signals to ``harness.runs.signals``; Lightning ends a run with status 0, and saves nothing."""

    def register_signal_handlers(self) -> None:
        """Do nothing, instead of installing Lightning's handlers."""
