"""The parser: config files, mistakes in one line, help in two lengths."""

import re
from argparse import ArgumentParser
from pathlib import Path

import pytest
import yaml

from harness.cli.parser import Parser, with_help
from harness.cli.run_flags import shorten_help
from harness.cli.sources import parse_words, read_sources
from harness.errors import UsageError
from harness.flags import yes_no
from harness.runs.run import write_config
from main import build_parser, parse_args
from tests.harness.program import main


@pytest.fixture
def parser():
    parser = Parser(prog="prog")
    parser.add_argument("--config", nargs="+", action="extend")
    parser.add_argument("--number", type=int, default=1, help="A number. Not a long one.")
    parser.add_argument("--rate", type=float, default=0.5, help="a share of 100 %, or 50 % of it")
    parser.add_argument("--words", nargs="*", default=[])
    parser.add_argument("--pair", nargs=2, type=int)
    parser.add_argument("--layers", type=lambda text: [int(word) for word in text.split(",")])
    parser.add_argument("--tag", action="append")
    parser.add_argument("--fast", action="store_true")
    parser.add_argument("--slow", action="store_false")
    parser.add_argument("--switch", type=yes_no, nargs="?", const=True, default=False, help="a switch")
    parser.add_argument("--lr", dest="learning_rate", type=float)
    parser.add_argument("--data-dir")
    parser.add_argument("--verbose", action="count", default=0)
    parser.add_argument("--no_quiet", dest="quiet", action="store_false")
    parser.add_argument("--silent", default=7)
    parser.add_argument("--own", default=8, help="has %(default)s already")
    parser.add_argument("--rare", choices=["one", "two"]).rare = True
    return parser


def parse(parser, *argv):
    """Return the flags of a command line, and of the config files that it names."""
    _, configs, _ = read_sources(argv)
    return parse_words(lambda words: parser, argv, configs)[0]


def config(text, name="run.yaml"):
    Path(name).write_text(text)
    return name


def refused(parser, *argv):
    with pytest.raises(UsageError) as error:
        parse(parser, *argv)
    return str(error.value)


@pytest.mark.parametrize(
    ("line", "name", "value"),
    [
        ("number: 3", "number", 3),
        ("data_dir:", "data_dir", None),
        ("layers: null", "layers", None),
        ("verbose: 2", "verbose", 2),
        ("no_quiet: yes", "quiet", False),
        ("no_quiet: no", "quiet", True),
        ("quiet: no", "quiet", False),
        ("rate: 1e-3", "rate", 0.001),
        ("rate: .inf", "rate", float("inf")),
        ("words: [a, 'no', '1']", "words", ["a", "no", "1"]),
        ("words: []", "words", []),
        ("words: a", "words", ["a"]),
        ("pair: [1, 2]", "pair", [1, 2]),
        ("layers: [64, 32]", "layers", [64, 32]),
        ("layers: 64,32", "layers", [64, 32]),
        ("tag: [x, y]", "tag", ["x", "y"]),
        ("fast: true", "fast", True),
        ("slow: false", "slow", False),
        ("switch: on", "switch", True),
        ("lr: 0.1", "learning_rate", 0.1),
        ("learning_rate: 0.1", "learning_rate", 0.1),
        ("data-dir: a b=c", "data_dir", "a b=c"),
        ("data_dir: 'null'", "data_dir", "null"),
        ("data_dir: ''", "data_dir", ""),
        ("data_dir: 12:30:45", "data_dir", "12:30:45"),
    ],
)
def test_a_setting_is_typed_like_its_flag(parser, line, name, value):
    assert getattr(parse(parser, "--config", config(line)), name) == value


def test_a_flag_wins_over_files_and_a_later_file_over_an_earlier():
    early, late = (
        config("max_epochs: 3\nseed: 3\nmin_epochs: 3", "early.yaml"),
        config("max_epochs: 4\nseed: 4", "late.yaml"),
    )
    for argv in (["--config", early, late], ["--config", early, "--config", late]):
        args = parse_args([*argv, "--seed", "5"])
        assert (args.min_epochs, args.max_epochs, args.seed) == (3, 4, 5)
    assert parse_args(["--seed", "5", "--config", early]).seed == 5


def test_a_flag_wins_over_a_file_that_over_the_environment_and_that_over_the_default(monkeypatch):
    monkeypatch.setenv("PL_TRAINER_MAX_EPOCHS", "7")
    monkeypatch.setenv("PL_TRAINER_MIN_EPOCHS", "1")
    monkeypatch.setenv("PL_TRAINER_LOG_EVERY_N_STEPS", "2")
    file = config("max_epochs: 3\nmin_epochs: 2")
    args = parse_args(["--config", file, "--max_epochs", "4"])
    assert (args.max_epochs, args.min_epochs, args.log_every_n_steps, args.max_steps) == (4, 2, 2, -1)


