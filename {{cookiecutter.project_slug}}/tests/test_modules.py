"""Every model found trains, and comes back from its checkpoint; files that cannot be used are named."""

import sys
from argparse import ArgumentParser
from pathlib import Path

import pytest
import torch

import modules
from args import Parser, UsageError
from main import parse_args
from modules import add_args, load, names
from train import train

SHORT = ["--max_epochs", "1", "--limit_train_batches", "3", "--limit_val_batches", "1", "--limit_test_batches", "1"]


@pytest.mark.parametrize("model_name", names("models"))
def test_a_model_trains_and_comes_back_from_its_checkpoint(model_name):
    args = parse_args([*SHORT, "--model_name", model_name, "--enable_progress_bar", "no"])
    metrics = train(args, Path("run"))
    assert all(value == value for value in metrics.values()), "a metric is not a number"
    model_class = load("models", model_name)
    model = model_class.load_from_checkpoint("run/checkpoints/last.ckpt")
    assert dict(model.hparams) == vars(modules.own_args(model_class, args))
    saved = torch.load("run/checkpoints/last.ckpt", weights_only=True)["state_dict"]
    assert saved.keys() == model.state_dict().keys()
    assert all(torch.equal(saved[name], value) for name, value in model.state_dict().items())


@pytest.fixture
def root(monkeypatch, tmp_path):
    """A project whose models/ holds just what the test writes there."""
    monkeypatch.setattr(modules, "ROOT", tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.split(".")[0] == "models"]:
        monkeypatch.delitem(sys.modules, name)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "__init__.py").touch()
    return tmp_path


MODEL = """
import pytorch_lightning as pl
class {}(pl.LightningModule): pass
"""


def test_files_and_packages_are_found_and_helpers_are_not(root):
    for name in ("plain.py", "_helper.py", "notes.txt", "packaged/__init__.py", "no_package/net.py"):
        path = root / "models" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(MODEL.format("Net"))
    assert names("models") == ["packaged", "plain"]
    assert load("models", "packaged").__name__ == "Net"


def test_a_class_imported_from_another_file_does_not_count(root):
    (root / "models" / "base.py").write_text(MODEL.format("Base"))
    (root / "models" / "net.py").write_text("from models.base import Base\nclass Net(Base): pass\n")
    assert load("models", "net").__name__ == "Net"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import no_such_package", "models/broken.py cannot be imported: ModuleNotFoundError in line 1: No"),
        ("x = (", "models/broken.py cannot be imported: SyntaxError"),
        ("x = 1", "models/broken.py must define one LightningModule, and defines none"),
        (MODEL.format("One") + MODEL.format("Two"), "defines One and Two"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(root, text, message):
    (root / "models" / "broken.py").write_text(text)
    with pytest.raises(UsageError, match=message):
        load("models", "broken")


def test_a_flag_that_exists_already_is_named_with_its_file(root):
    (root / "models" / "clash.py").write_text(
        MODEL.format("Net").replace(" pass", "")
        + "    def add_model_specific_args(parser):\n"
        + "        parser.add_argument('--max_epochs')\n"
        + "        return parser\n"
    )
    parser = ArgumentParser()
    parser.add_argument("--max_epochs")
    with pytest.raises(UsageError, match=r"clash\.py: .*--max_epochs"):
        add_args(load("models", "clash"), parser)


def test_a_model_may_bring_a_parser_with_its_own_help(root, capsys):
    """As on the old page: ArgumentParser(parents=[parent_parser]), without add_help=False."""
    own = ArgumentParser(parents=[Parser(add_help=False)])
    own.add_argument("--encoder_layers", type=int, default=12)
    with pytest.raises(SystemExit):
        Parser(parents=[own], description="whole").parse_args(["--help"])
    assert "--encoder_layers" in capsys.readouterr().out
