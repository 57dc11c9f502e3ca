"""Flags of main.py as configs of Hydra's and back, experiments, the directories of jobs and their table."""

import csv
import json
import logging
import os
import random
import re
import subprocess
import sys
from pathlib import Path

import hydra
import pytest
import yaml
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.types import Quote, QuotedString
from omegaconf import OmegaConf

import main
import sweep_hydra
from harness import app, found
from harness.errors import UsageError
from harness.found import DATA, MODELS
from harness.runs.run import CONFIG_FILE, METRICS_FILE, write_config
from harness.sweeps.hydra import app as hydra_app
from harness.sweeps.hydra.configs import data_config, escaped, flags_of, model_config, program_config
from harness.sweeps.hydra.directories import FLAGS_FILE, HYDRA, CheckDirectories, OccupiedError, require_free
from harness.sweeps.hydra.launched import LAUNCHING
from harness.sweeps.hydra.settings import difference, parse_settings, settings_of
from harness.sweeps.hydra.table import Note, read_rows, show_table
from harness.sweeps.results import as_csv, as_lines

CONF = found.ROOT / "conf"
MODEL = """
import json
from argparse import ArgumentParser, BooleanOptionalAction

import pytorch_lightning as pl

from harness.flags import yes_no


class Net(pl.LightningModule):
    @staticmethod
    def add_model_specific_args(parent_parser):
        parser = ArgumentParser(parents=[parent_parser], add_help=False)
        parser.add_argument("--text", default="a ${b} \\\\${c}")
        parser.add_argument("--free")
        parser.add_argument("--number", type=int, default=1)
        parser.add_argument("--rate", type=float, default=0.5)
        parser.add_argument("--switch", type=yes_no, nargs="?", const=True, default=False)
        parser.add_argument("--fast", action="store_true")
        parser.add_argument("--no_slow", dest="slow", action="store_false")
        parser.add_argument("--cached", action=BooleanOptionalAction, default=True)
        parser.add_argument("--names", nargs="+", default=["a"])
        parser.add_argument("--rates", nargs="*", type=float, default=[])
        parser.add_argument("--pair", nargs=2, type=int)
        parser.add_argument("--labels", action="append")
        parser.add_argument("--depth", action="count", default=0)
        parser.add_argument("--kind", choices=["adam", "a, b=c", "none"], default="adam")
        parser.add_argument("--order", type=int, choices=[1, -2, 3])
        parser.add_argument("--layers", type=lambda text: [int(word) for word in text.split(",")], default=[64])
        parser.add_argument("--options", type=json.loads)
        parser.add_argument("--lr", "--learning-rate", dest="learning_rate", type=float, default=0.1)
        return parser

    def train_dataloader(self): ...
"""
SPECIAL = (
    *("", " ", "a b", "a=b", "=", "'", '"', "it's", "\"both'", "\\", "\\\\", "a\\'b", '\\"', "end\\", "a,b", "[a,b]"),
    *(
        "${",
        "${a}",
        "\\${a}",
        "\\\\${a}",
        "${now:%Y}",
        "$",
        "$$",
        "{a: 1}",
        "{}",
        "[]",
        "}",
        "ü",
        "日本",
        "🙂",
        "\u2028",
    ),
    *("null", "none", "None", "~", "true", "no", "yes", "1", "01", "1e-3", ".inf", "inf", "nan", "1:30", "2024-01-01"),
    *("-", "-x", "--seed", "-1", "# no", "a #b", "a: b", "- a", "*", "&a", "!a", "|", ">", "%", "@", "`", "?"),
    *("a\nb", "\n", "a\tb", " a ", "\x85", "a/b", "..", "+a", "~a", "???x", "<<", "(a)", "f(x)", "\\n", "${a", "$ {a}"),
)
NUMBERS = (0, 1, -1, 7, -12, 10**12)
FLOATS = (0.0, 1.0, -1.0, 1e-3, -1e-3, 1e-05, 1e300, 0.1 + 0.2, float("inf"))


@pytest.fixture(autouse=True)
def _as_it_was(monkeypatch):
    """What Hydra, and a command line in this process, change for a whole process is as it was after each test."""
    for name in ("PYTHONPATH", "HYDRA_FULL_ERROR", LAUNCHING):
        monkeypatch.setenv(name, os.environ.get(name, ""))
    monkeypatch.setattr(CheckDirectories, "sweep_dir", None)
    logger = logging.getLogger()
    before = logger.level, list(logger.handlers)
    yield
    logger.setLevel(before[0])
    for handler in set(logger.handlers) - set(before[1]):
        handler.close()  # Hydra's log file
    logger.handlers[:] = before[1]
    GlobalHydra.instance().clear()


@pytest.fixture
def net(root):
    """The name of a model with flags of every kind, the only one there is."""
    (root / "models" / "net.py").write_text(MODEL)
    (root / "data" / "some.py").write_text("")
    return "net"


