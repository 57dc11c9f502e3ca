"""Export of a model for programs without its code: an ONNX file, or a program of torch.export."""

import logging
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.model_helpers import is_overridden
from torch import Tensor
from torch.utils import _pytree as pytree

from harness.errors import ModelError
from harness.files import whole_files
from harness.found import MODELS, describe_error
from harness.runs.run import Run
from harness.training.example_inputs import Inputs, example_inputs
from harness.training.export_formats import FORMATS, compare
from harness.training.initial_weights import LATE
from harness.training.steps import LOADER_OF

STAGES = ("predict", "validate", "test", "fit")  # in which to look for a batch
LOADERS = LOADER_OF | {"fit": "train_dataloader"}


def export_model(args: Namespace, run: Run, model: pl.LightningModule, data: Any, trainer: Any) -> dict[str, str]:
    """Write ``forward`` with the weights of ``--ckpt_path``, in evaluation mode, for batches of any size.

    The written file is run beside the model, on an example and on a batch of one sample. The write is atomic.

    Args:
        args: all flags.
        run: the run.
        model: the model.
        data: its data module, or None.
        trainer: the Trainer.

    Returns:
        The file, and the largest absolute difference of its outputs from those of the model.

    Raises:
        UsageError: If no input of ``forward`` is found.
        ModelError: If ``forward`` cannot be exported.
        RunError: If the outputs of the file differ from those of the model.
    """
    file = MODELS.file(args.model_name)
    batch = restore(trainer, model, data, run.ckpt_path)
    model.eval()
    inputs = example_inputs(file, model, batch)
    path = Path(args.output or run.dir / f"model.{args.to}")
    write, load = FORMATS[args.to]
    with whole_files(path) as part:
        with explained_export(file, args.to), torch.no_grad():
            shapes = inputs.shapes(torch.export.Dim("batch"))
            # strict tracing would also read the attributes of a LightningModule
            program = torch.export.export(model, *inputs, dynamic_shapes=shapes, strict=False)
            write(program, inputs, model(*inputs.args, **inputs.kwargs), part)
        exported = load(part)
        difference = max(compare(file, model, exported, inputs.resized(rows)) for rows in (inputs.rows, 1))
    return {"exported": str(path), "largest_difference": f"{difference:.2g}"}


def restore(trainer: Any, model: pl.LightningModule, data: Any, ckpt_path: str | None) -> Any:
    """Restore the weights as ``predict`` does; return the first batch, on the CPU.

    A model with ``example_input_array`` needs no data, unless it is completed in a hook, which may read them.
    """
    taken = FirstBatch()
    trainer.callbacks.append(taken)
    source: dict[str, Any] = {"datamodule": data}
    if model.example_input_array is not None and not any(is_overridden(hook, model) for hook in LATE):
        source = {"dataloaders": [[model.example_input_array]]}
    else:
        owner = data if data is not None else model
        stage = next((stage for stage in STAGES if is_overridden(LOADERS[stage], owner)), "fit")
        if stage != "predict":
            owner.predict_dataloader = partial(load, owner, stage)
    with suppress(BatchTaken):
        trainer.predict(model, ckpt_path=ckpt_path, **source)
    return pytree.tree_map(lambda value: value.cpu() if isinstance(value, Tensor) else value, taken.batch)


def load(owner: Any, stage: str) -> Any:
    """Return the loader of a stage, of a data module or a model that is set up to predict."""
    owner.setup(stage)
    return getattr(owner, LOADERS[stage])()


class BatchTaken(Exception):  # noqa: N818  # it is no error
    """The end of a loop that was run for one batch."""


class FirstBatch(pl.Callback):
    """Keeps the first batch of predict, as its step would get it, and ends the loop."""

    batch: Any = None

    def on_predict_batch_start(self, trainer: Any, pl_module: Any, batch: Any, *args: Any) -> None:
        """Keep the batch."""
        self.batch = batch
        raise BatchTaken


@contextmanager
def explained_export(file: str, form: str) -> Iterator[None]:
    """Show errors of an export by their first line, without the log of torch.

    Raises:
        ModelError: If an error occurs in it; the error is its cause.
    """
    log = logging.getLogger("torch")
    before = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        raise ModelError(f"{file}: forward cannot be exported to {form}: {describe_error(error)}") from error
    finally:
        log.setLevel(before)
