"""Trainer's flags, on the Lightning that is installed: parsed, and given to the real Trainer."""

import inspect
import json
import sys
from argparse import (
    ArgumentDefaultsHelpFormatter,
    ArgumentError,
    ArgumentParser,
    MetavarTypeHelpFormatter,
    Namespace,
    RawTextHelpFormatter,
)
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

import lightning_fabric
import pytest
import pytorch_lightning as pl
from pytorch_lightning.demos.boring_classes import BoringModel
from pytorch_lightning.loggers import CSVLogger

from harness import trainer_args
from harness.trainer_args import FORMER, GONE, LightningDataModule, Trainer

OBJECTS_ONLY = {"callbacks", "plugins"}
REFUSED = object()


def parse(*argv, **kwargs):
    return Trainer.add_argparse_args(ArgumentParser()).parse_args(argv, **kwargs)


@pytest.fixture
def two_gpus(monkeypatch):
    """A machine that says it has two GPUs."""
    for package in (lightning_fabric, pl):
        monkeypatch.setattr(package.accelerators.cuda, "num_cuda_devices", lambda: 2)
        if hasattr(package.accelerators.cuda, "is_cuda_available"):
            monkeypatch.setattr(package.accelerators.cuda, "is_cuda_available", lambda: True)


def test_every_parameter_but_objects_is_a_flag_with_its_default():
    parameters = inspect.signature(pl.Trainer).parameters
    expected = {name: parameter.default for name, parameter in parameters.items() if name not in OBJECTS_ONLY}
    assert vars(parse()) == {**expected, **dict.fromkeys(FORMER)}


def test_every_flag_has_help_that_prints(capsys):
    parser = Trainer.add_argparse_args(ArgumentParser())
    assert all(action.help for action in parser._actions)
    parser.print_help()
    assert "Stop training once this number of epochs is reached" in " ".join(capsys.readouterr().out.split())


