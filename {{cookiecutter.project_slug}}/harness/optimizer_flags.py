"""Flags of an optimiser, apart from ``harness.optimizers``, since help must not import torch."""

from argparse import ArgumentParser, ArgumentTypeError, _ArgumentGroup

from harness.flags import count, positive_float

OPTIMIZERS = ("adam", "adamw", "sgd")
SCHEDULES = ("constant", "cosine", "linear")


def add_optimizer_args(
    parser: ArgumentParser | _ArgumentGroup, *, optimizer: str = "adam", learning_rate: float = 1e-3
) -> None:
    """Add the flags that ``harness.optimizers.build_optimizer`` reads.

    Args:
        parser: a parser or one of its groups.
        optimizer: default of ``--optimizer``: adam, adamw or sgd.
        learning_rate: default of ``--learning_rate``.
    """
    parser.add_argument("--optimizer", choices=OPTIMIZERS, default=optimizer, help="optimiser of torch")
    parser.add_argument("--learning_rate", type=positive_float, default=learning_rate, help="step size, after warm-up")
    parser.add_argument("--weight_decay", type=zero_or_more, default=0.0, help="decay of the weights")
    parser.add_argument("--momentum", type=zero_or_more, default=0.9, help="momentum of sgd")
    parser.add_argument("--lr_schedule", choices=SCHEDULES, default="constant", help="way of the step size to 0")
    parser.add_argument("--warmup_steps", type=count, default=0, help="steps in which the step size grows from 0")


def zero_or_more(text: str) -> float:
    """Return ``text`` as a number of at least 0."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < float("inf"):
        raise ArgumentTypeError(f"{text!r} is not a number of at least 0")
    return number
