"""Regression on a table of numbers and categories; the model brings the table along."""

from argparse import ArgumentParser
from itertools import pairwise
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from torchmetrics import MeanAbsoluteError, MetricCollection, R2Score

NUMBERS, CATEGORIES = 6, 4


class Table(Dataset[dict[str, Tensor]]):
    """Rows of a table, as dicts, computed from a seed."""

    def __init__(self, rows: int, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.numbers = 3 + 2 * torch.randn(rows, NUMBERS, generator=generator)
        self.category = torch.randint(CATEGORIES, (rows,), generator=generator)
        interaction = self.numbers[:, 0] * (self.category == 1) - self.numbers[:, 1] * (self.category == 2)
        self.target = interaction + self.numbers[:, 2].sin() + 0.1 * torch.randn(rows, generator=generator)

    def __len__(self) -> int:
        return len(self.target)

    def __getitem__(self, row: int) -> dict[str, Tensor]:
        return {"numbers": self.numbers[row], "category": self.category[row], "target": self.target[row]}


class Tabular(pl.LightningModule):
    """Foretell a number [B] from numbers [B, 6] and a category [B]."""

    monitor = "val_R2Score"
    monitor_mode = "max"

    @staticmethod
    def add_model_specific_args(parent_parser: ArgumentParser) -> ArgumentParser:
        parser = ArgumentParser(parents=[parent_parser])
        parser.add_argument("--batch_size", type=int, default=64)
        parser.add_argument("--hidden", type=int, nargs="*", default=[64, 32], help="units of each hidden layer")
        parser.add_argument("--learning_rate", type=float, default=5e-3)
        return parser

    def __init__(self, hparams: Any) -> None:
        super().__init__()
        self.save_hyperparameters(hparams)
        self.embedding = nn.Embedding(CATEGORIES, 4)
        sizes = [NUMBERS + 4, *self.hparams.hidden]
        layers = [
            nn.Sequential(nn.Linear(one, next_), nn.BatchNorm1d(next_), nn.ReLU()) for one, next_ in pairwise(sizes)
        ]
        self.net = nn.Sequential(*layers, nn.Linear(sizes[-1], 1))
        metrics = MetricCollection([MeanAbsoluteError(), R2Score()])
        self.val_metrics, self.test_metrics = metrics.clone(prefix="val_"), metrics.clone(prefix="test_")
        self.register_buffer("mean", torch.zeros(NUMBERS))
        self.register_buffer("deviation", torch.ones(NUMBERS))

    def setup(self, stage: str) -> None:
        if stage == "fit":
            self.train_table, self.val_table = Table(1000, 0), Table(200, 1)
            self.mean.copy_(self.train_table.numbers.mean(0))
            self.deviation.copy_(self.train_table.numbers.std(0))
        elif stage == "validate":
            self.val_table = Table(200, 1)
        else:
            self.test_table = Table(200, 2)

    def train_dataloader(self) -> DataLoader[Any]:
        return DataLoader(self.train_table, batch_size=self.hparams.batch_size, shuffle=True, drop_last=True)

    def val_dataloader(self) -> DataLoader[Any]:
        return DataLoader(self.val_table, batch_size=self.hparams.batch_size)

    def test_dataloader(self) -> DataLoader[Any]:
        return DataLoader(self.test_table, batch_size=self.hparams.batch_size)

    def predict_dataloader(self) -> DataLoader[Any]:
        return self.test_dataloader()

    def forward(self, numbers: Tensor, category: Tensor) -> Tensor:
        """Return [B]."""
        numbers = (numbers - self.mean) / self.deviation
        return self.net(torch.cat([numbers, self.embedding(category)], dim=1))[:, 0]

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        loss = F.mse_loss(self(batch["numbers"], batch["category"]), batch["target"])
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        self.val_metrics(self(batch["numbers"], batch["category"]), batch["target"])
        self.log_dict(self.val_metrics)

    def test_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        self.test_metrics(self(batch["numbers"], batch["category"]), batch["target"])
        self.log_dict(self.test_metrics)

    def predict_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        return self(batch["numbers"], batch["category"])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=self.hparams.learning_rate)