def compose(*overrides, **kwargs):
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(config_dir=str(CONF), version_base="1.3"):
        return hydra.compose("config", list(overrides), **kwargs)


def settings(*overrides, experiment=None):
    """Return the flags that a job with these overrides sets."""
    own = [f"experiment={experiment}"] if experiment is not None else []
    config = compose(*own, *overrides, return_hydra_config=True)
    return settings_of(config, config.hydra, main.build_parser)


def parsed(flags):
    """Return all flags of the run of a job that sets some."""
    return parse_settings(flags, Path("flags.yaml"), main.build_parser)


def args_of(*overrides, experiment=None):
    """Return all flags of the run of a job with these overrides."""
    return parsed(settings(*overrides, experiment=experiment))


def settings_in(config, given=()):
    """Return the flags that a job with a config sets."""
    overrides = {"task": [f"{name}=" for name in given]}
    hydra_config = OmegaConf.create({"runtime": {"choices": {}}, "overrides": overrides})
    return settings_of(config, hydra_config, main.build_parser)


def config_of(model_name, settings=()):
    """Return the config of a model that brings its data, as Hydra composes it, with these settings."""
    flags = {
        **program_config(main.build_parser),
        **model_config(main.build_parser, model_name),
        **escaped(dict(settings)),
    }
    del flags["defaults"], flags["hydra"]
    return OmegaConf.create(flags)


def drawn_values(rng):
    """Return a value for every flag of MODEL."""

    def text():
        if rng.random() < 0.6:
            return rng.choice(SPECIAL)
        made = "".join(rng.choice([*SPECIAL, "\\", "'", '"', "${"]) for _ in range(rng.randrange(5)))
        return made if made != "--" else ""  # which argparse drops, even in --text=--

    def some(draw, least):
        return [draw() for _ in range(rng.randint(least, 4))]

    def word():  # argparse takes what begins with "-" for a flag, in a list of words
        return text().lstrip("-")

    def number():
        return rng.choice([*FLOATS, rng.uniform(-1, 1), rng.gauss(0, 1) * 10 ** rng.randint(-20, 20)])

    return {
        "text": text(),
        "free": rng.choice([None, text()]),
        "number": rng.choice([*NUMBERS, rng.randint(-999, 999)]),
        "rate": rng.choice([number(), float("-inf")]),
        "switch": rng.random() < 0.5,
        "fast": rng.random() < 0.5,
        "slow": rng.random() < 0.5,
        "cached": rng.random() < 0.5,
        "names": some(word, 1),
        "rates": some(number, 0),
        "pair": rng.choice([None, [rng.choice(NUMBERS), rng.choice(NUMBERS)]]),
        "labels": rng.choice([None, some(text, 1)]),  # given no times, it is None
        "depth": rng.randrange(4),
        "kind": rng.choice(["adam", "a, b=c", "none"]),
        "order": rng.choice([None, 1, -2, 3]),
        "layers": some(lambda: rng.choice(NUMBERS), 1),
        "options": rng.choice([None, {}, {"a": rng.choice([1, 0.5, True, None, text()]), "b": [1, "c"]}]),
        "learning_rate": number(),
    }


def exact(args, names):
    """Return values in a form that tells 1 from 1.0 and from True."""
    return {name: repr(args[name]) for name in names}


def written(value):
    """Return a value in the grammar of Hydra's overrides."""
    if isinstance(value, str):
        return QuotedString(escaped(value), Quote.single).with_quotes()
    if isinstance(value, list):
        return f"[{','.join(map(written, value))}]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{name}:{written(item)}" for name, item in value.items()) + "}"
    return json.dumps(value) if value is None or isinstance(value, bool) else repr(value)


def test_a_value_in_a_config_comes_back_as_it_was(net):
    rng = random.Random(0)
    for index in range(60):
        values = drawn_values(rng)
        args = parsed(settings_in(config_of(net, values), values if index % 2 else ()))
        assert exact(vars(args), values) == exact(values, values)


def test_each_special_text_comes_back_as_it_was(net):
    for text in SPECIAL:
        values = {"text": text, "free": text, "labels": [text, "b"]}
        assert exact(vars(parsed(settings_in(config_of(net, values)))), values) == exact(values, values)


def test_a_value_in_an_override_comes_back_as_it_was(net):
    rng = random.Random(1)
    for _ in range(12):
        values = drawn_values(rng)
        args = args_of(*(f"{name}={written(value)}" for name, value in values.items()))
        assert exact(vars(args), values) == exact(values, values)


