"""Data sets that live in memory as tensors, and batches of them taken by index tensors."""

import os
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, DistributedSampler, SequentialSampler, TensorDataset

from args import UsageError, count, positive_int


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
    """

    def __init__(
        self, size: int, batch_size: int, *, shuffle: bool, seed: int = 0, rank: int = 0, world_size: int = 1
    ) -> None:
        """Remember the arguments; the order is drawn when iteration starts."""
        super().__init__(range(size), num_replicas=world_size, rank=rank, shuffle=shuffle, seed=seed)  # type: ignore[arg-type]
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
        for batch in order.tensor_split(self.bounds):
            yield batch.tensor_split(self.num_replicas)[self.rank]


class InMemoryData(pl.LightningDataModule):
    """A data set that fits in memory. A subclass loads the tensors; flags, batches and loaders are here."""

    @staticmethod
    def add_data_specific_args(parent_parser: ArgumentParser) -> ArgumentParser:
        """Add the flags of the loaders."""
        parser = ArgumentParser(parents=[parent_parser], add_help=False)
        group = parser.add_argument_group("data")
        group.add_argument("--batch_size", type=positive_int, default=64, help="samples per batch and process")
        group.add_argument("--num_workers", type=count, default=0, help="processes that fetch batches; 0: this one")
        return parser

    def __init__(self, hparams: Namespace | Mapping[str, Any]) -> None:
        """Take the values of the flags."""
        super().__init__()
        self.save_hyperparameters(hparams)
        self.splits: dict[str, TensorDataset] = {}

    def load(self) -> dict[str, tuple[Tensor, ...]]:
        """Return the tensors of "train", "val" and "test", each with the samples along the first dimension."""
        raise NotImplementedError(f"{type(self).__name__} must define load()")

    def setup(self, stage: str) -> None:
        """Load the tensors, once."""
        if not self.splits:
            self.splits = {name: TensorDataset(*tensors) for name, tensors in self.load().items()}

    def train_dataloader(self) -> DataLoader[Any]:
        """Return shuffled batches, which --overfit_batches wants in order."""
        return self._loader("train", shuffle=not (self.trainer and self.trainer.overfit_batches))

    def val_dataloader(self) -> DataLoader[Any]:
        """Return the validation set in order."""
        return self._loader("val", shuffle=False)

    def test_dataloader(self) -> DataLoader[Any]:
        """Return the test set in order."""
        return self._loader("test", shuffle=False)

    def predict_dataloader(self) -> DataLoader[Any]:
        """Return the test set in order, for want of data without labels."""
        return self._loader("test", shuffle=False)

    def _loader(self, split: str, *, shuffle: bool) -> DataLoader[Any]:
        """Return batches of one split, for this process."""
        if split not in self.splits:
            raise UsageError(f"{type(self).__name__}.load() returns no {split!r}, but {', '.join(self.splits)}")
        data, trainer = self.splits[split], self.trainer
        # --use_distributed_sampler false: every process goes through all of the data.
        shared = trainer is not None and trainer._accelerator_connector.use_distributed_sampler
        batches = IndexBatches(
            len(data),
            self.hparams.batch_size,
            shuffle=shuffle,
            seed=int(os.environ.get("PL_GLOBAL_SEED", 0)),  # set by seed_everything
            rank=trainer.global_rank if shared else 0,
            world_size=trainer.world_size if shared else 1,
        )
        # With workers, the first batches are fetched before Lightning tells the sampler the epoch.
        batches.set_epoch(trainer.current_epoch if trainer else 0)
        workers = self.hparams.num_workers
        return DataLoader(data, sampler=batches, batch_size=None, num_workers=workers, persistent_workers=workers > 0)
