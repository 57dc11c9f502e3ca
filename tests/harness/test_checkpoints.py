"""Checkpoints tell which flags made them, come back exactly, and cannot bite."""

import json
import os
import shutil
from argparse import ArgumentParser
from enum import Enum
from pathlib import Path

import numpy as np
import pytest
import torch

from harness import found
from harness.contracts import same
from harness.errors import UsageError
from harness.found import MODELS
from harness.runs.checkpoint_files import plain_values, read_checkpoint
from main import parse_args
from models.my_model import MyModel
from tests.harness.program import main, refused
from train import train

QUIET = ["--enable_progress_bar", "no", "--enable_model_summary", "no"]
LIMITS = ["--limit_train_batches", "2", "--limit_val_batches", "1", "--limit_test_batches", "2"]
SHORT = [*QUIET, "--model_name", "my_model", *LIMITS, "--max_epochs", "1"]
LAST = "run/checkpoints/last.ckpt"
PROJECT = found.ROOT
DATA_DIR = PROJECT / "data"
MY_MODEL = (found.ROOT / "models" / "my_model.py").read_text()


def table(capsys):
    return dict(line.split() for line in capsys.readouterr().out.splitlines() if len(line.split()) == 2)


def let_files_be_imported(monkeypatch):
    """Read flags from the classes, which a test changes, not from their files."""
    monkeypatch.setattr("harness.found.read_declaration", lambda path, module: 1 / 0)


@pytest.fixture
def run():
    train(parse_args(SHORT), Path("run"))


@pytest.fixture
def flags(monkeypatch):
    """Return a function that lets the model declare flags, and the data."""

    def declare(add):
        def add_model_specific_args(parent_parser):
            parser = ArgumentParser(parents=[parent_parser], add_help=False)
            parser.add_argument("--learning_rate", type=float, default=0.01)
            add(parser)
            return parser

        monkeypatch.setattr(MyModel, "add_model_specific_args", staticmethod(add_model_specific_args))
        let_files_be_imported(monkeypatch)

    return declare


@pytest.mark.parametrize("command", ["test", "validate", "predict"])
def test_a_checkpoint_needs_no_other_flag(command, capsys):
    own = ("--data_name", "my_data", "--batch_size", "16", "--learning_rate", "0.5", "--seed", "3")
    train(parse_args([*SHORT, *own, "--precision", "bf16-true"]), Path("run"))
    capsys.readouterr()
    main([command, "--ckpt_path", LAST, *QUIET])
    shown = capsys.readouterr()
    assert "unlike" not in shown.err
    run_dir = next(Path("runs").iterdir())
    config = (run_dir / "config.yaml").read_text()
    for line in ("model_name: my_model", "data_name: my_data", "batch_size: 16", "learning_rate: 0.5", "seed: 3"):
        assert line in config
    # how it was trained is no matter of the model: not the machine, not the limits
    assert "precision: null" in config
    assert "limit_test_batches: null" in config


def test_fit_goes_on_with_all_flags(capsys):
    train(parse_args([*SHORT, "--precision", "bf16-true", "--gradient_clip_val", "0.5"]), Path("run"))
    capsys.readouterr()
    args = parse_args(["--ckpt_path", LAST, "--max_epochs", "2"])
    assert (args.precision, args.gradient_clip_val, args.limit_train_batches) == ("bf16-true", 0.5, 2)
    assert capsys.readouterr().err == f"unlike {LAST}: --max_epochs 2 (there 1)\n"


def test_explicit_flags_win_and_are_shown(run, monkeypatch, capsys):
    monkeypatch.setenv("PL_TRAINER_MAX_EPOCHS", "9")
    Path("own.yaml").write_text("seed: 5\nbatch_size: 7\n")
    args = parse_args(["--ckpt_path", LAST, "--config", "own.yaml", "--batch_size", "8", "--max_steps", "9"])
    assert (args.seed, args.batch_size, args.max_steps, args.max_epochs) == (5, 8, 9, 1)
    expected = "--seed 5 (there 0), --max_steps 9 (there -1), --batch_size 8 (there 64)"
    assert capsys.readouterr().err == f"unlike {LAST}: {expected}\n"