# What Lightning 1.9 made of it stands behind the row, where ours differs.
TABLE = [
    ("--fast_dev_run", "fast_dev_run", True),
    ("--fast_dev_run 1", "fast_dev_run", 1),
    ("--fast_dev_run 0", "fast_dev_run", 0),
    ("--fast_dev_run 7", "fast_dev_run", 7),
    ("--fast_dev_run no", "fast_dev_run", False),
    ("--fast_dev_run abc", "fast_dev_run", REFUSED),  # "abc"
    ("--no_fast_dev_run", "fast_dev_run", False),
    ("--limit_train_batches 0.1", "limit_train_batches", 0.1),
    ("--limit_train_batches 10", "limit_train_batches", 10),
    ("--limit_train_batches 1", "limit_train_batches", 1),
    ("--limit_train_batches 1.0", "limit_train_batches", 1.0),
    ("--limit_train_batches 1e-1", "limit_train_batches", 0.1),  # refused
    ("--limit_train_batches None", "limit_train_batches", None),  # refused
    ("--devices 2", "devices", 2),  # "2"
    ("--devices 0,1", "devices", [0, 1]),  # "0,1"
    ("--devices [0,1]", "devices", [0, 1]),  # "[0,1]"
    ("--devices 1,", "devices", [1]),  # "1,"
    ("--devices -1", "devices", -1),  # "-1"
    ("--devices auto", "devices", "auto"),
    ("--devices some", "devices", REFUSED),  # "some"
    ("--max_time 00:12:00:00", "max_time", "00:12:00:00"),
    ("--max_time {'hours':2}", "max_time", REFUSED),  # a text, refused later
    ("--max_time noon", "max_time", REFUSED),
    ("--max_epochs 5", "max_epochs", 5),
    ("--max_epochs -1", "max_epochs", -1),
    ("--max_epochs 1e3", "max_epochs", 1000),  # refused
    ("--max_epochs 1.5", "max_epochs", REFUSED),
    ("--max_epochs None", "max_epochs", None),  # refused
    ("--max_steps 1e5", "max_steps", 100_000),  # refused
    ("--precision 16", "precision", 16),
    ("--precision bf16", "precision", "bf16"),
    ("--precision 16-mixed", "precision", "16-mixed"),
    ("--precision foo", "precision", REFUSED),  # "foo"
    ("--accumulate_grad_batches 4", "accumulate_grad_batches", 4),
    ("--accumulate_grad_batches {0:4}", "accumulate_grad_batches", REFUSED),
    ("--deterministic", "deterministic", True),  # no such flag
    ("--deterministic warn", "deterministic", "warn"),
    ("--deterministic false", "deterministic", False),
    ("--benchmark", "benchmark", True),
    ("--benchmark False", "benchmark", False),
    ("--benchmark maybe", "benchmark", REFUSED),
    ("--logger", "logger", True),
    ("--logger False", "logger", False),
    ("--logger 0", "logger", False),
    ("--logger tensorboard", "logger", "tensorboard"),  # refused
    ("--logger csv,tensorboard", "logger", "csv,tensorboard"),
    ("--logger cvs", "logger", REFUSED),
    ("--enable_checkpointing False", "enable_checkpointing", False),
    ("--no_enable_checkpointing", "enable_checkpointing", False),
    ("--no-enable_checkpointing", "enable_checkpointing", REFUSED),
    ("--profiler simple", "profiler", "simple"),
    ("--profiler simpel", "profiler", REFUSED),  # a text, refused later
    ("--profiler", "profiler", REFUSED),
    ("--val_check_interval 0.25", "val_check_interval", 0.25),
    ("--val_check_interval 100", "val_check_interval", 100),
    ("--val_check_interval 00:00:10:00", "val_check_interval", "00:00:10:00"),
    ("--check_val_every_n_epoch None", "check_val_every_n_epoch", None),  # refused
    ("--gradient_clip_val 0.5", "gradient_clip_val", 0.5),
    ("--gradient_clip_val None", "gradient_clip_val", None),
    ("--gradient_clip_val nan", "gradient_clip_val", REFUSED),
    ("--accelerator gpuu", "accelerator", REFUSED),
    ("--accelerator ddp", "accelerator", "ddp"),
    ("--accelerator dp", "accelerator", REFUSED),  # "dp"
    ("--strategy dp", "strategy", REFUSED),  # "dp"
    ("--strategy luck", "strategy", REFUSED),
    ("--default_root_dir some/where", "default_root_dir", "some/where"),
    ("--callbacks x", "callbacks", REFUSED),
    ("--plugins x", "plugins", REFUSED),  # "x"
    ("--max_ep 3", "max_epochs", REFUSED),  # 3
    ("--gpus 2", "gpus", 2),
    ("--gpus 0,1", "gpus", [0, 1]),
    ("--gpus 1,", "gpus", [1]),
    ("--gpus -1", "gpus", -1),
    ("--gpus auto", "gpus", REFUSED),
    ("--gpus", "gpus", REFUSED),
    ("--auto_lr_find", "auto_lr_find", True),
    ("--auto_lr_find lr", "auto_lr_find", "lr"),
    ("--auto_scale_batch_size binsearch", "auto_scale_batch_size", "binsearch"),
    ("--track_grad_norm 2", "track_grad_norm", REFUSED),  # 2.0
    ("--track_grad_norm inf", "track_grad_norm", REFUSED),  # inf
]


