"""Inputs of a model's ``forward``: from its ``example_input_array``, or from a batch of its data."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from harness.errors import UsageError
from harness.found import describe_error
from harness.training.explain import described

REMEDY = "set self.example_input_array in __init__ to an input of forward"


def tensors_in(values: Any) -> list[Tensor]:
    """Return the tensors in nested collections, in order."""
    return [leaf for leaf in pytree.tree_leaves(values) if isinstance(leaf, Tensor)]


class Inputs(NamedTuple):
    """The arguments of a call of ``forward``."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    @property
    def tensors(self) -> list[Tensor]:
        """The tensors, in the order in which an exported model takes them."""
        return tensors_in(tuple(self))

    @property
    def rows(self) -> int:
        """The number of samples; 0 if no tensor has a dimension."""
        return next((len(tensor) for tensor in self.tensors if tensor.ndim), 0)

    def is_batched(self, value: Any) -> bool:
        """Return whether a value is a tensor with a row for each sample."""
        return isinstance(value, Tensor) and value.ndim > 0 and len(value) == self.rows

    def shapes(self, size: Any) -> Any:
        """Return the ``dynamic_shapes`` of an export: ``size`` for the first dimension of batched tensors."""
        args, kwargs = pytree.tree_map(lambda value: {0: size} if self.is_batched(value) else None, tuple(self))
        return kwargs or args

    def resized(self, rows: int) -> "Inputs":
        """Return inputs of so many samples: the first ones, or all of them repeated."""
        chosen = torch.arange(rows) % self.rows
        return Inputs(*pytree.tree_map(lambda value: value[chosen] if self.is_batched(value) else value, tuple(self)))


def example_inputs(file: str, model: pl.LightningModule, batch: Any) -> Inputs:
    """Return inputs that ``forward`` takes, of two samples or more.

    A batch gives them by name if it is a mapping, otherwise by position: its first elements, as many as ``forward``
    requires. Labels come last in a batch.

    Args:
        file: the file of the model.
        model: the model, in evaluation mode.
        batch: a batch of its data, for a model without ``example_input_array``.

    Raises:
        UsageError: If ``forward`` does not take them.
    """
    example = model.example_input_array
    inputs = of_example(example) if example is not None else of_batch(model, batch)
    source = "example_input_array" if example is not None else "the first elements of a batch"
    # Tensors that Lightning made in its inference mode cannot be traced.
    inputs = Inputs(*pytree.tree_map_only(Tensor, torch.clone, tuple(inputs)))
    if not inputs.rows:
        raise UsageError(f"{file}: {source} have no rows to export forward with: {REMEDY}")
    inputs = inputs.resized(max(inputs.rows, 2))
    try:
        with torch.no_grad():
            model(*inputs.args, **inputs.kwargs)
    except Exception as error:
        given = described(inputs.kwargs or list(inputs.args))
        raise UsageError(
            f"{file}: forward does not take {source}, {given}: {describe_error(error)}; {REMEDY}"
        ) from error
    return inputs


def of_example(example: Any) -> Inputs:
    """Return the inputs in an ``example_input_array``, which Lightning also unpacks."""
    if isinstance(example, Mapping):
        return Inputs((), dict(example))
    return Inputs(tuple(example) if isinstance(example, list | tuple) else (example,), {})


def of_batch(model: pl.LightningModule, batch: Any) -> Inputs:
    """Return the inputs in a batch."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = [each for each in inspect.signature(model.forward).parameters.values() if each.kind in kinds]
    required = [each.name for each in parameters if each.default is inspect.Parameter.empty]
    is_sequence = isinstance(batch, Sequence) and not isinstance(batch, str) and len(batch) > 0
    named = batch[0] if is_sequence and isinstance(batch[0], Mapping) else batch
    if isinstance(named, Mapping):
        if set(required) <= named.keys():
            return Inputs((), {each.name: named[each.name] for each in parameters if each.name in named})
        return Inputs((named,), {})
    return Inputs(tuple(batch[: max(len(required), 1)]) if is_sequence else (batch,), {})