@pytest.mark.parametrize("command", ["fit", "test", "validate", "predict"])
def test_what_cannot_apply_is_refused(command, flags, monkeypatch, capsys):
    layer = MyModel.__init__

    def build(self, hparams):
        layer(self, hparams)
        self.layer = torch.nn.Linear(28 * 28, self.hparams.width)

    flags(lambda parser: parser.add_argument("--width", type=int, default=10))
    monkeypatch.setattr(MyModel, "__init__", build)
    train(parse_args(SHORT), Path("run"))
    more = ["--max_epochs", "2"] if command == "fit" else []
    line = refused(capsys, command, "--ckpt_path", LAST, "--width", "12", *more, *QUIET)
    assert "other weights than these flags make (--width 12, there 10): layer.bias is [10] in the file, [12]" in line
    others = [name for name in MODELS.names() if name != "my_model"]
    for other in others[:1]:
        line = refused(capsys, command, "--ckpt_path", LAST, "--model_name", other, *QUIET)
        assert f"the checkpoint is of model my_model, not {other}" in line


def test_flags_may_be_added_and_removed_since(flags, capsys):
    flags(lambda parser: parser.add_argument("--old", type=int, default=1))
    train(parse_args([*SHORT, "--old", "2"]), Path("run"))
    flags(lambda parser: parser.add_argument("--new", type=int, default=7))
    main(["test", "--ckpt_path", LAST, *QUIET])
    assert parse_args(["--ckpt_path", LAST, "--max_epochs", "2"]).new == 7
    train(parse_args(["--ckpt_path", LAST, "--max_epochs", "2"]), Path("run"))
    assert torch.load(LAST, weights_only=True)["hyper_parameters"] == {"learning_rate": 0.01, "new": 7}


class Color(Enum):
    RED = "red"
    BLUE = "blue"


TEXTS = [
    "no",
    "1e3",
    "null",
    "~",
    "[a]",
    "{a: b}",
    "'",
    '"',
    "",
    " ",
    "a: b #c",
    "ä🚀",
    "x\ny",
    "\x85",
    ".inf",
    "-.nano",
]


@pytest.mark.parametrize(
    ("declared", "argv", "value"),
    [
        ({"type": Path}, ["some/where"], Path("some/where")),
        ({"type": Color}, ["blue"], Color.BLUE),
        ({"type": json.loads}, ['{"a": [1, null, "b"]}'], {"a": [1, None, "b"]}),
        ({"type": lambda text: int(text, 16)}, ["1f"], 31),
        ({"type": lambda text: tuple(map(int, text.split("x")))}, ["3x4"], (3, 4)),
        ({"type": lambda text: np.float32(text)}, ["0.5"], 0.5),
        ({"type": str.encode}, ["abc"], b"abc"),
        ({"type": bool}, [""], False),
        ({"type": float}, ["inf"], float("inf")),
        ({"nargs": "+", "type": int}, ["1", "2"], [1, 2]),
        ({"nargs": 2, "type": float, "default": (0.9, 0.99)}, None, (0.9, 0.99)),
        ({"nargs": "*"}, [], []),
        ({"nargs": "+", "type": lambda text: None if text == "none" else int(text)}, ["none", "3"], [None, 3]),
        ({"type": lambda text: set(text.split(","))}, ["a,b"], {"a", "b"}),
        ({"default": 5}, None, 5),
        ({"default": False}, None, False),
        ({"action": "store_true"}, [], True),
        ({"action": "append", "nargs": 2}, ["a", "b"], [["a", "b"]]),
        *(({}, [text], text) for text in TEXTS),
    ],
)
def test_every_value_of_a_flag_comes_back(flags, declared, argv, value):
    flags(lambda parser: parser.add_argument("--own", **declared))
    # a text that begins with - needs the sign between
    given = [] if argv is None else ["--own", *argv] if declared else [f"--own={argv[0]}"]
    args = parse_args([*SHORT, *given])
    assert args.own == value
    train(args, Path("run"))
    for command in ("test", "fit"):
        more = ["--max_epochs", "2"] if command == "fit" else []
        again = parse_args([command, "--ckpt_path", LAST, *more]).own
        assert again == value
        assert type(again) is type(value) or isinstance(value, float)
    hparams = torch.load(LAST, weights_only=True)["hyper_parameters"]
    assert MyModel.load_from_checkpoint(LAST, weights_only=True).hparams.own == hparams["own"] == plain_values(value)


def test_flags_that_add_up_begin_anew_when_given(flags):
    def add(parser):
        parser.add_argument("--tag", action="append")
        parser.add_argument("-v", "--verbose", action="count", default=0)

    flags(add)
    train(parse_args([*SHORT, "--tag", "a", "-vv"]), Path("run"))
    assert vars(parse_args(["test", "--ckpt_path", LAST])).items() >= {"tag": ["a"], "verbose": 2}.items()
    again = parse_args(["test", "--ckpt_path", LAST, "--tag", "z", "-v"])
    assert (again.tag, again.verbose) == (["z"], 1)