@pytest.mark.parametrize(
    ("override", "name", "value"),
    [
        ("devices=[0]", "devices", [0]),
        ("devices=[0,1]", "devices", [0, 1]),
        ("'devices=\"1,\"'", "devices", [1]),
        ("devices=2", "devices", 2),
        ("devices=auto", "devices", "auto"),
        ("max_time=00:01:30:00", "max_time", "00:01:30:00"),
        ("max_time=null", "max_time", None),
        ("limit_train_batches=1", "limit_train_batches", 1),
        ("limit_train_batches=1.0", "limit_train_batches", 1.0),
        ("logger=[csv,tensorboard]", "logger", "csv,tensorboard"),
        ("logger=[csv]", "logger", "csv"),
        ("'logger=\"csv,tensorboard\"'", "logger", "csv,tensorboard"),
        ("logger=false", "logger", False),
        ("precision=16-mixed", "precision", "16-mixed"),
        ("precision=64", "precision", 64),
        ("max_epochs=null", "max_epochs", 20),  # which is what main.py makes of none
        ("max_epochs=-1", "max_epochs", -1),
        ("val_check_interval=00:00:10:00", "val_check_interval", "00:00:10:00"),
        ("gradient_clip_val=1e-05", "gradient_clip_val", 1e-05),
        ("deterministic=warn", "deterministic", "warn"),
        ("fast_dev_run=true", "fast_dev_run", True),
        ("fast_dev_run=1", "fast_dev_run", 1),
        ("compile=yes", "compile", True),
        ("terminate_on_nan=false", "terminate_on_nan", False),
        ("monitor=null", "monitor", None),
        ("track_grad_norm=inf", "track_grad_norm", float("inf")),
    ],
)
def test_a_flag_of_the_program_comes_back(net, override, name, value):
    """It is set even if the value is the default."""
    flags = settings(override.strip("'"))
    assert list(flags) == [name]
    assert repr(getattr(parsed(flags), name)) == repr(value)


def test_a_job_sets_no_defaults_but_given_ones(net):
    """A checkpoint wins over defaults, and given flags win over it."""
    assert settings() == {}
    flags = {"model_name": "net", "number": 1, "rate": 0.5, "max_epochs": None}
    assert settings("number=1", "model_name=net", "rate=0.5", "max_epochs=null") == flags
    assert list(settings("number=1", "model_name=net")) == ["model_name", "number"]
    assert settings_in(config_of(net)) == {}
    assert settings_in(config_of(net), ["slow", "text"]) == {"text": "a ${b} \\${c}", "slow": True}
    Path("mine.yaml").write_text("seed: 0\nnumber: 1\n")
    assert settings("rate=2", experiment="mine.yaml") == {"rate": 2}


def test_a_flag_that_must_be_given_has_no_value(root):
    text = MODEL.replace('"--number", type=int, default=1', '"--number", type=int, required=True')
    (root / "models" / "net.py").write_text(text)
    (root / "data" / "some.py").touch()
    config = compose()
    assert OmegaConf.is_missing(config, "number")
    with pytest.raises(UsageError, match="the following arguments are required: --number"):
        parsed(settings_in(config))
    assert args_of("number=3").number == 3


def plain_config(config):
    return OmegaConf.to_container(config, resolve=True)


def expected_config(*argv):
    """Return the names of models and data, and all flags of main.py with their defaults."""
    parser = main.build_parser(argv)
    named = main.parse_args(argv)
    owners = (None, MODELS.file(named.model_name), DATA.file(named.data_name))
    own = {name: value for owner in owners for name, value in flags_of(parser, owner).items()}
    flags = {"model_name": named.model_name, "data_name": named.data_name, **own}
    return plain_config(OmegaConf.create(flags))


def test_a_config_has_the_flags_of_the_parser():
    for name in MODELS.names():
        assert plain_config(compose(f"model_name={name}")) == expected_config(f"--model_name={name}")
    for name in DATA.names():
        argv = ["--model_name=my_model", f"--data_name={name}"]
        assert plain_config(compose("model_name=my_model", f"data_name={name}")) == expected_config(*argv)


def test_an_environment_sets_defaults(net, monkeypatch):
    monkeypatch.setenv("PL_TRAINER_MAX_EPOCHS", "7")
    assert compose().max_epochs == 7
    assert settings() == {}
    assert settings("max_epochs=8") == {"max_epochs": 8}


def test_only_what_is_named_is_read(net, root):
    touched = "from pathlib import Path\nPath('touched').touch()\nraise RuntimeError('boom')\n"
    for folder in ("models", "data"):
        (root / folder / "other.py").write_text(touched)
        (root / folder / "zbroken.py").write_text("def (")
    assert settings("model_name=net", "number=3") == {"model_name": "net", "number": 3}
    assert not Path("touched").exists()
    with pytest.raises(UsageError, match=r"models/other\.py cannot be imported: RuntimeError: boom"):
        model_config(main.build_parser, "other")
    assert Path("touched").exists()


