"""Models and data are found by file name, their flags read with or without importing them; mistakes are named."""

import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

import pytest

from harness.cli.parser import Parser, with_help
from harness.errors import UsageError
from harness.found import MODELS, owner_of_flag
from main import parse_args
from tests.harness.program import main

MODEL = """
import pytorch_lightning as pl
class {}(pl.LightningModule): pass
"""


def test_files_and_packages_are_found_and_helpers_are_not(root):
    for name in ("plain.py", "_helper.py", "notes.txt", "packaged/__init__.py", "no_package/net.py"):
        path = root / "models" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(MODEL.format("Net"))
    assert MODELS.names() == ["packaged", "plain"]
    assert MODELS.load("packaged").__name__ == "Net"


FLAGS = """
    @staticmethod
    def add_model_specific_args(parser):
        parser.add_argument("--width", type=int, default=WIDTH)
        return parser
"""


def flags(name):
    """Return what the declaration adds, and whether it was imported."""
    declared = MODELS[name]
    parser = declared.add_model_specific_args(ArgumentParser(add_help=False))
    return {action.dest: action.default for action in parser._actions}, f"models.{name}" in sys.modules


READ = {
    "constant": "from torch import nn\nWIDTH = 2 * 32\nACTIVATION = nn.GELU\n" + MODEL.format("Net") + FLAGS,
    "light_import": "import math\nimport no_such_package\nWIDTH = math.floor(64.5)\n" + MODEL.format("Net") + FLAGS,
    "function": "def double(n): return 2 * n\nWIDTH = double(32)\n" + MODEL.format("Net") + FLAGS,
    "from_import": "from pytorch_lightning import LightningModule\nWIDTH = 64\nclass Net(LightningModule):\n" + FLAGS,
    "lightning": "import lightning.pytorch as pl\nWIDTH = 64\nclass Net(pl.LightningModule):\n" + FLAGS,
    "helper": "from torch import nn\nimport torch\nWIDTH = 64\nclass Block(nn.Module): pass\n"
    + MODEL.format("Net")
    + FLAGS,
}
# What needs other files, or more than one class, is imported: right, but slower.
IMPORTED = {
    "mixin": "WIDTH = 64\nclass Flags:\n"
    + FLAGS
    + "import pytorch_lightning as pl\nclass Net(Flags, pl.LightningModule): pass\n",
    "base": "from models._base import Base\nclass Net(Base): pass\n",
    "relative": "from ._base import Base\nclass Net(Base): pass\n",
    "of_torch": "import torch\nWIDTH = torch.ones(64).sum().int().item()\n" + MODEL.format("Net") + FLAGS,
    "changed": "import torch\nWIDTH = 32\nif torch.ones(1): WIDTH = 64\n" + MODEL.format("Net") + FLAGS,
    "mutated": "import torch\nW = [32]\nW[0] += int(torch.ones(32).sum())\nWIDTH = W[0]\n"
    + MODEL.format("Net")
    + FLAGS,
    "rebound": "from harness.flags import count as WIDTH\n"
    "from models._heavy import WIDTH\n" + MODEL.format("Net") + FLAGS,
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


def test_a_package_is_imported(root):
    folder = root / "models" / "packaged"
    folder.mkdir()
    (folder / "__init__.py").write_text("from .net import Net\nfrom models.other import Other\n")
    (folder / "net.py").write_text("import torch\nWIDTH = 64\n" + MODEL.format("Net").replace(" pass", "") + FLAGS)
    (root / "models" / "other.py").write_text(MODEL.format("Other"))
    assert flags("packaged") == ({"width": 64}, True)


def test_a_model_with_loaders_of_its_own_is_known(root):
    method = "    def train_dataloader(self): ...\n"
    (root / "models" / "base.py").write_text(MODEL.format("Base").replace(" pass", "") + method)
    (root / "models" / "net.py").write_text("from models.base import Base\nclass Net(Base): pass\n")
    (root / "models" / "plain.py").write_text(MODEL.format("Net"))
    assert [MODELS[name].brings_data for name in ("base", "plain")] == [True, False]
    assert not [name for name in sys.modules if name.startswith("models.")]
    assert MODELS["net"].brings_data


def test_a_file_that_exits_harms_no_other(root):
    (root / "models" / "exits.py").write_text("raise SystemExit(5)\n" + MODEL.format("Net"))
    (root / "data" / "some.py").touch()
    assert owner_of_flag("--depth", "other", "some") == ""
    with pytest.raises(
        UsageError, match=r"models/exits\.py cannot be imported: SystemExit: 5 \(models/exits\.py, line 1"
    ):
        MODELS.load("exits")


def test_the_owner_of_a_flag_is_named(root):
    (root / "data" / "some.py").touch()
    for name in ("first", "second", "third"):
        (root / "models" / f"{name}.py").write_text("WIDTH = 1\n" + MODEL.format("Net").replace(" pass", "") + FLAGS)
    (root / "models" / "broken.py").write_text("x = (")
    assert owner_of_flag("--width", "third", "some") == "a flag of model first and second, not third"
    assert owner_of_flag("--depth", "third", "some") == ""


WITH_FLAGS = MODEL.replace(" pass", "") + FLAGS.replace("WIDTH", "64")
SEVERAL = {
    "base": WITH_FLAGS.format("Base") + "class Net(Base): pass\n",
    "chain": WITH_FLAGS.format("Base") + "class Middle(Base): pass\nclass Net(Middle): pass\n",
    "private": MODEL.format("_Part") + WITH_FLAGS.format("Net"),
    "part": MODEL.format("Part") + WITH_FLAGS.format("Net"),
    "alone": WITH_FLAGS.format("_Net"),
    "base_of_two": WITH_FLAGS.format("Base") + "class _Other(Base): pass\nclass Net(Base): pass\n",
    "of_torch": "import torch\n"
    + MODEL.format("Base")
    + "class Net(Base, torch.nn.Sequential):\n"
    + FLAGS.replace("WIDTH", "64"),
}


@pytest.mark.parametrize("name", SEVERAL)
def test_of_several_classes_the_one_that_is_meant_is_found(root, name):
    (root / "models" / f"{name}.py").write_text(SEVERAL[name])
    read, imported = flags(name)
    assert read == {"width": 64}
    assert imported == (name != "alone")
    assert MODELS.load(name).__name__ == ("_Net" if name == "alone" else "Net")


def test_a_class_imported_from_another_file_does_not_count(root):
    (root / "models" / "base.py").write_text(MODEL.format("Base"))
    (root / "models" / "net.py").write_text("from models.base import Base\nclass Net(Base): pass\n")
    assert MODELS.load("net").__name__ == "Net"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "\nimport no_such_package",
            r"models/broken.py cannot be imported: ModuleNotFoundError: No .*broken\.py, line 2\)",
        ),
        ("import lightning as L", r"cannot be imported: .*write pytorch_lightning in place of lightning"),
        ("x = (", "models/broken.py cannot be imported: SyntaxError"),
        ("x = 1", "models/broken.py defines no LightningModule$"),
        (
            "class LightningModule: __module__ = 'lightning.pytorch'\nclass Net(LightningModule): pass",
            "defines no LightningModule, but one of lightning: write pytorch_lightning in place of lightning",
        ),
        (
            MODEL.format("One") + MODEL.format("Two"),
            "One and Two: let the name of all but one LightningModule begin with _",
        ),
    ],
)
def test_a_file_that_cannot_be_used_is_named(root, text, message):
    (root / "models" / "broken.py").write_text(text)
    with pytest.raises(UsageError, match=message):
        MODELS.load("broken")