def test_a_value_that_no_text_gives_back_is_to_be_given_again(flags, capsys):
    class Odd:
        def __init__(self, text):
            if "object" in text:
                raise ValueError("odd")

    flags(lambda parser: parser.add_argument("--own", type=Odd))
    train(parse_args([*SHORT, "--own", "x"]), Path("run"))
    assert "invalid Odd value" in refused(capsys, "test", "--ckpt_path", LAST)
    assert isinstance(parse_args(["test", "--ckpt_path", LAST, "--own", "y"]).own, Odd)


def test_what_was_searched_for_comes_back():
    train(parse_args([*SHORT, "--auto_lr_find"]), Path("run"))
    found = torch.load(LAST, weights_only=True)["hyper_parameters"]["learning_rate"]
    args = parse_args(["--ckpt_path", LAST, "--max_epochs", "2"])
    assert args.learning_rate == found != 0.01
    assert not args.auto_lr_find


def test_a_checkpoint_of_another_program_gives_its_hyperparameters(run):
    content = torch.load(LAST, weights_only=True)
    for name in ("config", "converted", "resume"):
        del content[name]
    content["hyper_parameters"]["learning_rate"] = 0.25
    torch.save(content, "other.ckpt")
    assert parse_args(["test", "--ckpt_path", "other.ckpt", "--model_name", "my_model"]).learning_rate == 0.25


def test_last_and_best_are_those_of_the_newest_run(capsys):
    main(SHORT)
    first = table(capsys)
    main([*SHORT, "--seed", "1"])
    second = table(capsys)
    assert (first["best"], first["last"]) == tuple(
        f"{first['run']}/checkpoints/{name}.ckpt" for name in ("best", "last")
    )
    assert parse_args(["test", "--ckpt_path", "last"]).ckpt_path == second["last"]
    assert parse_args(["test", "--ckpt_path", "best"]).seed == 1
    main(["--ckpt_path", first["last"], "--max_epochs", "2"])  # goes on in its directory, which is the newest then
    assert table(capsys)["run"] == first["run"]
    assert parse_args(["predict", "--ckpt_path", "best"]).ckpt_path == first["best"]
    Path("runs/foreign").mkdir()
    Path("runs/foreign/config.yaml").write_text("trainer:\n  max_epochs: 3\n")
    assert parse_args(["test", "--ckpt_path", "last"]).ckpt_path == first["last"]


@pytest.mark.parametrize("number", [[], ["3"], ["yes"]])
def test_fast_dev_run_is_never_the_newest_run(number, capsys):
    """After it, predict answered with a model that had seen one batch."""
    assert "there is no run" in refused(capsys, "predict", "--ckpt_path", "last")
    main(SHORT)
    trained = table(capsys)
    main([*SHORT, "--fast_dev_run", *number])
    assert parse_args(["predict", "--ckpt_path", "last"]).ckpt_path == trained["last"]
    for command in ("validate", "predict"):
        main([command, "--ckpt_path", "best", *QUIET])
        assert parse_args([command, "--ckpt_path", "best"]).ckpt_path == trained["best"]


@pytest.mark.parametrize("is_over", [True, False])
def test_without_a_monitor_a_run_says_what_can_be_monitored(is_over, monkeypatch, capsys):
    monkeypatch.delattr(MyModel, "monitor")
    let_files_be_imported(monkeypatch)
    main(SHORT)
    shown = capsys.readouterr()
    named = "it is written where a metric is monitored: fit with --monitor val_accuracy or val_loss or train_loss"
    assert f"no best.ckpt: {named}\n" in shown.err
    (run_dir,) = Path("runs").iterdir()
    if not is_over:
        (run_dir / "metrics.json").unlink()
    with pytest.raises(SystemExit):
        main(["test", "--ckpt_path", "best"])
    line = capsys.readouterr().err.splitlines()[-1]
    of_training = " or train_loss" if is_over else ""  # which is not in metrics.csv yet
    assert "has no best.ckpt: it is written where a metric is monitored" in line
    assert f"fit with --monitor val_accuracy or val_loss{of_training}, or take --ckpt_path last" in line
    monitor = ("--monitor", "val_accuracy", "--monitor_mode", "max")
    main([*SHORT, *monitor])
    assert "no best.ckpt" not in capsys.readouterr().err
    main(["test", "--ckpt_path", "best", *QUIET])


