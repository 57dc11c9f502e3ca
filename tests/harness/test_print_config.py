"""--print_config shows the flags and their sources, --print_schema what they may be."""

import json
import math
import subprocess
import sys
from argparse import BooleanOptionalAction
from enum import Enum
from pathlib import Path
from typing import Literal

import jsonschema
import pytest
import yaml

from harness import found
from harness.cli.parser import Parser, with_help
from harness.cli.printed import FLAGS, add_printing
from harness.cli.schema import schema_text
from harness.cli.sources import Source, parse_words
from harness.config_files import parse_config, read_config
from harness.errors import UsageError
from harness.signature import add_signature_args
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


@pytest.mark.parametrize("flag", ["--print_config", "--print_schema"])
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

    for flag in ("--print_config", "--print_schema"):
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


def validator(parser):
    schema = json.loads(schema_text(parser))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize("model", ["mnist", "gan", "my_model"])
@pytest.mark.parametrize(
    "more",
    [
        [],
        [
            "--learning_rate",
            "1e-30",
            "--gradient_clip_val",
            "1e-05",
            "--track_grad_norm",
            "inf",
            "--deterministic",
            "warn",
        ],
        [
            "--max_time",
            "00:01:00:00",
            "--logger",
            "csv,tensorboard",
            "--devices",
            "1",
            "--monitor",
            "a: b",
            "--ema_decay",
            ".5",
        ],
        [
            "--accumulate_grad_schedule",
            "0:8,4:1",
            "--enable_checkpointing",
            "--precision",
            "32",
            "--auto_lr_find",
            "no",
        ],
    ],
)
def test_the_config_of_a_run_fits_the_schema_beside_it(model, more, monkeypatch):
    monkeypatch.setattr("pytorch_lightning.Trainer.fit", lambda trainer, *args, **kwargs: None)
    from harness.runs.run import Run

    with Run(parse_args(["--model_name", model, *SHORT, *more]), Path("run")) as run:
        run.begin()
    lines = Path("run/config.yaml").read_text().splitlines()
    assert lines[0] == "# yaml-language-server: $schema=config.schema.json"
    assert lines[1].startswith("# To repeat this run: ")
    text = Path("run/config.schema.json").read_text()
    assert text.count("\n") == 1
    schema = json.loads(text)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    check = jsonschema.Draft202012Validator(schema)
    config = yaml.safe_load(Path("run/config.yaml").read_text())
    check.validate(config)
    for wrong in ({"max_epochs": "many"}, {"unknown": 1}, {"learning_rate": -1}, {"batch_size": 0}, {"seed": None}):
        assert not check.is_valid(config | wrong)
    assert {"description", "default"} <= schema["properties"]["learning_rate"].keys()


