"""What a multirun came to: a table of its jobs, printed and as CSV, and a picture."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from harness.runs.files import whole_file
from harness.sweeps.hydra.errors import errors_in_one_line
from harness.sweeps.hydra.flags import words_of_job
from harness.sweeps.hydra.notes import Job, read_jobs, require_free
from harness.sweeps.hydra.planned import require_all_free

TABLE, PICTURE = "jobs.csv", "jobs.png"
SHOWN = 20  # jobs in the table that is printed
DRAWN = 10  # curves of a metric


class Remember(Callback):
    """Checks the output directories before Hydra writes there, and keeps that of a multirun for the final table."""

    directory: ClassVar[Path | None] = None

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Exit if the directory of a job is not its own: Hydra would write into it."""
        with errors_in_one_line():  # of any other error in a callback Hydra makes a warning
            HydraConfig.instance().set_config(config)  # for what is written ${hydra:...}
            require_free(Path(config.hydra.run.dir), words_of_job(config, config.hydra))

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Exit if the directory of one of the jobs is not its own."""
        with errors_in_one_line():
            require_all_free(config)
        Remember.directory = Path(config.hydra.sweep.dir)


def show_table(directory: Path) -> str:
    """Write jobs.csv and jobs.png, and print the best of them.

    Returns:
        How many jobs failed, and where it stands why; nothing if none did.
    """
    jobs = read_jobs(directory)
    if not jobs:
        return "no job was begun"
    with whole_file(directory / TABLE) as file:
        file.write(as_csv(jobs).encode())
    complete = [job for job in jobs if not job.error]
    if complete:
        draw(complete, directory / PICTURE)
    rows = as_rows(jobs)[: SHOWN + 1]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    if complete:
        print(f"\nbest: job {complete[0].name}\n{complete[0].command}")
    print(f"\ntable {directory / TABLE}")
    failed = len(jobs) - len(complete)
    return f"{failed} of {len(jobs)} jobs failed: {directory / TABLE} says why" if failed else ""


def as_rows(jobs: Sequence[Job]) -> list[list[str]]:
    """Return the table that is printed: name, monitored metrics, what differs between the jobs, error."""
    metrics = list(dict.fromkeys(job.note.metric for job in jobs if job.note.metric and not job.error))
    names = [name for name in overridden(jobs) if len({job.overrides.get(name) for job in jobs}) > 1]
    has_errors = any(job.error for job in jobs)
    rows = [["job", *metrics, *names, *(["error"] if has_errors else [])]]
    for job in jobs:
        own = {job.note.metric: job.metrics.get(job.note.metric or "")}
        values = [format(own[metric], ".4f") if own.get(metric) is not None else "" for metric in metrics]
        drawn = [job.overrides.get(name, "") for name in names]
        rows.append([job.name, *values, *drawn, *([job.error] if has_errors else [])])
    return rows


def as_csv(jobs: Sequence[Job]) -> str:
    """Return all jobs as CSV: name, state, every metric, overrides, seconds, error, the line that repeats the run."""
    metrics = list(dict.fromkeys(job.note.metric for job in jobs if job.note.metric))
    metrics += sorted({name for job in jobs for name in job.metrics} - set(metrics))
    names = overridden(jobs)
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["job", "state", *metrics, *names, "seconds", "error", "command"])
    for job in jobs:
        values = [repr(job.metrics[name]) if name in job.metrics else "" for name in metrics]
        drawn = [job.overrides.get(name, "") for name in names]
        seconds = "" if job.note.seconds is None else f"{job.note.seconds:.1f}"
        state = "failed" if job.error else "complete"
        writer.writerow([job.name, state, *values, *drawn, seconds, job.error, job.command])
    return text.getvalue()


def overridden(jobs: Sequence[Job]) -> list[str]:
    """Return the names of all overrides."""
    return list(dict.fromkeys(name for job in jobs for name in job.overrides))


def draw(jobs: Sequence[Job], path: Path) -> None:
    """Draw, for each monitored metric, how it went in the best jobs, and what it came to in all."""
    import matplotlib

    matplotlib.use("Agg")  # no window
    from matplotlib import pyplot

    metrics = [metric for metric in dict.fromkeys(job.note.metric for job in jobs) if metric is not None]
    if not metrics:
        return
    height = 4 + len(jobs) / 6
    figure, axes = pyplot.subplots(len(metrics), 2, figsize=(14, height * len(metrics)), squeeze=False)
    for (left, right), metric in zip(axes, metrics, strict=True):
        own = [job for job in jobs if job.note.metric == metric and metric in job.metrics]
        for job in own[:DRAWN]:
            steps, values = curve(job, metric)
            left.plot(steps, values, marker=".", label=job.name)
        left.set(xlabel="step", ylabel=metric)
        if own:
            left.legend(title="job")
        labels = [f"{job.name}: {' '.join(f'{name}={value}' for name, value in job.overrides.items())}" for job in own]
        right.barh(range(len(own)), [job.metrics[metric] for job in own], tick_label=[label[:60] for label in labels])
        right.invert_yaxis()
        right.set_xlabel(metric)
    figure.tight_layout()
    with whole_file(path) as file:
        figure.savefig(file, format="png", dpi=120)
    pyplot.close(figure)


def curve(job: Job, metric: str) -> tuple[list[float], list[float]]:
    """Return the steps at which a run has logged a metric, and its values; nothing without ``--logger csv``."""
    log = job.run_dir / "metrics.csv"
    if not log.exists():
        return [], []
    with log.open(newline="") as lines:
        rows = [row for row in csv.DictReader(lines) if row.get(metric)]
    return [float(row["step"]) for row in rows], [float(row[metric]) for row in rows]
