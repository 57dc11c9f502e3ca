"""Checks of the promises that every model in models/ and every data module in data/ makes.

A test suite calls ``promises`` with its program, and runs each of the cases that it returns. A broken promise is an
error that names the promise, the file, what happened, where to look, and whether Lightning's own loops do the same. A
check that does not apply to a model or a data module raises ``unittest.SkipTest``, which pytest reports as a skipped
test. A class leaves out a check, with the reason, by ``unchecked = {"the_loss_of_one_batch_falls": "a reward rises"}``.
"""

import io
import os
import shutil
import signal
import socket
import subprocess
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, redirect_stderr, suppress
from dataclasses import dataclass, is_dataclass, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import SkipTest, mock

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.model_helpers import is_overridden

from harness import found
from harness.config_files import dump_config
from harness.errors import UsageError
from harness.found import DATA, MODELS, Declared, Folder, describe_error
from harness.runs.checkpoint_files import CONVERTED_KEY, HPARAMS
from harness.runs.run import open_run
from harness.signature import call_arguments

QUIET = ("--accelerator", "cpu", "--enable_progress_bar", "no", "--enable_model_summary", "no")
SHORT = (*QUIET, "--limit_train_batches", "3", "--limit_val_batches", "1", "--limit_test_batches", "1")
ONE_BATCH = (*SHORT, "--max_epochs", "1", "--limit_train_batches", "1")
UNSAVED = ("--enable_checkpointing", "no")
STEPS = 40  # in which the loss of one batch must fall
TYPED = int, float, str  # types whose values can be typed as they are printed
TIMEOUT = 300  # seconds that two processes may take
THIS_MACHINE = None, "localhost", "127.0.0.1", "::1", socket.gethostname()


@dataclass(frozen=True)
class Program:
    """The user's program: what the checks call.

    Args:
        parse_args: ``main.parse_args``.
        train: ``train.train``.
        evaluate: ``train.evaluate``.
        script: the file of ``main``, which is run in processes of its own.
    """

    parse_args: Callable[[Sequence[str]], Namespace]
    train: Callable[..., Mapping[str, float]]
    evaluate: Callable[..., Mapping[str, float]]
    script: str

    def fit(self, words: Sequence[str], callbacks: Sequence[pl.Callback] = ()) -> tuple[Path, Mapping[str, float]]:
        """Train by the words of a command line; return the directory of the run, and its metrics."""
        args = self.parse_args(words)
        with open_run(args) as run:
            return run.dir, self.train(args, run, callbacks=callbacks)


@dataclass(frozen=True)
class Check:
    """How one promise is checked.

    Args:
        text: the promise.
        look: where to look if it is broken.
        function: takes the program, MODELS or DATA, and the name of a file in it.
    """

    text: str
    look: str
    function: Callable[[Program, Folder, str], None]

    def __str__(self) -> str:
        """Return the name of the function."""
        return self.function.__name__


@dataclass(frozen=True)
class Promise:
    """One promise of one model or data module; ``str`` gives an id for the test, such as models/net-one_batch_fits."""

    check: Check
    program: Program
    folder: Folder
    name: str

    def __str__(self) -> str:
        """Return the file and the name of the check."""
        return f"{self.folder.name}/{self.name}-{self.check}"

    def require(self) -> None:
        """Check the promise.

        Relative paths are those of a command line in the project's folder; the runs are written to the folder in which
        this is called.

        Raises:
            BrokenPromiseError: If it is broken.
            SkipTest: If the check does not apply, or the class leaves it out.
        """
        self.skip_if_left_out()
        with in_root(Path.cwd()):
            why, error = self.outcome(self.program)
            if error is None:
                return
            file = self.folder.file(self.name)
            text = f"{file} breaks a promise: {self.check.text}.\n  {why}\n  Look at {self.check.look}."
            if self.check in MODEL_CHECKS:
                text += f"\n  {self.with_plain()}"
        raise BrokenPromiseError(text) from (None if isinstance(error, UnlikeError) else error)

    def outcome(self, program: Program) -> tuple[str, BaseException | None]:
        """Return why the promise is broken, and the error; or nothing and None.

        Raises:
            SkipTest: If the check does not apply, or would download something.
        """
        shown = io.StringIO()
        with no_network(), redirect_stderr(shown):
            try:
                self.check.function(program, self.folder, self.name)
            except SkipTest:
                raise
            except (Exception, SystemExit) as error:
                if asked:
                    raise SkipTest(
                        f"it needs {asked[0]}, and checks use no network: {describe_error(error)}"
                    ) from error
                lines = shown.getvalue().splitlines()
                if isinstance(error, SystemExit) and lines:  # argparse has printed the error
                    return lines[-1], error
                return str(error) if isinstance(error, UnlikeError) else describe_error(error), error
        return "", None

    def with_plain(self) -> str:
        """Return what happens with Lightning's own loops, which tells a fault of the model from one of the harness."""
        parse_args = self.program.parse_args
        try:
            why, error = self.outcome(replace(self.program, parse_args=lambda words: parse_args([*words, "--plain"])))
        except SkipTest as reason:
            return f"With Lightning's own loops (--plain) this is not checked: {reason}."
        if error is None:
            return "With Lightning's own loops (--plain) it holds: this is a fault of the harness, not of the file."
        return f"With Lightning's own loops (--plain) it is broken, too: {why}"

    def skip_if_left_out(self) -> None:
        """Raise SkipTest if the class leaves the check out, or has a flag without a default."""
        with suppress(UsageError):  # which the check reports
            reason = getattr(self.folder.load(self.name), "unchecked", {}).get(str(self.check))
            if reason is not None:
                raise SkipTest(f"{self.folder.file(self.name)} leaves it out: {reason}")
        if required := required_flags(self.folder, self.name):
            raise SkipTest(f"{' and '.join(required)} must be given, and checks have no value: give it a default")


