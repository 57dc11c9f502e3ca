"""Batches of a data set, each fetched by one tensor of indices."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset, DistributedSampler, SequentialSampler, default_collate


class IndexBatches(DistributedSampler[Tensor], SequentialSampler):
    """Yield the indices of one batch at a time; their order depends on seed and epoch alone.

    In a distributed run each process gets its own part of every batch. No sample is missing or repeated, and all
    processes take the same number of steps. Under DDP and with ``--overfit_batches``, Lightning replaces samplers that
    do not have these two base classes.

    Args:
        size: number of samples in the data set.
        batch_size: samples per batch and process; the last may be smaller, or larger by one.
        shuffle: whether each epoch has a new order; otherwise, that of the data.
        seed: number that, with the epoch, determines the order.
        rank: index of this process.
        world_size: number of processes that share the data; at most ``size``.
        device: device of the indices, which are moved once per epoch.
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
        super().__init__(range(size), num_replicas=world_size, rank=rank, shuffle=shuffle, seed=seed)  # type: ignore[arg-type]
        self.device = device
        steps = range(batch_size * world_size, size, batch_size * world_size)
        # A remainder with fewer samples than processes is added to the batch before it.
        self.bounds = [start for start in steps if size - start >= world_size]

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        return len(self.bounds) + 1

    def __iter__(self) -> Iterator[Tensor]:  # type: ignore[override]
        """Yield the indices of each batch, int64 [B]."""
        size = len(self.dataset)  # type: ignore[arg-type]
        # The factor distinguishes (seed, epoch) pairs, such as (0, 1) and (1, 0).
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        order = torch.randperm(size, generator=generator) if self.shuffle else torch.arange(size)
        for batch in order.to(self.device).tensor_split(self.bounds):
            yield batch if self.num_replicas == 1 else batch.tensor_split(self.num_replicas)[self.rank]


class Samples(Dataset[Any]):
    """Data set of batches, made from a data set of single samples.

    Args:
        samples: data set of samples.
    """

    def __init__(self, samples: Any) -> None:
        self.samples = samples

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.samples)

    def __getitem__(self, indices: Tensor) -> Any:
        """Return the samples with the indices [B] as one batch."""
        return default_collate([self.samples[index] for index in indices.tolist()])


def as_it_is(batch: Any) -> Any:
    """Return the batch unchanged, as a collate function."""
    return batch