def test_a_flag_that_exists_already_is_named_with_its_file(root):
    (root / "models" / "clash.py").write_text(
        MODEL.format("Net").replace(" pass", "")
        + "    def add_model_specific_args(parser):\n"
        + "        parser.add_argument('--max_epochs')\n"
        + "        return parser\n"
    )
    parser = ArgumentParser()
    parser.add_argument("--max_epochs")
    with pytest.raises(UsageError, match=r"models/clash\.py declares --max_epochs"):
        MODELS["clash"].add_model_specific_args(parser)


@pytest.mark.parametrize("flag", ["--seed", "--max_epochs", "--gpus"])
def test_no_model_takes_a_flag_of_the_program_away(root, monkeypatch, flag):
    (root / "data" / "some.py").write_text(MODEL.format("Data").replace("Module", "DataModule"))
    (root / "models" / "greedy.py").write_text(
        "FLAG = '"
        + flag
        + "'\n"
        + MODEL.format("Net").replace(" pass", "")
        + FLAGS.replace('"--width"', "FLAG").replace("WIDTH", "1")
    )
    with pytest.raises(UsageError, match=rf"models/greedy\.py declares {flag}, which the program has"):
        parse_args(["--model_name", "greedy", "--data_name", "some"])


def test_a_model_may_bring_a_parser_with_its_own_help(root, capsys):
    """As on the old page: ArgumentParser(parents=[parent_parser]), without add_help=False."""
    own = ArgumentParser(parents=[Parser()])
    own.add_argument("--encoder_layers", type=int, default=12)
    with pytest.raises(SystemExit):
        with_help(own).parse_args(["--help"])
    assert "--encoder_layers" in capsys.readouterr().out


KEYWORDS = """
import pytorch_lightning as pl
class Net(pl.LightningModule):
    {}
        super().__init__()
        self.save_hyperparameters({})
    @staticmethod
    def add_model_specific_args(parser):
        parser.add_argument("--width", type=int, default=1)
        parser.add_argument("--depth", type=int, default=2)
        return parser
"""