def test_hyperparameters_that_become_text_are_named(root, capsys):
    text = MY_MODEL
    text = text.replace("class MyModel", "class Config:\n    width: int = 3\n\n\nclass MyModel")
    before, after = text.split("self.save_hyperparameters(hparams)")
    text = f"{before}self.save_hyperparameters(dict(vars(hparams), config=Config())){after}"
    (root / "models" / "with_config.py").write_text(text)
    for name in ("digits.py", "digits.npz"):
        shutil.copy(DATA_DIR / name, root / "data")
    main([*QUIET, *LIMITS, "--max_epochs", "1"])
    notice = "models/with_config.py: checkpoints hold the hyperparameter config as text, since Config is no plain type"
    assert capsys.readouterr().err.count(notice) == 1


def test_last_without_a_checkpoint_is_one_line(capsys):
    assert "--ckpt_path last: there is no run of fit below runs" in refused(capsys, "--ckpt_path", "last")
    assert "--ckpt_path best: there is no run of fit below runs" in refused(capsys, "test", "--ckpt_path", "best")
    main(SHORT)
    (run_dir,) = Path("runs").iterdir()
    (run_dir / "checkpoints" / "last.ckpt").unlink()
    with pytest.raises(SystemExit):
        main(["--ckpt_path", "last"])
    line = capsys.readouterr().err.splitlines()[-1]
    assert f"the newest run, {run_dir}, has no last.ckpt: start it again with --config {run_dir}/config.yaml" in line


@pytest.mark.parametrize("command", ["test", "validate", "predict", "fit"])
def test_a_checkpoint_whose_model_was_deleted_says_so(command, root, capsys):
    for file, stub in (
        ("models/mine.py", "my_model.py"),
        ("models/other.py", "my_model.py"),
        ("data/my.py", "my_data.py"),
    ):
        shutil.copy((PROJECT / file).with_name(stub), root / file)
    main([*QUIET, "--model_name", "mine", *LIMITS, "--max_epochs", "1", "--default_root_dir", "done"])
    (last,) = Path("done").glob("*/checkpoints/last.ckpt")
    (root / "models" / "mine.py").unlink()
    for model in ([], ["--model_name", "other"]):
        line = refused(capsys, command, "--ckpt_path", str(last), *model)
        assert f"{last} is of model mine, and models/mine.py is not there: put it back, or name another" in line


def test_a_finished_run_needs_to_be_given_more(run, capsys):
    line = refused(capsys, "--ckpt_path", LAST)
    assert "run is finished: for more, add --max_epochs 2; without --ckpt_path a new run starts" in line
    assert "finished" in refused(capsys, "--ckpt_path", LAST, "--learning_rate", "0.5")
    assert "does not fit" in refused(capsys, "--ckpt_path", LAST, "--max_epochs", "0")


@pytest.mark.parametrize(
    "name", ["nowhere.ckpt", ".", "empty", "text", "loop", "fifo", "/dev/zero", "http://127.0.0.1:9/a.ckpt", "s3://a/b"]
)
def test_what_is_no_file_of_ours_is_refused(name, capsys):
    Path("empty").touch()
    Path("text").write_text("seed: 0\n")
    Path("loop").symlink_to("loop")
    os.mkfifo("fifo")  # reading it would wait for ever
    for command in ("fit", "test", "validate", "predict"):
        with pytest.raises(SystemExit) as stop:
            main([command, "--ckpt_path", name, *QUIET])
        assert stop.value.code == 2
        assert f"--ckpt_path {name}" in capsys.readouterr().err.splitlines()[-1]
    assert not Path("runs").exists()


def test_no_bit_can_flip_unseen(run):
    """Every byte of the headers, and some of the data: the file is refused, or holds what it held."""
    whole, intact = Path(LAST).read_bytes(), read_checkpoint(LAST)
    headers = [at for at in range(len(whole)) if whole[max(0, at - 60) : at + 1].find(b"PK") >= 0]
    generator = np.random.default_rng(0)
    chosen = [
        *generator.choice(headers, 150),
        *generator.integers(0, len(whole), 50),
        *range(len(whole) - 22, len(whole)),
    ]
    attributes = [at + 38 for at in range(len(whole)) if whole[at : at + 4] == b"PK\x01\x02"]  # 0x10: a folder
    for at, bit in [*((at, generator.integers(8)) for at in chosen), *((at, 4) for at in attributes)]:
        damaged = bytearray(whole)
        damaged[at] ^= 1 << int(bit)
        Path("damaged.ckpt").write_bytes(damaged)
        try:
            content = read_checkpoint("damaged.ckpt")
        except UsageError:
            continue
        assert same(content, intact), f"bit {bit} of byte {at}"


