"""How many trials a minute a sweep makes, beside what users would write; writes a section of docs/benchmarks.md.

    python benchmarks/sweeps.py [--rounds N] [--trials N] [--many N] [--server URL]

All make the same runs (same flags, another learning rate in each), in turns, on one CPU thread for each process. Then
a long sweep of tiny trials, and a long row of claims without trials, show whether a trial costs more the more there
are: in an SQLite file, and with --server in that database, too. Exit status 1: a goal is missed.
"""

import os
import subprocess
import sys
from argparse import ArgumentParser
from datetime import datetime
from pathlib import Path
from statistics import median
from time import perf_counter

import optuna
from project import REPORT, baked, machine, write_section
from sqlalchemy import create_engine, text

COMMANDS = {  # the script, which share of the trials it makes, flags of the sweep
    "a process for each trial": ("process.py", 4, []),
    "a plain loop, `study.optimize`, in one process": ("loop.py", 1, []),
    "`sweep_optuna.py`": ("sweep_optuna.py", 1, []),
    "`sweep_optuna.py --workers 2`": ("sweep_optuna.py", 1, ["--workers", "2"]),
}
GOALS = {"process": 4.0, "loop": 0.95, "two": 1.7, "early": 0.8, "claims": 0.8}  # the least ratios
FLAGS = ["--model_name=mnist", "--max_epochs=2", "--layer_1_dim=128", "--layer_2_dim=256", "--num_threads=1"]
SEARCH = ["--search", "learning_rate=1e-4..1e-1:log", "--pruner=none"]
TINY = ["--model_name=my_model", "--data_name=my_data", "--max_epochs=1", "--num_threads=1"]
LIMITS = [f"--limit_{stage}_batches=1" for stage in ("train", "val", "test")]
STRETCH = 100  # trials at the beginning and at the end that are compared
QUIET = ["--enable_progress_bar=no", "--enable_model_summary=no"]
PROCESS = f"""
import subprocess, sys
import json, optuna
from pathlib import Path

def objective(trial):
    learning_rate = trial.suggest_float("learning_rate", 1e-4, 1e-1, log=True)
    folder = Path(sys.argv[1], str(trial.number))
    words = [*{FLAGS + QUIET}, f"--learning_rate={{learning_rate}}", f"--default_root_dir={{folder}}"]
    subprocess.run([sys.executable, "main.py", *words], check=True, capture_output=True)
    return json.loads(next(folder.glob("*/metrics.json")).read_text())["val_loss"]

optuna.create_study(storage=f"sqlite:///{{sys.argv[1]}}/study.db").optimize(objective, n_trials=int(sys.argv[2]))
"""
LOOP = f"""
import sys
from pathlib import Path
import optuna
from main import parse_args
from train import train

def objective(trial):
    learning_rate = trial.suggest_float("learning_rate", 1e-4, 1e-1, log=True)
    args = parse_args([*{FLAGS + QUIET}, f"--learning_rate={{learning_rate}}"])
    return train(args, Path(sys.argv[1], str(trial.number)))["val_loss"]

optuna.create_study(storage=f"sqlite:///{{sys.argv[1]}}/study.db").optimize(objective, n_trials=int(sys.argv[2]))
"""
# Claims trials and finishes them without a run; prints the milliseconds of each.
CLAIMS = """
import sys
from time import perf_counter
import sweep_optuna
from optuna.trial import TrialState
from harness.sweeps.optuna.objective import Program
from harness.sweeps.optuna.program import open_claims, read_command_line
from harness.sweeps.optuna.study import storage_of

program = Program(sweep_optuna.build_parser, sweep_optuna.objective, sweep_optuna.test)
sweep = read_command_line(program, sys.argv[1:])
claims = open_claims(sweep, storage_of(sweep.flags, sweep.name))
for number in range(sweep.n_trials):
    start = perf_counter()
    claim = claims.claim()
    claims.finish(claim, TrialState.COMPLETE, [float(number)])
    print(1000 * (perf_counter() - start))
"""
TEXT = """
`python benchmarks/sweeps.py --rounds {rounds} --trials {trials}`: trials a minute, median of {rounds} and range, on
{machine}.
A trial is two epochs of `mnist` on the bundled digits with its validation, test and checkpoints; the study is an SQLite
file. "Whole command" counts everything from the command line to its end, imports and the report of
`sweep_optuna.py` included; "trials alone" the time from the first trial's beginning to the last one's end.

| how | whole command | trials alone |
|---|---|---|
{rows}

- Against a process for each trial: {process:.1f} times as many (whole commands; the goal is 4).
- Against the plain loop: {loop:.2f} (trials alone; the goal is 0.95).
- Two workers against one: {two:.2f} (trials alone; the goal is 1.7).
- In a sweep of {many} trials of one batch each, with the default sampler (TPE), the first {stretch} took {first:.0f} ms
  each, {early:.2f} of the {last:.0f} ms of the last {stretch} (the goal is 0.8; 1 would be a constant cost).
- To claim and to finish a trial, with random values and without a run (the goal is 0.8, the first beside the last):
{claimed}
"""


