"""The contract checks, on a sound model and on models that break one promise each."""

import re
import shutil
from unittest import SkipTest

import pytest

import main
import train
from harness.contracts import BrokenPromiseError, Program, promises, slow_promises
from harness.sweeps.optuna.contracts import search_space_promises
from tests.conftest import TEMPLATE

PROGRAM = Program(main.parse_args, train.train, train.evaluate, main.__file__)
SOUND = """
from argparse import ArgumentParser
import pytorch_lightning as pl
import torch
from torch.nn import functional as F

class Net(pl.LightningModule):
    monitor = "val_loss"

    @staticmethod
    def add_model_specific_args(parent_parser):
        parser = ArgumentParser(parents=[parent_parser], add_help=False)
        parser.add_argument("--width", type=int, default=16)
        parser.add_argument("--activation", choices=["relu", "gelu"], default="relu")
        parser.add_argument("--learning_rate", type=float, default=0.01)
        return parser

    @staticmethod
    def search_space(trial):
        trial.suggest_int("width", 4, 64, log=True)
        trial.suggest_categorical("activation", ["relu", "gelu"])
        trial.suggest_float("learning_rate", 1e-4, 1e-1, log=True)

    def __init__(self, hparams):
        super().__init__()
        self.save_hyperparameters(hparams)
        self.first = torch.nn.Linear(28 * 28, self.hparams.width)
        self.last = torch.nn.Linear(self.hparams.width, 10)

    def forward(self, x):
        return self.last(getattr(F, self.hparams.activation)(self.first(x.flatten(1))))

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = F.cross_entropy(self(x), y)
        return loss

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", F.cross_entropy(self(batch[0]), batch[1]), sync_dist=True)

    def test_step(self, batch, batch_idx):
        self.log("test_loss", F.cross_entropy(self(batch[0]), batch[1]), sync_dist=True)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=self.hparams.learning_rate)
"""

# The name of a model; what is replaced in the sound one, and by what; the check that fails, and its message.
BROKEN = {
    "default_of_another_type": (
        ("type=int, default=16", "type=int, default=16.5"),
        "its_flags_are_parsed",
        "take their defaults, typed or from config.yaml.*--width: invalid int value.*Look at the types and defaults",
    ),
    "flag_of_the_data": (
        ("--width", "--batch_size"),
        "its_flags_are_parsed",
        r"data/my_data\.py declares --batch_size, which models/flag_of_the_data\.py has already",
    ),
    "syntax": (("def forward(self, x):", "def forward(self, x)"), "its_flags_are_parsed", "SyntaxError"),
    "forgets_its_flags": (
        (
            "self.save_hyperparameters(hparams)",
            "self.save_hyperparameters({'width': hparams.width, 'activation': 'relu'})",
        ),
        "its_defaults_build_it",
        "--learning_rate 0.01 is not in self.hparams.*Look at __init__",
    ),
    "reads_the_argument": (
        ("28 * 28, self.hparams.width", "28 * 28, hparams.width"),
        "its_checkpoint_brings_it_back",
        r"a checkpoint brings it back.*'dict' object has no attribute 'width'.*read self\.hparams\.NAME",
    ),
    "wrong_size": (
        ("28 * 28, self.hparams.width", "300, self.hparams.width"),
        "one_batch_fits",
        "one batch fits.*mat1 and mat2 shapes cannot be multiplied.*Look at its steps",
    ),
    "detached": (("return loss", "return loss.detach()"), "one_batch_fits", "compute the loss from the weights"),
    "not_a_number": (("return loss", "return loss * float('nan')"), "one_batch_fits", "the loss is not finite"),
    "learns_nothing": (
        ("lr=self.hparams.learning_rate", "lr=0.0"),
        "the_loss_of_one_batch_falls",
        r"falls within 40 steps.*it was 2\.\d+ at first and 2\.\d+ at last.*configure_optimizers",
    ),
    "keeps_an_object": (
        (
            "    def forward",
            "    def on_save_checkpoint(self, checkpoint):\n        checkpoint['own'] = self.first\n\n    def forward",
        ),
        "its_checkpoint_brings_it_back",
        "loaded safely.*they hold a torch.nn.modules.linear.Linear",
    ),
    "needs_training_to_test": (
        (
            "    def test_step(self, batch, batch_idx):",
            "    def on_fit_start(self):\n        self.scale = 1.0\n\n"
            "    def test_step(self, batch, batch_idx):\n        self.log('scale', self.scale)",
        ),
        "its_checkpoint_alone_is_tested",
        "tested from its checkpoint alone.*has no attribute 'scale'.*Look at test_step and setup",
    ),
    "remembers_outside": (
        ("return loss", "self.seen = getattr(self, 'seen', 0) + 1\n        return loss / self.seen"),
        "a_killed_run_is_resumed_to_the_bit",
        r"is resumed.*\d of 4 weights differ, such as first\.weight.*Look at what it keeps outside its weights",
    ),
    "draws_what_is_no_flag": (
        ('suggest_int("width"', 'suggest_int("depth"'),
        "its_search_space_is_legal",
        "draw of its search space is legal.*--depth.*Look at search_space",
    ),
    "draws_what_its_flag_refuses": (
        ('suggest_categorical("activation", ["relu", "gelu"])', 'suggest_categorical("activation", ["tanh"])'),
        "its_search_space_is_legal",
        "activation.*tanh.*relu.*gelu",
    ),
}