@pytest.mark.parametrize(
    ("init", "saved"),
    [
        ("def __init__(self, hparams):", "hparams"),
        ("def __init__(self, args):", "args"),
        ("def __init__(self, config: 'argparse.Namespace'):", "config"),
        ("def __init__(self, hparams=None):", "hparams"),
        ("def __init__(self, hparams, *args, **kwargs):", "hparams"),
        ("def __init__(self, width=7, depth=8):", ""),
        ("def __init__(self, width, depth):", ""),
        ("def __init__(self, *, depth=3, width=4):", ""),
        ("def __init__(self, loss='mse', width=4, depth=3):", ""),
        ("def __init__(self, **kwargs):", ""),
    ],
)
def test_flags_come_as_hparams_or_by_name(root, init, saved):
    (root / "models" / "net.py").write_text(KEYWORDS.format(init, saved))
    model = MODELS.build("net", Namespace(width=5, depth=6, max_epochs=1))
    assert {name: model.hparams[name] for name in ("width", "depth")} == {"width": 5, "depth": 6}
    assert "max_epochs" not in model.hparams


@pytest.mark.parametrize(
    ("init", "named"),
    [
        ("vocab_size", "vocab_size"),
        ("env, width", "env"),
        ("width, net, *, loss", "net and loss"),
    ],
)
def test_a_parameter_that_no_flag_gives_is_named(root, init, named, capsys):
    """The first of them was given all flags at once, without a word."""
    (root / "models" / "net.py").write_text(KEYWORDS.format(f"def __init__(self, {init}):", ""))
    (root / "data" / "some.py").write_text(MODEL.format("Some").replace("Module", "DataModule"))
    with pytest.raises(SystemExit) as stop:
        main([])
    assert stop.value.code == 2
    first = named.split()[0]
    line = f"models/net.py: __init__ takes {named}, and no flag gives it: declare --{first} in add_model_specific_args"
    assert line in capsys.readouterr().err.splitlines()[-1]


def test_loaders_of_a_base_class_in_lightnings_demos_count(root, capsys):
    (root / "models" / "net.py").write_text(
        "from pytorch_lightning.demos.boring_classes import BoringModel\nclass Net(BoringModel): pass\n"
    )
    (root / "data" / "some.py").write_text("raise SystemExit('these data are not for it')\n")
    main(["--max_epochs", "1", "--limit_train_batches", "2", "--enable_progress_bar", "no"])
    assert "last" in capsys.readouterr().out


@pytest.mark.parametrize("init", ["", "def __init__(self): super().__init__()"])
def test_a_model_without_flags_needs_no_hparams(root, init):
    text = MODEL.format("Net").replace(" pass", f"\n    {init or 'pass'}")
    (root / "models" / "net.py").write_text(text)
    assert dict(MODELS.build("net", Namespace(max_epochs=1)).hparams) == {}


DATA_MODULE = MODEL.replace("Module", "DataModule").replace(" pass", "") + FLAGS.replace(
    "model_specific", "data_specific"
)


def test_a_model_chooses_its_data_unless_told(root):
    (root / "models" / "net.py").write_text(MODEL.format("Net").replace(" pass", '\n    data_name = "letters"'))
    (root / "models" / "other.py").write_text(MODEL.format("Other"))
    for name in ("abc", "letters"):
        (root / "data" / f"{name}.py").write_text(
            DATA_MODULE.format("Letters").replace("--width", f"--{name}_size").replace("WIDTH", "3")
        )
    args = parse_args(["--model_name", "net"])
    assert (args.data_name, args.letters_size) == ("letters", 3)
    assert parse_args(["--model_name", "net", "--data_name", "abc"]).abc_size == 3
    assert parse_args(["--model_name", "other"]).data_name == "abc"
    Path("file.yaml").write_text("data_name: abc\n")
    assert parse_args(["--model_name", "net", "--config", "file.yaml"]).data_name == "abc"
    assert "models.net" not in sys.modules
    (root / "data" / "letters.py").unlink()
    with pytest.raises(UsageError, match=r"^models/net\.py: data_name = 'letters', and data/ holds abc$"):
        parse_args(["--model_name", "net"])


def test_a_flag_of_model_and_data_is_named_with_both(root):
    (root / "models" / "net.py").write_text("WIDTH = 1\n" + MODEL.format("Net").replace(" pass", "") + FLAGS)
    (root / "data" / "mine.py").write_text("WIDTH = 1\n" + DATA_MODULE.format("Mine"))
    with pytest.raises(UsageError, match=r"data/mine\.py declares --width, which models/net\.py has already"):
        parse_args(["--model_name", "net"])


def test_the_default_stays_when_files_are_added(root):
    for name in ("aaa", "my_model", "zzz"):
        (root / "models" / f"{name}.py").write_text(MODEL.format("Net"))
        (root / "data" / f"{name.replace('model', 'data')}.py").write_text(
            MODEL.format("D").replace("Module", "DataModule")
        )
    args = parse_args([])
    assert (args.model_name, args.data_name) == ("my_model", "my_data")
