"""The flags of a run: command, checkpoints, early stopping, training and logs."""

import re
from argparse import SUPPRESS, Action, ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from harness.cli.export_flags import add_export_args, resolve_export
from harness.errors import UsageError
from harness.flags import count, positive_float, positive_int, yes_no
from harness.trainer_args import LOGGERS, TrainerFlag, in_names_of_today, notice

DEBUG_STARTS = "--debug starts a run of its own: --init_from FILE takes the weights of a checkpoint"
COMMANDS = ("fit", "validate", "test", "predict", "export")
USAGE = "%(prog)s [fit|validate|test|predict|export] [--flag value ...]\n       %(prog)s new model|data NAME\n"
USAGE += "       %(prog)s runs [show|diff|plot|best|rm] [...]"
LOGGERS.update(mlflow="", trackio="", comet="")  # built by harness.training.loggers
MAX_EPOCHS = 20  # Lightning's own default is 1,000
TRAINER_DEFAULTS = {
    "default_root_dir": "runs",
    "logger": "csv",
    "log_every_n_steps": 10,  # Lightning's own is 50, more than an epoch of the bundled digits
}
USED_MOST = {  # of Trainer's flags: --help shows them, with texts shorter than Lightning's own
    "accelerator": "kind of device",
    "devices": "number of devices, or their indices",
    "strategy": "how several devices work together",
    "precision": "precision of the numbers",
    "logger": "loggers of the metrics",
    "fast_dev_run": "one batch of everything, or N",
    "max_epochs": "limit of training; 20 if there is no other",
    "max_steps": "limit of training; -1: none",
    "max_time": "limit of training",
    "limit_train_batches": "number or share of an epoch's batches",
    "overfit_batches": "number or share of batches to overfit",
    "val_check_interval": "batches, or share of an epoch, between validations",
    "accumulate_grad_batches": "batches per step",
    "gradient_clip_val": "limit of the gradients",
    "deterministic": "use deterministic operations only",
    "default_root_dir": "folder of all runs",
}


def add_run_args(parser: ArgumentParser) -> ArgumentParser:
    """Add the flags of a run, and return the parser."""
    parser.usage = parser.usage or USAGE
    parser.set_defaults(**TRAINER_DEFAULTS)
    group = parser.add_argument_group("run")
    group.add_argument("--command", choices=COMMANDS, default="fit", help=SUPPRESS)  # the first word of the line
    group.add_argument("--version", action=Versions, nargs=0, default=SUPPRESS, help="show versions and exit")
    group.add_argument(
        "--config", nargs="+", action="extend", metavar="FILE", help="take flags from YAML files; later ones win"
    )
    group.add_argument("--seed", type=seed, default=0, metavar="N", help="seed of weights, data order and all noise")
    group.add_argument(
        "--run_name", type=run_name, metavar="NAME", help="name of the run's directory; default: date, time and model"
    )
    group.add_argument("--tags", type=tags, metavar="A,B", help="words to find the run by: main.py runs --where tag=A")
    group.add_argument("--notes", metavar="TEXT", help="what the run is for")
    group.add_argument(
        "--ckpt_path",
        metavar="FILE",
        help="checkpoint to resume from, or to validate, test, predict or export with; last, best: of the newest run; "
        "auto: start the run of --run_name, or resume it",
    )
    group.add_argument(
        "--init_from", metavar="FILE", help="start fit with the weights of a checkpoint or state_dict, where they match"
    )
    group.add_argument(
        "--init_from_strict",
        type=yes_no,
        nargs="?",
        const=True,
        default=False,
        help="take all weights of --init_from, or none",
    )
    group.add_argument(
        "--predictions",
        type=table_file,
        metavar="FILE",
        help="file of predict, .csv, .npz or .pt; default: RUN/predictions.csv",
    )

    add_export_args(parser)
    group = parser.add_argument_group("checkpoints and early stopping")
    group.add_argument("--monitor", metavar="METRIC", help="metric that selects best.ckpt; default: of the model")
    group.add_argument(
        "--monitor_mode",
        choices=["min", "max"],
        help="whether lower or higher values are better; default: of the model, or min",
    )
    group.add_argument(
        "--early_stopping_patience",
        type=count,
        metavar="N",
        help="validations without improvement before a stop",
    )
    group.add_argument(
        "--early_stopping_min_delta",
        type=float,
        default=0.0,
        metavar="X",
        help="smallest change that is an improvement",
    )
    group.add_argument(
        "--save_top_k", type=all_or_count, default=1, metavar="K", help="best checkpoints to keep; -1: all"
    )
    group.add_argument(
        "--save_every_n_train_steps", type=positive_int, metavar="N", help="write last.ckpt within epochs, too"
    )
    group.add_argument(
        "--save_every_minutes", type=positive_float, metavar="N", help="write last.ckpt within epochs, by the clock"
    )
    group.add_argument(
        "--save_weights_only",
        type=yes_no,
        nargs="?",
        const=True,
        default=False,
        help="smaller checkpoints, which fit cannot resume",
    )
    group.add_argument(
        "--test_after_fit",
        type=yes_no,
        nargs="?",
        const=True,
        default=True,
        help="test the best weights after fit",
    )

    group = parser.add_argument_group("training")
    group.add_argument(
        "--terminate_on_nan",
        type=yes_no,
        nargs="?",
        const=True,
        default=True,
        help="stop when the loss is not a finite number, before it spoils the weights",
    )
    group.add_argument(
        "--accumulate_grad_schedule", type=schedule, metavar="EPOCH:N,...", help="batches per step, as in 0:8,4:1"
    )
    group.add_argument(
        "--ema_decay", type=share, metavar="X", help="decay of a running average of the weights, such as 0.999"
    )
    group.add_argument(
        "--debug",
        type=yes_no,
        nargs="?",
        const=True,
        default=False,
        help="one epoch of 10 batches on the CPU that shows errors early: detect_anomaly, no worker processes, all "
        "values logged; other flags win",
    )
    group.add_argument(
        "--compile", type=yes_no, nargs="?", const=True, default=False, help="faster layers, made by torch.compile"
    )
    group.add_argument(
        "--plain",
        type=yes_no,
        nargs="?",
        const=True,
        default=False,
        help="Lightning's own loops, to tell a fault of the harness from one of the model: no exact resume",
    )
    group.add_argument(
        "--num_threads", type=positive_int, metavar="N", help="CPU threads of each process; default: of torch"
    )
    group.add_argument("--lr_monitor", choices=["step", "epoch"], help="log the learning rate")
    group.add_argument(
        "--track_grad_norm", type=norm_order, metavar="P", help="log the P-norm of the gradients; inf: the largest"
    )
    group.add_argument(
        "--model_summary_depth", type=all_or_count, default=1, metavar="N", help="levels of modules to list; -1: all"
    )
    return parser


