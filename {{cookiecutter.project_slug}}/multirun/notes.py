"""What the jobs of a multirun leave in their directories, and what can be read from it."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import yaml

from files import whole_file
from runs import METRICS_FILE

HYDRA = ".hydra"  # where Hydra writes the config of a job
COMMAND_FILE = "command.txt"  # the line that repeats its run
NOTE_FILE = "job.json"  # what came of it


@dataclass
class Note:
    """What a job leaves beside its run.

    Args:
        metric: what the model monitors.
        mode: whether the smaller ("min") or the larger ("max") is better.
        error: why it failed, in one line.
        seconds: that it took.
    """

    metric: str | None = None
    mode: str = "min"
    error: str = ""
    seconds: float | None = None

    def write(self, run_dir: Path) -> None:
        """Write it."""
        with whole_file(run_dir / NOTE_FILE) as file:
            file.write(json.dumps(asdict(self), indent=2).encode() + b"\n")


@dataclass
class Job:
    """A job of a multirun.

    Args:
        run_dir: its directory.
        name: the same below that of the multirun.
        overrides: what is its own, by name.
        note: what it has left.
        command: the line that repeats its run.
        metrics: what its run came to.
    """

    run_dir: Path
    name: str
    overrides: dict[str, str]
    note: Note
    command: str
    metrics: dict[str, float] = field(default_factory=dict)

    @property
    def error(self) -> str:
        """Why it has no metrics of its own; nothing if it has."""
        return self.note.error or ("" if self.metrics else "stopped or killed before it could say why")


def foreign(run_dir: Path) -> list[str]:
    """Return the names in a directory that Hydra does not put into it, nor a job that was refused."""
    names = sorted(path.name for path in run_dir.iterdir() if path.suffix != ".log")
    return [name for name in names if name not in (HYDRA, NOTE_FILE)]


def read_jobs(directory: Path) -> list[Job]:
    """Return the jobs of a multirun, the best first; those that failed last.

    Where models monitor different metrics, those of one are together.
    """
    jobs = [read_job(path.parent, directory) for path in directory.rglob(HYDRA) if is_of(path, directory)]
    jobs.sort(key=lambda job: (len(job.name), job.name))  # 9 before 10
    metrics = list(dict.fromkeys(job.note.metric for job in jobs if not job.error))

    def rank(job: Job) -> tuple[float, ...]:
        if job.error:
            return (len(metrics),)
        value = job.metrics.get(job.note.metric or "", float("nan"))
        sign = 1 if job.note.mode == "min" else -1
        return (metrics.index(job.note.metric), float(value != value), sign * value)

    return sorted(jobs, key=rank)


def is_of(hydra: Path, directory: Path) -> bool:
    """Return whether Hydra's files are of a job of the multirun in a directory, and not of another run below it."""
    config = hydra / "hydra.yaml"
    between = hydra.relative_to(directory).parents[:-1]
    is_of_another = any((directory / path / "multirun.yaml").exists() for path in between)
    return not is_of_another and config.exists() and "mode: MULTIRUN" in config.read_text(encoding="utf-8")


def read_job(run_dir: Path, directory: Path) -> Job:
    """Return what a job has left in its directory, below that of its multirun."""
    overrides = yaml.safe_load((run_dir / HYDRA / "overrides.yaml").read_text(encoding="utf-8")) or []
    note, command, metrics = (run_dir / name for name in (NOTE_FILE, COMMAND_FILE, METRICS_FILE))
    return Job(
        run_dir,
        run_dir.relative_to(directory).as_posix(),
        dict(override.split("=", 1) for override in overrides),
        Note(**json.loads(note.read_text())) if note.exists() else Note(),
        command.read_text(encoding="utf-8").strip() if command.exists() else "",
        json.loads(metrics.read_text()) if metrics.exists() else {},
    )
