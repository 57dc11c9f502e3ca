"""The network, its flags and how it is trained."""

from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics.classification import MulticlassAccuracy

from harness.flags import positive_float, positive_int

from .blocks import Residual, convolution

CLASSES = 10


class ResNet(pl.LightningModule):
    """Sort images x [B, 3, 32, 32] into ten classes y [B] (He et al., https://arxiv.org/abs/1512.03385)."""

    data_name = "colours"
    monitor, monitor_mode = "val_accuracy", "max"

    @staticmethod
    def add_model_specific_args(parent_parser: ArgumentParser) -> ArgumentParser:
        parser = ArgumentParser(parents=[parent_parser], add_help=False)
        group = parser.add_argument_group("ResNet")
        group.add_argument("--width", type=positive_int, default=8, help="channels of the first stage")
        group.add_argument("--blocks", type=positive_int, nargs="+", default=[1, 1, 1], help="in each stage")
        group.add_argument("--learning_rate", type=positive_float, default=0.05, help="largest step size of SGD")
        group.add_argument("--weight_decay", type=float, default=5e-4)
        return parser

    def __init__(self, hparams: Namespace | Mapping[str, Any]) -> None:
        super().__init__()
        self.save_hyperparameters(hparams)
        inputs, stages = self.hparams.width, []
        for stage, blocks in enumerate(self.hparams.blocks):
            outputs = self.hparams.width * 2**stage
            for _ in range(blocks):
                stages.append(Residual(inputs, outputs, stride=1 if inputs == outputs else 2))
                inputs = outputs
        self.stem = convolution(3, self.hparams.width)
        self.stages = nn.Sequential(*stages, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.classes = nn.Linear(inputs, CLASSES)
        self.train_accuracy, self.val_accuracy, self.test_accuracy = (MulticlassAccuracy(CLASSES) for _ in range(3))
        self.example_input_array = torch.zeros(2, 3, 32, 32)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits [B, 10]."""
        return self.classes(self.stages(F.relu(self.stem(x))))

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        x, y = batch
        logits = self(x)
        loss = F.cross_entropy(logits, y, label_smoothing=0.1)
        self.train_accuracy(logits, y)
        self.log("train_loss", loss)
        self.log("train_accuracy", self.train_accuracy, on_step=False, on_epoch=True, prog_bar=True)
        return loss

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        self.val_accuracy(self(batch[0]), batch[1])
        self.log("val_accuracy", self.val_accuracy, prog_bar=True)

    def test_step(self, batch: list[Tensor], batch_idx: int) -> None:
        self.test_accuracy(self(batch[0]), batch[1])
        self.log("test_accuracy", self.test_accuracy)

    def predict_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        return self(batch[0]).argmax(1)

    def configure_optimizers(self) -> dict[str, Any]:
        """Return SGD, whose step size rises and falls once in the run."""
        rate = self.hparams.learning_rate
        optimizer = torch.optim.SGD(
            self.parameters(), lr=rate, momentum=0.9, nesterov=True, weight_decay=self.hparams.weight_decay
        )
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=rate, total_steps=steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