def test_a_config_needs_no_torch():
    script = (
        f"import sys; sys.path.insert(0, {str(found.ROOT)!r}); import sweep_hydra\n"
        "sys.argv = ['sweep_hydra.py', '--cfg', 'job', 'model_name=my_model']\n"
        "sweep_hydra.app.run(sweep_hydra.launch)\n"
        "print([name for name in ('torch', 'pytorch_lightning', 'matplotlib') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=100)
    *config, imported = result.stdout.splitlines()
    assert imported == "[]", result.stderr
    assert yaml.safe_load("\n".join(config))["model_name"] == "my_model"
    assert not list(Path().iterdir())


SIZED = """
import pytorch_lightning as pl

class Data(pl.LightningDataModule):
    @staticmethod
    def add_data_specific_args(parent_parser):
        parent_parser.add_argument("--FLAG", default=1)
        return parent_parser
"""
TAKES = "import pytorch_lightning as pl\nclass Takes(pl.LightningModule):\n    data_name = 'second'\n"


@pytest.fixture
def several(net, root):
    """Models that bring data, choose them, and take the default; and two data modules."""
    (root / "models" / "takes.py").write_text(TAKES)
    (root / "models" / "whatever.py").write_text(TAKES.replace("data_name = 'second'", "pass"))
    (root / "data" / "some.py").unlink()
    for name in ("first", "second"):
        (root / "data" / f"{name}.py").write_text(SIZED.replace("FLAG", f"{name}_size"))


@pytest.mark.parametrize(
    ("overrides", "data_name", "flags"),
    [
        (["model_name=net"], None, []),
        (["model_name=takes"], "second", ["second_size"]),
        (["model_name=whatever"], "first", ["first_size"]),
        (["model_name=takes", "data_name=first"], "first", ["first_size"]),
        (["data_name=second", "model_name=whatever"], "second", ["second_size"]),
    ],
)
def test_a_model_chooses_its_data_unless_told(several, overrides, data_name, flags):
    config = compose(*overrides)
    assert config.data_name == data_name
    assert [name for name in config if str(name) in ("first_size", "second_size")] == flags
    assert ("number" in config) == ("model_name=net" in overrides)
    args = args_of(*overrides, *(f"{flag}=2" for flag in flags))
    assert (args.data_name, [vars(args)[flag] for flag in flags]) == (data_name, ["2"] * len(flags))


def test_data_that_are_not_there_are_said(root):
    (root / "models" / "takes.py").write_text(TAKES)
    (root / "data" / "some.py").write_text(SIZED)
    with pytest.raises(UsageError, match=r"models/takes\.py: data_name = 'second', and data/ holds some"):
        compose()
    assert list(data_config("some")) == ["data_name", "FLAG"]


def refused(monkeypatch, capsys, program, *argv):
    """Return the one line that a command line of this project ends with."""
    monkeypatch.setattr(sys, "argv", [f"{program.__name__}.py", *argv])
    with pytest.raises(SystemExit) as stop:
        app.run(main.build_parser, main.main) if program is main else hydra_app.run(sweep_hydra.launch)
    (line,) = capsys.readouterr().err.splitlines()
    assert stop.value.code == 2
    return line


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("max_epoch=3", "Could not override 'max_epoch'"),
        ("learning_rat=3", "Could not override 'learning_rat': unknown flag learning_rat, did you mean learning_rate?"),
        ("lr=3", "Could not override 'lr': unknown flag lr, did you mean learning_rate?"),
        ("epochs=3", "Could not override 'epochs': unknown flag epochs, did you mean max_epochs?"),
        ("model_name=nothing", "Could not find 'model_name/nothing'"),
        ("data_name=nothing", "Could not find 'data_name/nothing'"),
        ("experiment=nothing", "Could not find 'experiment/nothing'"),
        ("--max_epochs=3", "--max_epochs=3: here flags have no dashes, as in max_epochs=3"),
        ("--seed", "--seed: here flags have no dashes, as in seed=VALUE"),
        ("+experiment=short", "+experiment=short: it has its place already: drop the +, as in experiment=short"),
        ("++experiment=short", "++experiment=short: it has its place already: drop the +, as in experiment=short"),
        ("+data_name=digits", "+data_name=digits: it has its place already: drop the +, as in data_name=digits"),
        ("+seed=3", "+seed=3: it has its place already: drop the +, as in seed=3"),
    ],
)
def test_what_is_not_there_is_refused_in_one_line_and_leaves_nothing(monkeypatch, capsys, override, message):
    assert message in refused(monkeypatch, capsys, sweep_hydra, "model_name=my_model", override)
    assert not list(Path().iterdir())


BLOCK = "hydra:\n  sweeper:\n    params:\n      seed: 1,2\n"


