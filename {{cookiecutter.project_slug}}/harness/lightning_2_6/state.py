"""The state of a run that Lightning's checkpoints do not contain, saved and restored for an exact resume."""

from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import Logger
from pytorch_lightning.trainer.connectors.logger_connector.result import _Metadata, _ResultMetric, _Sync

from harness.errors import UsageError
from harness.lightning_2_6.loops import VALIDATION, EpochLoop, seed_by
from harness.lightning_2_6.metric_state import State, changed_metrics, read_metrics, restore_metrics
from harness.training.boundaries import BoundaryCallback
from harness.training.loggers import RESUME_KEY

SCHEDULED = {"lr", "initial_lr", "max_lr", "min_lr", "momentum", "base_momentum", "max_momentum"}


class Resume(BoundaryCallback):
    """Saves partial metrics, logger positions and optimiser settings in checkpoints, and restores them.

    Args:
        seed: seed of the random numbers of validation and test.
        stay_stopped: whether a run that early stopping has stopped stays stopped.
    """

    def __init__(self, seed: int, *, stay_stopped: bool) -> None:
        self.seed, self.stay_stopped = seed, stay_stopped
        self.saved: dict[str, Any] = {}
        self.settings: list[list[dict[str, Any]]] = []
        self.fresh_metrics: State = {}
        self.before_validation: dict[str, Any] | None = None  # metrics at the start of the running validation

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Read the settings and metrics that the flags give, before a checkpoint replaces them."""
        self.fresh_metrics = read_metrics(pl_module)
        self.settings = [[plain_settings(group) for group in each.param_groups] for each in trainer.optimizers]

    def on_save_checkpoint(self, trainer: Any, pl_module: pl.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Add the state to a checkpoint."""
        if not isinstance(trainer.fit_loop.epoch_loop, EpochLoop):
            return
        # An interrupted validation is repeated from its start.
        states = self.before_validation
        if states is None:
            states = changed_metrics(pl_module, self.fresh_metrics)
        own = {"results": save_results(trainer), "metrics": states}
        checkpoint[RESUME_KEY] = {
            "settings": self.settings,
            "should_stop": trainer.should_stop,
            "callback_metrics": dict(trainer.callback_metrics),
            "processes": gathered(own, trainer.world_size),
            "logs": {type(logger).__name__: position(logger) for logger in trainer.loggers},
        }

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Read the state from a checkpoint."""
        self.saved = checkpoint.get(RESUME_KEY, {})

    def on_restored(self, trainer: pl.Trainer) -> None:
        """Restore the state.

        Raises:
            UsageError: If flags change an optimiser setting that a schedule determines, change the number of processes
                within an epoch, or name an unknown metric, or if the checkpoint is damaged.
        """
        if not self.saved:
            return
        try:
            self._require_fit(trainer)
            self._apply_changed_settings(trainer)
            trainer.should_stop = self.stay_stopped and bool(self.saved["should_stop"])
            trainer.callback_metrics.update(self.saved["callback_metrics"])
            self.on_epoch_resumed(trainer)
        except UsageError:
            raise
        except Exception as error:
            raise UsageError(f"the checkpoint is damaged: {RESUME_KEY}: {type(error).__name__}: {error}") from error

    def on_epoch_resumed(self, trainer: pl.Trainer) -> None:
        """Restore partial metrics, which a hook at the start of an epoch may have reset."""
        processes = self.saved.get("processes", [])
        if len(processes) == trainer.world_size:
            own = processes[trainer.global_rank]
            restore_results(trainer, own["results"])
            model = trainer.lightning_module
            restore_metrics(model, own["metrics"], model.device)

    def _require_fit(self, trainer: Any) -> None:
        """Raise UsageError if the run cannot resume with these flags, before any of its files is changed."""
        processes = len(self.saved["processes"])
        if processes != trainer.world_size and trainer.fit_loop.epoch_loop.mid_epoch:
            raise UsageError(f"the checkpoint was written within an epoch of {processes} processes: use as many")
        if trainer.current_epoch >= (trainer.check_val_every_n_epoch or 1):  # all metrics are known
            for callback in trainer.callbacks:
                monitor = getattr(callback, "monitor", None)
                if monitor is not None and monitor not in self.saved["callback_metrics"]:
                    found = ", ".join(sorted(self.saved["callback_metrics"]))
                    raise UsageError(f"--monitor {monitor}: the run has no such metric, but {found}")
        for fresh, optimizer in zip(self.settings, trainer.optimizers, strict=True):
            for wanted, group in zip(fresh, optimizer.param_groups, strict=True):
                if any(type(group.get(name)) is not type(value) for name, value in wanted.items() if name != "fused"):
                    raise UsageError("the checkpoint is damaged: its optimiser lacks settings")

    def _apply_changed_settings(self, trainer: pl.Trainer) -> None:
        """Apply the settings that flags changed, since Lightning restores those of the checkpoint."""
        before = [group for groups in self.saved["settings"] for group in groups]
        now = [group for groups in self.settings for group in groups]
        restored = [group for optimizer in trainer.optimizers for group in optimizer.param_groups]
        for was, wanted, group in zip(before, now, restored, strict=False):
            changed = {name: value for name, value in wanted.items() if value != was.get(name)}
            if SCHEDULED & changed.keys() and trainer.lr_scheduler_configs:
                names = " and ".join(sorted({"lr", "momentum"} & changed.keys()) or changed)
                raise UsageError(
                    f"{names} of the optimiser cannot change now: a learning rate schedule goes on from the "
                    "checkpoint. Leave the flag out, or start a new run"
                )
            group.update(changed)

    def on_validation_start(self, trainer: Any, pl_module: pl.LightningModule) -> None:
        """Seed the random numbers of a validation, and save the metrics before it."""
        seed_by(trainer, self.seed, VALIDATION)
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self.before_validation = changed_metrics(pl_module, self.fresh_metrics)

    def on_validation_end(self, trainer: Any, pl_module: pl.LightningModule) -> None:
        """Mark the validation as finished, for checkpoints that are written now."""
        loop = trainer.fit_loop.epoch_loop
        if trainer.state.fn == "fit" and not trainer.sanity_checking and isinstance(loop, EpochLoop):
            loop.pending = "rest"

    def on_boundary(self, trainer: pl.Trainer, epoch_is_over: bool) -> None:
        """Drop the metrics saved before the validation."""
        self.before_validation = None

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Seed the random numbers of a test."""
        seed_by(trainer, self.seed, VALIDATION)

    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Seed the random numbers of a prediction."""
        seed_by(trainer, self.seed, VALIDATION)


def plain_settings(group: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a parameter group that are numbers, bools or tuples of numbers."""
    return {name: value for name, value in group.items() if isinstance(value, bool | int | float | tuple)}


