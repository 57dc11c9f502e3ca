"""MLflow."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from lightning_utilities.core.rank_zero import rank_zero_only
from pytorch_lightning.loggers import MLFlowLogger

from harness.errors import RunError
from harness.runs.processes import is_first_process
from harness.runs.run import Run
from harness.trainer_args import notice
from harness.training.trackers.labels import Labels, Tracker

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

SQLITE = "sqlite:///"


class RunMLFlowLogger(MLFlowLogger, Tracker):
    """Logs to MLflow: to ``MLFLOW_TRACKING_URI``, or to MLflow's own default, the SQLite file mlflow.db.

    Args:
        labels: of the run; ``MLFLOW_EXPERIMENT_NAME`` wins over the project's name.
        run_id: id at MLflow of a run that resumes.

    Raises:
        ModuleNotFoundError: If mlflow is not installed.
        RunError: If the store cannot be used.
    """

    def __init__(self, labels: Labels, run_id: str | None) -> None:
        import mlflow
        from mlflow.exceptions import MlflowException

        uri = mlflow.get_tracking_uri()  # Lightning's own default is a store in files, which MLflow 3 refuses
        experiment = os.environ.get("MLFLOW_EXPERIMENT_NAME") or labels.project
        try:
            with one_at_a_time(uri):
                make_tables(uri)
                client = mlflow.MlflowClient(uri)
                if is_first_process() and client.get_experiment_by_name(experiment) is None:
                    with suppress(MlflowException):  # another run has just created it
                        client.create_experiment(experiment)
            if run_id is not None and not has_run(client, run_id):
                notice(f"MLflow at {uri} has no run {run_id}: a new one begins")
                run_id = None
        except ModuleNotFoundError:
            raise
        except Exception as error:  # of MLflow, of its database, or of the network
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise RunError(f"--logger mlflow: {uri}: {reason} (MLFLOW_TRACKING_URI names another store)") from error
        tags = {**dict.fromkeys(labels.tags, "true"), "mlflow.note.content": labels.notes, "group": labels.group}
        super().__init__(
            experiment_name=experiment,
            run_name=labels.name,
            tracking_uri=uri,
            tags={name: text for name, text in tags.items() if text},
            run_id=run_id,
        )
        self.id_of_earlier_part = run_id
        self.logged: dict[str, int] | None = None

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log metrics, but for values that MLflow had before the run resumed."""
        if self.logged is None:
            self.logged = self.last_steps()
        new = {name: value for name, value in metrics.items() if (step or 0) > self.logged.get(name, -1)}
        super().log_metrics(new, step)

    def last_steps(self) -> dict[str, int]:
        """Return the last step of each metric of an earlier part of the run, which is marked as running again."""
        if self.id_of_earlier_part is None:
            return {}
        client, run_id = self.experiment, self.id_of_earlier_part
        client.update_run(run_id, status="RUNNING")
        histories = {name: client.get_metric_history(run_id, name) for name in client.get_run(run_id).data.metrics}
        return {name: max(metric.step for metric in history) for name, history in histories.items()}

    def close(self, run: Run) -> None:
        """End the run at MLflow, as failed after an error."""
        if is_first_process() and self.logged is not None:
            self.experiment.set_terminated(self.run_id, "FAILED" if run.failed else "FINISHED")

    def position(self) -> str | None:
        """Return the id, for a checkpoint."""
        return self.run_id if is_first_process() else None


@contextmanager
def one_at_a_time(uri: str) -> Iterator[None]:
    """Keep other processes out while MLflow makes the tables of an SQLite file, which two at once would damage."""
    path = file_of(uri)
    if fcntl is None or path is None:
        yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f"{path.name}.lock").open("ab") as file:
        with suppress(OSError):  # a file system without locks
            fcntl.lockf(file, fcntl.LOCK_EX)
        yield


def make_tables(uri: str) -> None:
    """Make a new SQLite file with the tables of MLflow; a kill meanwhile leaves no file that lacks some of them."""
    import mlflow

    path = file_of(uri)
    if path is None or path.exists():
        return
    part = path.with_name(f"{path.name}.part")
    part.unlink(missing_ok=True)
    mlflow.MlflowClient(f"{SQLITE}{part}").search_experiments(max_results=1)
    part.replace(path)


def file_of(uri: str) -> Path | None:
    """Return the SQLite file of a store, or None for a store of another kind."""
    return Path(uri.removeprefix(SQLITE).partition("?")[0]) if uri.startswith(SQLITE) else None


def has_run(client: Any, run_id: str) -> bool:
    """Return whether MLflow has a run.

    Raises:
        mlflow.exceptions.MlflowException: If the store does not answer.
    """
    from mlflow.exceptions import MlflowException

    try:
        client.get_run(run_id)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return False
        raise
    return True
