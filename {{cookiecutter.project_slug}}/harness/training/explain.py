"""Errors of a run: one line for flags that Lightning rejects, and a line under the traceback of the user's errors."""

import linecache
import re
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from traceback import walk_tb
from types import FrameType
from typing import Any

import pytorch_lightning as pl
from torch import Tensor

from harness.errors import ModelError, RunError, UsageError
from harness.found import DATA, MODELS, Declared, describe_error, own_code
from harness.runs import signals
from harness.runs.run import Run, write_error
from harness.training.progress import messages_above_bars

RESTORING = "pytorch_lightning.trainer.connectors.checkpoint_connector"
STEPS = {"training_step", "validation_step", "test_step", "predict_step"}
REMEDIES = {
    "dynamo|inductor|compile": "leave out --compile",
    "out of memory|allocate memory": "a smaller --batch_size needs less; --accumulate_grad_batches makes up for it",
    "device": "make tensors in a step with device=self.device, and keep those of __init__ by self.register_buffer",
    "does not require grad": "compute the loss from the weights, without detach(), item() or no_grad()",
    "scalar outputs": "let training_step return one number, such as a mean",
    "inplace operation": "--detect_anomaly names the operation",
}
WRONG_BATCH = "if this is not what the model expects, change it or the data, or choose others"
SHOWN = 8  # parts of a batch to describe


@contextmanager
def explained(args: Namespace, run: Run) -> Iterator[None]:
    """Handle signals and errors while a run is built and trained.

    Raises:
        UsageError: If Lightning rejects the flags or the checkpoint.
        ModelError: If the model or the data fails; the traceback is in ``__cause__`` and in error.txt.
    """
    with signals.handled(), messages_above_bars():
        try:
            yield
        except ModelError as error:
            write_error(error.__cause__ or error, str(error), run.dir)
            raise
        except (UsageError, RunError):
            raise
        except Exception as error:
            frames = [frame for frame, _ in walk_tb(error.__traceback__)]
            if is_in_trainer_init(frames):
                remedy = "" if args.accelerator in ("auto", "cpu") else " Any machine has --accelerator cpu."
                raise UsageError(f"the Trainer refuses the flags: {error}{remedy}") from error
            if is_restoring(frames):
                raise UsageError(f"--ckpt_path {args.ckpt_path} does not fit these flags: {error}") from error
            if is_refusal(error):
                raise UsageError(f"{args.model_name}: {error}") from error
            line = explain(error, args)
            write_error(error, line or describe_error(error), run.dir)
            if line is None:
                raise
            raise ModelError(line) from error


def is_in_trainer_init(frames: Sequence[FrameType]) -> bool:
    """Return whether an error was raised while Lightning built its Trainer, from the flags."""
    names = [(frame.f_globals.get("__name__"), frame.f_code.co_name) for frame in frames]
    return ("pytorch_lightning.trainer.trainer", "__init__") in names or ("harness.trainer_args", "__new__") in names


def is_restoring(frames: Sequence[FrameType]) -> bool:
    """Return whether an error was raised while Lightning restored a checkpoint."""
    return any(frame.f_globals.get("__name__") == RESTORING and "restore" in frame.f_code.co_name for frame in frames)


def is_refusal(error: Exception) -> bool:
    """Return whether a ``raise`` statement of Lightning raised an error, outside the user's code.

    Other errors within Lightning are bugs, and are shown with their traceback.
    """
    *_, (frame, line) = walk_tb(error.__traceback__)
    on_purpose = linecache.getline(frame.f_code.co_filename, line).lstrip().startswith("raise ")
    return on_purpose and frame.f_globals.get("__name__", "").startswith("pytorch_lightning.") and not own_code(error)


def explain(error: BaseException, args: Namespace) -> str | None:
    """Return a line about an error in a step or hook of the model, its backward pass, or its data.

    Args:
        error: the error, with its traceback.
        args: all flags.

    Returns:
        The line; None if the error is of the machine, Lightning or the harness.
    """
    frames = [frame for frame, _ in walk_tb(error.__traceback__)]
    if isinstance(error, OSError):
        return None
    names = [frame.f_globals.get("__name__", "") for frame in frames]
    model_file = MODELS.file(args.model_name)
    remedy = next((text for words, text in REMEDIES.items() if re.search(words, str(error), re.IGNORECASE)), None)
    steps = [frame for frame in frames if frame.f_code.co_name in STEPS and is_model(frame.f_locals.get("self"))]
    if steps:
        step = steps[0]
        model = step.f_locals["self"]
        brings_data = Declared(model_file, type(model)).brings_data
        batch = step.f_locals.get(step.f_code.co_varnames[1])
        return (
            f"{model_file} fails in {step.f_code.co_name}: {describe_error(error)}. Its batch, from "
            f"{model_file if brings_data else DATA.file(args.data_name)}: {described(batch)}; {remedy or WRONG_BATCH}"
        )
    if any(name.startswith("torch.autograd") for name in names):
        return (
            f"{model_file}: no gradients come from its loss: {describe_error(error)}; "
            f"{remedy or '--detect_anomaly shows where'}"
        )
    if any(name.startswith("torch.utils.data") for name in names):
        data_file = DATA.file(args.data_name) if args.data_name else model_file
        of_worker = re.search(r"DataLoader worker process.*\n(\S.*)", str(error), re.DOTALL)
        return f"{data_file} cannot make a batch: {of_worker[1].strip() if of_worker else describe_error(error)}"
    return f"it fails: {describe_error(error)}" if own_code(error) else None


def is_model(value: Any) -> bool:
    """Return whether a value is a LightningModule."""
    return isinstance(value, pl.LightningModule)


def described(batch: Any) -> str:
    """Return the types and shapes in a batch, such as "[float32 [64, 1, 28, 28], int64 [64] of 0 to 9]"."""
    if isinstance(batch, Tensor):
        kind = f"{batch.dtype}".removeprefix("torch.") + f" {list(batch.shape)}"
        if batch.device.type != "cpu":
            return f"{kind} on {batch.device}"
        whole = batch.numel() and not batch.is_floating_point() and not batch.is_complex()
        return f"{kind} of {batch.min().item()} to {batch.max().item()}" if whole else kind
    if isinstance(batch, Mapping):
        parts = [f"{name}: {described(value)}" for name, value in list(batch.items())[:SHOWN]]
        return "{" + ", ".join(parts) + ", ..." * (len(batch) > SHOWN) + "}"
    if isinstance(batch, Sequence) and not isinstance(batch, str):
        parts = [described(value) for value in batch[:SHOWN]]
        return "[" + ", ".join(parts) + ", ..." * (len(batch) > SHOWN) + "]"
    return type(batch).__name__
