"""Flags from a typed signature: models and data modules as they are in public code, without a hook."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from harness.errors import UsageError
from harness.found import MODELS
from main import parse_args
from tests.conftest import TEMPLATE
from tests.harness.program import main

NET = '''
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import List, Literal, Optional, Union

import pytorch_lightning as pl
import torch
from torch.nn import functional as F

{}

class Net(pl.LightningModule):
    """A net.

    Args:
        width: units of the hidden layer, 10% of them dropped.
        lr (float): step size. Default: 1e-3
    """

    monitor = "val_loss"

    def __init__(self, {}):
        super().__init__()
        self.save_hyperparameters()
        self.layer = torch.nn.Linear(28 * 28, 10)

    def training_step(self, batch, batch_idx):
        return F.cross_entropy(self.layer(batch[0].flatten(1)), batch[1])

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", F.cross_entropy(self.layer(batch[0].flatten(1)), batch[1]))

    def test_step(self, batch, batch_idx):
        self.log("test_loss", F.cross_entropy(self.layer(batch[0].flatten(1)), batch[1]))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-3)
'''
ROWS = """
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, TensorDataset

class Rows(pl.LightningDataModule):
    def __init__(self, rows: int = 100, batch_size: int = 10):
        super().__init__()
        self.save_hyperparameters()

    def train_dataloader(self):
        x, y = torch.rand(self.hparams.rows, 1, 28, 28), torch.zeros(self.hparams.rows, dtype=torch.long)
        return DataLoader(TensorDataset(x, y), self.hparams.batch_size)

    val_dataloader = test_dataloader = train_dataloader
