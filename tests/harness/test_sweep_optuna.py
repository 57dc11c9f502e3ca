"""Sweeps through their command line: what is refused, and one that runs."""

import csv
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import optuna
import pytest
import sqlalchemy
from optuna.storages import InMemoryStorage
from sweep_program import main
from sweep_program import read as read_command_line

from harness import found as modules
from harness.sweeps.optuna.definition import UNCOUNTED
from tests.conftest import run

MODEL = ("--model_name", "my_model")
FIXED = ("fixed", "method", "stop")
SHORT = ("--max_epochs", "2", "--limit_train_batches", "3", "--limit_val_batches", "2", "--accelerator", "cpu")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--search learning_rat=1..3", "unknown flag --learning_rat, did you mean --learning_rate?"),
        ("--search learning_rate", "--search learning_rate: write NAME=LOW..HIGH"),
        ("--search learning_rate=", "write NAME=LOW..HIGH"),
        ("--search learning_rate=a..b", "learning_rate=a..b: learning_rate: 'a' is not a positive number"),
        ("--search learning_rate=0..1", "learning_rate: '0' is not a positive number"),
        ("--search learning_rate=2..1", "--search learning_rate=2..1 is no range"),
        ("--search learning_rate=1..2:lin", "after : comes log or the step, not 'lin'"),
        ("--search gradient_clip_val=0..1:log", "is no range: log needs numbers above 0"),
        ("--search batch_size=0,64", "batch_size: '0' is not a positive integer"),
        ("--search batch_size=64,64", "a value comes twice"),
        ("--search batch_size=8..64:0", "--search batch_size=8..64:0 is no range"),
        (
            "--search learning_rate=1e-3...1e-2",
            "learning_rate=1e-3...1e-2: write two dots, as in learning_rate=1e-3..1e-2",
        ),
        ("--search compile=no..yes", "--compile takes no numbers; list its values: compile=VALUE,VALUE"),
        (
            "--search learning_rate=1..2 --learning_rate 1",
            "--learning_rate is given and searched: leave one of them out",
        ),
        ("--search data_name=digits,my_data", "--data_name cannot be searched: give it"),
        ("--search test_after_fit=yes,no", "--test_after_fit cannot be searched: give it"),
        ("--learning_rate 0.1", "nothing is left to search: --learning_rate is given; name a flag with"),
        ("--search_only", "nothing is left to search; name a flag with --search learning_rate=1e-4..1e-1:log"),
        ("--sampler grid", "--sampler grid needs values, not a range: --search learning_rate=VALUE,VALUE"),
        ("--sampler best", "--sampler: 'best' is not one of tpe, random"),
        ("--sampler tpe:nothing=3", "--sampler: tpe has no option 'nothing', but consider_prior"),
        ("--sampler tpe:n_startup_trials=x", "n_startup_trials=x: it takes int"),
        ("--sampler tpe:multivariate", "'multivariate' is not of the form OPTION=VALUE"),
        ("--pruner median:warmup=-1", "Number of warmup steps cannot be negative"),
        ("--pruner median:n_=1", "median has no option 'n_', but n_startup_trials, n_warmup_steps, interval_steps"),
        ("--pruner best", "--pruner: 'best' is not one of median, hyperband"),
        ("--direction up", "'up' is not minimize or maximize"),
        ("--monitor train_loss", "--monitor train_loss needs --direction"),
        ("--monitor test_loss --direction minimize", "test_loss is a metric of test: choose by validation, as in"),
        ("--monitor val_loss,acc/test --direction minimize,maximize", "acc/test is a metric of test"),
        ("--monitor a,b --direction minimize", "--direction minimize must have one for each of a, b"),
        ("--monitor a,b --direction minimize,maximize --pruner median", "--pruner median needs one metric"),
        ("--num_nodes 2", "trials do not go over several machines"),
        ("--command test", "a sweep trains: leave out test"),
        ("--ckpt_path best", "--ckpt_path best: there is no run of fit below"),
        ("--storage study.db", "--storage study.db is no URL"),
        ("--storage nosuch://host/name", "--storage nosuch://host/name: "),
        ("--storage grpc://host", "write grpc://HOST:PORT"),
        ("--study_name a/b", "'a/b' cannot be the name of a directory"),
        ("--workers 0", "--workers: '0' is not a positive integer"),
        ("--n_trials 0", "--n_trials: '0' is not a positive integer"),
        ("--report", "there is no study my_model-"),
        ("--nonsense 1", "unknown flag --nonsense"),
        ("--config missing.yaml", "missing.yaml"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line_and_leaves_nothing(words, message, capsys):
    with pytest.raises(SystemExit) as exit_info:
        main([*MODEL, *words.split()])
    error = capsys.readouterr().err
    assert message in error
    assert exit_info.value.code == 2
    assert len(error.splitlines()) == 1
    assert not list(Path().iterdir())


def test_a_config_file_may_have_flags_of_a_sweep():
    Path("base.yaml").write_text("max_epochs: 1\nn_trials: 3\nsearch: [batch_size=8..16]\n")
    sweep = read_command_line([*MODEL, "--config", "base.yaml"])
    assert (sweep.n_trials, list(sweep.space.texts)) == (3, ["learning_rate", "batch_size"])
    assert "--max_epochs=1" in sweep.command(sweep.run_args({}))


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_a_server_that_does_not_answer_is_one_line(capsys):
    with pytest.raises(SystemExit, match=r"--storage grpc://127\.0\.0\.1:9: .*nothing is lost"):
        main([*MODEL, "--storage", "grpc://127.0.0.1:9"])


def test_the_name_of_a_study_is_made_of_what_it_does():
    def name(*words):
        return read_command_line([*MODEL, *words]).name

    plain = name()
    assert plain.startswith("my_model-")
    for same in ("--workers 3", "--n_trials 7", "--default_root_dir elsewhere", "--num_threads 1", "--devices 1"):
        assert name(*same.split()) == plain
    for other in ("--max_epochs 3", "--seed 1", "--sampler random", "--search batch_size=8,16", "--learning_rate 1"):
        searched = ["--search", "batch_size=16,32"] if other.startswith("--learning") else []
        assert name(*other.split(), *searched) != plain
    for other in ("--devices 2", "--save_top_k 0", "--enable_checkpointing no", "--limit_val_batches 1"):
        assert name(*other.split()) != plain
    assert name("--study_name", "mine") == "mine"


OWN = (  # of each machine that joins in
    *("--accelerator gpu", "--benchmark yes", "--num_threads 2", "--num_workers 2", "--data_on_device yes"),
    *("--config more.yaml", "--default_root_dir elsewhere", "--model_registry hub", "--save_every_n_train_steps 2"),
    *("--save_weights_only yes", "--enable_autolog_hparams no", "--enable_model_summary no", "--logger none"),
    *("--enable_progress_bar no", "--log_every_n_steps 1", "--lr_monitor step", "--model_summary_depth 2"),
    *("--profiler simple", "--progress_bar_refresh_rate 5", "--track_grad_norm 2", "--limit_predict_batches 1"),
    *("--limit_test_batches 1", "--test_after_fit yes", "--monitor val_loss", "--monitor_mode min"),
)


@pytest.mark.parametrize("words", OWN)
def test_flags_that_cannot_change_a_result_are_no_part_of_a_study(words):
    Path("more.yaml").touch()
    assert read_command_line([*MODEL, *words.split()]).name == read_command_line(MODEL).name


def test_all_flags_that_do_not_count_are_tried():
    assert {words.split()[0].removeprefix("--") for words in OWN} == UNCOUNTED.keys()


def test_what_a_search_draws_has_no_default_that_counts(root):
    """A sweep finds a better learning rate, and the model gets it as its default: the study stays the same."""
    text = (
        "import pytorch_lightning as pl\n"
        "class Net(pl.LightningModule):\n"
        "    monitor = 'val_loss'\n"
        "    @staticmethod\n"
        "    def add_model_specific_args(parent_parser):\n"
        "        parent_parser.add_argument('--width', type=int, default=3)\n"
        "        parent_parser.add_argument('--depth', type=int, default=3)\n"
        "        return parent_parser\n"
        "    @staticmethod\n"
        "    def search_space(trial):\n"
        "        trial.suggest_int('width', 1, 9)\n"
        "    def train_dataloader(self): ...\n"
    )
    (root / "data" / "none.py").touch()
    names = []
    for width, depth in ((3, 3), (5, 3), (3, 5)):
        changed = text.replace("'--width', type=int, default=3", f"'--width', type=int, default={width}")
        changed = changed.replace("'--depth', type=int, default=3", f"'--depth', type=int, default={depth}")
        (root / "models" / "net.py").write_text(changed)
        names.append(read_command_line(["--model_name", "net"]).name)
    assert names[0] == names[1] != names[2]


def test_the_model_says_what_is_to_become_best(root):
    text = (
        "import pytorch_lightning as pl\n"
        "class Net(pl.LightningModule):\n"
        "    monitor, monitor_mode = 'val_accuracy', 'max'\n"
        "    @staticmethod\n"
        "    def add_model_specific_args(parent_parser):\n"
        "        parent_parser.add_argument('--width', type=int, default=3)\n"
        "        return parent_parser\n"
        "    @staticmethod\n"
        "    def search_space(trial):\n"
        "        trial.suggest_int('width', 1, 9)\n"
        "    def train_dataloader(self): ...\n"
    )
    (root / "models" / "net.py").write_text(text)
    (root / "data" / "none.py").touch()
    sweep = read_command_line(["--model_name", "net"])
    assert (sweep.metrics, sweep.directions) == (("val_accuracy",), ("maximize",))
    words = ["--model_name", "net", "--monitor", "loss", "--direction", "minimize"]
    sweep = read_command_line(words)
    assert (sweep.metrics, sweep.directions) == (("loss",), ("minimize",))
    # The line that repeats a trial takes the checkpoint of the same epoch.
    command = sweep.command(sweep.run_args({"width": 4}))
    assert command == ["--model_name=net", "--monitor=loss", "--monitor_mode=min", "--max_epochs=20", "--width=4"]
    (root / "models" / "net.py").write_text(text.replace("    monitor, monitor_mode = 'val_accuracy', 'max'\n", ""))
    with pytest.raises(Exception, match=r"models/net\.py names no metric: give --monitor METRIC --direction"):
        read_command_line(["--model_name", "net"])


def test_the_words_of_the_sweep_are_not_those_of_a_run():
    words = [*MODEL, "--n_trials", "3", "--search", "batch_size=8,16", "learning_rate=1e-3..1e-2", "--max_epochs", "1"]
    sweep = read_command_line(
        [*words, "--keep_top=2", "--report", "no", "--direction=maximize", "--monitor", "val_accuracy"]
    )
    command = sweep.command(sweep.run_args({"batch_size": 8, "learning_rate": 0.002}))
    assert command[:3] == ["--model_name=my_model", "--monitor=val_accuracy", "--monitor_mode=max"]
    assert sorted(command[3:]) == ["--batch_size=8", "--learning_rate=0.002", "--max_epochs=1"]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("", []),
        ("--sampler ", ["tpe", "random", "grid", "cmaes", "gp", "qmc"]),
        ("--model_name my_", ["my_model"]),
        ("--model_name my_model --learn", ["--learning_rate"]),
        ("--pru", ["--pruner"]),
    ],
)
def test_a_word_is_completed(tmp_path, line, expected):
    line, answer = f"python sweep_optuna.py {line}", tmp_path.with_name("answer")
    asked = {
        "_ARGCOMPLETE": "2",  # words before the arguments
        "_ARGCOMPLETE_STDOUT_FILENAME": str(answer),
        "_ARGCOMPLETE_SUPPRESS_SPACE": "1",
        "COMP_LINE": line,
        "COMP_POINT": str(len(line)),
    }
    command = [sys.executable, str(modules.ROOT / "sweep_optuna.py")]
    subprocess.run(command, env=os.environ | asked, check=True, timeout=60)
    assert [word.strip() for word in answer.read_text().split("\v") if word] == expected


