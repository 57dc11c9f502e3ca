"""The formats of exported models: how to write, load and check a file."""

import io
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from harness.errors import RunError
from harness.training.example_inputs import Inputs, tensors_in

Exported = Callable[[Inputs], list[Tensor]]
TOLERANCE = 1e-4  # of the largest output, or of 1: sums of float32 in another order differ by less


def write_pt2(program: torch.export.ExportedProgram, inputs: Inputs, outputs: Any, path: Path) -> None:
    """Write a program for ``torch.export.load``."""
    content = io.BytesIO()  # straight to a file, torch turns a full disk into a RuntimeError
    torch.export.save(program, content)
    path.write_bytes(content.getbuffer())


def load_pt2(path: Path) -> Exported:
    """Return a function that runs a program."""
    module = torch.export.load(path).module()
    return lambda inputs: tensors_in(module(*inputs.args, **inputs.kwargs))


def write_onnx(program: torch.export.ExportedProgram, inputs: Inputs, outputs: Any, path: Path) -> None:
    """Write ONNX; weights of more than 1.5 GB are in a second file, ``NAME.onnx.data``.

    Args:
        program: the traced model.
        inputs: the inputs that it was traced with; their names are those of the parameters of ``forward``.
        outputs: its outputs, for their names: the keys of a mapping, or output; output_0, output_1 of several.
        path: the file.
    """
    import torch.onnx  # a second

    names = output_names(outputs, {node.name for node in program.graph.nodes})
    shapes = inputs.shapes("batch")
    onnx = torch.onnx.export(program, dynamic_shapes=shapes, output_names=names, dynamo=True, verbose=False)
    assert onnx is not None  # it is None only if it is given a file
    onnx.save(path)


def output_names(outputs: Any, taken: Collection[str]) -> list[str]:
    """Return the names of the tensors in an output, other than the ``taken`` names of inputs and operations."""
    if isinstance(outputs, Tensor):
        return ["output"]
    if isinstance(outputs, Mapping) and all(isinstance(value, Tensor) for value in outputs.values()):
        return [f"{name}_output" if name in taken else str(name) for name in outputs]
    return [f"output_{number}" for number in range(len(tensors_in(outputs)))]


def load_onnx(path: Path) -> Exported:
    """Return a function that runs ONNX on the CPU."""
    import onnxruntime

    onnxruntime.set_default_logger_severity(3)  # errors alone
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()]

    def run(inputs: Inputs) -> list[Tensor]:
        values = {name: tensor.numpy() for name, tensor in zip(names, inputs.tensors, strict=True)}
        return [torch.from_numpy(value) for value in session.run(None, values)]

    return run


FORMATS = {"onnx": (write_onnx, load_onnx), "pt2": (write_pt2, load_pt2)}


def compare(file: str, model: pl.LightningModule, exported: Exported, inputs: Inputs) -> float:
    """Return the largest absolute difference of exported outputs from those of the model.

    Args:
        file: the file of the model.
        model: the model, in evaluation mode.
        exported: the function that runs the written file.
        inputs: the inputs of both.

    Raises:
        RunError: If the difference is beyond ``TOLERANCE``, or if the model does not repeat its own outputs.
    """
    with torch.no_grad():
        expected, again = (tensors_in(model(*inputs.args, **inputs.kwargs)) for _ in range(2))
        found = exported(inputs)
    allowed = TOLERANCE * max([1.0, *(each.abs().max().item() for each in expected if each.numel())])
    if largest_difference(again, expected) > allowed:
        raise RunError(f"{file}: forward draws random numbers in evaluation mode, so its export cannot be checked")
    difference = largest_difference(found, expected)
    if difference > allowed:
        raise RunError(
            f"{file}: for a batch of {inputs.rows} the exported model differs from forward by {difference:.1e}, more "
            f"than {allowed:.1e}: no file is written"
        )
    return difference


def largest_difference(found: list[Tensor], expected: list[Tensor]) -> float:
    """Return the largest absolute difference of two lists of tensors; inf for other shapes, or NaN in one alone."""
    if [each.shape for each in found] != [each.shape for each in expected]:
        return torch.inf
    differences = [0.0]
    for one, other in zip(found, expected, strict=True):
        one, other = one.double(), other.double()
        is_equal = (one == other) | (one.isnan() & other.isnan())
        difference = (one - other).abs().nan_to_num(torch.inf).where(~is_equal, 0.0)
        differences += [difference.max().item()] if difference.numel() else []
    return max(differences)