@pytest.mark.parametrize("more", [[], ["-m"], ["-m", "seed=1,2"]], ids=str)
@pytest.mark.parametrize(
    ("text", "override", "message"),
    [
        (BLOCK, "experiment=mine/a.yaml", "mine/a.yaml has a hydra: block: its first line must be # @package _global_"),
        ("seed: 1\n", "+size=a", "size/a.yaml: its first line must be # @package _global_, so that it holds flags"),
        (f"# mine\n# @package _global_\n{BLOCK}", "+size=a", "size/a.yaml: its first line must be # @package _global_"),
        (
            "# @package _global_\nmodel_name: net\n",
            "+size=a",
            "model_name: net chooses nothing in a config of Hydra: its defaults list must have "
            "- override /model_name: net",
        ),
    ],
)
def test_a_file_that_holds_no_flags_as_it_is_written_is_refused(monkeypatch, capsys, text, override, message, more):
    run_file(text, "mine/a.yaml")
    run_file(text, "mine/size/a.yaml")
    before = sorted(Path().rglob("*"))
    argv = [*more[:1], "--config-dir", "mine", "model_name=my_model", override, *more[1:]]
    assert message in refused(monkeypatch, capsys, sweep_hydra, *argv)
    assert sorted(Path().rglob("*")) == before


def test_a_wrong_file_among_several_is_refused_before_the_first_job(monkeypatch, capsys):
    run_file(BLOCK, "mine/a.yaml")
    run_file("# @package _global_\nseed: 1\n", "mine/size/small.yaml")
    run_file("seed: 2\n", "mine/size/large.yaml")
    before = sorted(Path().rglob("*"))
    for override in ("experiment=short,mine/a.yaml", "+size=small,large"):
        argv = ["-m", "--config-dir", "mine", "model_name=my_model", override, "learning_rate=0.1,0.2"]
        assert "its first line must be # @package _global_" in refused(monkeypatch, capsys, sweep_hydra, *argv)
    assert sorted(Path().rglob("*")) == before


@pytest.mark.parametrize(
    "override",
    [
        "max_epochs=x",
        "seed=-1",
        "learning_rate=0",
        "lr_monitor=hour",
        "compile=perhaps",
        "accumulate_grad_batches=0",
        "ckpt_path=missing.ckpt",
    ],
)
def test_a_bad_value_is_refused_as_by_main(monkeypatch, capsys, override):
    line = refused(monkeypatch, capsys, main, "--model_name=my_model", f"--{override}")
    job = refused(monkeypatch, capsys, sweep_hydra, "model_name=my_model", override)
    assert job == line.replace("main.py", "sweep_hydra.py")
    assert not [path for path in Path().rglob("*") if path.is_file()]


STUBBORN = """
from argparse import BooleanOptionalAction

import pytorch_lightning as pl

class Stubborn(pl.LightningModule):
    @staticmethod
    def add_model_specific_args(parent_parser):
        parent_parser.add_argument("--labels", action="append", default=["d"])
        parent_parser.add_argument("--more", action="extend", nargs="+", default=["d"])
        parent_parser.add_argument("--depth", action="count", default=1)
        parent_parser.add_argument("--fast", action="store_true", default=True)
        parent_parser.add_argument("--no-slow", action=BooleanOptionalAction, default=False)
        parent_parser.add_argument("--mode", action="store_const", const="quick")
        return parent_parser

    def train_dataloader(self): ...
"""


@pytest.fixture
def stubborn(root):
    """A model whose flags do not take every value from a command line."""
    (root / "models" / "stubborn.py").write_text(STUBBORN)
    (root / "data" / "some.py").write_text("")


@pytest.mark.parametrize(
    ("override", "name", "value"),
    [
        ("labels=[d]", "labels", ["d"]),
        ("labels=[d,x]", "labels", ["d", "x"]),
        ("more=[d,x,y]", "more", ["d", "x", "y"]),
        ("depth=3", "depth", 3),
        ("fast=true", "fast", True),
        ("no_slow=no", "no_slow", False),
        ("mode=quick", "mode", "quick"),
    ],
)
def test_a_flag_that_adds_to_its_default_has_the_value_that_is_given(stubborn, override, name, value):
    assert vars(args_of(override))[name] == value


@pytest.mark.parametrize("override", ["labels=[x]", "more=[x,d]", "depth=0", "fast=false", "no_slow=true", "mode=slow"])
def test_a_value_that_no_words_give_is_refused(stubborn, override):
    with pytest.raises(UsageError, match=rf"^argument --{override.split('=')[0].replace('_', '-')}: "):
        args_of(override)


