# PYTHON_ARGCOMPLETE_OK
"""Search hyperparameters with Optuna: all flags of main.py, and those of a sweep.

The search space is search_space of the model, and --search. A flag that is given is not searched. The same command
resumes a sweep that was stopped, and joins it from other machines with the same --storage.
"""

from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path

import main
from harness.sweeps.optuna import app
from harness.sweeps.optuna.flags import add_sweep_args
from harness.sweeps.optuna.objective import Trial


def build_parser(words: list[str]) -> ArgumentParser:
    """Return the parser of main.py with the flags of a sweep."""
    parser = add_sweep_args(main.build_parser(words))
    parser.usage, parser.description = "%(prog)s [--n_trials N] [--search NAME=VALUES ...] [--flag value ...]", __doc__
    return parser


def objective(trial: Trial) -> float | Sequence[float]:
    """Return the value of a trial: here the metrics of --monitor at the end of a run. Yours: change it.

    ``trial.args`` are all flags, with the values to try. A run reports to the pruner, and is resumed after a kill.
    """
    from train import train

    metrics = trial.run(train)
    return trial.values(metrics)


def test(args: Namespace, run_dir: Path) -> Mapping[str, float]:
    """Test the best trial."""
    from train import evaluate

    return evaluate(args, run_dir)


if __name__ == "__main__":
    app.run(build_parser, objective, test)