def test_a_file_names_the_model_and_sets_its_flags():
    args = parse_args(["--config", config("model_name: my_model\nlearning_rate: 0.25")])
    assert (args.model_name, args.learning_rate) == ("my_model", 0.25)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("number: x", "run.yaml: argument --number: invalid int value: 'x'"),
        ("pair: [1]", "run.yaml: argument --pair: expected 2 arguments"),
        ("rare: three", "run.yaml: argument --rare: 'three' is not one of one, two"),
        ("fast: perhaps", "run.yaml: argument --fast: 'perhaps' is neither yes nor no"),
        ("numbr: 3", "run.yaml: unknown flag --numbr, did you mean --number?"),
        ("number: null", "run.yaml: argument --number: it cannot be null"),
        ("help: yes", "run.yaml: unknown flag --help"),
        ("fast: [1, 2]", "run.yaml: argument --fast: '1,2' is neither yes nor no"),
        ("a:\n  b: 1", "one flag a line"),
        ("a:\n- b: 1", "one flag a line"),
        ("~: 1", "one flag a line"),
        ("- a", "one flag a line"),
        ("text", "one flag a line"),
        ("[1, 2", "cannot be read"),
        ("config: other.yaml", "names another one"),
    ],
)
def test_a_file_that_is_wrong_is_refused_by_name(parser, text, message):
    line = refused(parser, "--config", config(text))
    assert message in line
    assert "run.yaml" in line


def test_a_file_that_is_no_file_is_refused(parser):
    assert "--config nowhere.yaml cannot be read" in refused(parser, "--config", "nowhere.yaml")
    Path("binary.yaml").write_bytes(b"\xff\xfe\x00")
    assert "cannot be read" in refused(parser, "--config", "binary.yaml")
    assert "cannot be read" in refused(parser, "--config", ".")


def test_settings_of_trainer_are_its_own():
    for text, name, value in (
        ("no_fast_dev_run: yes", "fast_dev_run", False),
        ("devices: [1]", "devices", [1]),
        ("devices: '1,'", "devices", [1]),
        ("max_time: null", "max_time", None),
        ("logger: [csv, tensorboard]", "logger", "csv,tensorboard"),
        ("gpus: 0", "accelerator", "cpu"),
        ("accelerator: ddp", "strategy", "ddp"),
    ):
        assert getattr(parse_args(["--config", config(text)]), name) == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("max_steps: null", "run.yaml: argument --max_steps: it cannot be null"),
        ("batch_size: null", "run.yaml: argument --batch_size: it cannot be null"),
        ("model_name: null", "run.yaml: argument --model_name: it cannot be null"),
        ("amp_level: O2", "--amp_level is no flag of Lightning 2"),
        ("max_epochs: [[3]]", "one flag a line"),
        ("version: yes", "unknown flag --version"),
    ],
)
def test_wrong_settings_of_the_program_are_refused(text, message):
    with pytest.raises(UsageError) as error:
        parse_args(["--config", config(text)])
    assert message in str(error.value)


def test_one_of_a_required_group_may_stand_in_a_file(parser):
    group = parser.add_mutually_exclusive_group(required=True)
    group.add_argument("--this", type=int)
    group.add_argument("--that", type=int)
    assert parse(parser, "--config", config("this: 3")).this == 3


def test_the_off_form_of_a_switch_is_suggested():
    with pytest.raises(UsageError, match="did you mean --no_fast_dev_run"):
        parse_args(["--no-fast-dev-run"])


def test_a_required_flag_may_stand_in_a_file(parser):
    parser.add_argument("--needed", type=int, required=True)
    assert parse(parser, "--config", config("needed: 3")).needed == 3


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--numbr", "3"], "unknown flag --numbr, did you mean --number?"),
        (["--num", "3"], "unknown flag --num, did you mean --number?"),
        (["--data_dir", "x"], "unknown flag --data_dir, did you mean --data-dir?"),
        (["--quite-else=3"], "unknown flag --quite-else"),
        (["word"], "unexpected word 'word'"),
        (["--rare", "onee"], "'onee' is not one of one, two; did you mean one?"),
    ],
)
def test_a_mistake_is_answered_in_one_line(parser, argv, message):
    assert message in refused(parser, *argv)