@pytest.mark.parametrize(("line", "name", "value"), TABLE, ids=[row[0] for row in TABLE])
def test_a_row_of_the_table_of_1_9(line, name, value, two_gpus, capsys):
    parser = Trainer.add_argparse_args(ArgumentParser(allow_abbrev=False))
    if value is REFUSED:
        with pytest.raises(SystemExit) as stop:
            parser.parse_args(line.split())
        assert stop.value.code == 2
        assert line.split()[0] in capsys.readouterr().err.splitlines()[-1]
        return
    args = parser.parse_args(line.split())
    assert (getattr(args, name), type(getattr(args, name))) == (value, type(value))
    if "tensorboard" in line:
        pytest.importorskip("tensorboard")
    # What the real Trainer makes of it; several devices are for the machine with two.
    on_gpus = name in ("gpus", "devices")
    trainer = Trainer.from_argparse_args(
        args, **({} if name == "gpus" else {"accelerator": "gpu" if on_gpus else "cpu"})
    )
    assert type(trainer) is pl.Trainer
    if on_gpus:
        assert (
            trainer.device_ids == {"[0, 1]": [0, 1], "2": [0, 1], "-1": [0, 1], "auto": [0, 1], "[1]": [1]}[str(value)]
        )
    elif name in ("limit_train_batches", "max_epochs", "max_steps", "accumulate_grad_batches", "gradient_clip_val"):
        assert getattr(trainer, name) == (value if value is not None or name != "limit_train_batches" else 1.0)
    elif name == "precision":
        assert trainer.precision == {"16": "bf16-mixed"}.get(str(value), trainer.precision)
    elif name == "logger":
        assert len(trainer.loggers) == {False: 0, True: 1}.get(value, str(value).count(",") + 1)
    elif name == "enable_checkpointing":
        assert trainer.checkpoint_callback is None
    elif name == "fast_dev_run":
        assert trainer.fast_dev_run == value


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--accelerator gpuu", "cpu|gpu|hpu|mps|tpu|auto|cuda; did you mean gpu?"),
        ("--precision 16-mixd", "did you mean 16-mixed?"),
        ("--strategy dpp", "did you mean ddp?"),
        ("--logger tensorbord", "did you mean tensorboard?"),
        ("--fast_dev_run abc", "int|yes|no"),
        ("--distributed_backend some", "ddp|ddp_spawn|ddp_cpu\n"),
        ("--accelerator dp", "'dp' is no strategy of Lightning 2: the nearest is --strategy ddp\n"),
        ("--strategy Horovod", "'Horovod' is no strategy of Lightning 2: the nearest is --strategy ddp\n"),
        ("--distributed_backend ddp_sharded", "the nearest is --strategy fsdp\n"),
    ],
)
def test_a_wrong_value_is_told_what_the_flag_takes(line, message, capsys):
    with pytest.raises(SystemExit):
        parse(*line.split())
    assert message in capsys.readouterr().err


def test_names_registered_by_the_program_are_taken():
    pl.strategies.StrategyRegistry.register("mine", pl.strategies.DDPStrategy)
    trainer_args._parameters.cache_clear()
    try:
        assert parse("--strategy", "mine").strategy == "mine"
    finally:
        pl.strategies.StrategyRegistry.remove("mine")
        trainer_args._parameters.cache_clear()
    with pytest.raises(SystemExit):
        parse("--strategy", "mine")


def test_every_name_that_lightning_registers_is_taken():
    for strategy in pl.strategies.StrategyRegistry.available_strategies():
        assert parse("--strategy", strategy).strategy == strategy
    for accelerator in pl.accelerators.AcceleratorRegistry.available_accelerators():
        assert parse("--accelerator", accelerator).accelerator == accelerator


def test_keywords_win_over_flags_and_others_are_left():
    args = parse("--max_epochs", "7", "--accelerator", "cpu", "--limit_val_batches", "0.5", "--logger", "no")
    args.width = 128
    trainer = Trainer.from_argparse_args(args, max_epochs=8)
    assert (trainer.max_epochs, trainer.limit_val_batches, trainer.loggers) == (8, 0.5, [])
    assert isinstance(trainer, Trainer)
    assert not isinstance(args, Trainer)
    with pytest.raises(TypeError):
        Trainer.from_argparse_args(args, no_such_parameter=1)


def test_a_parser_parses_the_command_line(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["script.py", "--max_epochs", "9", "--width", "3"])
    parser = Trainer.add_argparse_args(ArgumentParser())
    parser.add_argument("--width", type=int)
    assert Trainer.parse_argparser(parser).width == 3
    assert Trainer.from_argparse_args(parser).max_epochs == 9