class BrokenPromiseError(AssertionError):
    """A promise that is broken: which one, of which file, what happened, and where to look."""


class UnlikeError(Exception):
    """A difference between what was promised and what happened."""


def require(condition: object, message: str) -> None:
    """Raise UnlikeError with a message unless a condition holds."""
    if not condition:
        raise UnlikeError(message)


def promise(text: str, look: str) -> Callable[[Callable[[Program, Folder, str], None]], Check]:
    """Make a function the check of a promise."""
    return lambda function: Check(text, look, function)


def promises(program: Program) -> list[Promise]:
    """Return the promises of all models and data modules, but for those of ``slow_promises``."""
    return [
        Promise(check, program, folder, name)
        for folder, checks in ((MODELS, [*FILE_CHECKS, *MODEL_CHECKS]), (DATA, [*FILE_CHECKS, *DATA_CHECKS]))
        for name in folder.names()
        for check in checks
    ]


def slow_promises(program: Program) -> list[Promise]:
    """Return the promises of all models whose checks start processes, which takes ten seconds each."""
    return [Promise(check, program, MODELS, name) for name in MODELS.names() for check in SLOW_MODEL_CHECKS]


def same(one: Any, other: Any) -> bool:
    """Return whether two structures of tensors and plain values are equal to the last bit."""
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return isinstance(other, dict) and one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return type(one) is type(other) and len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and bool(one == other)


@contextmanager
def in_root(folder: Path) -> Iterator[None]:
    """Work in the project's folder, and write runs to another one."""
    with ExitStack() as stack:
        stack.callback(os.chdir, Path.cwd())
        stack.enter_context(mock.patch.dict(os.environ, PL_TRAINER_DEFAULT_ROOT_DIR=str(folder / "runs")))
        os.chdir(found.ROOT)
        yield


asked: list[str] = []  # hosts that the present check has asked for


@contextmanager
def no_network() -> Iterator[None]:
    """Let the look-up of a host fail, as it does offline: a check downloads nothing."""
    look_up = socket.getaddrinfo
    asked.clear()

    def local_only(host: Any, *args: Any, **kwargs: Any) -> Any:
        if host not in THIS_MACHINE:
            asked.append(str(host))
            raise OSError(f"checks use no network, and {host} is asked for")
        return look_up(host, *args, **kwargs)

    with mock.patch("socket.getaddrinfo", local_only):
        yield


def required_flags(folder: Folder, name: str) -> list[str]:
    """Return the flags of a file that have no default; none if they cannot be read, which a check reports."""
    with suppress(UsageError):
        parser = folder[name].add_args(ArgumentParser(add_help=False))
        return [action.option_strings[0] for action in parser._actions if action.required]
    return []


def arguments_of(folder: Folder, name: str, args: Namespace) -> dict[str, Any]:
    """Return what ``__init__`` gets, by name: the flags, and dataclasses of them."""
    return call_arguments(folder.load(name), folder[name].own_args(args))


def words_for(folder: Folder, name: str) -> list[str]:
    """Return the words of a command line that choose a model, or data with a model that takes a data module."""
    if folder is MODELS:
        return ["--model_name", name]
    return ["--model_name", next(iter(takers(None)), MODELS.names()[0]), "--data_name", name]


