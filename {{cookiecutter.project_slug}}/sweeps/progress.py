"""What a sweep shows: a bar with the best so far, a line for each trial that ends, and the result."""

from pathlib import Path

import optuna
from optuna.trial import FrozenTrial, TrialState
from tqdm import tqdm

from runs import BEST, CHECKPOINTS
from sweeps.claims import MINE, Claims
from sweeps.ranking import best, ranked
from sweeps.report import line_of, summary, write_report

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
        return f"trial {trial.number} failed ({drawn}): {trial.user_attrs.get('error', 'no reason')}"
    values = " ".join(f"{metric} {value:.4f}" for metric, value in zip(metrics, trial.values or [], strict=False))
    pruned = f" pruned after {len(trial.intermediate_values)}" if trial.state == TrialState.PRUNED else ""
    return f"trial {trial.number}{pruned}: {values} ({drawn})"


def print_result(study: optuna.Study, metrics: tuple[str, ...], directory: Path) -> None:
    """Print the best trials as a table, what repeats the best one, and where the report is, which is written."""
    page = write_report(study, metrics, directory)
    trials = ranked(study)[:SHOWN]
    names = list(dict.fromkeys(name for trial in trials for name in trial.params))
    rows = [["trial", *metrics, *names]]
    for trial in trials:
        drawn = [trial.params.get(name, "") for name in names]
        cells = [f"{value:.4g}" if isinstance(value, float) else str(value) for value in drawn]
        rows.append([str(trial.number), *(f"{value:.4f}" for value in trial.values), *cells])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows if trials else []:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    print(summary(study))
    for trial in best(study):
        values = ", ".join(f"{metric} {value:.4f}" for metric, value in zip(metrics, trial.values, strict=True))
        print(f"\n{'best' if len(metrics) == 1 else 'on the front'}: trial {trial.number}, {values}")
        print(line_of(trial))
        checkpoint = Path(trial.user_attrs.get(MINE, {}).get("run", ""), CHECKPOINTS, BEST)
        if checkpoint.exists():
            print(checkpoint)
    print(f"\nreport {page}")