def shorten_help(parser: ArgumentParser) -> None:
    """Let the short help show the Trainer flags that are used most, with short texts, and leave out the others."""
    for action in parser._actions:
        if isinstance(action, TrainerFlag):
            vars(action).update(rare=action.dest not in USED_MOST, brief=USED_MOST.get(action.dest))


def resolve(args: Namespace) -> Namespace:
    """Return the flags of the run, with current names for flags of Lightning 1.x, and the default number of epochs.

    Raises:
        UsageError: If a checkpoint is needed and none is named, or if flags contradict each other.
    """
    flags = in_names_of_today(vars(args))
    checkpoint = flags.pop("resume_from_checkpoint")
    if checkpoint is not None:
        if flags["ckpt_path"] is not None:
            raise UsageError("--resume_from_checkpoint is the old name of --ckpt_path: give one of them")
        notice(f"--resume_from_checkpoint {checkpoint} is now --ckpt_path {checkpoint}")
        flags["ckpt_path"] = checkpoint
    if flags["barebones"]:  # Lightning rejects these with it
        flags |= {name: None for name in ("logger", "log_every_n_steps") if flags[name] == TRAINER_DEFAULTS[name]}
        if flags["logger"]:
            raise UsageError(f"--barebones logs nothing: leave out --logger {flags['logger']}")
    if flags["command"] != "fit" and flags["ckpt_path"] is None:
        remedy = "add --ckpt_path FILE, or --ckpt_path none for the weights that the model starts with"
        raise UsageError(f"{flags['command']} needs a checkpoint: {remedy}")
    if flags["debug"] and flags["command"] == "fit" and flags["ckpt_path"] not in (None, "none", "auto"):
        raise UsageError(DEBUG_STARTS)
    require_one_start(flags)
    if flags["lr_monitor"] is not None and (not flags["logger"] or flags["barebones"]):
        raise UsageError("--lr_monitor needs a place to log to, such as --logger csv")
    if flags["predictions"] is not None and flags["command"] != "predict":
        raise UsageError("--predictions is a flag of predict: main.py predict --ckpt_path FILE --predictions FILE")
    if flags["accumulate_grad_schedule"] is not None and flags["accumulate_grad_batches"] != 1:
        raise UsageError("--accumulate_grad_schedule takes the place of --accumulate_grad_batches: give one of them")
    if flags["predictions"] is not None and Path(flags["predictions"]).exists():
        raise UsageError(f"--predictions {flags['predictions']} exists already: name another file, or remove it")
    resolve_export(flags)
    if flags["command"] in ("predict", "export"):
        require_one_process(flags)
    for name in ("accumulate_grad_batches", "check_val_every_n_epoch", "val_check_interval"):
        if flags[name] == 0:
            raise UsageError(f"--{name} must be more than 0")
    for name in ("auto_lr_find", "auto_scale_batch_size"):
        if flags[name] and flags["ckpt_path"] not in (None, "none"):
            raise UsageError(f"--{name} searches before training begins, not when it goes on from a checkpoint")
    flags["default_root_dir"] = flags["default_root_dir"] or "."
    if flags["max_epochs"] is None and flags["max_steps"] == -1 and flags["max_time"] is None:
        flags["max_epochs"] = max(MAX_EPOCHS, flags["min_epochs"] or 0)
    return Namespace(**flags)


