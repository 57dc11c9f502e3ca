"""Files of predictions."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from harness.errors import UsageError
from harness.files import whole_file

Column = np.ndarray[Any, Any]  # one row for each sample


def write_predictions(batches: Sequence[Any], path: Path | str) -> str:
    """Write the outputs of ``predict_step``, one row per sample, in the order of the data; return the path.

    ``.csv`` has a column per number of a sample, such as ``image_0`` and ``image_1``; ``.npz`` and ``.pt`` preserve
    shapes. The write is atomic.

    Args:
        batches: outputs of the steps: tensors [B, ...], or mappings or sequences of them.
        path: a file that ends in .csv, .npz or .pt.

    Raises:
        UsageError: If an output has another type.
    """
    path = Path(path)
    columns = join([named(batch) for batch in batches])
    content = io.BytesIO()  # straight to a file, torch turns a full disk into a RuntimeError
    if path.suffix == ".pt":
        torch.save({name: torch.from_numpy(column) for name, column in columns.items()}, content)
    elif path.suffix == ".npz":
        np.savez(content, **columns)  # type: ignore[arg-type]  # no column is allow_pickle
    else:
        write_csv(columns, content)
    with whole_file(path) as file:
        file.write(content.getbuffer())
    return str(path)


def named(batch: Any) -> dict[str, Column]:
    """Return the tensors of an output by name; a single tensor is "prediction"."""
    if isinstance(batch, Tensor):
        batch = {"prediction": batch}
    elif isinstance(batch, Sequence):
        batch = {f"prediction_{number}": tensor for number, tensor in enumerate(batch)}
    if not isinstance(batch, Mapping) or not all(
        isinstance(tensor, Tensor) and tensor.ndim for tensor in batch.values()
    ):
        raise UsageError("predict_step must return a tensor [B, ...], or a dict of them: a row for each sample")
    # numpy has no bfloat16
    return {
        str(name): (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).cpu().numpy()
        for name, tensor in batch.items()
    }


def join(batches: Sequence[dict[str, Column]]) -> dict[str, Column]:
    """Return the columns of all batches, concatenated."""
    columns = {name: np.concatenate([batch[name] for batch in batches]) for name in (batches[0] if batches else [])}
    if len({len(column) for column in columns.values()}) > 1:
        raise UsageError("predict_step must return tensors with as many rows each")
    return columns


def write_csv(columns: Mapping[str, Column], file: BinaryIO) -> None:
    """Write a header, and one row per sample."""
    flat = {name: column.reshape(len(column), -1) for name, column in columns.items()}
    header = [
        name if columns[name].ndim == 1 else f"{name}_{number}"
        for name, column in flat.items()
        for number in range(column.shape[1])
    ]
    text = io.TextIOWrapper(file, newline="", encoding="utf-8", write_through=True)
    writer = csv.writer(text)
    writer.writerow(header)
    # numpy converts numbers to text in their own precision, Python in that of a double
    writer.writerows(np.concatenate([column.astype(str) for column in flat.values()], axis=1) if flat else [])
    text.detach()
