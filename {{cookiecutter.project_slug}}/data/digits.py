"""Handwritten digits, bundled: 1,797 images of the UCI Optical Recognition of Handwritten Digits data.

E. Alpaydin and C. Kaynak, 1998, https://doi.org/10.24432/C50P49, licensed CC BY 4.0. digits.npz holds the test set
as published: 8x8 pixels, grey levels 0 to 16.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from harness.data import InMemoryData

SIZES = [1297, 200, 300]  # train, val, test


class Digits(InMemoryData):
    """Batches ``(x, y)``: x float32 [B, 1, 28, 28] in 0..1, y int64 [B] in 0..9."""

    def load(self) -> dict[str, tuple[Tensor, ...]]:
        """Return the images scaled to 28x28; the splits do not depend on the seed."""
        with np.load(Path(__file__).with_suffix(".npz")) as file:
            images, labels = torch.from_numpy(file["images"]), torch.from_numpy(file["labels"])
        x = F.interpolate(images[:, None].float() / 16, size=28, mode="bilinear")
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
        return {
            name: (x[index], labels[index].long())
            for name, index in zip(("train", "val", "test"), torch.split(order, SIZES), strict=True)
        }
