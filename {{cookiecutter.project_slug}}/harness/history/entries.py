"""What the directory of a run tells: its state, flags, metrics and record. Needs no torch."""

import csv
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from math import isnan, nan
from pathlib import Path
from time import time
from typing import Any

from harness.config_files import parse_config
from harness.runs.record import RECORD_FILE, read_record
from harness.runs.run import (
    BEST,
    CHECKPOINTS,
    CONFIG_FILE,
    ERROR_FILE,
    METRICS_FILE,
    is_finished,
    is_locked,
    metrics_of,
)

MARKS = {CONFIG_FILE, RECORD_FILE, METRICS_FILE, ERROR_FILE, CHECKPOINTS}  # names in the directory of a run
TAIL = 2000  # bytes of metrics.csv that hold the last epoch
# A flag in one line as ``dump_config`` writes it, if YAML can read nothing else in it; parsing 1,000 files takes 20 s.
PLAIN = r"(?:[\w./+]|-(?=[\w.]))(?:(?:[\w./+,=%() -]|:(?=[\w/]))*[\w./+,=%()-])?"
ONE_LINE = r"^'?NAME'?: (?:'((?:[^'\n]|'')*)'|(PLAIN))$(?=\n[^\s-]|\n?\Z)".replace("PLAIN", PLAIN)


@dataclass
class Entry:
    """A run, as its directory tells.

    Attributes:
        name: its path below the folder of all runs.
        dir: its directory.
        state: running, finished, stopped, failed or damaged.
        error: the reason, in the last two states.
        age: seconds since it began or was resumed.
        record: content of run.json.
        config: text of config.yaml.
        metrics: of a finished run those of metrics.json; else the last ones, of the monitored one the best.
        epoch: that of the last metrics.
        monitor: the metric that selects best.ckpt.
        mode: "min" or "max"; None if the run does not say.
    """

    name: str
    dir: Path
    state: str = "damaged"
    error: str = ""
    age: float = nan
    record: dict[str, Any] = field(default_factory=dict)
    config: str = ""
    metrics: dict[str, float] = field(default_factory=dict)
    epoch: int | None = None
    monitor: str | None = None
    mode: str | None = None

    def flag(self, name: str) -> str | None:
        """Return a flag as text, "none" for null; None if there is no such flag."""
        if found := re.search(ONE_LINE.replace("NAME", re.escape(name)), self.config, re.MULTILINE):
            quoted, text = found.groups()
            return "none" if text in ("null", "Null", "NULL") else text or quoted.replace("''", "'")
        if not re.search(f"^'?{re.escape(name)}'?:", self.config, re.MULTILINE):
            return None
        return self.flags().get(name)

    def flags(self) -> dict[str, str]:
        """Return the flags of config.yaml as texts, lists with commas; none if the file is damaged."""
        content: dict[str, Any] = {}
        with suppress(ValueError):
            content = parse_config(self.config)
        flags = {name: value if isinstance(value, list) else [value] for name, value in content.items()}
        return {name: ",".join("none" if text is None else text for text in texts) for name, texts in flags.items()}

    def names(self) -> set[str]:
        """Return the names of all metrics and flags."""
        return {*self.metrics, *re.findall(r"^'?(\w+)'?:", self.config, re.MULTILINE)}

    def get(self, name: str) -> Any:
        """Return a column of the table, a metric, a flag, or an entry of run.json; None if it is not there."""
        if name == "metric":
            return self.metrics.get(self.monitor or "")
        if name in ("name", "state", "error", "age", "epoch", "monitor"):
            return getattr(self, name)
        if name in self.metrics:
            return self.metrics[name]
        value = self.flag({"model": "model_name", "data": "data_name"}.get(name, name))
        return self.record.get(name) if value is None else value

    @property
    def tags(self) -> list[str]:
        """The words of --tags."""
        return [tag for tag in (self.flag("tags") or "none").split(",") if tag != "none"]

    def of_best(self, metric: str) -> float | None:
        """Return a metric of best.ckpt: tested after training, or the best one so far of the monitored metric."""
        known = (self.dir / CHECKPOINTS / BEST).is_file() and (self.state == "finished" or metric == self.monitor)
        value = self.metrics.get(metric, nan) if known else nan
        return None if isnan(value) else value