@pytest.fixture
def promises_of(root):
    """Return a function that writes a model and returns its promises, with my_data as the only data."""
    shutil.copy(TEMPLATE / "data" / "my_data.py", root / "data")

    def written(name, text):
        (root / "models" / f"{name}.py").write_text(text)
        found = [*promises(PROGRAM), *search_space_promises(PROGRAM)]
        return {str(promise.check): promise for promise in found if promise.name == name}

    return written


def test_a_sound_model_keeps_every_promise(promises_of):
    found = promises_of("sound", SOUND)
    assert len(found) == 9
    for promise in found.values():
        promise.require()


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_promise_is_named_with_the_file_and_where_to_look(promises_of, name):
    (old, new), check, message = BROKEN[name]
    assert SOUND.count(old) == 1
    promise = promises_of(name, SOUND.replace(old, new))[check]
    with pytest.raises(BrokenPromiseError) as caught:
        promise.require()
    assert re.match(rf"models/{name}\.py breaks a promise: .*{message}", str(caught.value), re.DOTALL)


@pytest.mark.parametrize(
    ("name", "old", "new", "check", "reason"),
    [
        ("no_space", "def search_space(trial)", "def other(trial)", "its_search_space_is_legal", "it has none"),
        ("no_test", "def test_step", "def other", "its_checkpoint_alone_is_tested", "there is no test_step"),
        ("by_hand", "self.save_hyp", "self.automatic_optimization = False; self.save_hyp", "the_loss", "by hand"),
        ("no_batch", "28 * 28", "300", "its_checkpoint_brings_it_back", "it fits no batch, which another check"),
    ],
)
def test_a_check_that_does_not_apply_is_skipped_with_a_reason(promises_of, name, old, new, check, reason):
    found = promises_of(name, SOUND.replace(old, new))
    (promise,) = [promise for key, promise in found.items() if key.startswith(check)]
    with pytest.raises(SkipTest, match=reason):
        promise.require()


# How a library may ask for the network, and what it may make of the error.
DOWNLOADS = {
    "socket": "import socket; socket.create_connection(('example.com', 80))",
    "urllib": "from urllib.request import urlopen; urlopen('https://example.com/data.zip')",
    "own_error": "import socket\n        try: socket.getaddrinfo('example.com', 80)\n"
    "        except OSError as error: raise RuntimeError('Error downloading') from error",
    "hidden_error": "import socket\n        try: socket.getaddrinfo('example.com', 80)\n"
    "        except OSError: raise FileNotFoundError('data.zip') from None",
}


@pytest.mark.parametrize("library", DOWNLOADS)
def test_what_needs_the_network_is_skipped_whatever_raises(promises_of, library):
    look_up = f"{DOWNLOADS[library]}\n        return loss"
    with pytest.raises(SkipTest, match=r"it needs example\.com, and checks use no network"):
        promises_of("online", SOUND.replace("return loss", look_up))["one_batch_fits"].require()