def takers(data_name: str | None) -> list[str]:
    """Return the models that data may be for: those that name them, or else all that take a data module."""
    data_of = {}
    for name in MODELS.names():
        with suppress(UsageError):  # its own checks report that it cannot be read
            if not MODELS[name].brings_data and not required_flags(MODELS, name):
                data_of[name] = MODELS[name].data_name
    return [name for name, data in data_of.items() if data == data_name] or list(data_of)


def built_data(program: Program, data_name: str) -> Any:
    """Return a data module built from its defaults and set up."""
    data = DATA.build(data_name, program.parse_args(words_for(DATA, data_name)))
    data.prepare_data()
    for stage in ("fit", "test", "predict"):
        data.setup(stage)
    return data


@cache
def words_that_fit(program: Program, model_name: str) -> tuple[str, ...]:
    """Return the words that choose a model and data for it: those that it names, or the first whose batches it takes.

    Raises:
        Exception: If there are none; it is that of the first data.
    """
    words = ("--model_name", model_name)
    model = MODELS[model_name]
    if model.brings_data or model.data_name:
        return words
    first = program.parse_args(words).data_name
    errors: list[tuple[list[str], Exception]] = []
    for data_name in [first, *(name for name in DATA.names() if name != first)]:
        chosen, before = (*words, "--data_name", data_name), asked.copy()
        try:
            program.fit([*ONE_BATCH, *UNSAVED, *chosen])
        except Exception as error:
            errors.append((asked[len(before) :], error))
        else:
            asked.clear()
            return chosen
    asked[:], first_error = min(errors, key=lambda each: bool(each[0]))  # one without the network, if there is one
    raise first_error


def words_or_skip(program: Program, model_name: str) -> tuple[str, ...]:
    """Return the words that choose a model and data for it.

    Raises:
        SkipTest: If no data fit it, which ``one_batch_fits`` reports.
    """
    try:
        return words_that_fit(program, model_name)
    except Exception as error:
        raise SkipTest(f"it fits no batch, which another check reports: {describe_error(error)}") from error


@promise(
    "its flags take their defaults, typed or from config.yaml",
    look="the types and defaults in add_model_specific_args or add_data_specific_args",
)
def its_flags_are_parsed(program: Program, folder: Folder, name: str) -> None:
    """Parse the defaults again, as words and from a config file."""
    words = words_for(folder, name)
    args = program.parse_args(words)
    with TemporaryDirectory() as temporary:
        config = Path(temporary, "config.yaml")
        config.write_text(dump_config(vars(args)), encoding="utf-8")
        repeated = program.parse_args(["--config", str(config)])
    own = vars(folder[name].own_args(args))
    typed = program.parse_args([*words, *(f"--{flag}={value}" for flag, value in own.items() if type(value) in TYPED)])
    for flag, value in own.items():
        for parsed in (getattr(repeated, flag), getattr(typed, flag)):
            require((parsed, type(parsed)) == (value, type(value)), f"--{flag}: {value!r} comes back as {parsed!r}")


@promise("its flags can be read without its imports", look="what its flags are made from")
def its_flags_are_read_as_declared(program: Program, folder: Folder, name: str) -> None:
    """Compare the flags that the command line reads without importing torch with those of the imported class."""
    flags = []
    for declared in (folder[name], Declared(folder.file(name), folder.load(name))):
        parser = declared.add_args(ArgumentParser(add_help=False))
        flags.append(
            [
                (a.option_strings, a.dest, a.default, a.choices, a.nargs, getattr(a.type, "__name__", None), a.help)
                for a in parser._actions
            ]
        )
    require(flags[0] == flags[1], f"{flags[0]} is read, and {flags[1]} declared")


@promise(
    "its defaults build it, and it keeps its flags",
    look="__init__, which calls self.save_hyperparameters(hparams) and then reads self.hparams.NAME",
)
def its_defaults_build_it(program: Program, folder: Folder, name: str) -> None:
    """Build the model, and look for its flags among its hyperparameters."""
    args = program.parse_args(words_for(folder, name))
    hparams = dict(folder.build(name, args).hparams)
    for flag, value in arguments_of(folder, name, args).items():
        require(flag in hparams and same(hparams[flag], value), f"--{flag} {value} is not in self.hparams")


