"""Data modules for data sets in memory."""

import os
from argparse import Namespace
from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, TensorDataset

from harness.batches import IndexBatches, Samples, as_it_is
from harness.data_flags import DataFlags
from harness.errors import UsageError

# The data of the last run in this process, by the flags of load(), for programs whose runs load the same data. None
# turns the cache off.
dataset_cache: dict[str, dict[str, Dataset[Any]]] | None = None


class InMemoryData(DataFlags, pl.LightningDataModule):
    """Base class of data modules in memory, with flags, batches and loaders; a subclass defines ``load``."""

    splits: dict[str, Dataset[Any]]

    def __init__(self, hparams: Namespace | Mapping[str, Any]) -> None:
        super().__init__()
        self.save_hyperparameters(hparams)
        self.splits = {}

    def load(self) -> Mapping[str, tuple[Tensor, ...] | Dataset[Any]]:
        """Return the splits "train", "val" and "test": tuples of tensors, with the samples along the first dimension.

        For work on each sample, such as augmentation, a split may be a Dataset of samples, for which ``--num_workers``
        processes work.
        """
        raise NotImplementedError(f"{type(self).__name__} must define load()")

    def setup(self, stage: str) -> None:
        """Load the data, once.

        Raises:
            UsageError: If the data cannot be moved to the device.
        """
        if self.splits:
            return
        elsewhere = ("batch_size", "num_workers", "data_on_device")  # flags that do not change the data
        asked = {name: value for name, value in self.hparams.items() if name not in elsewhere}
        key = repr((type(self), os.environ.get("PL_GLOBAL_SEED"), asked))
        if dataset_cache is not None and key in dataset_cache:
            self.splits = dataset_cache[key]
        if not self.splits:
            loaded = self.load().items()
            self.splits = {name: TensorDataset(*part) if isinstance(part, tuple) else part for name, part in loaded}
            if self.hparams.get("fold"):
                self.splits = {**self.splits, **self.folded(*map(int, self.hparams.fold.split("/")))}
        if dataset_cache is not None and key not in dataset_cache:
            dataset_cache.clear()
            dataset_cache[key] = self.splits
        if self.hparams.get("data_on_device") and self.trainer is not None:
            self.splits = {name: self._on_device(name, data) for name, data in self.splits.items()}

    def folded(self, number: int, of: int) -> dict[str, Dataset[Any]]:
        """Return "train" and "val" for a fold of both together; the test set stays.

        Folds do not depend on the seed. Where the last tensor of the samples has classes, an int for each sample, the
        folds have the same share of each. A subclass whose splits are no tensors defines this method.

        Args:
            number: of the fold, from 1.
            of: how many folds there are.

        Raises:
            UsageError: If the splits are no tensors, or there are fewer samples than folds.
        """
        both = [self.splits[name] for name in ("train", "val") if name in self.splits]
        if not all(isinstance(part, TensorDataset) for part in both):
            raise UsageError(f"--fold: load() of {type(self).__name__} returns no tensors: define folded(number, of)")
        tensors = [torch.cat(parts) for parts in zip(*(part.tensors for part in both), strict=True)]
        count, classes = len(tensors[0]), tensors[-1]
        if count < of:
            raise UsageError(f"--fold: {count} samples are too few for {of} folds")
        order = torch.randperm(count, generator=torch.Generator().manual_seed(0))
        if classes.dim() == 1 and not classes.is_floating_point():
            order = order[torch.argsort(classes[order], stable=True)]  # of each class, every so-many-th sample
        is_val = torch.zeros(count, dtype=torch.bool)
        is_val[order[number - 1 :: of]] = True
        return {
            "train": TensorDataset(*(tensor[~is_val] for tensor in tensors)),
            "val": TensorDataset(*(tensor[is_val] for tensor in tensors)),
        }

    def train_dataloader(self) -> DataLoader[Any]:
        """Return shuffled batches of the training set; with --overfit_batches, in order."""
        return self._loader("train", shuffle=not (self.trainer and self.trainer.overfit_batches))

    def val_dataloader(self) -> DataLoader[Any]:
        """Return the validation set in order."""
        return self._loader("val", shuffle=False)

    def test_dataloader(self) -> DataLoader[Any]:
        """Return the test set in order."""
        return self._loader("test", shuffle=False)

    def predict_dataloader(self) -> DataLoader[Any]:
        """Return the test set in order; a subclass may return data without labels."""
        return self._loader("test", shuffle=False)

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Return the batch on a device; a list of tensors takes half the time of Lightning's own transfer."""
        if isinstance(batch, list) and all(isinstance(tensor, Tensor) for tensor in batch):
            return [tensor.to(device, non_blocking=device.type == "cuda") for tensor in batch]
        return super().transfer_batch_to_device(batch, device, dataloader_idx)

    def _on_device(self, split: str, data: Dataset[Any]) -> TensorDataset:
        """Return the tensors of a split on the device of the model."""
        if self.hparams.num_workers:
            raise UsageError("--data_on_device leaves nothing for other processes to fetch: --num_workers must be 0")
        if not isinstance(data, TensorDataset):
            raise UsageError(f"--data_on_device: {type(self).__name__}.load() returns {split!r} not as tensors")
        return TensorDataset(*(tensor.to(self.trainer.strategy.root_device) for tensor in data.tensors))

    def _loader(self, split: str, *, shuffle: bool) -> DataLoader[Any]:
        """Return the batches of a split for this process."""
        if split not in self.splits:
            raise UsageError(f"{type(self).__name__}.load() returns no {split!r}, but {', '.join(self.splits)}")
        data, trainer = self.splits[split], self.trainer
        tensors = data.tensors if isinstance(data, TensorDataset) else ()
        device = trainer.strategy.root_device if trainer is not None else torch.device("cpu")
        # With --use_distributed_sampler no, each process has all of the data.
        shared = trainer is not None and getattr(trainer, "use_distributed_sampler", True)
        batches = IndexBatches(
            len(data),  # type: ignore[arg-type]
            self.hparams.batch_size,
            shuffle=shuffle,
            seed=int(os.environ.get("PL_GLOBAL_SEED", 0)),  # set by seed_everything
            rank=trainer.global_rank if shared else 0,
            world_size=trainer.world_size if shared else 1,
            device=tensors[0].device if tensors else "cpu",
        )
        # With workers, the first batches are fetched before Lightning sets the epoch of the sampler.
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
