"""The parts of a sweep: its space, its claims on trials, what it keeps, its storages."""

import json
import os
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import optuna
import pytest
import torch
from optuna.trial import FixedTrial, TrialState

from harness.errors import UsageError
from harness.sweeps.optuna import studies
from harness.sweeps.optuna.claims import MOST_DEATHS, Claims, myself
from harness.sweeps.optuna.kept import keep_checkpoints
from harness.sweeps.optuna.space import Choice, Probe, Range, Space, parse_search
from harness.sweeps.optuna.trials import Pruned, Watch, deal_devices
from main import program_parser, trained_parser
from sweep_optuna import begun_study, read_command_line

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
    """Return a function that makes the claims of a sweep, each time as another process does."""

    def claims(*words):
        sweep = read(*words)
        url = studies.absolute(f"sqlite:///{sweep.directory / 'study.db'}")
        return Claims(sweep, *begun_study(sweep, url), url)

    return claims


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("width=1..8", Range(1, 8)),
        ("--width=1..8", Range(1, 8)),
        ("width=16..64:16", Range(16, 64, step=16)),
        ("width=1..100:log", Range(1, 100, log=True)),
        ("rate=1e-4..1e-1:log", Range(1e-4, 0.1, log=True)),
        ("rate=0..1", Range(0.0, 1.0)),
        ("rate=-1..1:0.5", Range(-1.0, 1.0, step=0.5)),
        ("width=64,128,256", Choice((64, 128, 256))),
        ("rate=1e-3,0.1", Choice((0.001, 0.1))),
        ("kind=sgd", Choice(("sgd",))),
        ("compile=yes,no", Choice((True, False))),
        ("logger=csv,none", Choice(("csv", None))),
    ],
)
def test_search_is_read_as_the_flag_reads_it(read, word, expected):
    read()
    parser, _ = trained_parser(["--model_name", "net"], program_parser())
    name, found = parse_search(word, parser)
    assert (name, found) == (word.removeprefix("--").partition("=")[0], expected)
    assert type(getattr(found, "low", None)) is type(getattr(expected, "low", None))


def test_the_command_line_narrows_widens_replaces_and_holds(read):
    def asked(*words):
        probe = Probe(1)
        read(*words).space.draw(probe)
        return probe.asked

    assert asked() == {"width": Range(1, 99), "kind": Choice(("adam", "sgd")), "momentum": Range(0.1, 0.9)}
    assert asked("--search", "width=200..300")["width"] == Range(200, 300)
    assert asked("--search", "rate=0..1")["rate"] == Range(0.0, 1.0)
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

    probes = Space([declared], {}, {}).probes()
    assert [probe.drawn for probe in probes[:2]] == [{"a": 16, "b": 3, "c": 0.0}, {"a": 512, "b": 9, "c": 1.0}]
    for name, legal in (("b", {3, 6, 9}), ("c", {0.0, 0.25, 0.5, 0.75, 1.0})):
        assert {probe.drawn[name] for probe in probes} <= legal


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
    with pytest.raises(UsageError, match="search space: a"):
        Space([declared], {}, {}).probes()


def test_there_are_as_many_trials_as_asked_for_whoever_asks(claims_of):
    claims = [claims_of("--n_trials", "7") for _ in range(3)]
    taken = [each.claim({}) for _ in range(3) for each in claims]
    trials = [claimed[0] for claimed in taken if claimed]
    assert [trial.number for trial in trials] == list(range(7))
    assert len({str(trial.params) for trial in trials}) == 7
    assert not any(each.is_more_to_do() for each in claims)


@pytest.mark.parametrize("sampler", ["tpe", "random", "qmc", "cmaes", "gp"])
def test_values_are_those_of_the_seed_and_the_number(claims_of, sampler):
    if sampler in ("cmaes", "gp", "qmc"):
        pytest.importorskip("scipy")
        pytest.importorskip("cmaes")

    def drawn(*words):
        claims = claims_of("--sampler", sampler, "--kind", "adam", "--search", "rate=0..1", "--n_trials", "4", *words)
        found = []
        for number in range(4):
            trial, values = claims.claim({})
            claims.study.tell(trial, float(number))
            found.append(values)
        return found

    first = drawn("--study_name", "one")
    assert drawn("--study_name", "two") == first
    assert drawn("--study_name", "three", "--seed", "1") != first
    assert len({str(values) for values in first}) == 4


def dead_process():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_the_trial_of_a_dead_worker_is_run_again_with_its_values(claims_of):
    claims = claims_of("--n_trials", "2")
    (first, drawn), _ = claims.claim({}), claims.claim({})
    assert claims_of("--n_trials", "2").claim({}) is None  # both are at work
    first.set_user_attr("worker", {**first.user_attrs["worker"], "pid": dead_process()})
    assert not claims.is_mine(first)
    again, drawn_again = claims_of("--n_trials", "2").claim({})
    assert (again.number, drawn_again) == (first.number, drawn)
    assert len(claims.trials()) == 2


def test_a_number_that_another_process_has_now_does_not_keep_a_trial(claims_of):
    claims = claims_of("--n_trials", "1")
    trial, _ = claims.claim({})
    assert claims.claim({}) is None
    trial.set_user_attr("worker", {**trial.user_attrs["worker"], "born": "before"})
    assert claims.claim({})[0].number == 0