@promise("one batch fits", look="its steps, its data_name, or its own loaders")
def one_batch_fits(program: Program, folder: Folder, name: str) -> None:
    """Train, validate and test one batch."""
    _, metrics = program.fit([*ONE_BATCH, *UNSAVED, *words_that_fit(program, name)])
    infinite = [metric for metric, value in metrics.items() if not abs(value) < float("inf")]
    require(not infinite, f"not a finite number: {', '.join(infinite)}")


class Losses(pl.Callback):
    """Collects what each training step returns."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Add the loss of a step, if it returned one."""
        if isinstance(outputs, dict) and "loss" in outputs:
            self.values.append(float(outputs["loss"]))


@promise(
    f"the loss of one batch falls within {STEPS} steps",
    look="what the loss is computed from, the parameters in configure_optimizers, and the default learning rate",
)
def the_loss_of_one_batch_falls(program: Program, folder: Folder, name: str) -> None:
    """Train on one batch again and again."""
    words = [*QUIET, *UNSAVED, *words_or_skip(program, name), "--overfit_batches", "1", "--max_steps", str(STEPS)]
    if not folder.build(name, program.parse_args(words)).automatic_optimization:
        raise SkipTest("it optimises by hand: which of its losses is to fall is not known")
    losses = Losses()
    program.fit(words, [losses])
    if not losses.values:
        raise SkipTest("its training_step returns no loss")
    first, last = sum(losses.values[:5]) / 5, sum(losses.values[-5:]) / 5
    require(last < first, f"it was {first:.6g} at first and {last:.6g} at last, each the mean of five")


@promise(
    "a checkpoint brings it back, loaded safely",
    look="__init__ (it gets a dict here: read self.hparams.NAME) and what goes into the state_dict",
)
def its_checkpoint_brings_it_back(program: Program, folder: Folder, name: str) -> None:
    """Load the model from the checkpoint of a run, without code, and compare its flags and weights."""
    words = [*ONE_BATCH, *words_or_skip(program, name)]
    run_dir, _ = program.fit(words)
    path = last_checkpoint(run_dir)
    arguments = arguments_of(folder, name, program.parse_args(words))
    whole = {flag: value for flag, value in arguments.items() if is_dataclass(value)}
    content = torch.load(path, map_location="cpu", weights_only=True)
    stored, converted = content.get(HPARAMS[0], {}), content[CONVERTED_KEY]
    texts = f" ({', '.join(converted)}: checkpoints hold plain values alone, and text for others)" if converted else ""
    try:
        model = folder.load(name).load_from_checkpoint(path, map_location="cpu", weights_only=True, **whole)
    except Exception as error:
        raise UnlikeError(f"{describe_error(error)}{texts}") from error
    for flag, value in arguments.items():
        found = model.hparams.get(flag)
        expected = value if flag in whole else stored.get(flag, value)  # which training may have changed
        require(same(found, expected), f"--{flag} {value} is {found!r} there{texts}")
    require(same(dict(model.state_dict()), weights(path)), "its weights are not those of the file")


@promise("it is tested from its checkpoint alone", look="test_step and setup")
def its_checkpoint_alone_is_tested(program: Program, folder: Folder, name: str) -> None:
    """Test by --ckpt_path, with no flag of the model."""
    words = [*ONE_BATCH, *words_or_skip(program, name)]
    args = program.parse_args(words)
    model = folder.build(name, args)
    loaders = model if MODELS[name].brings_data else DATA.build(args.data_name, args)
    for method, owner in (("test_step", model), ("test_dataloader", loaders)):
        if not is_overridden(method, owner):
            raise SkipTest(f"there is no {method}")
    run_dir, _ = program.fit(words)
    args = program.parse_args(["test", *SHORT, "--ckpt_path", str(last_checkpoint(run_dir))])
    require(args.model_name == name, f"the checkpoint is one of {args.model_name}")
    with open_run(args) as run:
        program.evaluate(args, run)


