"""MNIST (LeCun, Cortes, Burges) and Fashion-MNIST (Xiao, Rasul, Vollgraf, MIT licence), downloaded once and checked."""

import gzip
import socket
from argparse import ArgumentParser
from http.client import HTTPException
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from harness.data import InMemoryData

MIRRORS = {
    "mnist": (
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
    "fashion_mnist": (
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    ),
}
FILES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)
SHA256 = {
    "mnist": (
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    ),
    "fashion_mnist": (
        "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    ),
}
VALIDATION_SHARE = 12  # one twelfth of the training images: 5,000 of 60,000
TIMEOUT = 30.0  # seconds to wait for an answer of a mirror


class MNIST(InMemoryData):
    """Batches ``(x, y)``: x float32 [B, 1, 28, 28] in 0..1, y int64 [B] in 0..9."""

    @staticmethod
    def add_data_specific_args(parent_parser: ArgumentParser) -> ArgumentParser:
        """Add the flags of the images, their folder and their source."""
        parser = InMemoryData.add_data_specific_args(parent_parser)
        group = parser.add_argument_group("MNIST")
        group.add_argument("--variant", choices=list(MIRRORS), default="mnist", help="digits or articles of clothing")
        group.add_argument("--data_dir", default="~/.cache/mnist", help="folder with one folder of files per variant")
        group.add_argument("--mirror", help="URL to download from, instead of the public mirrors")
        return parser

    def prepare_data(self) -> None:
        """Download the missing files.

        Raises:
            OSError: If no mirror has an intact copy, or the folder cannot be written.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        variant = self.hparams.variant
        mirrors = (self.hparams.mirror.rstrip("/") + "/",) if self.hparams.mirror else MIRRORS[variant]
        for name, checksum in zip(FILES, SHA256[variant], strict=True):
            if not (self._folder / name).exists():
                download(name, mirrors, self._folder, checksum)

    def load(self) -> dict[str, tuple[Tensor, ...]]:
        """Return the splits; validation takes the last twelfth of the training images."""
        images, labels, test_images, test_labels = (read_idx(self._folder / name) for name in FILES)
        x, y = grey(images), labels.long()
        train = len(y) - len(y) // VALIDATION_SHARE
        return {
            "train": (x[:train], y[:train]),
            "val": (x[train:], y[train:]),
            "test": (grey(test_images), test_labels.long()),
        }

    @property
    def _folder(self) -> Path:
        return Path(self.hparams.data_dir).expanduser() / self.hparams.variant


def download(name: str, mirrors: tuple[str, ...], folder: Path, checksum: str) -> None:
    """Download a file from the first mirror whose copy has the SHA-256 checksum; the file is written atomically.

    Raises:
        ConnectionError: If no mirror has such a copy.
    """
    reasons = []
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT)  # download_url_to_file sets none, so it would wait for a dead mirror for ever
    try:
        for mirror in mirrors:
            try:
                return torch.hub.download_url_to_file(mirror + name, str(folder / name), checksum)
            except (OSError, HTTPException, RuntimeError) as error:  # RuntimeError: wrong checksum
                reasons.append(f"{mirror}: {error}")
    finally:
        socket.setdefaulttimeout(before)
    raise ConnectionError(
        f"cannot download {name} ({'; '.join(reasons)}): connect to the network, pass --mirror URL, "
        f"put the files into {folder} by hand, or train on --data_name digits"
    )


def grey(images: Tensor) -> Tensor:
    """Return bytes [N, 28, 28] as grey levels [N, 1, 28, 28] in 0..1, without a second copy in memory."""
    return images[:, None].float().div_(255)


def read_idx(path: Path) -> Tensor:
    """Return the bytes of a gzipped IDX file as a uint8 tensor: [N, 28, 28] for images, [N] for labels.

    The format is two zero bytes, the type (8: unsigned byte), the number of dimensions, the sizes as four big-endian
    bytes each, and the values (http://yann.lecun.com/exdb/mnist/).
    """
    content = gzip.decompress(path.read_bytes())
    dimensions = content[3]
    shape = np.frombuffer(content, ">u4", count=dimensions, offset=4)
    return torch.from_numpy(np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions).reshape(shape).copy())
