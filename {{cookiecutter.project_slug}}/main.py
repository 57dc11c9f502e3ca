"""Train, validate and test the model of --model_name on the data of --data_name.

The first word may be validate, test or predict, to do only that with --ckpt_path FILE. Without it, or with fit, a run
takes 20 epochs, unless --max_epochs, --max_steps or --max_time says otherwise. new writes a file to start from.
"""

import sys

if sys.version_info < (3, 10):  # noqa: UP036  an older one cannot read what is imported below
    sys.exit(f"main.py: error: needs Python 3.10 or newer, this is {'.'.join(map(str, sys.version_info[:3]))}")

import traceback
from argparse import SUPPRESS, Namespace
from collections.abc import Mapping, Sequence
from functools import partial

from harness.cli.completion import ALL_COMMANDS, SCRIPTS, PrintScript, complete
from harness.cli.habits import require_command
from harness.cli.new import new
from harness.cli.parser import Parser, Trained
from harness.cli.run_flags import TRAINER_DEFAULTS, USED_MOST, add_program_args, rare_flags, resolve
from harness.cli.trained import (
    find_checkpoint,
    flags_to_take,
    names_in,
    require_more_to_do,
    require_same_model,
    show_difference,
    trained_flags,
)
from harness.errors import ModelError, RunError, Stopped, UsageError
from harness.found import add_args, brings_data, declaration, file_of, made_for, names, whose
from harness.runs import signals
from harness.runs.run import is_first_process, mark_first, opened_run_dir, was_started_by_first
from harness.runs.slurm import job, requeue
from harness.trainer_args import Trainer

USAGE = "%(prog)s [fit|validate|test|predict] [--flag value ...]\n       %(prog)s new model|data NAME"
# What stands for --model_name and --data_name if nothing is said: the first that is there.
MODELS, DATA = ("mnist", "my_model"), ("digits", "my_data")


def program_parser(usage: str = USAGE, description: str = __doc__) -> Parser:
    """Return a parser with the flags that every command line has: the program's, the Trainer's, and the names."""
    parser = Parser(usage=usage, description=description, add_help=False)
    parser.set_defaults(**TRAINER_DEFAULTS)

    add_program_args(parser)
    completing = "show the lines that make a shell complete this command line"
    parser.add_argument("--completion", choices=list(SCRIPTS), action=PrintScript, default=SUPPRESS, help=completing)

    # add all the available Trainer flags
    Trainer.add_argparse_args(parser)

    # figure out which model and which data to use
    for flag, folder, defaults in (("--model_name", "models", MODELS), ("--data_name", "data", DATA)):
        found = names(folder)
        default = next((name for name in defaults if name in found), found[0])
        parser.add_argument(flag, choices=found, default=default, help=f"file in {folder}/")
    return parser


def build_parser(argv: Sequence[str], program: Parser | None = None, trained: Trained | None = None) -> Parser:
    """Return the parser for a command line: flags of the program, the Trainer, the data and the model that it names.

    Args:
        argv: the command line.
        program: what ``program_parser`` returns, where it is there already.
        trained: the flags of the checkpoint that the command line names.
    """
    parser = program or program_parser()
    common = {action.dest for action in parser._actions}
    parser.trained = trained and names_in(trained)
    chosen, _ = parser.parse_known_args(argv)
    if trained is not None:
        require_same_model(trained, chosen)

    # let them add what they want
    model = declaration("models", chosen.model_name)
    data_name = made_for(model)
    if data_name:
        parser.set_defaults(data_name=data_name)
        chosen, _ = parser.parse_known_args(argv)
    owners = dict.fromkeys(parser._option_string_actions, "the program")
    own = add_args(model, parser, owners)
    if not brings_data(model):
        owners = dict.fromkeys(own._option_string_actions, file_of("models", chosen.model_name)) | owners
        own = add_args(declaration("data", chosen.data_name), own, owners)
    known_elsewhere = partial(whose, model_name=chosen.model_name, data_name=chosen.data_name)
    return Parser(
        usage=parser.usage,
        description=parser.description,
        parents=[own],
        conflict_handler="resolve",  # where a model's own parser has a -h
        rare=rare_flags(parser),
        brief=USED_MOST,
        whose=known_elsewhere,
        trained=trained and flags_to_take(trained, chosen.command, common),
    )


def trained_parser(argv: Sequence[str], program: Parser) -> tuple[Parser, str | None]:
    """Return the parser for a command line, and the checkpoint that it names, whose flags the parser takes.

    Args:
        argv: the command line.
        program: what ``program_parser`` returns.

    Raises:
        UsageError: the checkpoint cannot be had, or is of another model.
    """
    named, _ = program.parse_known_args(argv)
    if named.resume_from_checkpoint is not None and named.ckpt_path is None:  # its name in Lightning 1.x
        named.ckpt_path = named.resume_from_checkpoint
    path = find_checkpoint(named)
    trained = None if path in (None, "none") else trained_flags(path, named.command)
    return build_parser(argv, program, trained), path


def parse_args(argv: Sequence[str] | None = None) -> Namespace:
    """Return the flags of the command line, or of ``argv``.

    Flags win over config files, these over the checkpoint that is named, this over the environment.

    Raises:
        UsageError: the checkpoint cannot be had; or flags contradict it, or each other.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    if argv and not argv[0].startswith("-"):
        require_command(argv[0], ALL_COMMANDS)
        argv.insert(0, "--command")
    parser, path = trained_parser(argv, program_parser())
    args = resolve(parser.parse_args(argv))
    if parser.trained is not None:
        args.ckpt_path = path
        require_more_to_do(args, parser.unlike)
        show_difference(parser.unlike, parser.trained.path)
    return args


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if argv[:1] == ["--complete"]:  # from the shell, at a TAB
        complete(argv[1:], build_parser)
        return
    mark_first()
    with signals.handled(follows=was_started_by_first()):
        try:
            if argv[:1] == ["new"]:
                return new(argv[1:])
            args = parse_args(argv)
            from train import run

            with opened_run_dir(args) as run_dir:
                table = run(args, run_dir)
        except UsageError as error:
            Parser().error(str(error))
        except RunError as error:
            if isinstance(error, ModelError) and error.__cause__ is not None:
                traceback.print_exception(error.__cause__)
            sys.exit(0 if error.in_all_processes and was_started_by_first() else f"main.py: error: {error}")
        except Stopped as stopped:
            if stopped.together and was_started_by_first():
                sys.exit(0)  # Lightning kills all processes when one that it started has failed
            if is_first_process():
                print(f"main.py: {stopped}", file=sys.stderr)
                if stopped.name == "SIGUSR1" and job():
                    print(f"main.py: {requeue()}", file=sys.stderr)
            raise
        except ModuleNotFoundError as error:
            if error.name not in ("pytorch_lightning", "torch"):
                raise
            sys.exit(f"main.py: error: {error} (this project is installed by: pip install -e .)")
        except OSError as error:  # a full disk, no network, no permission: of the machine, not of the code
            sys.exit(f"main.py: error: {error}")
    if is_first_process():
        show(table)


def show(table: Mapping[str, float | str]) -> None:
    """Print what a run came to."""
    for name, value in table.items():
        print(f"{name:<28}{value if isinstance(value, str) else format(value, '.4f')}")


if __name__ == "__main__":
    signals.run(main)
