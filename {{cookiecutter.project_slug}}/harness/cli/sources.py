"""The sources of a flag's value: the command line, then config files, a checkpoint, the environment, the default.

Config files and checkpoints become words of a command line, but for flags that a stronger source gives; then argparse
parses once. (The environment is the default of a Trainer flag: see ``trainer_args``.)
"""

import sys
from argparse import Action, ArgumentError, ArgumentParser, Namespace
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from harness.cli import debug
from harness.cli.find import find_checkpoint, require_more_to_do
from harness.cli.habits import require_command
from harness.cli.parser import Parser, with_help
from harness.cli.printed import FLAGS, add_printing, with_sources
from harness.cli.run_flags import COMMANDS, DEBUG_STARTS, TRAINER_DEFAULTS, resolve, shorten_help
from harness.config_files import as_setting, read_config, schemas
from harness.errors import UsageError
from harness.flags import yes_no
from harness.found import MODELS, owner_of_flag
from harness.runs.processes import is_first_process
from harness.trainer_args import FORMER, match_env_arguments, notice
from harness.words import find_action, flag_words

BuildParser = Callable[[list[str]], ArgumentParser]
ALL_COMMANDS = (*COMMANDS, "new", "runs")
NAMES = ("model_name", "data_name", "seed")
# Flags that fit does not take from a checkpoint: the command, its files, the folder, what comes before training.
NOT_TAKEN = {
    *("command", "config", "run_name", "ckpt_path", "predictions", "default_root_dir", "resume_from_checkpoint"),
    *("auto_lr_find", "auto_scale_batch_size", "init_from", "init_from_strict", "to", "output", "debug"),
}


@dataclass
class Source:
    """The flags of a config file or a checkpoint.

    Attributes:
        name: the file, for messages.
        settings: a text, a list of texts or None by name of the flag.
        values: those of them that are known exactly, and need no conversion.
        is_checkpoint: whether flags that no longer exist are left out, instead of refused.
        is_preset: whether flags that the data do not have are left out.
    """

    name: str
    settings: Mapping[str, Any]
    values: Mapping[str, Any] = field(default_factory=dict)
    is_checkpoint: bool = False
    is_preset: bool = False


def parse_args(
    build_parser: BuildParser, argv: Sequence[str] | None = None, commands: Sequence[str] = ALL_COMMANDS
) -> Namespace:
    """Return the flags of a command line, by default that of the program.

    Args:
        build_parser: returns the parser for words that name a model and data.
        argv: the words of the command line.
        commands: what the first word may be, beside a flag.

    Raises:
        UsageError: If a flag is unknown or its value not valid, if flags contradict each other or the checkpoint, or
            if a file cannot be read.
    """
    words = with_command(sys.argv[1:] if argv is None else argv, commands)
    named, configs, checkpoint = read_sources(words)
    parsed, parser = parse_words(build_parser, words, [*configs, *([checkpoint] if checkpoint else [])])
    typed = given_flags(parser, words)
    is_shown = vars(parsed).pop(FLAGS[0], False)
    if gives_way(parsed, typed):
        parsed.init_from, parsed.init_from_strict = None, False
    changed = differences(parsed, checkpoint, named.command) if checkpoint is not None else {}
    args = resolve(parsed)
    if checkpoint is not None and args.debug and args.command == "fit":
        raise UsageError(DEBUG_STARTS)
    if checkpoint is not None:
        if not is_shown:
            require_more_to_do(args, checkpoint.name, changed)
        args.ckpt_path = checkpoint.name
        args.init_from, args.init_from_strict = None, False  # a run that resumes has had them
    if is_shown:
        print(with_sources(args, parsed, parser, typed) if is_first_process() else "", end="")
        parser.exit()
    if changed:
        flags = ", ".join(f"--{name} {now} (there {then})" for name, (now, then) in changed.items())
        notice(f"unlike {args.ckpt_path}: {flags}")
    return args


def gives_way(flags: Namespace, typed: Collection[str]) -> bool:
    """Return whether ``--init_from`` of a config file gives way to the command line: to its command or checkpoint."""
    path = flags.ckpt_path or flags.resume_from_checkpoint
    is_typed = bool({"ckpt_path", "resume_from_checkpoint"} & set(typed)) and path not in (None, "none", "auto")
    return "init_from" not in typed and (flags.command != "fit" or is_typed)


