"""What Lightning leaves out of a checkpoint, kept and put back: so that a run goes on as if it had never stopped."""

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
    """Keeps metrics under way, positions in log files and optimiser settings in checkpoints, and puts them back.

    Args:
        seed: decides the random numbers of validation and test.
        stay_stopped: whether a run that early stopping had stopped stays so.
    """

    def __init__(self, seed: int, *, stay_stopped: bool) -> None:
        """Begin with nothing to put back."""
        self.seed, self.stay_stopped = seed, stay_stopped
        self.saved: dict[str, Any] = {}
        self.settings: list[list[dict[str, Any]]] = []
        self.fresh_metrics: State = {}
        self.before_validation: dict[str, Any] | None = None  # metrics, while a validation adds to its own

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Read optimisers and metrics as the flags made them, before a checkpoint's take their place."""
        self.fresh_metrics = read_metrics(pl_module)
        self.settings = [[plain_settings(group) for group in each.param_groups] for each in trainer.optimizers]

    def on_save_checkpoint(self, trainer: Any, pl_module: pl.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Add what is kept."""
        if not isinstance(trainer.fit_loop.epoch_loop, EpochLoop):
            return
        # A validation that was broken off begins anew, and one that is over begins the next with nothing.
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
        """Take what is to be put back."""
        self.saved = checkpoint.get(RESUME_KEY, {})

    def on_restored(self, trainer: pl.Trainer) -> None:
        """Put everything back.

        Raises:
            UsageError: flags ask for optimiser settings that a learning rate schedule decides, or for another number of
                processes within an epoch, or for a metric that there is not; or the checkpoint is damaged.
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
        """Put back the metrics under way, also where a hook for the start of an epoch has reset them."""
        processes = self.saved.get("processes", [])
        if len(processes) == trainer.world_size:
            own = processes[trainer.global_rank]
            restore_results(trainer, own["results"])
            model = trainer.lightning_module
            restore_metrics(model, own["metrics"], model.device)

    def _require_fit(self, trainer: Any) -> None:
        """Raise UsageError if the run cannot go on so: now, before any of its files is changed."""
        processes = len(self.saved["processes"])
        if processes != trainer.world_size and trainer.fit_loop.epoch_loop.mid_epoch:
            raise UsageError(f"the checkpoint was written within an epoch of {processes} processes: use as many")
        if trainer.current_epoch >= (trainer.check_val_every_n_epoch or 1):  # all metrics were there once
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
        """Give optimisers the settings that flags changed: Lightning gives them those of the checkpoint."""
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
        """Make random numbers in validation a function of the seed; keep the metrics as they are before it."""
        seed_by(trainer, self.seed, VALIDATION)
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self.before_validation = changed_metrics(pl_module, self.fresh_metrics)

    def on_validation_end(self, trainer: Any, pl_module: pl.LightningModule) -> None:
        """Let a checkpoint that is written now know that it need not validate again."""
        loop = trainer.fit_loop.epoch_loop
        if trainer.state.fn == "fit" and not trainer.sanity_checking and isinstance(loop, EpochLoop):
            loop.pending = "rest"

    def on_boundary(self, trainer: pl.Trainer, epoch_is_over: bool) -> None:
        """Forget what was before the validation."""
        self.before_validation = None

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Make random numbers in test a function of the seed."""
        seed_by(trainer, self.seed, VALIDATION)

    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Make random numbers in prediction a function of the seed."""
        seed_by(trainer, self.seed, VALIDATION)


def plain_settings(group: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a parameter group that are numbers, switches, or tuples of numbers."""
    return {name: value for name, value in group.items() if isinstance(value, bool | int | float | tuple)}


def save_results(trainer: Any) -> list[dict[str, Any]]:
    """Return what the model has logged for this epoch's mean, sum, largest or smallest value, as far as it got.

    Metrics that are logged for a step alone belong to it: Lightning resets them at the end of the epoch.
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
    """Put back what ``save_results`` returned."""
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
    """Return what each process of a distributed run has, in the order of their ranks."""
    if world_size == 1:
        return [own]
    everyone: list[Any] = [None] * world_size
    torch.distributed.all_gather_object(everyone, own)
    return everyone


def position(logger: Logger) -> Any:
    """Return how far a logger has got, as ``loggers.build_loggers`` takes it; None if it cannot tell."""
    return logger.position() if hasattr(logger, "position") else None
