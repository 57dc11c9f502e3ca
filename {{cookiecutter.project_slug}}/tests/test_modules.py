"""Every model found trains, and comes back from its checkpoint; files that cannot be used are named."""

import sys
from argparse import ArgumentParser
from pathlib import Path

import pytest
import torch

import modules
from args import UsageError
from command_line import Parser
from main import parse_args
from modules import add_args, brings_data, declaration, load, names, whose
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


@pytest.mark.parametrize(
    ("folder", "name"), [(folder, name) for folder in ("models", "data") for name in names(folder)]
)
def test_the_flags_read_from_the_file_are_those_of_the_class(folder, name):
    read, imported = declaration(folder, name), load(folder, name)
    if read is imported:
        pytest.skip("its flags cannot be told without importing it")
    flags = []
    for module_class in (read, imported):
        parser = add_args(module_class, ArgumentParser(add_help=False))
        flags.append(
            [
                (a.option_strings, a.dest, a.default, a.choices, a.nargs, getattr(a.type, "__name__", None), a.help)
                for a in parser._actions
            ]
        )
    assert flags[0] == flags[1]
    assert brings_data(read) == brings_data(imported)


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


FLAGS = """
    @staticmethod
    def add_model_specific_args(parser):
        parser.add_argument("--width", type=int, default=WIDTH)
        return parser
"""


def flags(name):
    """Return what the declaration adds, and whether it was imported."""
    declared = declaration("models", name)
    parser = add_args(declared, ArgumentParser(add_help=False))
    return {action.dest: action.default for action in parser._actions}, f"models.{name}" in sys.modules


READ = {
    "constant": "from torch import nn\nWIDTH = 2 * 32\nACTIVATION = nn.GELU\n" + MODEL.format("Net") + FLAGS,
    "light_import": "import math\nimport no_such_package\nWIDTH = math.floor(64.5)\n" + MODEL.format("Net") + FLAGS,
    "function": "def double(n): return 2 * n\nWIDTH = double(32)\n" + MODEL.format("Net") + FLAGS,
    "from_import": "from pytorch_lightning import LightningModule\nWIDTH = 64\nclass Net(LightningModule):\n" + FLAGS,
    "lightning": "import lightning.pytorch as pl\nWIDTH = 64\nclass Net(pl.LightningModule):\n" + FLAGS,
    "mixin": "WIDTH = 64\nclass Flags:\n"
    + FLAGS
    + "import pytorch_lightning as pl\nclass Net(Flags, pl.LightningModule): pass\n",
    "helper": "from torch import nn\nimport torch\nWIDTH = 64\nclass Block(nn.Module): pass\n"
    + MODEL.format("Net")
    + FLAGS,
    "base": "from models._base import Base\nclass Net(Base): pass\n",
    "relative": "from ._base import Base\nclass Net(Base): pass\n",
}
IMPORTED = {
    "of_torch": "import torch\nWIDTH = torch.ones(64).sum().int().item()\n" + MODEL.format("Net") + FLAGS,
    "changed": "import torch\nWIDTH = 32\nif torch.ones(1): WIDTH = 64\n" + MODEL.format("Net") + FLAGS,
    "mutated": "import torch\nW = [32]\nW[0] += int(torch.ones(32).sum())\nWIDTH = W[0]\n"
    + MODEL.format("Net")
    + FLAGS,
    "rebound": "from args import count as WIDTH\nfrom models._heavy import WIDTH\n" + MODEL.format("Net") + FLAGS,
    "of_a_class": "import torch\nclass W(torch.nn.Module): VALUE = 64\nWIDTH = W.VALUE\n" + MODEL.format("Net") + FLAGS,
    "star": "from models._heavy import *\n" + MODEL.format("Net") + FLAGS,
    "class_constant": MODEL.format("Net").replace(" pass", "\n    VALUE = 64") + FLAGS.replace("WIDTH", "Net.VALUE"),
}


