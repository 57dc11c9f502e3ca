"""``--print_config`` and ``--print_schema``: the flags as a config file with their sources, and what they may be."""

from argparse import SUPPRESS, Action, ArgumentParser, Namespace
from collections.abc import Collection
from typing import Any

from harness.cli import debug
from harness.cli.parser import Parser
from harness.config_files import dump_config
from harness.trainer_args import FORMER, OffFlag

FLAGS = ("--print_config", "--print_schema")


class PrintSchema(Action):
    """Print the JSON schema of config files and exit."""

    def __call__(self, parser: Any, namespace: Namespace, values: Any, option_string: Any = None) -> None:
        """Print and exit."""
        from harness.cli.schema import schema_text

        print(schema_text(parser), end="")
        parser.exit()


def add_printing(parser: ArgumentParser) -> None:
    """Add the flags, unless the model has a flag of such a name."""
    known = parser._option_string_actions
    if FLAGS[0] not in known:
        text = "print the flags as a config file, with their sources, and exit"
        # its name in the flags is none that a model can take
        parser.add_argument(FLAGS[0], dest=FLAGS[0], action="store_const", const=True, default=SUPPRESS, help=text)
    if FLAGS[1] not in known:
        text = "print the JSON schema of config files and exit"
        parser.add_argument(FLAGS[1], action=PrintSchema, nargs=0, default=SUPPRESS, help=text)


def with_sources(args: Namespace, parsed: Namespace, parser: Parser, typed: Collection[str]) -> str:
    """Return flags as a config file, each with a comment that names its source.

    Args:
        args: the flags of the run.
        parsed: the flags as they were given, under names of Lightning 1.x, too.
        parser: their parser.
        typed: names of those that were typed.
    """
    old_names = names_before(parsed)
    lines = []
    of_command = {action.dest for action in parser._actions if getattr(action, "is_of_command", False)}
    for name, value in vars(args).items():
        if name in of_command:
            continue
        is_renamed = name in old_names and value != getattr(parsed, name, None)
        source = source_of(old_names[name] if is_renamed else name, parser, typed)
        line = dump_config({name: value}) if name != "config" else ""
        comment = "# " + "".join(each if each.isprintable() else "?" for each in source)
        is_long = line.count("\n") > 1
        lines.append(f"{comment}\n{line}" if is_long else line.replace("\n", f"  {comment}\n"))
    return "".join(lines)


def names_before(parsed: Namespace) -> dict[str, str]:
    """Return the flags of Lightning 1.x that were given, by the names that they have today."""
    given = {name: value for name, value in vars(parsed).items() if value not in (None, "", [])}
    found = {"strategy": "accelerator"}  # which 1.x took for a strategy
    if "resume_from_checkpoint" in given:
        found["ckpt_path"] = "resume_from_checkpoint"
    for name, former in FORMER.items():
        if name in given and former.today is not None:
            found |= dict.fromkeys(former.today(given[name]), name)
    return found


def source_of(name: str, parser: Parser, typed: Collection[str]) -> str:
    """Return the source of the value of a flag: the strongest that gives it."""
    actions = [
        each
        for each in parser._actions
        if each.dest == name or (isinstance(each, OffFlag) and each.dest == f"no_{name}")
    ]
    if any(each.dest in typed for each in actions):
        return "command line"
    files = [parser.origins[flag] for each in actions for flag in each.option_strings if flag in parser.origins]
    if files:
        if files[0] == debug.FLAG:
            return files[0]
        file = files[0].removeprefix("--ckpt_path ")
        return f"file {file}" if file == files[0] else f"checkpoint {file}"
    return "environment" if any(name in getattr(each, "environment", ()) for each in actions) else "default"