class Copies(pl.Callback):
    """Copies the directory of a run before each batch, as a kill at this moment would leave it."""

    def __init__(self) -> None:
        self.made: list[Path] = []
        self.is_exact = True

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Copy the directory, if it has a checkpoint to resume from."""
        self.is_exact = not type(trainer.fit_loop).__module__.startswith("pytorch_lightning.")
        run_dir = Path(trainer.default_root_dir)
        if last_checkpoint(run_dir).exists():
            self.made.append(run_dir.with_name(f"copy_{len(self.made)}"))
            shutil.copytree(run_dir, self.made[-1])


@promise(
    "a run that is killed is resumed and ends with the same weights",
    look="what it keeps outside its weights, buffers and metrics, and random numbers from generators of its own",
)
def a_killed_run_is_resumed_to_the_bit(program: Program, folder: Folder, name: str) -> None:
    """Resume a run from within its first epoch and from its second; compare with the run that nothing stopped."""
    copies = Copies()
    words = [*SHORT, *words_or_skip(program, name), "--max_epochs", "2", "--save_every_n_train_steps", "1"]
    whole, _ = program.fit(words, [copies])
    if not copies.is_exact:
        raise SkipTest("Lightning's own loops do not resume to the bit")
    expected = weights(last_checkpoint(whole))
    for run_dir in (copies.made[0], copies.made[len(copies.made) // 2]):
        resumed, _ = program.fit([*QUIET, "--ckpt_path", str(last_checkpoint(run_dir))])
        found = weights(last_checkpoint(resumed))
        different = [weight for weight in expected if not same(found.get(weight), expected[weight])]
        names = ", ".join(different[:3])
        require(not different, f"{len(different)} of {len(expected)} weights differ, such as {names}")


@promise(
    "two processes train it (DDP)",
    look="what depends on the number of processes: files, collective calls, tensors that are not on self.device",
)
def two_processes_train_it(program: Program, folder: Folder, name: str) -> None:
    """Run main.py with two devices."""
    words = [*QUIET, *words_or_skip(program, name), "--fast_dev_run", "--devices", "2"]
    words += ["--strategy", "ddp_find_unused_parameters_true"]  # a backward pass may leave out some weights
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    with subprocess.Popen(
        [sys.executable, program.script, *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    ) as process:
        try:
            _, stderr = process.communicate(timeout=TIMEOUT)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)  # the second process is in the same session
    lines = stderr.strip().splitlines() or [""]
    errors = [line for line in lines if "error:" in line]
    require(process.returncode == 0, (errors or lines)[-1])


@promise("its loaders give batches", look="setup, or load, and the loaders")
def its_loaders_give_batches(program: Program, folder: Folder, name: str) -> None:
    """Take the first batch of each loader."""
    data = built_data(program, name)
    for loader in ("train_dataloader", "val_dataloader", "test_dataloader", "predict_dataloader"):
        if is_overridden(loader, data):
            require(next(iter(getattr(data, loader)()), None) is not None, f"{loader} gives none")
    require(is_overridden("train_dataloader", data), "it has no train_dataloader")


@promise(
    "the same seed gives the same batches",
    look="random numbers that it draws: take them from torch, or from a generator with a fixed seed",
)
def the_seed_decides_its_batches(program: Program, folder: Folder, name: str) -> None:
    """Compare the first batches of two loaders."""
    batches = []
    for _ in range(2):
        pl.seed_everything(7, verbose=False)
        batches.append(next(iter(built_data(program, name).train_dataloader())))
    require(same(*batches), "the first batches of two runs differ")


@promise("its defaults build it, and a model trains on it", look="its __init__, prepare_data and setup")
def a_model_trains_on_it(program: Program, folder: Folder, name: str) -> None:
    """Train the models that name these data, or else any; skip if none takes their batches."""
    built_data(program, name)
    errors = {}
    for model_name in takers(name):
        try:
            program.fit([*ONE_BATCH, *UNSAVED, "--model_name", model_name, "--data_name", name])
        except Exception as error:
            errors[model_name] = error
        else:
            return
    reasons = [f"{model_name}: {describe_error(error)}" for model_name, error in errors.items()]
    raise SkipTest(f"no model takes its batches: {'; '.join(reasons) or 'all have their own'}")


def last_checkpoint(run_dir: Path) -> Path:
    """Return the checkpoint from which the run in a directory is resumed."""
    return run_dir / "checkpoints" / "last.ckpt"


def weights(path: Path) -> dict[str, torch.Tensor]:
    """Return the state_dict in a checkpoint."""
    content: dict[str, torch.Tensor] = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
    return content


FILE_CHECKS = [its_flags_are_parsed, its_flags_are_read_as_declared]
MODEL_CHECKS = [
    its_defaults_build_it,
    one_batch_fits,
    the_loss_of_one_batch_falls,
    its_checkpoint_brings_it_back,
    its_checkpoint_alone_is_tested,
    a_killed_run_is_resumed_to_the_bit,
]
SLOW_MODEL_CHECKS = [two_processes_train_it]
DATA_CHECKS = [its_loaders_give_batches, the_seed_decides_its_batches, a_model_trains_on_it]