def save_results(trainer: Any) -> list[dict[str, Any]]:
    """Return the partial results of this epoch, which the model has logged with ``on_epoch``, and its metrics.

    Metrics logged for a step alone are included, since Lightning resets them at the end of the epoch.
    """
    names = ("fx", "name", "prog_bar", "logger", "on_step", "on_epoch", "enable_graph", "add_dataloader_idx")
    return [
        {
            "key": key,
            "meta": {name: getattr(result.meta, name) for name in (*names, "dataloader_idx", "metric_attribute")},
            "reduce_fx": result.meta.reduce_fx.__name__,
            "sync_dist": result.meta.sync.should,
            "rank_zero_only": result.meta.sync.rank_zero_only,
            "value": result.value.detach().cpu() if result.is_tensor else None,
            "batch_size": result.cumulated_batch_size.cpu() if hasattr(result, "cumulated_batch_size") else None,
        }
        for key, result in trainer.fit_loop.epoch_loop._results.items()
        if (result.meta.on_epoch or not result.is_tensor) and not result.has_reset
    ]


def restore_results(trainer: Any, saved: list[dict[str, Any]]) -> None:
    """Restore the results of ``save_results``."""
    model = trainer.lightning_module
    for each in saved:
        meta = _Metadata(**each["meta"], reduce_fx=getattr(torch, each["reduce_fx"]))
        meta.sync = _Sync(_should=each["sync_dist"], fn=trainer.strategy.reduce, rank_zero_only=each["rank_zero_only"])
        result = _ResultMetric(meta, is_tensor=each["value"] is not None)
        if each["value"] is None:
            result.value = model.get_submodule(each["meta"]["metric_attribute"])
        else:
            result.value = each["value"]
            if each["batch_size"] is not None:
                result.cumulated_batch_size = each["batch_size"]
        result._update_count = 1
        trainer.fit_loop.epoch_loop._results[each["key"]] = result.to(model.device)


def gathered(own: Any, world_size: int) -> list[Any]:
    """Return the values of all processes of a distributed run, by rank."""
    if world_size == 1:
        return [own]
    everyone: list[Any] = [None] * world_size
    torch.distributed.all_gather_object(everyone, own)
    return everyone


def position(logger: Logger) -> Any:
    """Return the position of a logger, for ``loggers.build_loggers``; None if it has none."""
    return logger.position() if hasattr(logger, "position") else None