def measured(project: Path, folder: Path, argv: list[str], trials: int) -> tuple[float, float]:
    """Return the trials a minute of a command: all in all, and from the first one's beginning to the last one's end."""
    folder.mkdir(parents=True)
    start = perf_counter()
    result = subprocess.run(
        [sys.executable, *argv], cwd=project, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    whole = perf_counter() - start
    if result.returncode:
        sys.exit(result.stdout + result.stderr)
    begun, ended = times(folder, trials)
    return 60 * trials / whole, 60 * trials / (max(ended) - min(begun)).total_seconds()


def times(folder: Path, trials: int) -> tuple[list[datetime], list[datetime]]:
    """Return when the trials of a study began and when they were over; exit unless there are so many, all complete."""
    url = f"sqlite:///{next(folder.rglob('study.db'))}"
    with create_engine(url).connect() as connection:
        states = connection.execute(text("SELECT state FROM trials")).scalars().all()
    if states != ["COMPLETE"] * trials:
        sys.exit(f"{folder}: {states}")
    found = optuna.load_study(study_name=None, storage=url).get_trials()
    return (
        [trial.datetime_start for trial in found if trial.datetime_start],
        [trial.datetime_complete for trial in found if trial.datetime_complete],
    )


def milliseconds(project: Path, folder: Path, trials: int) -> tuple[float, float]:
    """Return what a tiny trial takes at the beginning of a long sweep, and at its end."""
    words = [*TINY, *LIMITS, *QUIET, *SEARCH, "--n_trials", str(trials), "--default_root_dir", str(folder)]
    measured(project, folder, ["sweep_optuna.py", *words], trials)
    ended = sorted(times(folder, trials)[1])
    stretches = ended[: STRETCH + 1], ended[-STRETCH - 1 :]
    first, last = (1000 * (each[-1] - each[0]).total_seconds() / (len(each) - 1) for each in stretches)
    return first, last


def claims(project: Path, folder: Path, trials: int, words: list[str]) -> tuple[float, float]:
    """Return the milliseconds of a claim at the beginning of a study, and at its end: medians."""
    flags = [*TINY, "--sampler=random", "--n_trials", str(trials), "--default_root_dir", str(folder), *words]
    result = subprocess.run([sys.executable, "-c", CLAIMS, *flags], cwd=project, capture_output=True, text=True)
    if result.returncode:
        sys.exit(result.stderr)
    taken = [float(line) for line in result.stdout.split()]
    return median(taken[:STRETCH]), median(taken[-STRETCH:])


def main() -> None:
    """Bake, measure, write."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--many", type=int, default=1000, help="trials of the long sweep")
    parser.add_argument("--server", metavar="URL", help="an empty database in which claims are measured, too")
    parser.add_argument("--report", type=Path, default=REPORT)
    args = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    taken: dict[str, list[tuple[float, float]]] = {}
    with baked("sweeps=optuna") as project:
        for name, script in (("process.py", PROCESS), ("loop.py", LOOP)):
            (project / name).write_text(script)
        for number in range(args.rounds):
            for place, (name, (script, share, more)) in enumerate(COMMANDS.items()):
                count = max(args.trials // share, 2)
                folder = project / "measured" / f"{number}-{place}"
                words = [str(folder), str(count)]
                if script == "sweep_optuna.py":
                    words = [*FLAGS, *SEARCH, *more, "--n_trials", str(count), "--default_root_dir", str(folder)]
                taken.setdefault(name, []).append(measured(project, folder, [script, *words], count))
        first, last = milliseconds(project, project / "measured" / "many", args.many)
        storages = {"an SQLite file": []} | ({"the server": ["--storage", args.server]} if args.server else {})
        claimed = {
            name: claims(project, project / "measured" / f"claims-{number}", args.many, words)
            for number, (name, words) in enumerate(storages.items())
        }
    rows = []
    for name, rates in taken.items():
        cells = [
            f"{median(column):.0f} ({min(column):.0f} to {max(column):.0f})" for column in zip(*rates, strict=True)
        ]
        rows.append(f"| {name} | {' | '.join(cells)} |")
    (process, _), (_, loop), (own, one), (_, two) = (
        [median(column) for column in zip(*rates, strict=True)] for rates in taken.values()
    )
    ratios = {"process": own / process, "loop": one / loop, "two": two / one, "early": first / last}
    ratios["claims"] = min(early / late for early, late in claimed.values())
    lines = [
        f"  - {name}: {early:.1f} ms in the first {STRETCH}, {late:.1f} ms in the last {STRETCH} of {args.many:,}"
        for name, (early, late) in claimed.items()
    ]
    on = machine("pytorch-lightning", "torch", "optuna")
    numbers = {"rounds": args.rounds, "trials": args.trials, "many": f"{args.many:,}", "stretch": STRETCH}
    section = TEXT.format(
        machine=on, rows="\n".join(rows), first=first, last=last, claimed="\n".join(lines), **numbers, **ratios
    )
    write_section(args.report, "Sweeps", section)
    missed = [f"{name} {ratios[name]:.2f}, not {goal}" for name, goal in GOALS.items() if ratios[name] < goal]
    sys.exit(f"a goal is missed: {', '.join(missed)}" if missed else 0)


if __name__ == "__main__":
    main()
