"""Scripts of Lightning 1.x: the table of names in docs/trainer-args.md, and patterns of public scripts."""

import inspect
import re
import shutil
from importlib.util import find_spec

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


def test_the_other_rows_of_the_page_on_lightning_1_are_true():
    with pytest.raises(ImportError):
        from pytorch_lightning.utilities.argparse import get_init_arguments_and_types  # noqa: F401
    from pytorch_lightning.cli import LightningCLI  # noqa: F401

    assert find_spec("pytorch_lightning.utilities.upgrade_checkpoint")


def to_trainer_args(script):
    """Return a script with the line changed that imports the Trainer."""
    changed = re.sub(
        r"^from pytorch_lightning(\.trainer)? import Trainer", "from trainer_args import Trainer", script, flags=re.M
    )
    assert changed != script
    return changed


@pytest.fixture(scope="module")
def run_script(project, tmp_path_factory):
    """Return a function that runs a script of tests/old_scripts/ beside a copy of trainer_args.py."""
    folder = tmp_path_factory.mktemp("old_scripts")
    shutil.copy(project.path / "harness" / "trainer_args.py", folder)
    for script in (ROOT / "tests" / "old_scripts").glob("*.py"):
        text = script.read_text()
        (folder / script.name).write_text(text if script.name == "parts.py" else to_trainer_args(text))
    (folder / "base.yaml").write_text("max_epochs: 5\nlimit_train_batches: 2\n")

    def run(line, status=0):
        script, *flags = line.split()
        result = project.python(str(folder / script), "--enable_progress_bar", "no", *flags, cwd=folder)
        assert result.returncode == status, result.stderr
        return result

    return run


@pytest.mark.parametrize(
    ("line", "printed"),
    [
        ("everything_in_args.py --lr 0.01", "steps 12 lr 0.01"),
        ("everything_in_args.py --batch_size 32 --max_epochs 1 --gpus 0", "steps 2 lr 0.001"),
        ("flags_over_config.py -b base.yaml", "steps 10 lr 0.1"),
        ("flags_over_config.py -b base.yaml --max_epochs 3 model.params.width=7", "steps 6 lr 0.1"),
    ],
)
def test_a_script_runs_after_one_changed_line(run_script, line, printed):
    result = run_script(line)
    assert printed in result.stdout
    assert "Traceback" not in result.stderr
    if "model.params" in line:
        assert "unknown ['model.params.width=7']" in result.stdout


def test_a_script_that_looks_for_its_checkpoint_resumes(run_script):
    assert "steps 16 lr 0.05" in run_script("defaults_and_resume.py").stdout
    resumed = run_script("defaults_and_resume.py --max_epochs 3")
    assert "steps 24 lr 0.05" in resumed.stdout
    assert "Restored all states from the checkpoint" in resumed.stderr
    assert "test_loss" in run_script("defaults_and_resume.py --mode test").stdout
