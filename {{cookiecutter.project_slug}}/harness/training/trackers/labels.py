"""The labels of a run, which are the same at each tracker, and the class of trackers that are closed."""

import os
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

from harness.found import ROOT
from harness.runs.processes import GROUP
from harness.runs.run import Run


@dataclass
class Labels:
    """How a tracker labels a run.

    Attributes:
        dir: directory of the run.
        project: name of this project, under which a tracker lists its runs.
        group: name of the runs that belong together, such as those of several seeds, or None.
        tags: words of ``--tags``.
        notes: text of ``--notes``, or None.
        monitor: the monitored metric, or None.
    """

    dir: Path
    project: str
    group: str | None
    tags: list[str]
    notes: str | None
    monitor: str | None

    @classmethod
    def of(cls, run: Run, monitor: str | None) -> "Labels":
        """Return the labels of a run."""
        tags = run.args.tags.split(",") if run.args.tags else []
        return cls(run.dir, ROOT.name, os.environ.get(GROUP), tags, run.args.notes, monitor)

    @property
    def texts(self) -> dict[str, str]:
        """The tags and the notes as texts, as far as they were given."""
        texts = {"tags": ", ".join(self.tags), "notes": self.notes or ""}
        return {name: text for name, text in texts.items() if text}

    @property
    def name(self) -> str:
        """The name of the run: that of its directory."""
        return self.dir.resolve().name


class Tracker(ABC):
    """A logger that is closed when the run ends, so that the next run of the process is another one."""

    @abstractmethod
    def close(self, run: Run) -> None:
        """End the run at the tracker."""