def test_a_run_of_the_command_line_writes_both(capsys):
    main([*SHORT, "--model_name", "my_model", "--run_name", "base"])
    schema = json.loads(Path("runs/base/config.schema.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(yaml.safe_load(Path("runs/base/config.yaml").read_text()))
    everything = json.loads(printed(capsys, "--model_name", "my_model", "--print_schema"))
    assert everything == schema


class Size(Enum):
    """A type of a flag."""

    SMALL = 1
    LARGE = "large"


class Signed:
    """A model whose flags are its parameters."""

    def __init__(
        self,
        width: int = 64,
        rate: float = 0.1,
        bound: float = math.inf,
        kind: Literal["a", "b", 3] = "a",
        size: Size = Size.SMALL,
        on: bool = False,
        some: int | None = 3,
        path: Path = Path("x"),
        many: list[int] = [1, 2],  # noqa: B006
        pair: tuple[float, str] = (1.0, "x"),
        texts: list[str] = [],  # noqa: B006
        mixed: bool | int | str = "auto",
    ):
        pass


def of_a_model():
    """Return the parser of main.py with flags of all kinds."""
    parser = add_signature_args(Signed, build_parser([]))
    parser.add_argument("--plus", nargs="+", type=int)
    parser.add_argument("--two", nargs=2, type=float, default=(0.9, 0.99))
    parser.add_argument("--any", nargs="*", choices=["a", "b"])
    parser.add_argument("--level", type=int, choices=[1, 2, 3], default=2)
    parser.add_argument("--sentinel", type=int, choices=[1, 2], default=-1)
    parser.add_argument("--store", action="store_true")
    parser.add_argument("--off", action="store_false")
    parser.add_argument("--fixed", action="store_const", const=5)
    parser.add_argument("--both", action=BooleanOptionalAction, default=None)
    parser.add_argument("--verbose", action="count", default=0)
    parser.add_argument("--more", action="append", default=["a"])
    parser.add_argument("--names", action="extend", nargs="+")
    parser.add_argument("--with-dash", type=float, default=1.0)
    parser.add_argument("--needed", required=True)
    parser.add_argument("--from-range", type=int, choices=range(1000), default=5)
    parser.add_argument("--bounds", nargs=2, type=float, default=(0.0, math.inf))
    return parser


VALUES = [
    *(None, True, False, 0, 1, 2, 3, -1, 16, 64, 4294967295, 4294967296, 0.5, -0.5, 1.5, 1e-30, 1e-300, math.inf),
    *(
        "",
        "none",
        "null",
        "yes",
        "no",
        "on",
        "TRUE",
        "0",
        "1",
        "3",
        "-1",
        "007",
        "1e3",
        "1e-3",
        ".5",
        "-.5",
        "0.0",
        "+3",
    ),
    *(
        "1,2",
        "0,",
        "csv",
        "csv,tensorboard",
        "wandb,x",
        "auto",
        "cpu",
        "ddp",
        "16-mixed",
        "warn",
        "a",
        "b",
        "SMALL",
        "large",
    ),
    *(
        "inf",
        "nan",
        "x y",
        "-x",
        "00:01:00:00",
        "0:8,4:1",
        "min",
        "last",
        "a.csv",
        ".csv",
        "a.",
        "--seed",
        "1_0",
        " 1 ",
    ),
    *([], [1], [1, 2], [1, 2, 3], ["a"], ["a", "b"], ["b"], [1.5, "x"], ["-x", 1], [None], [0.5, 1.5], ["csv"], [True]),
    *({}, {"a": 1}, [[1]]),
]


def accepts(model_parser, name, value):
    """Return whether the parser takes a value of a config file."""
    settings = parse_config(yaml.safe_dump({name: value}))
    try:
        parse_words(lambda words: model_parser, ["--needed=x"] * (name != "needed"), [Source("file", settings)])
    except UsageError:
        return False
    return True


def test_what_the_schema_accepts_the_parser_accepts(monkeypatch):
    """Of values in YAML's own spelling; 1.0 is a whole number in JSON, but not for a flag of argparse."""
    parser = of_a_model()
    check, wrong, taken = validator(parser), [], 0
    monkeypatch.setattr("harness.cli.sources.add_printing", lambda parser: None)
    for name, schema in check.schema["properties"].items():
        if name in ("model_name", "data_name"):  # they change the parser
            continue
        listed = [value for each in [schema, *schema.get("anyOf", [])] for value in each.get("enum", [])]
        for value in [*VALUES, *listed]:
            if check.is_valid({name: value}):
                taken += 1
                if not accepts(parser, name, value):
                    wrong.append((name, value))
    assert not wrong
    assert taken > 500


@pytest.mark.parametrize(
    "text",
    [
        "learning_rate: 1e-3\nlayer_1_dim: '12'\nseed: 7",  # a text in YAML 1.1, a number in YAML 1.2
        "max_epochs: 5\nmax_time: 00:01:00:00\nval_check_interval: 0.25",
        "devices: [0, 1]\nlogger: csv,tensorboard\nprecision: 16-mixed\ndeterministic: warn",
        "devices: 0,1\nlogger: [csv]\nprecision: 32\nfast_dev_run: yes\nenable_progress_bar: off",
        "ckpt_path: last\ninit_from: null\ndefault_root_dir: 2026\nmonitor: val_loss\ncompile: true",
        "command: test\nrun_name: base\nlimit_val_batches: 1.0\ndata_name: digits\nmodel_name: mnist",
    ],
)
def test_what_users_write_fits_the_schema(text):
    Path("own.yaml").write_text(text)
    parse_words(build_parser, [], [Source("own.yaml", read_config("own.yaml"))])
    validator(with_help(build_parser([]))).validate(yaml.safe_load(text))
