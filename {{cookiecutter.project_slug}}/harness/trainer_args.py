"""Trainer's flags on argparse: the calls that Lightning 2.0 removed, for the installed Lightning.

    from harness.trainer_args import Trainer

    parser = Trainer.add_argparse_args(ArgumentParser())
    trainer = Trainer.from_argparse_args(parser.parse_args())

Names, types, defaults and help are read from the source of Lightning without importing it. So flags of a new release
need no update of this file, and ``--help`` does not import torch. This file needs Lightning 2 alone, and works in any
script.
"""

import ast
import importlib
import inspect
import os
import re
import sys
from argparse import SUPPRESS, Action, ArgumentParser, ArgumentTypeError, Namespace, _ArgumentGroup
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from difflib import get_close_matches
from enum import Enum
from functools import cache, partial
from importlib.util import find_spec
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

PLAIN_TYPES = {"bool": bool, "int": int, "float": float, "str": str, "Path": str, "timedelta": timedelta}
TYPE_NAMES = {bool: "yes|no", int: "int", float: "float", str: "text", Path: "path", list: "int,int,...", None: "none"}
YES, NO = ("y", "yes", "t", "true", "on"), ("n", "no", "f", "false", "off")
MOST_SHOWN = 9  # values of a flag that help lists; an error lists all
DURATION = re.compile(r"\d+:\d\d:\d\d:\d\d")  # days:hours:minutes:seconds, the text form of a timedelta

# Parameters typed "str" whose values are names: files of Lightning with the names, and patterns that find them.
CONNECTOR = "trainer/connectors/accelerator_connector.py"
NAMES = {
    "accelerator": {
        "accelerators/*.py": r'register\(\s*"(\w+)"|^ +return "(\w+)"$',
        CONNECTOR: r'accelerator_flag == "(\w+)"',
    },
    "strategy": {
        "_graveyard/tpu.py": r'register\("(\w+)"',
        "strategies/*.py": r'register\(\s*"(\w+)"|^    strategy_name = "(\w+)"|^ +\("(\w+)", (?:\w+, )?"\w+"\),$',
        CONNECTOR: r'strategy_flag == "(\w+)"',
    },
    "devices": {CONNECTOR: r'devices_flag [!=]= "(\w+)"'},
    "profiler": {"trainer/setup.py": r'"(\w+)": \w+Profiler\b'},
    "gradient_clip_algorithm": {"utilities/enums.py": r'^    (?:VALUE|NORM) = "(\w+)"'},
}
# Loggers that --logger names, as Lightning's classes; a program may add names of loggers that it builds itself.
LOGGERS = {"csv": "CSVLogger", "tensorboard": "TensorBoardLogger", "wandb": "WandbLogger"}
# Strategies removed from Lightning, and the nearest current one, which may differ: dp split a batch over the devices,
# ddp gives each device its own batch.
LEFT = {"dp": "ddp", "ddp2": "ddp", "horovod": "ddp", "ddp_sharded": "fsdp", "ddp_sharded_spawn": "fsdp"}


class Several(tuple[str, ...]):
    """Names of which a flag takes one or more, separated by commas."""


class Formerly(tuple[str, ...]):
    """Names that a flag took in Lightning 1.x, not shown in help; those in LEFT are rejected, others accepted."""


class Parameter(NamedTuple):
    """One parameter of a class; ``kinds`` are the plain types and literal values that it accepts."""

    name: str
    kinds: tuple[Any, ...]
    default: Any = None
    help: str = ""


class Former(NamedTuple):
    """A flag of Lightning 1.x: its types, its current name, and the conversion to current parameters, if any."""

    kinds: tuple[Any, ...]
    name_today: str
    today: Callable[[Any], dict[str, Any]] | None = None


FORMER = {
    "gpus": Former(
        (int, list), "--accelerator gpu --devices", lambda n: {"accelerator": "gpu" if n else "cpu", "devices": n or 1}
    ),
    "tpu_cores": Former((int, list), "--accelerator tpu --devices", lambda n: {"accelerator": "tpu", "devices": n}),
    "num_processes": Former((int,), "--accelerator cpu --devices", lambda n: {"accelerator": "cpu", "devices": n}),
    "distributed_backend": Former(
        ("ddp", "ddp_spawn", "ddp_cpu", Formerly(LEFT)),
        "--strategy",
        lambda name: {"strategy": "ddp_spawn", "accelerator": "cpu"} if name == "ddp_cpu" else {"strategy": name},
    ),
    "replace_sampler_ddp": Former((bool,), "--use_distributed_sampler", lambda on: {"use_distributed_sampler": on}),
    "checkpoint_callback": Former((bool,), "--enable_checkpointing", lambda on: {"enable_checkpointing": on}),
    "reload_dataloaders_every_epoch": Former(
        (bool,), "--reload_dataloaders_every_n_epochs 1", lambda on: {"reload_dataloaders_every_n_epochs": int(on)}
    ),
    # These are calls and a callback today, which Trainer below makes.
    "resume_from_checkpoint": Former((str,), "trainer.fit(ckpt_path=...)"),
    "auto_scale_batch_size": Former((bool, "power", "binsearch"), "Tuner(trainer).scale_batch_size(...)"),
    "auto_lr_find": Former((bool, str), "Tuner(trainer).lr_find(...)"),
    "progress_bar_refresh_rate": Former((int,), "the callback TQDMProgressBar(refresh_rate=...)"),
}

