"""Every flag of the program has its effect."""

import csv
import shutil
import sys
from pathlib import Path

import pytest
import torch
from lightning_utilities.core.imports import RequirementCache
from pytorch_lightning import Callback
from pytorch_lightning.callbacks import ModelSummary
from pytorch_lightning.loggers import CSVLogger
from pytorch_lightning.plugins.environments import LightningEnvironment
from pytorch_lightning.strategies import SingleDeviceStrategy

from harness.errors import UsageError
from harness.runs.run import open_run
from harness.training.checkpoints import Last
from main import parse_args
from tests.harness.program import main
from train import build, evaluate, train

QUIET = ["--enable_progress_bar", "no", "--enable_model_summary", "no"]
SHORT = [
    *QUIET,
    "--model_name",
    "my_model",
    "--limit_train_batches",
    "4",
    "--limit_val_batches",
    "1",
    "--limit_test_batches",
    "1",
]


def run(*argv, callbacks=()):
    """Return the rows of metrics.csv of a short run."""
    shutil.rmtree("run", ignore_errors=True)
    train(parse_args([*SHORT, *argv]), Path("run"), callbacks=callbacks)
    with Path("run/metrics.csv").open() as file:
        return list(csv.DictReader(file))


def checkpoints():
    return sorted(path.name for path in Path("run/checkpoints").iterdir())


def epochs(rows):
    return max(int(row["epoch"]) for row in rows if row["val_loss"])


class Steps(Callback):
    """Counts optimiser steps of each epoch."""

    def __init__(self):
        self.seen = []

    def on_train_epoch_end(self, trainer, pl_module):
        self.seen.append(trainer.global_step)


def test_early_stopping_stops():
    # The validation of the best weights at the end logs one more row, under the number of the next epoch.
    assert epochs(run("--max_epochs", "9")) == 9
    worse = ("--early_stopping_patience", "1", "--monitor_mode", "max")  # of a loss that falls
    assert epochs(run("--max_epochs", "9", *worse)) == 2
    never = ("--early_stopping_patience", "0", "--early_stopping_min_delta", "100")
    assert epochs(run("--max_epochs", "9", *never)) == 2
    assert epochs(run("--max_epochs", "3", "--early_stopping_patience", "2")) == 3


def test_early_stopping_needs_something_to_monitor(monkeypatch):
    monkeypatch.setattr("models.my_model.MyModel.monitor", None, raising=False)
    with pytest.raises(UsageError, match="--early_stopping_patience needs --monitor METRIC: model my_model names none"):
        run("--early_stopping_patience", "1")
    run("--early_stopping_patience", "1", "--monitor", "val_accuracy", "--monitor_mode", "max", "--max_epochs", "1")


def test_the_monitor_decides_what_is_best():
    run("--max_epochs", "4", "--learning_rate", "0.1")
    by_loss = torch.load("run/checkpoints/best.ckpt", weights_only=True)["epoch"]
    run("--max_epochs", "4", "--learning_rate", "0.1", "--monitor_mode", "max")
    by_worst_loss = torch.load("run/checkpoints/best.ckpt", weights_only=True)["epoch"]
    assert by_loss != by_worst_loss
    with pytest.raises(UsageError, match="no_such_metric"):
        run("--max_epochs", "1", "--monitor", "no_such_metric")


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        ([], ["best.ckpt", "last.ckpt"]),
        (["--save_top_k", "0"], ["last.ckpt"]),
        (["--save_top_k", "2"], ["best.ckpt", "epoch=001-step=8.ckpt", "epoch=002-step=12.ckpt", "last.ckpt"]),
        (["--save_top_k", "-1"], ["best.ckpt", *(f"epoch=00{n}-step={4 * n + 4}.ckpt" for n in range(3)), "last.ckpt"]),
    ],
)
def test_as_many_checkpoints_are_kept_as_asked_for(argv, expected):
    run("--max_epochs", "3", "--learning_rate", "1e-3", *argv)
    assert checkpoints() == expected


