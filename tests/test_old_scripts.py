"""The table of docs/trainer-args.md on names of Lightning 1.x: what it calls gone is gone, the others are there."""

import inspect
import re

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint, TQDMProgressBar
from pytorch_lightning.demos.boring_classes import BoringModel

from tests.conftest import ROOT

_, _, TABLE = (ROOT / "docs" / "trainer-args.md").read_text().partition("## What else breaks")
ROWS = re.findall(r"^\| (`.*?) \| (.*?) \|$", TABLE, re.MULTILINE)
IMPORTS = [(re.findall("`(from .*?)`", old), re.findall("`(from .*?)`", now)) for old, now in ROWS if "`from " in old]


def test_the_table_is_read():
    assert len(ROWS) == TABLE.count("\n| ") - 1
    assert len(IMPORTS) == 11


@pytest.mark.parametrize(("old", "now"), [(old[0], now[0]) for old, now in IMPORTS])
def test_an_import_is_gone_and_the_other_works(old, now):
    with pytest.raises(ImportError):
        exec(old)
    exec(now)


def refused(method, signature):
    """Return the message with which Lightning refuses a model that has a method of 1.x."""
    scope = {"Base": BoringModel}
    exec(f"class Old(Base):\n    def {method}({signature}): return self.layer(batch).sum()", scope)
    trainer = pl.Trainer(max_steps=1, logger=False, enable_checkpointing=False, enable_progress_bar=False)
    with pytest.raises(Exception) as error:  # noqa: PT011, of several types
        trainer.fit(scope["Old"]())
    return str(error.value)


@pytest.mark.parametrize("stage", ["training", "validation"])
def test_epoch_ends_with_outputs_are_refused(stage):
    assert f"on_{stage.replace('ing', '')}_epoch_end" in refused(f"{stage}_epoch_end", "self, outputs")


def test_optimizer_idx_is_refused():
    assert "optimizer_idx" in refused("training_step", "self, batch, batch_idx, optimizer_idx")


def test_the_methods_to_write_have_these_parameters():
    def parameters(function):
        return list(inspect.signature(function).parameters)

    assert parameters(pl.LightningModule.optimizer_step)[1:] == ["epoch", "batch_idx", "optimizer", "optimizer_closure"]
    assert parameters(pl.LightningModule.lr_scheduler_step)[1:] == ["scheduler", "metric"]
    assert "dataloaders" in parameters(pl.Trainer.test)
    assert "train_dataloaders" in parameters(pl.Trainer.fit)
    assert {"dirpath", "filename", "every_n_epochs"} <= set(parameters(ModelCheckpoint))
    assert not {"filepath", "prefix", "period"} & set(parameters(ModelCheckpoint))
    for name in ("configure_model", "save_hyperparameters", "manual_backward", "optimizers", "on_train_epoch_end"):
        assert hasattr(pl.LightningModule, name)
    for name in ("training_step_end", "get_progress_bar_dict", "tbptt_split_batch"):
        assert not hasattr(pl.LightningModule, name)
    assert hasattr(TQDMProgressBar, "get_metrics")
    with pytest.raises(AttributeError):
        BoringModel().hparams = {"width": 3}
    assert torch.is_tensor(BoringModel()(torch.ones(32)))
