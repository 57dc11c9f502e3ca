"""A model and data as small as can be, with flags as scripts of Lightning 1.x declare them."""

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, TensorDataset


class Lines(pl.LightningDataModule):
    def __init__(self, batch_size=8, size=64, **kwargs):
        super().__init__()
        self.batch_size, self.size = batch_size, size

    @staticmethod
    def add_data_specific_args(parser):
        parser.add_argument("--batch_size", type=int, default=8)
        parser.add_argument("--size", type=int, default=64)
        return parser

    def train_dataloader(self):
        x = torch.randn(self.size, 3, generator=torch.Generator().manual_seed(0))
        return DataLoader(TensorDataset(x, x.sum(1, keepdim=True)), batch_size=self.batch_size)

    val_dataloader = test_dataloader = train_dataloader


class Line(pl.LightningModule):
    def __init__(self, lr=0.1, **kwargs):
        super().__init__()
        self.save_hyperparameters("lr")
        self.layer = torch.nn.Linear(3, 1)

    @staticmethod
    def add_model_specific_args(parent_parser):
        parent_parser.add_argument("--lr", type=float, default=0.1)
        return parent_parser

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = torch.nn.functional.mse_loss(self.layer(x), y)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch, batch_idx):
        x, y = batch
        self.log("val_loss", torch.nn.functional.mse_loss(self.layer(x), y))

    def test_step(self, batch, batch_idx):
        x, y = batch
        self.log("test_loss", torch.nn.functional.mse_loss(self.layer(x), y))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.hparams.lr)
