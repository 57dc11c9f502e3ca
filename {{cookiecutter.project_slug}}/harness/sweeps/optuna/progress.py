"""The terminal output of a sweep: what it searches, a line for each trial, and the result."""

from collections.abc import Sequence
from pathlib import Path
from shutil import get_terminal_size
from time import monotonic

import optuna
from optuna.trial import TrialState
from tqdm import tqdm

from harness.sweeps.optuna.best import best, ranked
from harness.sweeps.optuna.claims import Claims
from harness.sweeps.optuna.definition import shown
from harness.sweeps.optuna.records import best_checkpoint, metric_names, record_n_trials, row_of, sampling_of, tests_of
from harness.sweeps.optuna.report import sampling_lines, summary, write_report
from harness.sweeps.optuna.storages import without_password
from harness.sweeps.optuna.sweep import NOT_KEPT, Sweep
from harness.sweeps.results import as_lines, failure, rounded

SHOWN = 10  # trials of the final table
INTERVAL = 5.0  # seconds between two lines on a running trial


def introduce(claims: Claims, url: str) -> None:
    """Print what the sweep searches, where it is, and how to stop it."""
    sweep, trials = claims.sweep, claims.trials()
    record_n_trials(claims.study, sweep.flags.n_trials)
    goals = ", ".join(
        f"{direction} {metric}" for direction, metric in zip(sweep.directions, sweep.metrics, strict=True)
    )
    given = {name: sweep.given[name] for name in sorted(sweep.given.keys() - NOT_KEPT - {"search"})}
    finished = sum(trial.state.is_finished() for trial in trials)
    lines = {
        "study": f"{sweep.name}, {f'{finished} of {claims.n_trials} trials are finished' if trials else 'new'}",
        "directory": str(sweep.directory),
        "storage": without_password(url),
        "search": f"{goals} over {space_text(sweep)}",
        "fixed": " ".join(f"{name}={shown(value)}" for name, value in given.items()),
        "method": f"sampler {sweep.flags.sampler}, pruner {sweep.pruner}, {claims.n_trials} trials, "
        f"workers: {sweep.flags.workers}",
        "stop": "Ctrl-C; the same command resumes",
    }
    for name, text in lines.items():
        if text:
            print(f"{name:<11}{text}")
    print(flush=True)


def space_text(sweep: Sweep) -> str:
    """Return the search space in one line."""
    return ", ".join(f"{name} {' or '.join(texts)}" for name, texts in sweep.space.texts.items())


class Progress:
    """Shows the trials of a sweep while it runs.

    Args:
        claims: knows the trials.
    """

    def __init__(self, claims: Claims) -> None:
        self.claims = claims
        self.seen = set(claims.earlier)
        self.shown: dict[str, float] = {}  # when a line on a running trial was shown last
        tqdm.monitor_interval = 0  # no thread beside
        self.bar = tqdm(total=claims.n_trials, initial=len(self.seen), unit="trial", disable=None)

    def show(self, lines: Sequence[str] = ()) -> None:
        """Show new reports of running trials, and trials that have ended.

        Args:
            lines: new lines in the logs of the workers.
        """
        latest = {line.split()[0]: line for line in lines if line.startswith("#") and " " in line}
        for number, line in latest.items():
            if monotonic() - self.shown.setdefault(number, monotonic()) > INTERVAL:
                self.shown[number] = monotonic()
                tqdm.write(line)
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


def described(trial: optuna.trial.FrozenTrial, metrics: tuple[str, ...]) -> str:
    """Return a line on a trial that has ended."""
    row = row_of(trial, metrics, {})
    if trial.state == TrialState.FAIL:
        return failure(row, "trial")
    drawn = " ".join(f"{name}={rounded(value)}" for name, value in row.drawn.items())
    values = " ".join(f"{name} {value:.4f}" for name, value in row.objectives.items() if value is not None)
    number = len(trial.intermediate_values)
    pruned = f" pruned after {number} report{'s' * (number != 1)}" if trial.state == TrialState.PRUNED else ""
    return f"trial {row.name}{pruned}: {values} ({drawn})"


def print_result(study: optuna.Study, directory: Path) -> None:
    """Print the best trials as a table, the command that repeats the best one, and the path of the report."""
    page = write_report(study, directory)
    metrics, tests = metric_names(study), tests_of(study)
    rows = [row_of(trial, metrics, tests) for trial in ranked(study)[:SHOWN]]
    for line in as_lines(rows, "trial", get_terminal_size().columns):
        print(line)
    print(summary(study))
    if len(sampling_of(study)) > 1:
        print("\n".join(sampling_lines(study)))
    for trial in best(study):
        row = row_of(trial, metrics, tests)
        values = ", ".join(f"{metric} {value:.4f}" for metric, value in row.objectives.items())
        print(f"\n{'best' if len(metrics) == 1 else 'on the front'}: trial {row.name}, {values}")
        for name, value in row.metrics.items():
            print(f"{name:<28}{value:.4f}")
        if checkpoint := best_checkpoint(row):
            print(f"{'checkpoint':<28}{checkpoint}")
        if row.command:
            print(row.command)
    print(f"\nreport {page}")
