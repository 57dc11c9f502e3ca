"""What every model in models/ and every data module in data/ promises: a file dropped in is under test.

A broken promise is named, and where to look. Each model is tried on the data that it names (``data_name``), or on the
first that it takes; data that would have to be downloaded are left out until they are there.
"""

import io
import os
import signal
import socket
import subprocess
import sys
from argparse import ArgumentParser
from contextlib import contextmanager, redirect_stderr, suppress
from pathlib import Path

import pytest
import torch
from pytorch_lightning import Callback, seed_everything
from pytorch_lightning.utilities.model_helpers import is_overridden
from snapshots import Snapshots, same

from harness import found as modules
from harness.errors import UsageError
from harness.found import add_args, brings_data, declaration, file_of, load, made_for, names, own_args, said
from harness.runs.run import write_config
from main import parse_args
from train import evaluate, missing, train

MODELS, DATA = names("models"), names("data")
FILES = [("models", name) for name in MODELS] + [("data", name) for name in DATA]
QUIET = ("--accelerator", "cpu", "--enable_progress_bar", "no", "--enable_model_summary", "no")
SHORT = (*QUIET, "--limit_train_batches", "3", "--limit_val_batches", "1", "--limit_test_batches", "1")
ONE_BATCH = (*SHORT, "--max_epochs", "1", "--limit_train_batches", "1")
UNSAVED = ("--enable_checkpointing", "no")
STEPS = 40  # in which the loss of one batch must fall
PLAIN = int, float, str  # what can be typed as it is printed
TIMEOUT = 300  # seconds

of_each_model = pytest.mark.parametrize("model_name", MODELS)
of_each_data = pytest.mark.parametrize("data_name", DATA)
of_each_file = pytest.mark.parametrize(("folder", "name"), FILES)


class PromiseError(Exception):
    """What is not as promised."""


@contextmanager
def promise(file, text, look):
    """Let whatever goes wrong inside fail the test, and say which promise is broken and where to look."""
    shown = io.StringIO()
    try:
        with redirect_stderr(shown):
            yield
    except (Exception, SystemExit) as error:
        lines = shown.getvalue().splitlines()
        broken = isinstance(error, PromiseError)
        why = lines[-1] if isinstance(error, SystemExit) and lines else str(error) if broken else said(error)
        pytest.fail(f"{file} breaks a promise: {text}.\n  {why}\n  Look at {look}.", pytrace=False)


def require(condition, message):
    if not condition:
        raise PromiseError(message)


