"""A checkpoint is read once per command."""

import os
import sys
from pathlib import Path

import pytest

from harness import found
from main import parse_args
from tests.conftest import run
from train import train

SHORT = ["--model_name", "my_model", "--enable_progress_bar", "no", "--enable_model_summary", "no"]
SHORT += ["--limit_train_batches", "2", "--limit_val_batches", "1", "--limit_test_batches", "1"]
# Counts how often a process opens each checkpoint to read it.
COUNTED = """
from collections import Counter
opened = Counter()
def note(event, args):
    if event == "open" and str(args[0]).endswith(".ckpt") and "r" in str(args[1] or "r"):
        opened[str(args[0]).rpartition("/")[2]] += 1
sys.addaudithook(note)
import main
from harness import app
app.run(main.build_parser, main.main)
print(dict(sorted(opened.items())), file=sys.stderr)
"""


def opens(*argv):
    """Return how often a command opens the checkpoints that it reads, by name."""
    script = f"import sys\nsys.path.insert(0, {str(found.ROOT)!r})\n{COUNTED}"
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    result = run([sys.executable, "-c", script, *argv], cwd=Path.cwd(), env=environment)
    assert result.returncode == 0, result.stderr
    return result.stderr.splitlines()[-1]


@pytest.mark.parametrize("command", ["validate", "test", "predict"])
def test_a_command_opens_its_checkpoint_once(command):
    train(parse_args([*SHORT, "--max_epochs", "1"]), Path("run"))
    assert opens(command, *SHORT[2:6], "--ckpt_path", "run/checkpoints/best.ckpt") == "{'best.ckpt': 1}"


def test_fit_opens_the_checkpoint_that_it_resumes_once_and_the_best_one_once():
    train(parse_args([*SHORT, "--max_epochs", "1"]), Path("run"))
    read = opens("--ckpt_path", "run/checkpoints/last.ckpt", "--max_epochs", "2")
    assert read == "{'best.ckpt': 1, 'last.ckpt': 1}"
