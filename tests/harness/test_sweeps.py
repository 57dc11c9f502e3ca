"""The parts of a sweep: its space, its claims on trials, what it keeps, its storages."""

import json
import os
import signal
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import optuna
import pytest
import pytorch_lightning as pl
import torch
from optuna.distributions import CategoricalDistribution as Choice
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.trial import FixedTrial, TrialState
from sweep_program import read as read_command_line

from harness import found
from harness.errors import Stopped, UsageError
from harness.sweeps.optuna import sampling, storages
from harness.sweeps.optuna.best import keep_checkpoints
from harness.sweeps.optuna.claims import MOST_DEATHS, Claims
from harness.sweeps.optuna.flags import PRUNERS, SAMPLERS
from harness.sweeps.optuna.locks import FileLocks, locks_of
from harness.sweeps.optuna.program import open_claims
from harness.sweeps.optuna.space import Space, parse_search
from harness.sweeps.optuna.study import open_study, storage_of
from harness.sweeps.optuna.trial import Pruned, TrialReports
from harness.sweeps.optuna.workers import deal_devices
from harness.sweeps.reports import Reporter
from main import parse_args
from train import train

pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
MODEL = """
import pytorch_lightning as pl

class Net(pl.LightningModule):
    monitor = "val_loss"

    @staticmethod
    def add_model_specific_args(parent_parser):
        parent_parser.add_argument("--width", type=int, default=3)
        parent_parser.add_argument("--rate", type=float, default=0.1)
        parent_parser.add_argument("--kind", choices=["adam", "sgd"], default="adam")
        parent_parser.add_argument("--momentum", type=float, default=0.0)
        return parent_parser

    @staticmethod
    def search_space(trial):
        trial.suggest_int("width", 1, 99)
        if trial.suggest_categorical("kind", ["adam", "sgd"]) == "sgd":
            trial.suggest_float("momentum", 0.1, 0.9)

    def train_dataloader(self): ...
"""


@pytest.fixture
def read(root):
    """Return a function that reads the command line of a sweep over a model with four flags."""
    (root / "models" / "net.py").write_text(MODEL)
    (root / "data" / "none.py").touch()
    return lambda *words: read_command_line(["--model_name", "net", *words])


@pytest.fixture
def claims_of(read):
    """Return a function that makes the claims of a sweep; all of this process."""

    def claims(*words):
        sweep = read(*words)
        url = storage_of(sweep.flags, sweep.name)
        locks = locks_of(url, sweep.directory, sweep.name)
        claims = Claims(sweep, *open_study(sweep, url, locks), locks)
        claims.locks = locks
        return claims

    return claims


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("width=1..8", IntDistribution(1, 8)),
        ("--width=1..8", IntDistribution(1, 8)),
        ("width=16..64:16", IntDistribution(16, 64, step=16)),
        ("width=1..100:log", IntDistribution(1, 100, log=True)),
        ("rate=1e-4..1e-1:log", FloatDistribution(1e-4, 0.1, log=True)),
        ("rate=0..1", FloatDistribution(0.0, 1.0)),
        ("rate=-1..1:0.5", FloatDistribution(-1.0, 1.0, step=0.5)),
        ("width=64,128,256", Choice((64, 128, 256))),
        ("rate=1e-3,0.1", Choice((0.001, 0.1))),
        ("kind=sgd", Choice(("sgd",))),
        ("compile=yes,no", Choice((True, False))),
        ("logger=csv,none", Choice(("csv", None))),
    ],
)
def test_search_is_read_as_the_flag_reads_it(read, word, expected):
    name, found = parse_search(word, read().parser)
    assert (name, found) == (word.removeprefix("--").partition("=")[0], expected)


def test_the_command_line_narrows_widens_replaces_and_holds(read):
    def asked(*words):
        return {name: values for name, (_, values) in read(*words).space.probes[1].items()}

    kind, momentum = Choice(("adam", "sgd")), FloatDistribution(0.1, 0.9)
    assert asked() == {"width": IntDistribution(1, 99), "kind": kind, "momentum": momentum}
    assert asked("--search", "width=200..300")["width"] == IntDistribution(200, 300)
    assert asked("--search", "rate=0..1")["rate"] == FloatDistribution(0.0, 1.0)
    assert list(asked("--search", "rate=0..1", "--search_only")) == ["rate"]
    assert list(asked("--width", "5")) == ["kind", "momentum"]
    assert list(asked("--kind", "adam")) == ["width"]
    Path("held.yaml").write_text("width: 7\n")
    assert list(asked("--config", "held.yaml")) == ["kind", "momentum"]


