"""Completion of the command line at the TAB key, by argcomplete."""

import os
from argparse import SUPPRESS, ArgumentParser
from collections.abc import Callable, Sequence

from harness.cli.parser import Parser, with_help
from harness.cli.printed import add_printing
from harness.cli.runs_command import WORDS, add_args
from harness.cli.sources import ALL_COMMANDS
from harness.errors import UsageError

NEW = {"model": "models", "data": "data"}  # what ``main.py new`` writes, and the folders


def complete(build_parser: Callable[[list[str]], ArgumentParser], commands: Sequence[str] = ALL_COMMANDS) -> None:
    """Answer the shell and exit, if it asks for the completion of a command line.

    Args:
        build_parser: returns the parser for words that name a model and data.
        commands: words that the command line may begin with.
    """
    if "_ARGCOMPLETE" not in os.environ:
        return
    import argcomplete  # at a TAB alone
    from argcomplete.lexers import split_line

    words = split_line(os.environ["COMP_LINE"], int(os.environ["COMP_POINT"]))[3]
    start = int(os.environ["_ARGCOMPLETE"])  # the number of words before the arguments: 2 for "python main.py"
    argcomplete.autocomplete(parser_for(words[start:], build_parser, commands), always_complete_options=False)


def parser_for(
    words: list[str], build_parser: Callable[[list[str]], ArgumentParser], commands: Sequence[str]
) -> ArgumentParser:
    """Return the parser that completes the next word of a command line."""
    if words[:1] == ["new"] and "new" in commands:
        parser = Parser()
        parser.add_argument("command", choices=["new"])
        parser.add_argument("kind", choices=list(NEW))
        parser.add_argument("name").completer = lambda **_: []  # type: ignore[attr-defined]
        return parser
    if words[:1] == ["runs"] and "runs" in commands:
        parser = Parser()
        parser.add_argument("command", choices=["runs"])
        word = words[1] if len(words) > 1 and words[1] in WORDS else "list"
        parser.add_argument("word", choices=WORDS, nargs="?" if word == "list" else None)
        add_args(parser, word)
        return parser
    try:
        parser = with_help(build_parser(words[:-1] if words and words[-1].startswith("--") else words))
    except (UsageError, SystemExit):  # the words so far are wrong; the other flags can still be completed
        parser = with_help(build_parser([]))
    if commands:
        add_printing(parser)
    for action in parser._actions:
        if action.choices is None and (values := getattr(action, "words", None)):
            action.completer = lambda values=values, **_: values  # type: ignore[attr-defined]
        if action.default != SUPPRESS:
            action.required = False
    if commands and (not words or words[0] in commands):
        parser.add_argument("first_word", nargs="?", choices=commands)
    return parser