def test_what_means_something_to_hydra_or_yaml_is_not_lost(net):
    assert args_of("text=inf").text == "inf"
    with pytest.raises(UsageError, match=r"text=\?\?\? gives it no value"):
        settings("text='???'")
    file = run_file("text: 2024-01-01\nnames: [2024-01-01, 0x10]\nnumber: 007\nrate: 1e-3\nkind: !!str none\n")
    args = args_of(experiment=file)
    assert (args.text, args.names, args.number, args.rate) == ("2024-01-01", ["2024-01-01", "0x10"], 7, 1e-3)
    assert args.kind == "none"
    assert args_of(experiment=run_file("text: .inf\n")).text == ".inf"
    assert args_of("learning_rate=0.5", experiment=run_file(lr=0.3)).learning_rate == 0.5
    assert args_of(experiment=run_file(lr=0.3)).learning_rate == 0.3


def test_a_job_trains(net):
    with pytest.raises(UsageError, match="a job trains: leave out command=test"):
        args_of("+command=test", "ckpt_path=none")


def test_a_key_that_is_added_is_refused_as_by_main(net):
    with pytest.raises(UsageError, match="unknown flag --numbr, did you mean --number"):
        args_of("+numbr=3")
    with pytest.raises(UsageError, match="argument --number: it cannot be null"):
        args_of("number=null")


def run_file(text="", name="run.yaml", **settings):
    """Write a file of flags."""
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_text(text or yaml.safe_dump(settings))
    return name


def test_an_experiment_of_the_project(net):
    config = compose("experiment=short")
    assert "batch_size" in config
    assert config.max_epochs == 2
    assert compose("experiment=short", "max_epochs=5").max_epochs == 5
    assert (CONF / "experiment" / "short.yaml").is_file()


def test_the_file_of_a_run_is_that_run_again(several):
    values = drawn_values(random.Random(2)) | {"text": "a ${b} \\${c} ${", "names": ["${", "x y"]}
    flags = settings_in(config_of("net", values), values)
    args = parsed({**flags, "model_name": "net", "devices": [0], "max_time": "00:00:01:00", "seed": 5})
    folder = Path("runs") / "2024-01-01 net"
    folder.mkdir(parents=True)
    write_config(vars(args), folder)
    file = folder / CONFIG_FILE
    assert yaml.safe_load(file.read_text())["command"] == "fit"
    for path in (file, file.with_suffix(""), file.resolve()):
        again = args_of("model_name=net", experiment=str(path))
        assert exact(vars(again), vars(args)) == exact(vars(args), vars(args))
    again = args_of("text=other", "devices=2", "max_time=null", "seed=0", experiment=str(file))
    assert (again.text, again.devices, again.max_time, again.seed) == ("other", 2, None, 0)
    assert again.names == ["${", "x y"]


def test_an_experiment_names_its_model_and_data(several):
    file = run_file(model_name="takes", data_name="first", first_size=3)
    args = args_of(experiment=file)
    assert (args.model_name, args.data_name, args.first_size) == ("takes", "first", "3")
    assert args_of("first_size=4", experiment=file).first_size == "4"
    file = run_file(model_name="takes", second_size=3)
    args = args_of(experiment=file)
    assert (args.model_name, args.data_name, args.second_size) == ("takes", "second", "3")
    # What is said wins, whatever the file names.
    args = args_of("model_name=whatever", "data_name=second", experiment=file)
    assert (args.model_name, args.data_name, args.second_size) == ("whatever", "second", "3")
    # A flag of another model is refused as by main.py.
    with pytest.raises(UsageError, match="--number is a flag of model net, not takes"):
        args_of(experiment=run_file(model_name="takes", number=3))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("command: predict\nckpt_path: a.ckpt\n", "run.yaml is of a run that did not train: name another"),
        ("command: test\n", "run.yaml is of a run that did not train"),
        ("- a\n", "run.yaml cannot be read: it must have one flag a line"),
        ("a:\n  b: 1\n", "run.yaml cannot be read: it must have one flag a line"),
        ("config: other.yaml\n", "run.yaml names another one"),
    ],
)
def test_a_file_that_is_no_experiment_is_refused(net, text, message):
    with pytest.raises(UsageError, match=message):
        compose(f"experiment={run_file(text)}")


def test_an_experiment_of_the_kind_of_hydra_is_left_to_it(several, monkeypatch):
    for path in CONF.glob("*.yaml"):
        run_file(path.read_text(), f"conf/{path.name}")
    monkeypatch.setattr("harness.sweeps.hydra.configs.EXPERIMENTS", Path("conf/experiment"))
    monkeypatch.setattr(f"{__name__}.CONF", Path("conf").resolve())
    run_file("# @package _global_\ndefaults:\n- override /model_name: takes\n", "conf/experiment/chosen.yaml")
    assert "second_size" in compose("experiment=chosen")
    run_file("# @package _global_\nseed: 7\nmax_steps: ${seed}\n", "conf/experiment/linked.yaml")
    assert settings(experiment="linked") == {"seed": 7, "max_steps": 7}
    assert settings("seed=8", experiment="linked") == {"seed": 8, "max_steps": 8}
    # One of flags, beside them, has no links.
    run_file("seed: 7\nmonitor: ${seed}\n", "conf/experiment/flags.yaml")
    assert settings(experiment="flags") == {"seed": 7, "monitor": "${seed}"}


