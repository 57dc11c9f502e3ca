"""The command line, through main()."""

import csv
import json
import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
from pytorch_lightning import Callback

from harness import found
from harness.found import DATA
from main import parse_args
from tests.harness.program import main
from train import train

PROJECT = found.ROOT
QUIET = ["--enable_progress_bar", "no", "--enable_model_summary", "no"]


def run(*argv):
    """Return the metrics of a short run, in the place of the one before."""
    shutil.rmtree("run", ignore_errors=True)
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
        "config.yaml",
        "checkpoints/best.ckpt",
        "checkpoints/last.ckpt",
    }


def test_a_run_may_leave_its_test_out_and_a_test_leaves_its_metrics(capsys):
    untested = run("--test_after_fit", "no")
    assert not [name for name in untested if name.startswith("test_")]
    main(["test", *QUIET, "--ckpt_path", "run/checkpoints/best.ckpt", "--limit_train_batches", "4"])
    (tested,) = Path("runs").iterdir()
    metrics = json.loads((tested / "metrics.json").read_text())
    assert {**untested, **metrics} == run()


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
        ["--accelerator", "dp"],
        ["--strategy", "luck"],
        ["--gpus", "1000"],
        ["--max_steps", "-5"],
        ["tset"],
        ["test"],
        ["predict", "--ckpt_path", "nowhere.ckpt"],
        ["predict", "--ckpt_path", "none", "--predictions", "table.xls"],
        ["predict", "--ckpt_path", "none", "--devices", "2", "--accelerator", "cpu"],
        ["--config", "nowhere.yaml"],
        ["--seed", "4294967296"],
        ["--predictions", "table.csv"],
        ["--accumulate_grad_batches", "0"],
        ["--accumulate_grad_batches", "2", "--accumulate_grad_schedule", "0:4"],
        ["--val_check_interval", "0"],
        ["--ckpt_path", "."],
        ["--auto_lr_find", "no_such_attribute"],
        ["--val_check_interval", "1000", *QUIET],
        ["--monitor", "no_such_metric", "--max_epochs", "1", "--limit_train_batches", "2", "--logger", "none", *QUIET],
        ["--early_stopping_min_delta", "much"],
        ["--accumulate_grad_schedule", "0:0"],
        ["--ema_decay", "1"],
        ["--save_top_k", "-2"],
    ],
    ids=" ".join,
)
def test_a_mistake_is_answered_in_one_line(argv, capsys):
    with pytest.raises(SystemExit) as stop:
        main(argv)
    assert stop.value.code == 2
    *notices, line = capsys.readouterr().err.splitlines()
    assert ": error: " in line
    assert not [notice for notice in notices if "Traceback" in notice or "error: " in notice]
    assert not list(Path("runs").glob("*"))


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("trian", "; did you mean fit?"),
        ("train", "; did you mean fit?"),
        ("tset", "; did you mean test?"),
        ("evaluate", "; did you mean test?"),
        ("vaildate", "; did you mean validate?"),
        ("nwe", "; did you mean new?"),
        ("run", "; did you mean runs?"),
        ("mnist.py", ""),
    ],
)
def test_a_wrong_first_word_lists_those_that_there_are(word, hint, capsys):
    with pytest.raises(SystemExit) as stop:
        main([word, "--max_epochs", "1"])
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    words = "fit, validate, test, predict, export, new or runs"
    assert f"error: {word!r} is no command: the first word may be {words}{hint} (see " in line


def test_a_flag_of_another_model_is_named_with_it(root, capsys):
    text = (PROJECT / "models" / "my_model.py").read_text()
    (root / "models" / "mine.py").write_text(text)
    (root / "models" / "other.py").write_text(text.replace("learning_rate", "width"))
    (root / "data" / "some.py").write_text((PROJECT / "data" / "my_data.py").read_text())
    Path("own.yaml").write_text("width: 1\n")
    for argv, where in ((["--width", "1"], ""), (["--config", "own.yaml"], "own.yaml: ")):
        with pytest.raises(SystemExit):
            main(["--model_name", "mine", *argv])
        assert f"error: {where}--width is a flag of model other, not mine" in capsys.readouterr().err


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
    for flag, text in (("--help", "--learning_rate"), ("--help_all", "--num_sanity_val_steps")):
        with pytest.raises(SystemExit) as stop:
            main(["--model_name", "my_model", "--data_name", "my_data", flag])
        assert stop.value.code == 0
        shown = capsys.readouterr().out
        for expected in ("--seed", "--max_epochs", "--learning_rate", "--batch_size", "--num_workers", text):
            assert expected in shown