GONE = {
    "amp_backend": "PyTorch's own is the only one, --precision 16-mixed turns it on",
    "amp_level": "PyTorch's own mixed precision has no levels, --precision 16-mixed turns it on",
    "auto_select_gpus": "name the devices, as in --devices 0,2",
    "automatic_optimization": "the model sets self.automatic_optimization",
    "enable_pl_optimizer": "it is always on",
    "flush_logs_every_n_steps": "an argument of CSVLogger",
    "ipus": "IPUs left Lightning in 2.3",
    "log_gpu_memory": "the callback DeviceStatsMonitor",
    "move_metrics_to_cpu": "move them in the model",
    "multiple_trainloader_mode": "the mode of a CombinedLoader",
    "prepare_data_per_node": "the data module sets self.prepare_data_per_node",
    "process_position": "an argument of the callback TQDMProgressBar",
    "stochastic_weight_avg": "the callback StochasticWeightAveraging",
    "terminate_on_nan": "--detect_anomaly",
    "track_grad_norm": "log it in on_before_optimizer_step, with lightning.pytorch.utilities.grad_norm",
    "truncated_bptt_steps": "split the sequence in training_step, with manual optimization",
    "weights_save_path": "--default_root_dir, or dirpath of the callback ModelCheckpoint",
    "weights_summary": "--enable_model_summary, or the callback ModelSummary",
}

# Names that were no flags in Lightning 1.9. Scripts may have own flags with these names, which win.
WEAK = {
    *("barebones", "deterministic", "enable_autolog_hparams", "model_registry", "use_distributed_sampler"),
    *("checkpoint_callback", "distributed_backend", "progress_bar_refresh_rate", "reload_dataloaders_every_epoch"),
}


