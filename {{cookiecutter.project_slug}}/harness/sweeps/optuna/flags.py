"""The flags of a sweep, beside those of main.py."""

from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable, Collection
from functools import cache
from typing import TypeVar

from harness.flags import positive_int, yes_no

DIRECTIONS = ("minimize", "maximize")
# Names of --sampler and --pruner, and Optuna's classes. To add one, add a line: see docs/sweeps.md.
SAMPLERS = {
    "tpe": "TPESampler",
    "random": "RandomSampler",
    "grid": "RandomSampler",  # trial N is point N of the grid, so it has no value to sample
    "cmaes": "CmaEsSampler",
    "gp": "GPSampler",
    "qmc": "QMCSampler",
}
PRUNERS = {
    "median": "MedianPruner",
    "hyperband": "HyperbandPruner",
    "successive_halving": "SuccessiveHalvingPruner",
    "none": "NopPruner",
}
N_TRIALS = 20
TESTS = "test_after_fit"  # flag of main.py with another default in a sweep

AnyParser = TypeVar("AnyParser", bound=ArgumentParser)


def add_sweep_args(parser: AnyParser) -> AnyParser:
    """Add the flags of a sweep, and return the parser."""
    group = parser.add_argument_group("sweep")
    group.add_argument(
        "--n_trials",
        type=positive_int,
        metavar="N",
        help=f"total number of trials, earlier starts included (default: {N_TRIALS}; for a grid, all points)",
    )
    group.add_argument(
        "--search",
        nargs="+",
        action="extend",
        metavar="NAME=VALUES",
        help="values to search: NAME=LOW..HIGH, LOW..HIGH:log, LOW..HIGH:STEP or VALUE,VALUE; overrides the model's "
        "own range",
    )
    group.add_argument(
        "--search_only", type=yes_no, nargs="?", const=True, default=False, help="search no flags but those of --search"
    )
    group.add_argument(
        "--direction",
        type=directions,
        metavar="minimize|maximize",
        help="which way each --monitor metric improves, separated by commas (default: the model's)",
    )
    sampler = group.add_argument(
        "--sampler",
        type=choice_of(SAMPLERS, "samplers"),
        default="tpe",
        metavar="NAME[:OPTION=VALUE,...]",
        help=f"method that chooses values: {', '.join(SAMPLERS)}, with options of Optuna, such as "
        "tpe:n_startup_trials=20",
    )
    pruner = group.add_argument(
        "--pruner",
        type=choice_of(PRUNERS, "pruners"),
        metavar="NAME[:OPTION=VALUE,...]",
        help=f"method that stops bad trials: {', '.join(PRUNERS)}, with options of Optuna, such as median:warmup=3 "
        "(default: median after a third of --max_epochs; with several metrics none)",
    )
    for action, words in ((sampler, SAMPLERS), (pruner, PRUNERS)):
        action.words = tuple(words)  # type: ignore[attr-defined]  # for completion
    group.add_argument("--workers", type=positive_int, default=1, metavar="N", help="number of parallel processes")
    group.add_argument(
        "--storage",
        metavar="URL",
        help="database of the study: postgresql://..., sqlite:///FILE, journal:FILE or grpc://HOST:PORT; the same "
        "command on other machines joins the sweep (default: a file in the directory of the sweep)",
    )
    group.add_argument(
        "--study_name",
        type=study_name,
        metavar="NAME",
        help="name of a new study, or of an existing one, whose flags need not be given (default: made from the flags)",
    )
    group.add_argument(
        "--keep_top", type=positive_int, default=3, metavar="K", help="number of best trials that keep checkpoints"
    )
    group.add_argument(
        "--max_failures", type=positive_int, default=5, metavar="N", help="failures in a row that stop the sweep"
    )
    group.add_argument(
        "--report",
        type=yes_no,
        nargs="?",
        const=True,
        default=False,
        help="write the report of this sweep, running or finished, and run no trial",
    )
    change_test_flag(parser)
    return parser


def change_test_flag(parser: ArgumentParser) -> None:
    """Change the default of ``--test_after_fit`` to no, and its help."""
    action = next((each for each in parser._actions if each.dest == TESTS), None)
    if action is not None:
        action.default = False
        action.help = "test every trial after its fit; without it, only the best trial is tested, after all trials"


@cache
def sweep_flags() -> list[str]:
    """Return the names of the flags of a sweep."""
    return [action.dest for action in add_sweep_args(ArgumentParser(add_help=False))._actions]


def choice_of(names: Collection[str], kind: str) -> Callable[[str], str]:
    """Return the type of a flag with a name and options, such as "median:n_warmup_steps=3".

    Args:
        names: the names.
        kind: "samplers" or "pruners".
    """

    def choice(text: str) -> str:
        """Return ``text`` with the full names of its options."""
        name, colon, _ = text.partition(":")
        if name not in names:
            raise ArgumentTypeError(f"{name!r} is not one of {', '.join(names)}")
        if not colon:
            return text
        from harness.sweeps.optuna.sampling import full_text  # optuna, for those who give options

        return full_text(text, kind)

    return choice


def directions(text: str) -> tuple[str, ...]:
    """Return the directions in ``text``: one for each metric."""
    found = tuple(text.split(","))
    if not set(found) <= set(DIRECTIONS):
        raise ArgumentTypeError(f"{text!r} is not minimize or maximize, one for each metric")
    return found


def study_name(text: str) -> str:
    """Return ``text`` if it can name a study and its directory."""
    if not text or text.startswith(".") or any(sign in text for sign in '/\\:*?"<>|\n'):
        raise ArgumentTypeError(f"{text!r} cannot be the name of a directory")
    return text
