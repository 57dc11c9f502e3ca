"""Block 2: a LightningModule that takes the flags, and brings its data."""

from argparse import ArgumentParser

import pytorch_lightning as pl
import torch
from torch.nn import functional as F
from torch.optim import Adam
from torch.utils.data import DataLoader

from data.digits import Digits

parser = ArgumentParser()
parser.add_argument("--layer_1_dim", type=int, default=128)
parser.add_argument("--layer_2_dim", type=int, default=256)
parser.add_argument("--batch_size", type=int, default=64)
parser.add_argument("--learning_rate", type=float, default=1e-3)  # slip: the page reads it and never declares it


class LitMNIST(pl.LightningModule):
    def __init__(self, hparams):
        super().__init__()
        self.save_hyperparameters(hparams)  # slip: since Lightning 1.0, self.hparams cannot be assigned

        self.layer_1 = torch.nn.Linear(28 * 28, hparams.layer_1_dim)
        self.layer_2 = torch.nn.Linear(hparams.layer_1_dim, hparams.layer_2_dim)
        self.layer_3 = torch.nn.Linear(hparams.layer_2_dim, 10)

    def forward(self, x):
        x = F.relu(self.layer_1(x.flatten(1)))
        return self.layer_3(F.relu(self.layer_2(x)))

    def training_step(self, batch, batch_idx):
        x, y = batch
        return F.cross_entropy(self(x), y)

    def train_dataloader(self):
        digits = Digits({"batch_size": self.hparams.batch_size, "num_workers": 0})
        digits.setup("fit")
        mnist_train = digits.splits["train"]
        return DataLoader(mnist_train, batch_size=self.hparams.batch_size)

    def configure_optimizers(self):
        return Adam(self.parameters(), lr=self.hparams.learning_rate)


hparams, _ = parser.parse_known_args()  # slip: the page calls parse_args() of no parser
model = LitMNIST(hparams)
