"""Data sets that live in memory as tensors, and batches of them taken by index tensors."""

import os
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, DistributedSampler, SequentialSampler, TensorDataset, default_collate

from harness.errors import UsageError
from harness.flags import count, positive_int, yes_no


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


# {% if cookiecutter.sweeps != "none" %}
# What the last run in this process has loaded, by the flags that load() saw; None: it is not kept.
kept: dict[str, dict[str, Dataset[Any]]] | None = None


# {% endif %}
class InMemoryData(pl.LightningDataModule):
    """A data set that fits in memory. A subclass loads the tensors; flags, batches and loaders are here."""

    splits: dict[str, Dataset[Any]]

    @staticmethod
    def add_data_specific_args(parent_parser: ArgumentParser) -> ArgumentParser:
        """Add the flags of the loaders."""
        parser = ArgumentParser(parents=[parent_parser], add_help=False)
        group = parser.add_argument_group("data")
        group.add_argument("--batch_size", type=positive_int, default=64, help="samples per batch and process")
        group.add_argument("--num_workers", type=count, default=0, help="processes that fetch batches; 0: this one")
        group.add_argument(
            "--data_on_device", type=yes_no, nargs="?", const=True, default=False, help="move all data there at once"
        )
        return parser

    def __init__(self, hparams: Namespace | Mapping[str, Any]) -> None:
        """Take the values of the flags."""
        super().__init__()
        self.save_hyperparameters(hparams)
        self.splits = {}

    def load(self) -> Mapping[str, tuple[Tensor, ...] | Dataset[Any]]:
        """Return "train", "val" and "test": for each its tensors, with the samples along the first dimension.

        Where every sample takes work of its own, such as to augment it, return a Dataset of samples instead:
        ``--num_workers`` processes do that work.
        """
        raise NotImplementedError(f"{type(self).__name__} must define load()")

    def setup(self, stage: str) -> None:
        """Load the data, once.

        Raises:
            UsageError: it cannot be moved to the device.
        """
        if self.splits:
            return
        # {% if cookiecutter.sweeps != "none" %}
        elsewhere = ("batch_size", "num_workers", "data_on_device")  # what load() does not ask for
        asked = {name: value for name, value in self.hparams.items() if name not in elsewhere}
        key = repr((type(self), os.environ.get("PL_GLOBAL_SEED"), asked))
        if kept is not None and key in kept:
            self.splits = kept[key]
        # {% endif %}
        if not self.splits:
            loaded = self.load().items()
            self.splits = {name: TensorDataset(*part) if isinstance(part, tuple) else part for name, part in loaded}
        # {% if cookiecutter.sweeps != "none" %}
        if kept is not None and key not in kept:
            kept.clear()
            kept[key] = self.splits
        # {% endif %}
        if self.hparams.get("data_on_device") and self.trainer is not None:
            self.splits = {name: self._on_device(name, data) for name, data in self.splits.items()}

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

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Return the batch on a device; of tensors it takes half the time that Lightning's way does."""
        if isinstance(batch, list) and all(isinstance(tensor, Tensor) for tensor in batch):
            return [tensor.to(device, non_blocking=device.type == "cuda") for tensor in batch]
        return super().transfer_batch_to_device(batch, device, dataloader_idx)

    def _on_device(self, split: str, data: Dataset[Any]) -> TensorDataset:
        """Return the tensors of a split where the model will be."""
        if self.hparams.num_workers:
            raise UsageError("--data_on_device leaves nothing for other processes to fetch: --num_workers must be 0")
        if not isinstance(data, TensorDataset):
            raise UsageError(f"--data_on_device: {type(self).__name__}.load() returns {split!r} not as tensors")
        return TensorDataset(*(tensor.to(self.trainer.strategy.root_device) for tensor in data.tensors))

    def _loader(self, split: str, *, shuffle: bool) -> DataLoader[Any]:
        """Return batches of one split, for this process."""
        if split not in self.splits:
            raise UsageError(f"{type(self).__name__}.load() returns no {split!r}, but {', '.join(self.splits)}")
        data, trainer = self.splits[split], self.trainer
        tensors = data.tensors if isinstance(data, TensorDataset) else ()
        device = trainer.strategy.root_device if trainer is not None else torch.device("cpu")
        # --use_distributed_sampler false: every process goes through all of the data.
        shared = trainer is not None and trainer._accelerator_connector.use_distributed_sampler
        batches = IndexBatches(
            len(data),  # type: ignore[arg-type]
            self.hparams.batch_size,
            shuffle=shuffle,
            seed=int(os.environ.get("PL_GLOBAL_SEED", 0)),  # set by seed_everything
            rank=trainer.global_rank if shared else 0,
            world_size=trainer.world_size if shared else 1,
            device=tensors[0].device if tensors else "cpu",
        )
        # With workers, the first batches are fetched before Lightning tells the sampler the epoch.
        batches.set_epoch(trainer.current_epoch if trainer else 0)
        workers = self.hparams.num_workers
        return DataLoader(
            data if tensors else Samples(data),
            sampler=batches,
            batch_size=None,
            num_workers=workers,
            collate_fn=list if tensors else as_it_is,
            pin_memory=device.type == "cuda" and not (tensors and tensors[0].is_cuda),
            persistent_workers=workers > 0,
        )
