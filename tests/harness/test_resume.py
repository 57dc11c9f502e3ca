"""A run goes on from any checkpoint as if it had never stopped: same weights, same log, to the last bit."""

import csv
import shutil
import time
from pathlib import Path

import pytest
import torch

from harness import found
from harness.contracts import same
from harness.errors import UsageError
from main import parse_args
from tests.harness.program import main
from tests.harness.snapshots import Snapshots
from train import train

QUIET = ["--enable_progress_bar", "no", "--enable_model_summary", "no"]
DATA = found.ROOT / "data"
SHORT = [
    *QUIET,
    *("--limit_train_batches", "5", "--limit_val_batches", "2", "--limit_test_batches", "1"),
    *("--max_epochs", "3", "--log_every_n_steps", "1"),
]


class ValidationSnapshots(Snapshots):
    """Copies it in the middle of each validation."""

    def on_boundary(self, trainer, epoch_is_over):
        pass

    def on_validation_batch_end(self, trainer, pl_module, outputs, batch, batch_idx, dataloader_idx=0):
        if trainer.state.fn == "fit" and not trainer.sanity_checking and batch_idx == 0:
            super().on_boundary(trainer, False)


def content(run):
    checkpoint = torch.load(Path(run, "checkpoints", "last.ckpt"), weights_only=True)
    del checkpoint["callbacks"]  # they hold the paths of files
    checkpoint["resume"].pop("logs")
    return checkpoint


def rows(run):
    with Path(run, "metrics.csv").open() as file:
        return [{name: value for name, value in row.items() if value} for row in csv.DictReader(file)]


@pytest.fixture
def exacting(root):
    """The one model there is, on digits."""
    shutil.copy(Path(__file__).with_name("exacting_model.py"), root / "models" / "exacting.py")
    for name in ("digits.py", "digits.npz"):
        shutil.copy(DATA / name, root / "data")


def goes_on_to_the_bit(*argv, snapshots=Snapshots, some=slice(None)):
    metrics = train(parse_args([*SHORT, *argv]), Path("whole"), [snapshots()])
    found = sorted(Path("snapshots").iterdir())[some]
    assert found
    for snapshot in found:
        torch.rand(7)  # what other code draws must not matter
        again = train(parse_args(["--ckpt_path", str(snapshot / "checkpoints" / "last.ckpt")]), snapshot)
        parts = content(snapshot), content("whole")
        assert [name for name in parts[1] if not same(parts[0].get(name), parts[1][name])] == [], snapshot
        assert (snapshot / "metrics.csv").read_text() == Path("whole/metrics.csv").read_text(), snapshot
        assert again == metrics, snapshot


@pytest.mark.parametrize(
    "argv",
    [
        "",
        "--accumulate_grad_batches 2",
        "--val_check_interval 2 --schedule plateau",
        "--schedule plateau_step --accumulate_grad_schedule 0:2,1:1,2:3",
        "--schedule step --check_val_every_n_epoch 2 --ema_decay 0.9",
        "--schedule epoch --gradient_clip_val 0.1 --save_top_k 2 --track_grad_norm 2",
        "--max_epochs none --max_steps 13 --log_every_n_steps 3",
        "--max_epochs 6 --early_stopping_patience 0 --early_stopping_min_delta 0.3",
    ],
)
def test_from_any_batch_of_a_model_that_draws_random_numbers_everywhere(exacting, argv):
    goes_on_to_the_bit(*argv.split(), some=slice(None, None, 5 if argv else 1))


@pytest.fixture
def patterns(root):
    """The one model there is: metrics in every way that torchmetrics documents, on digits."""
    shutil.copy(Path(__file__).with_name("metric_patterns.py"), root / "models" / "patterns.py")
    for name in ("digits.py", "digits.npz"):
        shutil.copy(DATA / name, root / "data")


@pytest.mark.parametrize("argv", ["", "--val_check_interval 2"])
def test_metrics_in_every_documented_way(patterns, argv):
    """A metric that is given a loss with its gradient ended the run at the first validation."""
    goes_on_to_the_bit(*argv.split(), some=slice(1, None, 3))


def test_metrics_within_a_validation(patterns):
    goes_on_to_the_bit("--val_check_interval", "2", snapshots=ValidationSnapshots, some=slice(1, None, 2))