def test_last_is_written_within_epochs():
    class Looks(Callback):
        steps = ()

        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            if Path("run/checkpoints/last.ckpt").exists():
                self.steps += (torch.load("run/checkpoints/last.ckpt", weights_only=True)["global_step"],)

    looks = Looks()
    run("--max_epochs", "1", "--save_every_n_train_steps", "2", callbacks=[looks])
    assert looks.steps == (2, 2)[: len(looks.steps)]
    assert looks.steps
    assert torch.load("run/checkpoints/last.ckpt", weights_only=True)["global_step"] == 4


def test_checkpoints_may_hold_weights_only():
    run("--max_epochs", "1")
    assert "optimizer_states" in torch.load("run/checkpoints/last.ckpt", weights_only=True)
    run("--max_epochs", "1", "--save_weights_only")
    for name in checkpoints():
        assert "optimizer_states" not in torch.load(f"run/checkpoints/{name}", weights_only=True)


@pytest.mark.parametrize(
    ("argv", "steps"),
    [
        ([], [4, 8, 12]),
        (["--accumulate_grad_batches", "2"], [2, 4, 6]),
        (["--accumulate_grad_schedule", "0:4,2:1"], [1, 2, 6]),
    ],
)
def test_gradients_are_accumulated(argv, steps):
    counter = Steps()
    run("--max_epochs", "3", *argv, callbacks=[counter])
    assert counter.seen == steps


def test_averaged_weights_are_those_that_are_tested():
    """Lightning's callback tested the weights that train in their place."""
    metrics = train(parse_args([*SHORT, "--max_epochs", "2", "--ema_decay", "0.9"]), Path("run"))
    file = "run/checkpoints/best.ckpt"
    tested = evaluate(parse_args(["test", *SHORT, "--ckpt_path", file]), Path("tested"))
    assert {name: metrics[name] for name in tested} == tested
    assert tested.keys() == {"test_loss", "test_accuracy"}


def test_weights_are_averaged():
    run("--max_epochs", "2")
    plain = torch.load("run/checkpoints/last.ckpt", weights_only=True)
    run("--max_epochs", "2", "--ema_decay", "0.9")
    averaged = torch.load("run/checkpoints/last.ckpt", weights_only=True)
    for name, value in averaged["current_model_state"].items():
        if name.startswith("module."):
            assert not torch.equal(value, plain["state_dict"][name.removeprefix("module.")]) or value.numel() == 0
    assert any(not torch.equal(averaged["state_dict"][name], value) for name, value in plain["state_dict"].items())


def test_the_learning_rate_is_logged():
    rows = run("--max_epochs", "1", "--lr_monitor", "step", "--log_every_n_steps", "1")
    assert {row["lr-Adam"] for row in rows if row["lr-Adam"]} == {"0.01"}
    assert "lr-Adam" not in run("--max_epochs", "1")[0]


def test_the_norm_of_the_gradients_is_logged():
    norms = []

    class Norm(Callback):
        def on_before_optimizer_step(self, trainer, pl_module, optimizer):
            norms.append(torch.cat([p.grad.flatten() for p in pl_module.parameters()]).norm().item())

    rows = run("--max_epochs", "1", "--track_grad_norm", "2", "--log_every_n_steps", "1", callbacks=[Norm()])
    assert [float(row["grad_norm"]) for row in rows if row["grad_norm"]] == pytest.approx(norms, rel=1e-5)
    largest = run("--max_epochs", "1", "--track_grad_norm", "inf", "--log_every_n_steps", "1")
    assert float(largest[0]["grad_norm"]) < norms[0]


def built_trainer(argv):
    args = parse_args(argv)
    with open_run(args, "run") as run:
        return build(args, run)[2]


def test_the_summary_has_the_depth_asked_for():
    shown = ["--model_name", "my_model", "--model_summary_depth", "3"]
    trainer = built_trainer(shown)
    (summary,) = [callback for callback in trainer.callbacks if isinstance(callback, ModelSummary)]
    assert summary._max_depth == 3