def test_no_part_of_a_file_is_taken_for_the_whole(run, capsys):
    whole = Path(LAST).read_bytes()
    for length in [0, 1, 4, 22, 1000, len(whole) // 2, len(whole) - 22, len(whole) - 1]:
        Path("part.ckpt").write_bytes(whole[:length])
        assert "--ckpt_path part.ckpt cannot be read as a checkpoint" in refused(
            capsys, "test", "--ckpt_path", "part.ckpt"
        )


class Payload:
    """Runs a command when it is unpickled without care."""

    def __reduce__(self):
        return os.system, ("touch bitten",)


@pytest.mark.parametrize("key", ["state_dict", "hyper_parameters", "callbacks", "config", "resume", "loops", "new"])
def test_a_stranger_runs_no_code(run, key, capsys):
    content = torch.load(LAST, weights_only=True)
    content[key] = Payload()
    torch.save(content, "stranger.ckpt")
    for command in ("fit", "test", "validate", "predict"):
        line = refused(capsys, command, "--ckpt_path", "stranger.ckpt", *QUIET)
        assert "which is not loaded safely" in line
    assert not Path("bitten").exists()


@pytest.mark.parametrize("entry", ["_instantiator", "_class_path"])
@pytest.mark.parametrize("key", ["hyper_parameters", "datamodule_hyper_parameters", "hparams"])
def test_hyperparameters_that_name_code_are_refused(run, key, entry, capsys):
    """Safe loading does not help: before 2.6.6 Lightning imports and calls it."""
    content = torch.load(LAST, weights_only=True)
    content[key] = {**content.get(key, {}), entry: "bite.bite"}
    torch.save(content, "stranger.ckpt")
    for command in ("fit", "test", "validate", "predict"):
        line = refused(capsys, command, "--ckpt_path", "stranger.ckpt", *QUIET)
        assert f"names code to run: {entry} in {key}, as LightningCLI writes it" in line


MISSING = object()
WRONG = {
    "missing": MISSING,
    "none": None,
    "number": 3,
    "text": "text",
    "list": [1],
    "empty": {},
    "dict": {"a": 1},
    "tensor": torch.zeros(2),
}
# The wrong values of each part that do not matter to test, and to fit: all others are refused.
HARMLESS = {
    "state_dict": ((), ()),
    "hyper_parameters": (("missing", "empty", "dict"), ("missing", "empty", "dict")),
    "datamodule_hyper_parameters": (("missing", "empty", "dict"), ("missing", "empty", "dict")),
    "config": (("missing",), ()),
    "callbacks": (("missing", "none", "empty", "dict"), ("empty", "dict")),
    "loops": (("missing", "none"), ()),
    "resume": (WRONG, ("missing", "empty")),
    "optimizer_states": (WRONG, ()),
    "lr_schedulers": (WRONG, ("list",)),  # longer than that of a model without a schedule
    "pytorch-lightning_version": ((), ()),
    "epoch": (WRONG, WRONG),
    "global_step": (WRONG, WRONG),
    "converted": (("missing", "list"), ("missing", "list")),
}


@pytest.mark.parametrize("key", HARMLESS)
def test_wrong_and_missing_parts_are_no_traceback(run, key, capsys):
    """Each is refused in one line, or does not matter; and the run that it is to go on with stays as it was."""
    content = torch.load(LAST, weights_only=True)
    shutil.copytree("run", "intact")
    for argv, harmless in zip((["test"], ["fit", "--max_epochs", "2"]), HARMLESS[key], strict=True):
        for name, wrong in WRONG.items():
            changed = {part: value for part, value in {**content, key: wrong}.items() if value is not MISSING}
            torch.save(changed, LAST)
            before = {path: path.read_bytes() for path in Path("run").rglob("*.*") if path.is_file()}
            status = 0
            try:
                main([*argv, "--ckpt_path", LAST, *QUIET, "--model_name", "my_model"])
            except SystemExit as stop:
                status = stop.code
            assert status == (0 if name in harmless else 2), (argv, name)
            if status == 2:
                assert ": error: " in capsys.readouterr().err.splitlines()[-1]
                assert {path: path.read_bytes() for path in before} == before, (argv, wrong)
            shutil.rmtree("run")
            shutil.copytree("intact", "run")


def test_files_that_a_checkpoint_names_are_safe(run):
    """Lightning removes what was best before: whatever path a stranger wrote there."""
    Path("run/mine.txt").write_text("mine")
    Path("run/checkpoints/kept.ckpt").write_text("mine")
    content = torch.load(LAST, weights_only=True)
    (best,) = [name for name in content["callbacks"] if name.startswith("Best")]
    for path in ("x/..", "mine.txt", "../mine.txt", "x/last.ckpt", "kept.ckpt"):
        state = content["callbacks"][best]
        state |= {"best_k_models": {path: torch.tensor(1e9)}, "kth_value": torch.tensor(1e9)}
        state |= {"kth_best_model_path": path, "best_model_path": path}
        torch.save(content, LAST)
        train(parse_args(["--ckpt_path", LAST, "--max_epochs", "2"]), Path("run"))
        assert Path("run/mine.txt").read_text() == Path("run/checkpoints/kept.ckpt").read_text() == "mine"
        assert Path("run/checkpoints/last.ckpt").exists()


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ("--monitor nope", "--monitor nope: the run has no such metric, but "),
        ("--early_stopping_patience 2 --monitor nope", "--monitor nope: the run has no such metric, but "),
        ("--lr_monitor step --logger none", "--lr_monitor needs a place to log to"),
        ("--auto_lr_find", "--auto_lr_find searches before training begins"),
        ("--precision 17", "--precision"),
    ],
)
def test_what_is_refused_changes_no_file_of_a_run(run, argv, message, capsys):
    assert message in refused(capsys, "--ckpt_path", LAST, "--max_epochs", "2", *argv.split(), *QUIET)


