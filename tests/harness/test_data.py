"""What batches the data modules make."""

from argparse import ArgumentParser

import pytest
import torch

from harness.found import DATA


def make(data_name, *argv):
    """Return a data module with its flags."""
    data_class = DATA.load(data_name)
    return data_class(data_class.add_data_specific_args(ArgumentParser(add_help=False)).parse_args(argv))


def check_batches(data):
    data.prepare_data()
    data.setup("fit")
    for loader in (data.train_dataloader(), data.val_dataloader(), data.test_dataloader()):
        x, y = next(iter(loader))
        assert (x.dtype, x.shape[1:]) == (torch.float32, (1, 28, 28))
        assert 0 <= x.min() < x.max() <= 1
        assert (y.dtype, y.shape) == (torch.int64, x.shape[:1])


@pytest.mark.parametrize("data_name", ["digits", "my_data"])
def test_batches_are_images_and_labels(data_name):
    check_batches(make(data_name))


def test_digits_are_the_published_ones_in_disjoint_splits():
    splits = make("digits").load()
    x = torch.cat([split[0] for split in splits.values()])
    y = torch.cat([split[1] for split in splits.values()])
    assert [len(split[1]) for split in splits.values()] == [1297, 200, 300]
    assert y.bincount().tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]  # of the UCI test set
    assert len(x.unique(dim=0)) == 1797


def test_workers_give_the_same_batches():
    one, two = make("my_data"), make("my_data", "--num_workers", "2")
    for data in (one, two):
        data.setup("fit")
    for (x, y), (x2, y2) in zip(one.train_dataloader(), two.train_dataloader(), strict=True):
        assert torch.equal(x, x2)
        assert torch.equal(y, y2)
