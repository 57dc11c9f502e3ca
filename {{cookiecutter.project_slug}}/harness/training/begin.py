"""The begin of a run: its files, its loggers, and the record of its model."""

from contextlib import suppress
from typing import Any

import pytorch_lightning as pl

from harness.cli.run_flags import monitored
from harness.runs.run import Run
from harness.training.boundaries import BoundaryCallback
from harness.training.loggers import RunCSVLogger

SPLITTING = {"FSDPStrategy", "DeepSpeedStrategy", "ModelParallelStrategy"}  # a process has a part of the parameters


class BeginRun(BoundaryCallback):
    """Writes config.yaml and run.json, and starts the loggers of a run that resumes, once everything is right.

    Args:
        run: the run.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.is_counted = False

    def on_restored(self, trainer: Any) -> None:
        """Begin a run of fit."""
        self.begin(trainer)
        if self.run.loggers:
            trainer.loggers = [*self.run.loggers, *trainer.loggers]
            data = getattr(trainer, "datamodule", None)
            hparams = {**(data.hparams if data is not None else {}), **trainer.lightning_module.hparams}
            for logger in self.run.loggers:
                logger.log_hyperparams(hparams)
                logger.save()

    def on_validation_start(self, trainer: Any, pl_module: pl.LightningModule) -> None:
        """Begin a run of validate, or of export, which restores the model with it."""
        if trainer.state.fn == "validate" and self.run.args.command in ("validate", "export"):
            self.begin(trainer)

    def on_test_start(self, trainer: Any, pl_module: pl.LightningModule) -> None:
        """Begin a run of test."""
        if self.run.args.command == "test":
            self.begin(trainer)

    def on_predict_start(self, trainer: Any, pl_module: pl.LightningModule) -> None:
        """Begin a run of predict."""
        self.begin(trainer)

    def on_boundary(self, trainer: Any, epoch_is_over: bool) -> None:
        """Record the number of parameters after the first batch, which gives lazy layers their shapes."""
        if not self.is_counted:
            self.is_counted = True
            self.run.add_facts(**count_parameters(trainer, trainer.lightning_module))

    def on_train_end(self, trainer: Any, pl_module: pl.LightningModule) -> None:
        """Record which rows of metrics.csv training has written: later ones are of the best weights."""
        for logger in trainer.loggers:
            if isinstance(logger, RunCSVLogger):
                self.run.add_facts(fit_rows=logger.position())

    def begin(self, trainer: Any) -> None:
        """Begin the run, and record what is known of its model."""
        model = trainer.lightning_module
        monitor, mode = monitored(self.run.args, model)
        counted = count_parameters(trainer, model)
        self.is_counted = bool(counted)
        self.run.begin(monitor=monitor, monitor_mode=mode, **counted)


def count_parameters(trainer: Any, model: pl.LightningModule) -> dict[str, int]:
    """Return the number of parameters, and of those that are trained.

    Args:
        trainer: the Trainer; a strategy that splits the parameters gives no numbers.
        model: the model; a lazy layer without a shape gives no numbers.
    """
    if SPLITTING & {base.__name__ for base in type(trainer.strategy).__mro__}:
        return {}
    with suppress(ValueError, RuntimeError):
        sizes = [(parameter.numel(), parameter.requires_grad) for parameter in model.parameters()]
        return {
            "parameters": sum(size for size, _ in sizes),
            "trainable_parameters": sum(size for size, is_trainable in sizes if is_trainable),
        }
    return {}
