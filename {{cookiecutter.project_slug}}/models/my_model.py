"""MyModel, on the command line by the name of this file: --model_name my_model. Say here what it is.

It trains as it stands: logistic regression on the pixels. What to change is said where it is to be changed.
"""

from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.nn import functional as F

from harness.flags import positive_float
from harness.optimizers import can_fuse


# Helper classes stand above. Of several LightningModules, the one that no other derives from is the model.
class MyModel(pl.LightningModule):
    """Sort images x [B, 1, 28, 28] into ten classes y [B]."""

    # Made for other data than digits? Name their file in data/, and --data_name is that unless told: data_name = "mine"

    # Which metric decides what best.ckpt holds. Lower is better; for a metric where higher is better, such as
    # "val_accuracy", add the line: monitor_mode = "max"
    monitor = "val_loss"

    @staticmethod
    def add_model_specific_args(parent_parser: ArgumentParser) -> ArgumentParser:
        """Add the hyperparameters."""
        parser = ArgumentParser(parents=[parent_parser], add_help=False)
        group = parser.add_argument_group("MyModel")
        # Add your flags here: they are on the command line, in --help, and in every checkpoint.
        group.add_argument("--learning_rate", type=positive_float, default=1e-2, help="step size of Adam")
        return parser

    # {% if cookiecutter.sweeps in ["optuna", "both"] %}
    @staticmethod
    def search_space(trial: Any) -> None:
        """Draw what a sweep searches."""
        # Add those of your flags that are worth searching, under their own names: suggest_int, suggest_float with
        # log=True for what spans orders of magnitude, suggest_categorical(name, [values]).
        trial.suggest_float("learning_rate", 1e-4, 1e-1, log=True)

    # {% endif %}
    def __init__(self, hparams: Namespace | Mapping[str, Any]) -> None:
        """Build the layers."""
        super().__init__()
        # From here on read self.hparams.NAME, not hparams: coming from a checkpoint it is a dict.
        self.save_hyperparameters(hparams)
        # Build your layers here.
        self.layer = torch.nn.Linear(28 * 28, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits [B, 10] of images [B, 1, 28, 28]."""
        # Compute your output here.
        return self.layer(x.flatten(1))

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        """Return the loss to minimise."""
        # Change the loss here. The batch is what your data module makes.
        x, y = batch
        loss = F.cross_entropy(self(x), y)
        # Logged every --log_every_n_steps; with on_epoch=True also as the mean over the epoch.
        self.log("train_loss", loss, prog_bar=True)
        return loss

    def _evaluate(self, batch: list[Tensor], stage: str) -> None:
        """Log the loss of a batch and the accuracy for ``stage``."""
        # Change the metrics here. What is logged is the mean over all samples, of all devices.
        x, y = batch
        logits = self(x)
        accuracy = (logits.argmax(1) == y).float().mean()
        metrics = {f"{stage}_loss": F.cross_entropy(logits, y), f"{stage}_accuracy": accuracy}
        self.log_dict(metrics, prog_bar=True, batch_size=len(y), sync_dist=True)

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        """Log val_loss and val_accuracy."""
        self._evaluate(batch, "val")

    def test_step(self, batch: list[Tensor], batch_idx: int) -> None:
        """Log test_loss and test_accuracy."""
        self._evaluate(batch, "test")

    # Leave out what your model does not do: without test_step, say, it is not tested.
    def predict_step(self, batch: list[Tensor], batch_idx: int) -> dict[str, Tensor]:
        """Return the most probable class of each image, int64 [B], and its probability, float [B]."""
        probability, label = self(batch[0]).softmax(1).max(1)
        return {"label": label, "probability": probability}

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return the optimiser."""
        # Change the optimiser here. With a learning rate schedule, return both:
        #     {"optimizer": optimizer, "lr_scheduler": torch.optim.lr_scheduler.StepLR(optimizer, 5)}
        # Several optimisers? Set self.automatic_optimization = False in __init__ and take the steps in training_step.
        return torch.optim.Adam(self.parameters(), lr=self.hparams.learning_rate, fused=can_fuse(self))