def test_a_switch_that_is_none_is_on():
    assert Trainer.parse_argparser(Namespace(barebones=None, benchmark=None, a=1)) == Namespace(
        barebones=True, benchmark=None, a=1
    )


def test_a_logger_has_its_effect():
    trainer = Trainer.from_argparse_args(parse("--logger", "csv", "--default_root_dir", "logs"))
    assert isinstance(trainer.logger, CSVLogger)
    assert trainer.logger.save_dir == "logs"


@pytest.mark.parametrize(
    ("line", "attributes", "notice"),
    [
        ("--gpus 2", {"device_ids": [0, 1]}, "--gpus 2 is now --accelerator gpu --devices 2"),
        ("--gpus 1,", {"device_ids": [1]}, "--gpus 1, is now --accelerator gpu --devices 1,"),
        ("--gpus 0", {"num_devices": 1}, "--gpus 0 is now --accelerator cpu --devices 1"),
        ("--num_processes 2", {"num_devices": 2}, "--num_processes 2 is now --accelerator cpu --devices 2"),
        (
            "--replace_sampler_ddp no",
            {"_accelerator_connector.use_distributed_sampler": False},
            "--replace_sampler_ddp no is now --use_distributed_sampler no",
        ),
        (
            "--distributed_backend ddp_cpu --num_processes 2",
            {"strategy._start_method": "spawn", "num_devices": 2},
            "--distributed_backend ddp_cpu is now --strategy ddp_spawn --accelerator cpu",
        ),
        (
            "--gpus 2 --accelerator ddp",
            {"strategy._start_method": "popen", "device_ids": [0, 1]},
            "--accelerator ddp is now --strategy ddp",
        ),
        (
            "--accelerator ddp_cpu --num_processes 2",
            {"strategy._start_method": "spawn", "num_devices": 2},
            "--accelerator ddp_cpu is now --strategy ddp_spawn --accelerator cpu",
        ),
        (
            "--accelerator ddp --strategy ddp_spawn",
            {"strategy._start_method": "spawn"},
            "--accelerator ddp is --strategy ddp today, and gives way to --strategy ddp_spawn",
        ),
        ("--checkpoint_callback no", {"checkpoint_callback": None}, "is now --enable_checkpointing no"),
        (
            "--reload_dataloaders_every_epoch",
            {"reload_dataloaders_every_n_epochs": 1},
            "is now --reload_dataloaders_every_n_epochs 1",
        ),
        ("--progress_bar_refresh_rate 0", {"progress_bar_callback": None}, "is now --enable_progress_bar no"),
        (
            "--progress_bar_refresh_rate 7",
            {"progress_bar_callback.refresh_rate": 7},
            "is now the callback TQDMProgressBar(refresh_rate=7)",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) and value.startswith("--") else "",
)
def test_a_flag_of_1_x_has_its_effect_and_says_what_it_became(line, attributes, notice, two_gpus, capsys):
    trainer = Trainer.from_argparse_args(parse(*line.split()))
    for path, expected in attributes.items():
        value = trainer
        for name in path.split("."):
            value = (
                getattr(value, name, getattr(trainer.fit_loop, f"_{name}", None))
                if value is trainer
                else getattr(value, name)
            )
        assert value == expected
    assert notice in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "devices", "wins"),
    [
        ("--gpus 2 --accelerator cpu", [0], "--accelerator cpu"),
        ("--gpus 2 --accelerator gpu", [0, 1], ""),
        ("--gpus 2 --devices 1", [0], "--devices 1"),
        ("--gpus 2 --num_processes 3", [0, 1], "--accelerator gpu"),
    ],
)
def test_a_flag_of_today_wins_over_one_of_1_x(line, devices, wins, two_gpus, capsys):
    accelerator = {"accelerator": "gpu"} if wins == "--devices 1" else {}
    assert Trainer.from_argparse_args(parse(*line.split()), **accelerator).device_ids == devices
    assert (f"gives way to {wins}\n" if wins else "is now") in capsys.readouterr().err


