"""Predictions become tables."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch

from harness.errors import UsageError
from harness.training.predictions import write_predictions

BATCHES = [
    {"label": torch.tensor([1, 2]), "scores": torch.tensor([[0.1, 0.2], [0.3, 0.4]])},
    {"label": torch.tensor([3]), "scores": torch.tensor([[0.5, 0.6]])},
]


def test_csv_has_a_column_for_each_number():
    write_predictions(BATCHES, Path("deep/er/p.csv"))
    with Path("deep/er/p.csv").open() as file:
        rows = list(csv.reader(file))
    assert rows == [["label", "scores_0", "scores_1"], ["1", "0.1", "0.2"], ["2", "0.3", "0.4"], ["3", "0.5", "0.6"]]
    assert [path.name for path in Path("deep/er").iterdir()] == ["p.csv"]


def test_npz_and_pt_keep_the_shapes():
    write_predictions(BATCHES, Path("p.npz"))
    write_predictions(BATCHES, Path("p.pt"))
    with np.load("p.npz") as arrays:
        assert arrays["scores"].shape == (3, 2)
    assert torch.load("p.pt", weights_only=True)["scores"].dtype == torch.float32


@pytest.mark.parametrize(
    ("batch", "header"),
    [
        (torch.zeros(2), ["prediction"]),
        (torch.zeros(2, 1), ["prediction_0"]),
        ((torch.zeros(2), torch.zeros(2, dtype=torch.bfloat16)), ["prediction_0", "prediction_1"]),
    ],
)
def test_tensors_without_a_name_get_one(batch, header):
    write_predictions([batch, batch], Path("p.csv"))
    lines = Path("p.csv").read_text().splitlines()
    assert (lines[0].split(","), len(lines)) == (header, 5)


@pytest.mark.parametrize(
    "batch", [None, "text", torch.tensor(1.0), {"a": 1}, {"a": torch.zeros(2), "b": torch.zeros(3)}], ids=str
)
def test_what_is_no_table_is_refused(batch):
    with pytest.raises(UsageError, match="predict_step must return"):
        write_predictions([batch], Path("p.csv"))
    assert not Path("p.csv").exists()
