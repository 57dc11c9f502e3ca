"""Copies of a run's directory, as a kill would leave it."""

import shutil

from harness.training.boundaries import BoundaryCallback, in_mid_step
from harness.training.checkpoints import Last


class Snapshots(BoundaryCallback):
    """Copies the directory of the run at each boundary, as it is after a kill there."""

    def __init__(self):
        self.number = 0

    def on_boundary(self, trainer, epoch_is_over):
        if in_mid_step(trainer) and not epoch_is_over:
            return
        next(callback for callback in trainer.callbacks if isinstance(callback, Last)).save(trainer)
        shutil.copytree(trainer.default_root_dir, f"snapshots/{self.number:02}")
        self.number += 1
