"""Completion of the command line: what the shell asks at a TAB, and the lines that make it ask."""

import shlex
from argparse import SUPPRESS, Action
from collections.abc import Callable, Sequence
from typing import Any

from harness.cli.new import FOLDERS
from harness.cli.parser import Parser
from harness.cli.run_flags import COMMANDS
from harness.errors import UsageError
from harness.found import ROOT

ALL_COMMANDS = (*COMMANDS, "new")
PROGRAMS = [
    "main.py",
    # {% if cookiecutter.sweeps in ["optuna", "both"] %}
    "sweep_optuna.py",
    # {% endif %}
    # {% if cookiecutter.sweeps in ["hydra", "both"] %}
    "sweep_hydra.py",
    # {% endif %}
]

# Each asks `python main.py --complete WORDS`, where the last word is the one at the cursor, if the script is one of
# PROGRAMS. Where that has nothing to say, and for other scripts, the shell completes file names.
SCRIPTS = {
    "bash": """
_complete_main_py() {
    local program word start last="" count=0 IFS=$'\n' words=()
    for word in "${COMP_WORDS[@]:2:COMP_CWORD-1}"; do  # bash makes words of NAME=VALUE
        if [[ -n $last && -n $word && $last$word == *=* && $COMP_LINE == *"$last$word"* ]]; then
            last+=$word words[count-1]=$last
        else
            last=$word words[count++]=$word
        fi
    done
    [[ $word == [=:] ]] && word=  # what follows it is replaced
    start=${last%"$word"}
    for program in PROGRAMS; do
        [[ ${COMP_WORDS[1]} -ef $program ]] || continue
        COMPREPLY=($("${COMP_WORDS[0]}" "$program" --complete "${words[@]}" 2>/dev/null))
    done
    COMPREPLY=("${COMPREPLY[@]#"$start"}")
    [[ ${COMPREPLY[0]} == *[=./] ]] && compopt -o nospace 2>/dev/null
}
complete -o default -F _complete_main_py python python3
""",
    "zsh": """
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit }
_complete_main_py() {
    local program
    local -a found
    for program in PROGRAMS; do
        [[ $words[2] -ef $program ]] || continue
        found=("${(@f)$("$words[1]" "$program" --complete "${(@)words[3,CURRENT]}" 2>/dev/null)}")
    done
    [[ -n $found ]] || { compset -P '*='; _files; return }
    compadd -S '' -- ${(M)found:#*[=./]}
    compadd -- ${found:#*[=./]}
}
compdef _complete_main_py python python3
""",
    "fish": """
function _complete_main_py
    set -l words (commandline -opc) (commandline -ct)
    set -l program (path resolve -- $words[2])
    contains -- $program PROGRAMS; or return
    $words[1] $program --complete $words[3..] 2>/dev/null
end
complete -c python -c python3 -a '(_complete_main_py)'
""",
}


class PrintScript(Action):
    """Print the lines that make a shell complete the command lines of this project, and exit."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: Any = None) -> None:
        """Print and exit."""
        programs = shlex.join(str(ROOT / program) for program in PROGRAMS)
        print(SCRIPTS[values].strip().replace("PROGRAMS", programs))
        parser.exit()


def complete(
    words: Sequence[str], build_parser: Callable[[Sequence[str]], Parser], commands: Sequence[str] = ALL_COMMANDS
) -> None:
    """Print what the last of ``words`` can become, for the model and data that the others name.

    Args:
        words: of the command line.
        build_parser: returns the parser for the words before the last one.
        commands: what the first word may be, beside a flag.
    """
    if words[:1] == ["new"] and "new" in commands and len(words) > 1:
        print("\n".join(kind for kind in FOLDERS if len(words) == 2 and kind.startswith(words[1])))
        return
    typed = list(words[:-1])
    if typed and typed[-1].startswith("--"):
        typed.pop()  # its value is what is being typed
    try:
        parser = build_parser(typed)
    except (SystemExit, UsageError):  # what is typed so far is wrong; its flags can still be completed
        parser = build_parser([])
    print("\n".join(completions(parser, words, commands)))


def completions(parser: Parser, words: Sequence[str], commands: Sequence[str]) -> list[str]:
    """Return what the last of ``words``, which may be empty, can become: a command, a flag, or a value of the flag."""
    *before, word = words or [""]
    flag, equals, start = word.partition("=")
    if equals:
        return [f"{flag}={value}" for value in values(parser, flag) if value.startswith(start)]
    found = [value for value in values(parser, before[-1] if before else "") if value.startswith(word)]
    if word.startswith("-"):
        found += [
            name
            for name, action in parser._option_string_actions.items()
            if action.help != SUPPRESS and name.startswith(word)
        ]
    return found if before else found + [command for command in commands if command.startswith(word)]


def values(parser: Parser, flag: str) -> list[str]:
    """Return the words that a flag takes, where they can be listed."""
    action = parser._option_string_actions.get(flag)
    return [str(value) for value in getattr(action, "words", None) or getattr(action, "choices", None) or []]