def test_versions_are_shown(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0
    expected = ", ".join(f"{package} {version(package)}" for package in ("pytorch-lightning", "torch"))
    assert expected in capsys.readouterr().out


def test_the_config_of_a_run_repeats_it_exactly(monkeypatch):
    first = run("--limit_val_batches", "2", "--batch_size", "32", "--seed", "3", "--learning_rate", "0.004")
    monkeypatch.setenv("PL_TRAINER_LIMIT_TRAIN_BATCHES", "1")
    again = train(parse_args(["--config", "run/config.yaml"]), Path("again"))
    assert again == first
    assert train(parse_args(["--config", "again/config.yaml", "--seed", "4"]), Path("other")) != first


def table(capsys):
    return dict(line.split() for line in capsys.readouterr().out.splitlines() if len(line.split()) == 2)


def test_a_checkpoint_is_validated_tested_and_predicted_with(capsys):
    run("--max_epochs", "2")
    best = "run/checkpoints/best.ckpt"
    metrics = run("--max_epochs", "2")
    main(["validate", "--ckpt_path", best, *QUIET])
    validated = table(capsys)
    assert float(validated["val_loss"]) == pytest.approx(metrics["val_loss"], abs=1e-4)
    assert not [name for name in validated if name.startswith(("test", "train"))]
    main(["test", "--ckpt_path", best, *QUIET])
    tested = table(capsys)
    assert float(tested["test_loss"]) == pytest.approx(metrics["test_loss"], abs=1e-4)
    main(["predict", "--ckpt_path", best, *QUIET])
    predicted = table(capsys)
    with Path(predicted["predictions"]).open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 300
    labels = torch.tensor([int(row["label"]) for row in rows])
    data = DATA.load("digits")(parse_args([]))
    data.setup("predict")
    right = (labels == data.splits["test"].tensors[1]).float().mean().item()
    assert right == pytest.approx(float(tested["test_accuracy"]), abs=1e-4)
    for printed in (validated, tested, predicted):
        assert (Path(printed["run"]) / "config.yaml").exists()
        assert not (Path(printed["run"]) / "checkpoints").exists()
    main(["--config", f"{tested['run']}/config.yaml"])
    assert table(capsys)["test_loss"] == tested["test_loss"]


def test_weights_of_other_flags_are_refused_in_one_line(capsys):
    run("--model_name", "my_model")
    checkpoint = torch.load("run/checkpoints/best.ckpt", weights_only=True)
    checkpoint["state_dict"] = {name: value[:-1] for name, value in checkpoint["state_dict"].items()}
    torch.save(checkpoint, "other.ckpt")
    for command in ("test", "fit"):
        with pytest.raises(SystemExit) as stop:
            main([command, "--ckpt_path", "other.ckpt", "--model_name", "my_model", *QUIET])
        assert stop.value.code == 2
        assert "other weights than these flags make" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    "content", [b"", b"text", b"seed: 0\n", b"PK\x03\x04", {"a": 1}, {"state_dict": {}}, [1]], ids=str
)
def test_what_is_no_checkpoint_is_refused_in_one_line(content, capsys):
    if isinstance(content, bytes):
        Path("some.ckpt").write_bytes(content)
    else:
        torch.save(content, "some.ckpt")
    for command in ("test", "fit"):
        with pytest.raises(SystemExit) as stop:
            main([command, "--ckpt_path", "some.ckpt", *QUIET])
        assert stop.value.code == 2
        assert "--ckpt_path some.ckpt " in capsys.readouterr().err.splitlines()[-1]
    assert not list(Path("runs").glob("*"))


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("models.my_model.MyModel.predict_step", "models/my_model.py has no predict_step, which predict needs"),
        (
            "harness.data.InMemoryData.predict_dataloader",
            "data/digits.py has no predict_dataloader, which predict needs",
        ),
    ],
)
def test_what_a_command_lacks_is_named(method, message, monkeypatch, capsys):
    monkeypatch.delattr(method)
    with pytest.raises(SystemExit) as stop:
        main(["predict", "--ckpt_path", "none", "--model_name", "my_model", *QUIET])
    assert stop.value.code == 2
    assert message in capsys.readouterr().err
    assert not list(Path("runs").glob("*"))


def test_predictions_never_overwrite_a_file(capsys):
    Path("table.csv").write_text("mine")
    with pytest.raises(SystemExit) as stop:
        main(["predict", "--ckpt_path", "none", "--predictions", "table.csv", *QUIET])
    assert stop.value.code == 2
    assert "table.csv exists already" in capsys.readouterr().err
    assert Path("table.csv").read_text() == "mine"
    assert not list(Path("runs").glob("*"))


def test_fit_goes_on_from_a_checkpoint(capsys):
    run("--max_epochs", "2")
    for flag in ("--ckpt_path", "--resume_from_checkpoint"):
        train(parse_args([*QUIET, flag, "run/checkpoints/last.ckpt", "--max_epochs", "3"]), Path(flag))
        with Path(flag, "metrics.csv").open() as file:
            assert {row["epoch"] for row in csv.DictReader(file) if row["train_loss"]} == {"2"}
    assert "--resume_from_checkpoint run/checkpoints/last.ckpt is now --ckpt_path" in capsys.readouterr().err


@pytest.mark.parametrize(
    "argv",
    [["--help"], ["--version"], ["--help_all"], ["--max_epochs", "x"], ["--no_such_flag"]],
    ids=" ".join,
)
def test_torch_is_not_imported_before_the_command_line_is_found_right(argv):
    script = f"import main, sys\nfrom harness import app\ntry: app.run(main.build_parser, main.main, {argv})\n"
    script += "except SystemExit: pass\n"
    script += "print('torch' in sys.modules, file=sys.stderr)"
    result = subprocess.run(
        [sys.executable, "-c", script],
        cwd=found.ROOT,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert result.stderr.splitlines()[-1] == "False"
