"""--init_from: a new run begins with the weights of a file, and with nothing else of it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from harness import found
from main import parse_args
from models.my_model import MyModel
from tests.harness.program import main, refused
from train import train

QUIET = ["--enable_progress_bar", "no", "--enable_model_summary", "no"]
LIMITS = ["--limit_train_batches", "2", "--limit_val_batches", "1", "--limit_test_batches", "1"]
SHORT = [*QUIET, *LIMITS, "--model_name", "my_model", "--max_epochs", "1"]
LAST = "first/checkpoints/last.ckpt"
PROJECT = found.ROOT
STAY = ["--learning_rate", "1e-30"]  # the weights at the end are those of the start


def weights_of(file):
    content = torch.load(file, weights_only=True)
    return content.get("state_dict", content)


def same(one, other):
    assert one.keys() == other.keys()
    return all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture
def first():
    """A run whose weights others begin with; its seed is not theirs."""
    train(parse_args([*SHORT, "--seed", "9", "--learning_rate", "0.2"]), Path("first"))
    return weights_of(LAST)


def test_the_weights_are_taken_and_nothing_else(first, capsys):
    train(parse_args([*SHORT, *STAY, "--init_from", LAST]), Path("second"))
    assert f"weights of {LAST}: all 2 taken\n" in capsys.readouterr().err
    content = torch.load("second/checkpoints/last.ckpt", weights_only=True)
    assert same(content["state_dict"], first)
    assert content["global_step"] == 2
    config = yaml.safe_load(Path("second/config.yaml").read_text())
    assert (config["init_from"], config["seed"], config["ckpt_path"]) == (LAST, 0, None)
    assert not same(weights_of("second/checkpoints/last.ckpt"), MyModel({"learning_rate": 1}).state_dict())


def test_a_state_dict_is_taken(first):
    torch.save(first, "weights.pt")
    train(parse_args([*SHORT, *STAY, "--init_from", "weights.pt", "--init_from_strict"]), Path("second"))
    assert same(weights_of("second/checkpoints/last.ckpt"), first)


def test_another_head_is_named_and_keeps_its_own_weights(first, capsys):
    other = {"head.weight": torch.zeros(10, 256), "layer.weight": first["layer.weight"], "layer.bias": torch.zeros(5)}
    torch.save(other, "other.pt")
    fresh = ["--run_name", "fresh"]
    main([*SHORT, *STAY, *fresh])
    capsys.readouterr()
    main([*SHORT, *STAY, "--init_from", "other.pt", "--run_name", "second"])
    text = (
        "1 of 3 taken; left out in the file: head.weight [10, 256], layer.bias [5]; new in the model: layer.bias [10]"
    )
    assert f"weights of other.pt: {text}\n" in capsys.readouterr().err
    found_now = weights_of("runs/second/checkpoints/last.ckpt")
    assert torch.equal(found_now["layer.weight"], first["layer.weight"])
    assert torch.equal(found_now["layer.bias"], weights_of("runs/fresh/checkpoints/last.ckpt")["layer.bias"])


def test_any_difference_is_an_error_if_it_is_strict(first, capsys):
    torch.save({**first, **{f"more.{n}": torch.zeros(n) for n in range(5)}}, "more.pt")
    line = refused(capsys, *SHORT, "--init_from", "more.pt", "--init_from_strict")
    listed = "more.0 [0], more.1 [1], more.2 [2], and 2 more"
    assert f"--init_from_strict: weights of more.pt: 2 of 7 taken; left out in the file: {listed}" in line


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"head.weight": torch.zeros(2)}, "no weights match by name and shape"),
        ({"layer.bias": torch.zeros(10, dtype=torch.int64)}, "no weights match by name and shape"),
        ({"epoch": 3}, "neither a checkpoint nor a state_dict: epoch is no tensor"),
        ({}, "holds no weights by name"),
        ([1], "holds no weights by name"),
        ({"layer.bias": Path("x")}, "which is not loaded safely"),
    ],
)
def test_what_holds_no_weights_of_the_model_is_refused(content, message, capsys):
    torch.save(content, "file.pt")
    line = refused(capsys, *SHORT, "--init_from", "file.pt")
    assert "--init_from file.pt" in line
    assert message in line


def test_files_that_cannot_be_read_are_refused(first, capsys):
    assert "--init_from none.pt: No such file or directory" in refused(capsys, *SHORT, "--init_from", "none.pt")
    assert "--init_from first is no file" in refused(capsys, *SHORT, "--init_from", "first")
    Path("half.ckpt").write_bytes(Path(LAST).read_bytes()[:999])
    assert "--init_from half.ckpt cannot be read as a checkpoint" in refused(capsys, *SHORT, "--init_from", "half.ckpt")
    assert "--init_from s3://a/b is not on this machine" in refused(capsys, *SHORT, "--init_from", "s3://a/b")


def test_flags_that_contradict_it_are_refused(first, capsys):
    both = refused(capsys, "--init_from", LAST, "--ckpt_path", LAST, "--max_epochs", "2", *QUIET)
    assert "--init_from takes the weights alone, --ckpt_path all of a checkpoint: give one of them" in both
    line = refused(capsys, "test", "--init_from", LAST, "--ckpt_path", LAST, *QUIET)
    assert "--init_from is a flag of fit: test takes the weights of --ckpt_path" in line
    assert "--init_from_strict needs a file" in refused(capsys, *SHORT, "--init_from_strict")


def test_one_line_begins_with_weights_and_resumes_without_them(first, capsys):
    line = [*SHORT, *STAY, "--init_from", LAST, "--run_name", "base", "--ckpt_path", "auto"]
    main(line)
    other = {name: value + 1 for name, value in first.items()}
    content = torch.load("runs/base/checkpoints/last.ckpt", weights_only=True)
    torch.save({**content, "state_dict": other}, "runs/base/checkpoints/last.ckpt")
    Path("runs/base/metrics.json").unlink()
    capsys.readouterr()
    main([*line, "--max_epochs", "2"])
    assert "taken" not in capsys.readouterr().err
    assert same(weights_of("runs/base/checkpoints/last.ckpt"), other)
    config = yaml.safe_load(Path("runs/base/config.yaml").read_text())
    assert (config["init_from"], config["init_from_strict"]) == (LAST, False)  # to repeat it


def test_the_config_of_a_run_repeats_it_and_gives_way_to_the_command_line(first, capsys):
    main([*SHORT, *STAY, "--init_from", LAST, "--run_name", "base"])
    config, last = "runs/base/config.yaml", "runs/base/checkpoints/last.ckpt"
    main(["--config", config, "--run_name", "again"])
    assert same(weights_of("runs/again/checkpoints/last.ckpt"), weights_of(last))
    assert parse_args(["test", "--config", config, "--ckpt_path", last]).init_from is None
    assert parse_args(["--config", config, "--ckpt_path", last, "--max_epochs", "2"]).init_from is None
    assert parse_args(["--config", config, "--ckpt_path", "none"]).init_from == LAST
    assert parse_args(["--config", config, "--init_from", "none"]).init_from is None
    assert parse_args(["--ckpt_path", last, "--max_epochs", "2"]).init_from is None


def test_weights_come_after_a_search(first, capsys):
    """The search sets back the weights to those that it found."""
    train(parse_args([*SHORT, "--auto_lr_find", "--init_from", LAST, "--limit_train_batches", "1"]), Path("found"))
    assert capsys.readouterr().err.count("taken") == 1
    content = torch.load("found/checkpoints/last.ckpt", weights_only=True)
    rate = content["hyper_parameters"]["learning_rate"]
    # the first step of Adam is as long as the learning rate
    assert torch.allclose(content["state_dict"]["layer.weight"], first["layer.weight"], atol=2 * rate)


LATE = {
    "none": "",
    "configure_model": """
    def configure_model(self):
        if not hasattr(self, "layer"):
            self.layer = torch.nn.Linear(28 * 28, 10)
