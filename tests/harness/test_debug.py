"""--debug: flags for a short run that shows errors, weaker than the command line; and the report of a profiler."""

from pathlib import Path

import pytest
import yaml

from main import parse_args
from tests.harness.program import main, refused
from train import train

SHORT = ["--model_name", "my_model", "--enable_progress_bar", "no", "--enable_model_summary", "no"]


def printed_config(capsys, *argv):
    """Return the lines of --print_config: value and source by flag."""
    capsys.readouterr()
    with pytest.raises(SystemExit):
        main([*argv, "--print_config"])
    lines = [line.split("  # ") for line in capsys.readouterr().out.splitlines()]
    return {setting.split(": ")[0]: (setting.split(": ")[1], source) for setting, source in lines if ": " in setting}


def test_a_debug_run_is_short_and_says_so(capsys):
    main([*SHORT, "--debug", "--limit_train_batches", "3", "--num_workers", "0"])
    (run,) = Path("runs").iterdir()
    assert run.name.endswith("_my_model_debug")
    assert len((run / "metrics.csv").read_text().splitlines()) == 1 + 3 + 3  # steps; two validations and the test
    config = yaml.safe_load((run / "config.yaml").read_text())
    wanted = {"debug": True, "max_epochs": 1, "limit_train_batches": 3, "limit_val_batches": 10, "accelerator": "cpu"}
    assert {name: config[name] for name in wanted} == wanted
    again = parse_args(["--config", str(run / "config.yaml")])
    assert vars(again) == vars(parse_args([*SHORT, "--debug", "--limit_train_batches", "3"])) | {
        "config": again.config,
        "enable_progress_bar": again.enable_progress_bar,
    }
    main(["test", "--debug", "--ckpt_path", f"{run}/checkpoints/best.ckpt"])
    (tested,) = set(Path("runs").iterdir()) - {run}
    assert tested.name.endswith("_my_model_test_debug")
    capsys.readouterr()
    for path in ("last", "best"):
        with pytest.raises(SystemExit):
            main(["test", "--ckpt_path", path])
        assert "--fast_dev_run and --debug do not count" in capsys.readouterr().err


def test_flags_on_the_command_line_win_and_those_of_files_give_way(capsys, monkeypatch):
    Path("long.yaml").write_text("max_epochs: 90\nnum_workers: 2\nmin_epochs: 5\nlearning_rate: 0.5\nlogger: wandb\n")
    monkeypatch.setenv("PL_TRAINER_DEVICES", "4")
    shown = printed_config(capsys, *SHORT, "--config", "long.yaml", "--debug", "--log_every_n_steps", "7")
    assert shown["log_every_n_steps"] == ("7", "command line")
    assert shown["debug"] == ("true", "command line")
    assert shown["learning_rate"] == ("0.5", "file long.yaml")
    of_debug = {"max_epochs": "1", "min_epochs": "null", "num_workers": "0", "logger": "csv", "devices": "1"}
    assert {name: shown[name] for name in of_debug} == {name: (value, "--debug") for name, value in of_debug.items()}


def test_a_config_file_may_ask_for_it(capsys):
    Path("one.yaml").write_text("debug: true\nlimit_val_batches: 4\n")
    Path("base.yaml").write_text("limit_val_batches: 5\nlimit_test_batches: 5\n")
    shown = printed_config(capsys, *SHORT, "--config", "base.yaml", "one.yaml")
    assert shown["limit_val_batches"] == ("4", "file one.yaml")
    assert shown["limit_test_batches"] == ("10", "--debug")
    args = parse_args([*SHORT, "--config", "base.yaml", "one.yaml", "--debug", "no"])
    assert (args.debug, args.limit_test_batches, args.detect_anomaly) == (False, 5, False)


def test_data_without_workers_need_no_flag_for_them(root):
    (root / "data" / "some.py").write_text("")
    (root / "models" / "own.py").write_text(
        "import pytorch_lightning as pl\n"
        "class Own(pl.LightningModule):\n"
        "    def __init__(self, width: int = 3):\n"
        "        super().__init__()\n"
        "    def train_dataloader(self):\n"
        "        return []\n"
    )
    args = parse_args(["--model_name", "own", "--debug"])
    assert args.limit_train_batches == 10
    assert "num_workers" not in args


def test_it_does_not_resume_a_run(capsys):
    train(parse_args([*SHORT, "--fast_dev_run", "--max_epochs", "1"]), Path("dev"))
    train(parse_args([*SHORT, "--limit_train_batches", "1", "--max_epochs", "1"]), Path("run"))
    auto = ("--default_root_dir", ".", "--run_name", "run", "--ckpt_path", "auto")
    Path("run/metrics.json").unlink()  # a run that is not finished
    for start in (("--ckpt_path", "run/checkpoints/last.ckpt"), auto):
        line = refused(capsys, "--debug", *start)
        assert "--debug starts a run of its own: --init_from FILE takes the weights of a checkpoint" in line
    main([*SHORT, "--debug", "--run_name", "one", "--ckpt_path", "auto", "--limit_train_batches", "1"])
    assert Path("runs/one/metrics.json").exists()


@pytest.mark.parametrize("profiler", ["simple", "advanced", "pytorch"])
def test_the_report_of_a_profiler_is_in_the_directory_of_the_run(profiler, capsys):
    one = ["--max_epochs", "1", "--limit_train_batches", "1", "--limit_val_batches", "1", "--test_after_fit", "no"]
    train(parse_args([*SHORT, *one, "--profiler", profiler]), Path("run"))
    assert f"--profiler {profiler} writes run/*-profile.txt\n" in capsys.readouterr().err
    assert Path("run/fit-profile.txt").read_text().startswith("FIT Profiler Report")
    assert {path.name for path in Path().iterdir()} == {"run"}