def test_what_is_drawn_hangs_on_what_was_drawn(read):
    space = read().space
    assert space.draw(FixedTrial({"width": 3, "kind": "adam"})) == {"width": 3, "kind": "adam"}
    drawn = {"width": 3, "kind": "sgd", "momentum": 0.5}
    assert space.draw(FixedTrial(drawn)) == drawn
    # Replaced by the command line, it is drawn where the model asks for it, or else at the end.
    space = read("--search", "momentum=0.2,0.4").space
    assert space.draw(FixedTrial({"width": 3, "kind": "adam", "momentum": 0.4}))["momentum"] == 0.4


def test_a_grid_is_all_combinations(read):
    sweep = read("--sampler", "grid", "--kind", "adam", "--search", "width=1..3", "rate=0.1,0.2")
    assert sweep.space.grid() == {"width": [1, 2, 3], "rate": [0.1, 0.2]}
    assert sweep.n_trials == 6
    assert read("--sampler", "grid", "--kind", "adam", "--search", "width=1,2", "--n_trials", "9").n_trials == 2
    with pytest.raises(UsageError, match="the same in every trial"):
        read("--sampler", "grid")


def test_probes_reach_both_ends():
    def declared(trial):
        trial.suggest_int("a", 16, 512, log=True)
        trial.suggest_int("b", 3, 10, step=3)
        trial.suggest_float("c", 0.0, 1.0, step=0.25)
        trial.suggest_categorical("d", ["x", "y", "z"])

    space = Space([declared], {}, {})
    probes = [{name: value for name, (value, _) in probe.items()} for probe in space.probes]
    assert probes[:2] == [{"a": 16, "b": 3, "c": 0.0, "d": "x"}, {"a": 512, "b": 9, "c": 1.0, "d": "z"}]
    for name, legal in (("b", {3, 6, 9}), ("c", {0.0, 0.25, 0.5, 0.75, 1.0})):
        assert {probe[name] for probe in probes} <= legal
    assert space.texts == {"a": ["16..512:log"], "b": ["3..9:3"], "c": ["0.0..1.0:0.25"], "d": ["x,y,z"]}


@pytest.mark.parametrize(
    "declared",
    [
        lambda trial: trial.suggest_float("a", 1.0, 0.0),
        lambda trial: trial.suggest_float("a", 0.0, 1.0, log=True),
        lambda trial: trial.suggest_int("a", 1, 9, log=True, step=2),
        lambda trial: trial.suggest_categorical("a", []),
    ],
)
def test_a_space_that_is_none_is_refused(declared):
    with pytest.raises(UsageError, match="search space: "):
        _ = Space([declared], {}, {}).probes


def test_there_are_as_many_trials_as_asked_for_whoever_asks(claims_of):
    claims = [claims_of("--n_trials", "7") for _ in range(3)]
    taken = [each.claim() for _ in range(3) for each in claims]
    trials = [claim.trial for claim in taken if claim]
    assert [trial.number for trial in trials] == list(range(7))
    assert len({str(trial.params) for trial in trials}) == 7
    assert not any(each.has_more() for each in claims)


@pytest.mark.parametrize("sampler", ["tpe", "random", "qmc", "cmaes", "gp"])
def test_values_are_those_of_the_seed_and_the_number(claims_of, sampler):
    if sampler in ("cmaes", "gp", "qmc"):
        pytest.importorskip("scipy")
        pytest.importorskip("cmaes")

    def drawn(*words):
        claims = claims_of("--sampler", sampler, "--kind", "adam", "--search", "rate=0..1", "--n_trials", "4", *words)
        found = []
        for number in range(4):
            claim = claims.claim()
            claims.finish(claim, TrialState.COMPLETE, [float(number)])
            found.append(claim.drawn)
        return found

    first = drawn("--study_name", "one")
    assert drawn("--study_name", "two") == first
    assert drawn("--study_name", "three", "--seed", "1") != first
    assert len({str(values) for values in first}) == 4