def test_a_run_whose_best_is_gone_begins_to_compare_anew(run):
    Path("run/checkpoints/best.ckpt").unlink()
    metrics = train(parse_args(["--ckpt_path", LAST, "--max_epochs", "2", "--learning_rate", "9"]), Path("run"))
    assert "test_loss" in metrics
    assert Path("run/checkpoints/best.ckpt").exists()


def test_a_log_that_is_damaged_is_no_traceback(run):
    for number, content in enumerate([b"", b"\xff\xfe\n\x00", b"a,b\n1"]):
        Path("run/metrics.csv").write_bytes(content)
        train(parse_args(["--ckpt_path", LAST, "--max_epochs", str(number + 2)]), Path("run"))


def test_weights_that_are_not_finite_never_become_a_checkpoint(run, monkeypatch):
    before = Path(LAST).read_bytes()

    def spoil(self):
        with torch.no_grad():
            self.layer.weight[0, 0] = float("nan")

    monkeypatch.setattr(MyModel, "on_train_epoch_end", spoil)
    with pytest.raises(SystemExit, match="weights are not finite at step 4"):
        main(["--ckpt_path", LAST, "--max_epochs", "2", *QUIET])
    assert Path(LAST).read_bytes() == before
    main(["--ckpt_path", LAST, "--max_epochs", "2", "--terminate_on_nan", "no", "--limit_val_batches", "0", *QUIET])


def test_weights_of_another_kind_are_refused(run, capsys):
    content = torch.load(LAST, weights_only=True)
    for dtype in (torch.int64, torch.bool, torch.complex64):
        changed = {**content, "state_dict": {name: value.to(dtype) for name, value in content["state_dict"].items()}}
        torch.save(changed, "other.ckpt")
        assert "other weights than these flags make" in refused(capsys, "test", "--ckpt_path", "other.ckpt", *QUIET)


def test_weights_alone_are_no_run_to_go_on_with(capsys):
    train(parse_args([*SHORT, "--save_weights_only"]), Path("run"))
    assert "holds weights alone (--save_weights_only)" in refused(capsys, "--ckpt_path", LAST, "--max_epochs", "2")
    main(["test", "--ckpt_path", LAST, *QUIET])


def test_what_could_not_be_loaded_again_is_said_at_the_first_checkpoint(monkeypatch):
    monkeypatch.setattr(MyModel, "on_save_checkpoint", lambda self, content: content.update(mine=Path("a")))
    with pytest.raises(
        SystemExit, match=r"^main\.py: error: checkpoints could not be loaded again: they hold a pathlib"
    ):
        main(SHORT)
