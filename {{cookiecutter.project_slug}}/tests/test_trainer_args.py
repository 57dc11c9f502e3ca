"""Trainer's flags, on the Lightning that is installed."""

import inspect
from argparse import ArgumentParser, Namespace

import pytest
import pytorch_lightning as pl

import trainer_args
from trainer_args import Trainer

OBJECTS_ONLY = {"callbacks", "plugins"}


def parse(*argv):
    return Trainer.add_argparse_args(ArgumentParser()).parse_args(argv)


def test_every_parameter_but_objects_is_a_flag_with_its_default():
    parameters = inspect.signature(pl.Trainer).parameters
    expected = {name: parameter.default for name, parameter in parameters.items() if name not in OBJECTS_ONLY}
    assert vars(parse()) == {**expected, "gpus": None}


def test_every_flag_has_help_that_prints(capsys):
    parser = Trainer.add_argparse_args(ArgumentParser())
    assert all(action.help for action in parser._actions)
    parser.print_help()
    assert "Stop training once this number of epochs is reached" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("argv", "name", "value"),
    [
        ("--max_epochs 5", "max_epochs", 5),
        ("--max_epochs -1", "max_epochs", -1),
        ("--max_epochs None", "max_epochs", None),
        ("--max_steps 1e5", "max_steps", 100_000),
        ("--max_time 00:12:00:00", "max_time", "00:12:00:00"),
        ("--fast_dev_run", "fast_dev_run", True),
        ("--fast_dev_run 7", "fast_dev_run", 7),
        ("--fast_dev_run no", "fast_dev_run", False),
        ("--limit_train_batches 10", "limit_train_batches", 10),
        ("--limit_train_batches 1.0", "limit_train_batches", 1.0),
        ("--limit_train_batches 1e-1", "limit_train_batches", 0.1),
        ("--val_check_interval 0.25", "val_check_interval", 0.25),
        ("--val_check_interval 00:00:10:00", "val_check_interval", "00:00:10:00"),
        ("--devices 2", "devices", 2),
        ("--devices -1", "devices", -1),
        ("--devices 0,1", "devices", [0, 1]),
        ("--devices [0,1]", "devices", [0, 1]),
        ("--devices 1,", "devices", [1]),
        ("--devices auto", "devices", "auto"),
        ("--precision 16-mixed", "precision", "16-mixed"),
        ("--deterministic", "deterministic", True),
        ("--deterministic warn", "deterministic", "warn"),
        ("--enable_checkpointing false", "enable_checkpointing", False),
        ("--logger 0", "logger", False),
        ("--gradient_clip_val 0.5", "gradient_clip_val", 0.5),
        ("--gradient_clip_val null", "gradient_clip_val", None),
        ("--profiler simple", "profiler", "simple"),
        ("--default_root_dir some/where", "default_root_dir", "some/where"),
        ("--gpus 2", "gpus", 2),
        ("--gpus 0,1", "gpus", [0, 1]),
    ],
)
def test_a_value_gets_the_type_of_its_parameter(argv, name, value):
    parsed = getattr(parse(*argv.split()), name)
    assert (parsed, type(parsed)) == (value, type(value))


@pytest.mark.parametrize(
    "argv", ["--fast_dev_run abc", "--precision foo", "--max_time noon", "--max_epochs 1.5", "--benchmark maybe"]
)
def test_a_wrong_value_is_refused_by_name(argv, capsys):
    with pytest.raises(SystemExit) as stop:
        parse(*argv.split())
    assert stop.value.code == 2
    assert argv.split()[0] in capsys.readouterr().err


def test_the_flags_build_lightnings_trainer():
    args = parse("--max_epochs", "7", "--accelerator", "cpu", "--limit_val_batches", "0.5", "--logger", "no")
    args.width = 128  # flags of others are left alone
    trainer = Trainer.from_argparse_args(args, max_epochs=8)
    assert type(trainer) is pl.Trainer
    assert (trainer.max_epochs, trainer.limit_val_batches, trainer.loggers) == (8, 0.5, [])
    with pytest.raises(TypeError):
        Trainer.from_argparse_args(args, no_such_parameter=1)


def test_gpus_becomes_accelerator_and_devices(monkeypatch, capsys):
    class Recorded(Namespace):
        is_global_zero = True

    monkeypatch.setattr(trainer_args, "Trainer", Recorded)
    built = trainer_args.from_argparse_args(parse("--gpus", "2"))
    assert (built.accelerator, built.devices) == ("gpu", 2)
    assert capsys.readouterr().err == "--gpus 2 is now --accelerator gpu --devices 2\n"
    assert trainer_args.from_argparse_args(parse("--gpus", "0")).accelerator == "cpu"


def test_the_environment_sets_defaults(monkeypatch, capsys):
    monkeypatch.setenv("PL_TRAINER_MAX_EPOCHS", "3")
    monkeypatch.setenv("PL_TRAINER_LOGGER", "false")
    monkeypatch.setenv("PL_TRAINER_MAX_STEPS", "")
    assert Trainer.match_env_arguments() == Namespace(max_epochs=3, logger=False)
    assert (parse().max_epochs, parse("--max_epochs", "4").max_epochs) == (3, 4)
    monkeypatch.setenv("PL_TRAINER_MAX_EPOCHS", "three")
    with pytest.raises(SystemExit):
        parse()
    assert "PL_TRAINER_MAX_EPOCHS" in capsys.readouterr().err


def test_the_parser_keeps_what_it_knew():
    parser = ArgumentParser()
    parser.set_defaults(max_epochs=11)
    assert Trainer.add_argparse_args(parser) is parser
    assert parser.parse_args([]).max_epochs == 11
    parent = ArgumentParser(add_help=False)
    parent.add_argument("--width", type=int, default=128)
    child = Trainer.add_argparse_args(parent, use_argument_group=False)
    assert child.parse_args([]).width == 128
    assert not hasattr(parent.parse_args([]), "max_epochs")
    with pytest.raises(RuntimeError, match="ArgumentParser"):
        Trainer.add_argparse_args(parent.add_argument_group("group"))
    assert Trainer.parse_argparser(parser.parse_args([])).max_epochs == 11
    assert Trainer.parse_argparser(Namespace(a=1)) == Namespace(a=1)
