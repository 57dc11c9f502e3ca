"""What a sweep shows: a bar with the best so far, a line for each trial that ends, and the result."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from shutil import get_terminal_size
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState
from tqdm import tqdm

from harness.runs.run import BEST, CHECKPOINTS
from harness.sweeps.optuna.claims import Claims, owner_of
from harness.sweeps.optuna.ranking import best, ranked
from harness.sweeps.optuna.records import metric_names, metrics_of, tests_of
from harness.sweeps.optuna.report import error_of, line_of, sampling_lines, summary, write_report

SHOWN = 10  # trials of the table


class Progress:
    """Shows how far a sweep has got.

    Args:
        claims: knows the trials.
    """

    def __init__(self, claims: Claims) -> None:
        """Begin with the trials that are there."""
        self.claims = claims
        self.seen = set(claims.earlier)
        tqdm.monitor_interval = 0  # no thread beside
        self.bar = tqdm(total=claims.n_trials, initial=len(self.seen), unit="trial", disable=None)

    def show(self) -> None:
        """Show what is new."""
        for trial in self.claims.trials():
            if trial.state.is_finished() and trial.number not in self.seen:
                self.seen.add(trial.number)
                tqdm.write(described(trial, self.claims.sweep.metrics))
                self.bar.update()
        if found := best(self.claims.study):
            values = ", ".join(f"{value:.4g}" for value in found[0].values)
            self.bar.set_postfix_str(f"best {values}, trial {found[0].number}", refresh=False)

    def close(self) -> None:
        """Show the rest."""
        self.show()
        self.bar.close()


def described(trial: FrozenTrial, metrics: tuple[str, ...]) -> str:
    """Return a line on a trial that has ended."""
    drawn = " ".join(
        f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value}" for name, value in trial.params.items()
    )
    if trial.state == TrialState.FAIL:
        return f"trial {trial.number} failed ({drawn}): {error_of(trial)}"
    values = " ".join(f"{metric} {value:.4f}" for metric, value in zip(metrics, trial.values or [], strict=False))
    pruned = f" pruned after {len(trial.intermediate_values)}" if trial.state == TrialState.PRUNED else ""
    return f"trial {trial.number}{pruned}: {values} ({drawn})"


def print_result(study: optuna.Study, directory: Path) -> None:
    """Print the best trials as a table, what repeats the best one, and where the report is, which is written."""
    page = write_report(study, directory)
    metrics, tests = metric_names(study), tests_of(study)
    for row in columns_that_fit(ranked(study)[:SHOWN], metrics, tests):
        print(row.rstrip())
    print(summary(study))
    for line in sampling_lines(study)[1:]:
        print(line)
    for trial in best(study):
        values = ", ".join(f"{metric} {value:.4f}" for metric, value in zip(metrics, trial.values, strict=True))
        print(f"\n{'best' if len(metrics) == 1 else 'on the front'}: trial {trial.number}, {values}")
        others = {name: value for name, value in metrics_of(trial, tests).items() if name not in metrics}
        for name, value in others.items():
            print(f"{name:<28}{value:.4f}")
        if line := line_of(trial):
            print(line)
        checkpoint = Path(owner_of(trial).get("run", ""), CHECKPOINTS, BEST)
        if checkpoint.exists():
            print(checkpoint)
    print(f"\nreport {page}")


def columns_that_fit(
    trials: Sequence[FrozenTrial], metrics: Sequence[str], tests: Mapping[int, Mapping[str, Any]]
) -> list[str]:
    """Return the lines of a table of trials: objectives, drawn values, and as many other metrics as the screen fits.

    Args:
        trials: trials of the rows.
        metrics: names of the objectives.
        tests: from ``tests_of``.
    """
    drawn = list(dict.fromkeys(name for trial in trials for name in trial.params))
    found = {trial.number: metrics_of(trial, tests) for trial in trials}
    names = [name for each in found.values() for name in each]
    others = sorted(set(names) - set(metrics), key=lambda name: (-names.count(name), name))
    columns = [["trial", *(str(trial.number) for trial in trials)]]
    columns += [[metric, *(f"{trial.values[number]:.4f}" for trial in trials)] for number, metric in enumerate(metrics)]
    columns += [[name, *(text_of(trial.params.get(name, "")) for trial in trials)] for name in drawn]
    more = [[name, *(text_of(found[trial.number].get(name, "")) for trial in trials)] for name in others]
    left = get_terminal_size().columns - sum(width_of(column) for column in columns)
    for column in more:
        left -= width_of(column)
        if left >= 0:
            columns.append(column)
    padded = [[cell.ljust(width_of(column)) for cell in column] for column in columns if trials]
    return ["".join(row) for row in zip(*padded, strict=True)]


def width_of(column: Sequence[str]) -> int:
    """Return the width of a column, including the gap after it."""
    return max(map(len, column)) + 2


def text_of(value: Any) -> str:
    """Return a value with at most four digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