""",
    "setup": """
    def setup(self, stage):
        if not hasattr(self, "layer"):
            self.layer = torch.nn.Linear(28 * 28, 10)
""",
}


@pytest.fixture
def late(root):
    """Return a function that writes models/late.py, whose layers are made in a hook."""

    def write(hook):
        for folder, name in (("models", "my_model"), ("data", "digits")):
            for suffix in (".py", ".npz"):
                if (PROJECT / folder / f"{name}{suffix}").exists():
                    (root / folder / f"{name}{suffix}").write_bytes((PROJECT / folder / f"{name}{suffix}").read_bytes())
        text = (PROJECT / "models" / "my_model.py").read_text()
        if LATE[hook]:
            text = text.replace("        self.layer = torch.nn.Linear(28 * 28, 10)\n", LATE[hook])
        (root / "models" / "late.py").write_text(text)
        return "late"

    return write


MORE = [[], ["--plain"], ["--ema_decay", "0.5"]]


@pytest.mark.parametrize(
    ("hook", "more"),
    [
        *((hook, more) for hook in ("none", "configure_model") for more in MORE),
        *(("setup", more) for more in MORE[:2]),  # Lightning averages layers that are there before it
    ],
)
def test_layers_made_in_a_hook_take_them(late, hook, more, capsys):
    name = late(hook)
    weights = {"layer.weight": torch.full((10, 784), 0.25), "layer.bias": torch.full((10,), 0.5)}
    torch.save(weights, "weights.pt")
    words = [*SHORT, *STAY, "--model_name", name, "--data_name", "digits", "--init_from", "weights.pt", *more]
    train(parse_args(words), Path("run"))
    assert capsys.readouterr().err.count("weights of weights.pt: all 2 taken") == 1
    content = torch.load("run/checkpoints/last.ckpt", weights_only=True)
    assert same(content["state_dict"], weights)
    if "--ema_decay" in more:
        assert same(content["current_model_state"], weights)
    torch.save({"other": torch.zeros(1)}, "other.pt")
    line = refused(capsys, *words, "--init_from", "other.pt")
    assert "--init_from other.pt: no weights match by name and shape; left out in the file: other [1]" in line


def test_two_processes_take_them(first):
    """A gradient of the mean of both would show weights that differ."""
    script = PROJECT / "main.py"
    flags = ["--accelerator", "cpu", "--devices", "2", "--strategy", "ddp", "--run_name", "two", "--init_from", LAST]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    result = subprocess.run(
        [sys.executable, str(script), *SHORT, *STAY, *flags], capture_output=True, text=True, env=environment
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr.count("all 2 taken") == 1
    assert same(weights_of("runs/two/checkpoints/last.ckpt"), first)
    assert json.loads(Path("runs/two/metrics.json").read_text())


def test_every_trial_of_a_sweep_begins_with_them(first):
    program = pytest.importorskip("sweep_optuna")
    from harness.sweeps.optuna.sweep import read_sweep

    words = ["--model_name", "my_model", "--n_trials", "2"]
    sweep = read_sweep([*words, "--init_from", LAST], program.build_parser)
    args = sweep.run_args({"learning_rate": 0.1})
    assert args.init_from == LAST
    assert f"--init_from={LAST}" in sweep.command(args)
    assert sweep.name != read_sweep(words, program.build_parser).name


SHARDED = """
from torch.distributed.fsdp import fully_shard

