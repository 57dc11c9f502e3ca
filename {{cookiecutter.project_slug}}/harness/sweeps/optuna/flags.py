"""The flags of a sweep, beside those of main.py."""

from argparse import ArgumentParser, ArgumentTypeError

from harness.flags import positive_int, yes_no

DIRECTIONS = ("minimize", "maximize")
SAMPLERS = ("tpe", "random", "grid", "cmaes", "gp", "qmc")
PRUNERS = ("median", "hyperband", "successive_halving", "none")
N_TRIALS = 20
TESTS = "test_after_fit"  # flag of main.py with another meaning in a sweep


def add_sweep_args(parser: ArgumentParser) -> None:
    """Add the flags of a sweep."""
    group = parser.add_argument_group("sweep")
    group.add_argument(
        "--n_trials",
        type=positive_int,
        metavar="N",
        help=f"trials in all, those of earlier starts included (default: {N_TRIALS}; of a grid all)",
    )
    group.add_argument(
        "--search",
        nargs="+",
        action="extend",
        metavar="NAME=VALUES",
        help="search these values: NAME=LOW..HIGH, LOW..HIGH:log, LOW..HIGH:STEP or VALUE,VALUE; names that the model "
        "searches, too, are searched so",
    )
    group.add_argument(
        "--search_only", type=yes_no, nargs="?", const=True, default=False, help="search nothing but what --search says"
    )
    group.add_argument(
        "--direction",
        type=directions,
        metavar="minimize|maximize",
        help="of --monitor, or of several METRIC,METRIC one each; default: what the model says",
    )
    group.add_argument("--sampler", choices=SAMPLERS, default="tpe", help="what chooses values")
    group.add_argument(
        "--pruner", choices=PRUNERS, help="what stops trials that do badly (default: median; with several metrics none)"
    )
    group.add_argument("--workers", type=positive_int, default=1, metavar="N", help="processes that run trials")
    group.add_argument(
        "--storage",
        metavar="URL",
        help="where the study is kept: postgresql://..., sqlite:///FILE, journal:FILE or grpc://HOST:PORT; the same "
        "command on other machines joins in (default: a file in the directory of the sweep)",
    )
    group.add_argument(
        "--study_name",
        type=study_name,
        metavar="NAME",
        help="name of a new study, or of an existing one, whose flags need not be given (default: made from the flags)",
    )
    group.add_argument(
        "--keep_top", type=positive_int, default=3, metavar="K", help="trials that keep their checkpoints: the best K"
    )
    group.add_argument(
        "--max_failures", type=positive_int, default=5, metavar="N", help="stop when N trials in a row have failed"
    )
    group.add_argument(
        "--report",
        type=yes_no,
        nargs="?",
        const=True,
        default=False,
        help="write the report of this sweep, running or finished, and run no trial",
    )


def leave_test_to_the_end(parser: ArgumentParser) -> None:
    """Change the default of ``--test_after_fit`` to no, and its help."""
    parser.set_defaults(**{TESTS: False})
    action = next(each for each in parser._actions if each.dest == TESTS)
    action.help = "test of every trial after its fit; without it, the best trial is tested once, after all trials"


def directions(text: str) -> tuple[str, ...]:
    """Return the directions in ``text``: one for each metric."""
    found = tuple(text.split(","))
    if not set(found) <= set(DIRECTIONS):
        raise ArgumentTypeError(f"{text!r} is neither minimize nor maximize, nor such for each metric")
    return found


def study_name(text: str) -> str:
    """Return ``text`` if it can name a study and its directory."""
    if not text or text.startswith(".") or any(sign in text for sign in '/\\:*?"<>|\n'):
        raise ArgumentTypeError(f"{text!r} cannot be the name of a directory")
    return text