@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
    """A test does not download gigabytes: looking up a host fails, as it does offline."""
    look_up = socket.getaddrinfo

    def of_this_machine(host, *args, **kwargs):
        if host not in (None, "localhost", "127.0.0.1", "::1", socket.gethostname()):
            raise OSError(f"tests look up no hosts, as {host}")
        return look_up(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", of_this_machine)


def built_data(data_name):
    """Return a data module made with its defaults and ready to give batches; skip the test if it needs a download."""
    data = modules.build("data", data_name, parse_args(["--model_name", plain_model(), "--data_name", data_name]))
    try:
        data.prepare_data()
    except OSError as error:
        pytest.skip(f"the data are not on this machine: {error}")
    for stage in ("fit", "test", "predict"):
        data.setup(stage)
    return data


def takers(data_name):
    """Return the models that data may be for: those that name them, or else all that take a data module."""
    data_of = {}
    for name in MODELS:
        with suppress(UsageError):  # another test says why it cannot be read
            model = declaration("models", name)
            if not brings_data(model):
                data_of[name] = made_for(model)
    return [name for name, data in data_of.items() if data == data_name] or list(data_of)


def plain_model():
    """Return a model that takes a data module, so that the flags of data can be parsed."""
    return next(iter(takers(None)), MODELS[0])


TAKEN = {}  # by model, once it is known


def flags_of(model_name):
    """Return the flags that choose a model, and data that it takes: those that it names, or the first that fit."""
    choice = ("--model_name", model_name)
    model = declaration("models", model_name)
    if brings_data(model) or made_for(model):
        return choice
    if model_name not in TAKEN:
        first, errors = parse_args(choice).data_name, []
        for data_name in [first, *(name for name in DATA if name != first)]:
            try:
                train(parse_args([*ONE_BATCH, *UNSAVED, *choice, "--data_name", data_name]), Path("tried", data_name))
            except Exception as error:
                errors.append(error)
            else:
                TAKEN[model_name] = ("--data_name", data_name)
                break
        else:
            raise errors[0]
    return choice + TAKEN[model_name]


def flags_or_skip(model_name):
    try:
        return flags_of(model_name)
    except Exception as error:
        pytest.skip(f"it fits no batch, which another test says: {said(error)}")


@of_each_file
def test_its_flags_are_parsed(folder, name):
    look = "the types and defaults in add_model_specific_args or add_data_specific_args"
    with promise(file_of(folder, name), "its flags take their defaults, typed or from config.yaml", look):
        choice = ["--model_name", name] if folder == "models" else ["--model_name", plain_model(), "--data_name", name]
        args = parse_args(choice)
        write_config(vars(args), Path())
        again = parse_args(["--config", "config.yaml"])
        own = vars(own_args(load(folder, name), args))
        typed = parse_args([*choice, *(f"--{flag}={value}" for flag, value in own.items() if type(value) in PLAIN)])
        for flag, value in own.items():
            for read in (getattr(again, flag), getattr(typed, flag)):
                require((read, type(read)) == (value, type(value)), f"--{flag}: {value!r} comes back as {read!r}")


@of_each_file
def test_its_flags_are_read_as_they_are_declared(folder, name):
    """The command line reads them without importing torch."""
    with promise(file_of(folder, name), "its flags can be read without its imports", "what its flags are made from"):
        read, imported = declaration(folder, name), load(folder, name)
        if read is imported:
            pytest.skip("its flags cannot be told without importing it, which is right but slower")
        flags = []
        for module_class in (read, imported):
            parser = add_args(module_class, ArgumentParser(add_help=False))
            flags.append(
                [
                    (a.option_strings, a.dest, a.default, a.choices, a.nargs, getattr(a.type, "__name__", None), a.help)
                    for a in parser._actions
                ]
            )
        require(flags[0] == flags[1], f"{flags[0]} is read, and {flags[1]} declared")
        require(brings_data(read) == brings_data(imported), "whether it brings data is not read right")


@of_each_model
def test_its_defaults_build_it(model_name):
    look = "__init__, which calls self.save_hyperparameters(hparams) and then reads self.hparams.NAME"
    with promise(file_of("models", model_name), "its defaults build it, and it keeps its flags", look):
        args = parse_args(["--model_name", model_name])
        model = modules.build("models", model_name, args)
        kept = dict(model.hparams)
        for flag, value in vars(own_args(type(model), args)).items():
            require(flag in kept and same(kept[flag], value), f"--{flag} {value} is not in self.hparams")


@of_each_model
def test_one_batch_fits(model_name):
    with promise(file_of("models", model_name), "one batch fits", "its steps, its data_name, or its own loaders"):
        metrics = train(parse_args([*ONE_BATCH, *UNSAVED, *flags_of(model_name)]), Path("run"))
        infinite = [name for name, value in metrics.items() if not abs(value) < float("inf")]
        require(not infinite, f"{' and '.join(infinite)} is not a finite number")


class Losses(Callback):
    """Collects what each training step returns."""

    def __init__(self):
        self.seen = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if isinstance(outputs, dict) and "loss" in outputs:
            self.seen.append(float(outputs["loss"]))


@of_each_model
def test_the_loss_of_one_batch_falls(model_name):
    args = parse_args([*QUIET, *flags_or_skip(model_name), "--overfit_batches", "1", "--max_steps", str(STEPS)])
    if not modules.build("models", model_name, args).automatic_optimization:
        pytest.skip("it optimises by hand: which of its losses is to fall is not known")
    losses = Losses()
    look = "what the loss is computed from, the parameters in configure_optimizers, and the default learning rate"
    with promise(file_of("models", model_name), f"the loss of one batch falls within {STEPS} steps", look):
        train(args, Path("run"), [losses])
        if not losses.seen:
            pytest.skip("its training_step returns no loss")
        first, last = sum(losses.seen[:5]) / 5, sum(losses.seen[-5:]) / 5
        require(last < first, f"it was {first:.6g} at first and {last:.6g} at last, each the mean of five")


@of_each_model
def test_its_checkpoint_brings_it_back(model_name):
    args = parse_args([*ONE_BATCH, *flags_or_skip(model_name)])
    look = "__init__ (it gets a dict here: read self.hparams.NAME) and what goes into the state_dict"
    with promise(file_of("models", model_name), "a checkpoint brings it back, loaded safely", look):
        train(args, Path("run"))
        model_class, path = load("models", model_name), "run/checkpoints/last.ckpt"
        model = model_class.load_from_checkpoint(path, map_location="cpu", weights_only=True)
        for flag, value in vars(own_args(model_class, args)).items():
            require(same(model.hparams.get(flag), value), f"--{flag} {value} is {model.hparams.get(flag)!r} there")
        saved = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
        require(same(dict(model.state_dict()), saved), "its weights are not those of the file")


@of_each_model
def test_its_checkpoint_alone_is_tested(model_name):
    args = parse_args([*ONE_BATCH, *flags_or_skip(model_name)])
    model = modules.build("models", model_name, args)
    data = None if brings_data(type(model)) else modules.build("data", args.data_name, args)
    if lack := missing("test", args, model, data):
        pytest.skip(lack)
    with promise(file_of("models", model_name), "it is tested from its checkpoint alone", "test_step and setup"):
        train(args, Path("run"))
        args = parse_args(["test", *SHORT, "--ckpt_path", "run/checkpoints/last.ckpt"])
        require(args.model_name == model_name, f"the checkpoint says it is of {args.model_name}")
        evaluate(args, Path("tested"))


@of_each_model
def test_two_processes_train_it(model_name):
    words = [*QUIET, *flags_or_skip(model_name), "--fast_dev_run", "--devices", "2"]
    words += ["--strategy", "ddp_find_unused_parameters_true"]  # a backward pass may leave out some weights
    look = "what depends on the number of processes: files, collective calls, tensors that are not on self.device"
    with promise(file_of("models", model_name), "two processes train it (DDP)", look):
        command = [sys.executable, str(modules.ROOT / "main.py"), *words]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True
        ) as process:
            try:
                _, stderr = process.communicate(timeout=TIMEOUT)
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
        lines = stderr.strip().splitlines() or [""]
        errors = [line for line in lines if "error:" in line]
        require(process.returncode == 0, (errors or lines)[-1])


