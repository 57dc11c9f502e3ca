"""MyData, on the command line by the name of this file: --data_name my_data. Say here what it is.

It trains as it stands: ten kinds of noisy images, each with its own bright row. What to change is said where it is.
"""

import torch
from torch import Tensor

from harness.data import InMemoryData


# Work for every sample, as to augment it? Return a Dataset of samples for a split: --num_workers processes make them.
# Too large for memory? Derive from pl.LightningDataModule instead, with setup() and the loaders that it has.
class MyData(InMemoryData):
    """Batches ``(x, y)``: x float32 [B, 1, 28, 28] in 0..1, y int64 [B] in 0..9."""

    # Flags of your own? Declare them as models do, on top of the loader's:
    #
    #     @staticmethod
    #     def add_data_specific_args(parent_parser):
    #         parser = InMemoryData.add_data_specific_args(parent_parser)
    #         parser.add_argument("--folder", default="images", help="where the images are")
    #         return parser
    #
    # and read them as self.hparams.folder. Something to download? Do it in prepare_data(self), as data/mnist.py does.

    def load(self) -> dict[str, tuple[Tensor, ...]]:
        """Return the tensors of the three splits; samples along the first dimension."""
        # Change from here: read your files instead of making up images.
        generator = torch.Generator().manual_seed(0)
        y = torch.randint(10, (1000,), generator=generator)
        x = torch.rand(len(y), 1, 28, 28, generator=generator) * 0.5
        x[torch.arange(len(y)), 0, 2 * y + 4] += 0.5
        # Change to here. Any number of tensors will do, as long as your model takes the batches they make.
        return {"train": (x[:800], y[:800]), "val": (x[800:900], y[800:900]), "test": (x[900:], y[900:])}
