"""Batches of index tensors: complete, disjoint, and a function of seed and epoch."""

from argparse import ArgumentParser
from itertools import chain
from types import SimpleNamespace

import pytest
import torch
from torch.utils.data import Dataset

from harness.data import IndexBatches, InMemoryData
from harness.errors import UsageError


def indices(size, batch_size, *, epoch=0, **kwargs):
    batches = IndexBatches(size, batch_size, **kwargs)
    batches.set_epoch(epoch)
    return [batch.tolist() for batch in batches]


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("size", [1, 7, 8, 9, 100])
def test_an_epoch_holds_every_sample_once(size, shuffle):
    batches = indices(size, 8, shuffle=shuffle)
    assert sorted(chain(*batches)) == list(range(size))
    assert [len(batch) for batch in batches[:-1]] == [8] * (len(batches) - 1)
    assert len(batches) == len(IndexBatches(size, 8, shuffle=shuffle))


def test_the_order_is_a_function_of_seed_and_epoch():
    order = [indices(100, 8, shuffle=True, seed=seed, epoch=epoch) for seed in (0, 1) for epoch in (0, 1)]
    torch.rand(3)  # what other code draws must not matter
    again = [indices(100, 8, shuffle=True, seed=seed, epoch=epoch) for seed in (0, 1) for epoch in (0, 1)]
    assert order == again
    assert all(one != other for i, one in enumerate(order) for other in order[:i])


@pytest.mark.parametrize("world_size", [2, 3, 8])
@pytest.mark.parametrize("size", [8, 9, 64, 65, 100])
@pytest.mark.parametrize("batch_size", [1, 4])
def test_processes_share_an_epoch_in_equal_steps(size, batch_size, world_size):
    shares = [indices(size, batch_size, shuffle=True, rank=rank, world_size=world_size) for rank in range(world_size)]
    assert sorted(chain(*chain(*shares))) == list(range(size))
    assert len({len(share) for share in shares}) == 1
    assert all(batch for share in shares for batch in share)


X, Y = torch.arange(20.0).view(10, 2), torch.arange(10)


class Tensors(InMemoryData):
    loads = 0

    def load(self):
        type(self).loads += 1
        return {"train": (X, Y), "val": (X, Y)}


class Squares(Dataset):
    """Makes each sample when it is asked for."""

    def __len__(self):
        return 10

    def __getitem__(self, index):
        return {"x": X[index] ** 2, "name": f"number {index}"}


class OneByOne(InMemoryData):
    def load(self):
        return {"train": Squares(), "val": Squares()}


def data(data_class, *argv, device="cpu", rank=0, world_size=1):
    """Return a data module that is set up, as a Trainer would on a device."""
    parser = data_class.add_data_specific_args(ArgumentParser(add_help=False))
    module = data_class(parser.parse_args(["--batch_size", "4", *argv]))
    module.trainer = SimpleNamespace(
        strategy=SimpleNamespace(root_device=torch.device(device)),
        _accelerator_connector=SimpleNamespace(use_distributed_sampler=True),
        **{"global_rank": rank, "world_size": world_size, "current_epoch": 0, "overfit_batches": 0},
    )
    module.setup("fit")
    return module


@pytest.mark.parametrize("workers", ["0", "2"])
def test_batches_hold_the_tensors_of_their_samples(workers):
    batches = list(data(Tensors, "--num_workers", workers).val_dataloader())
    assert [len(y) for _, y in batches] == [4, 4, 2]
    assert torch.equal(torch.cat([x for x, _ in batches]), X)
    assert all(type(batch) is list for batch in batches)


@pytest.mark.parametrize("workers", ["0", "2"])
def test_samples_that_are_made_one_by_one_come_in_the_same_order(workers):
    order = [y.tolist() for _, y in data(Tensors).train_dataloader()]
    batches = list(data(OneByOne, "--num_workers", workers).train_dataloader())
    assert [batch["name"] for batch in batches] == [[f"number {index}" for index in part] for part in order]
    assert torch.equal(torch.cat([batch["x"] for batch in batches]), X[list(chain(*order))] ** 2)


