"""What the jobs of a multirun leave in their directories, and what can be read from it."""

import json
import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import yaml

from harness.cli.words import shell_line
from harness.errors import UsageError
from harness.runs.files import whole_file
from harness.runs.run import METRICS_FILE

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
        overrides: its own. Hydra's list may be that of a later job, which was refused in the same directory.
    """

    metric: str | None = None
    mode: str = "min"
    error: str = ""
    seconds: float | None = None
    overrides: list[str] | None = None

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


class OccupiedError(UsageError):
    """The directory of a job belongs to another run, or holds other files."""


def require_free(run_dir: Path, words: Sequence[str]) -> None:
    """Raise OccupiedError if a directory is neither new nor that of the run with these words."""
    file = run_dir / COMMAND_FILE
    if not file.exists():
        if run_dir.is_dir() and (others := foreign(run_dir)):
            raise OccupiedError(f"{run_dir} is not for this job alone: it holds {others[0]}; name another directory")
    elif (line := file.read_text(encoding="utf-8").rstrip("\n")) != shell_line(words):
        try:
            there, asked = difference(shlex.split(line)[2:], words)
        except ValueError as error:
            raise OccupiedError(f"{file} is not as it was written: name another directory") from error
        if there:  # else the same words come in another order
            raise OccupiedError(
                f"{run_dir} holds a run with {there}, and this job has {asked}: name another directory, or give the "
                "same overrides to go on"
            )


def difference(words: Sequence[str], others: Sequence[str]) -> tuple[str, str]:
    """Return the settings by which two command lines of main.py differ, each with its own values."""
    settings = [by_name(line) for line in (words, others)]
    names = [name for name in {**settings[0], **settings[1]} if settings[0].get(name) != settings[1].get(name)]
    one, other = (", ".join(of.get(name, f"{name} by default") for name in names) for of in settings)
    return one, other


def by_name(words: Sequence[str]) -> dict[str, str]:
    """Return the words that belong together, by the name of their flag: {"seed": "seed=4"}."""
    found: dict[str, str] = {}
    name = ""
    for word in words:
        text = word.removeprefix("--")
        if text != word:
            name = text.partition("=")[0]
        found[name] = f"{found[name]} {text}" if name in found else text
    return found


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
    file, command, metrics = (run_dir / name for name in (NOTE_FILE, COMMAND_FILE, METRICS_FILE))
    note = Note(**json.loads(file.read_text())) if file.exists() else Note()
    return Job(
        run_dir,
        run_dir.relative_to(directory).as_posix(),
        dict(override.split("=", 1) for override in (overrides if note.overrides is None else note.overrides)),
        note,
        command.read_text(encoding="utf-8").strip() if command.exists() else "",
        json.loads(metrics.read_text()) if metrics.exists() else {},
    )