def job_dir(name, note=None, metrics=None, overrides=(), flags=None):
    """Write what a job leaves in its directory, below that of the multirun."""
    folder = Path("multirun") / name
    (folder / HYDRA).mkdir(parents=True)
    (folder / HYDRA / "hydra.yaml").write_text("hydra:\n  mode: MULTIRUN\n")
    (folder / HYDRA / "overrides.yaml").write_text(yaml.safe_dump(list(overrides)))
    if note is not None:
        note.write(folder)
        (folder / FLAGS_FILE).write_text(yaml.safe_dump(flags or {}))
    if metrics is not None:
        (folder / METRICS_FILE).write_text(json.dumps(metrics))


@pytest.fixture
def jobs():
    """Jobs of a multirun: of two metrics, one of them without a number, failed ones, and one that left no word."""

    def note(metric, mode, error="", name=""):
        return Note(metric, mode, error, 1.25, f"python main.py --seed={name}")

    for name, value in (("0", 0.5), ("1", float("nan")), ("2", 0.25), ("10", 0.25)):
        metrics = {"val_loss": value, "train_loss": 1.0}
        job_dir(name, note("val_loss", "min", name=name), metrics, [f"seed={name}", "rate=1"])
    for name, value in (("3", 0.5), ("4", 0.75), ("5", float("nan"))):
        job_dir(name, note("val_accuracy", "max"), {"val_accuracy": value}, [f"seed={name}", "text=a=b, c"])
    job_dir("6", note("val_loss", "min", 'it said "no", and\nleft'), None, ["seed=6"])
    job_dir("7", None, None, ["seed=7"])
    return Path("multirun")


ORDER = ["2", "10", "0", "1", "4", "3", "5", "6", "7"]


def test_jobs_come_best_first_by_their_metrics(jobs):
    rows = read_rows(jobs)
    assert [row.name for row in rows] == ORDER
    assert [row.error for row in rows[-2:]] == ['it said "no", and\nleft', "stopped or killed before it could say why"]
    assert not any(row.error for row in rows[:-2])
    assert rows[4].drawn == {"seed": "4", "text": "a=b, c"}
    assert rows[-1].command == ""
    header, *lines = as_lines(rows, "job", 1000)
    assert header.split() == ["job", "val_loss", "val_accuracy", "seed", "rate", "text", "error", "train_loss"]
    assert [line.split()[:2] for line in lines[:5]] == [
        *(["2", "0.2500"], ["10", "0.2500"], ["0", "0.5000"], ["1", "nan"], ["4", "0.7500"])
    ]


def test_the_table_has_errors_and_commands(jobs):
    rows = list(csv.DictReader(as_csv(read_rows(jobs), "job").splitlines(keepends=True)))
    assert [row["job"] for row in rows] == ORDER
    assert [row["state"] for row in rows] == ["complete"] * 7 + ["failed"] * 2
    assert list(rows[0]) == [
        *("job", "state", "val_loss", "val_accuracy", "train_loss", "seed", "rate", "text"),
        *("seconds", "error", "run", "command"),
    ]
    assert (rows[0]["val_loss"], rows[0]["train_loss"], rows[0]["seconds"]) == ("0.25", "1.0", "1.2")
    assert rows[3]["val_loss"] == "nan"
    assert (rows[0]["command"], rows[0]["run"]) == ("python main.py --seed=2", "multirun/2")
    assert rows[7]["error"] == 'it said "no", and\nleft'
    assert [rows[8][name] for name in ("error", "command", "seconds")] == [
        *("stopped or killed before it could say why", "", "")
    ]


def test_the_table_is_shown(jobs, capsys):
    assert show_table(jobs) == "2 of 9 jobs failed: see multirun/jobs.csv"
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:7] == ["job", "val_loss", "val_accuracy", "seed", "rate", "text", "error"]
    assert "best: job 2, multirun/2" in lines
    assert "python main.py --seed=2" in lines
    assert 'job 6 failed: it said "no", and left (multirun/6/error.txt)' in lines
    assert (jobs / "jobs.csv").read_text() == as_csv(read_rows(jobs), "job").replace("\r\n", "\n")
    assert (jobs / "jobs.png").stat().st_size > 5000
    empty = Path("empty")
    empty.mkdir()
    assert show_table(empty) == "no job was started"
    assert not list(empty.iterdir())