@of_each_model
def test_a_killed_run_goes_on_to_the_bit(model_name):
    flags = flags_or_skip(model_name)
    look = "what it keeps outside its weights, buffers and metrics, and random numbers from generators of its own"
    with promise(file_of("models", model_name), "a run that is killed goes on and ends with the same weights", look):
        train(parse_args([*SHORT, *flags, "--max_epochs", "2"]), Path("whole"), [Snapshots()])
        whole = torch.load("whole/checkpoints/last.ckpt", weights_only=True)["state_dict"]
        found = sorted(Path("snapshots").iterdir())
        for snapshot in (found[0], found[len(found) // 2]):
            path = snapshot / "checkpoints" / "last.ckpt"
            train(parse_args([*QUIET, "--ckpt_path", str(path)]), snapshot)
            again = torch.load(path, weights_only=True)["state_dict"]
            different = [weight for weight in whole if not same(again.get(weight), whole[weight])]
            require(not different, f"{len(different)} of {len(whole)} differ, as {', '.join(different[:3])}")


@of_each_data
def test_its_loaders_give_batches(data_name):
    with promise(file_of("data", data_name), "its loaders give batches", "setup, or load, and the loaders"):
        data = built_data(data_name)
        for loader in ("train_dataloader", "val_dataloader", "test_dataloader", "predict_dataloader"):
            if is_overridden(loader, data):
                batch = next(iter(getattr(data, loader)()), None)
                require(batch is not None, f"{loader} gives none")
        require(is_overridden("train_dataloader", data), "it has no train_dataloader")


@of_each_data
def test_the_seed_decides_its_batches(data_name):
    look = "random numbers that it draws: take them from torch, or from a generator with a fixed seed"
    with promise(file_of("data", data_name), "the same seed gives the same batches", look):
        batches = []
        for _ in range(2):
            seed_everything(7, verbose=False)
            batches.append(next(iter(built_data(data_name).train_dataloader())))
        require(same(*batches), "the first batches of two runs differ")


@of_each_data
def test_a_model_trains_on_it(data_name):
    with promise(file_of("data", data_name), "its defaults build it", "its __init__, prepare_data and setup"):
        built_data(data_name)
    errors = {}
    for model_name in takers(data_name):
        try:
            flags = ["--model_name", model_name, "--data_name", data_name]
            train(parse_args([*ONE_BATCH, *UNSAVED, *flags]), Path("run", model_name))
            return
        except Exception as error:
            errors[model_name] = error
    whys = [f"{model_name}: {said(error)}" for model_name, error in errors.items()]
    pytest.skip(f"no model takes its batches: {'; '.join(whys) or 'all bring their own'}")
