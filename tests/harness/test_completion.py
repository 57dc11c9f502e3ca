"""What a TAB completes."""

import subprocess
import sys

import pytest
from program import main

from harness import found
from harness.cli.completion import SCRIPTS
from harness.found import DATA, MODELS


@pytest.fixture
def complete(capsys):
    """Return what the last word of a command line can become."""

    def completed(line):
        main(["--complete", *line.split(" ")])
        return capsys.readouterr().out.split()

    return completed


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("", ["fit", "validate", "test", "predict", "new"]),
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
    assert complete("--max_epochs x --see") == ["--seed"]


@pytest.mark.parametrize("shell", SCRIPTS)
def test_the_script_names_this_project(shell, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--completion", shell])
    assert stop.value.code == 0
    assert str(found.ROOT / "main.py") in capsys.readouterr().out


def test_bash_asks():
    script = """
        source <(PYTHON main.py --completion bash)
        COMP_WORDS=(PYTHON ./main.py --model_name my_); COMP_CWORD=3
        _complete_main_py
        echo "${COMPREPLY[@]}"
        COMP_WORDS=(PYTHON args.py --model_name my_); COMPREPLY=()
        _complete_main_py
        echo "${COMPREPLY[@]}"
    """.replace("PYTHON", sys.executable)
    result = subprocess.run(["bash", "-c", script], cwd=found.ROOT, capture_output=True, text=True, check=True)
    assert result.stdout == "my_model\n\n"
