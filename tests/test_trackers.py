"""Trackers of --logger, without a network: each has the values of metrics.csv, also of a resumed run."""

import csv
import json
import sqlite3
import zipfile

import pytest

FLAGS = ("--max_epochs", "1", "--log_every_n_steps", "5", "--enable_progress_bar", "no", "--run_name", "base")
LABELS = ("--tags", "small,first", "--notes", "a first try")
TRACKERS = "csv,tensorboard,wandb,mlflow,trackio,comet"


@pytest.fixture(scope="module")
def tracked(project, tmp_path_factory):
    """A folder in which a run with all trackers was resumed once, and the output of its two parts."""
    folder = tmp_path_factory.mktemp("tracked")
    environment = {"WANDB_MODE": "offline", "WANDB_SILENT": "true", "TRACKIO_DIR": str(folder / "trackio")}
    parts = [
        project.python("main.py", *FLAGS, *LABELS, "--logger", TRACKERS, cwd=folder, **environment),
        project.python("main.py", "--ckpt_path", "last", "--max_epochs", "2", cwd=folder, **environment),
    ]
    for part in parts:
        assert part.returncode == 0, part.stderr
    return folder, parts


def history(folder):
    """Return the steps and values of train_loss in metrics.csv."""
    with (folder / "runs" / "base" / "metrics.csv").open(newline="") as file:
        return [
            (int(row["step"]), pytest.approx(float(row["train_loss"])))
            for row in csv.DictReader(file)
            if row["train_loss"]
        ]


def test_results_are_all_that_is_printed_to_standard_output(tracked):
    _, parts = tracked
    for part in parts:
        names = [line.split()[0] for line in part.stdout.splitlines()]
        assert names == [*sorted(names[:-3]), "best", "last", "run"]


def mlflow(folder, query):
    """Return the rows of a query in the database of MLflow."""
    with sqlite3.connect(folder / "mlflow.db") as store:
        return store.execute(query).fetchall()


def test_mlflow_has_one_run_in_a_database(tracked, project):
    folder, _ = tracked
    runs = mlflow(
        folder, "SELECT experiments.name, runs.name, status FROM runs JOIN experiments USING (experiment_id) LIMIT 1"
    )
    assert runs == [(project.path.name, "base", "FINISHED")]
    assert ("layer_1_dim", "128") in mlflow(folder, "SELECT key, value FROM params")
    tags = mlflow(folder, "SELECT key, value FROM tags")
    assert {("small", "true"), ("first", "true"), ("mlflow.note.content", "a first try")} <= set(tags)
    rows = mlflow(folder, "SELECT step, value FROM metrics WHERE key = 'train_loss' ORDER BY timestamp, step")
    assert rows == history(folder)


def test_trackio_has_one_run(tracked):
    folder, _ = tracked
    (database,) = (folder / "trackio").glob("*.db")
    with sqlite3.connect(database) as store:
        rows = store.execute("SELECT run_id, run_name, step, metrics FROM metrics ORDER BY id").fetchall()
        configs = [json.loads(config) for (config,) in store.execute("SELECT config FROM configs")]
    assert {run_name for _, run_name, *_ in rows} == {"base"}
    assert len({run_id for run_id, *_ in rows}) == 1
    values = [(step, json.loads(metrics)) for *_, step, metrics in rows]
    assert [(step, each["train_loss"]) for step, each in values if "train_loss" in each] == history(folder)
    assert configs[0].items() >= {"layer_1_dim": 128, "tags": "small, first", "notes": "a first try"}.items()