@pytest.mark.parametrize(
    ("names", "files"),
    [
        ("csv", {"metrics.csv"}),
        ("yes", {"metrics.csv"}),
        ("tensorboard", {"events"}),
        ("csv,tensorboard", {"metrics.csv", "events"}),
        ("none", set()),
        ("false", set()),
    ],
)
def test_loggers_write_into_the_directory_of_the_run(names, files):
    if "tensorboard" in names:
        pytest.importorskip("tensorboard")
    train(parse_args([*SHORT, "--max_epochs", "1", "--logger", names]), Path("run"))
    found = {path.name.split(".out.tfevents")[0] for path in Path("run").iterdir() if path.is_file()}
    always = {".lock", "config.yaml", "config.schema.json", "hparams.yaml", "metrics.json", "run.json"}
    assert found - always - {"uncommitted.patch"} == files


def test_wandb_logs_without_a_network(monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    train(parse_args([*SHORT, "--max_epochs", "1", "--logger", "wandb"]), Path("run"))
    assert list(Path("run/wandb").glob("offline-run-*/*.wandb"))


@pytest.fixture
def without_loggers(monkeypatch):
    """An environment in which Lightning finds none of the packages of its loggers."""
    for module, name in (
        ("lightning_fabric.loggers.tensorboard", "_TENSORBOARD_AVAILABLE"),
        ("lightning_fabric.loggers.tensorboard", "_TENSORBOARDX_AVAILABLE"),
        ("pytorch_lightning.loggers.wandb", "_WANDB_AVAILABLE"),
    ):
        monkeypatch.setattr(f"{module}.{name}", RequirementCache("no-such-package"))
    for module in ("mlflow", "trackio", "comet_ml"):
        monkeypatch.setitem(sys.modules, module, None)


@pytest.mark.parametrize(
    ("names", "missing", "extra"),
    [
        ("tensorboard", "tensorboard", "loggers"),
        ("csv,tensorboard", "tensorboard", "loggers"),
        ("wandb,csv", "wandb", "loggers"),
        ("mlflow", "mlflow", "mlflow"),
        ("trackio", "trackio", "trackio"),
        ("comet", "comet", "comet"),
    ],
)
def test_a_logger_that_is_not_installed_is_one_line_with_the_extra_of_this_project(
    names, missing, extra, without_loggers, capsys
):
    with pytest.raises(SystemExit) as stop:
        main(["--logger", names])
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    error = line.partition(" error: ")[2].partition(" (see ")[0]
    assert error == f'--logger {names}: {missing} is not installed: pip install -e ".[{extra}]"'
    assert not list(Path("runs").glob("*"))


def test_a_logger_whose_package_lacks_another_names_that(monkeypatch, capsys):
    def broken(*args, **kwargs):
        raise ModuleNotFoundError("No module named 'protobuf'", name="protobuf")

    monkeypatch.setattr("harness.training.trackers.tensorboard.RunTensorBoardLogger", broken)
    with pytest.raises(SystemExit):
        main(["--logger", "tensorboard"])
    assert "--logger tensorboard: No module named 'protobuf': pip install -e" in capsys.readouterr().err


def test_the_bar_is_redrawn_as_often_as_asked_for():
    shown = ["--model_name", "my_model", "--progress_bar_refresh_rate", "7"]
    trainer = built_trainer(shown)
    assert trainer.progress_bar_callback.refresh_rate == 7


def test_batch_size_and_learning_rate_are_found():
    run("--auto_scale_batch_size", "--auto_lr_find", "--max_epochs", "1")
    checkpoint = torch.load("run/checkpoints/last.ckpt", weights_only=True)
    assert checkpoint["datamodule_hyper_parameters"]["batch_size"] > 64
    assert checkpoint["hyper_parameters"]["learning_rate"] != 0.01


def test_barebones_names_the_logger_to_leave_out():
    with pytest.raises(UsageError, match="--barebones logs nothing: leave out --logger mlflow"):
        parse_args([*SHORT, "--barebones", "--logger", "mlflow"])


def test_barebones_takes_no_logger_and_keeps_nothing():
    train(parse_args([*SHORT, "--max_epochs", "1", "--barebones"]), Path("run"))
    found = {path.name for path in Path("run").iterdir()} - {"uncommitted.patch"}
    assert found == {".lock", "config.schema.json", "config.yaml", "metrics.json", "run.json"}


@pytest.fixture
def no_validation(monkeypatch):
    monkeypatch.delattr("harness.data.InMemoryData.val_dataloader")


def test_without_validation_what_monitors_it_is_named(no_validation, monkeypatch, capsys):
    run("--max_epochs", "1")
    said = "best.ckpt is not written: it monitors val_loss, and data/digits.py has no val_dataloader"
    assert said in capsys.readouterr().err
    assert checkpoints() == ["last.ckpt"]
    run("--max_epochs", "1", "--monitor", "train_loss")
    assert said not in capsys.readouterr().err
    assert checkpoints() == ["best.ckpt", "last.ckpt"]
    with pytest.raises(UsageError, match=r"^early stopping monitors val_loss, but data/digits\.py has no"):
        run("--early_stopping_patience", "1")

    def plateau(self):
        optimizer = torch.optim.SGD(self.parameters(), lr=0.1)
        schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "monitor": "val_loss"}}

    monkeypatch.setattr("models.my_model.MyModel.configure_optimizers", plateau)
    with pytest.raises(UsageError, match=r"^the learning rate schedule monitors val_loss, but data/digits\.py has no"):
        run("--max_epochs", "1")