def test_from_the_middle_of_a_validation(exacting):
    goes_on_to_the_bit("--val_check_interval", "2", "--schedule", "plateau", snapshots=ValidationSnapshots)


@pytest.mark.parametrize("flags", ["--schedule plateau", "--val_check_interval 2", "--limit_val_batches 0"])
@pytest.mark.parametrize("monitor", ["val_loss", "train_loss"])
def test_from_the_best_checkpoints_too(exacting, flags, monitor):
    """They are written between a validation, or the end of an epoch, and what follows."""
    if "--limit_val_batches" in flags:
        monitor = "train_loss"
    keep = ("--save_top_k", "-1", "--monitor", monitor)
    train(parse_args([*SHORT, *flags.split(), *keep]), Path("whole"))
    logged = rows("whole")
    for number, path in enumerate(sorted(Path("whole/checkpoints").glob("epoch*.ckpt"))):
        again = Path(f"again{number}")
        train(parse_args(["--ckpt_path", str(path)]), again)
        names = ("state_dict", "optimizer_states", "loops", "lr_schedulers")
        assert [name for name in names if not same(content(again)[name], content("whole")[name])] == [], path
        assert all(row in logged for row in rows(again)[:-2]), path  # but for those of the new run's own best weights


def test_data_of_unknown_length_goes_on_too(exacting, monkeypatch):
    class Stream(torch.utils.data.IterableDataset):
        def __iter__(self):
            for number in range(40):
                yield torch.rand(1, 28, 28), number % 10

    loader = torch.utils.data.DataLoader(Stream(), batch_size=8)
    monkeypatch.setattr("harness.data.InMemoryData.train_dataloader", lambda self: loader)
    goes_on_to_the_bit("--limit_train_batches", "1.0", some=slice(1, None, 5))


def test_loaders_with_generators_go_on_too(exacting, monkeypatch):
    def train_dataloader(self):
        data = torch.utils.data.TensorDataset(torch.rand(40, 1, 28, 28), torch.arange(40) % 10)
        sampler = torch.utils.data.RandomSampler(data, generator=torch.Generator().manual_seed(1))
        return torch.utils.data.DataLoader(data, batch_sampler=torch.utils.data.BatchSampler(sampler, 8, False))

    monkeypatch.setattr("harness.data.InMemoryData.train_dataloader", train_dataloader)
    goes_on_to_the_bit(some=slice(1, None, 5))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_plain_loader_goes_on_too(exacting, monkeypatch, num_workers):
    """Shuffled by torch, with random changes to each sample: as users write it."""

    class Noisy(torch.utils.data.Dataset):
        def __len__(self):
            return 40

        def __getitem__(self, index):
            return torch.rand(1, 28, 28) + index / 40, index % 10

    def train_dataloader(self):
        return torch.utils.data.DataLoader(Noisy(), batch_size=8, shuffle=True, num_workers=num_workers)

    monkeypatch.setattr("harness.data.InMemoryData.train_dataloader", train_dataloader)
    goes_on_to_the_bit(some=slice(2, None, 5))


def test_tensorboard_goes_on_without_a_value_twice_or_missing(exacting):
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")

    def scalars(run):
        events = reader.EventAccumulator(str(run)).Reload()
        tags = set(events.Tags()["scalars"]) - {"hp_metric"}  # a constant, written with the hyperparameters
        # in the order of time, which has whole seconds only
        return {tag: sorted((event.step, event.value) for event in events.Scalars(tag)) for tag in tags}

    train(parse_args([*SHORT, "--logger", "tensorboard"]), Path("whole"), [Snapshots()])
    for name in ("02", "05"):
        snapshot = Path("snapshots", name)
        last = snapshot / "checkpoints" / "last.ckpt"
        shutil.copytree(snapshot, "longer")
        train(parse_args(["--ckpt_path", "longer/checkpoints/last.ckpt", "--max_epochs", "2"]), Path("longer"))
        time.sleep(1)  # TensorBoard orders files by the second of their start
        shutil.copytree("longer", snapshot, dirs_exist_ok=True)  # logs go beyond the checkpoint, as after a kill
        shutil.rmtree("longer")
        train(parse_args(["--ckpt_path", str(last), "--max_epochs", "3"]), snapshot)
        assert scalars(snapshot) == scalars("whole")