def test_a_grid_has_each_point_once_in_an_order_of_the_seed(claims_of):
    def drawn(*words):
        claims = claims_of("--sampler", "grid", "--kind", "adam", "--search", "width=1..3", "rate=0.1,0.2", *words)
        return [str(claims.claim().drawn) for _ in range(6)]

    first = drawn("--study_name", "one")
    assert len(set(first)) == 6
    assert drawn("--study_name", "two") == first
    other = drawn("--study_name", "three", "--seed", "1")
    assert set(other) == set(first)
    assert other != first


CLAIM_AND_DIE = """
import sys, time
from sweep_program import PROGRAM, read
from harness.sweeps.optuna.program import open_claims
from harness.sweeps.optuna.study import storage_of

sweep = read(sys.argv[1:])
claim = open_claims(sweep, storage_of(sweep.flags, sweep.name)).claim()
print(claim.trial.number, flush=True)
time.sleep(600)
"""


@pytest.fixture
def worker():
    """Return a function that claims a trial in another process, and returns the process."""
    started = []

    def start(*words):
        path = os.pathsep.join([str(found.ROOT), str(Path(__file__).parent)])
        command = [sys.executable, "-c", CLAIM_AND_DIE, *words]
        environment = os.environ | {"PYTHONPATH": path}
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment))
        assert started[-1].stdout.readline().strip().isdecimal()
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


MODEL_WORDS = ("--model_name", "my_model", "--n_trials", "1", "--study_name", "s")


def open_model_claims():
    sweep = read_command_line(MODEL_WORDS)
    return open_claims(sweep, storage_of(sweep.flags, sweep.name))


def test_the_trial_of_a_killed_worker_is_run_again_with_its_values(worker):
    process = worker(*MODEL_WORDS)
    claims = open_model_claims()
    (before,) = claims.trials()
    assert claims.claim() is None  # it is running
    assert not claims.has_more()
    process.kill()
    process.wait()
    assert claims.has_more()
    claim = claims.claim()
    assert (claim.trial.number, claim.drawn) == (0, before.params)
    assert len(claims.trials()) == 1


def test_a_trial_that_kills_its_workers_fails_at_last(worker):
    for _ in range(MOST_DEATHS):
        process = worker(*MODEL_WORDS)
        process.kill()
        process.wait()
    claims = open_model_claims()
    assert claims.claim() is None
    (trial,) = claims.trials()
    assert trial.state == TrialState.FAIL
    assert trial.user_attrs["error"].startswith(f"its process was killed {MOST_DEATHS} times")


def test_a_trial_that_saves_between_its_deaths_is_resumed(worker):
    for death in range(MOST_DEATHS + 2):
        process = worker(*MODEL_WORDS)
        claims = open_model_claims()
        checkpoint = claims.run_dir(claims.trials()[0]) / "checkpoints" / "last.ckpt"
        checkpoint.parent.mkdir(parents=True, exist_ok=True)
        checkpoint.touch()
        os.utime(checkpoint, (death, death))
        process.kill()
        process.wait()
    assert claims.claim().trial.number == 0