@pytest.mark.parametrize("name", [*READ, *IMPORTED])
def test_flags_are_read_where_that_is_safe_and_imported_where_not(root, name):
    (root / "models" / "_base.py").write_text("WIDTH = 64\n" + MODEL.format("Base").replace(" pass", "") + FLAGS)
    (root / "models" / "_heavy.py").write_text("import torch\nWIDTH = int(torch.ones(64).sum())\n")
    (root / "models" / f"{name}.py").write_text({**READ, **IMPORTED}[name].replace(" pass\n\n    @", "\n    @"))
    assert flags(name) == ({"width": 64}, name in IMPORTED)


def test_a_package_is_read_too(root):
    folder = root / "models" / "packaged"
    folder.mkdir()
    (folder / "__init__.py").write_text("from .net import Net\nfrom models.other import Other\n")
    (folder / "net.py").write_text("import torch\nWIDTH = 64\n" + MODEL.format("Net").replace(" pass", "") + FLAGS)
    (root / "models" / "other.py").write_text(MODEL.format("Other"))
    assert flags("packaged") == ({"width": 64}, False)


def test_a_model_with_loaders_of_its_own_is_known_without_importing_it(root):
    method = "    def train_dataloader(self): ...\n"
    (root / "models" / "base.py").write_text(MODEL.format("Base").replace(" pass", "") + method)
    (root / "models" / "net.py").write_text("from models.base import Base\nclass Net(Base): pass\n")
    (root / "models" / "plain.py").write_text(MODEL.format("Net"))
    assert [brings_data(declaration("models", name)) for name in ("base", "net", "plain")] == [True, True, False]
    assert "models.net" not in sys.modules


def test_a_file_that_exits_harms_no_other(root):
    (root / "models" / "exits.py").write_text("raise SystemExit(5)\n" + MODEL.format("Net"))
    (root / "data").mkdir()
    (root / "data" / "some.py").touch()
    assert whose("--depth", "other", "some") == ""
    with pytest.raises(UsageError, match=r"models/exits\.py cannot be imported: SystemExit in line 1"):
        load("models", "exits")


def test_the_owner_of_a_flag_is_named(root):
    (root / "data").mkdir()
    (root / "data" / "some.py").touch()
    for name in ("first", "second", "third"):
        (root / "models" / f"{name}.py").write_text("WIDTH = 1\n" + MODEL.format("Net").replace(" pass", "") + FLAGS)
    (root / "models" / "broken.py").write_text("x = (")
    assert whose("--width", "third", "some") == "a flag of model first and second, not third"
    assert whose("--depth", "third", "some") == ""


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


@pytest.mark.parametrize("flag", ["--seed", "--max_epochs", "--gpus"])
def test_no_model_takes_a_flag_of_the_program_away(root, monkeypatch, flag):
    (root / "data").mkdir()
    (root / "data" / "some.py").write_text(MODEL.format("Data").replace("Module", "DataModule"))
    (root / "models" / "greedy.py").write_text(
        "FLAG = '"
        + flag
        + "'\n"
        + MODEL.format("Net").replace(" pass", "")
        + FLAGS.replace('"--width"', "FLAG").replace("WIDTH", "1")
    )
    with pytest.raises(UsageError, match=rf"models/greedy\.py: conflicting option string: {flag}: the flag exists"):
        parse_args(["--model_name", "greedy", "--data_name", "some"])


def test_a_model_may_bring_a_parser_with_its_own_help(root, capsys):
    """As on the old page: ArgumentParser(parents=[parent_parser]), without add_help=False."""
    own = ArgumentParser(parents=[Parser(add_help=False)])
    own.add_argument("--encoder_layers", type=int, default=12)
    with pytest.raises(SystemExit):
        Parser(parents=[own], conflict_handler="resolve").parse_args(["--help"])
    assert "--encoder_layers" in capsys.readouterr().out