def test_the_directory_of_a_job_is_its_own():
    folder = Path("job")
    require_free(folder, {"seed": 1})
    (folder / HYDRA).mkdir(parents=True)
    (folder / "sweep_hydra.log").touch()
    require_free(folder, {"seed": 1})  # it was killed before it began
    (folder / FLAGS_FILE).write_text("seed: 1\nfast: true\n")
    require_free(folder, {"fast": True, "seed": 1})  # it is resumed
    with pytest.raises(OccupiedError, match="job holds a run with seed=1, and this job has seed=2: name another"):
        require_free(folder, {"seed": 2, "fast": True})
    (folder / FLAGS_FILE).write_text("- a\n")
    with pytest.raises(OccupiedError, match=r"job/\.hydra/flags\.yaml is not as it was written: name another"):
        require_free(folder, {"seed": 2})


@pytest.mark.parametrize(
    ("there", "here", "expected"),
    [
        ({"seed": 1}, {"seed": 2}, ("seed=1", "seed=2")),
        ({"seed": 1, "fast": True}, {"fast": True}, ("seed=1", "seed by default")),
        ({"names": ["a", "b"], "rate": -1}, {"names": ["a"], "rate": -1}, ("names=[a,b]", "names=[a]")),
        ({"max_time": None}, {"max_time": "1"}, ("max_time=null", "max_time=1")),
        ({"text": "--x y"}, {"seed": 1}, ("text=--x y, seed by default", "text by default, seed=1")),
    ],
    ids=str,
)
def test_two_jobs_differ_in_what_is_named(there, here, expected):
    assert difference(there, here) == expected


def test_two_jobs_of_one_directory_are_refused_before_the_first(monkeypatch, capsys):
    argv = ["-m", "model_name=my_model", "seed=1,2", "hydra.sweep.dir=many", "hydra.sweep.subdir=${model_name}"]
    line = refused(monkeypatch, capsys, sweep_hydra, *argv)
    assert "many/my_model is of two jobs, seed=1 and seed=2: name what differs in hydra.sweep.subdir" in line
    assert not list(Path().iterdir())


@pytest.mark.parametrize("mode", ["run", "sweep"])
def test_what_stands_in_a_directory_is_not_written_over(monkeypatch, capsys, mode):
    job_dir("0", Note("val_loss", "min"), {"val_loss": 0.5}, ["seed=1"], {"model_name": "my_model", "seed": 1})
    before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    where = ["hydra.run.dir=multirun/0"] if mode == "run" else ["-m", "hydra.sweep.dir=multirun"]
    line = refused(monkeypatch, capsys, sweep_hydra, *where, "model_name=my_model", "seed=2")
    assert "multirun/0 holds a run with seed=1, and this job has seed=2: name another directory, or give the" in line
    assert {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()} == before


def test_a_directory_with_other_files_is_left_as_it_was(monkeypatch, capsys):
    folder = Path("mine")
    folder.mkdir()
    (folder / "notes.txt").write_text("dear")
    words = ["model_name=my_model", f"hydra.run.dir={folder}"]
    line = refused(monkeypatch, capsys, sweep_hydra, *words)
    assert "mine is not for this job alone: it holds notes.txt; name another directory" in line
    assert (folder / "notes.txt").read_text() == "dear"
    assert not (folder / FLAGS_FILE).exists()
    # So is one in which a flag would be refused.
    assert refused(monkeypatch, capsys, sweep_hydra, *words, "max_epochs=x") == line
    assert (folder / "notes.txt").read_text() == "dear"


def test_keys_of_your_own_are_free_below_notes(net):
    assert settings("+notes=hello", "number=3", "tags=a") == {"number": 3, "tags": "a"}
    assert settings("+notes.why=hello", "+notes.width=3", "number=${notes.width}") == {"number": 3}
    with pytest.raises(UsageError, match=r"unknown flag --width.*; keys of your own are below notes: \+notes\.NAME"):
        args_of("+width=3")


def test_the_help_has_the_texts_of_the_flags_and_no_names_of_lightning_1(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["sweep_hydra.py", "--help", "model_name=my_model"])
    with pytest.raises(SystemExit):
        hydra_app.run(sweep_hydra.launch)
    text = capsys.readouterr().out
    assert re.search(r"^  learning_rate=positive_float +step size", text, re.MULTILINE)
    assert re.search(r"^  max_epochs=.* +limit of training; 20 if there is no other", text, re.MULTILINE)
    assert "python sweep_hydra.py -m model_name=my_model learning_rate=1e-3,1e-2" in text
    assert "--multirun" in text
    assert "layer_1_dim" not in text
    former = {"gpus", "tpu_cores", "num_processes", "resume_from_checkpoint", "checkpoint_callback"}
    assert not former & set(re.findall(r"\w+", text))
    assert not former & set(compose())


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("gpus=1", "Could not override 'gpus': what Lightning 1.x called accelerator gpu devices"),
        ("config=mine.yaml", "Could not override 'config': experiment=FILE takes the flags of a file"),
    ],
)
def test_a_name_without_a_place_in_the_config_has_a_remedy(monkeypatch, capsys, override, message):
    assert message in refused(monkeypatch, capsys, sweep_hydra, override)