def python(*argv, cold=False):
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return run([sys.executable, *argv], cwd=Path.cwd(), env=environment, cold=cold)


def test_help_and_mistakes_import_neither_torch_nor_optuna():
    script = (
        f"import sys; sys.path.insert(0, {str(modules.ROOT)!r})\n"
        "from harness.sweeps.optuna import app; import sweep_optuna as s\n"
        "try: app.run(s.build_parser, s.objective, s.test, sys.argv[1:])\n"
        "except SystemExit: print([name for name in ('torch', 'optuna', 'matplotlib') if name in sys.modules])"
    )
    for words in (["--help"], ["--nonsense", "3"], ["--sampler", "best"]):
        result = python("-c", script, *MODEL, *words, cold=True)
        assert result.stdout.splitlines()[-1] == "[]", result.stderr
    assert "--n_trials" in python("-c", script, "--help").stdout


def sweep(*words, status=0, short=(*MODEL, *SHORT)):
    result = python(str(modules.ROOT / "sweep_optuna.py"), *short, *words)
    assert result.returncode == status, result.stdout + result.stderr
    assert "Traceback" not in result.stderr
    return result


def repeated(line, folder):
    """Return the metrics of the run that a line of a sweep makes."""
    python_, program, *words = shlex.split(line)
    assert (python_, program) == ("python", "main.py")
    again = python(str(modules.ROOT / program), *words, "--default_root_dir", folder)
    assert again.returncode == 0, again.stderr
    (run_dir,) = Path(folder).iterdir()
    return json.loads((run_dir / "metrics.json").read_text())


