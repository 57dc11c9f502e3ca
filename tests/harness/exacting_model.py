"""A model that draws random numbers wherever it can and logs in every way, to be resumed."""

import random
from argparse import ArgumentParser

import numpy as np
import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.optim import lr_scheduler
from torchmetrics import MeanMetric, MetricCollection
from torchmetrics.classification import MulticlassAccuracy


class Exacting(pl.LightningModule):
    monitor = "val_loss"

    @staticmethod
    def add_model_specific_args(parent_parser):
        parser = ArgumentParser(parents=[parent_parser], add_help=False)
        parser.add_argument("--schedule", choices=["none", "epoch", "step", "plateau", "plateau_step"], default="none")
        parser.add_argument("--learning_rate", type=float, default=0.01)
        return parser

    def __init__(self, hparams):
        super().__init__()
        self.save_hyperparameters(hparams)
        hidden = [nn.Linear(784, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.5)]
        self.net = nn.Sequential(nn.Flatten(), *hidden, nn.Linear(32, 10))
        self.train_accuracy, self.val_accuracy = MulticlassAccuracy(10), MulticlassAccuracy(10)
        self.means = MetricCollection({"mean": MeanMetric(), "same": MeanMetric()}, prefix="train_")

    def training_step(self, batch, batch_idx):
        x, y = batch
        x = x + torch.randn_like(x) * random.random() * np.random.rand()
        logits = self.net(x)
        loss = F.cross_entropy(logits, y)
        self.train_accuracy(logits, y)
        self.means(loss.detach())
        self.log("train_accuracy", self.train_accuracy, on_step=False, on_epoch=True)
        self.log_dict(self.means, on_step=False, on_epoch=True)
        self.log("train_loss", loss, on_step=True, on_epoch=True)
        for reduce_fx in ("max", "min", "sum"):
            self.log(f"{reduce_fx}_loss", loss, on_step=False, on_epoch=True, reduce_fx=reduce_fx)
        return loss

    def validation_step(self, batch, batch_idx):
        x, y = batch
        logits = self.net(x + torch.randn_like(x))
        self.val_accuracy(logits, y)
        self.log("val_accuracy", self.val_accuracy)
        self.log("val_loss", F.cross_entropy(logits, y))

    def test_step(self, batch, batch_idx):
        x, y = batch
        self.log("test_loss", F.cross_entropy(self.net(x + torch.randn_like(x)), y))

    def configure_optimizers(self):
        optimizer = torch.optim.Adam(self.parameters(), lr=self.hparams.learning_rate)
        schedules = {
            "none": lambda: None,
            "epoch": lambda: {"scheduler": lr_scheduler.StepLR(optimizer, 1, 0.5)},
            "step": lambda: {"scheduler": lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=99), "interval": "step"},
            "plateau": lambda: {
                "scheduler": lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, threshold=0.3),
                "monitor": "val_loss",
            },
            "plateau_step": lambda: {
                "scheduler": lr_scheduler.ReduceLROnPlateau(optimizer, patience=1, threshold=0.5),
                "monitor": "train_loss",
                "interval": "step",
                "frequency": 2,
            },
        }
        schedule = schedules[self.hparams.schedule]()
        return optimizer if schedule is None else {"optimizer": optimizer, "lr_scheduler": schedule}