def test_a_lock_is_held_until_its_process_ends_and_not_by_its_children(tmp_path):
    script = (
        "import os, sys, time\nfrom pathlib import Path\nfrom harness.sweeps.optuna.locks import FileLocks\n"
        "print(FileLocks(Path(sys.argv[1]), True).take(), flush=True)\n"
        "if os.fork() == 0: os.close(1)\n"
        "time.sleep(30)\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "lock")]
    environment = os.environ | {"PYTHONPATH": str(found.ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        key, locks = int(process.stdout.readline()), FileLocks(tmp_path / "lock", True)
        assert locks.is_held(key)
        assert not locks.is_held(key + 1)
        process.kill()
        process.wait()
        assert not locks.is_held(key)
    own = locks.take()
    assert locks.is_held(own)
    locks.release(own)
    assert not locks.is_held(own)


def test_a_trial_of_a_machine_whose_locks_are_not_seen_is_left_alone(claims_of):
    claims = claims_of("--n_trials", "1")
    trial = claims.claim().trial
    claims.sign(trial, domain="another", key=5)
    assert claims.claim() is None
    claims.sign(trial, domain=claims.locks.domain)
    assert claims.claim().trial.number == 0


def test_a_stopped_trial_waits_and_only_its_own_worker_lets_it_go(claims_of):
    claims = claims_of("--n_trials", "1")
    claim = claims.claim()
    claims.sign(claim.trial, key=claim.key + 1)
    claims.finish(claim, TrialState.WAITING, None)
    assert claims.trials()[0].state == TrialState.RUNNING
    claims.sign(claim.trial, key=claim.key)
    claims.locks.own.add(claim.key)
    claims.finish(claim, TrialState.WAITING, None)
    assert claims.trials()[0].state == TrialState.WAITING


def test_failures_in_a_row_end_a_sweep(claims_of):
    claims = claims_of("--n_trials", "9", "--max_failures", "2")

    def end(state, value=None):
        values = None if value is None else [value]
        claims.finish(claims.claim(), state, values, error="of its own" if value is None else "")

    for state, value in ((TrialState.FAIL, None), (TrialState.COMPLETE, 1.0), (TrialState.FAIL, None)):
        end(state, value)
        assert claims.failures(claims.trials()) == ""
    end(TrialState.FAIL)
    assert claims.failures(claims.trials()) == "2 trials in a row have failed, the last with: of its own"
    assert claims.claim() is None
    # Whoever starts it again has mended something.
    assert claims_of("--n_trials", "9", "--max_failures", "2").claim().trial.number == 4


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_the_best_keep_their_checkpoints(claims_of, direction):
    claims = claims_of("--n_trials", "6", "--keep_top", "2", "--direction", direction, "--monitor", "m")
    values = [3.0, 1.0, 2.0, None, 5.0, 0.5]
    for value in values:
        claim = claims.claim()
        trial = claim.trial
        (claims.run_dir(trial) / "checkpoints").mkdir(parents=True)
        state = TrialState.COMPLETE if value is not None else TrialState.FAIL
        claims.finish(claim, state, None if value is None else [value])
        keep_checkpoints(claims, trial.number)
        complete = sorted(v for v in values[: trial.number + 1] if v is not None)
        best = complete[:2] if direction == "minimize" else complete[-2:]
        kept = {path.parent.name for path in claims.sweep.directory.glob("trials/*/checkpoints")}
        assert kept == {f"{values.index(each):04}" for each in best}


class AlwaysPrune(optuna.pruners.BasePruner):
    def prune(self, study, trial):
        return True


def test_a_run_in_other_processes_is_not_pruned_when_its_training_is_over(tmp_path, capsys):
    """It was killed while it wrote its metrics."""
    study = optuna.create_study(pruner=AlwaysPrune())
    file = tmp_path / "reports.jsonl"
    reports = [
        {"step": n, "epoch": n, "max_epochs": 2, "metrics": {"m": n / 2, "other": 3.0}, "is_last": n == 2}
        for n in (1, 2)
    ]
    lines = [f"{json.dumps(report)}\n" for report in reports]
    watch = TrialReports(0, "m", study.ask(), tmp_path)
    watch.look()  # nothing is there yet
    file.write_text(lines[0] + lines[1][:9])  # half a line
    with pytest.raises(Pruned):
        watch.look()
    assert watch.last.metrics == {"m": 0.5, "other": 3.0}
    watch.look()  # nothing is new
    late = TrialReports(1, "m", study.ask(), tmp_path)
    file.write_text("".join(lines))
    late.look()
    watch.look()
    assert [trial.intermediate_values for trial in study.trials] == [{1: 0.5, 2: 1.0}] * 2
    assert capsys.readouterr().out.splitlines()[0] == "#0 epoch 1/2 m 0.5"


def test_paths_are_whole_and_passwords_hidden():
    assert storages.absolute("journal:a/b.log") == f"journal:{Path.cwd()}/a/b.log"
    assert storages.absolute("sqlite:///a.db") == f"sqlite:///{Path.cwd()}/a.db"
    assert storages.without_password("postgresql://me:secret@host/name") == "postgresql://me:***@host/name"


def test_pruners_and_samplers_are_optunas_own_with_its_options():
    for name, class_name in PRUNERS.items():
        assert type(sampling.build_pruner(name, 9)).__name__ == class_name
    for name, class_name in SAMPLERS.items():
        if name not in ("cmaes", "gp", "qmc"):
            assert type(sampling.build_sampler(name, 0, 1)).__name__ == class_name
    assert sampling.build_pruner("hyperband", 9)._max_resource == 9
    assert sampling.build_pruner("hyperband", -1)._max_resource == "auto"
    assert sampling.build_sampler("tpe:n_startup_trials=20", 0, 1)._n_startup_trials == 20
    text = sampling.full_text("median:warmup=3,n_min_trials=2", "pruners")
    assert text == "median:n_warmup_steps=3,n_min_trials=2"
    assert sampling.build_pruner(text, 9)._n_warmup_steps == 3
    assert sampling.options_of("cmaes:sigma0=none,with_margin=yes", "samplers") == {"sigma0": None, "with_margin": True}


def test_the_default_pruner_ends_no_trial_in_the_first_third():
    study = optuna.create_study(pruner=sampling.build_pruner("median", 9))
    for _ in range(6):
        trial = study.ask()
        for step in range(1, 10):
            trial.report(1.0, step)
        study.tell(trial, 1.0)
    bad, pruned = study.ask(), []
    for step in range(1, 10):
        bad.report(2.0, step)
        pruned.append(bad.should_prune())
    assert pruned == [False] * 3 + [True] * 6


@pytest.mark.parametrize(("name", "class_name"), [("nsga", "NSGAIISampler"), ("brute", "BruteForceSampler")])
def test_a_line_adds_a_sampler(monkeypatch, claims_of, name, class_name):
    monkeypatch.setitem(SAMPLERS, name, class_name)
    claims = claims_of("--sampler", name, "--n_trials", "2", "--search", "width=1,2", "--kind", "adam")
    assert claims.claim().drawn
    assert type(claims.study.sampler).__name__ == class_name


@pytest.mark.parametrize(
    ("gpus", "visible", "devices", "expected"),
    [
        (4, None, "auto", ["0", "1", "2", "3"]),
        (2, None, "auto", ["0", "1", "0", "1"]),
        (4, None, 2, ["0,1", "2,3", "0,1", "2,3"]),
        (3, "5,6,7", 1, ["5", "6", "7", "5"]),
        (4, None, [1], [None] * 4),
        (0, None, "auto", [None] * 4),
    ],
)
def test_gpus_are_dealt_out(monkeypatch, gpus, visible, devices, expected):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    dealt = []
    for worker in range(4):
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        if visible:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        args = Namespace(workers=4, num_threads=None, accelerator="auto", devices=devices)
        more = deal_devices(worker, args)
        dealt.append(os.environ.get("CUDA_VISIBLE_DEVICES"))
        assert more["num_threads"] == max(1, len(os.sched_getaffinity(0)) // 4)
        assert more.get("devices") == (1 if devices == "auto" and gpus else None)
    assert dealt == expected


class SignalAtTheEnd(pl.Callback):
    """Sends SIGTERM in a hook of the last epoch."""

    def __init__(self, hook):
        setattr(self, hook, self.send)

    def send(self, trainer, pl_module):
        if trainer.state.fn == "fit" and trainer.current_epoch == 1:
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize("hook", ["on_validation_end", "on_train_epoch_end"])
def test_a_signal_at_the_end_of_training_loses_no_report(hook):
    argv = ["--model_name", "my_model", "--accelerator", "cpu", "--max_epochs", "2", "--limit_train_batches", "2"]
    sent = []
    with pytest.raises(Stopped):
        train(parse_args(argv), Path("run"), callbacks=[Reporter("val_loss", sent.append), SignalAtTheEnd(hook)])
    again = parse_args(["--ckpt_path", "run/checkpoints/last.ckpt"])
    metrics = train(again, Path("run"), callbacks=[Reporter("val_loss", sent.append)])
    assert [(report.step, report.is_last) for report in sent] == [(1, False), (2, True)]
    assert sent[-1].metrics["val_loss"] == metrics["val_loss"]