def test_validation_turned_off_is_told(capsys):
    run("--max_epochs", "1", "--limit_val_batches", "0")
    assert "and validation is turned off by --limit_val_batches 0" in capsys.readouterr().err


def test_arguments_of_the_trainer_may_be_handed_in(tmp_path):
    """Callbacks and plugins are added to those of the flags; others take the place of the flag."""

    class Watch(Callback):
        def on_fit_end(self, trainer, pl_module):
            self.trainer = trainer

    watch, logger = Watch(), CSVLogger(tmp_path, name="mine")
    strategy, plugin = SingleDeviceStrategy("cpu"), LightningEnvironment()
    args = parse_args([*SHORT, "--max_epochs", "1"])
    train(args, Path("run"), callbacks=[watch], logger=logger, strategy=strategy, plugins=[plugin], max_epochs=2)
    trainer = watch.trainer
    assert (trainer.logger, trainer.strategy, trainer.current_epoch) == (logger, strategy, 2)
    assert Path("run/checkpoints/last.ckpt").exists()
    assert "config" in torch.load("run/checkpoints/last.ckpt", weights_only=True)
    assert not Path("run/metrics.csv").exists()


def test_runs_in_one_process_are_several_at_wandb(monkeypatch):
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    args = parse_args([*SHORT, "--max_epochs", "1", "--logger", "wandb"])
    for name in ("one", "two"):
        train(args, Path(name))
        assert wandb.run is None
        assert len(list(Path(name, "wandb").glob("offline-run-*"))) == 1
    with wandb.init(dir="."):  # of the user's own, whose run Lightning takes
        mine = wandb.run
        train(args, Path("three"))
        assert wandb.run is mine
    assert not Path("three", "wandb").exists()


def test_last_is_written_by_the_clock(monkeypatch):
    """Each batch takes a minute."""

    class Minute(Callback):
        now = 0.0

        def on_train_batch_start(self, *args):
            self.now += 60

    clock, steps, save = Minute(), [], Last.save

    def recorded(self, trainer):
        steps.append(trainer.global_step)
        save(self, trainer)

    monkeypatch.setattr("harness.training.checkpoints.monotonic", lambda: clock.now)
    monkeypatch.setattr(Last, "save", recorded)
    for minutes, expected in (("2.5", [3, 4]), ("1", [1, 2, 3, 4]), ("1000", [4])):
        steps.clear()
        run("--max_epochs", "1", "--save_every_minutes", minutes, callbacks=[clock])
        assert [step for step, before in zip(steps, [0, *steps], strict=False) if step != before] == expected
