"""Coloured shapes on coloured ground, drawn with a fixed seed; an ordinary data module with ordinary loaders."""

from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, Subset, TensorDataset, random_split

from harness.flags import positive_int


class Colours(pl.LightningDataModule):
    """Batches ``(x, y)``: x float32 [B, 3, 32, 32], y int64 [B] in 0..9, of two shapes in five colours."""

    @staticmethod
    def add_data_specific_args(parent_parser: ArgumentParser) -> ArgumentParser:
        parser = ArgumentParser(parents=[parent_parser], add_help=False)
        parser.add_argument("--batch_size", type=positive_int, default=32, help="samples per batch")
        return parser

    def __init__(self, hparams: Namespace | Mapping[str, Any]) -> None:
        super().__init__()
        self.save_hyperparameters(hparams)
        self.parts: list[Subset[Any]] = []

    def setup(self, stage: str) -> None:
        generator = torch.Generator().manual_seed(0)
        y = torch.randint(10, (480,), generator=generator)
        ground, paint = torch.rand(2, 5, 3, generator=generator)
        rows, columns = torch.meshgrid(torch.linspace(-1, 1, 32), torch.linspace(-1, 1, 32), indexing="ij")
        inside = torch.stack([rows**2 + columns**2 < 0.4, (rows.abs() + columns.abs()) % 0.5 < 0.25])[y // 5]
        x = torch.where(inside[:, None], paint[y % 5, :, None, None], 0.5 * ground[y % 5, :, None, None])
        x = x + 0.05 * torch.randn(x.shape, generator=generator)
        self.parts = random_split(TensorDataset(x, y), [320, 96, 64], generator=generator)

    def train_dataloader(self) -> DataLoader[Any]:
        return DataLoader(self.parts[0], batch_size=self.hparams.batch_size, shuffle=True, drop_last=True)

    def val_dataloader(self) -> DataLoader[Any]:
        return DataLoader(self.parts[1], batch_size=self.hparams.batch_size)

    def test_dataloader(self) -> DataLoader[Any]:
        return DataLoader(self.parts[2], batch_size=self.hparams.batch_size)
