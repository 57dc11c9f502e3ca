"""Logistic regression on the pixels: a model to start from, chosen by --model_name my_model.

It trains unmodified. Comments mark what to edit.
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


# Put helper classes above. Of several LightningModules in a file, the model is the one that no other derives from.
class MyModel(pl.LightningModule):
    """Classify images x [B, 1, 28, 28]; the ten classes are y [B]."""

    # To set the default of --data_name for this model, name a file in data/: data_name = "my_data"

    # The metric that selects best.ckpt. Lower is better; where higher is better, as for "val_accuracy", add the line
    # monitor_mode = "max"
    monitor = "val_loss"

    @staticmethod
    def add_model_specific_args(parent_parser: ArgumentParser) -> ArgumentParser:
        """Add the hyperparameters."""
        parser = ArgumentParser(parents=[parent_parser], add_help=False)
        group = parser.add_argument_group("MyModel")
        # Add your flags here: they appear on the command line and in --help, and checkpoints store their values.
        group.add_argument("--learning_rate", type=positive_float, default=1e-2, help="step size of Adam")
        return parser

    # {% if cookiecutter.sweeps in ["optuna", "both"] %}
    @staticmethod
    def search_space(trial: Any) -> None:
        """Draw the hyperparameters that a sweep searches."""
        # Add the flags to search, under their own names: by suggest_int, suggest_float (with log=True for ranges over
        # orders of magnitude) or suggest_categorical(name, [values]).
        trial.suggest_float("learning_rate", 1e-4, 1e-1, log=True)

    # {% endif %}
    def __init__(self, hparams: Namespace | Mapping[str, Any]) -> None:
        """Build the layers."""
        super().__init__()
        # Below this line read self.hparams.NAME: restored from a checkpoint, hparams itself is a dict.
        self.save_hyperparameters(hparams)
        # Build your layers here.
        self.layer = torch.nn.Linear(28 * 28, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits [B, 10] of images [B, 1, 28, 28]."""
        # Compute your output here.
        return self.layer(x.flatten(1))

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        """Log train_loss; return it to be minimised."""
        return self._step(batch, "train")

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        """Log val_loss and val_accuracy."""
        self._step(batch, "val")

    def test_step(self, batch: list[Tensor], batch_idx: int) -> None:
        """Log test_loss and test_accuracy."""
        self._step(batch, "test")

    def _step(self, batch: list[Tensor], stage: str) -> Tensor:
        """Log the metrics of a batch under the name of the stage; return the loss."""
        # Change the loss and the metrics here. The batch comes from the data module.
        x, y = batch
        logits = self(x)
        loss = F.cross_entropy(logits, y)
        metrics = {f"{stage}_loss": loss}
        if stage != "train":
            metrics[f"{stage}_accuracy"] = (logits.argmax(1) == y).float().mean()
        # Training logs every --log_every_n_steps steps; validation and test log the mean over all samples.
        self.log_dict(metrics, prog_bar=True, batch_size=len(y), sync_dist=stage != "train")
        return loss

    # Delete the steps that your model does not have: without test_step, for example, it is not tested.
    def predict_step(self, batch: list[Tensor], batch_idx: int) -> dict[str, Tensor]:
        """Return the most probable class of each image, int64 [B], and its probability, float [B]."""
        probability, label = self(batch[0]).softmax(1).max(1)
        return {"label": label, "probability": probability}

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return the optimiser."""
        # Change the optimiser here. For --optimizer, --weight_decay, --lr_schedule cosine and --warmup_steps, call
        # add_optimizer_args(group) of harness.optimizer_flags above, without --learning_rate, and here
        #     return build_optimizer(self)  # of harness.optimizers
        # To add a schedule of your own, return
        #     {"optimizer": optimizer, "lr_scheduler": torch.optim.lr_scheduler.StepLR(optimizer, 5)}
        # For several optimisers, set self.automatic_optimization = False in __init__ and step them in training_step.
        return torch.optim.Adam(self.parameters(), lr=self.hparams.learning_rate, fused=can_fuse(self))
