# PYTHON_ARGCOMPLETE_OK
"""Train, validate and test the model of --model_name on the data of --data_name.

The first word may be validate, test, predict or export, to do only that with --ckpt_path FILE. Without it, or with fit,
a run takes 20 epochs, unless --max_epochs, --max_steps or --max_time is given. new writes a file to start from; runs
lists the runs.
"""

from argparse import ArgumentParser, Namespace
from functools import partial
from typing import Any

from harness import app
from harness.cli import sources
from harness.cli.parser import Parser
from harness.cli.run_flags import add_run_args
from harness.found import DATA, MODELS
from harness.runs.run import open_run
from harness.trainer_args import Trainer


def build_parser(words: list[str]) -> ArgumentParser:
    """Return the parser of a command line: its flags depend on the model and the data that the words name."""
    parser: ArgumentParser = Parser(description=__doc__)

    # add the flags of a run, such as --seed and --ckpt_path, and all the available Trainer flags
    parser = add_run_args(parser)
    parser = Trainer.add_argparse_args(parser)

    # figure out which model and which data to use
    default = MODELS.first("mnist", "my_model")
    parser.add_argument("--model_name", choices=MODELS.names(), default=default, help="file in models/")
    parser.add_argument("--data_name", choices=DATA.names(), help="file in data/")
    chosen, _ = parser.parse_known_args(words)

    # let them add what they want; torch is not imported yet
    model = MODELS[chosen.model_name]
    parser = model.add_model_specific_args(parser)
    if not model.brings_data:
        data_name = chosen.data_name or model.data_name or DATA.first("digits", "my_data")
        parser.set_defaults(data_name=data_name)
        parser = DATA[data_name].add_data_specific_args(parser)
    return parser


parse_args = partial(sources.parse_args, build_parser)


def main(args: Namespace) -> dict[str, float | str]:
    """Run the command of the flags; return the table to print."""
    from train import evaluate, train  # torch, once the command line is found to be valid

    command: Any = train if args.command == "fit" else evaluate
    with open_run(args) as run:
        return run.summary(command(args, run))


if __name__ == "__main__":
    app.run(build_parser, main)
