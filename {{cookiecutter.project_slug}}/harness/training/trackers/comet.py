"""Comet."""

import os
from datetime import datetime

from pytorch_lightning.loggers import CometLogger

from harness.runs.processes import is_first_process
from harness.runs.run import Run
from harness.training.trackers.labels import Labels, Tracker


class RunCometLogger(CometLogger, Tracker):
    """Logs to Comet; without an API key to an archive in the directory of the run, for ``comet upload``.

    Args:
        labels: of the run; ``COMET_PROJECT_NAME`` wins over the project's name.
        key: key of the experiment of a run that resumes.

    Raises:
        ModuleNotFoundError: If comet_ml is not installed.
    """

    def __init__(self, labels: Labels, key: str | None) -> None:
        os.environ.setdefault("COMET_DISABLE_AUTO_LOGGING", "1")  # else it logs what other trackers are given, too
        import comet_ml

        archive = labels.dir / "comet" / datetime.now().strftime("%Y-%m-%d_%H-%M-%S_%f")  # a resumed run has several
        if not comet_ml.get_config("comet.api_key"):
            os.environ.setdefault("COMET_START_ONLINE", "0")  # Lightning's online=False logs nothing in 2.6
            if is_first_process():
                archive.mkdir(parents=True, exist_ok=True)
        super().__init__(
            project=os.environ.get("COMET_PROJECT_NAME") or labels.project,
            name=labels.name,
            experiment_key=key,
            mode="get_or_create",
            tags=[*labels.tags, *([labels.group] if labels.group else [])],
            offline_directory=str(archive),
            display_summary_level=0,
        )
        if labels.notes and is_first_process():
            self.experiment.log_other("notes", labels.notes)

    def close(self, run: Run) -> None:
        """End the experiment."""
        if is_first_process():
            self.experiment.end()

    def position(self) -> str | None:
        """Return the key, for a checkpoint."""
        return self.experiment.get_key() if is_first_process() else None