def rows_of(directory):
    with (directory / "trials.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def study_of(file, name=None):
    """Return a copy of a study; no connection stays open for it."""
    storage = optuna.storages.RDBStorage(f"sqlite:///{file}", {"poolclass": sqlalchemy.NullPool})
    name = name or optuna.get_all_study_names(storage)[0]
    optuna.copy_study(from_study_name=name, from_storage=storage, to_storage=(memory := InMemoryStorage()))
    storage.remove_session()
    return optuna.load_study(study_name=name, storage=memory)


def test_a_sweep_finds_the_best_and_the_line_that_repeats_it():
    first = sweep("--n_trials", "3", "--keep_top", "1")
    assert "Warning" not in first.stderr
    lines = first.stdout.splitlines()
    assert [line.split()[0] for line in lines[:7]] == ["study", "directory", "storage", "search", *FIXED]
    assert lines[0].endswith(", new")
    assert lines[3].endswith("minimize val_loss over learning_rate 0.0001..0.1:log")
    assert lines[7] == ""
    assert [line.split(":")[0] for line in lines[8:11]] == ["trial 0", "trial 1", "trial 2"]
    (directory,) = Path("runs/sweeps").iterdir()
    rows = rows_of(directory)
    assert [row["state"] for row in rows] == ["complete"] * 3
    losses = [float(row["val_loss"]) for row in rows]
    best = losses.index(min(losses))
    # What is shown, what lies there, and what the line gives are one number, to the last bit.
    run_dir = directory / "trials" / f"{best:04}"
    metrics = json.loads((run_dir / "metrics.json").read_text())
    assert metrics.keys() == {"train_loss", "val_loss", "val_accuracy", "test_loss", "test_accuracy"}
    assert metrics == {name: float(rows[best][name]) for name in metrics}
    assert f"best: trial {best}, val_loss {losses[best]:.4f}" in lines
    assert f"test_accuracy               {metrics['test_accuracy']:.4f}" in lines
    assert f"checkpoint                  {run_dir / 'checkpoints' / 'best.ckpt'}" in lines
    assert [path.parent.name for path in directory.glob("trials/*/checkpoints")] == [run_dir.name]
    (line,) = [line for line in lines if line.startswith("python main.py ")]
    assert repeated(line, "again") == metrics
    assert repeated(f"python main.py --config {run_dir / 'config.yaml'}", "by_config") == metrics
    # Of the others all but the test is known: they have not seen the test data.
    assert [path.parent.name for path in directory.glob("trials/*/test")] == [run_dir.name]
    assert [bool(row["test_loss"]) for row in rows] == [number == best for number in range(3)]
    assert all(row["val_accuracy"] and row["train_loss"] for row in rows)
    page = (directory / "report.html").read_text()
    assert f"<td>test_accuracy</td><td>{metrics['test_accuracy']:.6g}</td>" in page
    assert all(f"<td>{float(row['val_accuracy']):.6g}</td>" in page for row in rows)
    study = study_of(directory / "study.db")
    assert study.metric_names == ["val_loss"]
    kept = [trial.user_attrs["metrics"] for trial in study.trials]
    assert [each["val_loss"] for each in kept] == [trial.value for trial in study.trials]
    assert kept[best] == {name: value for name, value in metrics.items() if not name.startswith("test_")}
    # The same command has nothing to do; with more trials it goes on.
    tested = (run_dir / "test" / "metrics.json").stat().st_mtime_ns
    again = sweep("--n_trials", "3", "--keep_top", "1")
    assert again.stdout.splitlines()[8:] == lines[11:]
    assert "3 of 3 trials are finished" in again.stdout
    assert (run_dir / "test" / "metrics.json").stat().st_mtime_ns == tested
    more = sweep("--n_trials", "4", "--keep_top", "1")
    assert "4 trials: 4 complete" in more.stdout
    assert len(list(Path("runs/sweeps").iterdir())) == 1
    # A report of what is there changes nothing else.
    report = sweep("--n_trials", "9", "--report")
    assert "4 trials: 4 complete" in report.stdout
    for figure in ("History", "Importances", "Parallel coordinates", "Slices", "Intermediate values", "Timeline"):
        assert f"<h2>{figure}</h2>" in (directory / "report.html").read_text()


def test_every_trial_is_tested_where_that_is_asked_for():
    sweep("--n_trials", "2", "--test_after_fit", "--keep_top", "1", "--study_name", "all")
    rows = rows_of(Path("runs/sweeps/all"))
    assert all(row["test_loss"] and row["test_accuracy"] for row in rows)
    assert repeated(rows[1]["command"], "again")["test_loss"] == float(rows[1]["test_loss"])
    assert len(list(Path("runs/sweeps/all").glob("trials/*/checkpoints"))) == 1


@pytest.mark.slow
def test_a_config_file_does_not_let_trials_be_tested_and_the_line_tests():
    """The config of every run says that it was tested."""
    Path("base.yaml").write_text("test_after_fit: true\n")
    Path("untested.yaml").write_text("test_after_fit: false\n")
    for file in ("base", "untested"):
        sweep("--n_trials", "2", "--config", f"{file}.yaml", "--study_name", file)
        rows = rows_of(Path("runs/sweeps") / file)
        tested = [row for row in rows if row["test_loss"]]
        assert len(tested) == 1
        assert repeated(tested[0]["command"], f"again_{file}")["test_loss"] == float(tested[0]["test_loss"])


@pytest.mark.slow
def test_the_name_of_a_study_is_enough_to_go_on():
    searched = ("--search", "batch_size=32,64", "--learning_rate", "0.02", "--sampler", "random")
    begun = sweep(*searched, "--n_trials", "2", "--study_name", "X", "--storage", "sqlite:///shared.db")
    assert "batch_size" in begun.stdout
    assert re.search(r"study +X, new", begun.stdout)
    file = Path("shared.db").resolve()
    shared = ("--study_name", "X", "--storage", f"sqlite:///{file}")
    Path("another_machine").mkdir()
    os.chdir("another_machine")  # which shares the storage alone
    more = sweep(*shared, "--n_trials", "3", short=())
    assert re.search(r"fixed .*learning_rate=0\.02 .*max_epochs=2 model_name=my_model", more.stdout)
    assert re.search(r"study +X, 2 of 3 trials are finished", more.stdout)
    assert "3 trials: 3 complete" in more.stdout
    # It may have flags of its own that cannot change a result; sampler and pruner may change, and the study says when.
    own = ("--logger", "none", "--num_workers", "1", "--limit_test_batches", "1", "--num_threads", "1")
    sweep(*shared, *own, "--n_trials", "4", short=())
    changed = sweep(*shared, "--n_trials", "5", "--sampler", "tpe", "--pruner", "none", short=())
    assert re.search(r"^sampler tpe, pruner none from trial 4 on \(20", changed.stdout, re.MULTILINE)
    assert "sampler tpe, pruner none from trial 4 on" in Path("runs/sweeps/X/report.html").read_text()
    # The last of them are taken from then on, and the number asked for last.
    assert "5 trials: 5 complete" in sweep(*shared, short=()).stdout
    study = study_of(file)
    changes = [(each["sampler"], each["pruner"], each["trial"]) for each in study.user_attrs["sampling"]]
    assert changes == [("random", "median", 0), ("tpe", "none", 4)]
    assert {trial.params["batch_size"] for trial in study.trials} <= {32, 64}
    assert all(trial.params.keys() == {"batch_size"} for trial in study.trials)
    lines = [" ".join(trial.user_attrs["worker"]["command"]) for trial in study.trials]
    assert all("--learning_rate" in line and "--model_name" in line for line in lines)
    assert "--logger=none" not in lines[4]
    assert "--logger=none" in lines[3]
    metrics = repeated(f"python main.py {lines[2]}", "again")
    assert metrics["val_loss"] == study.trials[2].value
    # What differs is said as such, and changes nothing.
    words = ("--learning_rate", "0.1", "--seed", "3", "--search", "batch_size=8..64", "--max_steps", "9")
    refused = sweep(*shared, *words, short=(), status=2)
    for difference in (
        "learning_rate: 0.02 there, 0.1 here",
        "seed: 0 there, 3 here",
        "batch_size: 32,64 there, 8..64 here",
        "max_steps: -1 there, 9 here",
    ):
        assert difference in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    refused = sweep(*shared, "--data_name", "mnist", "--search", "batch_size=8,16", short=(), status=2)
    assert "data_name: digits there, mnist here" in refused.stderr
    refused = sweep(*shared, "--search", "batch_size=32,64", "learning_rate=0.1,0.2", short=(), status=2)
    assert "learning_rate: 0.02 there, 0.1,0.2 here" in refused.stderr
    refused = sweep(*shared, "--sampler", "grid", short=(), status=2)
    assert "sampler: tpe there, grid here" in refused.stderr
    assert len(study_of(file).trials) == 5


def test_a_name_of_which_one_value_is_left_is_named():
    result = sweep("--n_trials", "1", "--search", "learning_rate=0.01..0.01", "batch_size=8..64:128")
    assert "minimize val_loss over learning_rate 0.01, batch_size 8\n" in result.stdout


def plain_study(file, name, **options):
    """Make a study as a script that knows nothing of this project does."""
    study = optuna.create_study(study_name=name, storage=f"sqlite:///{file}", **options)

    def objective(trial):
        for name in ("metrics", "worker", "error"):  # as ours are called
            trial.set_user_attr(name, 3)
        return -((trial.suggest_float("x", 0, 1) - 0.3) ** 2)

    study.optimize(objective, n_trials=8)
    study.set_user_attr("test:none", "mine")
    best = study.best_trial
    study._storage.remove_session()
    return best


def test_a_study_of_another_program_is_left_alone():
    """One that maximizes was minimized, and its worst trial reported as the best."""
    Path("runs/sweeps/theirs").mkdir(parents=True)
    file = Path("runs/sweeps/theirs/study.db")
    best = plain_study(file, "theirs", direction="maximize")
    optuna.create_study(study_name="empty", storage=f"sqlite:///{file}", direction="maximize")
    before = file.read_bytes()
    refused = sweep("--study_name", "theirs", "--n_trials", "9", status=2)
    assert "study theirs in sqlite:///" in refused.stderr
    assert (
        "was made by another program or version (8 trials, maximize value): give another --study_name" in refused.stderr
    )
    assert len(refused.stderr.splitlines()) == 1
    refused = sweep("--study_name", "empty", "--storage", f"sqlite:///{file}", status=2)
    assert "(0 trials, maximize value)" in refused.stderr
    assert file.read_bytes() == before
    # The report shows what there is: the best as the study has it, and no command lines.
    report = sweep("--study_name", "theirs", "--report", short=())
    assert f"best: trial {best.number}, value {best.value:.4f}" in report.stdout
    assert "8 trials: 8 complete" in report.stdout
    assert "main.py" not in report.stdout
    rows = rows_of(file.parent)
    assert [float(row["x"]) for row in rows] == [trial.params["x"] for trial in study_of(file, "theirs").trials]
    assert rows[0].keys() == {"trial", "state", "value", "x", "seconds", "error", "run", "command"}
    page = (file.parent / "report.html").read_text()
    assert f"<td>{best.number}</td><td>{best.value:.6g}</td>" in page
    assert "main.py" not in page
    assert file.read_bytes() == before


@pytest.mark.parametrize("package", ["torch", "plotly"])
def test_a_missing_package_is_no_error_of_the_storage(package):
    script = (
        f"import runpy, sys; sys.modules[{package!r}] = None; sys.argv = sys.argv[1:]\n"
        f"sys.path.insert(0, {str(modules.ROOT)!r}); runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    result = python("-c", script, str(modules.ROOT / "sweep_optuna.py"), *MODEL, *SHORT, "--n_trials", "1")
    assert result.returncode == 1
    message = f"sweep_optuna.py: error: No module named '{package}' (this project is installed by: pip install -e .)\n"
    assert result.stderr == message
    assert not list(Path().iterdir())


def test_a_study_is_made_in_spite_of_a_reader_that_opens_it_too_early():
    """As a dashboard does, which makes the tables, too."""
    script = f"""
import runpy, sys
import optuna, sqlalchemy
from sqlalchemy import event

opened = []

def read(connection, cursor, statement, *more):
    if statement.startswith("INSERT INTO alembic_version") and not opened:
        opened.append(True)
        optuna.storages.RDBStorage(str(connection.engine.url))  # a second connection, before this one has written

event.listen(sqlalchemy.Engine, "before_cursor_execute", read)
sys.argv = sys.argv[1:]
sys.path.insert(0, {str(modules.ROOT)!r})
runpy.run_path(sys.argv[0], run_name="__main__")
"""
    result = python("-c", script, str(modules.ROOT / "sweep_optuna.py"), *MODEL, *SHORT, "--n_trials", "1")
    assert result.returncode == 0, result.stderr
    assert "1 trials: 1 complete" in result.stdout


@pytest.mark.parametrize("named", [None, "mine"])
def test_wandb_groups_the_runs_of_a_study(monkeypatch, named):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    if named:
        monkeypatch.setenv("WANDB_RUN_GROUP", named)
    sweep("--n_trials", "2", "--logger", "wandb", "--study_name", "my-study")
    runs = list(Path("runs/sweeps").glob("my-study/trials/*/wandb/offline-run-*/*.wandb"))
    assert len(runs) == 2
    for run_file in runs:
        content = run_file.read_bytes()
        assert (b"mine" in content, b"2\x08my-study" in content) == (named is not None, named is None)
