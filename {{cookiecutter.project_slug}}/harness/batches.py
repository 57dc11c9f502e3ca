"""Batches of a data set taken by index tensors."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset, DistributedSampler, SequentialSampler, default_collate


class IndexBatches(DistributedSampler[Tensor], SequentialSampler):
    """Yield the indices of one batch at a time, in an order that is a function of seed and epoch alone.

    In a distributed run every process gets its own part of each batch: none is missing, none comes twice, and all
    processes take the same number of steps. The two base classes are what Lightning asks for: a sampler of another
    kind would be replaced by one of single indices, under DDP and with ``--overfit_batches``.

    Args:
        size: number of samples in the data set.
        batch_size: samples per batch and process; the last may be smaller, or larger by one.
        shuffle: draw a new order for every epoch, or keep that of the data.
        seed: with the epoch, decides the order.
        rank: which of the ``world_size`` processes this is.
        world_size: number of processes that share the data; at most ``size``.
        device: where the indices are wanted: they go there once an epoch, not once a batch.
    """

    def __init__(
        self,
        size: int,
        batch_size: int,
        *,
        shuffle: bool,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        device: torch.device | str = "cpu",
    ) -> None:
        """Remember the arguments; the order is drawn when iteration starts."""
        super().__init__(range(size), num_replicas=world_size, rank=rank, shuffle=shuffle, seed=seed)  # type: ignore[arg-type]
        self.device = device
        steps = range(batch_size * world_size, size, batch_size * world_size)
        # A rest too small to give every process a sample joins the batch before it.
        self.bounds = [start for start in steps if size - start >= world_size]

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        return len(self.bounds) + 1

    def __iter__(self) -> Iterator[Tensor]:  # type: ignore[override]
        """Yield the indices of each batch, int64 [B]."""
        size = len(self.dataset)  # type: ignore[arg-type]
        # The factor keeps (seed, epoch) pairs apart: seed 0 in epoch 1 is not seed 1 in epoch 0.
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        order = torch.randperm(size, generator=generator) if self.shuffle else torch.arange(size)
        for batch in order.to(self.device).tensor_split(self.bounds):
            yield batch if self.num_replicas == 1 else batch.tensor_split(self.num_replicas)[self.rank]


class Samples(Dataset[Any]):
    """Batches of a data set that makes one sample at a time.

    Args:
        samples: returns the sample of a number, and how many there are.
    """

    def __init__(self, samples: Any) -> None:
        """Remember the data set."""
        self.samples = samples

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.samples)

    def __getitem__(self, indices: Tensor) -> Any:
        """Return the samples of these indices [B] as one batch."""
        return default_collate([self.samples[index] for index in indices.tolist()])


def as_it_is(batch: Any) -> Any:
    """Return the batch: it is one already."""
    return batch
