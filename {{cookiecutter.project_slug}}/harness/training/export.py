"""Export of a model for programs without its code: an ONNX file, or a program of torch.export."""

import logging
import re
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, suppress
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.model_helpers import is_overridden
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils.data import DataLoader

from harness.errors import ModelError
from harness.files import whole_files
from harness.found import MODELS, describe_error
from harness.runs.run import Run
from harness.training.example_inputs import example_inputs
from harness.training.export_formats import FORMATS, compare
from harness.training.initial_weights import LATE
from harness.training.steps import LOADER_OF

# Loaders of a batch, in the order in which they are tried.
LOADERS = {"validate": LOADER_OF["validate"], "test": LOADER_OF["test"], "fit": "train_dataloader"}
REMEDIES = {
    "data-dependent": "let no Python statement depend on the values of a tensor: torch.where takes the place of if",
    "Constraints violated": "let it take the size of the batch from its input, as in x.shape[0]",
}


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
    """Restore the weights as ``validate`` does; return the first batch, on the CPU.

    A model with ``example_input_array`` needs no data, unless it is completed in a hook, which may read them.
    """
    taken = FirstBatch()
    trainer.callbacks.append(taken)
    source: dict[str, Any] = {"datamodule": data}
    examples: Any = [model.example_input_array]
    if examples[0] is not None and not any(is_overridden(hook, model) for hook in LATE):
        source = {"dataloaders": DataLoader(examples, batch_size=None)}
    else:
        owner: Any = data if data is not None else model
        stage = next((stage for stage, loader in LOADERS.items() if is_overridden(loader, owner)), "fit")
        if stage != "validate":
            owner.val_dataloader = partial(load, owner, stage)
    if not is_overridden("validation_step", model):
        model.validation_step = FirstBatch.step  # type: ignore[method-assign]  # Lightning requires one
    with suppress(BatchTaken):
        trainer.validate(model, ckpt_path=ckpt_path, verbose=False, **source)
    return pytree.tree_map_only(Tensor, Tensor.cpu, taken.batch)


def load(owner: Any, stage: str) -> Any:
    """Return the loader of a stage, of a data module or a model that is set up to validate."""
    owner.setup(stage)
    return getattr(owner, LOADERS[stage])()


class BatchTaken(Exception):  # noqa: N818  # it is no error
    """The end of a loop that was run for one batch."""


class FirstBatch(pl.Callback):
    """Keeps the first batch of validate, as its step would get it, and ends the loop."""

    batch: Any = None

    @staticmethod
    def step(batch: Any, batch_idx: int) -> None:
        """Do nothing: the loop ends before its first step."""

    def on_validation_batch_start(self, trainer: Any, pl_module: Any, batch: Any, *args: Any) -> None:
        """Keep the batch."""
        self.batch = batch
        raise BatchTaken


@contextmanager
def explained_export(file: str, to: str) -> Iterator[None]:
    """Show errors of an export in a line, without the graphs that torch prints with them.

    Raises:
        ModelError: If an error occurs in it; the error is its cause.
    """
    log = logging.getLogger("torch")
    before = log.level
    log.setLevel(logging.CRITICAL)
    try:
        with redirect_stderr(StringIO()):
            yield
    except OSError:
        raise
    except Exception as error:
        raise ModelError(f"{file}: forward cannot be exported to {to}: {describe_export(error)}") from error
    finally:
        log.setLevel(before)


def describe_export(error: BaseException) -> str:
    """Return the first line of an error, its place in the user's code, and a remedy if one is known."""
    while error.__cause__ is not None and type(error.__cause__).__module__.startswith("torch.onnx."):
        error = error.__cause__  # the operation that ONNX does not have
    text, lines = describe_error(error), str(error).strip().splitlines()
    place = re.search(r" \((models|data)/[^()]*\)$", text)
    remedy = next((f"; {remedy}" for words, remedy in REMEDIES.items() if words in text), "")
    first = lines[0].rstrip(".") if lines else ""
    return f"{type(error).__name__}: {first}{place[0] if place else ''}{remedy}"