def test_keywords_of_1_x_are_taken_too(two_gpus):
    assert Trainer(gpus=2, progress_bar_refresh_rate=3, callbacks=pl.Callback()).device_ids == [0, 1]
    assert isinstance(Trainer(gpus=2, accelerator="ddp").strategy, pl.strategies.DDPStrategy)


@pytest.mark.parametrize("name", ["accelerator", "strategy"])
def test_a_strategy_that_left_lightning_is_refused_as_a_keyword(name):
    with pytest.raises(ValueError, match=rf"Trainer\({name}='dp'\): .* the nearest is --strategy ddp"):
        Trainer(**{name: "dp"})


def test_only_the_first_process_says_so(two_gpus, capsys, monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "1")
    Trainer.from_argparse_args(parse("--gpus", "1"))
    assert "is now" not in capsys.readouterr().err


QUIET = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False, "enable_model_summary": False}


def test_fit_resumes_from_the_checkpoint_of_1_x(capsys):
    first = Trainer(max_epochs=1, limit_train_batches=3, limit_val_batches=1, default_root_dir="one", **QUIET)
    first.fit(BoringModel())
    first.save_checkpoint("one.ckpt", weights_only=False)
    args = parse("--resume_from_checkpoint", "one.ckpt", "--max_epochs", "2", "--limit_train_batches", "3")
    second = Trainer.from_argparse_args(args, default_root_dir="two", limit_val_batches=1, **QUIET)
    assert "--resume_from_checkpoint one.ckpt is now trainer.fit(ckpt_path='one.ckpt')" in capsys.readouterr().err
    second.fit(BoringModel(), ckpt_path=None)
    assert (second.current_epoch, second.global_step) == (2, 6)


class Tunable(BoringModel):
    def __init__(self):
        super().__init__()
        self.batch_size, self.lr = 2, 0.5

    def configure_optimizers(self):
        from torch.optim import SGD

        return SGD(self.parameters(), lr=self.lr)

    def train_dataloader(self):
        from torch.utils.data import DataLoader

        return DataLoader(super().train_dataloader().dataset, batch_size=self.batch_size)


def test_tune_finds_what_the_flags_ask_for():
    model = Tunable()
    args = parse("--auto_lr_find", "--auto_scale_batch_size", "--max_epochs", "1")
    trainer = Trainer.from_argparse_args(args, limit_val_batches=0, enable_checkpointing=False, **QUIET)
    found = trainer.tune(model)
    assert model.batch_size == found["scale_batch_size"] == 64  # all of the data
    assert model.lr != 0.5
    assert trainer.max_epochs == 1
    trainer.fit(model)
    assert trainer.current_epoch == 1


def test_tune_takes_what_1_9_took_and_leaves_the_trainer_as_it_was():
    args = parse("--auto_lr_find", "--auto_scale_batch_size", "binsearch", "--max_epochs", "1")
    trainer = Trainer.from_argparse_args(args, limit_val_batches=0, enable_checkpointing=False, **QUIET)
    model = Tunable()
    found = trainer.tune(model, scale_batch_size_kwargs={"max_trials": 1}, lr_find_kwargs={"num_training": 20})
    assert found["scale_batch_size"] < 64
    assert len(found["lr_find"].results["lr"]) <= 21
    with pytest.raises(TypeError):
        trainer.tune(model, lr_find_kwargs={"no_such": 1})
    assert trainer.max_epochs == 1
    assert trainer.tuner.lr_find(model, num_training=20) is not None


def test_tune_without_the_flags_does_nothing():
    model = Tunable()
    assert Trainer.from_argparse_args(parse(), **QUIET).tune(model) == {}
    assert (model.batch_size, model.lr) == (2, 0.5)


@pytest.mark.parametrize("name", sorted(GONE))
def test_a_flag_that_is_gone_says_what_took_its_place(name, capsys):
    for line in ([f"--{name}"], [f"--{name}", "1"]):
        with pytest.raises(SystemExit) as stop:
            parse(*line)
        assert stop.value.code == 2
        assert f"--{name} is no flag of Lightning 2: {GONE[name]}" in capsys.readouterr().err