@pytest.mark.parametrize("workers", ["0", "2"])
def test_processes_share_samples_that_are_made_one_by_one(workers):
    parts = [data(OneByOne, "--num_workers", workers, rank=rank, world_size=2).train_dataloader() for rank in (0, 1)]
    names = [[batch["name"] for batch in part] for part in parts]
    assert len(names[0]) == len(names[1])
    assert sorted(chain(*names[0], *names[1])) == [f"number {index}" for index in range(10)]


def test_all_data_are_moved_to_the_device_at_once():
    moved = data(Tensors, "--data_on_device", device="meta")
    assert all(tensor.is_meta for split in moved.splits.values() for tensor in split.tensors)
    loader = moved.train_dataloader()
    assert all(x.is_meta and y.is_meta for x, y in loader)
    assert next(iter(loader.sampler)).is_meta  # indices, too, are moved once an epoch
    (x, _) = next(iter(data(Tensors, device="meta").train_dataloader()))
    assert not x.is_meta


def test_what_cannot_be_on_the_device_is_refused():
    with pytest.raises(UsageError, match="--num_workers must be 0"):
        data(Tensors, "--data_on_device", "--num_workers", "1")
    with pytest.raises(UsageError, match="not as tensors"):
        data(OneByOne, "--data_on_device")


# {% if cookiecutter.sweeps != "none" %}
def test_what_is_kept_is_loaded_once_for_the_same_flags_and_seed(monkeypatch):
    monkeypatch.setattr(Tensors, "loads", 0)
    data(Tensors), data(Tensors)
    assert Tensors.loads == 2
    monkeypatch.setattr("harness.data.dataset_cache", {})
    first, second = data(Tensors), data(Tensors, "--batch_size", "8", "--num_workers", "1")
    assert Tensors.loads == 3
    assert first.splits is second.splits
    monkeypatch.setenv("PL_GLOBAL_SEED", "7")
    data(Tensors)
    assert Tensors.loads == 4


# {% endif %}
def test_a_batch_of_tensors_is_moved_as_lightning_moves_others():
    module, device = data(Tensors), torch.device("meta")
    moved = module.transfer_batch_to_device([X, Y], device, 0)
    assert [tensor.is_meta for tensor in moved] == [True, True]
    nested = module.transfer_batch_to_device({"x": X, "names": ["a"]}, device, 0)
    assert nested["x"].is_meta
    assert nested["names"] == ["a"]


class Rows(InMemoryData):
    def load(self):
        y = torch.arange(20) % 4
        return {"train": (torch.arange(12.0), y[:12]), "val": (torch.arange(12.0, 20.0), y[12:]), "test": (y, y)}


@pytest.mark.parametrize("of", [2, 3, 5])
def test_folds_are_disjoint_complete_and_stratified(of):
    found, test = [], None
    for number in range(1, of + 1):
        data = Rows({"batch_size": 4, "num_workers": 0, "fold": f"{number}/{of}"})
        data.setup("fit")
        x, y = data.splits["val"].tensors
        found += x.tolist()
        assert sorted([*x.tolist(), *data.splits["train"].tensors[0].tolist()]) == list(range(20))
        counts = torch.bincount(y, minlength=4)
        assert counts.max() - counts.min() <= 1
        test = data.splits["test"].tensors[0] if test is None else test
        assert torch.equal(data.splits["test"].tensors[0], test)
    assert sorted(found) == list(range(20))


def test_folds_need_tensors_and_enough_samples():
    class Few(Rows):
        def load(self):
            return {"train": (torch.ones(2),), "test": (torch.ones(2),)}

    class Samplewise(Rows):
        def load(self):
            return {"train": Dataset(), "val": Dataset()}

    for kind, message in (
        (Few, "2 samples are too few for 3 folds"),
        (Samplewise, "load\\(\\) of Samplewise returns no"),
    ):
        with pytest.raises(UsageError, match=message):
            kind({"batch_size": 4, "num_workers": 0, "fold": "1/3"}).setup("fit")
