"""Sweeps through their command line: what is refused, and one that runs."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import modules
from sweep_optuna import main, read_command_line

MODEL = ("--model_name", "my_model")
SHORT = ("--max_epochs", "2", "--limit_train_batches", "3", "--limit_val_batches", "2", "--accelerator", "cpu")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--search learning_rat=1..3", "unknown flag --learning_rat, did you mean --learning_rate?"),
        ("--search learning_rate", "--search learning_rate: write NAME=LOW..HIGH"),
        ("--search learning_rate=", "write NAME=LOW..HIGH"),
        ("--search learning_rate=a..b", "learning_rate=a..b: learning_rate: 'a' is not a positive number"),
        ("--search learning_rate=0..1", "learning_rate: '0' is not a positive number"),
        ("--search learning_rate=2..1", "--search learning_rate=2..1 is no range"),
        ("--search learning_rate=1..2:lin", "after : comes log or the step, not 'lin'"),
        ("--search gradient_clip_val=0..1:log", "is no range: log needs numbers above 0"),
        ("--search batch_size=0,64", "batch_size: '0' is not a positive integer"),
        ("--search batch_size=64,64", "a value comes twice"),
        ("--search batch_size=8..64:0", "--search batch_size=8..64:0 is no range"),
        ("--search compile=no..yes", "--compile takes no numbers; list its values: compile=VALUE,VALUE"),
        (
            "--search learning_rate=1..2 --learning_rate 1",
            "--learning_rate is given and searched: leave one of them out",
        ),
        ("--search data_name=digits,my_data", "--data_name cannot be searched: give it"),
        ("--learning_rate 0.1", "there is nothing to search: learning_rate are held, as given"),
        ("--search_only", "there is nothing to search; name it, as in --search learning_rate=1e-4..1e-1:log"),
        ("--sampler grid", "--sampler grid needs values, not a range: --search learning_rate=VALUE,VALUE"),
        ("--sampler best", "--sampler: 'best' is not one of tpe, random"),
        ("--pruner best", "--pruner: 'best' is not one of median, hyperband"),
        ("--direction up", "'up' is neither minimize nor maximize"),
        ("--monitor train_loss", "--monitor train_loss needs --direction"),
        ("--monitor a,b --direction minimize", "--direction minimize must have one for each of a, b"),
        ("--monitor a,b --direction minimize,maximize --pruner median", "--pruner median needs one metric"),
        ("--num_nodes 2", "trials do not go over several machines"),
        ("--command test", "a sweep trains: leave out test"),
        ("--ckpt_path best", "--ckpt_path best: there is no run below"),
        ("--storage study.db", "--storage study.db is no URL"),
        ("--storage nosuch://host/name", "--storage nosuch://host/name: "),
        ("--storage grpc://host", "write grpc://HOST:PORT"),
        ("--study_name a/b", "'a/b' cannot be the name of a directory"),
        ("--workers 0", "--workers: '0' is not a positive integer"),
        ("--n_trials 0", "--n_trials: '0' is not a positive integer"),
        ("--report", "there is no study my_model-"),
        ("--nonsense 1", "unknown flag --nonsense"),
        ("--config missing.yaml", "missing.yaml"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line_and_leaves_nothing(words, message, capsys):
    with pytest.raises(SystemExit) as exit_info:
        main([*MODEL, *words.split()])
    error = capsys.readouterr().err
    assert message in error
    assert exit_info.value.code == 2
    assert len(error.splitlines()) == 1
    assert not list(Path().iterdir())


def test_a_config_file_is_of_main_too(capsys):
    """The line that repeats a trial names it, so it holds no flag of the sweep."""
    Path("base.yaml").write_text("max_epochs: 1\nn_trials: 3\n")
    with pytest.raises(SystemExit):
        main([*MODEL, "--config", "base.yaml"])
    assert "--n_trials is not main.py's, which reads the same --config: give it as a flag" in capsys.readouterr().err
    Path("base.yaml").write_text("max_epochs: 1\n")
    assert read_command_line([*MODEL, "--config", "base.yaml", "--n_trials", "3"]).n_trials == 3


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_a_server_that_does_not_answer_is_one_line(capsys):
    with pytest.raises(SystemExit, match=r"--storage grpc://127\.0\.0\.1:9: .*nothing is lost"):
        main([*MODEL, "--storage", "grpc://127.0.0.1:9"])


def test_the_name_of_a_study_is_made_of_what_it_does():
    def name(*words):
        return read_command_line([*MODEL, *words]).name

    plain = name()
    assert plain.startswith("my_model-")
    for same in ("--workers 3", "--n_trials 7", "--default_root_dir elsewhere", "--num_threads 1", "--devices 1"):
        assert name(*same.split()) == plain
    for other in ("--max_epochs 3", "--seed 1", "--sampler random", "--search batch_size=8,16", "--learning_rate 1"):
        searched = ["--search", "batch_size=16,32"] if other.startswith("--learning") else []
        assert name(*other.split(), *searched) != plain
    assert name("--study_name", "mine") == "mine"


def test_the_model_says_what_is_to_become_best(root):
    text = (
        "import pytorch_lightning as pl\n"
        "class Net(pl.LightningModule):\n"
        "    monitor, monitor_mode = 'val_accuracy', 'max'\n"
        "    @staticmethod\n"
        "    def add_model_specific_args(parent_parser):\n"
        "        parent_parser.add_argument('--width', type=int, default=3)\n"
        "        return parent_parser\n"
        "    @staticmethod\n"
        "    def search_space(trial):\n"
        "        trial.suggest_int('width', 1, 9)\n"
        "    def train_dataloader(self): ...\n"
    )
    (root / "models" / "net.py").write_text(text)
    (root / "data" / "none.py").touch()
    sweep = read_command_line(["--model_name", "net"])
    assert (sweep.metrics, sweep.directions) == (("val_accuracy",), ("maximize",))
    words = ["--model_name", "net", "--monitor", "loss", "--direction", "minimize"]
    sweep = read_command_line(words)
    assert (sweep.metrics, sweep.directions) == (("loss",), ("minimize",))
    # The line that repeats a trial takes the checkpoint of the same epoch.
    command = sweep.command({"width": 4})
    assert command == ["--model_name", "net", "--monitor=loss", "--monitor_mode=min", "--width=4"]
    (root / "models" / "net.py").write_text(text.replace("    monitor, monitor_mode = 'val_accuracy', 'max'\n", ""))
    with pytest.raises(Exception, match=r"models/net\.py names no metric: give --monitor METRIC --direction"):
        read_command_line(["--model_name", "net"])


def test_the_words_of_the_sweep_are_not_those_of_a_run():
    words = [*MODEL, "--n_trials", "3", "--search", "batch_size=8,16", "learning_rate=1e-3..1e-2", "--max_epochs", "1"]
    sweep = read_command_line(
        [*words, "--keep_top=2", "--report", "no", "--direction=maximize", "--monitor", "val_accuracy"]
    )
    command = sweep.command({"batch_size": 8, "learning_rate": 0.002}, num_threads=1)
    assert command[:4] == [*MODEL, "--max_epochs", "1"]
    assert command[4:6] == ["--monitor=val_accuracy", "--monitor_mode=max"]
    assert command[6:] == ["--batch_size=8", "--learning_rate=0.002", "--num_threads=1"]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("", []),
        ("--sampler ", ["tpe", "random", "grid", "cmaes", "gp", "qmc"]),
        ("--model_name my_", ["my_model"]),
        ("--model_name my_model --learn", ["--learning_rate"]),
        ("--pru", ["--pruner"]),
    ],
)
def test_a_word_is_completed(capsys, line, expected):
    main(["--complete", *line.split(" ")])
    assert capsys.readouterr().out.split() == expected


def test_bash_asks():
    script = """
        source <(PYTHON main.py --completion bash)
        COMP_WORDS=(PYTHON sweep_optuna.py --model_name my_model --pruner hyp); COMP_CWORD=5
        _complete_main_py
        echo "${COMPREPLY[@]}"
    """.replace("PYTHON", sys.executable)
    result = subprocess.run(["bash", "-c", script], cwd=modules.ROOT, capture_output=True, text=True, check=True)
    assert result.stdout == "hyperband\n"


def python(*argv):
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, *argv]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)


def test_help_and_mistakes_import_neither_torch_nor_optuna():
    script = (
        f"import sys; sys.path.insert(0, {str(modules.ROOT)!r}); import sweep_optuna\n"
        "try: sweep_optuna.main(sys.argv[1:])\n"
        "except SystemExit: print([name for name in ('torch', 'optuna', 'matplotlib') if name in sys.modules])"
    )
    for words in (["--help"], ["--search", "nothing=1..2"], ["--sampler", "grid"]):
        result = python("-c", script, *MODEL, *words)
        assert result.stdout.splitlines()[-1] == "[]", result.stderr
    assert "--n_trials" in python("-c", script, "--help").stdout


def sweep(*words):
    result = python(str(modules.ROOT / "sweep_optuna.py"), *MODEL, *SHORT, *words)
    assert result.returncode == 0, result.stdout + result.stderr
    return result


def test_a_sweep_finds_the_best_and_the_line_that_repeats_it():
    first = sweep("--n_trials", "3", "--keep_top", "1")
    assert "Warning" not in first.stderr
    lines = first.stdout.splitlines()
    assert [line.split(":")[0] for line in lines[:3]] == ["trial 0", "trial 1", "trial 2"]
    (directory,) = Path("runs/sweeps").iterdir()
    with (directory / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["state"] for row in rows] == ["complete"] * 3
    losses = [float(row["val_loss"]) for row in rows]
    best = losses.index(min(losses))
    # What is shown, what lies there, and what the line gives are one number, to the last bit.
    run_dir = directory / "trials" / f"{best:04}"
    assert json.loads((run_dir / "metrics.json").read_text())["val_loss"] == losses[best]
    assert f"best: trial {best}, val_loss {losses[best]:.4f}" in lines
    assert str((run_dir / "checkpoints" / "best.ckpt").resolve()) in lines
    assert [path.parent.name for path in directory.glob("trials/*/checkpoints")] == [run_dir.name]
    (line,) = [line for line in lines if line.startswith("python main.py ")]
    again = python(str(modules.ROOT / "main.py"), *line.split()[2:])
    assert again.returncode == 0, again.stderr
    (repeated,) = Path("runs").glob("2*")
    assert json.loads((repeated / "metrics.json").read_text()) == json.loads((run_dir / "metrics.json").read_text())
    # The same command has nothing to do; with more trials it goes on.
    again = sweep("--n_trials", "3", "--keep_top", "1")
    assert "trial 0:" not in again.stdout
    assert again.stdout.splitlines()[-8:] == lines[-8:]
    more = sweep("--n_trials", "4", "--keep_top", "1")
    assert "4 trials: 4 complete" in more.stdout
    assert len(list(Path("runs/sweeps").iterdir())) == 1
    # A report of what is there changes nothing else.
    report = sweep("--n_trials", "9", "--report")
    assert "4 trials: 4 complete" in report.stdout
    for figure in ("History", "Importances", "Parallel coordinates", "Slices", "Intermediate values"):
        assert f"<h2>{figure}</h2>" in (directory / "report.html").read_text()
        assert (directory / "report" / f"{figure.lower().replace(' ', '_')}.png").stat().st_size > 5000