@pytest.mark.parametrize("formatter", [ArgumentDefaultsHelpFormatter, MetavarTypeHelpFormatter, RawTextHelpFormatter])
def test_every_formatter_of_argparse_prints_the_help(formatter):
    assert "--max_epochs" in Trainer.add_argparse_args(ArgumentParser(formatter_class=formatter)).format_help()


def test_what_else_lightning_has_can_be_imported_from_here():
    from harness.trainer_args import LightningModule, seed_everything

    assert (LightningModule, seed_everything) == (pl.LightningModule, pl.seed_everything)
    with pytest.raises(ImportError):
        from harness.trainer_args import no_such_name  # noqa: F401


def test_trainer_looks_like_lightnings():
    assert Trainer.fit is pl.Trainer.fit
    assert Trainer.default_attributes()["max_steps"] == -1
    args = parse("--max_epochs", "3", "--gpus", "0")
    for signature in (inspect.signature(Trainer), inspect.signature(Trainer.__init__)):
        keywords = {name: value for name, value in vars(args).items() if name in signature.parameters}
        assert Trainer(**keywords).max_epochs == 3
    with pytest.raises(AttributeError):
        _ = Trainer.no_such_attribute


def test_a_subclass_is_one_of_lightnings():
    class Mine(Trainer):
        def __init__(self, *args, greeting="hello", **kwargs):
            super().__init__(*args, **kwargs)
            self.greeting = greeting

    trainer = Mine(max_epochs=3, greeting="hi", accelerator="cpu")
    assert (trainer.max_epochs, trainer.greeting) == (3, "hi")
    assert isinstance(trainer, pl.Trainer)
    assert Mine.add_argparse_args(ArgumentParser()).parse_args([]) == Namespace()


@pytest.mark.parametrize(
    "name", ["deterministic", "no_logger", "weights_summary", "distributed_backend", "terminate_on_nan"]
)
@pytest.mark.parametrize("where", ["before", "after", "in a group"])
def test_flags_that_1_9_did_not_have_give_way_to_those_of_the_program(name, where):
    parser = ArgumentParser()
    group = parser.add_argument_group("own") if where == "in a group" else parser
    if where == "before":
        parser.add_argument(f"--{name}", type=int, default=7)
    Trainer.add_argparse_args(parser)
    if where != "before":
        group.add_argument(f"--{name}", type=int, default=7)
    assert getattr(parser.parse_args([]), name) == 7
    assert getattr(parser.parse_args([f"--{name}", "8"]), name) == 8


def test_flags_that_1_9_had_do_not():
    parser = Trainer.add_argparse_args(ArgumentParser())
    with pytest.raises(ArgumentError, match="conflicting option string: --max_epochs"):
        parser.add_argument("--max_epochs")
    with pytest.raises(ArgumentError, match="conflicting option string"):
        Trainer.add_argparse_args(parser)


def test_a_parser_that_resolves_conflicts_keeps_the_defaults_of_the_program():
    parser = ArgumentParser(conflict_handler="resolve")
    Trainer.add_argparse_args(parser)
    parser.add_argument("--logger", default="mine")
    parser.add_argument("--benchmark", action="store_true")
    args = parser.parse_args([])
    assert (args.logger, args.benchmark) == ("mine", False)


@pytest.mark.parametrize(
    "kwargs",
    [
        {"strategy": None, "accelerator": None, "devices": None, "num_nodes": None, "max_steps": None},
        {"gpus": "0", "tpu_cores": 0, "num_processes": 0},
        {"gpus": 0, "accelerator": "cpu", "devices": 1},
        {"track_grad_norm": -1, "amp_backend": "native", "auto_select_gpus": False, "move_metrics_to_cpu": False},
        {"multiple_trainloader_mode": "max_size_cycle", "resume_from_checkpoint": None, "auto_lr_find": None},
    ],
    ids=str,
)
def test_what_1_x_had_as_defaults_says_nothing(kwargs):
    trainer = Trainer(**kwargs)
    assert (type(trainer.accelerator).__name__, trainer.num_devices, trainer.max_steps) == ("CPUAccelerator", 1, -1)