def read_entry(run_dir: Path, name: str, now: float | None = None) -> Entry:
    """Return the run of a directory; its state is "damaged" if a file of it cannot be read.

    Args:
        run_dir: the directory.
        name: its path below the folder of all runs.
        now: the time from which its age counts.
    """
    entry = Entry(name, run_dir)
    try:
        is_running, is_over = is_locked(run_dir), is_finished(run_dir)
        if (run_dir / RECORD_FILE).exists():
            entry.record = read_record(run_dir)
        if (run_dir / CONFIG_FILE).exists():
            entry.config = (run_dir / CONFIG_FILE).read_text(encoding="utf-8")
            if entry.flag("model_name") is None:
                parse_config(entry.config)  # knows the reason, if it is damaged
                raise ValueError(f"{CONFIG_FILE} names no model")
        entry.age = (time() if now is None else now) - began(run_dir, entry.record)
        known = [entry.record.get(name) or entry.flag(name) for name in ("monitor", "monitor_mode")]
        entry.monitor, entry.mode = [None if value == "none" else value for value in known]
        read_metrics(entry, is_over)
        entry.state, entry.error = state_of(entry, is_running, is_over)
    except (OSError, ValueError, TypeError, AttributeError, OverflowError, RecursionError, csv.Error) as error:
        entry.state, entry.error = "damaged", " ".join(f"{error}".split())
    return entry


def state_of(entry: Entry, is_running: bool, is_over: bool) -> tuple[str, str]:
    """Return the state of a run, and the reason if it has failed or is damaged."""
    if is_running or is_over:
        return "running" if is_running else "finished", ""
    if (entry.dir / ERROR_FILE).exists():
        lines = (entry.dir / ERROR_FILE).read_text(encoding="utf-8", errors="replace").split("\n")
        return "failed", next((line for line in reversed(lines) if line.strip()), "")
    if not entry.config:
        return "damaged", f"there is no {CONFIG_FILE}"
    state = entry.record.get("state")
    return (state, entry.record.get("error") or "") if state in ("failed", "finished") else ("stopped", "")


def began(run_dir: Path, record: dict[str, Any]) -> float:
    """Return the time at which a run began or was resumed."""
    if "begin" in record:
        return datetime.fromisoformat(record["begin"]).timestamp()
    config = run_dir / CONFIG_FILE
    return (config if config.exists() else run_dir).stat().st_mtime


def read_metrics(entry: Entry, is_over: bool) -> None:
    """Read the last epoch and the metrics of a run."""
    rows = logged(entry.dir, TAIL if is_over else None)

    def last(name: str) -> float | None:
        return next((value for row in reversed(rows) if (value := number(row[name])) is not None), None)

    columns = set(rows[0]) - {None} if rows else set()
    epoch = last("epoch") if "epoch" in columns else None
    entry.epoch = None if epoch is None else int(epoch)
    if is_over:
        entry.metrics = {name: float(value) for name, value in metrics_of(entry.dir).items()}
        return
    found = {name: last(name) for name in columns - {"epoch", "step"}}
    entry.metrics = {name: value for name, value in found.items() if value is not None}
    if entry.monitor in entry.metrics and entry.mode in ("min", "max"):
        values = [value for row in rows if (value := number(row[entry.monitor])) is not None]
        entry.metrics[entry.monitor] = (min if entry.mode == "min" else max)(values)


def logged(run_dir: Path, size: int | None) -> list[dict[str, str]]:
    """Return the rows of metrics.csv, or those in its last bytes; none if there is no such file."""
    with suppress(FileNotFoundError), (run_dir / "metrics.csv").open("rb") as file:
        header = file.readline()
        start = max(file.tell(), os.fstat(file.fileno()).st_size - size) if size else file.tell()
        if start > file.tell():
            file.seek(start)
            file.readline()
        lines = (header + file.read()).decode(errors="replace").replace("\0", "").split("\n")
        return list(csv.DictReader(lines[:-1]))  # the last one is empty, or being written
    return []


def number(value: Any) -> float | None:
    """Return a value or a text as a number; None if it is none, or not a number."""
    try:
        return None if value in (None, "") or isinstance(value, bool) or isnan(found := float(value)) else found
    except (TypeError, ValueError):
        return None


def run_dirs(root: Path, *, everything: bool = False) -> Iterator[tuple[Path, str]]:
    """Yield the directories of the runs below a folder, each with its name.

    Args:
        root: the folder of all runs.
        everything: whether those in deeper folders are among them.
    """
    depth = 9 if everything else 2  # runs of several seeds or folds are in a folder of their own
    yield from ((run_dir, run_dir.relative_to(root).as_posix()) for run_dir in below(root, depth))


def below(folder: Path, depth: int) -> Iterator[Path]:
    """Yield the directories of runs in a folder, and in its folders down to a depth; runs within runs are left out."""
    with suppress(OSError):
        for path in sorted(Path(each.path) for each in os.scandir(folder) if each.is_dir() and each.name[0] != "."):
            if is_run(path):
                yield path
            elif depth > 1:
                yield from below(path, depth - 1)


def is_run(path: Path) -> bool:
    """Return whether a directory is that of a run."""
    try:
        return not MARKS.isdisjoint(os.listdir(path)) or is_locked(path)
    except (NotADirectoryError, FileNotFoundError):
        return False
    except OSError:  # it cannot be read
        return True
