"""Train, validate and test the model of --model_name on the data of --data_name.

A run takes 20 epochs, unless --max_epochs, --max_steps or --max_time says otherwise.
"""

import sys
from argparse import Namespace
from collections.abc import Sequence

from args import Parser, UsageError, count
from modules import add_args, brings_data, load, names
from trainer_args import add_argparse_args


def parse_args(argv: Sequence[str] | None = None) -> Namespace:
    """Return the flags of the program, the Trainer, the data and the model, from the command line or ``argv``."""
    parser = Parser(add_help=False)
    parser.add_argument("--seed", type=count, default=0, help="seed of weights, data order and all noise")

    # add all the available Trainer flags
    parser.set_defaults(default_root_dir="runs")
    add_argparse_args(parser)

    # figure out which model and which data to use
    models, data = names("models"), names("data")
    default_model = "mnist" if "mnist" in models else models[0]
    default_data = "digits" if "digits" in data else data[0]
    parser.add_argument("--model_name", choices=models, default=default_model, help="file in models/")
    parser.add_argument("--data_name", choices=data, default=default_data, help="file in data/")
    chosen, _ = parser.parse_known_args(argv)

    # let them add what they want
    model_class = load("models", chosen.model_name)
    own = add_args(model_class, parser)
    if not brings_data(model_class):
        own = add_args(load("data", chosen.data_name), own)
    return Parser(usage="%(prog)s [--flag value ...]", description=__doc__, parents=[own]).parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    try:
        args = parse_args(argv)
        from train import is_first_process, new_run_dir, train  # torch, only after the command line is found right

        with new_run_dir(args) as run_dir:
            metrics = train(args, run_dir)
    except UsageError as error:
        Parser().error(str(error))
    except OSError as error:  # a full disk, no network, no permission: of the machine, not of the code
        sys.exit(f"main.py: error: {error}")
    if is_first_process():
        print(*(f"{name:<28}{value:.4f}" for name, value in sorted(metrics.items())), sep="\n")
        print(f"{'run':<28}{run_dir}")


if __name__ == "__main__":
    main()