def test_a_relative_path_is_one_of_the_project(promises_of, root, tmp_path, monkeypatch):
    (root / "files").mkdir()
    (root / "files" / "scale.txt").write_text("1.0")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    text = SOUND.replace(
        "return loss", "return loss * float(__import__('pathlib').Path('files/scale.txt').read_text())"
    )
    for promise in promises_of("reads_a_file", text).values():
        promise.require()
    assert sorted(path.name for path in root.iterdir()) == ["data", "elsewhere", "files", "models"]
    assert [path.name for path in (tmp_path / "elsewhere").iterdir()] == ["runs"]


def test_a_class_leaves_out_a_check_with_its_reason(promises_of):
    unchecked = '    unchecked = {"the_loss_of_one_batch_falls": "a reward rises"}\n    monitor'
    text = SOUND.replace("    monitor", unchecked, 1).replace("return loss", "return -loss")
    found = promises_of("rewarded", text)
    with pytest.raises(SkipTest, match=r"models/rewarded\.py leaves it out: a reward rises"):
        found["the_loss_of_one_batch_falls"].require()
    found["one_batch_fits"].require()


def test_a_failure_says_what_lightnings_own_loops_do(promises_of, monkeypatch):
    wrong = promises_of("wrong", SOUND.replace("28 * 28, self", "300, self"))["one_batch_fits"]
    with pytest.raises(BrokenPromiseError, match=r"own loops \(--plain\) it is broken, too: .*mat1 and mat2"):
        wrong.require()

    def faulty(trainer, args, run):
        if not args.plain:
            raise ValueError("a slip of the harness")

    monkeypatch.setattr(train, "resume_exactly", faulty)
    with pytest.raises(
        BrokenPromiseError, match=r"(?s)a slip of the harness.*--plain\) it holds: this is a fault of the har"
    ):
        promises_of("right", SOUND)["one_batch_fits"].require()


TYPED = """
from dataclasses import dataclass
from pathlib import Path
import pytorch_lightning as pl
import torch
from torch.nn import functional as F

@dataclass
class Config:
    width: int = 16

class Net(pl.LightningModule):
    monitor = "val_loss"

    def __init__(self, PARAMETERS):
        super().__init__()
        self.save_hyperparameters()
        self.first = torch.nn.Linear(28 * 28, config.width)
        self.last = torch.nn.Linear(config.width, 10)
"""
TYPED += SOUND[SOUND.index("    def forward") :]
PARAMETERS = (
    "config: Config = Config(), activation: str = 'relu', learning_rate: float = 0.01, folder: Path = Path('x')"
)


def test_a_model_with_a_typed_signature_keeps_every_promise(promises_of):
    text = TYPED.replace("\nPARAMETERS", "").replace("PARAMETERS", PARAMETERS)
    for promise in promises_of("typed", text).values():
        if str(promise.check) != "its_search_space_is_legal":
            promise.require()


def test_a_hyperparameter_that_became_text_is_named(promises_of):
    text = TYPED.replace("PARAMETERS", PARAMETERS).replace(
        "self.save_hyperparameters()", "self.save_hyperparameters(); folder.name"
    )
    with pytest.raises(
        BrokenPromiseError, match=r"'str' object has no attribute 'name'.*\(.*folder: checkpoints hold pl"
    ):
        promises_of("typed", text)["its_checkpoint_brings_it_back"].require()


def test_a_model_with_a_flag_that_must_be_given_is_skipped(promises_of):
    text = TYPED.replace("PARAMETERS", f"classes: int, {PARAMETERS}")
    for promise in promises_of("typed", text).values():
        with pytest.raises(SkipTest, match="--classes must be given"):
            promise.require()


def test_on_loops_of_lightning_exact_resume_is_not_asked_for(promises_of, monkeypatch):
    monkeypatch.setattr(train, "resume_exactly", lambda trainer, args, run: None)
    promise = promises_of("on_other_loops", SOUND)["a_killed_run_is_resumed_to_the_bit"]
    with pytest.raises(SkipTest, match="own loops"):
        promise.require()


def test_checks_that_start_processes_are_apart():
    assert {str(promise.check) for promise in slow_promises(PROGRAM)} == {"two_processes_train_it"}