"""
CONFIG = '''
@dataclass
class Config:
    """The shape.

    Args:
        depth: number of layers.
    """

    depth: int = 2
    dropout: float = 0.1
    names: List[str] = field(default_factory=list)
'''
ACTIVATION = "class Activation(Enum):\n    RELU = 'relu'\n    GELU = 'gelu'\n"
SHORT = ("--model_name", "net", "--accelerator", "cpu", "--limit_train_batches", "2", "--limit_val_batches", "1")
ONE_EPOCH = (*SHORT, "--max_epochs", "1", "--limit_test_batches", "1", "--enable_progress_bar", "no")


@pytest.fixture
def net(root):
    """Return a function that writes the model ``net`` with a signature; the data are ``rows``."""
    (root / "data" / "rows.py").write_text(ROWS)

    def write(signature, above=""):
        (root / "models" / "net.py").write_text(NET.format(above, signature))
        sys.modules.pop("models.net", None)

    return write


PARAMETERS = {  # the parameter, its default, words, and the value that they give
    "width: int = 64": (64, "--width 8", 8),
    "lr: float = 1": (1.0, "--lr 1e-3", 1e-3),
    "bias: bool = True": (True, "--no_bias", False),
    "skip: bool = False": (False, "--skip", True),
    "text: str = 'a b'": ("a b", "--text x", "x"),
    "optim: Literal['adam', 'sgd'] = 'adam'": ("adam", "--optim sgd", "sgd"),
    "clip: Optional[float] = None": (None, "--clip 0.5", 0.5),
    "seed_of_it: 'int | None' = 3": (3, "--seed_of_it none", None),
    "limit: Union[int, float] = 1.0": (1.0, "--limit 3", 3),
    "dims: List[int] = [3, 4]": ([3, 4], "--dims 1 2 3", [1, 2, 3]),
    "size: tuple[int, int] = (28, 28)": ((28, 28), "--size 3 4", (3, 4)),
    "any_size: tuple[float, ...] = ()": ((), "--any_size 3 4", (3.0, 4.0)),
    "where: Path = Path('x')": (Path("x"), "--where y/z", Path("y/z")),
    "untyped=0.5": (0.5, "--untyped 2", 2.0),
    "words=['a']": (["a"], "--words b c", ["b", "c"]),
}


@pytest.mark.parametrize("parameter", PARAMETERS)
def test_a_parameter_of_a_plain_type_is_a_flag(net, parameter):
    net(parameter)
    default, words, value = PARAMETERS[parameter]
    name = words.split()[0][2:].removeprefix("no_")
    for parsed, expected in (([], default), (words.split(), value)):
        found = getattr(parse_args(["--model_name", "net", *parsed]), name)
        assert (found, type(found)) == (expected, type(expected))
    assert "models.net" not in sys.modules  # nor torch for help: test_help_of_a_signature_needs_no_torch


@pytest.mark.parametrize(
    ("parameter", "words", "message"),
    [
        ("width: int = 64", "--width wide", "argument --width: 'wide' is not what it takes: int"),
        ("size: tuple[int, int] = (1, 2)", "--size 3", "argument --size: expected 2 arguments"),
        ("optim: Literal['adam', 'sgd'] = 'adam'", "--optim adm", "did you mean adam?"),
        ("width: int", "", "the following arguments are required: --width"),
        ("net: torch.nn.Module", "", "models/net.py: __init__ takes net, and no flag gives it"),
        ("a: dict, b", "", "models/net.py: __init__ takes a and b, and no flag gives it"),
        ("model_name: str = 'bert'", "", "models/net.py declares --model_name, which the program has already"),
        ("precision: int = 8", "", "models/net.py declares --precision, which the program has already"),
        ("seeds: int = 3", "", "models/net.py declares --seeds, which the program has already: choose another name"),
        ("submit: bool = False", "", "models/net.py declares --submit, which the program has already"),
        ("hparams: Config", "", "models/net.py: __init__ takes net, and no flag gives it"),
    ],
)
def test_a_mistake_is_one_line(net, capsys, parameter, words, message):
    net(parameter, CONFIG.replace("depth: int = 2", "net: torch.nn.Module"))
    with pytest.raises(SystemExit) as ended:
        main([*ONE_EPOCH, *words.split()])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err.splitlines()[-1]


def test_help_has_the_texts_of_the_docstring(net, capsys):
    net("classes: int, width: int = 64, lr: float = 1e-3, sizes: tuple[int, int] = (3, 4)")
    with pytest.raises(SystemExit):
        main(["--model_name", "net", "--help"])
    lines = " ".join(capsys.readouterr().out.split())
    assert "--classes int (required)" in lines
    assert "--width int units of the hidden layer, 10% of them dropped (default: 64)" in lines
    assert "--lr float step size (default: 0.001)" in lines
    assert "--sizes int int (default: 3 4)" in lines


def test_help_of_a_signature_needs_no_torch(net, root):
    net("width: int = 64, config: Config = Config(depth=3)", CONFIG)
    script = (
        f"import sys; sys.path.insert(0, {str(TEMPLATE)!r})\n"
        f"from pathlib import Path; from harness import found; found.ROOT = Path({str(root)!r})\n"
        "from main import parse_args\n"
        "flags = parse_args(['--width', '3', '--rows', '5'])\n"
        "print(flags.width, flags.depth, flags.rows, 'torch' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["3", "3", "5", "False"]


def test_a_class_without_parameters_has_no_flags(net, root):
    net("")
    (root / "models" / "net.py").write_text("import pytorch_lightning as pl\nclass Net(pl.LightningModule): pass\n")
    assert vars(MODELS["net"].own_args(parse_args(["--model_name", "net"]))) == {}


def test_a_parameter_shares_the_flag_of_its_name_and_sets_its_default(net):
    """Of the Trainer, of the run, and between model and data, of which the data are the last to set it."""
    net("max_epochs: int = 7, batch_size: int = 32, monitor: str = 'loss', seed: Optional[int] = None")
    args = parse_args([])
    assert (args.max_epochs, args.batch_size, args.monitor, args.seed) == (7, 10, "loss", 0)
    args = parse_args(["--max_epochs", "3", "--batch_size", "8"])
    assert dict(MODELS.build("net", args).hparams) == {"max_epochs": 3, "batch_size": 8, "monitor": "loss", "seed": 0}


def test_a_hook_wins(net, root):
    hook = "    @staticmethod\n    def add_model_specific_args(parser):\n"
    hook += "        parser.add_argument('--width', type=int, default=5)\n        return parser\n\n    def __init__"
    net("width: int = 64, depth: int = 3")
    file = root / "models" / "net.py"
    file.write_text(file.read_text().replace("    def __init__", hook, 1))
    args = parse_args(["--model_name", "net"])
    assert vars(MODELS["net"].own_args(args)) == {"width": 5}
    assert dict(MODELS.build("net", args).hparams) == {"width": 5, "depth": 3}


@pytest.mark.parametrize("default", [" = Config()", " = Config(depth=5)", ""])
@pytest.mark.parametrize("name", ["config", "hparams"])
def test_a_dataclass_gives_its_fields_and_comes_back_as_one(net, default, name, capsys):
    net(f"{name}: Config{default}, width: int = 64", CONFIG)
    main([*ONE_EPOCH, "--dropout", "0.3", "--names", "a", "b"])
    assert "as text" not in capsys.readouterr().err
    (run,) = Path("runs").iterdir()
    stored = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["hyper_parameters"]
    depth = 5 if "5" in default else 2
    assert stored == {name: {"depth": depth, "dropout": 0.3, "names": ["a", "b"]}, "width": 64}
    args = parse_args(["test", "--ckpt_path", str(run / "checkpoints" / "last.ckpt")])
    hparams = MODELS.build("net", args).hparams
    assert hparams[name] == sys.modules["models.net"].Config(depth, 0.3, ["a", "b"])
    main(["test", "--ckpt_path", "last", "--limit_test_batches", "1", "--enable_progress_bar", "no"])


def test_every_kind_comes_back_from_a_config_file_and_a_checkpoint(net):
    names = [name for name in PARAMETERS if not name.startswith("seed_of_it")]
    net(", ".join([*names, "activation: Activation = Activation.RELU"]), ACTIVATION)
    words = [word for name in names for word in PARAMETERS[name][1].split()]
    main([*ONE_EPOCH, *words, "--activation", "GELU"])
    (run,) = Path("runs").iterdir()
    first = parse_args([*ONE_EPOCH, *words, "--activation", "GELU"])
    again = parse_args(["--config", str(run / "config.yaml")])
    other = parse_args(["test", "--ckpt_path", str(run / "checkpoints" / "last.ckpt")])
    own = vars(MODELS["net"].own_args(first))
    assert len(own) == len(names) + 1
    for args in (again, other):
        assert {name: getattr(args, name) for name in own} == own
    model = MODELS.build("net", other)
    assert model.hparams.activation is sys.modules["models.net"].Activation.GELU
    assert json.loads((run / "metrics.json").read_text()).keys() == {"val_loss", "test_loss"}


def test_data_modules_have_flags_by_their_signature_too(net):
    net("width: int = 64")
    main([*ONE_EPOCH, "--rows", "40"])
    (run,) = Path("runs").iterdir()
    stored = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    assert stored["datamodule_hyper_parameters"] == {"rows": 40, "batch_size": 10}


def test_an_imported_name_is_told(net):
    """Where the signature needs what the file imports, the file is imported: slower, and right."""
    net("layer: torch.nn.Module = None, width: int = 64")
    assert vars(MODELS["net"].own_args(parse_args(["--model_name", "net"]))) == {"width": 64}
    with pytest.raises(UsageError, match="unknown flag --layer"):
        parse_args(["--model_name", "net", "--layer", "3"])