def test_parameters_that_are_gone_say_what_took_their_place():
    with pytest.raises(TypeError, match=r"track_grad_norm=2.* is no parameter of Lightning 2: log it in"):
        Trainer(track_grad_norm=2)
    with pytest.raises(ValueError, match="no logger is called 'foo': there are csv"):
        Trainer(logger="foo")


def test_keywords_of_today_win_over_flags_of_1_x(two_gpus):
    args = parse("--gpus", "1", "--checkpoint_callback", "no")
    trainer = Trainer.from_argparse_args(args, accelerator="cpu", enable_checkpointing=True)
    assert type(trainer.accelerator).__name__ == "CPUAccelerator"
    assert trainer.checkpoint_callback is not None


def test_a_program_may_use_a_name_of_1_x_for_a_flag_of_its_own():
    parser = ArgumentParser()
    parser.add_argument("--weights_summary", type=int)
    parser.add_argument("--distributed_backend", default="mpi")
    args = Trainer.add_argparse_args(parser).parse_args(["--weights_summary", "3"])
    assert (args.weights_summary, args.distributed_backend) == (3, "mpi")
    assert Trainer.from_argparse_args(args).strategy is not None


def test_the_environment_sets_defaults(monkeypatch, capsys):
    monkeypatch.setenv("PL_TRAINER_MAX_EPOCHS", "3")
    monkeypatch.setenv("PL_TRAINER_LOGGER", "false")
    monkeypatch.setenv("PL_TRAINER_DEVICES", "0,1")
    monkeypatch.setenv("PL_TRAINER_GPUS", "1")
    monkeypatch.setenv("PL_TRAINER_MAX_STEPS", "")
    monkeypatch.setenv("PL_TRAINER_LIMIT_VAL_BATCHES", "0.5")
    monkeypatch.setenv("PL_TRAINER_MAX_TIME", "00:01:00:00")
    monkeypatch.setenv("PL_TRAINER_NO_SUCH_FLAG", "1")
    expected = Namespace(
        max_epochs=3, logger=False, devices=[0, 1], gpus=1, limit_val_batches=0.5, max_time="00:01:00:00"
    )
    assert Trainer.match_env_arguments() == expected
    assert (parse().max_epochs, parse("--max_epochs", "4").max_epochs) == (3, 4)
    parser = ArgumentParser()
    parser.set_defaults(max_epochs=11, min_epochs=2)
    Trainer.add_argparse_args(parser)
    parser.set_defaults(max_epochs=12, max_steps=5)
    assert vars(parser.parse_args([])).items() >= {"max_epochs": 3, "min_epochs": 2, "max_steps": 5}.items()
    assert parser.get_default("max_epochs") == 3
    monkeypatch.setenv("PL_TRAINER_ACCELERATOR", "ddp")
    trainer = Trainer.from_argparse_args(parse("--devices", "1", "--gpus", "0"))
    assert isinstance(trainer.strategy, pl.strategies.DDPStrategy)
    monkeypatch.setenv("PL_TRAINER_MAX_EPOCHS", "three")
    with pytest.raises(SystemExit) as stop:
        parse()
    assert stop.value.code == 2
    assert "PL_TRAINER_MAX_EPOCHS: 'three' is not what it takes: int|none" in capsys.readouterr().err


