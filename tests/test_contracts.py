"""The contract tests of a baked project: models of many kinds pass, broken ones are told which promise and where."""

import re
import shutil
from xml.etree import ElementTree

from tests.conftest import ROOT

PUBLIC = ROOT / "tests" / "public"
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

# what is changed, into what; the test that says so; what it says
BROKEN = {
    "default_of_another_type": (
        ("type=int, default=16", "type=int, default=16.5"),
        "test_its_flags_are_parsed",
        "take their defaults, typed or from config.yaml.*--width: invalid int value.*Look at the types and defaults",
    ),
    "flag_of_the_data": (
        ("--width", "--batch_size"),
        "test_its_flags_are_parsed",
        r"data/digits\.py declares --batch_size, which models/flag_of_the_data\.py has already",
    ),
    "syntax": (("def forward(self, x):", "def forward(self, x)"), "test_its_flags_are_parsed", "SyntaxError"),
    "forgets_its_flags": (
        (
            "self.save_hyperparameters(hparams)",
            "self.save_hyperparameters({'width': hparams.width, 'activation': 'relu'})",
        ),
        "test_its_defaults_build_it",
        "--learning_rate 0.01 is not in self.hparams.*Look at __init__",
    ),
    "reads_the_argument": (
        ("28 * 28, self.hparams.width", "28 * 28, hparams.width"),
        "test_its_checkpoint_brings_it_back",
        r"a checkpoint brings it back.*'dict' object has no attribute 'width'.*read self\.hparams\.NAME",
    ),
    "wrong_size": (
        ("28 * 28, self.hparams.width", "300, self.hparams.width"),
        "test_one_batch_fits",
        "one batch fits.*mat1 and mat2 shapes cannot be multiplied.*Look at its steps",
    ),
    "detached": (("return loss", "return loss.detach()"), "test_one_batch_fits", "compute the loss from the weights"),
    "not_a_number": (("return loss", "return loss * float('nan')"), "test_one_batch_fits", "the loss is not finite"),
    "learns_nothing": (
        ("lr=self.hparams.learning_rate", "lr=0.0"),
        "test_the_loss_of_one_batch_falls",
        r"falls within 40 steps.*it was 2\.\d+ at first and 2\.\d+ at last.*configure_optimizers",
    ),
    "keeps_an_object": (
        (
            "    def forward",
            "    def on_save_checkpoint(self, checkpoint):\n        checkpoint['own'] = self.first\n\n    def forward",
        ),
        "test_its_checkpoint_brings_it_back",
        "loaded safely.*they hold a torch.nn.modules.linear.Linear",
    ),
    "needs_training_to_test": (
        (
            "    def test_step(self, batch, batch_idx):",
            "    def on_fit_start(self):\n        self.scale = 1.0\n\n"
            "    def test_step(self, batch, batch_idx):\n        self.log('scale', self.scale)",
        ),
        "test_its_checkpoint_alone_is_tested",
        "tested from its checkpoint alone.*has no attribute 'scale'.*Look at test_step and setup",
    ),
    "draws_what_is_no_flag": (
        ('suggest_int("width"', 'suggest_int("depth"'),
        "test_its_search_space_is_legal",
        "draw of its search space is legal.*unknown flag --depth.*Look at search_space",
    ),
    "draws_what_its_flag_refuses": (
        ('suggest_categorical("activation", ["relu", "gelu"])', 'suggest_categorical("activation", ["tanh"])'),
        "test_its_search_space_is_legal",
        "'tanh' is not one of relu, gelu",
    ),
    "alone": (
        ("return loss", "assert self.trainer.world_size == 1, 'only one process'\n        return loss"),
        "test_two_processes_train_it",
        "two processes train it.*only one process.*Look at what depends on the number of processes",
    ),
    "remembers_outside": (
        ("return loss", "self.seen = getattr(self, 'seen', 0) + 1\n        return loss / self.seen"),
        "test_a_killed_run_goes_on_to_the_bit",
        r"killed goes on.*\d of 4 differ, as first\.weight.*Look at what it keeps outside its weights",
    ),
}


def outcomes(project, *selection):
    """Run the contract tests; return "passed", "skipped: ..." or what is said of a failure, by test and file."""
    report = project.path / "report.xml"
    files = ("tests/test_contracts.py", "tests/test_search_space.py")
    command = ["-m", "pytest", "-q", *files, f"--junitxml={report}", *selection]
    result = project.python(*command)
    assert report.exists(), result.stdout + result.stderr
    found = {}
    for case in ElementTree.parse(report).iter("testcase"):
        told = [f"{each.tag}: {each.text or each.get('message')}" for each in case]
        test, name = re.fullmatch(r"(\w+)\[(?:models-|data-)?(\w+)\]", case.get("name")).groups()
        found[test, name] = " ".join(told) or "passed"
    return found


def test_a_broken_model_is_told_which_promise_and_where(bake):
    project = bake(project_slug="broken", example_models=False, sweeps="optuna")
    (project.path / "models" / "sound.py").write_text(SOUND)
    for name, ((old, new), _, _) in BROKEN.items():
        assert SOUND.count(old) == 1
        (project.path / "models" / f"{name}.py").write_text(SOUND.replace(old, new))
    # Two processes take long, and most of these models fail before.
    found = outcomes(project, "-k", "not two_processes or alone or sound")
    for name, (_, test, message) in BROKEN.items():
        assert re.search(rf"models/{name}\.py breaks a promise: .*" + message, found[test, name], re.DOTALL), found[
            test, name
        ]
    good = {name for _, name in found} - BROKEN.keys()
    assert good == {"sound", "my_model", "digits", "my_data", "mnist"}
    failures = {
        key: said for key, said in found.items() if key[1] in good and not said.startswith(("passed", "skipped"))
    }
    assert not failures
    skipped = {test for (test, name), said in found.items() if name == "sound" and said != "passed"}
    assert not skipped


def test_models_of_many_kinds_keep_the_promises(bake):
    project = bake(project_slug="public", sweeps="optuna")
    shutil.copytree(PUBLIC, project.path, dirs_exist_ok=True)
    models, data = ({path.stem for path in (PUBLIC / folder).iterdir()} for folder in ("models", "data"))
    found = outcomes(project, "-k", " or ".join(models | data))
    assert {name for _, name in found} == models | data
    by_hand = {("test_the_loss_of_one_batch_falls", "adversarial")}
    without_space = {("test_its_search_space_is_legal", name) for name in models | data if name not in ("vae", "text")}
    others = {key: said for key, said in found.items() if said != "passed" and key not in by_hand | without_space}
    assert not others
    assert all(found[key].startswith("skipped") for key in by_hand | without_space)