def with_command(argv: Sequence[str], commands: Sequence[str]) -> list[str]:
    """Return the words of a command line with its first word, if that is a command, as the flag ``--command``."""
    words = list(argv)
    if words and commands and not words[0].startswith("-"):
        require_command(words[0], commands)
        words[0] = f"--command={words[0]}"
    return words


def read_sources(words: Sequence[str]) -> tuple[Namespace, list[Source], Source | None]:
    """Return the flags that name sources, the config files, the last one first, and the checkpoint, if one is named."""
    reader = Parser()
    reader.add_argument("--config", nargs="+", action="extend", default=[])
    reader.add_argument(debug.FLAG, type=yes_no, nargs="?", const=True)
    files = ("--run_name", "--ckpt_path", "--resume_from_checkpoint", "--default_root_dir")
    for flag in ("--command", "--model_name", *files):
        reader.add_argument(flag)
    named, _ = reader.parse_known_args(words)
    configs = [Source(file, read_config(file)) for file in reversed(named.config)]
    place = debug.position(named.debug, [each.settings for each in configs])
    if place is not None:
        configs.insert(place, Source(debug.FLAG, debug.SETTINGS, is_preset=True))
    for name, value in vars(named).items():
        if value is None:
            setattr(named, name, next((each.settings[name] for each in configs if name in each.settings), None))
    named.command = named.command or "fit"
    named.ckpt_path = named.ckpt_path or named.resume_from_checkpoint  # its name in Lightning 1.x
    if named.default_root_dir is None:
        environment = vars(environment_flags())
        named.default_root_dir = environment.get("default_root_dir", TRAINER_DEFAULTS["default_root_dir"])
    path = find_checkpoint(named)
    return named, configs, None if path in (None, "none") else read_checkpoint_flags(path, named)


def environment_flags() -> Namespace:
    """Return the Trainer's flags of the environment.

    Raises:
        UsageError: If a variable has a value that its flag does not take.
    """
    try:
        return match_env_arguments()
    except ValueError as error:
        raise UsageError(str(error)) from error


def read_checkpoint_flags(path: str, named: Namespace) -> Source:
    """Return the flags that a checkpoint was made with.

    Raises:
        UsageError: If the file cannot be read, if fit cannot resume from it, or if it is of another model.
    """
    from harness.runs.checkpoint_files import read_checkpoint, require_training_state, stored_flags  # torch

    content = read_checkpoint(path)
    if named.command == "fit":
        require_training_state(path, content)
    settings, values = stored_flags(path, content)
    model_name = settings.get("model_name")
    if model_name is not None and model_name not in MODELS.names():
        raise UsageError(
            f"{path} is of model {model_name}, and models/{model_name}.py is not there: put it back, or name another "
            "checkpoint"
        )
    if model_name is not None and named.model_name not in (None, model_name):
        raise UsageError(
            f"the checkpoint is of model {model_name}, not {named.model_name}: leave out --model_name, or name "
            "another file"
        )
    return Source(path, settings, values, is_checkpoint=True)


