"""Ten classes of noisy images, each with its own bright row: data to start from, chosen by --data_name my_data.

Models train on it unmodified. Comments mark what to edit.
"""

import torch
from torch import Tensor

from harness.data import InMemoryData


# For work on each sample, such as augmentation, return a Dataset for a split: --num_workers processes do that work.
# For data larger than memory, derive from pl.LightningDataModule, and define setup() and the loaders.
class MyData(InMemoryData):
    """Batches ``(x, y)``: x float32 [B, 1, 28, 28] in 0..1, y int64 [B] in 0..9."""

    # Flags of your own are declared as in a model, beside those of the loaders:
    #
    #     @staticmethod
    #     def add_data_specific_args(parent_parser):
    #         parser = InMemoryData.add_data_specific_args(parent_parser)
    #         parser.add_argument("--folder", default="images", help="folder of the images")
    #         return parser
    #
    # Read them as self.hparams.folder. Download files in prepare_data(self), as data/mnist.py does.

    def load(self) -> dict[str, tuple[Tensor, ...]]:
        """Return the tensors of the three splits, with the samples along the first dimension."""
        # Edit from here: read your files instead of generating images.
        generator = torch.Generator().manual_seed(0)
        y = torch.randint(10, (1000,), generator=generator)
        x = torch.rand(len(y), 1, 28, 28, generator=generator) * 0.5
        x[torch.arange(len(y)), 0, 2 * y + 4] += 0.5
        # Edit up to here. A split may have any number of tensors; a batch has a part of each.
        return {"train": (x[:800], y[:800]), "val": (x[800:900], y[800:900]), "test": (x[900:], y[900:])}
