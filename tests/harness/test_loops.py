"""What nobody reads is not logged, and nothing else changes."""

import csv
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from torch.nn import functional as F

from main import parse_args
from models.my_model import MyModel
from train import train

SHORT = [
    *("--model_name", "my_model", "--enable_progress_bar", "no", "--enable_model_summary", "no"),
    *("--max_epochs", "2", "--limit_train_batches", "11", "--log_every_n_steps", "4"),
]


def training_step(self, batch, batch_idx):
    """Log in all ways."""
    loss = F.cross_entropy(self(batch[0]), batch[1])
    self.log("train_loss", loss, prog_bar=True)
    self.log("both", loss, on_step=True, on_epoch=True)
    self.log("mean", loss, False, True, False, True)
    self.log_dict({"largest": loss}, on_step=False, on_epoch=True, reduce_fx="max")
    return loss


def run(folder, *argv, callbacks=()):
    """Return what a run has logged, and its metrics."""
    metrics = train(parse_args([*SHORT, *argv]), Path(folder), callbacks=callbacks)
    rows = Path(folder, "metrics.csv")
    return list(csv.DictReader(rows.read_text().splitlines())) if rows.exists() else [], metrics


@pytest.fixture
def logged(monkeypatch):
    """The steps in which Lightning's own log was reached."""
    steps = []
    log = pl.LightningModule.log

    def counted(self, name, *args, **options):
        if self.trainer.training and name == "train_loss":
            steps.append(self.trainer.fit_loop.epoch_loop.total_batch_idx)
        log(self, name, *args, **options)

    monkeypatch.setattr(pl.LightningModule, "log", counted)
    return steps


@pytest.mark.parametrize(
    "argv",
    [
        (),
        ("--val_check_interval", "3"),
        ("--val_check_interval", "5", "--check_val_every_n_epoch", "none"),
        ("--max_steps", "17", "--max_epochs", "-1"),
        ("--accumulate_grad_batches", "3"),
        ("--log_every_n_steps", "0"),
        ("--track_grad_norm", "2"),
        ("--fast_dev_run",),
        ("--monitor", "train_loss", "--early_stopping_patience", "0"),
        ("--save_top_k", "2", "--save_every_n_train_steps", "3"),
    ],
)
def test_files_and_metrics_are_as_if_every_step_were_logged(monkeypatch, logged, argv):
    monkeypatch.setattr(MyModel, "training_step", training_step)
    quiet, few = run("quiet", *argv), len(logged)
    own = pl.LightningModule.log
    monkeypatch.setattr(MyModel, "log", lambda self, *args, **options: own(self, *args, **options), raising=False)
    assert run("all", *argv) == quiet
    assert len(logged) - few > few or argv == ("--fast_dev_run",)


def test_the_first_and_last_of_an_epoch_and_every_n_th_step_are_logged(logged):
    run("run")
    assert logged == [0, 3, 7, 10, 11, 15, 19, 21]


class Reads(pl.Callback):
    """Reads in every batch."""

    def __init__(self):
        self.read = []

    def on_train_batch_end(self, trainer, *args):
        self.read.append(float(trainer.callback_metrics["train_loss"]))


def test_what_is_read_after_every_batch_is_logged_in_every_batch():
    reads = Reads()
    run("run", callbacks=[reads])
    assert len(set(reads.read)) == 22


def test_a_plateau_schedule_by_steps_sees_every_step(monkeypatch, logged):
    def configure_optimizers(self):
        optimizer = torch.optim.Adam(self.parameters())
        scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "monitor": "train_loss", "interval": "step"},
        }

    monkeypatch.setattr(MyModel, "configure_optimizers", configure_optimizers)
    run("run")
    assert logged == list(range(22))