def test_comet_has_an_archive_for_each_start_of_one_experiment(tracked, project):
    folder, parts = tracked
    archives = sorted((folder / "runs" / "base" / "comet").glob("*/*.zip"))
    assert len(archives) == 2
    keys, found = set(), []
    for archive, part in zip(archives, parts, strict=True):
        assert f"comet upload {archive.relative_to(folder)}" in part.stderr
        with zipfile.ZipFile(archive) as file:
            experiment = json.loads(file.read("experiment.json"))
            messages = [json.loads(line)["payload"] for line in file.read("messages.json").splitlines()]
        keys.add(experiment["offline_id"])
        assert experiment["project_name"] == project.path.name
        assert {"small", "first"} <= set(experiment["tags"])
        metrics = [message["metric"] for message in messages if "metric" in message]
        found += [(each["step"], each["metricValue"]) for each in metrics if each["metricName"] == "train_loss"]
        assert "a first try" in json.dumps(messages)
    assert len(keys) == 1
    assert [(step, float(value)) for step, value in found] == history(folder)


def test_tensorboard_compares_the_monitored_metric(tracked):
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    folder, _ = tracked
    events = reader.EventAccumulator(str(folder / "runs" / "base")).Reload()
    assert "hp_metric" not in events.Tags()["scalars"]
    assert [(event.step, event.value) for event in events.Scalars("train_loss")] == history(folder)
    contents = events.SummaryMetadata("_hparams_/experiment").plugin_data.content
    experiment = HParamsPluginData.FromString(contents).experiment
    assert [info.name.tag for info in experiment.metric_infos] == ["val_loss"]
    assert "layer_1_dim" in {info.name for info in experiment.hparam_infos}
    assert {"notes/text_summary", "tags/text_summary"} <= set(events.Tags()["tensors"])


def test_wandb_has_the_labels(tracked, project):
    folder, _ = tracked
    files = sorted((folder / "runs" / "base" / "wandb").glob("offline-run-*/*.wandb"))
    assert len({file.stem for file in files}) == 1
    for text in ("small", "a first try", project.path.name, "base"):
        assert text.encode() in files[0].read_bytes()


def test_runs_of_several_seeds_are_a_group_in_a_new_database(project, tmp_path):
    flags = ("--model_name", "my_model", "--limit_train_batches", "2", "--seeds", "1,2", "--workers", "2")
    (tmp_path / "mlflow.db.part").write_text("of a process that was killed while it made the tables")
    result = project.python("main.py", *FLAGS, *flags, "--logger", "mlflow", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    groups = mlflow(tmp_path, "SELECT runs.name, value FROM runs JOIN tags USING (run_uuid) WHERE key = 'group'")
    assert set(groups) == {(f"seed={seed}", "base") for seed in (1, 2)}


def test_a_failed_run_is_failed_at_mlflow(project, tracked, tmp_path):
    store = {"MLFLOW_TRACKING_URI": f"sqlite:///{tracked[0]}/mlflow.db", "MLFLOW_EXPERIMENT_NAME": "failures"}
    result = project.python("main.py", *FLAGS, "--logger=mlflow", "--learning_rate=1e30", cwd=tmp_path, **store)
    assert result.returncode == 1
    query = "SELECT status FROM runs JOIN experiments USING (experiment_id) WHERE experiments.name = 'failures'"
    assert mlflow(tracked[0], query) == [("FAILED",)]


@pytest.mark.parametrize(
    ("logger", "environment", "message"),
    [
        ("wandb", {"WANDB_MODE": "online"}, "--logger wandb: No API key configured"),
        ("mlflow", {"MLFLOW_TRACKING_URI": "nonsense://x"}, "--logger mlflow: nonsense://x: "),
        ("mlflow", {"MLFLOW_TRACKING_URI": "sqlite:///damaged.db"}, "is not a database (MLFLOW_TRACKING_URI"),
        ("trackio", {"TRACKIO_DIR": f"{__file__}/x"}, "(TRACKIO_DIR names another folder)"),
    ],
)
def test_a_tracker_that_cannot_be_reached_is_one_line(project, tmp_path, logger, environment, message):
    (tmp_path / "damaged.db").write_text("no database")
    result = project.python("main.py", *FLAGS, "--logger", logger, cwd=tmp_path, HOME=str(tmp_path), **environment)
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert message in result.stderr.splitlines()[-1]