def test_a_run_that_is_given_more_epochs_is_that_of_so_many(exacting):
    train(parse_args(SHORT), Path("whole"))
    train(parse_args([*SHORT, "--max_epochs", "2"]), Path("part"))
    train(parse_args(["--ckpt_path", "part/checkpoints/last.ckpt", "--max_epochs", "3"]), Path("part"))
    assert same(content("part")["state_dict"], content("whole")["state_dict"])
    assert Path("part/metrics.csv").read_text() == Path("whole/metrics.csv").read_text()


def test_a_changed_flag_has_its_effect(exacting, capsys):
    train(parse_args([*SHORT, "--max_epochs", "1"]), Path("run"))
    capsys.readouterr()
    args = parse_args(["--ckpt_path", "run/checkpoints/last.ckpt", "--max_epochs", "2", "--learning_rate", "0.5"])
    shown = "--max_epochs 2 (there 1), --learning_rate 0.5 (there 0.01)"
    assert capsys.readouterr().err == f"unlike run/checkpoints/last.ckpt: {shown}\n"
    train(args, Path("run"))
    assert content("run")["optimizer_states"][0]["param_groups"][0]["lr"] == 0.5
    assert content("run")["hyper_parameters"]["learning_rate"] == 0.5


def test_what_a_schedule_decides_is_not_changed_under_it(exacting):
    train(parse_args([*SHORT, "--max_epochs", "1", "--schedule", "epoch"]), Path("run"))
    before = {path: path.read_bytes() for path in Path("run").rglob("*") if path.is_file()}
    args = parse_args(["--ckpt_path", "run/checkpoints/last.ckpt", "--max_epochs", "2", "--learning_rate", "0.5"])
    with pytest.raises(UsageError, match="lr of the optimiser cannot change now"):
        train(args, Path("run"))
    assert {path: path.read_bytes() for path in Path("run").rglob("*") if path.is_file()} == before


def test_within_an_epoch_its_length_cannot_change(exacting):
    train(parse_args(SHORT), Path("whole"), [Snapshots()])
    snapshot = Path("snapshots/02")
    before = {path: path.read_bytes() for path in snapshot.rglob("*") if path.is_file()}
    args = parse_args(["--ckpt_path", str(snapshot / "checkpoints" / "last.ckpt"), "--limit_train_batches", "4"])
    with pytest.raises(UsageError, match="within an epoch of 5 batches, and these flags make 4"):
        train(args, snapshot)
    assert {path: path.read_bytes() for path in snapshot.rglob("*") if path.is_file()} == before


def test_a_directory_that_was_moved_goes_on(exacting):
    train(parse_args([*SHORT, "--max_epochs", "2", "--save_top_k", "2"]), Path("here"))
    shutil.move("here", "there")
    train(parse_args(["--ckpt_path", "there/checkpoints/last.ckpt", "--max_epochs", "3"]), Path("there"))
    train(parse_args([*SHORT, "--save_top_k", "2"]), Path("whole"))
    files = [sorted(path.name for path in Path(run, "checkpoints").iterdir()) for run in ("there", "whole")]
    assert files[0] == files[1]
    best = [torch.load(f"{run}/checkpoints/best.ckpt", weights_only=True)["global_step"] for run in ("there", "whole")]
    assert best[0] == best[1]


def test_another_file_than_last_starts_a_new_run(capsys):
    main([*SHORT, "--default_root_dir", "runs"])
    (run,) = Path("runs").iterdir()
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    main(["--ckpt_path", str(run / "checkpoints" / "best.ckpt"), "--max_epochs", "4"])
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    assert len(list(Path("runs").iterdir())) == 2


def test_the_log_has_the_mean_over_the_whole_epoch(exacting):
    """No mean over the rest of an epoch: one row for each, the mean of its steps."""
    train(parse_args([*SHORT, "--max_epochs", "1"]), Path("whole"), [Snapshots()])
    train(parse_args(["--ckpt_path", "snapshots/02/checkpoints/last.ckpt"]), Path("snapshots/02"))
    logged = rows("snapshots/02")
    steps = [float(row["train_loss_step"]) for row in logged if "train_loss_step" in row]
    (mean,) = [float(row["train_loss_epoch"]) for row in logged if "train_loss_epoch" in row]
    assert len(steps) == 5
    assert mean == pytest.approx(sum(steps) / 5)
