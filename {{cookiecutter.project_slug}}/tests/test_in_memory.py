"""Batches of index tensors: complete, disjoint, and a function of seed and epoch."""

from itertools import chain

import pytest
import torch

from in_memory import IndexBatches


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
