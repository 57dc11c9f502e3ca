"""Hooks are called as Lightning calls them, which it does where a profiler asks for it."""

from pathlib import Path

import pytest
import pytorch_lightning as pl
from pytorch_lightning.trainer import call

from main import parse_args
from models.my_model import MyModel
from train import train

HOOKS = [name for name in vars(pl.Callback) if name.startswith(("on_", "setup", "teardown"))]
SHORT = ["--model_name", "my_model", "--max_epochs", "2", "--limit_train_batches", "4", "--limit_val_batches", "2"]
QUIET = ["--enable_progress_bar", "no", "--enable_model_summary", "no"]


class Told(pl.Callback):
    """Notes every hook, and which one the model believes it is in."""

    def __init__(self):
        self.calls = []


def noting(name):
    def hook(self, trainer, model, *args, **options):
        self.calls.append((name, model._current_fx_name, [type(arg).__name__ for arg in args], list(options)))

    return hook


for name in HOOKS:
    setattr(Told, name, noting(name))


def calls_of_a_run(*argv):
    told = Told()
    train(parse_args([*SHORT, *QUIET, "--default_root_dir", ".", *argv]), Path("run", *argv[:1]), callbacks=[told])
    return told.calls


@pytest.mark.parametrize("more", [(), ("--accumulate_grad_batches", "2", "--gradient_clip_val", "1")])
def test_hooks_come_in_the_same_order_with_the_same_arguments(more):
    lean, full = calls_of_a_run(*more), calls_of_a_run("--profiler", "simple", *more)
    assert lean == full
    assert {name for name, *_ in lean} > {"on_train_batch_start", "on_before_zero_grad", "on_after_backward"}


def test_hooks_of_a_model_are_called(monkeypatch):
    called = []
    for name in ("on_train_batch_start", "on_before_zero_grad", "on_before_optimizer_step", "on_validation_batch_end"):
        monkeypatch.setattr(MyModel, name, lambda self, *args, name=name: called.append(name))
    calls_of_a_run()
    assert called.count("on_train_batch_start") == called.count("on_before_zero_grad") == 8
    assert called.count("on_before_optimizer_step") == 8
    assert called.count("on_validation_batch_end") == 8  # those before training, of two epochs, and of the best weights


def test_lightning_is_left_as_it_was(monkeypatch):
    before = dict(vars(call))
    calls_of_a_run()
    assert dict(vars(call)) == before
    monkeypatch.setattr(MyModel, "training_step", lambda self, batch, batch_idx: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        train(parse_args([*SHORT, *QUIET]), Path("other"))
    assert dict(vars(call)) == before


def test_hooks_that_a_callback_itself_has_are_called():
    """Those of LambdaCallback are attributes of the instance."""
    told = []
    names = ("on_train_batch_start", "on_after_backward", "on_train_batch_end", "on_validation_batch_end")
    hooks = {name: lambda *args, name=name: told.append(name) for name in names}
    train(parse_args([*SHORT, *QUIET]), Path("run"), callbacks=[pl.callbacks.LambdaCallback(**hooks)])
    assert [told.count(name) for name in names] == [8, 8, 8, 8]