def require_one_start(flags: dict[str, Any]) -> None:
    """Check ``--init_from``, and let none be None.

    Raises:
        UsageError: If the command is not fit, or a checkpoint gives the weights.
    """
    if flags["init_from"] == "none":
        flags["init_from"] = None
    if flags["init_from"] is None:
        if flags["init_from_strict"]:
            raise UsageError("--init_from_strict needs a file: add --init_from FILE")
    elif flags["command"] != "fit":
        raise UsageError(f"--init_from is a flag of fit: {flags['command']} takes the weights of --ckpt_path")
    elif flags["ckpt_path"] not in (None, "none", "auto"):
        raise UsageError("--init_from takes the weights alone, --ckpt_path all of a checkpoint: give one of them")


def require_one_process(flags: dict[str, Any]) -> None:
    """Restrict predict and export to one process.

    Raises:
        UsageError: If the flags name more devices or nodes.
    """
    devices = flags["devices"]
    if devices == "auto":
        flags["devices"] = devices = 1
    number = len(devices) if isinstance(devices, list) else devices
    if number not in (1, -1) or flags["num_nodes"] != 1:
        raise UsageError(f"{flags['command']} writes one file from one process: add --devices 1 --num_nodes 1")


def monitored(args: Namespace, model: Any) -> tuple[str | None, str]:
    """Return the metric that selects the best epoch, and its mode, "min" or "max"; flags win over the model.

    Args:
        args: all flags.
        model: the model, or its class.
    """
    return args.monitor or getattr(model, "monitor", None), args.monitor_mode or getattr(model, "monitor_mode", "min")


def keeps_best(args: Namespace) -> bool:
    """Return whether a run writes its best checkpoints, if it monitors a metric."""
    return args.save_top_k != 0 and args.enable_checkpointing is not False and not args.barebones


def of_validation(metric: str | None) -> bool:
    """Return whether a metric is of validation, by its name."""
    return re.match(r"val(id(ation)?)?[_/]", metric or "") is not None


def without_best(metrics: Iterable[str]) -> str:
    """Return the reason why a run has no best.ckpt, with the metrics that ``--monitor`` could name."""
    known = [name for name in metrics if not name.startswith("test")]
    names = sorted(known, key=lambda name: (not of_validation(name), name))
    return "it is written where a metric is monitored: fit with --monitor " + (" or ".join(names) or "METRIC")


def seed(text: str) -> int:
    """Return ``text`` as an integer that can seed every generator: 0 to 4294967295."""
    if count(text) >= 2**32:
        raise ArgumentTypeError(f"{text!r} is more than 4294967295")
    return int(text)


def run_name(text: str) -> str:
    """Return ``text`` if it can be the name of a directory anywhere."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._=-]{0,99}", text) or text.endswith("."):
        raise ArgumentTypeError(
            f"{text!r} is no name for a directory: take up to 100 letters, digits and . _ = -, a letter or digit first"
        )
    return text


def tags(text: str) -> str:
    """Return ``text`` if it is a list of words with commas, without spaces around them."""
    words = [word.strip() for word in text.split(",")]
    if not all(re.fullmatch(r"[\w.+/-]+", word) for word in words):
        raise ArgumentTypeError(f"{text!r} is no list of words such as a,b: take letters, digits and . _ + / -")
    return ",".join(dict.fromkeys(words))


def all_or_count(text: str) -> int:
    """Return ``text`` as an integer of at least 0, or -1 for all."""
    return -1 if text == "-1" else count(text)


def share(text: str) -> float:
    """Return ``text`` as a number above 0 and below 1."""
    number = positive_float(text)
    if number >= 1:
        raise ArgumentTypeError(f"{text!r} is not a number between 0 and 1")
    return number


def norm_order(text: str) -> float:
    """Return ``text`` as the P of a P-norm: a number above 0, or inf."""
    return float("inf") if text.lower() == "inf" else positive_float(text)


def schedule(text: str) -> str:
    """Return ``text`` if it has the form EPOCH:N,EPOCH:N, with N at least 1."""
    if not re.fullmatch(r"\d+:[1-9]\d*(,\d+:[1-9]\d*)*", text):
        raise ArgumentTypeError(f"{text!r} is not of the form 0:8,4:1, epoch:batches")
    return text


def table_file(text: str) -> str:
    """Return ``text`` if its suffix is a format for predictions."""
    if Path(text).suffix not in (".csv", ".npz", ".pt"):
        raise ArgumentTypeError(f"{text!r} does not end in .csv, .npz or .pt")
    return text


class Versions(Action):
    """Print the versions of Python, Lightning and torch, and exit."""

    def __call__(self, parser: ArgumentParser, *args: Any) -> None:
        """Print and exit."""
        from importlib.metadata import version  # 20 ms
        from platform import python_version

        packages = ("pytorch-lightning", "torch")
        print(f"Python {python_version()}", *(f"{package} {version(package)}" for package in packages), sep=", ")
        parser.exit()
