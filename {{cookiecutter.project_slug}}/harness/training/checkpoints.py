"""The callbacks that write checkpoints: best.ckpt, more of the best, and last.ckpt."""

import re
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Checkpoint, ModelCheckpoint

from harness.runs.run import BEST, LAST
from harness.training.boundaries import BoundaryCallback, in_mid_step
from harness.training.guards import require_finite_weights


def build_checkpoints(args: Namespace, folder: Path, monitor: str | None, mode: str) -> Iterator[pl.Callback]:
    """Yield the callbacks that write ``best.ckpt``, more of the best if asked for, and ``last.ckpt``."""
    weights_only = args.save_weights_only
    common = {"dirpath": folder, "enable_version_counter": False, "save_weights_only": weights_only}
    if monitor is not None and args.save_top_k != 0:
        yield Best(filename=Path(BEST).stem, monitor=monitor, mode=mode, **common)
        if args.save_top_k != 1:
            name, k = "epoch={epoch:03}-step={step}", args.save_top_k
            yield TopK(filename=name, monitor=monitor, mode=mode, save_top_k=k, auto_insert_metric_name=False, **common)
    yield Last(folder / LAST, args.save_every_n_train_steps, args.save_every_minutes, save_weights_only=weights_only)


class Best(ModelCheckpoint):
    """ModelCheckpoint that writes ``best.ckpt``; it resolves stored paths against the run, which can be moved."""

    names = re.escape(BEST)  # of the files that it writes
    on_train_batch_end = pl.Callback.on_train_batch_end  # it writes after epochs

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save, unless the weights are not finite."""
        require_finite_weights(trainer)
        super().on_train_epoch_end(trainer, pl_module)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save, unless the weights are not finite."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            require_finite_weights(trainer)
        super().on_validation_end(trainer, pl_module)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the best scores; if the files are not in this run, comparison restarts."""
        folder = Path(self.dirpath or "")

        def moved_to(path: str) -> str:
            name = Path(path).name  # the rest of the path may be of a stranger
            return str(folder / name) if re.fullmatch(self.names, name) else ""

        paths = {name: moved_to(state_dict[name]) for name in ("best_model_path", "kth_best_model_path")}
        scores = {moved_to(path): score for path, score in state_dict["best_k_models"].items() if moved_to(path)}
        if folder.exists() and (self.save_top_k != 1 or Path(paths["best_model_path"]).is_file()):
            own = {**state_dict, **paths, "last_model_path": "", "best_k_models": scores, "dirpath": self.dirpath}
            super().load_state_dict(own)


class TopK(Best):
    """Best that keeps several files; Lightning distinguishes callbacks of one class by their monitor alone."""

    names = r"epoch=\d+-step=\d+\.ckpt"


class Last(Checkpoint, BoundaryCallback):
    """Writes ``last.ckpt`` after every epoch, N optimiser steps or minutes, and before a signal ends the run.

    Args:
        path: the file.
        every_n_train_steps: the N, or None.
        every_minutes: the minutes, or None.
        save_weights_only: leave out the state that fit needs to resume.
    """

    def __init__(
        self, path: Path, every_n_train_steps: int | None, every_minutes: float | None, *, save_weights_only: bool
    ) -> None:
        self.path, self.save_weights_only = path, save_weights_only
        self.every_n_train_steps, self.every_minutes = every_n_train_steps, every_minutes
        self.step = 0  # of the last file
        self.time = monotonic()  # of the last file

    def on_restored(self, trainer: pl.Trainer) -> None:
        """Count the minutes from here."""
        self.time = monotonic()

    def on_boundary(self, trainer: pl.Trainer, epoch_is_over: bool) -> None:
        """Write the file if it is time."""
        if epoch_is_over or (self.is_due(trainer) and trainer.global_step != self.step and not in_mid_step(trainer)):
            self.save(trainer)

    def is_due(self, trainer: pl.Trainer) -> bool:
        """Return whether N steps or the minutes are over; all processes return the same."""
        if self.every_n_train_steps and trainer.global_step % self.every_n_train_steps == 0:
            return True
        if self.every_minutes is None:
            return False
        is_due = monotonic() - self.time >= 60 * self.every_minutes
        return trainer.strategy.reduce_boolean_decision(is_due, all=False) if trainer.world_size > 1 else is_due

    def save(self, trainer: pl.Trainer) -> None:
        """Write the file.

        Raises:
            RunError: If the weights are not finite.
        """
        require_finite_weights(trainer)
        trainer.save_checkpoint(self.path, self.save_weights_only)
        self.step, self.time = trainer.global_step, monotonic()