def test_the_parser_keeps_what_it_knew():
    parser = ArgumentParser()
    parser.set_defaults(max_epochs=11)
    assert Trainer.add_argparse_args(parser) is parser
    assert parser.parse_args([]).max_epochs == 11
    assert parser.parse_args([], Namespace(max_epochs=12)).max_epochs == 12
    assert parser.parse_args(["--max_epochs", "13"], Namespace(max_epochs=12)).max_epochs == 13
    parent = ArgumentParser(add_help=False)
    parent.add_argument("--width", type=int, default=128)
    child = Trainer.add_argparse_args(parent, use_argument_group=False)
    assert child.parse_args([]).width == 128
    assert not hasattr(parent.parse_args([]), "max_epochs")
    with pytest.raises(RuntimeError, match="ArgumentParser"):
        Trainer.add_argparse_args(parent.add_argument_group("group"))


def test_per_cent_signs_are_safe(monkeypatch, capsys):
    parameters = [
        trainer_args.Parameter(
            "share", (float,), 0.1, trainer_args.docstring_args("Text.\n\nArgs:\n    share: 10 % of it.")["share"]
        )
    ]
    monkeypatch.setattr(trainer_args, "_flags", lambda cls: parameters)
    Trainer.add_argparse_args(ArgumentParser()).print_help()
    assert "10 % of it." in capsys.readouterr().out


class Numbers(LightningDataModule):
    """A data module in the manner of 1.9.

    Args:
        folder: where the files are
        batch_size: samples per batch
    """

    def __init__(self, folder: str, batch_size: int = 32, shuffle: bool = True, scale: float | None = None, of=None):
        super().__init__()
        self.settings = (folder, batch_size, shuffle, scale, of)


def test_a_data_module_has_the_calls():
    parser = Numbers.add_argparse_args(Trainer.add_argparse_args(ArgumentParser()))
    args = parser.parse_args(["--folder", "here", "--batch_size", "8", "--no_shuffle", "--max_epochs", "3"])
    data = Numbers.from_argparse_args(args, scale=2.0)
    assert data.settings == ("here", 8, False, 2.0, None)
    assert isinstance(data, pl.LightningDataModule)
    assert not hasattr(args, "of")  # it has no type
    with pytest.raises(SystemExit):
        Numbers.add_argparse_args(ArgumentParser()).parse_args([])  # --folder has no default
    assert "samples per batch" in parser.format_help()


def test_annotations_that_are_no_text_are_left_out():
    class Local:
        pass

    class Settings:
        def __init__(
            self,
            a: Local = None,
            b: "any text at all" = None,  # noqa: F722
            c: Annotated[int, object()] = 3,
            d: Literal["MNIST", "CIFAR10"] = "MNIST",
            e: list[str] | None = None,
            f: timedelta | None = None,
            g: tuple[int, int] = (1, 2),
        ):
            self.values = (a, b, c, d, e, f, g)

    parser = trainer_args.add_argparse_args(Settings, ArgumentParser())
    args = parser.parse_args(["--d", "CIFAR10", "--e", "x", "--g", "3"])
    assert args == Namespace(d="CIFAR10", e="x", g=3)


def test_any_class_will_do():
    class Settings:
        def __init__(self, size: "int | None" = None, mode: "Literal['a', 'b']" = "a", **others):
            self.size, self.mode = size, mode

    parser = trainer_args.add_argparse_args(Settings, ArgumentParser())
    settings = trainer_args.from_argparse_args(Settings, parser.parse_args(["--size", "3", "--mode", "b"]))
    assert (settings.size, settings.mode) == (3, "b")
    with pytest.raises(SystemExit):
        parser.parse_args(["--mode", "c"])


def test_values_are_plain():
    lines = [line for line, _, value in TABLE if value is not REFUSED]
    parsed = [vars(parse(*line.split())) for line in lines]
    assert json.loads(json.dumps(parsed)) == parsed


def test_it_stands_alone(tmp_path):
    """Copied alone, next to a script."""
    own = {path.stem for path in Path(trainer_args.__file__).parent.glob("*.py")}
    imports = [
        line.split()[1].split(".")[0]
        for line in Path(trainer_args.__file__).read_text().splitlines()
        if line.startswith(("import ", "from "))
    ]
    assert not own & set(imports)
    assert set(imports) <= sys.stdlib_module_names
