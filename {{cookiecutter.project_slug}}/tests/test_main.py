"""The command line, through main()."""

import csv
from pathlib import Path

import pytest
from pytorch_lightning import Callback

from main import main, parse_args
from train import train

QUIET = ["--enable_progress_bar", "no", "--enable_model_summary", "no"]


def run(*argv):
    """Return the metrics of a short run."""
    return train(parse_args([*QUIET, "--limit_train_batches", "4", "--max_epochs", "1", *argv]), Path("run"))


def test_a_run_prints_its_metrics_and_where_it_lies(capsys):
    main([*QUIET, "--max_epochs", "1", "--limit_train_batches", "4"])
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    table = {words[0]: words[1] for words in lines if len(words) == 2}
    assert {"train_loss", "val_loss", "test_loss", "run"} <= set(table)
    run_dir = Path(table["run"])
    assert run_dir.parent == Path("runs")
    assert {str(path.relative_to(run_dir)) for path in run_dir.rglob("*.*")} >= {
        "metrics.csv",
        "hparams.yaml",
        "checkpoints/best.ckpt",
        "checkpoints/last.ckpt",
    }


def test_runs_that_start_together_get_a_directory_each(capsys):
    for _ in range(3):
        main([*QUIET, "--fast_dev_run", "--default_root_dir", "elsewhere"])
    assert len(list(Path("elsewhere").iterdir())) == 3


def test_the_seed_decides_everything():
    first, again, other = run("--seed", "1"), run("--seed", "1"), run("--seed", "2")
    assert first == again
    assert first["train_loss"] != other["train_loss"]


def test_the_metrics_are_those_of_the_best_epoch():
    metrics = run("--max_epochs", "5", "--learning_rate", "0.05")
    with Path("run/metrics.csv").open() as file:
        during = [float(row["val_loss"]) for row in csv.DictReader(file) if row["val_loss"]]
    assert metrics["val_loss"] == pytest.approx(min(during))


@pytest.mark.parametrize(
    "argv",
    [
        ["--max_epochs", "many"],
        ["--max_ep", "3"],
        ["--no_such_flag"],
        ["--model_name", "no_such_model"],
        ["--model_name"],
        ["--learning_rate", "0"],
        ["--batch_size", "-1"],
        ["--precision", "17"],
        ["--accelerator", "abacus"],
        ["--strategy", "luck"],
        ["--gpus", "1000"],
        ["--max_steps", "-5"],
    ],
    ids=" ".join,
)
def test_a_mistake_is_answered_in_one_line(argv, capsys):
    with pytest.raises(SystemExit) as stop:
        main(argv)
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert ": error: " in line
    assert not list(Path("runs").glob("*"))


def test_flags_that_do_not_fit_the_data_are_answered_in_one_line(capsys):
    with pytest.raises(SystemExit) as stop:
        main([*QUIET, "--val_check_interval", "1000"])
    assert stop.value.code == 2
    assert "val_check_interval" in capsys.readouterr().err.splitlines()[-1]


def test_an_error_in_a_model_is_not_taken_for_one_in_the_flags():
    class Broken(Callback):
        def on_train_start(self, trainer, model):
            raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        train(parse_args([*QUIET, "--max_epochs", "1"]), Path("run"), [Broken()])


def test_a_folder_that_cannot_be_made_is_one_line():
    Path("file").touch()
    with pytest.raises(SystemExit, match=r"^main\.py: error: .*file"):
        main([*QUIET, "--default_root_dir", "file"])


def test_without_max_epochs_another_limit_is_the_only_one():
    run("--max_epochs", "none", "--max_steps", "90", "--limit_train_batches", "3")  # 30 epochs
    with Path("run/metrics.csv").open() as file:
        assert max(int(row["epoch"]) for row in csv.DictReader(file)) >= 29


@pytest.mark.parametrize(
    "argv", [["--check_val_every_n_epoch", "9"], ["--max_steps", "3"], ["--limit_val_batches", "0"]]
)
def test_the_last_weights_are_kept_however_validation_runs(argv):
    run("--limit_train_batches", "2", "--max_epochs", "2", *argv)
    assert Path("run/checkpoints/last.ckpt").exists()


def test_overfit_batches_repeats_its_batches():
    seen = []

    class Record(Callback):
        def on_train_batch_start(self, trainer, model, batch, batch_idx):
            seen.append(batch[1].tolist())

    train(parse_args([*QUIET, "--overfit_batches", "2", "--max_epochs", "3"]), Path("run"), [Record()])
    assert len(seen[0]) == 64
    assert seen[:2] == seen[2:4] == seen[4:]


def test_help_shows_the_flags_of_the_chosen_model(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--model_name", "my_model", "--data_name", "mnist", "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    for flag in ("--seed", "--max_epochs", "--learning_rate", "--batch_size", "--mirror"):
        assert flag in text
