"""The outcome of a multirun: a row for each job, printed, as CSV and as a picture."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import nan
from pathlib import Path
from shutil import get_terminal_size

import yaml

from harness.files import whole_file
from harness.history.curves import read_curves
from harness.history.entries import read_entry
from harness.runs.run import METRICS_FILE
from harness.sweeps.hydra.directories import HYDRA, NOTE_FILE
from harness.sweeps.results import Row, as_csv, as_lines, failure

TABLE, PICTURE = "jobs.csv", "jobs.png"
SHOWN = 20  # jobs in the printed table
DRAWN = 10  # curves of a metric


@dataclass
class Note:
    """Facts about a job, in a file beside its run.

    Args:
        metric: metric that the model monitors.
        mode: "min" or "max".
        error: reason for a failure.
        seconds: duration.
        command: command line that repeats the run.
        overrides: of the job. Hydra's own list may be of a later job, which was refused in the same directory.
    """

    metric: str = ""
    mode: str = "min"
    error: str = ""
    seconds: float | None = None
    command: str = ""
    overrides: list[str] | None = None

    def write(self, run_dir: Path) -> None:
        """Write the file."""
        with whole_file(run_dir / NOTE_FILE) as file:
            file.write(json.dumps(asdict(self), indent=2).encode() + b"\n")


def show_table(directory: Path) -> str:
    """Write the table and the picture of a multirun, and print the best jobs.

    Returns:
        A message if jobs have failed, or if none was started.
    """
    rows = read_rows(directory)
    if not rows:
        return "no job was started"
    with whole_file(directory / TABLE) as file:
        file.write(as_csv(rows, "job").encode())
    complete = [row for row in rows if not row.error]
    draw(complete, directory / PICTURE)
    print("\n".join(as_lines(rows[:SHOWN], "job", get_terminal_size().columns)))
    if complete:
        print(f"\nbest: job {complete[0].name}, {complete[0].run_dir}\n{complete[0].command}")
    print(f"\ntable {directory / TABLE}")
    failed = rows[len(complete) :]
    print("\n".join(failure(row, "job") for row in failed[:SHOWN]), end="\n" * bool(failed))
    return f"{len(failed)} of {len(rows)} jobs failed: see {directory / TABLE}" if failed else ""


def read_rows(directory: Path) -> list[Row]:
    """Return the rows of a multirun, the best first and failed ones last; jobs with the same metric are together."""
    found = [path.parent for path in directory.rglob(HYDRA) if is_of(path, directory)]
    found.sort(key=lambda path: (len(path.name), path))  # 9 before 10
    jobs = [read_row(run_dir, directory) for run_dir in found]
    metrics = list(dict.fromkeys(note.metric for row, note in jobs if not row.error))

    def rank(job: tuple[Row, Note]) -> tuple[float, ...]:
        row, note = job
        if row.error:
            return (len(metrics),)
        value = row.objectives.get(note.metric)
        number = nan if value is None else value
        return (metrics.index(note.metric), float(number != number), number if note.mode == "min" else -number)

    return [row for row, _ in sorted(jobs, key=rank)]


def is_of(hydra: Path, directory: Path) -> bool:
    """Return whether Hydra's files belong to a job of the multirun in a directory, not to another run below it."""
    config = hydra / "hydra.yaml"
    between = hydra.relative_to(directory).parents[:-1]
    is_of_another = any((directory / path / "multirun.yaml").exists() for path in between)
    return not is_of_another and config.exists() and "mode: MULTIRUN" in config.read_text(encoding="utf-8")


def read_row(run_dir: Path, directory: Path) -> tuple[Row, Note]:
    """Return the row of a job in a directory below that of its multirun, and its note."""
    file, results = run_dir / NOTE_FILE, run_dir / METRICS_FILE
    note = Note(**json.loads(file.read_text())) if file.exists() else Note()
    metrics = json.loads(results.read_text()) if results.exists() else {}
    overrides = note.overrides
    if overrides is None:
        overrides = yaml.safe_load((run_dir / HYDRA / "overrides.yaml").read_text(encoding="utf-8")) or []
    error = note.error or ("" if metrics else "stopped or killed before it could say why")
    return Row(
        name=run_dir.relative_to(directory).as_posix(),
        state="failed" if error else "complete",
        objectives={note.metric: metrics.get(note.metric)} if note.metric and not error else {},
        drawn=dict(override.split("=", 1) for override in overrides),
        metrics={name: value for name, value in metrics.items() if name != note.metric},
        seconds=note.seconds,
        error=error,
        run_dir=run_dir,
        command=note.command,
    ), note


def draw(rows: Sequence[Row], path: Path) -> None:
    """Draw, for each monitored metric, its curves in the best jobs, and its value in all jobs."""
    metrics = list(dict.fromkeys(name for row in rows for name in row.objectives))
    if not metrics:
        return
    import matplotlib

    matplotlib.use("Agg")  # no window
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(len(metrics), 2, figsize=(14, (4 + len(rows) / 6) * len(metrics)), squeeze=False)
    for (left, right), metric in zip(axes, metrics, strict=True):
        own = [row for row in rows if row.objectives.get(metric) is not None]
        for row in own[:DRAWN]:
            left.plot(*curve(row, metric), marker=".", label=row.name)
        left.set(xlabel="step", ylabel=metric)
        if own:
            left.legend(title="job")
        labels = [f"{row.name}: {' '.join(f'{name}={value}' for name, value in row.drawn.items())}" for row in own]
        right.barh(range(len(own)), [row.objectives[metric] for row in own], tick_label=[text[:60] for text in labels])
        right.invert_yaxis()
        right.set_xlabel(metric)
    figure.tight_layout()
    with whole_file(path) as file:
        figure.savefig(file, format="png", dpi=120)
    pyplot.close(figure)


def curve(row: Row, metric: str) -> tuple[list[float], list[float]]:
    """Return the steps at which a run has logged a metric, and the values; none without ``logger=csv``."""
    if row.run_dir is None or not (row.run_dir / "metrics.csv").exists():
        return [], []
    points = read_curves(read_entry(row.run_dir, row.name), "step").get(metric, {})
    return list(points), list(points.values())