def test_a_trial_elsewhere_lives_as_long_as_it_gives_signs(claims_of, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("harness.sweeps.optuna.claims.monotonic", lambda: clock[0])
    claims = claims_of("--n_trials", "1")
    trial, _ = claims.claim({})
    trial.set_user_attr("worker", {**trial.user_attrs["worker"], "host": "another", "pid": dead_process()})
    for beat in range(5):
        trial.set_user_attr("beat", beat)
        assert claims.claim({}) is None
        clock[0] += 100
    clock[0] += 100
    assert claims.claim({})[0].number == 0


def test_a_trial_that_kills_its_workers_fails_at_last(claims_of):
    claims = claims_of("--n_trials", "1")
    for _ in range(MOST_DEATHS):
        trial, _ = claims.claim({})
        trial.set_user_attr("worker", {**trial.user_attrs["worker"], "pid": (pid := dead_process())})
        claims.count_death(pid)
    assert claims.claim({}) is None
    (trial,) = claims.trials()
    assert trial.state == TrialState.FAIL
    assert trial.user_attrs["error"].startswith(f"its process was killed {MOST_DEATHS} times")


def test_a_trial_that_saves_between_its_deaths_goes_on(claims_of):
    claims = claims_of("--n_trials", "1")
    for death in range(2 * MOST_DEATHS):
        trial, _ = claims.claim({})
        checkpoint = claims.run_dir(trial) / "checkpoints" / "last.ckpt"
        checkpoint.parent.mkdir(parents=True, exist_ok=True)
        checkpoint.touch()
        os.utime(checkpoint, (death, death))
        trial.set_user_attr("worker", {**trial.user_attrs["worker"], "pid": (pid := dead_process())})
        claims.count_death(pid)
    assert claims.claim({})[0].number == 0


def test_a_stopped_trial_waits_and_only_its_own_worker_lets_it_go(claims_of):
    claims = claims_of("--n_trials", "1")
    trial, _ = claims.claim({})
    trial.set_user_attr("worker", {**myself(), "pid": dead_process()})
    claims.release(trial)
    assert claims.trials()[0].state == TrialState.RUNNING
    trial.set_user_attr("worker", myself())
    claims.release(trial)
    assert claims.trials()[0].state == TrialState.WAITING


def test_failures_in_a_row_end_a_sweep(claims_of):
    claims = claims_of("--n_trials", "9", "--max_failures", "2")

    def end(state, value=None):
        trial, _ = claims.claim({})
        trial.set_user_attr("error", "of its own")
        claims.study.tell(trial, value, state)

    for state, value in ((TrialState.FAIL, None), (TrialState.COMPLETE, 1.0), (TrialState.FAIL, None)):
        end(state, value)
        assert claims.failures(claims.trials()) == ""
    end(TrialState.FAIL)
    assert claims.failures(claims.trials()) == "2 trials in a row have failed, the last with: of its own"
    assert claims.claim({}) is None
    # Whoever starts it again has mended something.
    assert claims_of("--n_trials", "9", "--max_failures", "2").claim({})[0].number == 4


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_the_best_keep_their_checkpoints(claims_of, direction):
    claims = claims_of("--n_trials", "6", "--keep_top", "2", "--direction", direction, "--monitor", "m")
    values = [3.0, 1.0, 2.0, None, 5.0, 0.5]
    for value in values:
        trial, _ = claims.claim({})
        (claims.run_dir(trial) / "checkpoints").mkdir(parents=True)
        claims.study.tell(trial, value, TrialState.COMPLETE if value is not None else TrialState.FAIL)
        keep_checkpoints(claims, trial.number)
        complete = sorted(v for v in values[: trial.number + 1] if v is not None)
        best = complete[:2] if direction == "minimize" else complete[-2:]
        kept = {path.parent.name for path in claims.sweep.directory.glob("trials/*/checkpoints")}
        assert kept == {f"{values.index(each):04}" for each in best}


class AlwaysPrune(optuna.pruners.BasePruner):
    def prune(self, study, trial):
        return True


def test_a_run_in_other_processes_is_not_pruned_when_its_training_is_over(tmp_path):
    """It was killed while it wrote what it had come to."""
    study = optuna.create_study(pruner=AlwaysPrune())
    file = tmp_path / "reports.jsonl"
    lines = [json.dumps({"step": n, "metrics": {"m": n / 2, "other": 3.0}, "is_last": n == 2}) + "\n" for n in (1, 2)]
    watch = Watch(study.ask(), "m", tmp_path)
    watch()  # nothing is there yet
    file.write_text(lines[0] + lines[1][:9])  # half a line
    with pytest.raises(Pruned) as pruned:
        watch()
    assert pruned.value.metrics == {"m": 0.5, "other": 3.0}
    watch()  # nothing is new
    late = Watch(study.ask(), "m", tmp_path)
    file.write_text("".join(lines))
    late()
    watch()
    assert [trial.intermediate_values for trial in study.trials] == [{1: 0.5, 2: 1.0}] * 2


def test_paths_are_whole_and_passwords_hidden():
    assert studies.absolute("journal:a/b.log") == f"journal:{Path.cwd()}/a/b.log"
    assert studies.absolute("sqlite:///a.db") == f"sqlite:///{Path.cwd()}/a.db"
    assert studies.shown("postgresql://me:secret@host/name") == "postgresql://me:***@host/name"


def test_pruners_are_optunas_own(read):
    for name, kind in (
        ("median", optuna.pruners.MedianPruner),
        ("hyperband", optuna.pruners.HyperbandPruner),
        ("successive_halving", optuna.pruners.SuccessiveHalvingPruner),
        ("none", optuna.pruners.NopPruner),
    ):
        assert type(studies.pruner(name, 9)) is kind
    assert studies.pruner("hyperband", 9)._max_resource == 9
    assert studies.pruner("hyperband", -1)._max_resource == "auto"


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