@pytest.mark.parametrize(
    ("typed", "suggested"),
    [
        ("--lr 0.1", "--learning_rate"),
        ("-lr 0.1", "--learning_rate"),
        ("--bs 8", "--batch_size"),
        ("-b 8", "--batch_size"),
        ("--batch-size 8", "--batch_size"),
        ("--epochs 3", "--max_epochs"),
        ("--max-epochs=3", "--max_epochs"),
        ("--num_train_epochs 3", "--max_epochs"),
        ("-j 2", "--num_workers or --workers"),
        ("--random_seed 1", "--seed"),
        ("--grad-clip 1", "--gradient_clip_val"),
        ("--patience 3", "--early_stopping_patience"),
        ("--model net", "--model_name"),
        ("--dataset mnist", "--data_name"),
        ("--output_dir x", "--default_root_dir"),
        ("--resume", "--ckpt_path last"),
        ("--checkpoint a.ckpt", "--ckpt_path FILE"),
        ("--ckpt=a.ckpt", "--ckpt_path FILE"),
        ("--test", "main.py test --ckpt_path FILE"),
        ("--evaluate", "main.py test --ckpt_path FILE"),
        ("--gpu 0", "--accelerator gpu"),
        ("--device cpu", "--accelerator cpu|gpu"),
        ("--fp16", "--precision 16-mixed"),
        ("--wandb", "--logger wandb"),
        ("--name first", "--run_name"),
        ("--trainer.max_epochs 3", "--max_epochs"),
        ("--model.learning_rate=3", "--learning_rate"),
        ("--data.batch_size 3", "--batch_size"),
        ("--seedd 3", "--seed or --seeds"),
        ("--wd 0.1", None),  # no flag of this model
        ("--n_trial 3", None),  # of another program
        ("--dropout 0.1", None),
    ],
)
def test_what_other_programs_call_otherwise_is_suggested(typed, suggested, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--model_name", "my_model", *typed.split()])
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    error = line.partition(" error: ")[2].partition(" (see ")[0]
    hint = f", did you mean {suggested}?" if suggested else ""
    assert error == f"unknown flag {typed.split()[0].split('=')[0]}{hint}"


def test_a_suggestion_is_a_flag_of_the_model_that_is_named(root, capsys):
    model = "import pytorch_lightning as pl\nclass Net(pl.LightningModule):\n    @staticmethod\n"
    model += "    def add_model_specific_args(parser):\n        parser.add_argument('--lr')\n"
    model += "        parser.add_argument('--weight_decay')\n        return parser\n"
    model += "    def train_dataloader(self): ...\n"
    (root / "models" / "net.py").write_text(model)
    (root / "data" / "some.py").touch()
    for typed, suggested in (("--learning_rate", "--lr"), ("--wd", "--weight_decay")):
        with pytest.raises(SystemExit):
            main([typed, "0.1"])
        assert f"unknown flag {typed}, did you mean {suggested}?" in capsys.readouterr().err
        with pytest.raises(SystemExit):
            main(["--config", config(f"{typed.removeprefix('--')}: 0.1")])
        assert f"run.yaml: unknown flag {typed}, did you mean {suggested}?" in capsys.readouterr().err


def test_a_negative_number_is_no_flag(parser):
    assert parser.parse_args(["--rate", "-1e-3"]).rate == -0.001


def test_short_help_leaves_out_what_is_rare(parser):
    short, full = parser.format_help(), parser.format_help(everything=True)
    assert "--rare" not in short
    assert "--rare one|two" in full
    assert "A number (default: 1)" in short
    assert "A number. Not a long one. (default: 1)" in full
    for text in (short, full):
        assert "a share of 100 %, or 50 % of it (default: 0.5)" in text
        assert "--number int" in text
        assert "--switch [yes|no]" in text
        assert "a switch (default: no)" in text
        assert "--layers value" in text
        assert re.search(r"--silent text +\(default: 7\)\n", text)
        assert "has 8 already\n" in text


def test_help_says_what_the_program_does_whatever_parser_a_model_returns():
    text = with_help(build_parser([])).format_help()
    assert re.match(r"usage: .*new model\|data NAME\n.*runs .*\n\nTrain, validate and test", text, re.DOTALL)
    assert "[--seed" not in text


def test_help_fits_two_screens_and_help_all_has_every_flag(monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    parser = with_help(build_parser([]))
    shorten_help(parser)
    assert len(parser.format_help().splitlines()) <= 100
    full = parser.format_help(everything=True).split()
    assert not [
        action for action in parser._actions if action.help != "==SUPPRESS==" and action.option_strings[-1] not in full
    ]


def test_everything_that_is_written_is_read_again(tmp_path):
    model = "my_model"
    argv = [
        "--devices",
        "0,1",
        "--max_time",
        "10:00:00:00",
        "--val_check_interval",
        "00:00:10:00",
        "--limit_val_batches",
        "1.0",
    ]
    argv += [
        "--deterministic",
        "warn",
        "--gradient_clip_val",
        "1e-05",
        "--default_root_dir",
        "no",
        "--monitor",
        "a: b #c",
    ]
    for extra in ([], argv):
        args = parse_args(["--model_name", model, *extra])
        write_config(vars(args), tmp_path)
        again = parse_args(["--config", str(tmp_path / "config.yaml")])
        again.config = None
        assert {name: (value, type(value)) for name, value in vars(again).items()} == {
            name: (value, type(value)) for name, value in vars(args).items()
        }
    assert yaml.safe_load((tmp_path / "config.yaml").read_text())["monitor"] == "a: b #c"


def test_flags_of_other_types_are_written_as_the_text_that_they_take(tmp_path):
    parser = Parser()
    parser.add_argument("--config", nargs="+", action="extend")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--sizes", nargs=2, type=int)
    args = parser.parse_args(["--folder", "a b", "--sizes", "3", "4"])
    write_config(vars(args), tmp_path)
    again = parse(parser, "--config", str(tmp_path / "config.yaml"))
    assert (again.folder, again.sizes) == (Path("a b"), [3, 4])


def test_a_parser_of_a_model_may_be_a_plain_one():
    child = ArgumentParser(parents=[build_parser([])], add_help=False, conflict_handler="resolve")
    assert parse(child, "--config", config("max_epochs: 3")).max_epochs == 3
