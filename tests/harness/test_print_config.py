"""--print_config shows the flags and their sources."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from harness import found
from harness.cli.parser import Parser, with_help
from harness.cli.printed import FLAGS, add_printing
from harness.cli.sources import parse_words
from main import build_parser, parse_args
from tests.harness.program import main
from train import train

QUIET = ["--enable_progress_bar", "no", "--enable_model_summary", "no"]
SHORT = [
    *QUIET,
    "--limit_train_batches",
    "1",
    "--limit_val_batches",
    "1",
    "--limit_test_batches",
    "1",
    "--max_epochs",
    "1",
]
LAST = "run/checkpoints/last.ckpt"


def printed(capsys, *argv):
    """Return what main prints for a command line before it exits; nothing must be written."""
    before = sorted(Path().rglob("*"))
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        main(list(argv))
    assert stop.value.code in (0, None)
    assert sorted(Path().rglob("*")) == before
    return capsys.readouterr().out


def sources(text):
    """Return the source of each flag, by name."""
    return {line.split(":")[0]: line.rpartition("  # ")[2] for line in text.splitlines()}


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["validate", "--ckpt_path", "none", "--model_name", "my_model"],
        ["--gpus", "1", "--max_time", "00:01:00:00", "--logger", "csv,tensorboard", "--no_enable_checkpointing"],
        ["--devices", "0,", "--monitor", "a: b #c", "--run_name", "base", "--ckpt_path", "auto"],
        ["--monitor=x\ny", "--default_root_dir", "ä #🚀", "--learning_rate", "1e-30", "--track_grad_norm", "inf"],
        ["--init_from", "some.ckpt", "--init_from_strict", "--accelerator", "ddp"],
        ["--barebones", "--model_name", "gan"],
    ],
)
def test_what_is_printed_gives_the_same_flags(argv, capsys):
    Path("printed.yaml").write_text(printed(capsys, *argv, "--print_config"), encoding="utf-8")
    again = parse_args(["--config", "printed.yaml"])
    again.config = None
    assert again == parse_args(argv)
    assert list(vars(again)) == list(vars(parse_args(argv)))


def test_the_source_of_each_flag_is_named(capsys, monkeypatch):
    train(
        parse_args([*SHORT, "--model_name", "my_model", "--learning_rate", "0.5", "--gradient_clip_val", "2"]),
        Path("run"),
    )
    monkeypatch.setenv("PL_TRAINER_MAX_EPOCHS", "7")
    Path("a.yaml").write_text("seed: 3\nbatch_size: 8\n")
    Path("b.yaml").write_text("batch_size: 16\nenable_checkpointing: yes\n")
    words = [
        "--config",
        "a.yaml",
        "b.yaml",
        "--ckpt_path",
        LAST,
        "--seed",
        "4",
        "--no_enable_checkpointing",
        "--gpus",
        "0",
    ]
    text = printed(capsys, *words, "--print_config")
    found_in = sources(text)
    expected = {
        "command line": {"seed", "ckpt_path", "enable_checkpointing", "accelerator", "devices"},
        "file b.yaml": {"batch_size"},
        f"checkpoint {LAST}": {"learning_rate", "gradient_clip_val", "model_name", "max_epochs", "limit_val_batches"},
        "default": {"command", "init_from"},
    }
    for source, names in expected.items():
        assert {name: found_in[name] for name in names} == dict.fromkeys(names, source)
    assert sources(printed(capsys, "--print_config"))["max_epochs"] == "environment"
    flags = yaml.safe_load(text)
    assert (flags["seed"], flags["batch_size"], flags["max_epochs"], flags["accelerator"]) == (4, 16, 1, "cpu")
    assert "file a.yaml" not in found_in.values()
    Path("printed.yaml").write_text(text)
    more = ["--max_epochs", "2"]  # the run is finished
    again, direct = parse_args(["--config", "printed.yaml", *more]), parse_args([*words, *more])
    assert {**vars(again), "config": 0} == {**vars(direct), "config": 0}


def test_the_file_of_the_newest_run_is_printed(capsys):
    main([*SHORT, "--model_name", "my_model"])
    (run,) = Path("runs").iterdir()
    for words in (["--ckpt_path", "last"], ["test", "--ckpt_path", "best"], ["--resume_from_checkpoint", "last"]):
        text = printed(capsys, *words, "--print_config")
        assert yaml.safe_load(text)["ckpt_path"] == f"{run}/checkpoints/{words[-1]}.ckpt"
        assert sources(text)["ckpt_path"] == "command line"


@pytest.mark.parametrize("flag", ["--print_config"])
def test_mistakes_are_refused_and_torch_is_not_imported(flag, capsys):
    if flag == "--print_config":
        with pytest.raises(SystemExit) as stop:
            main(["--max_epochs", "x", flag])
        assert stop.value.code == 2
    script = "import sys; sys.path.insert(0, sys.argv.pop(1))\nimport main\n"
    script += f"try: main.parse_args([{flag!r}])\nexcept SystemExit as stop: print(stop.code, 'torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", script, str(found.ROOT)], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] in ("0 False", "None False")


def test_a_sweep_refuses_them(capsys):
    sweep = pytest.importorskip("sweep_optuna")
    from harness.sweeps.optuna import app

    for flag in ("--print_config",):
        with pytest.raises(SystemExit) as stop:
            app.run(sweep.build_parser, None, None, ["--n_trials", "1", flag])
        assert stop.value.code == 2
        assert f"{flag} is a flag of main.py" in capsys.readouterr().err


def test_a_flag_of_the_model_of_that_name_wins():
    parser = Parser()
    parser.add_argument("--print_config", type=int)
    parser = with_help(parser)
    add_printing(parser)
    assert parser.parse_args(["--print_config", "3"]).print_config == 3
    args, _ = parse_words(lambda words: build_with_own(), ["--print_config", "3"], [])
    assert FLAGS[0] not in vars(args)
    assert args.print_config == 3


def build_with_own():
    parser = build_parser([])
    parser.add_argument("--print_config", type=int)
    return parser
