"""trainer_args.py, copied alone: on the sources of many Lightning releases, and under a script written for 1.9."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, TEMPLATE, Project

RELEASES = Path(sys.prefix) / "releases"  # sources alone, as make puts them there
FLAGS = {  # how many Trainer parameters can be written as text
    "2.0.9": 38,  # plugins could be text
    "2.1.4": 37,
    "2.2.5": 37,
    "2.3.3": 37,
    "2.4.0": 37,
    "2.5.6": 38,  # model_registry
    "lightning-2.6.6": 39,  # enable_autolog_hparams
}

# Reads the release on PYTHONPATH, and nothing else that is installed.
READ = """
import json, sys
sys.path = [folder for folder in sys.path if "site-packages" not in folder]
from argparse import ArgumentParser
import trainer_args
from trainer_args import Trainer
parser = Trainer.add_argparse_args(ArgumentParser(), use_argument_group=False)
flags = {flag.name: [trainer_args.describe(flag.kinds), flag.help] for flag in trainer_args._flags(Trainer)}
lines = json.loads(sys.argv[1])
values = [getattr(parser.parse_args(line.split()), name) for line, name in lines]
heavy = {"torch", "pytorch_lightning", "lightning", "lightning_fabric"} & set(sys.modules)
print(json.dumps([trainer_args._lightning(), flags, values, sorted(heavy)]))
"""

LINES = [
    ("--fast_dev_run", "fast_dev_run", True),
    ("--fast_dev_run 7", "fast_dev_run", 7),
    ("--limit_train_batches 1e-1", "limit_train_batches", 0.1),
    ("--devices 0,1", "devices", [0, 1]),
    ("--devices auto", "devices", "auto"),
    ("--val_check_interval 0.25", "val_check_interval", 0.25),
    ("--max_steps 1e5", "max_steps", 100_000),
    ("--max_time 00:12:00:00", "max_time", "00:12:00:00"),
    ("--precision 16-mixed", "precision", "16-mixed"),
    ("--precision 32", "precision", 32),
    ("--deterministic warn", "deterministic", "warn"),
    ("--gradient_clip_val None", "gradient_clip_val", None),
    ("--no_enable_checkpointing", "enable_checkpointing", False),
    ("--logger csv,tensorboard", "logger", "csv,tensorboard"),
    ("--strategy ddp_find_unused_parameters_true", "strategy", "ddp_find_unused_parameters_true"),
    ("--accelerator mps", "accelerator", "mps"),
    ("--accelerator ddp", "accelerator", "ddp"),
    ("--profiler pytorch", "profiler", "pytorch"),
    ("--gradient_clip_algorithm value", "gradient_clip_algorithm", "value"),
    ("--default_root_dir here", "default_root_dir", "here"),
]


def python(*argv, cwd, **environment):
    """Run Python where trainer_args.py lies alone."""
    (cwd / "trainer_args.py").write_bytes((TEMPLATE / "harness" / "trainer_args.py").read_bytes())
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PL_")} | environment
    return subprocess.run([sys.executable, *argv], cwd=cwd, env=clean, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize("release", FLAGS)
def test_flags_are_read_from_the_source_of_a_release(release, tmp_path):
    assert (RELEASES / release).is_dir(), f"no {RELEASES / release}: make .venv/.ready puts it there"
    lines = json.dumps([[line, name] for line, name, _ in LINES])
    result = python("-c", READ, lines, cwd=tmp_path, PYTHONPATH=str(RELEASES / release))
    assert result.returncode == 0, result.stderr
    lightning, flags, values, heavy = json.loads(result.stdout)
    assert lightning == ("lightning.pytorch" if release.startswith("lightning") else "pytorch_lightning")
    assert len(flags) == FLAGS[release]
    assert values == [value for *_, value in LINES]
    assert heavy == []
    for name, (takes, text) in flags.items():
        assert takes, name
        assert text, name


def test_the_trainer_is_that_of_the_lightning_that_the_program_imports(tmp_path):
    script = "import lightning.pytorch as pl\nfrom argparse import ArgumentParser\nfrom trainer_args import Trainer\n"
    script += (
        "args = Trainer.add_argparse_args(ArgumentParser()).parse_args(['--max_epochs', '3', '--logger', 'csv'])\n"
    )
    script += "trainer = Trainer.from_argparse_args(args)\n"
    script += "assert type(trainer) is pl.Trainer and trainer.max_epochs == 3 and len(trainer.loggers) == 1"
    result = python("-W", "ignore", "-c", script, cwd=tmp_path, PYTHONPATH=str(RELEASES / "lightning-2.6.6"))
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("--size 32 --flip --gpus 0 --replace_sampler_ddp false", {"batches": "4", "lr": "0.1"}),
        ("--max_epochs 1 --learning_rate 0.2 --limit_train_batches 0.5", {"epochs": "1", "batches": "4", "lr": "0.2"}),
        ("--auto_scale_batch_size --auto_lr_find", {"epochs": "3", "batches": "1"}),
    ],
    ids=["flags of 1.x", "flags of today", "tune"],
)
def test_a_script_of_1_9_runs_after_changing_one_import_line(line, expected, tmp_path):
    old, new = (
        f"from {module} import LightningDataModule, Trainer\n" for module in ("pytorch_lightning", "trainer_args")
    )
    script = (Path(__file__).parent / "script_of_1_9.py").read_text()
    assert script.count(old) == 1
    (tmp_path / "script.py").write_text(script.replace(old, new))
    result = python("-W", "ignore", "script.py", *line.split(), cwd=tmp_path, PL_TRAINER_LIMIT_VAL_BATCHES="2")
    assert result.returncode == 0, result.stderr
    printed = dict(text.split(" ", 1) for text in result.stdout.splitlines() if " " in text)
    assert printed.items() >= expected.items()
    assert "limit_val_batches=2" in printed["from"]
    if "--flip" in line:  # the loss of Lightning 1.9.5, where the script ran unchanged; processors round differently
        assert float(printed["loss"]) == pytest.approx(0.015434152446687222, rel=1e-5)


def test_the_docs_have_the_fate_of_every_flag_of_1_x(tmp_path):
    text = (ROOT / "docs" / "trainer-args.md").read_text()
    fates = dict(re.findall(r"^\| `--(\w+)` \| ([\w ]+) \|", text, re.MULTILINE))
    script = "import json, trainer_args as t; "
    script += "print(json.dumps([list(t.FORMER), list(t.GONE), [flag.name for flag in t._flags(t.Trainer)]]))"
    former, gone, same = json.loads(python("-c", script, cwd=tmp_path).stdout)
    assert len(fates) == 66  # parameters of Trainer in 1.0.8, 1.1.8, 1.2.10, ... 1.9.5
    assert {name for name, fate in fates.items() if fate == "alias"} == set(former)
    assert {name for name, fate in fates.items() if fate == "gone"} == set(gone)
    assert {name for name, fate in fates.items() if fate == "the same"} <= set(same)
    for name in gone:
        assert f"| `--{name}` | gone | " in text


@pytest.mark.slow
@pytest.mark.parametrize("release", ["2.4.0", "2.5.6"])  # older ones do not import beside this torch and setuptools
def test_the_table_of_1_9_on_the_real_trainer_of_an_older_release(release):
    """But for the one value that these do not take yet: a time for --val_check_interval."""
    file = "tests/harness/test_trainer_args.py"
    rows = ["test_a_row_of_the_table_of_1_9[--val_check_interval 00:00:10:00]", "test_values_are_plain"]
    deselect = [word for row in rows for word in ("--deselect", f"{file}::{row}")]
    command = ["-m", "pytest", "-q", "-n", "0", "-W", "ignore", file, *deselect]
    result = Project(ROOT).python(*command, PYTHONPATH=str(RELEASES / release))
    assert result.returncode == 0, result.stdout