from models.my_model import MyModel


class Sharded(MyModel):
    is_sharded = False

    def configure_model(self) -> None:
        if not self.is_sharded:
            fully_shard(self.layer, mesh=self.device_mesh["data_parallel"])
            self.is_sharded = True
"""
PROGRAM = """
from pathlib import Path

from pytorch_lightning.strategies import ModelParallelStrategy

from harness import app
from harness.runs.run import open_run
from main import build_parser


def main(args):
    from train import train

    sizes = {"data_parallel_size": 2, "tensor_parallel_size": 1}
    strategy = ModelParallelStrategy(**sizes, process_group_backend="gloo", save_distributed_checkpoint=False)
    with open_run(args) as run:
        return run.summary(train(args, run, strategy=strategy))


app.run(build_parser, main)
"""


def test_two_processes_that_split_the_weights_take_them(first, bake):
    project = bake(project_slug="sharded")
    (project.path / "models" / "sharded.py").write_text(SHARDED)
    (project.path / "sharded.py").write_text(PROGRAM)
    flags = ["--accelerator", "cpu", "--devices", "2", "--init_from", LAST]
    result = project.python("sharded.py", *SHORT, *STAY, *flags, "--model_name", "sharded", cwd=Path(), timeout=60)
    assert result.returncode == 0, result.stderr
    assert result.stderr.count("all 2 taken") == 1
    (run,) = Path("runs").iterdir()  # one directory, although its name is a time
    assert same(weights_of(run / "checkpoints" / "last.ckpt"), first)


def test_a_model_with_lazy_layers_is_resumed_validated_and_begun_with(root, capsys):
    text = (PROJECT / "models" / "my_model.py").read_text()
    text = text.replace("nn.Linear(28 * 28, 10)", "nn.LazyLinear(10)")
    assert "Lazy" in text
    (root / "models" / "lazy.py").write_text(text)
    shutil.copy(PROJECT / "data" / "digits.py", root / "data" / "own.py")
    shutil.copy(PROJECT / "data" / "digits.npz", root / "data" / "own.npz")
    short = [*QUIET, *LIMITS, "--max_epochs", "1", "--model_name", "lazy", "--data_name", "own"]
    main([*short, "--run_name", "base"])
    main([*QUIET, "--ckpt_path", "last", "--max_epochs", "2"])
    main(["validate", "--ckpt_path", "best", *QUIET])
    capsys.readouterr()
    main([*short, *STAY, "--init_from", "runs/base/checkpoints/last.ckpt", "--run_name", "second"])
    assert "all 2 taken" in capsys.readouterr().err
    assert same(*(weights_of(f"runs/{name}/checkpoints/last.ckpt") for name in ("base", "second")))
