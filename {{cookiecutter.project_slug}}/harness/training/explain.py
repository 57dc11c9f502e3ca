"""Where a model or its data failed, in one line under the traceback: in which step, on what batch, what may help."""

import re
from argparse import Namespace
from collections.abc import Mapping, Sequence
from traceback import walk_tb
from typing import Any

import pytorch_lightning as pl
from torch import Tensor

from harness.found import brings_data, file_of, own_code, said

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
SHOWN = 8  # parts of a batch that are described


def explain(error: BaseException, args: Namespace, model: pl.LightningModule) -> str | None:
    """Return in one line what went wrong in a step or hook of the model, in its backward pass, or in making a batch.

    Args:
        error: as it was raised.
        args: all flags.
        model: the model.

    Returns:
        The line; None where the error is not of the model or the data, but of the machine, Lightning or this project.
    """
    frames = [frame for frame, _ in walk_tb(error.__traceback__)]
    if isinstance(error, OSError):
        return None
    names = [frame.f_globals.get("__name__", "") for frame in frames]
    model_file = file_of("models", args.model_name)
    data_file = model_file if brings_data(type(model)) else file_of("data", args.data_name)
    remedy = next((text for words, text in REMEDIES.items() if re.search(words, str(error), re.IGNORECASE)), None)
    steps = [frame for frame in frames if frame.f_code.co_name in STEPS and frame.f_locals.get("self") is model]
    if steps:
        step = steps[0]
        batch = step.f_locals.get(step.f_code.co_varnames[1])
        return (
            f"{model_file} fails in {step.f_code.co_name}: {said(error)}. Its batch, from {data_file}: "
            f"{described(batch)}; {remedy or WRONG_BATCH}"
        )
    if any(name.startswith("torch.autograd") for name in names):
        return (
            f"{model_file}: no gradients come from its loss: {said(error)}; {remedy or '--detect_anomaly tells more'}"
        )
    if any(name.startswith("torch.utils.data") for name in names):
        of_worker = re.search(r"DataLoader worker process.*\n(\S.*)", str(error), re.DOTALL)
        return f"{data_file} cannot make a batch: {of_worker[1].strip() if of_worker else said(error)}"
    return f"it fails: {said(error)}" if own_code(error) else None


def described(batch: Any) -> str:
    """Return types and shapes of what is in a batch, as in "[float32 [64, 1, 28, 28], int64 [64] of 0 to 9]"."""
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
