"""The classifier of the old Lightning page: three linear layers."""

from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.nn import functional as F

from harness.flags import positive_float, positive_int
from harness.optimizers import can_fuse


class LitMNIST(pl.LightningModule):
    """Classify images x [B, 1, 28, 28]; the ten classes are y [B]."""

    monitor = "val_loss"  # best.ckpt holds the weights of the epoch with the lowest value

    @staticmethod
    def add_model_specific_args(parent_parser: ArgumentParser) -> ArgumentParser:
        """Add the hyperparameters."""
        parser = ArgumentParser(parents=[parent_parser], add_help=False)
        group = parser.add_argument_group("LitMNIST")
        group.add_argument("--layer_1_dim", type=positive_int, default=128, help="units of the first layer")
        group.add_argument("--layer_2_dim", type=positive_int, default=256, help="units of the second layer")
        group.add_argument("--learning_rate", type=positive_float, default=3e-3, help="step size of Adam")
        return parser

    # {% if cookiecutter.sweeps in ["optuna", "both"] %}
    @staticmethod
    def search_space(trial: Any) -> None:
        """Draw the hyperparameters that a sweep searches."""
        trial.suggest_int("layer_1_dim", 32, 512, log=True)
        trial.suggest_int("layer_2_dim", 32, 512, log=True)
        trial.suggest_float("learning_rate", 1e-4, 1e-1, log=True)

    # {% endif %}
    def __init__(self, hparams: Namespace | Mapping[str, Any]) -> None:
        """Build the layers; a checkpoint stores ``hparams`` and restores it as a dict."""
        super().__init__()
        self.save_hyperparameters(hparams)
        self.layer_1 = torch.nn.Linear(28 * 28, self.hparams.layer_1_dim)
        self.layer_2 = torch.nn.Linear(self.hparams.layer_1_dim, self.hparams.layer_2_dim)
        self.layer_3 = torch.nn.Linear(self.hparams.layer_2_dim, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits [B, 10] of images [B, 1, 28, 28]."""
        x = F.relu(self.layer_1(x.flatten(1)))
        x = F.relu(self.layer_2(x))
        return self.layer_3(x)

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        """Log train_loss; return it to be minimised."""
        return self._step(batch, "train")

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        """Log val_loss and val_accuracy."""
        self._step(batch, "val")

    def test_step(self, batch: list[Tensor], batch_idx: int) -> None:
        """Log test_loss and test_accuracy."""
        self._step(batch, "test")

    def predict_step(self, batch: list[Tensor], batch_idx: int) -> dict[str, Tensor]:
        """Return the most probable class of each image, int64 [B], and its probability, float [B]."""
        probability, label = self(batch[0]).softmax(1).max(1)
        return {"label": label, "probability": probability}

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return Adam over all layers."""
        return torch.optim.Adam(self.parameters(), lr=self.hparams.learning_rate, fused=can_fuse(self))

    def _step(self, batch: list[Tensor], stage: str) -> Tensor:
        """Log the metrics of a batch under the name of the stage; return the loss."""
        x, y = batch
        logits = self(x)
        loss = F.cross_entropy(logits, y)
        metrics = {f"{stage}_loss": loss}
        if stage != "train":
            metrics[f"{stage}_accuracy"] = (logits.argmax(1) == y).float().mean()
        self.log_dict(metrics, prog_bar=True, batch_size=len(y), sync_dist=stage != "train")
        return loss
