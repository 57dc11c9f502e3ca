"""What a TAB completes."""

import os
import subprocess
import sys
from pathlib import Path

import argcomplete
import pytest

from harness import found
from harness.found import DATA, MODELS


@pytest.fixture
def complete(tmp_path):
    """Return what the last word of a command line can become, as argcomplete answers a shell."""

    def completed(line):
        line, answer = f"python main.py {line}", tmp_path.with_name("answer")
        asked = {
            "_ARGCOMPLETE": "2",  # words before the arguments
            "_ARGCOMPLETE_STDOUT_FILENAME": str(answer),
            "_ARGCOMPLETE_SUPPRESS_SPACE": "1",
            "COMP_LINE": line,
            "COMP_POINT": str(len(line)),
        }
        command = [sys.executable, str(found.ROOT / "main.py")]
        subprocess.run(command, env=os.environ | asked, check=True, timeout=60)
        return [word.strip() for word in answer.read_text().split("\v") if word]

    return completed


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("", ["fit", "validate", "test", "predict", "export", "new", "runs"]),
        ("pre", ["predict"]),
        ("fit --model_n", ["--model_name"]),
        ("--model_name ", MODELS.names()),
        ("--model_name my_", ["my_model"]),
        ("--model_name=my_", ["--model_name=my_model"]),
        ("--data_name ", DATA.names()),
        ("--model_name my_model --learn", ["--learning_rate"]),
        ("ne", ["new"]),
        ("new ", ["model", "data"]),
        ("new d", ["data"]),
        ("new model ", []),
        ("runs ", ["show", "diff", "plot", "best", "rm"]),
        ("runs plot --x ", ["step", "epoch"]),
        ("runs --so", ["--sort"]),
        ("runs best val_loss --mode m", ["min", "max"]),
        ("--profiler s", ["simple"]),
        ("--fast_dev_run n", ["no"]),
        ("--logger te", ["tensorboard"]),
        ("--seed ", []),
        ("--config ", []),
        ("--nonsense ", []),
    ],
)
def test_a_word_is_completed(complete, line, expected):
    assert complete(line) == expected


def test_no_hidden_flag_is_offered(complete):
    found = complete("--")
    assert {"--max_epochs", "--learning_rate", "--help_all"} <= set(found)
    assert not {"--amp_backend", "--no_logger", "--command"} & set(found)


def test_a_wrong_line_is_completed_all_the_same(complete):
    assert complete("--max_epochs x --see") == ["--seed", "--seeds"]


def test_bash_asks():
    """`python main.py`, as the global completion of argcomplete asks it, and ./main.py, registered by name."""
    scripts = Path(sys.executable).parent
    script = f"""
        PATH="{scripts}:$PATH" COMP_TYPE=9
        source {Path(argcomplete.__file__).parent}/bash_completion.d/_python-argcomplete
        COMP_LINE="python main.py --model_name my_" COMP_POINT=31 COMP_CWORD=3
        COMP_WORDS=(python main.py --model_name my_)
        _python_argcomplete_global python
        echo "${{COMPREPLY[@]}}"
    """
    result = subprocess.run(["bash", "-c", script], cwd=found.ROOT, capture_output=True, text=True)
    assert result.stdout.split() == ["my_model"], result.stderr
