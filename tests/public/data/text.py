"""Sentences of a little grammar, as characters."""

from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from random import Random
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from harness.flags import positive_int

ALPHABET = "\n abcdefghijklmnopqrstuvwxyz,."
SUBJECTS = ("the mill", "a grey heron", "the ferry", "our neighbour", "the long train", "a lamp")
VERBS = ("waits for", "passes", "remembers", "turns to", "hides behind")
PLACES = ("the harbour", "the old bridge", "a quiet field", "the market", "the winter sea")


def write(sentences: int, seed: int) -> str:
    """Return so many sentences, the same ones for the same seed."""
    random = Random(seed)
    parts = (SUBJECTS, VERBS, PLACES)
    return "\n".join(" ".join(random.choice(words) for words in parts) + "." for _ in range(sentences))


class Text(pl.LightningDataModule):
    """Batches of token numbers, int64 [B, context + 1]: each is to be foretold from those before it."""

    @staticmethod
    def add_data_specific_args(parent_parser: ArgumentParser) -> ArgumentParser:
        parser = ArgumentParser(parents=[parent_parser], add_help=False)
        group = parser.add_argument_group("Text")
        group.add_argument("--batch_size", type=positive_int, default=16, help="pieces per batch")
        group.add_argument("--piece", type=positive_int, default=64, help="characters of a piece")
        return parser

    @staticmethod
    def search_space(trial: Any) -> None:
        trial.suggest_categorical("batch_size", [8, 16, 32])
        trial.suggest_int("piece", 16, 64, step=16)

    def __init__(self, hparams: Namespace | Mapping[str, Any]) -> None:
        super().__init__()
        self.save_hyperparameters(hparams)

    def pieces(self, sentences: int, seed: int) -> Tensor:
        """Return a text in pieces, int64 [N, piece + 1]; each begins with the last character of the one before."""
        tokens = torch.tensor([ALPHABET.index(character) for character in write(sentences, seed)])
        return tokens.unfold(0, self.hparams.piece + 1, self.hparams.piece)

    def setup(self, stage: str) -> None:
        self.splits = {"train": self.pieces(400, 0), "val": self.pieces(60, 1), "test": self.pieces(60, 2)}

    def loader(self, split: str) -> DataLoader[Any]:
        return DataLoader(self.splits[split], batch_size=self.hparams.batch_size, shuffle=split == "train")  # type: ignore[arg-type]

    def train_dataloader(self) -> DataLoader[Any]:
        return self.loader("train")

    def val_dataloader(self) -> DataLoader[Any]:
        return self.loader("val")

    def test_dataloader(self) -> DataLoader[Any]:
        return self.loader("test")