def parse_words(build_parser: BuildParser, words: Sequence[str], sources: Sequence[Source]) -> tuple[Namespace, Parser]:
    """Return the flags of a command line and of other sources, and the parser.

    Args:
        build_parser: returns the parser for words that name a model and data.
        words: the command line.
        sources: the strongest first.

    Raises:
        UsageError: If a flag is unknown, or its value not valid.
    """
    names = [
        f"--{name}={source.settings[name]}"
        for source in reversed(sources)
        for name in ("model_name", "data_name")
        if source.settings.get(name) is not None
    ]
    parser = with_help(build_parser([*names, *words]))
    add_printing(parser)
    shorten_help(parser)
    given = given_flags(parser, words)
    command = command_of(words, sources)
    exact = Namespace()
    more: list[str] = []
    unknown: list[tuple[str, str]] = []
    for source in sources:
        origin = f"--ckpt_path {source.name}" if source.is_checkpoint else source.name
        added: set[str] = set()
        for name, setting in source.settings.items():
            action = find_action(parser, name)
            if action is None and not (source.is_checkpoint or source.is_preset):
                unknown.append((source.name, f"--{name}"))
            if action is None or action.dest in given or (source.is_checkpoint and not is_taken(name, action, command)):
                continue
            if getattr(action, "is_typed", False):
                raise UsageError(f"{origin}: --{name} is for the command line alone: give it there")
            added.add(action.dest)
            require_no_more(parser, action)
            try:
                if name in source.values and is_own(action):
                    parser._check_value(action, source.values[name])
                    setattr(exact, action.dest, source.values[name])
                else:
                    more += flag_words(parser, name, setting)
            except (ArgumentError, UsageError) as error:
                again = f": give --{name} again" if source.is_checkpoint else ""
                raise UsageError(f"{origin}: {error}{again}") from error
            parser.origins |= dict.fromkeys(action.option_strings, origin)
        given |= added
    flags, others = parser.parse_known_args([*more, *words], exact)
    refuse_unknown(parser, flags, others, unknown)
    schemas[getattr(flags, "model_name", None), getattr(flags, "data_name", None)] = partial(schema_of, parser)
    order = [action.dest for action in parser._actions if action.dest in flags]
    return Namespace(**{name: getattr(flags, name) for name in dict.fromkeys([*order, *vars(flags)])}), parser


def schema_of(parser: Parser, flags: Collection[str]) -> str:
    """Return the JSON schema of config files of a run with these flags; the parser may have others, too."""
    from harness.cli.schema import schema_text

    return schema_text(parser, {*flags, "run_name", *FORMER})


def command_of(words: Sequence[str], sources: Sequence[Source]) -> str:
    """Return the command of a command line, else of a config file, else fit."""
    typed = [word.partition("=")[2] for word in words if word.startswith("--command=")]
    others = [each.settings.get("command") for each in sources if not each.is_checkpoint]
    return next((word for word in (*typed, *others) if word), "fit")


def given_flags(parser: ArgumentParser, words: Sequence[str]) -> set[str]:
    """Return the names of the flags that are on a command line."""
    known = parser._option_string_actions
    flags = [word.split("=")[0] for word in words]
    found = [known.get(word) or (known.get(word[:2]) if word[:2] != "--" else None) for word in flags]
    return {action.dest for action in found if action is not None}


def require_no_more(parser: ArgumentParser, action: Action) -> None:
    """Let a flag be absent from the command line, since another source gives it."""
    action.required = False
    for group in parser._mutually_exclusive_groups:
        group.required = group.required and action not in group._group_actions


def is_own(action: Action) -> bool:
    """Return whether the model or the data declares a flag: it is a hyperparameter."""
    return getattr(action, "owner", None) is not None


def is_taken(name: str, action: Action, command: str) -> bool:
    """Return whether a command takes a flag from a checkpoint: fit nearly all, others hyperparameters and seed."""
    return name in NAMES or (name not in NOT_TAKEN and (command == "fit" or is_own(action)))


def refuse_unknown(parser: Parser, flags: Namespace, words: Sequence[str], unknown: Sequence[tuple[str, str]]) -> None:
    """Raise UsageError if a word of the command line, or a flag of a config file, is unknown."""
    for file, word in [*(("", word) for word in words), *unknown]:
        flag = word.split("=")[0]
        owner = owner_of_flag(flag, getattr(flags, "model_name", None), getattr(flags, "data_name", None))
        problem = f"{flag} is {owner}" if owner else parser.describe_unknown(flag)
        if not word.startswith("-"):
            problem = f"unexpected word {word!r}"
        raise UsageError(f"{file}: {problem}" if file else problem)


def differences(args: Namespace, checkpoint: Source, command: str) -> dict[str, tuple[Any, Any]]:
    """Return the flags whose value is not that of the checkpoint: both values, by name."""
    changed = {}
    for name, setting in checkpoint.settings.items():
        if name in args and name not in NOT_TAKEN and (command == "fit" or name in checkpoint.values or name in NAMES):
            now = getattr(args, name)
            if as_setting(now) != setting and now != checkpoint.values.get(name, object()):
                changed[name] = now, checkpoint.values.get(name, setting)
    return {name: changed[name] for name in vars(args) if name in changed}