class TrainerFlag(Action):
    """Store a value; a default from the environment wins over ``set_defaults``, called before or after.

    Args:
        *args: as for Action.
        kinds: the plain types and literal values that the flag accepts.
        environment: values of flags in the environment.
        **kwargs: as for Action.
    """

    def __init__(self, *args: Any, kinds: Sequence[Any], environment: Mapping[str, Any], **kwargs: Any) -> None:
        self.environment, self.kinds, self.words = environment, kinds, listed(kinds)
        value = partial(convert, kinds)
        value.__name__ = describe(kinds)  # type: ignore[attr-defined]  # MetavarTypeHelpFormatter shows it
        metavar = describe(kinds if len(kinds) <= MOST_SHOWN else (*kinds[:3], "..."))
        super().__init__(*args, **{"type": value, "metavar": metavar, **kwargs})

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute; the environment replaces the default."""
        super().__setattr__(name, self.environment.get(self.dest, value) if name == "default" else value)

    def __call__(self, parser: ArgumentParser, namespace: Namespace, values: Any, option_string: Any = None) -> None:
        """Store the value."""
        setattr(namespace, self.dest, values)


class OffFlag(Action):
    """Turn a switch off, as --no_NAME for --NAME no."""

    def __call__(self, parser: ArgumentParser, namespace: Namespace, values: Any, option_string: Any = None) -> None:
        """Store False."""
        setattr(namespace, self.dest.removeprefix("no_"), False)


class GoneFlag(Action):
    """Reject a removed flag of Lightning 1.x, with its replacement."""

    def __call__(self, parser: ArgumentParser, namespace: Namespace, values: Any, option_string: Any = None) -> None:
        """Exit with status 2."""
        parser.error(f"--{self.dest} is no flag of Lightning 2: {GONE[self.dest]}")


def add_argparse_args(cls: Any, parent_parser: ArgumentParser, *, use_argument_group: bool = True) -> ArgumentParser:
    """Add a flag for every parameter of a class that can be written as text.

    The default of a flag of Trainer is the environment variable ``PL_TRAINER_<NAME>``, or the value of
    ``parent_parser.set_defaults``, or Trainer's own. Flags of Lightning 1.x are accepted, too.

    Args:
        cls: ``Trainer``, or your own class, such as a data module.
        parent_parser: parser that receives the flags.
        use_argument_group: whether to add a group to the parser; if false, it is unchanged, and a child is returned.

    Returns:
        ``parent_parser``, or its child.

    Raises:
        RuntimeError: If ``parent_parser`` is an argument group.
    """
    if isinstance(parent_parser, _ArgumentGroup):
        raise RuntimeError("Please only pass an ArgumentParser instance, not one of its groups.")
    try:
        environment = vars(match_env_arguments()) if cls is Trainer else {}
    except ValueError as error:
        parent_parser.error(str(error))
    parser = parent_parser if use_argument_group else ArgumentParser(parents=[parent_parser], add_help=False)
    group = parser.add_argument_group(cls.__name__)
    own = set(parser._option_string_actions) if cls is Trainer else set()
    for parameter in _flags(cls):
        if parameter.name not in WEAK or f"--{parameter.name}" not in own:
            _add_flag(group, parameter, environment, parent_parser.get_default(parameter.name))
    if cls is Trainer:
        _add_former_flags(parser, environment)
        _let_others_win(parser)
    return parser


def from_argparse_args(cls: Any, args: Namespace | ArgumentParser, **kwargs: Any) -> Any:
    """Return an instance of a class, built from its flags in ``args``; other flags are ignored.

    Args:
        cls: ``Trainer``, or your own class.
        args: the flags, or a parser for the command line.
        **kwargs: more parameters, which win.

    Raises:
        TypeError: If ``kwargs`` has a name that is no parameter.
        Exception: If Lightning rejects the values, such as for missing devices.
    """
    flags = vars(parse_argparser(cls, args) if isinstance(args, ArgumentParser) else args)
    names = [parameter.name for parameter in _parameters(cls)]
    if cls is Trainer:  # names of 1.x may be own flags of the program
        names += [name for name in FORMER if name not in WEAK or _takes(FORMER[name].kinds, flags.get(name))]
    return cls(**{**{name: flags[name] for name in names if name in flags}, **kwargs})


def parse_argparser(cls: Any, arg_parser: ArgumentParser | Namespace) -> Namespace:
    """Return the flags of a namespace, or of a parser for the command line; a switch with the value None is on."""
    args = arg_parser.parse_args() if isinstance(arg_parser, ArgumentParser) else arg_parser
    switches = {name for name, _, default, _ in _flags(cls) if isinstance(default, bool)}
    return Namespace(
        **{name: True if value is None and name in switches else value for name, value in vars(args).items()}
    )


def match_env_arguments() -> Namespace:
    """Return the Trainer's flags in the environment, such as ``PL_TRAINER_MAX_EPOCHS=3``, converted like the flags.

    Raises:
        ValueError: If the value of a variable is not valid for its flag.
    """
    former = [Parameter(name, former.kinds) for name, former in FORMER.items()]
    values = {}
    for name, kinds, *_ in [*_flags(Trainer), *former]:
        variable = f"PL_TRAINER_{name.upper()}"
        if os.environ.get(variable):
            try:
                values[name] = convert(kinds, os.environ[variable])
            except ArgumentTypeError as error:
                raise ValueError(f"environment variable {variable}: {error}") from None
    return Namespace(**values)


def in_names_of_today(flags: Mapping[str, Any]) -> dict[str, Any]:
    """Return flags with renamed flags of Lightning 1.x under their current names, and print a notice of each.

    A current name with another value wins.
    """
    defaults = {parameter.name: parameter.default for parameter in _parameters(Trainer)}
    today = {name: value for name, value in flags.items() if name not in FORMER or FORMER[name].today is None}
    renamed = FORMER
    if _is_strategy(flags.get("accelerator")):  # which 1.x accepted here
        renamed = {**FORMER, "accelerator": FORMER["distributed_backend"]._replace(kinds=(str,))}
        today["accelerator"] = defaults["accelerator"]
    for name, former in renamed.items():
        value = flags.get(name)
        value = convert(former.kinds, value) if value and isinstance(value, str) else value
        says_nothing = value in (None, "", []) or (value == 0 and not isinstance(value, bool) and name != "gpus")
        if former.today is None or says_nothing:
            continue
        became = former.today(value)
        was, now = f"--{name} {_text(value)}", " ".join(f"--{new} {_text(worth)}" for new, worth in became.items())
        given = {new: today.get(new, defaults[new]) for new in became}
        wins = [new for new, worth in given.items() if worth not in (None, defaults[new], became[new])]
        if wins:
            notice(f"{was} is {now} today, and gives way to --{wins[0]} {_text(given[wins[0]])}")
        else:
            notice(f"{was} is now {now}")
            today |= became
    return today


def _is_strategy(accelerator: Any) -> bool:
    """Return whether a value of ``accelerator`` is the name of a strategy."""
    kinds = next(parameter.kinds for parameter in _parameters(Trainer) if parameter.name == "accelerator")
    return accelerator not in kinds and any(isinstance(kind, Formerly) and accelerator in kind for kind in kinds)


def notice(text: str) -> None:
    """Print a text on stderr, in the first process alone."""
    if os.environ.get("LOCAL_RANK", "0") == "0":
        print(text, file=sys.stderr)


class ArgparseCalls:
    """The argparse calls of classes of Lightning 1.9."""

    @classmethod
    def add_argparse_args(cls, parent_parser: ArgumentParser, *, use_argument_group: bool = True) -> ArgumentParser:
        """Add a flag for every parameter that can be written as text; see ``add_argparse_args`` above."""
        return add_argparse_args(cls, parent_parser, use_argument_group=use_argument_group)

    @classmethod
    def from_argparse_args(cls, args: Namespace | ArgumentParser, **kwargs: Any) -> Any:
        """Return an instance, built from its flags in ``args``; see ``from_argparse_args`` above."""
        return from_argparse_args(cls, args, **kwargs)

    @classmethod
    def parse_argparser(cls, arg_parser: ArgumentParser | Namespace) -> Namespace:
        """Return the flags of a parser or namespace; see ``parse_argparser`` above."""
        return parse_argparser(cls, arg_parser)


class LikeLightnings(type):
    """Metaclass that gives Trainer below the instances, signature, attributes and subclasses of Lightning's."""

    def __new__(cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> Any:
        """Return a class; a subclass of Trainer derives from Lightning's."""
        if any(isinstance(base, LikeLightnings) for base in bases):
            real = importlib.import_module(_lightning()).Trainer
            return type(real)(name, (ArgparseCalls, real), namespace)
        return super().__new__(cls, name, bases, namespace)

    def __instancecheck__(cls, instance: object) -> bool:
        """Return whether an object is a Trainer of Lightning's."""
        return isinstance(instance, importlib.import_module(_lightning()).Trainer)

    def __getattr__(cls, name: str) -> Any:
        """Return an attribute of Lightning's Trainer."""
        if name.startswith("__"):
            raise AttributeError(f"type object {cls.__name__!r} has no attribute {name!r}")
        return getattr(importlib.import_module(_lightning()).Trainer, name)

    @property
    def __signature__(cls) -> inspect.Signature:
        """The parameters of Trainer and of its 1.x versions."""
        parameters = [*_parameters(Trainer), *(Parameter(name, former.kinds) for name, former in FORMER.items())]
        keyword = inspect.Parameter.KEYWORD_ONLY
        return inspect.Signature([inspect.Parameter(p.name, keyword, default=p.default) for p in parameters])


class Init:
    """Replacement of ``Trainer.__init__``, for programs that inspect its parameters."""

    def __call__(self, **kwargs: Any) -> None:
        """Do nothing, since ``Trainer.__new__`` builds Lightning's Trainer."""

    @property
    def __signature__(self) -> inspect.Signature:
        """The parameters of Trainer and of its 1.x versions."""
        return inspect.signature(Trainer)


class Trainer(ArgparseCalls, metaclass=LikeLightnings):
    """Lightning's Trainer with its argparse calls; ``Trainer(...)`` returns Lightning's own.

    As in 1.9, ``trainer.tune(model)`` runs the searches of ``auto_scale_batch_size`` and ``auto_lr_find``.
    """

    __init__ = Init()
    match_env_arguments = staticmethod(match_env_arguments)

    @classmethod
    def default_attributes(cls) -> dict[str, Any]:
        """Return the default of each parameter."""
        return {parameter.name: parameter.default for parameter in _parameters(Trainer)}

    def __new__(cls, **kwargs: Any) -> Any:
        """Import Lightning, and return its Trainer; parameters of 1.x are converted to current ones."""
        kwargs = in_names_of_today(_without_old_defaults(kwargs))
        tuning: dict[str, Any] = {
            name: kwargs.pop(name, None) or False for name in ("auto_scale_batch_size", "auto_lr_find")
        }
        checkpoint = kwargs.pop("resume_from_checkpoint", None)
        refresh_rate = kwargs.pop("progress_bar_refresh_rate", None)
        if refresh_rate is not None:
            kwargs |= _progress_bar(refresh_rate, kwargs)
        if isinstance(kwargs.get("logger"), str):
            kwargs["logger"] = _loggers(kwargs["logger"], kwargs.get("default_root_dir") or os.getcwd())
        trainer = importlib.import_module(_lightning()).Trainer(**kwargs)
        trainer.use_distributed_sampler = kwargs.get("use_distributed_sampler", True)  # Lightning stores it privately
        trainer.tuner = importlib.import_module(f"{_lightning()}.tuner").Tuner(trainer)
        trainer.tune = partial(_tune, trainer, **tuning)
        if checkpoint:
            notice(f"--resume_from_checkpoint {checkpoint} is now trainer.fit(ckpt_path={checkpoint!r})")
            trainer.fit = partial(_resume, trainer.fit, checkpoint)
        return trainer


def __getattr__(name: str) -> Any:
    """Return the name from Lightning; its LightningDataModule has the argparse calls."""
    if name.startswith("__"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(importlib.import_module(_lightning()), name)
    if name == "LightningDataModule":
        found = globals()[name] = type(found)(name, (found, ArgparseCalls), {"__module__": __name__})
    return found


def _add_flag(group: Any, parameter: Parameter, environment: Mapping[str, Any], preset: Any) -> None:
    """Add a flag, and the hidden --no_NAME of a switch."""
    name, kinds, default, text = parameter
    required = {"required": True} if default is inspect.Parameter.empty else {}
    # A switch needs no value: --fast_dev_run is --fast_dev_run yes.
    switch: dict[str, Any] = {"nargs": "?", "const": True} if bool in kinds else {}
    group.add_argument(
        f"--{name}",
        action=TrainerFlag,
        kinds=kinds,
        environment=environment,
        default=None if required and preset is None else default if preset is None else preset,
        help=text,
        **required,
        **switch,
    )
    if switch:
        _add_weak(group, f"--no_{name}", action=OffFlag, nargs=0)


def _add_weak(group: Any, flag: str, **kwargs: Any) -> None:
    """Add a hidden flag, unless the program has a flag of this name."""
    if flag not in group._option_string_actions:
        group.add_argument(flag, default=SUPPRESS, help=SUPPRESS, **kwargs)


def _let_others_win(parser: ArgumentParser) -> None:
    """Let later flags of the program replace flags that Lightning 1.9 did not have."""

    def handle(container: Any, action: Action, conflicts: list[tuple[str, Action]]) -> None:
        weak = [pair for pair in conflicts if isinstance(pair[1], OffFlag | GoneFlag) or pair[1].dest in WEAK]
        type(container)._handle_conflict_resolve(container, action, weak)
        if len(weak) < len(conflicts):
            others = [pair for pair in conflicts if pair not in weak]
            type(container)._handle_conflict_error(container, action, others)

    for container in (parser._optionals, *parser._action_groups):
        container._handle_conflict_error = partial(handle, container)  # type: ignore[assignment, method-assign]


def _add_former_flags(parser: ArgumentParser, environment: Mapping[str, Any]) -> None:
    """Add the flags of Lightning 1.x, except for names that the program uses."""
    group = parser.add_argument_group("Trainer of Lightning 1.x")
    for name, former in FORMER.items():
        if name not in WEAK or f"--{name}" not in parser._option_string_actions:
            text = f"what Lightning 1.x called {former.name_today}"
            _add_flag(group, Parameter(name, former.kinds, help=text), environment, parser.get_default(name))
    for name in GONE:
        _add_weak(group, f"--{name}", action=GoneFlag, nargs="?")


def _progress_bar(refresh_rate: int, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the current parameters for ``progress_bar_refresh_rate`` of 1.x, where 0 is no bar."""
    if refresh_rate == 0:
        notice("--progress_bar_refresh_rate 0 is now --enable_progress_bar no")
        return {"enable_progress_bar": False}
    if kwargs.get("enable_progress_bar") is False:
        return {}
    bar_today = f"TQDMProgressBar(refresh_rate={refresh_rate})"
    notice(f"--progress_bar_refresh_rate {refresh_rate} is now the callback {bar_today}")
    bar = importlib.import_module(f"{_lightning()}.callbacks").TQDMProgressBar(refresh_rate=refresh_rate)
    callbacks = kwargs.get("callbacks") or []
    return {"callbacks": [*(callbacks if isinstance(callbacks, list) else [callbacks]), bar]}


def _without_old_defaults(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters without removed ones, and without None for parameters whose default it was in 1.x.

    Raises:
        TypeError: If a removed parameter has another value than its default.
        ValueError: If a strategy was removed from Lightning.
    """
    for name in GONE.keys() & kwargs.keys():
        if kwargs[name] not in (None, False, -1, "native", "max_size_cycle"):  # the defaults in 1.x
            raise TypeError(f"Trainer({name}={kwargs[name]!r}) is no parameter of Lightning 2: {GONE[name]}")
    for name, kinds, *_ in _parameters(Trainer):
        if name in ("accelerator", "strategy") and kwargs.get(name) in tuple(LEFT) and kwargs[name] not in kinds:
            raise ValueError(f"Trainer({name}={kwargs[name]!r}): {_left(kwargs[name])}")
    needed = {name for name, kinds, default, _ in _parameters(Trainer) if default is not None and None not in kinds}
    return {
        name: value for name, value in kwargs.items() if name not in GONE and (value is not None or name not in needed)
    }


def _loggers(names: str, folder: Any) -> list[Any]:
    """Return the loggers of these names, which write below a folder.

    Raises:
        ValueError: If a name is unknown.
    """
    unknown = set(names.split(",")) - LOGGERS.keys()
    if unknown:
        raise ValueError(f"no logger is called {' or '.join(sorted(unknown))!r}: there are {', '.join(LOGGERS)}")
    loggers = importlib.import_module(f"{_lightning()}.loggers")
    return [getattr(loggers, LOGGERS[name])(save_dir=folder) for name in names.split(",")]


def _resume(fit: Callable[..., Any], checkpoint: str, *args: Any, ckpt_path: Any = None, **kwargs: Any) -> Any:
    """Resume fit from a checkpoint, unless the call names another one."""
    return fit(*args, ckpt_path=ckpt_path or checkpoint, **kwargs)


def _tune(
    trainer: Any,
    *args: Any,
    auto_scale_batch_size: bool | str,
    auto_lr_find: bool | str,
    scale_batch_size_kwargs: Mapping[str, Any] | None = None,
    lr_find_kwargs: Mapping[str, Any] | None = None,
    **kwargs: Any,
) -> dict[str, Any]:
    """Run the searches as ``trainer.tune(model, ...)`` of 1.9 did: set the results and return them."""
    found = {}
    # The search starts with the weights of the model, without resume, and without a limit of epochs.
    fit, max_epochs = vars(trainer).pop("fit", None), trainer.fit_loop.max_epochs
    trainer.fit_loop.max_epochs = -1
    try:
        if auto_scale_batch_size:
            mode = "power" if auto_scale_batch_size is True else auto_scale_batch_size
            notice(f"--auto_scale_batch_size is now Tuner(trainer).scale_batch_size(model, mode={mode!r})")
            settings = {"mode": mode, **kwargs, **(scale_batch_size_kwargs or {})}
            found["scale_batch_size"] = trainer.tuner.scale_batch_size(*args, **settings)
        if auto_lr_find:
            notice("--auto_lr_find is now Tuner(trainer).lr_find(model)")
            settings = {"attr_name": "" if auto_lr_find is True else auto_lr_find, **kwargs, **(lr_find_kwargs or {})}
            found["lr_find"] = trainer.tuner.lr_find(*args, **settings)
    finally:
        trainer.fit_loop.max_epochs = max_epochs
        if fit is not None:
            trainer.fit = fit
    return found


def _text(value: Any) -> str:
    """Return the text of a value on the command line."""
    if isinstance(value, list):
        return ",".join(map(str, value)) + ("," if len(value) == 1 else "")
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def convert(kinds: Sequence[Any], text: str) -> Any:
    """Return ``text`` converted to the narrowest of ``kinds`` that accepts it."""
    word = text.strip().lower()
    if None in kinds and word in ("none", "null"):
        return None
    for literal in kinds:
        if not isinstance(literal, type | Several | Formerly) and word == str(literal).lower():
            return literal
        if isinstance(literal, Formerly) and word in literal:
            if word in LEFT:
                raise ArgumentTypeError(_left(text))
            return word
        if isinstance(literal, Several) and set(word.removesuffix(",").split(",")) <= set(literal):
            return word.removesuffix(",")
    for member in (each for kind in kinds if is_enum(kind) for each in kind):
        if text in (member.name, str(member.value)):
            return member
    if bool in kinds and word in (*YES, *NO):
        return word in YES
    if bool in kinds and int not in kinds and word in ("0", "1"):
        return word == "1"
    for number in _numbers(kinds, word):
        return number
    if list in kinds and re.fullmatch(r"\[\d+(,\s*\d+)*\]|\d+(,\d+)*,?", word):
        return [int(item) for item in re.findall(r"\d+", word)]
    if str in kinds and (timedelta not in kinds or DURATION.fullmatch(word)):
        return text
    if Path in kinds:
        return Path(text)
    near = get_close_matches(word, listed(kinds), n=1)
    meant = f"; did you mean {near[0]}?" if near else ""
    raise ArgumentTypeError(f"{text!r} is not what it takes: {describe(kinds)}{meant}")


def _left(strategy: str) -> str:
    """Return the message for a strategy that was removed from Lightning."""
    return f"{strategy!r} is no strategy of Lightning 2: the nearest is --strategy {LEFT[strategy.strip().lower()]}"


def _takes(kinds: Sequence[Any], value: Any) -> bool:
    """Return whether a flag of these kinds can have a value."""
    try:
        return convert(kinds, _text(value)) == value
    except ArgumentTypeError:
        return False


def _numbers(kinds: Sequence[Any], word: str) -> Iterator[int | float]:
    """Yield ``word`` as an int or a float, if ``kinds`` allow it; without float, 1e5 is an int."""
    if int in kinds and re.fullmatch(r"[+-]?\d+", word):
        yield int(word)
    elif int in kinds or float in kinds:
        try:
            number = float(word)
        except ValueError:
            return
        if float in kinds and isfinite(number):
            yield number
        elif int in kinds and number.is_integer():
            yield int(number)


def describe(kinds: Sequence[Any]) -> str:
    """Return the values of a flag for help and errors, such as ``int|float|none``."""
    names = dict(TYPE_NAMES)
    if timedelta in kinds:  # the only text that such a flag accepts
        names[str] = "DD:HH:MM:SS"
    texts = [
        ",".join(kind) if isinstance(kind, Several) else names.get(kind, str(kind))
        for kind in kinds
        if kind is not timedelta and not isinstance(kind, Formerly) and not is_enum(kind)
    ]
    texts += [member.name for kind in kinds if is_enum(kind) for member in kind]
    return "|".join(dict.fromkeys(texts))


def listed(kinds: Sequence[Any]) -> list[str]:
    """Return the values of a flag that can be listed."""
    words = ["yes", "no"] * (bool in kinds)
    for kind in kinds:
        words += kind if isinstance(kind, Several) else [str(kind).lower()] * (not isinstance(kind, type | Formerly))
        words += [member.name for member in kind] if is_enum(kind) else []
    return words


def is_enum(kind: Any) -> bool:
    """Return whether a type is an enum."""
    return isinstance(kind, type) and issubclass(kind, Enum)


def _lightning() -> str:
    """Return the name of the installed Lightning, ``pytorch_lightning`` or ``lightning.pytorch``.

    If both are installed, the one that the program has imported.
    """
    # Only top-level names are looked up: to find lightning.pytorch, find_spec would import lightning.
    names = [name for name in ("pytorch_lightning", "lightning.pytorch") if find_spec(name.split(".")[0])]
    if not names:
        raise ModuleNotFoundError("Lightning is not installed: pip install pytorch-lightning", name="pytorch_lightning")
    return next((name for name in names if name in sys.modules), names[0])


def _flags(cls: Any) -> list[Parameter]:
    """Return the parameters that can be written as text, which excludes those of objects alone."""
    return [parameter for parameter in _parameters(cls) if set(parameter.kinds) - {None, timedelta}]


@cache
def _parameters(cls: Any) -> tuple[Parameter, ...]:
    """Return the parameters of a class in its order; those of Trainer are read without importing it."""
    if cls is Trainer:
        return tuple(_parameters_in_source(f"{_lightning()}.trainer.trainer"))
    texts = docstring_args(cls.__doc__ or "") | docstring_args(cls.__init__.__doc__ or "")
    return tuple(
        Parameter(
            name,
            tuple(dict.fromkeys(_annotated_kinds(parameter, cls.__module__))),
            parameter.default,
            texts.get(name, ""),
        )
        for name, parameter in inspect.signature(cls).parameters.items()
        if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    )


def _annotated_kinds(parameter: inspect.Parameter, module: str) -> Iterator[Any]:
    """Yield the plain types and literal values in the annotation of a parameter of an imported class."""
    annotation = parameter.annotation
    if annotation is not parameter.empty:
        text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
        with suppress(SyntaxError, ValueError):  # no type that can be written as text
            yield from _kinds(ast.parse(text, mode="eval").body, module)


def _parameters_in_source(module: str) -> Iterator[Parameter]:
    """Yield the parameters of ``Trainer.__init__`` from the source of its module."""
    trainer = next(node for node in _body(module) if isinstance(node, ast.ClassDef) and node.name == "Trainer")
    init = next(node for node in trainer.body if isinstance(node, ast.FunctionDef) and node.name == "__init__")
    texts = docstring_args(ast.get_docstring(init) or "")
    names = {parameter: _names(parameter, module) for parameter in NAMES}
    formerly = {"accelerator": Formerly([*names["strategy"], "ddp_cpu", *LEFT]), "strategy": Formerly(LEFT)}
    for argument, default in zip(init.args.kwonlyargs, init.args.kw_defaults, strict=True):
        kinds = list(_kinds(argument.annotation, module))
        if argument.arg == "logger":
            kinds.append(Several(LOGGERS))
        if names.get(argument.arg) and str in kinds:
            kinds[kinds.index(str) : kinds.index(str) + 1] = names[argument.arg]
        if argument.arg in formerly:
            kinds.append(formerly[argument.arg])
        value = ast.literal_eval(default) if default else None
        yield Parameter(argument.arg, tuple(dict.fromkeys(kinds)), value, texts.get(argument.arg, ""))


def _names(parameter: str, module: str) -> list[str]:
    """Return the names that a parameter accepts: from Lightning's source and from registries of this process."""
    lightning, folder = module.removesuffix(".trainer.trainer"), _path(module).parents[1]
    found = {
        match[match.lastindex or 0]
        for pattern, form in NAMES[parameter].items()
        for path in folder.glob(pattern)
        for match in re.finditer(form, path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    plural = {"accelerator": "accelerators", "strategy": "strategies"}.get(parameter)
    registered = getattr(sys.modules.get(f"{lightning}.{plural}"), f"{parameter.title()}Registry", {})
    return sorted({*found, *registered}, key=lambda name: (len(name), name))


def _kinds(annotation: ast.expr | None, module: str) -> Iterator[Any]:
    """Yield the plain types and literal values in an annotation of ``module``; nothing for types of objects."""
    match annotation:
        case ast.Attribute(attr=name):  # typing.Optional, pathlib.Path
            yield from _kinds(ast.Name(name), "")
        case ast.Constant(value=None):
            yield None
        case ast.Name(id=name) if name in PLAIN_TYPES:
            yield PLAIN_TYPES[name]
        case ast.Name(id=name):  # an alias such as _PRECISION_INPUT, or a class
            yield from _definition(name, module)
        case ast.Subscript(value=ast.Attribute(attr=name), slice=inner):
            yield from _kinds(ast.Subscript(ast.Name(name), inner), module)
        case ast.Subscript(value=ast.Name(id="Optional"), slice=inner):
            yield from (*_kinds(inner, module), None)
        case ast.Subscript(value=ast.Name(id="Union"), slice=ast.Tuple(elts=members)):
            for member in members:
                yield from _kinds(member, module)
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            yield from (*_kinds(left, module), *_kinds(right, module))
        case ast.Subscript(value=ast.Name(id="Literal"), slice=values):
            literal = ast.literal_eval(values)
            yield from literal if isinstance(literal, tuple) else (literal,)
        case ast.Subscript(value=ast.Name(id="list" | "List"), slice=ast.Name(id="int")):
            yield list
        case ast.Subscript(value=ast.Name(id="list" | "List" | "tuple" | "Tuple" | "Sequence"), slice=inner):
            for member in inner.elts if isinstance(inner, ast.Tuple) else [inner]:  # one of them, as in 1.9
                yield from _kinds(member, module)


def _definition(name: str, module: str) -> Iterator[Any]:
    """Yield the types of the alias ``name`` of ``module``, followed through its imports from Lightning."""
    for node in _body(module):
        match node:
            case ast.Assign(targets=[ast.Name(id=target)], value=value) if target == name:
                yield from _kinds(value, module)
            case ast.ImportFrom(module=str(source), names=names) if "lightning" in source:
                if any(alias.name == name for alias in names):
                    yield from _definition(name, source)


@cache
def _body(module: str) -> list[ast.stmt]:
    """Return the parsed statements of a module, or none without its source."""
    path = _path(module)
    return ast.parse(path.read_text(encoding="utf-8")).body if path.is_file() else []


def _path(module: str) -> Path:
    """Return the file of a module, found without importing it or its parents."""
    top, *parts = module.split(".")
    spec = find_spec(top) if top not in ("", "__main__") else None
    if spec is None:
        return Path()
    folders = spec.submodule_search_locations
    path = Path(folders[0], *parts) if folders else Path(spec.origin or "")
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def docstring_args(docstring: str) -> dict[str, str]:
    """Return the entries of a Google-style ``Args:`` section, each on one line, without markup and default."""
    section = re.search(r"^Args:\n(.*?)(?=^\S|\Z)", inspect.cleandoc(docstring), re.MULTILINE | re.DOTALL)
    if section is None:
        return {}
    entries = re.findall(r"^    (\w+)(?: \([^)]*\))?: (.*?)(?=^    \w|\Z)", section[1], re.MULTILINE | re.DOTALL)
    texts = {name: " ".join(text.split()) for name, text in entries}
    plain = {name: re.sub(r":\w+:`~?([^`]*)`", r"\1", text).replace("``", "") for name, text in texts.items()}
    without_default = {name: re.sub(r"\s*Default: .*$", "", text) for name, text in plain.items()}
    return {name: text.replace("%", "%%") for name, text in without_default.items()}
